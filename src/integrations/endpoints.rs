//! Where a provider is: its own addresses, or those that the configuration names in their place.

use url::Url;

use super::{
    call::Base,
    provider::{Provider, Revoke},
};
use crate::{config, error::Result};

/// The addresses of one provider.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) authorize: Url,
    pub(super) token: Url,
    /// `None` where nothing can be revoked.
    pub(super) revoke: Option<String>,
    api: Url,
    content: Url,
    meet: Url,
}

impl Endpoints {
    pub(super) fn new(provider: &Provider, client: &config::Client) -> Result<Self> {
        let of = |given: &Option<Url>, own: &str| match given {
            Some(url) => Ok(url.clone()),
            None => Url::parse(own)
                .map_err(|error| anyhow::anyhow!("{} has no address {own}: {error}", provider.key)),
        };
        let api = of(&client.api_url, provider.api_url)?;
        // Who names another API means another server: what has no address of its own is there.
        let beside = |given: &Option<Url>, own: &str| match (given, &client.api_url) {
            (None, Some(other)) => Ok(other.clone()),
            (None, None) if own.is_empty() => Ok(api.clone()),
            _ => of(given, own),
        };
        let own = match provider.revoke {
            Revoke::None => None,
            Revoke::Form(url) | Revoke::Token(url) | Revoke::Bearer(url) | Revoke::Github(url) => {
                Some(url)
            }
        };
        // Another server's tokens are nothing for the provider's own.
        let is_elsewhere = client.token_url.is_some() || client.api_url.is_some();
        let own = own.filter(|_| !is_elsewhere).map(str::to_owned);
        let revoke = client.revoke_url.as_ref().map(ToString::to_string).or(own);
        let revoke = revoke.filter(|_| provider.revoke != Revoke::None);
        Ok(Self {
            authorize: of(&client.authorize_url, provider.authorize_url)?,
            token: of(&client.token_url, provider.token_url)?,
            revoke,
            content: beside(&client.content_url, provider.content_url)?,
            meet: beside(&client.meet_url, provider.meet_url)?,
            api,
        })
    }

    pub(super) fn base(&self, base: Base) -> &Url {
        match base {
            Base::Api => &self.api,
            Base::Content => &self.content,
            Base::Meet => &self.meet,
        }
    }
}
