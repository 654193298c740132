//! A token that is fresh. A provider that rotates refresh tokens takes one that comes twice for a
//! stolen one and ends them all, so of all replicas and requests one refreshes, under a lease on
//! the row, and whoever loses never touches it. No transaction is open while a provider is asked.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::{
        Integrations,
        call::words,
        provider::{self, Provider},
        token::{self, Refused},
        trouble::Trouble,
    },
    Status, access_field, refresh_field,
    store::{self, Held, Renewed},
};
use crate::{
    clock,
    error::{Error, Result},
};

/// A token is renewed when less than this is left of it.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// How long a refresh may take before another replica may try; over twice the request's limit.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// The pause after a provider did not answer, or did not know Lux.
const PAUSE: TimeDelta = TimeDelta::seconds(30);
const LONG_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// How often, and for how long, is looked whether another has refreshed.
const LOOK: Duration = Duration::from_millis(75);
const PATIENCE: Duration = Duration::from_secs(12);

/// How often is looked for tokens that are about to end.
const EVERY: Duration = Duration::from_secs(30);

/// A token to call with.
pub(in crate::integrations) struct Fresh {
    pub token: SecretString,
    pub version: i64,
    pub expires_at: Option<DateTime<Utc>>,
}

/// What is to be done about a token.
enum Next {
    Use(Held),
    Refresh(Held),
}

impl Integrations {
    /// A token that is good for a while; `failed` is the version of one that the provider did not
    /// accept although it should have.
    pub(in crate::integrations) async fn fresh(
        &self,
        grant: i64,
        failed: Option<i64>,
    ) -> Result<Fresh, Trouble> {
        if let Next::Use(held) = self.next(grant, failed).await? {
            return self.open(&held);
        }
        // Requests of this process wait for one another; what the first brought, the others use.
        let one = self.lock_of(grant);
        let guard = one.lock_owned().await;
        let held = match self.next(grant, failed).await? {
            Next::Use(held) => return self.open(&held),
            Next::Refresh(held) => held,
        };
        // On its own: a caller that goes away must not take the answer along.
        let this = self.clone();
        let refreshing = self.app().tasks.spawn(async move {
            let _guard = guard;
            this.refresh(grant, held, failed).await
        });
        match refreshing.await {
            Ok(refreshed) => refreshed,
            Err(error) => Err(Error::from(anyhow::anyhow!("a refresh ended: {error}")).into()),
        }
    }

    /// Renews a token that has time left.
    pub(in crate::integrations) async fn renew_now(&self, grant: i64) -> Result<(), Trouble> {
        let held = store::held(&self.app().db, grant).await?;
        let held = held.ok_or(Error::NotFound("connection"))?;
        if !held.can_refresh && held.status == Status::Active {
            let label = provider::find(&held.provider)?.label;
            return Err(Error::Conflict(format!(
                "{label} gave no token to renew this one with; it is used as long as it lasts"
            ))
            .into());
        }
        self.fresh(grant, Some(held.version)).await.map(drop)
    }

    async fn next(&self, grant: i64, failed: Option<i64>) -> Result<Next, Trouble> {
        let held = store::held(&self.app().db, grant).await?;
        let held = held.ok_or(Error::NotFound("connection"))?;
        let provider = provider::find(&held.provider)?;
        if matches!(held.status, Status::Expired | Status::Revoked) || held.access_sealed.is_none()
        {
            let why = held.last_error.unwrap_or_else(|| "its consent ended".to_owned());
            return Err(Trouble::Ended { label: provider.label, why });
        }
        let now = clock::now();
        let is_over = held.expires_at.is_some_and(|at| at <= now);
        // Another has brought a newer one since.
        let has_failed = failed.is_some_and(|version| version >= held.version);
        let is_due = held.expires_at.is_some_and(|at| at - now < AHEAD);
        if !has_failed && !is_due {
            return Ok(Next::Use(held));
        }
        if !held.can_refresh {
            if !has_failed && !is_over {
                return Ok(Next::Use(held));
            }
            let (status, why) = if is_over {
                (Status::Expired, "its token is over, and there is none to renew it with")
            } else {
                (Status::Revoked, "it does not accept its token any more")
            };
            store::ended(&self.app().db, grant, held.version, status, why).await?;
            return Err(Trouble::Ended { label: provider.label, why: why.to_owned() });
        }
        if held.try_again_at.is_some_and(|at| at > now) {
            if !has_failed && !is_over {
                return Ok(Next::Use(held));
            }
            let why = held.last_error.unwrap_or_else(|| "it could not be asked".to_owned());
            return Err(Trouble::Down { label: provider.label, why });
        }
        Ok(Next::Refresh(held))
    }

    fn open(&self, held: &Held) -> Result<Fresh, Trouble> {
        let sealed = held.access_sealed.as_deref().unwrap_or_default();
        let token = self.app().sealer.open(access_field(&held.row_name), sealed)?;
        Ok(Fresh { token, version: held.version, expires_at: held.expires_at })
    }

    async fn refresh(
        &self,
        grant: i64,
        mut held: Held,
        failed: Option<i64>,
    ) -> Result<Fresh, Trouble> {
        let db = &self.app().db;
        let provider = provider::find(&held.provider)?;
        let owner = uuid::Uuid::now_v7().to_string();
        let began = clock::instant();
        loop {
            let was_interrupted = held.refresh_began_at.is_some();
            let leased = store::lease(db, grant, held.version, &owner, LEASE).await?;
            if let Some(sealed) = leased {
                self.redeem(grant, &held, provider, &owner, &sealed, was_interrupted).await?;
            } else if failed.is_none() && held.expires_at.is_none_or(|at| at > clock::now()) {
                // Somebody else is at it, and the one from before still does.
                return self.open(&held);
            } else if began.elapsed() > PATIENCE {
                let why = "another process has been renewing its token for long".to_owned();
                return Err(Trouble::Down { label: provider.label, why });
            } else {
                tokio::time::sleep(LOOK).await;
            }
            held = match self.next(grant, failed).await? {
                Next::Use(held) => return self.open(&held),
                Next::Refresh(held) => held,
            };
        }
    }

    /// Redeems the refresh token and writes down what came of it.
    async fn redeem(
        &self,
        grant: i64,
        held: &Held,
        provider: &'static Provider,
        owner: &str,
        sealed: &str,
        was_interrupted: bool,
    ) -> Result<(), Trouble> {
        let db = &self.app().db;
        let (row, version) = (&held.row_name, held.version);
        let refused = match self.ask(provider, row, sealed).await {
            Ok(tokens) => {
                let sealer = &self.app().sealer;
                let access = sealer.seal(access_field(row), tokens.access.expose_secret())?;
                let refresh = tokens
                    .refresh
                    .as_ref()
                    .map(|token| sealer.seal(refresh_field(row), token.expose_secret()))
                    .transpose()?;
                let new = Renewed {
                    access: &access,
                    refresh: refresh.as_deref(),
                    expires_at: tokens.expires_at,
                    refresh_expires_at: tokens.refresh_expires_at,
                    scopes: tokens.scopes.as_deref(),
                };
                if store::renewed(db, grant, version, owner, &new).await? {
                    tracing::debug!(grant, provider = provider.key, "a token was renewed");
                } else {
                    tracing::info!(grant, "a renewed token came too late: it was connected anew");
                }
                return Ok(());
            }
            Err(refused) => refused,
        };
        let now = clock::now();
        match refused {
            Refused::Grant(why) => {
                let is_withdrawn = ["revoked", "withdrawn", "uninstalled", "account_inactive"]
                    .iter()
                    .any(|word| why.to_lowercase().contains(word));
                let status = if is_withdrawn { Status::Revoked } else { Status::Expired };
                let why = if was_interrupted {
                    format!("Lux was stopped in the middle of renewing its token ({why})")
                } else {
                    format!("the consent is over ({why})")
                };
                tracing::warn!(grant, provider = provider.key, %why, "a connection ended");
                store::ended(db, grant, version, status, &why).await?;
            }
            Refused::Client(why) => {
                tracing::warn!(provider = provider.key, %why, "the provider does not know Lux");
                let why = format!("it does not accept Lux's client_id and client_secret: {why}");
                let again = now + LONG_PAUSE;
                store::not_renewed(db, grant, version, owner, &why, again, true).await?;
            }
            Refused::Passing(why) => {
                tracing::info!(grant, provider = provider.key, %why, "a token was not renewed");
                let again = now + PAUSE;
                store::not_renewed(db, grant, version, owner, &why, again, false).await?;
            }
        }
        Ok(())
    }

    async fn ask(
        &self,
        provider: &'static Provider,
        row: &str,
        sealed: &str,
    ) -> Result<token::Tokens, Refused> {
        let passing = |error: String| Refused::Passing(words(&error));
        let opened = self.app().sealer.open(refresh_field(row), sealed);
        let refresh = opened.map_err(|error| passing(error.to_string()))?;
        let of = self.registered(provider).map_err(|error| passing(error.to_string()))?;
        // The address is not part of a refresh; any will do for the client.
        let redirect = of.endpoints.token.as_str().to_owned();
        let oauth = token::client(of, redirect).map_err(|error| passing(error.to_string()))?;
        token::refresh(of, &oauth, &self.app().outbound, &refresh, clock::now()).await
    }

    /// Renews tokens before they end, whether or not anybody uses them.
    pub(in crate::integrations) fn keep_fresh(
        &self,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let (this, shutdown) = (self.clone(), shutdown.clone());
        tasks.spawn(async move {
            let mut timer = tokio::time::interval(EVERY);
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                if let Err(error) = this.renew_due().await {
                    tracing::warn!(%error, "tokens could not be renewed");
                }
            }
        });
    }

    async fn renew_due(&self) -> Result<()> {
        for grant in store::due(&self.app().db, clock::now() + AHEAD).await? {
            if self.app().shutdown.is_cancelled() {
                break;
            }
            // What came of it stands in the row.
            if let Err(trouble) = self.fresh(grant, None).await {
                tracing::debug!(grant, %trouble, "a token was not renewed");
            }
        }
        Ok(())
    }

    fn lock_of(&self, grant: i64) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks();
        // Nobody waits for those.
        if locks.len() > 1000 {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(locks.entry(grant).or_default())
    }
}
