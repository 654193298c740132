//! One sign-in, from the way to the provider until the way back: what is sent along, and in
//! which order the answer is believed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth2::{CsrfToken, PkceCodeChallenge, PkceCodeVerifier, Scope};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use super::{
    Claims, Provider, Providers, Refused, Stopped,
    discovery::Metadata,
    store::{self, Flow},
    token::{self, Tokens},
    verify::{Expected, Of, Unverified},
};
use crate::{
    auth::secret::{hash, random},
    clock,
    seal::Field,
};

/// The longest code that is taken, in bytes.
const MAX_CODE: usize = 2048;

/// How a sign-in begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// Where to go afterwards: a path that is known to be one of Lux.
    pub next: &'a str,
    /// The value of the browser's flow cookie, if it has one.
    pub browser: Option<&'a str>,
    /// The account that is signed in and wants this identity as well.
    pub linking: Option<i64>,
    /// A one-time link's token, which is carried to the end.
    pub link_token: Option<&'a str>,
}

/// The way to the provider.
pub struct Begun {
    pub url: Url,
    /// The value for the browser's flow cookie.
    pub browser: SecretString,
}

/// A person who came back.
pub struct Finished {
    pub claims: Claims,
    /// A path on Lux.
    pub next: String,
    pub linking: Option<i64>,
    pub link_token: Option<SecretString>,
    /// For the session, where the provider gave one.
    pub refresh: Option<super::Refresh>,
}

/// Whether a cookie's value is one that [`random`] could have made.
fn is_random(value: &str) -> bool {
    value.len() == 43 && URL_SAFE_NO_PAD.decode(value).is_ok()
}

fn field<'a>(column: &'static str, state_hash: &'a str) -> Field<'a> {
    Field { table: "sign_in", column, row: state_hash }
}

impl Providers {
    /// Begins a sign-in: remembers it, and gives the address at the provider.
    pub async fn begin(&self, name: &str, start: Start<'_>) -> Result<Begun, Stopped> {
        let provider = self.get(name)?;
        let redirect_uri = self.redirect_uri(name)?;
        let metadata = self.metadata(provider).await?;
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let browser = match start.browser.filter(|value| is_random(value)) {
            // A second window of this browser must not end what the first one began.
            Some(value) => value.to_owned(),
            None => random()?,
        };
        let state_hash = hash(&state);
        let seal = |column, text: &str| self.0.sealer.seal(field(column, &state_hash), text);
        store::purge(&self.0.db).await?;
        let flow = Flow {
            provider: name.to_owned(),
            nonce: seal("nonce", &nonce)?,
            verifier: seal("verifier", &verifier)?,
            next: start.next.to_owned(),
            browser_hash: hash(&browser),
            linking_account: start.linking,
            link_token: start.link_token.map(|token| seal("link_token", token)).transpose()?,
            created_at: clock::now(),
            state_hash: state_hash.clone(),
        };
        store::insert(&self.0.db, &flow).await?;
        let oauth = token::client(&provider.config, &metadata, redirect_uri)?;
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier));
        let mut request = oauth
            .authorize_url(|| CsrfToken::new(state))
            .set_pkce_challenge(challenge)
            .add_scopes(provider.config.scopes.iter().cloned().map(Scope::new))
            .add_extra_param("nonce", nonce);
        if let Some(prompt) = &provider.config.prompt {
            request = request.add_extra_param("prompt", prompt);
        }
        let (url, _) = request.url();
        Ok(Begun { url, browser: browser.into() })
    }

    /// Ends a sign-in: `query` is what the provider sent the browser back with, `browser` the
    /// value of its flow cookie.
    ///
    /// The order of the checks is the point: the sign-in is taken away before anything else is
    /// looked at, and the code goes to the provider only once the answer is known to be this
    /// browser's and this provider's.
    pub async fn finish(
        &self,
        name: &str,
        query: &str,
        browser: Option<&str>,
    ) -> Result<Finished, Stopped> {
        let provider = self.get(name)?;
        let answer = Returned::read(query)?;
        let state = answer.state.as_deref().ok_or(Refused::UnknownState)?;
        let flow = store::take(&self.0.db, &hash(state)).await?;
        let flow = flow.ok_or(Refused::UnknownState)?;
        let browser = hash(browser.ok_or(Refused::OtherBrowser)?);
        if !bool::from(browser.as_bytes().ct_eq(flow.browser_hash.as_bytes())) {
            return Err(Refused::OtherBrowser.into());
        }
        if flow.provider != name {
            return Err(Refused::OtherProvider.into());
        }
        if clock::now() - flow.created_at > store::LIFETIME {
            return Err(Refused::TooLate.into());
        }
        if answer.issuer.as_ref().is_some_and(|issuer| *issuer != provider.config.issuer) {
            return Err(Refused::ResponseIssuerWrong.into());
        }
        match answer.error.as_deref() {
            None => {}
            Some("access_denied" | "consent_required" | "login_required") => {
                return Err(Refused::AccessDenied.into());
            }
            Some("temporarily_unavailable" | "server_error") => {
                return Err(Refused::ProviderDown.into());
            }
            Some(_) => return Err(Refused::ProviderRefused.into()),
        }
        let metadata = self.metadata(provider).await?;
        if metadata.names_itself && answer.issuer.is_none() {
            return Err(Refused::ResponseIssuerMissing.into());
        }
        let code = answer.code.filter(|code| (1..=MAX_CODE).contains(&code.len()));
        let code = code.ok_or(Refused::NoCode)?;
        let open = |column, text: &str| self.0.sealer.open(field(column, &flow.state_hash), text);
        let verifier = open("verifier", &flow.verifier)?;
        let nonce = open("nonce", &flow.nonce)?;
        let link_token =
            flow.link_token.as_deref().map(|text| open("link_token", text)).transpose()?;
        let oauth = token::client(&provider.config, &metadata, self.redirect_uri(name)?)?;
        let tokens = token::exchange(&oauth, &self.0.outbound, code, &verifier).await?;
        let of = Of::SignIn { nonce: nonce.expose_secret() };
        let claims = self.claims(provider, &metadata, &tokens, of).await?;
        Ok(Finished {
            refresh: super::Refresh::of(&claims, &tokens),
            claims,
            next: flow.next,
            linking: flow.linking_account,
            link_token,
        })
    }

    /// The claims of the ID token that came with other tokens.
    pub(super) async fn claims(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        tokens: &Tokens,
        of: Of<'_>,
    ) -> Result<Claims, Refused> {
        let token = tokens.id_token.as_ref().ok_or(Refused::NoToken)?;
        let token = Unverified::read(token.expose_secret())?;
        let url = metadata.jwks_uri.as_str();
        let key = provider.keys.find(&self.0.outbound, url, token.kid()).await?;
        token.verified(&key)?.check(&Expected {
            issuer: &provider.config.issuer,
            client_id: &provider.config.client_id,
            audiences: &provider.config.audiences,
            access_token: tokens.access_token.expose_secret(),
            now: clock::now(),
            of,
        })
    }
}

/// The parameters that a provider sends a browser back with (RFC 6749 4.1.2, RFC 9207).
#[derive(Default)]
struct Returned {
    state: Option<String>,
    code: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
}

impl Returned {
    /// Others than these are ignored; one of these twice is an attempt to be read twice.
    fn read(query: &str) -> Result<Self, Refused> {
        let mut returned = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut returned.state,
                "code" => &mut returned.code,
                "iss" => &mut returned.issuer,
                "error" => &mut returned.error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(Refused::RepeatedParameter);
            }
        }
        Ok(returned)
    }
}
