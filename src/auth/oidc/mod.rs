//! Sign-in with an OpenID provider: Replit's, and any other that is configured. Authorization
//! code with PKCE (S256), state and nonce, each new for every attempt; the ID token is checked
//! whole, whatever way it came.
//!
//! [`Providers::begin`] sends a browser to the provider, [`Providers::finish`] takes it back.
//! Who may be signed in with what the provider vouches for, `account` decides.

mod discovery;
mod fetch;
mod flow;
mod jwks;
mod refresh;
mod refused;
mod store;
mod token;
mod verify;

use std::sync::Arc;

use url::Url;

use crate::{
    config::{self, Config, REPLIT},
    db::Db,
    error::{Error, Result},
    outbound::Outbound,
    seal::Sealer,
};

pub use discovery::Metadata;
pub use flow::{Begun, Finished, Start};
pub use refresh::Refresh;
pub use refused::{Refused, Remedy, Stopped};
pub use verify::Claims;

/// All providers. Cheap to clone.
#[derive(Clone)]
pub struct Providers(Arc<Shared>);

struct Shared {
    all: Vec<Provider>,
    /// Lux's own address, without a slash at its end.
    address: Option<String>,
    db: Db,
    outbound: Outbound,
    sealer: Sealer,
}

/// A provider, and what this process knows of it.
struct Provider {
    config: config::Provider,
    metadata: discovery::Cache,
    keys: jwks::Keys,
}

impl Providers {
    pub fn new(config: &Config, db: Db, outbound: Outbound, sealer: Sealer) -> Self {
        let provider = |config: &config::Provider| Provider {
            config: config.clone(),
            metadata: discovery::Cache::default(),
            keys: jwks::Keys::default(),
        };
        let all = config.providers.iter().map(provider).collect();
        Self(Arc::new(Shared { all, address: address(config), db, outbound, sealer }))
    }

    /// The providers in the order of the configuration: name, and what people call it.
    pub fn list(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.all.iter().map(|provider| &provider.config);
        all.map(|provider| (provider.name.as_str(), provider.label.as_str()))
    }

    fn get(&self, name: &str) -> Result<&Provider> {
        let mut all = self.0.all.iter();
        all.find(|provider| provider.config.name == name).ok_or(Error::NotFound("sign-in provider"))
    }

    async fn metadata(&self, provider: &Provider) -> Result<Metadata, Refused> {
        provider.metadata.get(&self.0.outbound, &provider.config).await
    }

    /// Where the provider sends browsers back to. It comes from the configuration alone: a
    /// request's `Host` is whatever its sender wrote.
    fn redirect_uri(&self, name: &str) -> Result<String, Refused> {
        let address = self.0.address.as_ref().ok_or(Refused::NoAddress)?;
        Ok(format!("{address}{}", path(name, "authorized")))
    }

    /// Where a browser ends its session at the provider too. `None` where there is no such
    /// address, or the provider does not answer: Lux's own session ends without it.
    pub async fn end_session_url(&self, name: &str) -> Option<Url> {
        let provider = self.get(name).ok()?;
        let mut url = self.metadata(provider).await.ok()?.end_session_endpoint?;
        let address = self.0.address.as_ref()?;
        url.query_pairs_mut()
            .append_pair("client_id", &provider.config.client_id)
            .append_pair("post_logout_redirect_uri", &format!("{address}/"));
        Some(url)
    }
}

/// The path of a provider's route: `/auth/oidc/google/login`.
pub fn path(name: &str, leaf: &str) -> String {
    if name == REPLIT {
        format!("/auth/{name}/{leaf}")
    } else {
        format!("/auth/oidc/{name}/{leaf}")
    }
}

/// How people reach Lux; without `public_url` only from this machine.
pub fn address(config: &Config) -> Option<String> {
    let url = config.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    url.or_else(|| config.listen.ip().is_loopback().then(|| config.base_url()))
}
