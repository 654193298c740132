//! `[integrations.…]`: Lux as the services of others know it. Each asks for an application to be
//! registered in its console, which gives an id and a secret.

use secrecy::SecretString;
use url::Url;

use super::{
    load::{Key, Loader, key},
    parse::text,
    providers::is_private,
};

/// Lux as one service knows it.
#[derive(Clone, Debug)]
pub struct Client {
    /// The provider's key: "github".
    pub provider: &'static str,
    pub id: String,
    pub secret: SecretString,
    /// In the place of the provider's own addresses: for an Enterprise server, a white-label
    /// host, a regional one.
    pub authorize_url: Option<Url>,
    pub token_url: Option<Url>,
    pub revoke_url: Option<Url>,
    pub api_url: Option<Url>,
    pub content_url: Option<Url>,
    pub meet_url: Option<Url>,
}

/// The names of one provider's settings.
struct Names {
    provider: &'static str,
    table: &'static str,
    id: Key,
    secret: Key,
    authorize_url: Key,
    token_url: Key,
    revoke_url: Key,
    api_url: Key,
    content_url: Key,
    meet_url: Key,
}

macro_rules! names {
    ($provider:literal, $variable:literal) => {
        Names {
            provider: $provider,
            table: concat!("integrations.", $provider),
            id: key(
                concat!("integrations.", $provider, ".client_id"),
                &[concat!("LUX_", $variable, "_CLIENT_ID")],
            ),
            secret: key(
                concat!("integrations.", $provider, ".client_secret"),
                &[concat!("LUX_", $variable, "_CLIENT_SECRET")],
            )
            .secret(),
            authorize_url: key(
                concat!("integrations.", $provider, ".authorize_url"),
                &[concat!("LUX_", $variable, "_AUTHORIZE_URL")],
            ),
            token_url: key(
                concat!("integrations.", $provider, ".token_url"),
                &[concat!("LUX_", $variable, "_TOKEN_URL")],
            ),
            revoke_url: key(
                concat!("integrations.", $provider, ".revoke_url"),
                &[concat!("LUX_", $variable, "_REVOKE_URL")],
            ),
            api_url: key(
                concat!("integrations.", $provider, ".api_url"),
                &[concat!("LUX_", $variable, "_API_URL")],
            ),
            content_url: key(
                concat!("integrations.", $provider, ".content_url"),
                &[concat!("LUX_", $variable, "_CONTENT_URL")],
            ),
            meet_url: key(
                concat!("integrations.", $provider, ".meet_url"),
                &[concat!("LUX_", $variable, "_MEET_URL")],
            ),
        }
    };
}

const ALL: [Names; 8] = [
    names!("github", "GITHUB"),
    names!("slack", "SLACK"),
    names!("google", "GOOGLE"),
    names!("dropbox", "DROPBOX"),
    names!("asana", "ASANA"),
    names!("atlassian", "ATLASSIAN"),
    names!("monday", "MONDAY"),
    names!("highlevel", "HIGHLEVEL"),
];

/// The services that Lux is registered with.
pub(super) fn read(from: &mut Loader) -> Vec<Client> {
    ALL.iter().filter_map(|names| client(from, names)).collect()
}

fn client(from: &mut Loader, names: &Names) -> Option<Client> {
    let id = from.given(&names.id, text);
    let secret = from.given(&names.secret, text);
    let mut url = |key| from.given(key, address);
    let [authorize_url, token_url, revoke_url] =
        [&names.authorize_url, &names.token_url, &names.revoke_url].map(&mut url);
    let [api_url, content_url, meet_url] =
        [&names.api_url, &names.content_url, &names.meet_url].map(&mut url);
    match (id, secret) {
        (Some(id), Some(secret)) => Some(Client {
            provider: names.provider,
            id,
            secret: secret.into(),
            authorize_url,
            token_url,
            revoke_url,
            api_url,
            content_url,
            meet_url,
        }),
        (None, None) => None,
        _ => {
            let origin = from.file_origin();
            let problem = "client_id and client_secret belong together; set both (the console \
                           where Lux is registered shows them) or neither";
            from.mistake(names.table, origin, problem);
            None
        }
    }
}

/// An address that nobody on the way can listen to, without a slash at its end.
fn address(text: &str) -> Result<Url, String> {
    let wrong = "is no address; write one like https://github.example.com/api/v3";
    let url = Url::parse(text.trim().trim_end_matches('/')).map_err(|_| wrong.to_owned())?;
    if !is_private(&url) {
        return Err("must begin with https:// (http:// is for this machine only)".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password; leave them out".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a ? or # part; leave it out".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::{Config, Overrides};

    fn load(variables: &[(&str, &str)]) -> (Config, Vec<String>) {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let overrides = Overrides { environment: environment.collect(), ..Overrides::default() };
        let (config, mistakes) = Config::load_leniently(overrides);
        (config, mistakes.into_iter().map(|mistake| mistake.key).collect())
    }

    #[test]
    fn a_service_has_an_id_and_a_secret() {
        let both = [("LUX_GITHUB_CLIENT_ID", "id"), ("LUX_GITHUB_CLIENT_SECRET", "hush-hush")];
        let (config, mistakes) = load(&both);
        assert_eq!(mistakes, [""; 0]);
        let [github] = &config.integrations[..] else { panic!("{:?}", config.integrations) };
        assert_eq!((github.provider, github.id.as_str()), ("github", "id"));
        assert_eq!(github.secret.expose_secret(), "hush-hush");
        assert!(config.settings.iter().all(|setting| !setting.value.contains("hush")));
        assert_eq!(load(&both[..1]).1, ["integrations.github"]);
    }

    #[test]
    fn an_address_is_https_or_here() {
        for right in ["https://ghe.example.com/api/v3", "http://127.0.0.1:80/x", "https://a/b/"] {
            assert!(!super::address(right).unwrap().as_str().ends_with("b/"), "{right}");
        }
        for wrong in ["", "ghe", "http://ghe.example.com", "https://u:p@a/", "https://a/?b"] {
            assert!(super::address(wrong).is_err(), "{wrong}");
        }
    }
}
