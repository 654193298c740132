//! The way back: the attempt is taken away before anything else is looked at, and the code goes to
//! the provider only once the answer is known to be this person's and this provider's.

use secrecy::ExposeSecret;
use serde_json::json;
use url::form_urlencoded;

use super::{
    super::{
        Integrations, Kind,
        call::{Asker, words},
        grant::{access_field, refresh_field, store as grants},
        provider::{Identity, Place, Provider},
        store,
        token::{self, Tokens},
        trouble::Trouble,
    },
    Refused, end, person, verifier_field,
};
use crate::{
    auth::{Caller, audit, secret},
    clock,
    db::is_duplicate,
    error::Error,
};

/// The longest code that is taken, in bytes; those of some are JWTs.
const MAX_CODE: usize = 4096;

/// What was connected.
pub struct Finished {
    pub kind: &'static Kind,
    /// What it needs and was not granted.
    pub missing: Vec<&'static str>,
    /// Several sites or locations, of which one is to be chosen.
    pub needs_place: bool,
}

/// The parameters that a provider sends a browser back with.
#[derive(Default)]
struct Returned {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl Returned {
    /// One of these twice is an attempt to be read twice.
    fn read(query: &str) -> Result<Self, Refused> {
        let mut returned = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut returned.state,
                "code" => &mut returned.code,
                "error" => &mut returned.error,
                "error_description" => &mut returned.description,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(Refused::Garbled);
            }
        }
        Ok(returned)
    }
}

impl Integrations {
    /// Ends what [`Integrations::begin`] began: `query` is what the provider sent the browser back
    /// with, `kind` the one in the address, where there is one.
    pub async fn finish(
        &self,
        caller: &Caller,
        kind: Option<&str>,
        query: &str,
    ) -> Result<Finished, Refused> {
        let (account, session) = person(caller)?;
        let db = &self.app().db;
        let returned = Returned::read(query)?;
        let state = returned.state.as_deref().ok_or(Refused::NoState)?;
        let attempt = store::take_attempt(db, &secret::hash(state)).await?;
        let attempt = attempt.ok_or(Refused::UnknownState)?;
        if clock::now() - attempt.created_at > store::LIFETIME {
            return Err(Refused::TooLate);
        }
        let whose = (attempt.organization_id, attempt.account_id, attempt.session_id);
        if whose != (caller.organization, account, session) {
            return Err(Refused::OtherPerson);
        }
        if kind.is_some_and(|kind| kind != attempt.kind) {
            return Err(Refused::OtherProvider);
        }
        let kind = Kind::find(&attempt.kind).ok_or(Refused::OtherProvider)?;
        match returned.error.as_deref() {
            None => {}
            Some("access_denied" | "user_denied" | "user_cancelled_authorize") => {
                return Err(Refused::Denied);
            }
            Some(error) => {
                let said = returned.description.as_deref().unwrap_or(error);
                return Err(Refused::Provider(words(said)));
            }
        }
        let code = returned.code.filter(|code| (1..=MAX_CODE).contains(&code.len()));
        let code = code.ok_or(Refused::Garbled)?;
        let verifier = attempt
            .verifier_sealed
            .as_deref()
            .map(|sealed| self.app().sealer.open(verifier_field(&attempt.state_hash), sealed))
            .transpose()?;
        let of = self.registered(kind.provider)?;
        let oauth = token::client(of, self.redirect_uri(kind)?)?;
        let outbound = &self.app().outbound;
        let tokens =
            token::exchange(of, &oauth, outbound, code, verifier.as_ref(), clock::now()).await;
        let tokens = tokens.map_err(|refused| refused.trouble(kind.provider))?;
        let asker = Asker::new(outbound, kind.provider, &of.endpoints, &tokens.access);
        let identity = (kind.provider.identify)(&asker, &tokens.answer).await?;
        if identity.id.is_empty() {
            let has_sites =
                kind.provider.authorize_params.contains(&("audience", "api.atlassian.com"));
            return Err(if has_sites { Refused::NoPlace } else { Refused::Garbled });
        }
        let scopes = tokens.scopes.clone().unwrap_or_else(|| asked(kind.provider, &attempt.scopes));
        let finished = self.keep(caller, account, kind, &tokens, &identity, &scopes).await;
        // Two windows at once: the row of the other one is there now.
        match finished {
            Err(Refused::Trouble(Trouble::Failed(Error::Database(error))))
                if is_duplicate(&error) =>
            {
                self.keep(caller, account, kind, &tokens, &identity, &scopes).await
            }
            finished => finished,
        }
    }

    async fn keep(
        &self,
        caller: &Caller,
        account: i64,
        kind: &'static Kind,
        tokens: &Tokens,
        identity: &Identity,
        scopes: &str,
    ) -> Result<Finished, Refused> {
        let (sealer, organization) = (&self.app().sealer, caller.organization);
        let provider = kind.provider.key;
        let mut tx = self.app().db.begin().await?;
        let known = grants::known(&mut tx, organization, account, provider, &identity.id).await?;
        let (row_name, place_before) =
            known.unwrap_or_else(|| (uuid::Uuid::now_v7().to_string(), None));
        let access = sealer.seal(access_field(&row_name), tokens.access.expose_secret())?;
        let refresh = tokens
            .refresh
            .as_ref()
            .map(|token| sealer.seal(refresh_field(&row_name), token.expose_secret()))
            .transpose()?;
        let place = place(&identity.places, place_before.as_deref());
        let new = grants::New {
            organization,
            account,
            row_name: &row_name,
            provider,
            access: &access,
            refresh: refresh.as_deref(),
            expires_at: tokens.expires_at,
            refresh_expires_at: tokens.refresh_expires_at,
            scopes,
            identity,
            place,
            places: serde_json::to_string(&identity.places).map_err(broken)?,
            details: serde_json::to_string(&identity.details).map_err(broken)?,
        };
        let grant = grants::put(&mut tx, &new).await?;
        let (id, before) = store::connect(&mut tx, organization, account, kind.key, grant).await?;
        let given = match before {
            Some(before) => {
                grants::give_back(&mut tx, before, "another account was connected").await?
            }
            None => None,
        };
        let detail = json!({
            "provider": kind.key, "as": identity.username, "place": place.map(|place| &place.name),
            "scopes": scopes,
        });
        let subject = format!("integration {id}");
        audit::write(&mut tx, organization, caller, "integration.connected", &subject, &detail)
            .await?;
        tx.commit().await?;
        if let Some(given) = given {
            end::give_back(self, given);
        }
        Ok(Finished {
            kind,
            missing: kind.missing(scopes),
            needs_place: place.is_none() && !identity.places.is_empty(),
        })
    }
}

fn broken(error: serde_json::Error) -> Refused {
    Refused::from(Error::Internal(error.into()))
}

/// Where it serves: the only place, or the one from before.
fn place<'a>(places: &'a [Place], before: Option<&str>) -> Option<&'a Place> {
    match places {
        [only] => Some(only),
        several => several.iter().find(|place| Some(place.id.as_str()) == before),
    }
}

/// Where a provider says nothing of scopes, all that was asked for is granted (RFC 6749 5.1); but
/// a GitHub App has none at all.
fn asked(provider: &Provider, scopes: &str) -> String {
    if provider.key == "github" { String::new() } else { scopes.to_owned() }
}
