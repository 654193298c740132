//! Sessions stay only as long as the provider stands by them: before the access token ends, the
//! refresh token is redeemed. Of several replicas one does it, because the provider takes a
//! refresh token that comes twice for a stolen one, and ends them all.

mod store;

use std::time::Duration;

use aws_lc_rs::rand;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Claims, Providers, Refused, Stopped,
    token::{self, Tokens},
    verify::Of,
};
use crate::{
    auth::session,
    error::{Error, Result},
    seal::Field,
};

/// How often it is looked for sessions that are due.
const EVERY: Duration = Duration::from_secs(5);

/// How long before its end an access token is replaced, in seconds.
const AHEAD: u64 = 300;

/// The lifetime of an access token that comes without one, in seconds.
const USUAL_LIFETIME: u64 = 3600;

/// Up to how long an attempt may take; longer than its three requests together.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// The first pause after a provider did not answer, in seconds; it doubles up to the longest.
const FIRST_PAUSE: u64 = 30;
const LONGEST_PAUSE: u64 = 1800;

/// A refresh token, and whom it must stay with. Only its sealed form is kept.
pub struct Refresh {
    kept: Kept,
    /// How long the access token beside it is valid, in seconds.
    lifetime: Option<u64>,
}

/// The text that is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    subject: String,
    auth_time: Option<i64>,
}

/// How an attempt ended that a provider was asked for.
enum Ended {
    Refreshed(Refresh),
    /// The provider does not stand by the session any more.
    Over(Refused),
    /// It could not be asked, which says nothing of the session.
    Later(Refused),
}

fn field(row: &str) -> Field<'_> {
    Field { table: "session", column: "refresh_sealed", row }
}

impl Refresh {
    pub(super) fn of(claims: &Claims, tokens: &Tokens) -> Option<Self> {
        let kept = Kept {
            token: tokens.refresh_token.as_ref()?.expose_secret().to_owned(),
            subject: claims.subject.clone(),
            auth_time: claims.auth_time,
        };
        Some(Self { kept, lifetime: tokens.lifetime })
    }

    /// When it is to be redeemed, from now on. Not all at once: sessions that began together
    /// would come together every time.
    fn due(&self) -> TimeDelta {
        let lifetime = self.lifetime.unwrap_or(USUAL_LIFETIME).clamp(60, 86_400);
        let ahead = AHEAD.min(lifetime / 2);
        seconds(lifetime - ahead - random_below(lifetime / 10))
    }
}

fn seconds(seconds: u64) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))
}

/// A number for spreading work in time. Without random bytes it is not spread.
fn random_below(end: u64) -> u64 {
    let mut bytes = [0; 8];
    if rand::fill(&mut bytes).is_err() {
        return 0;
    }
    u64::from_le_bytes(bytes) % end.max(1)
}

/// The pause after so many failures in a row.
fn pause(failures: i64) -> TimeDelta {
    let doubled = FIRST_PAUSE << failures.clamp(0, 10);
    let pause = doubled.min(LONGEST_PAUSE);
    seconds(pause + random_below(pause / 2))
}

impl Providers {
    /// Keeps what the provider gave for a session that began with it.
    pub async fn keep(&self, session: i64, refresh: &Refresh) -> Result<()> {
        let sealed = self.seal(session, refresh)?;
        let mut tx = self.0.db.begin().await?;
        let at = tx.now().await? + refresh.due();
        drop(tx);
        session::set_refresh(&self.0.db, session, &sealed, at).await
    }

    fn seal(&self, session: i64, refresh: &Refresh) -> Result<String> {
        let text = serde_json::to_string(&refresh.kept).map_err(anyhow::Error::from)?;
        self.0.sealer.seal(field(&session.to_string()), &text)
    }

    /// Redeems refresh tokens in the background as they become due.
    pub fn start(&self, tasks: &TaskTracker, shutdown: CancellationToken) {
        let providers = self.clone();
        tasks.spawn(async move {
            let mut timer = tokio::time::interval(EVERY);
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                if let Err(error) = providers.refresh_due(&shutdown).await {
                    tracing::warn!(%error, "sessions could not be refreshed at their provider");
                }
            }
        });
    }

    async fn refresh_due(&self, shutdown: &CancellationToken) -> Result<()> {
        for session in store::due(&self.0.db).await? {
            // One that was begun is ended: its result must be kept.
            if shutdown.is_cancelled() {
                break;
            }
            self.refresh(session).await?;
        }
        Ok(())
    }

    async fn refresh(&self, session: i64) -> Result<()> {
        let Some(lease) = store::lease(&self.0.db, session, LEASE).await? else { return Ok(()) };
        let row = session.to_string();
        let opened = self.0.sealer.open(field(&row), &lease.sealed);
        let kept = opened.ok().and_then(|text| serde_json::from_str(text.expose_secret()).ok());
        let Some(kept) = kept else {
            return session::end(&self.0.db, session, "what the provider gave cannot be opened")
                .await;
        };
        match self.redeem(&lease.provider, kept).await {
            Ok(Ended::Refreshed(refresh)) => {
                let sealed = self.seal(session, &refresh)?;
                store::refreshed(&self.0.db, session, &lease.owner, &sealed, refresh.due()).await
            }
            Ok(Ended::Over(refused)) => {
                tracing::info!(session, code = refused.code(), "a session ended at its provider");
                session::end(&self.0.db, session, refused.code()).await
            }
            Ok(Ended::Later(refused)) => {
                tracing::warn!(session, code = refused.code(), "a session was not refreshed");
                store::postpone(&self.0.db, session, &lease.owner, pause(lease.failures)).await
            }
            Err(error) => {
                store::postpone(&self.0.db, session, &lease.owner, pause(lease.failures)).await?;
                Err(error)
            }
        }
    }

    async fn redeem(&self, name: &str, kept: Kept) -> Result<Ended> {
        let ended = match self.ask(name, kept).await {
            Ok(refresh) => Ended::Refreshed(refresh),
            Err(Stopped::Failed(Error::NotFound(_))) => {
                // It is not configured any more; it may be again.
                Ended::Later(Refused::ProviderDown)
            }
            Err(Stopped::Failed(error)) => return Err(error),
            Err(Stopped::Refused(refused)) => match refused {
                Refused::ProviderDown
                | Refused::ClientRefused
                | Refused::NoAddress
                | Refused::AnswerInvalid
                | Refused::ProviderRefused => Ended::Later(refused),
                refused if refused.remedy() == super::Remedy::Settings => Ended::Later(refused),
                refused => Ended::Over(refused),
            },
        };
        Ok(ended)
    }

    async fn ask(&self, name: &str, kept: Kept) -> Result<Refresh, Stopped> {
        let provider = self.get(name)?;
        let metadata = self.metadata(provider).await?;
        let oauth = token::client(&provider.config, &metadata, self.redirect_uri(name)?)?;
        let before = SecretString::from(kept.token.as_str());
        let tokens = token::refresh(&oauth, &self.0.outbound, &before).await?;
        let mut lifetime = tokens.lifetime;
        // An ID token need not come along; one that does is of the same person.
        if tokens.id_token.is_some() {
            let of = Of::Refresh { subject: &kept.subject, auth_time: kept.auth_time };
            match self.claims(provider, &metadata, &tokens, of).await {
                Ok(_) => {}
                // It cannot be checked just now. The token before is used up, so this one is
                // kept, for the next check soon.
                Err(Refused::ProviderDown | Refused::UnknownKey) => lifetime = Some(0),
                Err(refused) => return Err(refused.into()),
            }
        }
        let token = tokens.refresh_token.map(|token| token.expose_secret().to_owned());
        let kept = Kept { token: token.unwrap_or(kept.token), ..kept };
        Ok(Refresh { kept, lifetime })
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, Refresh, TimeDelta, pause};

    #[test]
    fn it_is_due_before_the_end() {
        for (lifetime, from, to) in
            [(Some(3600), 2940, 3300), (None, 2940, 3300), (Some(0), 24, 30), (Some(120), 48, 60)]
        {
            let kept = Kept { token: String::new(), subject: String::new(), auth_time: None };
            let due = Refresh { kept, lifetime }.due().num_seconds();
            assert!((from..=to).contains(&due), "{lifetime:?}: {due}");
        }
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert!(pause(0) < TimeDelta::seconds(60));
        for failures in [10, 1000, i64::MAX] {
            assert!(pause(failures) >= TimeDelta::minutes(30));
            assert!(pause(failures) <= TimeDelta::minutes(45));
        }
    }
}
