//! What a provider says of itself. It is believed only as far as it fits what is configured:
//! a document that names other hosts could send codes and secrets anywhere.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::{Refused, fetch};
use crate::{
    clock,
    config::{self, is_private},
    outbound::Outbound,
};

/// How long a document is believed without asking again.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// How long it is believed while the provider does not answer.
const STALE: TimeDelta = TimeDelta::hours(24);

/// How long a provider that did not answer is left alone while there is an older document.
const PAUSE: TimeDelta = TimeDelta::seconds(60);

/// A checked description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub jwks_uri: Url,
    pub end_session_endpoint: Option<Url>,
    /// Its answers carry `iss` (RFC 9207).
    pub names_itself: bool,
    /// It takes a client's secret only in the body.
    pub secret_in_body: bool,
}

/// The document as it comes; what Lux does not use is left out.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    end_session_endpoint: Option<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Asks the provider.
    pub async fn fetch(outbound: &Outbound, provider: &config::Provider) -> Result<Self, Refused> {
        let issuer = provider.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        Self::check(fetch::document(outbound, &url).await?, provider)
    }

    fn check(document: Document, provider: &config::Provider) -> Result<Self, Refused> {
        if document.issuer != provider.issuer {
            return Err(Refused::DiscoveryIssuer);
        }
        let issuer = Url::parse(&provider.issuer).map_err(|_| Refused::DiscoveryIssuer)?;
        let endpoint = |text: &str| {
            let url = Url::parse(text).map_err(|_| Refused::DiscoveryEndpoint)?;
            let host = url.host_str().unwrap_or_default();
            let known = Some(host) == issuer.host_str()
                || provider.endpoint_hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
            let plain = url.username().is_empty() && url.password().is_none();
            if known && plain && is_private(&url) {
                Ok(url)
            } else {
                Err(Refused::DiscoveryEndpoint)
            }
        };
        let optional = |text: Option<String>| text.as_deref().map(endpoint).transpose();
        let lists = |list: &[String], item: &str| list.iter().any(|listed| listed == item);
        let metadata = Self {
            authorization_endpoint: endpoint(&document.authorization_endpoint)?,
            token_endpoint: endpoint(&document.token_endpoint)?,
            jwks_uri: endpoint(&document.jwks_uri)?,
            end_session_endpoint: optional(document.end_session_endpoint)?,
            names_itself: document.authorization_response_iss_parameter_supported,
            // Without a list, the header is what there is (OpenID Discovery, section 3).
            secret_in_body: document
                .token_endpoint_auth_methods_supported
                .is_some_and(|ways| !lists(&ways, "client_secret_basic")),
        };
        if !lists(&document.code_challenge_methods_supported, "S256") {
            return Err(Refused::NoPkce);
        }
        if !lists(&document.id_token_signing_alg_values_supported, "RS256") {
            return Err(Refused::NoRs256);
        }
        Ok(metadata)
    }
}

/// The description that this process has.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    metadata: Option<Metadata>,
    fetched_at: DateTime<Utc>,
    /// When the provider last did not answer.
    failed_at: DateTime<Utc>,
}

/// Whether `at` lies less than `time` ago. A clock that was set back makes it long ago.
pub(super) fn within(at: DateTime<Utc>, time: TimeDelta) -> bool {
    let age = clock::now() - at;
    TimeDelta::zero() <= age && age < time
}

impl Cache {
    /// The description, asked for at most once at a time.
    pub(super) async fn get(
        &self,
        outbound: &Outbound,
        provider: &config::Provider,
    ) -> Result<Metadata, Refused> {
        let mut kept = self.0.lock().await;
        if let Some(metadata) = &kept.metadata {
            let fresh = within(kept.fetched_at, FRESH);
            let usable = within(kept.fetched_at, STALE);
            if fresh || (usable && within(kept.failed_at, PAUSE)) {
                return Ok(metadata.clone());
            }
        }
        match Metadata::fetch(outbound, provider).await {
            Ok(metadata) => {
                kept.metadata = Some(metadata.clone());
                kept.fetched_at = clock::now();
                Ok(metadata)
            }
            Err(Refused::ProviderDown) => {
                kept.failed_at = clock::now();
                let usable = within(kept.fetched_at, STALE);
                kept.metadata.clone().filter(|_| usable).ok_or(Refused::ProviderDown)
            }
            // It answers, and says what it must not say: nothing older is of use.
            Err(refused) => {
                kept.metadata = None;
                Err(refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Metadata, Refused};
    use crate::config::{Config, Overrides, Provider};

    fn provider() -> Provider {
        let mut overrides = Overrides::default();
        overrides.environment.insert("REPL_ID".to_owned(), "r".to_owned());
        overrides.environment.insert("ISSUER_URL".to_owned(), "https://id.example/oidc".to_owned());
        Config::load_leniently(overrides).0.providers.remove(0)
    }

    fn check(change: impl Fn(&mut Value)) -> Result<Metadata, Refused> {
        let mut document = json!({
            "issuer": "https://id.example/oidc",
            "authorization_endpoint": "https://id.example/oidc/auth",
            "token_endpoint": "https://id.example/oidc/token",
            "jwks_uri": "https://id.example/oidc/jwks",
            "end_session_endpoint": "https://id.example/oidc/session/end",
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        change(&mut document);
        Metadata::check(serde_json::from_value(document).unwrap(), &provider())
    }

    #[test]
    fn a_description_has_to_fit_what_is_configured() {
        check(|_| {}).unwrap();
        for (field, value, refused) in [
            ("issuer", json!("https://id.example/oidc/"), Refused::DiscoveryIssuer),
            ("issuer", json!("https://ID.example/oidc"), Refused::DiscoveryIssuer),
            ("token_endpoint", json!("https://evil.example/token"), Refused::DiscoveryEndpoint),
            ("token_endpoint", json!("http://id.example/token"), Refused::DiscoveryEndpoint),
            ("jwks_uri", json!("https://id.example.evil/jwks"), Refused::DiscoveryEndpoint),
            ("jwks_uri", json!("https://u:p@id.example/jwks"), Refused::DiscoveryEndpoint),
            ("jwks_uri", json!("file:///etc/passwd"), Refused::DiscoveryEndpoint),
            ("authorization_endpoint", json!("javascript:alert(1)"), Refused::DiscoveryEndpoint),
            ("end_session_endpoint", json!("https://evil.example/"), Refused::DiscoveryEndpoint),
            ("code_challenge_methods_supported", json!(["plain"]), Refused::NoPkce),
            ("id_token_signing_alg_values_supported", json!(["HS256"]), Refused::NoRs256),
        ] {
            let checked = check(|document| document[field] = value.clone());
            assert_eq!(checked, Err(refused), "{field} = {value}");
        }
    }

    #[test]
    fn other_hosts_are_those_that_are_configured() {
        let mut provider = provider();
        provider.endpoint_hosts = vec!["keys.example".to_owned()];
        let document = json!({
            "issuer": "https://id.example/oidc",
            "authorization_endpoint": "https://id.example/oidc/auth",
            "token_endpoint": "https://id.example/oidc/token",
            "jwks_uri": "https://keys.example/jwks",
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        });
        let checked = Metadata::check(serde_json::from_value(document).unwrap(), &provider);
        assert!(checked.unwrap().secret_in_body);
    }
}
