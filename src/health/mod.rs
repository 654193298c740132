//! Is Lux itself well, and what does it depend on: database, disk, log sources, the
//! capture queue, the model.

mod routes;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    app::App,
    clock,
    errors::{self, Capture, FromLogs, Intake},
    integrations,
    llm::Standing,
    logs::SourceState,
    mail, notify,
    repair::action::Actions,
};

pub use routes::router;

/// How well a part is; ordered from well to ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wellness {
    Ok,
    Unknown,
    Degraded,
    Down,
}

/// One part with its state.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = HealthPart)]
pub struct Part {
    pub state: Wellness,
    /// Since when it is in this state, as far as this process has seen.
    pub since: DateTime<Utc>,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// Everything at one moment.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Snapshot {
    /// The worst state of the parts Lux cannot do without.
    pub status: Wellness,
    pub started_at: DateTime<Utc>,
    pub parts: BTreeMap<String, Part>,
}

/// How long the database may take to say that it is there.
const PING: Duration = Duration::from_secs(2);

/// Free space below which Lux says so, and below which it counts as down, in bytes.
const LOW_DISK: u64 = 256 << 20;
const NO_DISK: u64 = 8 << 20;

type Seen = BTreeMap<String, (Wellness, DateTime<Utc>)>;

/// Looks at the parts and remembers since when each is as it is. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    app: App,
    capture: Capture,
    from_logs: FromLogs,
    intake: Intake,
    actions: Actions,
    /// Each part's state, and since when.
    seen: Arc<Mutex<Seen>>,
    /// Tells what becomes of them.
    watch: notify::Watch,
}

impl Health {
    /// Starts looking: states are noticed when they change, not when somebody asks.
    pub fn start(
        app: &App,
        capture: Capture,
        from_logs: FromLogs,
        intake: Intake,
        actions: Actions,
    ) -> Self {
        let seen = Arc::default();
        let watch = notify::Watch::default();
        let health = Self { app: app.clone(), capture, from_logs, intake, actions, seen, watch };
        let watcher = health.clone();
        app.tasks.spawn(async move {
            let mut timer = tokio::time::interval(Duration::from_secs(15));
            let shutdown = watcher.app.shutdown.clone();
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                let snapshot = watcher.snapshot().await;
                watcher.watch.look(&watcher.app, &told(&snapshot)).await;
                watcher.app.metrics.run_upkeep();
            }
        });
        health
    }

    /// Whether requests can be served: the database answers, and we are not stopping.
    pub async fn ready(&self) -> Result<(), String> {
        if self.app.shutdown.is_cancelled() {
            return Err("Lux is shutting down".to_owned());
        }
        self.ping().await.map(drop)
    }

    /// Looks at every part now.
    pub async fn snapshot(&self) -> Snapshot {
        let mut parts = BTreeMap::new();
        // What the database is asked, it is asked at once.
        let (ping, actions, storms, connections, notifications) = tokio::join!(
            self.ping(),
            actions(&self.actions),
            storms(&self.app),
            connections(&self.app),
            notifications(&self.app),
        );
        let (state, detail) = match ping {
            Ok(detail) => (Wellness::Ok, detail),
            Err(detail) => (Wellness::Down, detail),
        };
        parts.insert("database".to_owned(), self.note("database", state, detail));
        let (state, detail) = disk(&self.app.config.data_dir);
        parts.insert("disk".to_owned(), self.note("disk", state, detail));
        let (state, detail) = capture(&self.capture);
        parts.insert("capture".to_owned(), self.note("capture", state, detail));
        let (state, detail) = from_logs(&self.from_logs);
        parts.insert("from_logs".to_owned(), self.note("from_logs", state, detail));
        for source in self.intake.states() {
            let name = format!("error_source {}", source.name);
            let (state, detail) = match source.failing {
                None => (Wellness::Ok, format!("{} rows copied", source.copied)),
                Some(why) => (Wellness::Degraded, format!("cannot be read: {why}")),
            };
            let part = self.note(&name, state, detail);
            parts.insert(name, part);
        }
        let (state, detail) = actions;
        parts.insert("actions".to_owned(), self.note("actions", state, detail));
        let (state, detail) = storms;
        parts.insert("storms".to_owned(), self.note("storms", state, detail));
        let (state, detail) = connections;
        parts.insert("integrations".to_owned(), self.note("integrations", state, detail));
        let (state, detail) = logs(&self.app);
        parts.insert("logs".to_owned(), self.note("logs", state, detail));
        let (state, detail) = model(&self.app);
        parts.insert("model".to_owned(), self.note("model", state, detail));
        let (state, detail) = mail(&self.app);
        parts.insert("mail".to_owned(), self.note("mail", state, detail));
        let (state, detail) = notifications;
        parts.insert("notifications".to_owned(), self.note("notifications", state, detail));
        // A log that is missing is a fact about the host, not an illness of Lux.
        let vital = ["database", "disk", "capture"];
        let status = vital.iter().filter_map(|name| parts.get(*name)).map(|part| part.state).max();
        Snapshot {
            status: status.unwrap_or(Wellness::Unknown),
            started_at: self.app.started_at,
            parts,
        }
    }

    async fn ping(&self) -> Result<String, String> {
        let started = clock::instant();
        match tokio::time::timeout(PING, self.app.db.ping()).await {
            Ok(Ok(())) => {
                let (name, taken) = (self.app.db.name(), started.elapsed());
                Ok(format!("{name} answered in {:.1} ms", taken.as_secs_f64() * 1000.0))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the database does not answer");
                Err("the database does not answer; reported errors are refused (503) until it does, logs wait in their files".to_owned())
            }
            Err(_) => Err(format!("the database did not answer within {} s", PING.as_secs())),
        }
    }

    fn note(&self, name: &str, state: Wellness, detail: impl Into<String>) -> Part {
        let now = clock::now();
        let mut since = now;
        if let Ok(mut seen) = self.seen.lock() {
            let entry = seen.entry(name.to_owned()).or_insert((state, now));
            if entry.0 != state {
                tracing::warn!(part = name, was = ?entry.0, is = ?state, "health changed");
                *entry = (state, now);
            }
            since = entry.1;
        }
        Part { state, since, detail: detail.into() }
    }
}

/// How the log sources are doing; a source that is missing is a fact about the host.
fn logs(app: &App) -> (Wellness, String) {
    if let Some(since) = app.live.unsaved_since() {
        let text = "the database has not taken the log positions; after a restart lines would be \
                    read again";
        return (Wellness::Degraded, format!("since {since} {text}"));
    }
    let sources = app.live.status();
    let all = sources.len();
    let count = |state| sources.iter().filter(|source| source.state == state).count();
    let denied = sources.iter().find(|source| source.state == SourceState::Denied);
    let (read, missing) = (count(SourceState::Ok), count(SourceState::Missing));
    let text = format!("{read} of {all} sources are read, {missing} are not there");
    match denied {
        None => (Wellness::Ok, text),
        Some(denied) => {
            let why = denied.remedy.as_deref().or(denied.detail.as_deref()).unwrap_or_default();
            (Wellness::Degraded, format!("{text}; {} may not be read: {why}", denied.name))
        }
    }
}

/// How the model has been doing; it is not asked for this.
fn model(app: &App) -> (Wellness, String) {
    let host = app.config.model.host();
    match app.llm.standing() {
        Standing::Off => {
            (Wellness::Ok, "no key is set: the built-in advisor answers alone".to_owned())
        }
        Standing::Unknown => (Wellness::Unknown, format!("{host} has not been asked yet")),
        Standing::Well { at } => (Wellness::Ok, format!("{host} answered at {}", seconds(at))),
        Standing::Ill { at, trouble } => (
            Wellness::Degraded,
            format!("at {}: {trouble}; the built-in advisor answers instead", seconds(at)),
        ),
    }
}

fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// How the mail server has been doing; it is not asked for this.
fn mail(app: &App) -> (Wellness, String) {
    let host = app.config.mail.host.as_deref().unwrap_or_default();
    match app.mail.standing() {
        mail::Standing::Off => (
            Wellness::Ok,
            "not set up: no mail goes out (LUX_SMTP_URL and LUX_MAIL_FROM set it up)".to_owned(),
        ),
        mail::Standing::Unknown => (Wellness::Unknown, format!("{host} has not been asked yet")),
        mail::Standing::Well { at } => {
            (Wellness::Ok, format!("{host} answered at {}", seconds(at)))
        }
        mail::Standing::Ill { at, trouble } => {
            (Wellness::Degraded, format!("at {}: {trouble}", seconds(at)))
        }
    }
}

/// Whether actions may run.
async fn actions(actions: &Actions) -> (Wellness, String) {
    let catalogue = actions.catalogue();
    if let Some(why) = catalogue.off() {
        return (Wellness::Ok, why.to_owned());
    }
    match tokio::time::timeout(PING, actions.standing()).await {
        Ok(Ok(standing)) => match standing.reason {
            Some(why) => (Wellness::Degraded, why),
            None => (Wellness::Ok, format!("{} actions may run", catalogue.len())),
        },
        Ok(Err(_)) | Err(_) => {
            (Wellness::Unknown, "none can run until the database answers".to_owned())
        }
    }
}

/// Whether far more errors come than usual, anywhere.
async fn storms(app: &App) -> (Wellness, String) {
    match tokio::time::timeout(PING, errors::store::storms::open(&app.db)).await {
        Ok(Ok(open)) if open.is_empty() => (Wellness::Ok, "no storm of errors".to_owned()),
        Ok(Ok(open)) => {
            let events: i64 = open.iter().map(|open| open.storm.count).sum();
            let count = open.len();
            let text = format!(
                "{count} storms of errors with {events} events so far; \
                 GET /api/diagnostics/storms lists them"
            );
            (Wellness::Degraded, text)
        }
        Ok(Err(_)) | Err(_) => {
            (Wellness::Unknown, "nothing is known until the database answers".to_owned())
        }
    }
}

/// Whether the services of others that people connected can be used; they are not asked for this.
async fn connections(app: &App) -> (Wellness, String) {
    const NAMED: usize = 5;
    let unknown = || (Wellness::Unknown, "nothing is known until the database answers".to_owned());
    let looked = tokio::time::timeout(PING, async {
        let standing = integrations::standing(&app.db, None).await?;
        let failing = integrations::calls::failing(&app.db).await?;
        Ok::<_, crate::error::Error>((standing, failing))
    });
    let Ok(Ok((standing, failing))) = looked.await else { return unknown() };
    let ill = standing.iter().filter(|it| it.is_problematic());
    let mut ill: Vec<String> = ill.map(integrations::Standing::advice).collect();
    ill.extend(failing.into_iter().map(|(service, why)| format!("calls from {service}: {why}")));
    let connected = standing.len();
    match ill.len() {
        0 if connected == 0 => (Wellness::Ok, "no service is connected".to_owned()),
        0 => (Wellness::Ok, format!("{connected} connections work")),
        many => {
            ill.truncate(NAMED);
            let text = ill.join("; ");
            (Wellness::Degraded, format!("{many} of {connected} connections need a look: {text}"))
        }
    }
}

/// Whether what happens reaches those who are to be told; they are not asked for this.
async fn notifications(app: &App) -> (Wellness, String) {
    match tokio::time::timeout(PING, notify::standing(&app.db)).await {
        Ok(Ok((0, _))) => (Wellness::Ok, "no channel is set up: nobody is told".to_owned()),
        Ok(Ok((all, failing))) if failing.is_empty() => {
            (Wellness::Ok, format!("{all} channels work, as far as they were used"))
        }
        Ok(Ok((all, failing))) => {
            let named: Vec<String> =
                failing.iter().map(|(name, why)| format!("\"{name}\": {why}")).collect();
            let (count, text) = (failing.len(), named.join("; "));
            (Wellness::Degraded, format!("{count} of {all} channels fail: {text}"))
        }
        Ok(Err(_)) | Err(_) => {
            (Wellness::Unknown, "nothing is known until the database answers".to_owned())
        }
    }
}

/// The parts of which something is known, for those who are told of changes.
fn told(snapshot: &Snapshot) -> Vec<(&str, notify::Standing, &str)> {
    let parts = snapshot.parts.iter().filter_map(|(name, part)| {
        let standing = match part.state {
            Wellness::Ok => notify::Standing::Ok,
            Wellness::Degraded => notify::Standing::Degraded,
            Wellness::Down => notify::Standing::Down,
            Wellness::Unknown => return None,
        };
        Some((name.as_str(), standing, part.detail.as_str()))
    });
    parts.collect()
}

/// Whether reported errors are being stored.
fn capture(capture: &Capture) -> (Wellness, String) {
    let doing = capture.doing();
    let counted = format!("{} events stored, {} turned away", doing.stored, doing.turned_away);
    match doing.failing {
        Some((since, why)) => (Wellness::Down, format!("since {since}: {why}; {counted}")),
        None => (Wellness::Ok, counted),
    }
}

/// Whether errors in logs become events.
fn from_logs(from_logs: &FromLogs) -> (Wellness, String) {
    let doing = from_logs.doing();
    let counted = format!(
        "{} records became events, {} told of known ones, {} came from probes, {} wait, {} dropped",
        doing.captured, doing.joined, doing.of_probes, doing.held, doing.dropped
    );
    match doing.dropped_lately {
        Some(at) => {
            let text = "more errors were logged at once than could be taken; the logs have them";
            (Wellness::Degraded, format!("at {} {text}; {counted}", seconds(at)))
        }
        None => (Wellness::Ok, counted),
    }
}

/// Free space where Lux writes.
pub fn disk(folder: &Path) -> (Wellness, String) {
    // A folder that will be made takes its room from the one it will be made in.
    let folder = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(folder) {
        Err(error) => (Wellness::Unknown, format!("{}: {error}", folder.display())),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!("{} MiB free in {}", free >> 20, folder.display());
            match free {
                ..NO_DISK => (Wellness::Down, format!("{text}: nothing can be stored; make room")),
                NO_DISK..LOW_DISK => (Wellness::Degraded, format!("{text}: make room soon")),
                _ => (Wellness::Ok, text),
            }
        }
    }
}
