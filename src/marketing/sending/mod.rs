//! Campaigns go out: each mail once, whatever happens to the process in between.
//!
//! **The way of a mail**: `waiting` → claimed under the number of a run (committed) → written →
//! handed to the mail server → `sent`, `refused`, put off (`waiting`, with a time), `skipped`
//! (its contact may not be written to any more) or `uncertain`. A journal in the data directory
//! (see `journal`) says of each mail whether it was handed over, down to the system call. After
//! a kill -9 it tells the database what it does not know; what was claimed and not handed over
//! waits again. `uncertain` is what nobody can know: a connection that broke after the mail was
//! handed over, a host that is gone with its journal, a kill in the moment of handing over. An
//! operator decides about those ([`Sending::decide`]).
//!
//! **One run a campaign**: a job with lease and fence; it lives until the campaign has ended, also
//! while it is paused. Trouble with the mail server leaves the campaign `sending`, with the
//! reason in its note, and it goes on by itself.

pub mod bounce;
mod crew;
mod journal;
pub mod leaving;
mod links;
mod pace;
mod routes;
mod run;
mod store;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit},
    clock,
    db::Tx,
    error::{Error, Result},
    jobs::{Jobs, NewJob},
};

pub use links::{Links, Recipient, targets};
pub use routes::router;
pub use store::Counts;

use journal::Outcome;
use pace::Pace;

/// The kind of the job that sends one campaign.
const KIND: &str = "campaign_send";

/// Campaigns that are sent at once.
const AT_ONCE: usize = 4;

/// How often is looked for campaigns whose time has come.
const LOOK: Duration = Duration::from_secs(1);

/// A letter that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The number of the mail.
    pub mail: i64,
    pub contact: i64,
    /// Which of the version's subjects.
    pub subject: i64,
    /// Where the person unsubscribes: what is written may hold it; if not, it is added.
    pub unsubscribe: String,
}

/// A letter as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub mail: i64,
    pub subject: String,
    pub text: String,
    /// A whole document, or what stands in its body.
    pub html: Option<String>,
}

/// Writes the letters of an approved version. A mail that is missing in what is given back is
/// not sent.
pub trait Letters: Send + Sync + 'static {
    fn write<'a>(
        &'a self,
        campaign: i64,
        version: i64,
        wanted: &'a [Wanted],
    ) -> BoxFuture<'a, Result<Vec<Written>>>;
}

/// Sends campaigns. Cheap to clone.
#[derive(Clone)]
pub struct Sending(Arc<Shared>);

struct Shared {
    app: App,
    letters: Arc<dyn Letters>,
    /// Over all campaigns of this process.
    pace: Pace,
    /// Connections beyond the first of each campaign.
    lines: Arc<Semaphore>,
    /// How often in a row each campaign was held up by the mail server.
    held_up: Mutex<HashMap<i64, u32>>,
}

impl Sending {
    /// Begins to look for campaigns whose time has come, and settles what an earlier process
    /// left behind.
    pub fn start(app: &App, letters: Arc<dyn Letters>) -> Self {
        let config = app.mail.config();
        let lines = usize::try_from(config.connections).unwrap_or(1).saturating_sub(1);
        let sending = Self(Arc::new(Shared {
            app: app.clone(),
            letters,
            pace: Pace::per_minute(config.per_minute),
            lines: Arc::new(Semaphore::new(lines)),
            held_up: Mutex::default(),
        }));
        let runner = sending.clone();
        app.jobs.handle(KIND, AT_ONCE, move |lease| {
            let runner = runner.clone();
            async move { runner.run(lease).await }
        });
        let looker = sending.clone();
        app.tasks.spawn(async move {
            let shutdown = looker.0.app.shutdown.clone();
            shutdown.run_until_cancelled(looker.look()).await;
        });
        sending
    }

    fn folder(&self) -> PathBuf {
        journal::folder(&self.0.app.config.data_dir)
    }

    /// Starts what is due, and settles what earlier runs left, until it is dropped.
    async fn look(&self) {
        let mut timer = tokio::time::interval(LOOK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            timer.tick().await;
            let done = async {
                self.settle_what_is_left().await?;
                self.start_what_is_due().await
            };
            match done.await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "no campaign can be started; trying again");
                    }
                    failing = true;
                }
            }
        }
    }

    async fn start_what_is_due(&self) -> Result<()> {
        let db = &self.0.app.db;
        for id in store::due(db, clock::now()).await? {
            let mut tx = db.begin().await?;
            if store::begin(&mut tx, id, clock::now()).await? {
                enqueue(&mut tx, id).await?;
                tracing::info!(campaign = id, "a campaign goes out");
            }
            tx.commit().await?;
            self.0.app.jobs.wake();
        }
        Ok(())
    }

    /// Tells the database what the journals of ended runs know and it does not.
    async fn settle_what_is_left(&self) -> Result<()> {
        let folder = self.folder();
        for claim in journal::claims(&folder) {
            let Some(left) = journal::open(&folder, claim)? else { continue };
            let open = store::open_under(&self.0.app.db, left.claim).await?;
            let ended: Vec<(i64, Outcome)> = open
                .iter()
                .map(|(mail, _)| (*mail, left.fates.get(mail).cloned().unwrap_or(Outcome::Back)))
                .collect();
            let keyed = self.0.app.lasting.keyed().await?;
            for part in ended.chunks(500) {
                store::settle(&self.0.app.db, keyed, left.claim, part).await?;
            }
            let mut campaigns: Vec<i64> = open.iter().map(|(_, campaign)| *campaign).collect();
            campaigns.dedup();
            let count = |wanted: fn(&Outcome) -> bool| {
                ended.iter().filter(|(_, outcome)| wanted(outcome)).count()
            };
            if !ended.is_empty() {
                tracing::warn!(
                    ?campaigns,
                    sent = count(|it| matches!(it, Outcome::Sent { .. })),
                    back = count(|it| matches!(it, Outcome::Back | Outcome::Later { .. })),
                    uncertain = count(|it| matches!(it, Outcome::Uncertain { .. })),
                    "mails of a run that was cut short were settled by its journal"
                );
            }
            for campaign in campaigns {
                self.go_on(campaign).await?;
            }
            left.remove()?;
        }
        Ok(())
    }

    /// A campaign that had ended sends what waits again.
    async fn go_on(&self, campaign: i64) -> Result<()> {
        if store::next_due(&self.0.app.db, campaign).await?.is_none() {
            return Ok(());
        }
        let mut tx = self.0.app.db.begin().await?;
        if store::reopen(&mut tx, campaign).await? {
            enqueue(&mut tx, campaign).await?;
        }
        tx.commit().await?;
        self.0.app.jobs.wake();
        Ok(())
    }

    /// How far a campaign is.
    pub async fn counts(&self, organization: OrganizationId, campaign: i64) -> Result<Counts> {
        let counts = store::counts(&self.0.app.db, organization, campaign).await?;
        counts.ok_or(Error::NotFound("campaign"))
    }

    /// Sends those mails again of which nobody knows whether they were sent, or leaves them. How
    /// many those were.
    pub async fn decide(&self, caller: &Caller, campaign: i64, again: bool) -> Result<u64> {
        let organization = caller.organization;
        self.counts(organization, campaign).await?;
        let status = store::status(&self.0.app.db, campaign).await?;
        if again && status.as_deref() == Some("cancelled") {
            return Err(Error::Conflict(
                "the campaign was cancelled, so nothing of it is sent again; leave those mails"
                    .to_owned(),
            ));
        }
        let told = if again { "to be sent again, by" } else { "left as it is, by" };
        let told = format!("whether it was sent is not known; {told} {}", caller.name);
        let mut tx = self.0.app.db.begin().await?;
        let changed = store::decide(&mut tx, campaign, again, &told).await?;
        if changed > 0 {
            let detail = json!({ "mails": changed, "again": again });
            let subject = format!("campaign {campaign}");
            audit::write(&mut tx, organization, caller, "campaign.decide", &subject, &detail)
                .await?;
        }
        tx.commit().await?;
        if again && changed > 0 {
            self.go_on(campaign).await?;
        }
        Ok(changed)
    }
}

async fn enqueue(tx: &mut Tx, campaign: i64) -> Result<()> {
    let mut job = NewJob::new(KIND, json!({ "campaign": campaign }));
    // It ends with the campaign, not by failing.
    job.max_attempts = u32::try_from(i32::MAX).unwrap_or(u32::MAX);
    Jobs::enqueue_in(tx, job).await.map(drop)
}
