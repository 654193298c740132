//! The way to a provider.

use oauth2::{CsrfToken, PkceCodeChallenge, PkceCodeVerifier};
use url::Url;

use super::{
    super::{
        Integrations, Kind,
        store::{self, Attempt},
        token,
    },
    person, verifier_field,
};
use crate::{
    auth::{Caller, secret},
    clock,
    error::{Error, Result},
};

impl Integrations {
    /// Begins to connect: remembers it, and gives the address at the provider.
    ///
    /// # Errors
    /// [`Error::Conflict`] if Lux is not registered there, or does not know its own address;
    /// [`Error::Denied`] for tokens.
    pub async fn begin(&self, caller: &Caller, kind: &'static Kind) -> Result<Url> {
        let (account, session) = person(caller)?;
        let provider = kind.provider;
        let of = self.registered(provider)?;
        let oauth = token::client(of, self.redirect_uri(kind)?).map_err(Error::from)?;
        let state = secret::random()?;
        let state_hash = secret::hash(&state);
        let verifier = provider.pkce.then(secret::random).transpose()?;
        let scopes: Vec<&str> = kind.needed().collect();
        let sealed = verifier
            .as_deref()
            .map(|text| self.app().sealer.seal(verifier_field(&state_hash), text))
            .transpose()?;
        store::purge_attempts(&self.app().db).await?;
        let attempt = Attempt {
            organization_id: caller.organization,
            account_id: account,
            session_id: session,
            kind: kind.key.to_owned(),
            verifier_sealed: sealed,
            scopes: scopes.join(" "),
            created_at: clock::now(),
            state_hash,
        };
        store::insert_attempt(&self.app().db, &attempt).await?;
        let mut request = oauth
            .authorize_url(|| CsrfToken::new(state))
            .add_extra_param("scope", scopes.join(provider.scope_separator));
        for (name, value) in provider.authorize_params {
            request = request.add_extra_param(*name, *value);
        }
        if let Some(verifier) = verifier {
            let verifier = PkceCodeVerifier::new(verifier);
            let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
            request = request.set_pkce_challenge(challenge);
        }
        Ok(request.url().0)
    }
}
