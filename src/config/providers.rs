//! `[[sign_in.providers]]`, and Replit, which its own environment names: who vouches for the
//! people that sign in.

use std::{fs, net::IpAddr};

use secrecy::SecretString;
use serde::Deserialize;
use url::{Host, Url};

use super::load::Entry;

/// An OpenID provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Unique; stands in addresses: `/auth/oidc/{name}/login`.
    pub name: String,
    /// What people know it as: "Google".
    pub label: String,
    /// As the provider writes it, byte for byte: a slash more makes it another one.
    pub issuer: String,
    pub client_id: String,
    /// `None` for a public client, which proves itself by PKCE alone.
    pub client_secret: Option<SecretString>,
    pub scopes: Vec<String>,
    /// Whether the provider has to ask again for the login or the consent.
    pub prompt: Option<String>,
    /// Audiences that may stand in a token besides `client_id`.
    pub audiences: Vec<String>,
    /// Hosts besides the issuer's that its endpoints may be on.
    pub endpoint_hosts: Vec<String>,
}

/// The name of Replit's provider; its routes have addresses of their own.
pub const REPLIT: &str = "replit_auth";

/// Where Replit signs people in.
pub(super) const REPLIT_ISSUER: &str = "https://replit.com/oidc";

/// Entries in one of the lists.
const MAX_ITEMS: usize = 20;

/// The entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    label: Option<String>,
    issuer: String,
    client_id: String,
    client_secret_env: Option<String>,
    client_secret_file: Option<String>,
    scopes: Option<Vec<String>>,
    prompt: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    endpoint_hosts: Vec<String>,
}

impl Provider {
    /// A public client. Without `prompt=consent` no refresh token is given.
    pub(super) fn replit(repl_id: &str, issuer: &str, offline_access: bool) -> Self {
        let mut scopes = vec!["openid", "email", "profile"];
        scopes.extend(offline_access.then_some("offline_access"));
        let prompt = if offline_access { "login consent" } else { "login" };
        Self {
            name: REPLIT.to_owned(),
            label: "Replit".to_owned(),
            issuer: issuer.to_owned(),
            client_id: repl_id.to_owned(),
            client_secret: None,
            scopes: scopes.into_iter().map(str::to_owned).collect(),
            prompt: Some(prompt.to_owned()),
            audiences: Vec::new(),
            endpoint_hosts: Vec::new(),
        }
    }

    pub(super) fn check(written: Written, entry: &mut Entry<'_>) -> Option<Self> {
        let name = written.name;
        if !is_name(&name) {
            entry
                .mistake("name stands in addresses: 1 to 32 of a-z, 0-9, - and _, like \"google\"");
        } else if name == REPLIT {
            entry.mistake("this name belongs to Replit's own provider (REPL_ID); choose another");
        }
        let issuer = match issuer(&written.issuer) {
            Ok(issuer) => issuer,
            Err(problem) => {
                entry.mistake(format!("issuer {problem}"));
                return None;
            }
        };
        if written.client_id.trim().is_empty() {
            entry.mistake("client_id is empty; the provider gives it when Lux is registered there");
        }
        let scopes = written.scopes.unwrap_or_else(|| {
            ["openid", "email", "profile"].iter().map(|scope| (*scope).to_owned()).collect()
        });
        if !scopes.iter().any(|scope| scope == "openid") {
            entry.mistake("scopes must hold \"openid\"; without it nobody is named");
        }
        for (list, items) in [
            ("scopes", &scopes),
            ("audiences", &written.audiences),
            ("endpoint_hosts", &written.endpoint_hosts),
        ] {
            if items.len() > MAX_ITEMS {
                entry.mistake(format!("{list} has more than {MAX_ITEMS} entries"));
            }
            let wrong = |item: &&String| {
                item.is_empty() || item.contains(|c: char| c.is_whitespace() || c.is_control())
            };
            if let Some(item) = items.iter().find(wrong) {
                entry.mistake(format!("{list}: \"{item}\" is empty or holds a space"));
            }
        }
        for host in &written.endpoint_hosts {
            if host.contains([':', '/']) || Host::parse(host).is_err() {
                entry.mistake(format!(
                    "endpoint_hosts: \"{host}\" is no host; write one like \
                     \"oauth2.googleapis.com\", without https://"
                ));
            }
        }
        let secret = secret(written.client_secret_env, written.client_secret_file, entry);
        let offline = scopes.iter().any(|scope| scope == "offline_access");
        Some(Self {
            label: written.label.unwrap_or_else(|| name.clone()),
            name,
            issuer,
            client_id: written.client_id.trim().to_owned(),
            client_secret: secret,
            scopes,
            prompt: written.prompt.or_else(|| offline.then(|| "consent".to_owned())),
            audiences: written.audiences,
            endpoint_hosts: written.endpoint_hosts,
        })
    }
}

/// The client's secret, which never stands in the file itself.
fn secret(
    variable: Option<String>,
    file: Option<String>,
    entry: &mut Entry<'_>,
) -> Option<SecretString> {
    let (text, place) = match (variable, file) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            entry.mistake("client_secret_env and client_secret_file exclude each other");
            return None;
        }
        (Some(variable), None) => {
            let text = entry.environment(&variable).map(str::to_owned);
            if text.is_none() {
                entry.mistake(format!("client_secret_env: the variable {variable} is not set"));
            }
            (text?, variable)
        }
        (None, Some(path)) => match fs::read_to_string(&path) {
            Ok(text) => (text, path),
            Err(error) => {
                entry.mistake(format!("client_secret_file: {path} cannot be read: {error}"));
                return None;
            }
        },
    };
    let text = text.trim();
    if text.is_empty() {
        entry.mistake(format!("{place} holds no client secret; it is empty"));
        return None;
    }
    Some(text.into())
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

/// An issuer, left as it is written.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    let text = text.trim();
    let url = Url::parse(text)
        .map_err(|_| format!("= \"{text}\" is no address; write one like {REPLIT_ISSUER}"))?;
    if !is_private(&url) {
        return Err("must begin with https:// (http:// is for this machine only)".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password; leave them out".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a ? or # part; an issuer has neither".to_owned());
    }
    Ok(text.to_owned())
}

/// Whether nobody on the way can read or change what goes there: TLS, or this machine.
pub fn is_private(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_issuer_is_kept_byte_for_byte() {
        for issuer in
            ["https://accounts.google.com", "https://id.example/a/", "http://127.0.0.1:1/o"]
        {
            assert_eq!(super::issuer(issuer).unwrap(), issuer);
        }
        for wrong in
            ["", "id.example", "http://id.example/", "https://u@h/", "https://h/?a", "https://h/#a"]
        {
            assert!(super::issuer(wrong).is_err(), "{wrong}");
        }
    }
}
