//! The one way to call a connected service: a fresh token, the call, and what its answer means.
//! What expired is renewed and tried once more; what is too much waits; what nobody answered is
//! tried again if doing it twice is as good as once.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::{
    Integrations, Kind, Trouble,
    call::{Answer, Asker, Call, Came, trouble},
    grant::{Fresh, Status, store as grants},
    provider::{Complaint, Identity, Provider, highlevel},
    store::{self, Row},
};
use crate::{auth::OrganizationId, clock, error::Error};

/// How often a call is made in all, if nobody answers or it was too much.
const TRIES: u32 = 3;

/// The longest wait for a provider that has enough, while somebody waits for the answer, and
/// while nobody does.
const BRIEF: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(30);

/// The pause before a call that nobody answered is made again; it doubles.
const PAUSE: Duration = Duration::from_millis(300);

/// A connected service, ready to be called.
#[derive(Clone)]
pub struct Connection {
    integrations: Integrations,
    row: Row,
    kind: &'static Kind,
    details: Map<String, Value>,
    patience: Duration,
}

/// The token of one location, and until when it is good.
#[derive(Clone)]
pub(super) struct Located {
    token: SecretString,
    until: Instant,
}

impl Integrations {
    /// A connection of the organization by its id.
    pub async fn connection(
        &self,
        organization: OrganizationId,
        integration: i64,
    ) -> Result<Connection, Trouble> {
        let row = store::connected(&self.app().db, organization, integration).await?;
        let row = row.ok_or(Error::NotFound("connection"))?;
        let kind = Kind::find(&row.kind).ok_or(Error::NotFound("connection"))?;
        if !row.is_connected {
            return Err(Trouble::NotConnected(kind.label));
        }
        let details = serde_json::from_str(&row.details).unwrap_or_default();
        Ok(Connection { integrations: self.clone(), row, kind, details, patience: BRIEF })
    }
}

impl Connection {
    /// Waits longer for a provider that has enough: nobody waits for the answer.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patience = LONG;
        self
    }

    pub fn id(&self) -> i64 {
        self.row.id
    }

    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// Whose connection it is.
    pub fn account(&self) -> i64 {
        self.row.account_id
    }

    /// The chosen site or location.
    pub fn place(&self) -> Result<&str, Trouble> {
        self.row.place_id.as_deref().ok_or(Trouble::NoPlace(self.kind.label))
    }

    /// Where people look at it.
    pub fn place_url(&self) -> Option<&str> {
        self.row.place_url.as_deref()
    }

    /// Makes sure that there is a token, so that what keeps it from being there is known before
    /// anything leaves.
    pub async fn ready(&self) -> Result<(), Trouble> {
        self.integrations.fresh(self.row.grant_id, None).await.map(drop)
    }

    /// The body of an answer.
    pub async fn json(&self, call: Call) -> Result<Value, Trouble> {
        Ok(self.send(call).await?.body)
    }

    /// Makes a call.
    pub async fn send(&self, call: Call) -> Result<Answer, Trouble> {
        let (provider, db) = (self.kind.provider, &self.integrations.app().db);
        let label = provider.label;
        let missing = self.kind.missing(&self.row.granted_scopes);
        if !missing.is_empty() {
            return Err(Trouble::MissingScopes { label, scopes: missing.join(", ") });
        }
        let of = self.integrations.registered(provider)?;
        let (mut failed, mut was_renewed, mut tries) = (None, false, 0);
        loop {
            self.wait().await?;
            let fresh = self.integrations.fresh(self.row.grant_id, failed.take()).await?;
            let token = self.located(&fresh).await?;
            let token = token.as_ref().unwrap_or(&fresh.token);
            let outbound = &self.integrations.app().outbound;
            let asker = Asker::new(outbound, provider, &of.endpoints, token);
            tries += 1;
            match asker.send(&call).await? {
                Came::Answer(answer) => {
                    grants::used(db, self.row.grant_id).await?;
                    return Ok(answer);
                }
                Came::Complaint(status, complaint) => {
                    if !was_renewed && says_expired(provider, status, &complaint, &fresh) {
                        was_renewed = true;
                        failed = Some(fresh.version);
                        self.forget_located(fresh.version);
                        continue;
                    }
                    if let Complaint::TooMany(wait) = complaint {
                        let wait = wait.unwrap_or(PAUSE * 2 * tries);
                        self.note_full(wait);
                        if tries < TRIES && wait <= self.patience {
                            continue;
                        }
                        return Err(Trouble::TooMany { label, wait });
                    }
                    self.note(status, &complaint, &fresh).await?;
                    return Err(trouble(provider, complaint));
                }
                Came::Nothing(why) => {
                    if call.is_repeatable && tries < TRIES {
                        tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
                        continue;
                    }
                    grants::failed(db, self.row.grant_id, &why).await?;
                    return Err(Trouble::Down { label, why });
                }
                Came::Unreached(why) => {
                    if tries < TRIES {
                        tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
                        continue;
                    }
                    grants::failed(db, self.row.grant_id, &why).await?;
                    return Err(Trouble::Unreached { label, why });
                }
            }
        }
    }

    /// Writes down what a complaint says of the connection; most are the caller's own.
    async fn note(
        &self,
        status: StatusCode,
        complaint: &Complaint,
        fresh: &Fresh,
    ) -> Result<(), Trouble> {
        let (db, grant) = (&self.integrations.app().db, self.row.grant_id);
        match complaint {
            Complaint::Revoked(why) => {
                grants::ended(db, grant, fresh.version, Status::Revoked, why).await?;
            }
            Complaint::MissingScope(scope) => {
                let why = format!("a permission is missing: {scope}");
                grants::failed(db, grant, &why).await?;
            }
            // It was renewed a moment ago, and still is not accepted.
            Complaint::Expired => {
                grants::failed(db, grant, "it does not accept a new token").await?;
            }
            Complaint::Refused(_) if status == StatusCode::UNAUTHORIZED => {
                grants::failed(db, grant, "it does not accept a new token").await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until the provider takes more, if that is soon.
    async fn wait(&self) -> Result<(), Trouble> {
        let until = {
            let full = self.integrations.0.full.lock();
            full.unwrap_or_else(PoisonError::into_inner).get(&self.row.grant_id).copied()
        };
        let Some(until) = until else { return Ok(()) };
        let left = until.saturating_duration_since(clock::instant());
        if left > self.patience {
            return Err(Trouble::TooMany { label: self.kind.provider.label, wait: left });
        }
        tokio::time::sleep(left).await;
        Ok(())
    }

    fn note_full(&self, wait: Duration) {
        let now = clock::instant();
        let mut full = self.integrations.0.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.retain(|_, until| *until > now);
        full.insert(self.row.grant_id, now + wait);
    }

    /// An agency's token has to be exchanged for one of the location.
    async fn located(&self, fresh: &Fresh) -> Result<Option<SecretString>, Trouble> {
        if self.details.get("is_company").and_then(Value::as_bool) != Some(true) {
            return Ok(None);
        }
        let place = self.place()?.to_owned();
        let key = (self.row.grant_id, fresh.version, place.clone());
        let now = clock::instant();
        let known = {
            let located = self.integrations.0.located.lock();
            located.unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
        };
        if let Some(known) = known.filter(|known| known.until > now) {
            return Ok(Some(known.token));
        }
        let of = self.integrations.registered(self.kind.provider)?;
        let outbound = &self.integrations.app().outbound;
        let asker = Asker::new(outbound, self.kind.provider, &of.endpoints, &fresh.token);
        let company = self.details.get("company_id").and_then(Value::as_str).unwrap_or_default();
        let (token, lasts) = highlevel::location_token(&asker, company, &place).await?;
        let until = now + lasts.saturating_sub(Duration::from_mins(5));
        let mut located =
            self.integrations.0.located.lock().unwrap_or_else(PoisonError::into_inner);
        located.retain(|_, known| known.until > now);
        let copy = SecretString::from(token.expose_secret().to_owned());
        located.insert(key, Located { token: copy, until });
        Ok(Some(token))
    }

    fn forget_located(&self, version: i64) {
        let mut located =
            self.integrations.0.located.lock().unwrap_or_else(PoisonError::into_inner);
        located.retain(|key, _| (key.0, key.1) != (self.row.grant_id, version));
    }
}

/// Whether an answer means that the token is over.
fn says_expired(
    provider: &Provider,
    status: StatusCode,
    complaint: &Complaint,
    fresh: &Fresh,
) -> bool {
    if *complaint == Complaint::Expired {
        return true;
    }
    if matches!(complaint, Complaint::MissingScope(_) | Complaint::Revoked(_)) {
        return false;
    }
    let is_over = fresh.expires_at.is_some_and(|at| at <= clock::now());
    provider
        .expired_by
        .iter()
        .any(|by| by.status == status.as_u16() && (is_over || !by.only_when_over))
}

impl Connection {
    /// Who it is, asked of the provider. Its answers mean what those of [`Connection::send`] do.
    pub async fn identify(&self) -> Result<Identity, Trouble> {
        let (provider, db) = (self.kind.provider, &self.integrations.app().db);
        let of = self.integrations.registered(provider)?;
        let (mut failed, mut was_renewed, mut tries) = (None, false, 0);
        loop {
            self.wait().await?;
            let fresh = self.integrations.fresh(self.row.grant_id, failed.take()).await?;
            let mut answer = self.details.clone();
            let mut located = None;
            if let Some(place) = &self.row.place_id {
                answer.insert("locationId".to_owned(), place.as_str().into());
                located = self.located(&fresh).await?;
            }
            let token = located.as_ref().unwrap_or(&fresh.token);
            let outbound = &self.integrations.app().outbound;
            let asker = Asker::new(outbound, provider, &of.endpoints, token);
            tries += 1;
            let trouble = match (provider.identify)(&asker, &answer).await {
                Ok(identity) => {
                    grants::used(db, self.row.grant_id).await?;
                    return Ok(identity);
                }
                Err(trouble) => trouble,
            };
            let complained = asker.complained.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some((status, complaint)) = complained else {
                grants::failed(db, self.row.grant_id, &trouble.to_string()).await?;
                return Err(trouble);
            };
            if !was_renewed && says_expired(provider, status, &complaint, &fresh) {
                was_renewed = true;
                failed = Some(fresh.version);
                self.forget_located(fresh.version);
                continue;
            }
            if let Complaint::TooMany(wait) = complaint {
                let wait = wait.unwrap_or(PAUSE * 2 * tries);
                self.note_full(wait);
                if tries < TRIES && wait <= self.patience {
                    continue;
                }
                return Err(trouble);
            }
            self.note(status, &complaint, &fresh).await?;
            return Err(trouble);
        }
    }

    /// Renews the token now; a token that cannot be renewed stays as it is.
    pub async fn renew(&self) -> Result<(), Trouble> {
        self.integrations.renew_now(self.row.grant_id).await
    }
}
