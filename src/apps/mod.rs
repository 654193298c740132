//! Monitored applications: who they are, by which keys they report, how much they may send.
//!
//! Those of `[[apps]]` and those that `lux apps add` made stand in one table, and everything
//! that asks for an application's address asks here ([`Apps::monitored`]).

mod dsn;
mod quota;
mod remembered;
pub mod sdk;
mod shown;
pub mod store;
mod usage;
mod wish;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::{
    auth::OrganizationId,
    clock,
    config::{AppEntry, Config},
    db::Db,
    error::{Error, Result},
};

pub use dsn::Address;
pub use quota::{OverQuota, Quota};
use remembered::Remembered;
pub use shown::{Shown, ShownKey};
pub use usage::Outcome;
pub use wish::{Change, Wish};

/// How long a server goes on believing what it read of applications and keys.
pub const REMEMBERED: Duration = Duration::from_secs(2);

/// How often what was counted is stored.
const EVERY: Duration = Duration::from_secs(1);

/// An application that is known by one of its keys.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: i64,
    pub organization: OrganizationId,
    /// Unique in its organization; what its events call `app`.
    pub name: String,
    /// The id of the key it was known by (`app_key.id`); 0 where none was asked for.
    pub key: i64,
    pub base_url: Option<Url>,
    pub allowed_origins: Vec<String>,
    pub scrub: Scrub,
    pub quota: Quota,
}

impl Known {
    /// Whether a web page of this origin (`https://shop.example:8443`) may report errors of
    /// the application. "*" in the list allows all, "https://*.example.com" every subdomain.
    pub fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|allowed| wish::matches(allowed, origin))
    }
}

/// What is struck out of an application's events besides passwords, tokens and cookies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scrub {
    /// Strike nothing out, not even the usual.
    pub off: bool,
    /// E-mail addresses, too.
    pub emails: bool,
    /// The addresses of clients, too.
    pub addresses: bool,
    /// More names of variables, headers and fields whose values are secret.
    pub keys: Vec<String>,
}

/// The monitored applications. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Apps(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// `[[apps]]`.
    configured: Vec<AppEntry>,
    default_quota: Quota,
    keys: remembered::Keys,
    buckets: quota::Buckets,
    usage: usage::Usage,
    list: RwLock<List>,
}

/// What was last read of all applications.
#[derive(Clone, Debug)]
struct List {
    all: Arc<Vec<Known>>,
    monitored: Arc<Vec<AppEntry>>,
    since: Option<Instant>,
}

impl Apps {
    /// Writes `[[apps]]` into the table, reads all, and stores once a second what was counted.
    pub async fn start(
        db: &Db,
        config: &Config,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Self> {
        let apps = Self::of(config);
        store::sync(db, OrganizationId::FIRST, &config.apps).await?;
        apps.read(db).await?;
        let (own, db, shutdown) = (apps.clone(), db.clone(), shutdown.clone());
        tasks.spawn(async move {
            let mut timer = tokio::time::interval(EVERY);
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut tick = 0_u32;
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                tick = tick.wrapping_add(1);
                own.flush(&db).await;
                own.tick(&db, tick).await;
            }
        });
        Ok(apps)
    }

    fn of(config: &Config) -> Self {
        let configured = config.apps.clone();
        let list =
            List { all: Arc::default(), monitored: Arc::new(configured.clone()), since: None };
        Self(Arc::new(Parts {
            configured,
            default_quota: Quota { events_per_minute: config.capture.quota },
            keys: remembered::Keys::default(),
            buckets: quota::Buckets::default(),
            usage: usage::Usage::default(),
            list: RwLock::new(list),
        }))
    }

    async fn tick(&self, db: &Db, tick: u32) {
        // Every other second: what another process (`lux apps add`) wrote is noticed.
        if tick.is_multiple_of(2)
            && let Err(error) = self.read(db).await
        {
            tracing::debug!(%error, "the applications could not be read");
        }
        if tick % 3600 == 1
            && let Err(error) = store::forget_usage(db, clock::now()).await
        {
            tracing::warn!(%error, "old usage counts could not be removed");
        }
    }

    /// What this process knows of a key without asking the database; `None`: it has to.
    pub fn recall(&self, app: i64, public_key: &str) -> Option<Option<Arc<Known>>> {
        // What has another form was never given out.
        let Some(key) = dsn::parse_key(public_key) else { return Some(None) };
        match self.0.keys.remembered((app, key)) {
            Remembered::Known(known) => {
                self.0.usage.note_use(known.key);
                Some(Some(known))
            }
            Remembered::Unknown => Some(None),
            Remembered::Nothing => None,
        }
    }

    /// Whether it was a live key when this process last asked: then it is no guess.
    pub fn knew(&self, app: i64, public_key: &str) -> bool {
        dsn::parse_key(public_key).is_some_and(|key| self.0.keys.was_known((app, key)))
    }

    /// The application with this id, if the key is one of its live keys, from the database.
    /// [`Apps::recall`] knows it for the next two seconds; unknown ones, too.
    pub async fn recognise(
        &self,
        db: &Db,
        app: i64,
        public_key: &str,
    ) -> Result<Option<Arc<Known>>> {
        let Some(key) = dsn::parse_key(public_key) else { return Ok(None) };
        let found = store::by_key(db, app, &dsn::key_text(key), self.0.default_quota).await?;
        let known = found.map(Arc::new);
        self.0.keys.remember((app, key), known.clone());
        if let Some(known) = &known {
            self.0.usage.note_use(known.key);
        }
        Ok(known)
    }

    /// Takes `events` from the application's quota, or says when to come back. Each process
    /// counts for itself: N replicas allow N times the quota.
    pub fn admit(&self, app: &Known, events: u32) -> Result<(), OverQuota> {
        self.0.buckets.take(app.id, app.quota, events)
    }

    /// Counts what came, for `GET /api/apps/{id}/usage`; written once a second by one
    /// statement, lost at most by a kill -9.
    pub fn count(&self, app: &Known, outcome: Outcome, category: &'static str, n: u64) {
        self.0.usage.count(app.id, category, outcome, n);
    }

    /// All live applications of all organizations (the first [`store::MAX_ALL`]), remembered
    /// like keys.
    pub async fn all(&self, db: &Db) -> Result<Arc<Vec<Known>>> {
        let list = self.list();
        let fresh = |since: Instant| clock::instant().saturating_duration_since(since) < REMEMBERED;
        if list.since.is_some_and(fresh) {
            return Ok(list.all);
        }
        self.read(db).await?;
        Ok(self.list().all)
    }

    /// The applications with an address, as they were a moment ago: those of `[[apps]]`, then
    /// those of the table. Only the first organization's, whose configuration this is: another
    /// one's application of the same name must not say where probes go.
    pub fn monitored(&self) -> Arc<Vec<AppEntry>> {
        self.list().monitored
    }

    /// Refuses the name of an application that nothing knows.
    pub fn check(&self, config: &Config, name: Option<&str>) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        let list = self.list();
        let first = |app: &&Known| app.organization == OrganizationId::FIRST;
        if list.all.iter().filter(first).any(|app| app.name == name) || config.names_app(name) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "there is no app \"{name}\"; `lux apps list` and [[apps]] in lux.toml name them"
        )))
    }

    /// Reads the applications again, and forgets what was remembered of keys: after a change
    /// of this process, which then holds at once.
    pub async fn changed(&self, db: &Db) -> Result<()> {
        self.0.keys.forget();
        self.read(db).await
    }

    /// Whether `[[apps]]` lists the application, so that lux.toml has the last word on it.
    pub fn is_configured(&self, organization: OrganizationId, name: &str) -> bool {
        organization == OrganizationId::FIRST
            && self.0.configured.iter().any(|entry| entry.name == name)
    }

    /// What applies where an application has no quota of its own.
    pub fn default_quota(&self) -> Quota {
        self.0.default_quota
    }

    /// Stores what was counted since the last time.
    pub async fn flush(&self, db: &Db) {
        self.0.usage.flush(db).await;
    }

    /// What came since then, with what this replica has counted until now; at most 5000 rows.
    /// Of another replica the last second may be missing.
    pub async fn usage(&self, db: &Db, app: i64, since: DateTime<Utc>) -> Result<Vec<store::Hour>> {
        self.flush(db).await;
        Ok(store::usage(db, app, since).await?)
    }

    async fn read(&self, db: &Db) -> Result<()> {
        let all = store::all(db, self.0.default_quota).await?;
        let mut monitored = self.0.configured.clone();
        for app in all.iter().filter(|app| app.organization == OrganizationId::FIRST) {
            if let Some(base_url) = &app.base_url
                && !self.0.configured.iter().any(|entry| entry.name == app.name)
            {
                monitored.push(AppEntry {
                    name: app.name.clone(),
                    base_url: base_url.clone(),
                    deploy_paths: Vec::new(),
                });
            }
        }
        let mut list = self.0.list.write().unwrap_or_else(PoisonError::into_inner);
        *list = List {
            all: Arc::new(all),
            monitored: Arc::new(monitored),
            since: Some(clock::instant()),
        };
        Ok(())
    }

    fn list(&self) -> List {
        self.0.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
