//! Checks that can be repeated: ten kinds, run safely, judged by rule, and kept as
//! evidence.
//!
//! A probe is data ([`Probe`]): from the configuration, made by an operator, named by a
//! playbook, or learnt from the request that failed (`learnt`). [`Probes::run`] runs it,
//! strikes out secrets and stores what was seen ([`Sample`]).

mod check;
mod judge;
mod kinds;
mod learnt;
mod made;
mod page;
pub mod routes;
pub mod store;

use std::time::Duration;

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    auth::OrganizationId,
    clock, config,
    error::{Error, Result},
    redact,
};

pub use crate::db::Server;
pub use check::{Check, Secret, Service};
pub use config::Expect;
pub use kinds::{Seen, one_shot};
pub use learnt::Refused;
pub use made::Below;
pub use routes::router;

/// Bytes of a body that are kept, after striking out secrets.
pub const MAX_EXCERPT: usize = 2048;

/// A check that can be repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub name: String,
    /// The application whose origin an http check asks.
    pub app: Option<String>,
    pub check: Check,
    pub expect: Expect,
    /// The endpoints whose errors it can prove, whether or not it was red before: "POST
    /// /checkout". Empty: it proves only what it was red for.
    pub covers: Vec<String>,
    /// The causes whose end it can prove.
    pub causes: Vec<String>,
    /// How long a run may take.
    pub timeout: Duration,
    pub origin: Origin,
}

/// Who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ProbeOrigin)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `[[probes]]`
    Config,
    /// Over the API.
    Operator,
    Playbook,
    /// From the request that failed.
    Learnt,
}

/// What a run says.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[schema(as = ProbeOutcome)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Outcome {
    Pass,
    Fail,
    /// It answers (or could not be asked), and that proves nothing: 401, a redirect to a
    /// login, a file Lux may not read.
    Unclear,
}

/// What a run is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Phase {
    /// Whether the error is still there.
    Confirm,
    /// Before an action.
    Before,
    /// After it.
    After,
    /// While a resolution is watched.
    Watch,
    /// Somebody asked for it.
    Manual,
}

/// What the error said, for telling an answer that only looks good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failing {
    /// "KeyError"
    pub error_type: String,
    pub message: String,
    /// [`Sample::body_hash`] of an answer that is known to be the failing one.
    pub body_hash: Option<String>,
}

/// What a run is part of.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub organization: OrganizationId,
    /// The repair attempt.
    pub attempt: Option<i64>,
    pub phase: Phase,
    pub failing: Option<&'a Failing>,
}

/// What one run saw. Free of secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Sample {
    pub id: i64,
    /// The probe's name.
    pub probe: String,
    /// Samples of one key can be compared: same application, check and expectations.
    pub key: String,
    /// "http", "tcp", …
    pub kind: String,
    /// "" where the probe belongs to none.
    pub app: String,
    pub phase: Phase,
    #[serde(rename = "attempt_id")]
    pub attempt_id: Option<i64>,
    pub outcome: Outcome,
    /// "GET http://127.0.0.1:8000/checkout", "connect to 127.0.0.1:6379".
    pub request: String,
    /// The status of an http answer.
    pub status: Option<i64>,
    pub latency_ms: i64,
    /// Of the body without what varies (numbers, ids, blanks).
    pub body_hash: Option<String>,
    /// The beginning of the body, or what else was seen.
    pub excerpt: Option<String>,
    /// One sentence: why it passes, fails or proves nothing.
    pub why: String,
    /// What the request's X-Lux-Probe said.
    pub mark: String,
    pub started_at: DateTime<Utc>,
    /// When it was over.
    pub at: DateTime<Utc>,
}

/// Runs probes and remembers what they saw. Cheap to clone.
#[derive(Clone)]
pub struct Probes {
    app: App,
}

impl Probes {
    pub fn new(app: App) -> Self {
        Self { app }
    }

    /// Runs a probe and stores what it saw. A check that fails is a [`Sample`], too; an
    /// error is one of Lux's own (its database).
    pub async fn run(&self, probe: &Probe, context: &Context<'_>) -> Result<Sample> {
        let mark = uuid::Uuid::now_v7().simple().to_string();
        let key = probe.key();
        let memory = match context.failing {
            // Only an error's own request is compared with what it answered before.
            Some(failing) if probe.origin == Origin::Learnt => {
                let known = store::memory(&self.app.db, context.organization, &key).await?;
                Some(known.with(failing))
            }
            _ => None,
        };
        let started_at = clock::now();
        let seen = kinds::run(&self.app, probe, &mark, memory.as_ref()).await;
        let sample = Sample {
            id: 0,
            probe: probe.name.clone(),
            key,
            kind: probe.check.kind().as_str().to_owned(),
            app: probe.app.clone().unwrap_or_default(),
            phase: context.phase,
            attempt_id: context.attempt,
            outcome: seen.outcome,
            request: struck(&seen.request),
            status: seen.status.map(i64::from),
            latency_ms: millis(seen.took),
            body_hash: seen.body_hash,
            excerpt: seen.excerpt.as_deref().map(struck),
            why: struck(&seen.why),
            mark,
            started_at,
            at: clock::now(),
        };
        let asked = seen.asked.as_ref();
        store::insert(&self.app.db, context.organization, sample, asked, seen.has_content)
            .await
            .map_err(Error::from)
    }

    /// All probes with a name: those of the configuration and those that operators made.
    pub async fn all(&self, organization: OrganizationId) -> Result<Vec<Probe>> {
        let mut all = self.configured();
        for made in store::made(&self.app.db, organization).await? {
            // A name of the configuration wins over one that was made before it.
            if !all.iter().any(|probe| probe.name == made.definition.name) {
                all.push(self.typed(&made.definition, Origin::Operator)?);
            }
        }
        Ok(all)
    }

    /// The probe of that name.
    pub async fn find(&self, organization: OrganizationId, name: &str) -> Result<Option<Probe>> {
        if name.contains('\0') {
            return Ok(None);
        }
        if let Some(probe) = self.configured().into_iter().find(|probe| probe.name == name) {
            return Ok(Some(probe));
        }
        let made = store::find_made(&self.app.db, organization, name).await?;
        made.map(|made| self.typed(&made.definition, Origin::Operator)).transpose()
    }

    /// The samples of a key, newest first.
    pub async fn history(
        &self,
        organization: OrganizationId,
        key: &str,
        since: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<Sample>> {
        Ok(store::history(&self.app.db, organization, key, since, limit).await?)
    }

    /// The samples that were made for a repair attempt, in the order they were made.
    pub async fn of_attempt(
        &self,
        organization: OrganizationId,
        attempt: i64,
        limit: i64,
    ) -> Result<Vec<Sample>> {
        Ok(store::of_attempt(&self.app.db, organization, attempt, limit).await?)
    }

    /// When probes asked an application for this and it failed: an event that lies within
    /// one of these spans may be the probe's own doing. Oldest first, at most 1000.
    ///
    /// `path` is the path without its query; any method if `method` is `None`.
    pub async fn failed_between(
        &self,
        organization: OrganizationId,
        app: &str,
        method: Option<&str>,
        path: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
        let spans = store::failed(&self.app.db, organization, app, method, path, from, to);
        Ok(spans.await?)
    }

    /// A probe that repeats the request that an error names: untrusted text. Refused, with
    /// the reason, where repeating it could change data, or it is not plainly a path of a
    /// configured application.
    pub fn learnt(
        &self,
        app: &str,
        method: Option<&str>,
        endpoint: &str,
    ) -> Result<Probe, Refused> {
        let apps = self.app.apps.monitored();
        learnt::learn(&self.app.config, &apps, app, method, endpoint)
    }

    /// Where the database of a probe is, if its URL can be read and says so.
    pub fn server(&self, probe: &Probe) -> Option<Server> {
        match &probe.check {
            Check::Database { url, .. } => kinds::server(&self.app.config, url),
            _ => None,
        }
    }

    fn configured(&self) -> Vec<Probe> {
        let probes = self.app.config.probes.iter();
        // They were checked when the configuration was read.
        probes.filter_map(|probe| self.typed(probe, Origin::Config).ok()).collect()
    }

    /// The typed form of an entry of `[[probes]]`.
    pub fn typed(&self, definition: &config::Probe, origin: Origin) -> Result<Probe> {
        // A probe of the configuration means the only one of the configuration.
        let only = |entries: &[config::AppEntry]| match entries {
            [only] if definition.kind == config::ProbeKind::Http => Some(only.name.clone()),
            _ => None,
        };
        let app = definition
            .app
            .clone()
            .or_else(|| only(&self.app.config.apps))
            .or_else(|| only(&self.app.apps.monitored()));
        Ok(Probe {
            name: definition.name.clone(),
            app,
            check: Check::from_definition(definition)?,
            expect: definition.expect.clone(),
            covers: definition.covers.clone(),
            causes: definition.causes.clone(),
            timeout: definition.time(),
            origin,
        })
    }
}

impl Probe {
    /// Stable hash of application, check and expectations: results are compared by it.
    pub fn key(&self) -> String {
        let app = self.app.as_deref().unwrap_or_default();
        let text = serde_json::json!([1, app, self.check, self.expect]).to_string();
        hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref(), 16)
    }
}

/// The first `bytes` bytes as hexadecimal digits.
fn hex(digest: &[u8], bytes: usize) -> String {
    use std::fmt::Write as _;
    digest.iter().take(bytes).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Without secrets, and without what PostgreSQL's text cannot hold.
fn struck(text: &str) -> String {
    redact::secrets(&text.replace('\0', "\u{fffd}")).into_owned()
}
