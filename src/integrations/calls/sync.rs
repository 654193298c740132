//! Fetching calls: pages in the order in which the calls were taken, each stored with how far it
//! got. The next time begins some days before that, so that what was edited or came late is
//! fetched as well; what is known and unchanged is not written again.

use std::{fmt::Write, time::Duration};

use chrono::TimeDelta;
use serde_json::json;

use super::{
    SERVICE, VERSION,
    payload::{self, Heard},
    store::{self, SyncStatus},
};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    error::{Error, Result},
    integrations::{Connection, Duty, Integrations, Trouble, call},
    jobs::{Done, Jobs, Lease, NewJob, Scheduled},
};

/// Calls of one page; HighLevel gives no more.
const PAGE: usize = 50;
/// Pages of one run: 100 000 calls.
const PAGES: u32 = 2000;
/// How far back is looked again.
const OVERLAP: TimeDelta = TimeDelta::days(3);
/// Calls that are tied to contacts at once.
const TIE: i64 = 200;
/// The jobs: one organization's, and the schedule's that makes those.
const JOB: &str = "calls";
const TICK: &str = "calls_due";
/// A few minutes past each hour.
const EVERY: &str = "7 * * * *";
/// How long somebody who asks is kept waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of asking.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) status: SyncStatus,
    pub(super) is_under_way: bool,
}

impl Integrations {
    /// Registers the jobs; the schedule only where Lux is registered anywhere.
    pub(in crate::integrations) fn fetch_calls(&self) {
        let app = self.app();
        let this = self.clone();
        app.jobs.handle(JOB, 1, move |lease: Lease| {
            let this = this.clone();
            async move { this.fetch(lease).await }
        });
        let this = self.clone();
        app.jobs.handle(TICK, 1, move |_: Lease| {
            let this = this.clone();
            async move {
                for organization in store::automatic(&this.app().db).await? {
                    this.ask_for_calls(organization, "schedule").await?;
                }
                Ok(Done::Finished)
            }
        });
        let zone = app.config.schedule.timezone;
        if let Ok(cron) = EVERY.parse()
            && !app.config.integrations.is_empty()
        {
            let payload = json!({});
            app.jobs.schedule(vec![Scheduled { name: "calls", cron, zone, kind: TICK, payload }]);
        }
    }

    /// Asks for the calls; while a job of this organization is to end, that is the one.
    pub(super) async fn ask_for_calls(
        &self,
        organization: OrganizationId,
        by: &str,
    ) -> Result<i64> {
        let app = self.app();
        let now = clock::now();
        let mut tx = app.db.begin().await?;
        if let Some(job) = store::hold(&mut tx, organization, SERVICE, by, now).await? {
            return Ok(job);
        }
        let job = NewJob::new(JOB, json!({"organization": organization}));
        let job = Jobs::enqueue_in(&mut tx, job).await?;
        store::begin(&mut tx, organization, SERVICE, job, by, now).await?;
        tx.commit().await?;
        app.jobs.wake();
        job.ok_or_else(|| Error::Conflict("the calls are being fetched already".to_owned()))
    }

    /// Asks for the calls, and waits for a while until they are here.
    pub(super) async fn calls_now(&self, organization: OrganizationId, by: &str) -> Result<Asked> {
        if self.serving(organization, Duty::Calls).await?.is_none() {
            return Err(Error::Conflict(UNSERVED.to_owned()));
        }
        let db = &self.app().db;
        let job = self.ask_for_calls(organization, by).await?;
        let until = clock::instant() + PATIENCE;
        let mut is_under_way = store::is_open(db, job).await?;
        while is_under_way && clock::instant() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
            is_under_way = store::is_open(db, job).await?;
        }
        let status = store::status(db, organization, SERVICE).await?;
        Ok(Asked { status: status.ok_or(Error::NotFound("status"))?, is_under_way })
    }

    /// The job.
    async fn fetch(&self, lease: Lease) -> Result<Done> {
        let Some(organization) = lease.payload["organization"].as_i64().map(OrganizationId) else {
            return Ok(Done::Finished);
        };
        let db = &self.app().db;
        let mut so_far = SoFar::default();
        let ended = self.fetch_all(organization, &lease, &mut so_far).await;
        let (is_success, message) = match ended {
            Ok(()) => (true, so_far.words()),
            // Not the provider's: another worker, the next attempt or the next start goes on.
            Err(Trouble::Failed(
                error @ (Error::Database(_) | Error::Io(_) | Error::Internal(_)),
            )) => return Err(error),
            Err(_) if lease.lost.is_cancelled() => {
                return Err(Error::Conflict("it was interrupted".to_owned()));
            }
            Err(trouble) if so_far.read == 0 => (false, trouble.to_string()),
            Err(trouble) => (false, format!("{trouble}; before that, {}", so_far.words())),
        };
        metrics::counter!("lux_syncs_total", "service" => SERVICE, "result" => if is_success { "success" } else { "failure" }).increment(1);
        let now = clock::now();
        let mut tx = db.begin().await?;
        lease.hold(&mut tx).await?;
        let records = so_far.changed;
        store::end(&mut tx, organization, SERVICE, is_success, &message, records, now).await?;
        tx.commit().await?;
        Ok(Done::Finished)
    }

    async fn fetch_all(
        &self,
        organization: OrganizationId,
        lease: &Lease,
        so_far: &mut SoFar,
    ) -> Result<(), Trouble> {
        let app = self.app();
        let serving = self.serving(organization, Duty::Calls).await?;
        let (connection, _) = serving.ok_or_else(|| Error::Conflict(UNSERVED.to_owned()))?;
        let connection = connection.patient();
        let place = connection.place()?.to_owned();
        let known = store::status(&app.db, organization, SERVICE).await?;
        // Of another location nothing is here.
        let known = known.filter(|it| it.place.as_deref() == Some(place.as_str()));
        let mut cursor = known.and_then(|it| it.cursor_ms).unwrap_or_default();
        let from = (cursor > 0).then(|| cursor - OVERLAP.num_milliseconds());
        let to = clock::now().timestamp_millis();
        for page in 1..=PAGES {
            if lease.lost.is_cancelled() {
                return Err(Error::Conflict("it was interrupted".to_owned()).into());
            }
            let calls = ask(&connection, &place, from, to, page).await?;
            let is_last = calls.count < PAGE;
            let newest = calls.heard.iter().map(|it| it.started_at.timestamp_millis()).max();
            cursor = cursor.max(newest.unwrap_or_default());
            let now = clock::now();
            let mut tx = app.db.begin().await?;
            lease.hold(&mut tx).await?;
            for heard in &calls.heard {
                let is_new = store::put(&mut tx, organization, SERVICE, heard, now).await?;
                so_far.changed += i64::from(is_new);
            }
            store::advance(&mut tx, organization, SERVICE, &place, cursor).await?;
            tx.commit().await?;
            so_far.read += calls.heard.len();
            so_far.odd += calls.count - calls.heard.len();
            if is_last {
                break;
            }
        }
        so_far.tied = tie(app, organization, lease).await?;
        Ok(())
    }
}

/// Ties what is here to contacts, a few at a time: others want to write too.
async fn tie(app: &App, organization: OrganizationId, lease: &Lease) -> Result<usize> {
    let mut all = 0;
    loop {
        let mut tx = app.db.begin().await?;
        lease.hold(&mut tx).await?;
        let tied = store::tie(&mut tx, organization, SERVICE, TIE).await?;
        tx.commit().await?;
        all += tied;
        if tied == 0 {
            return Ok(all);
        }
    }
}

const UNSERVED: &str = "nothing serves calls; connect HighLevel, and let it serve them (PUT \
                        /api/integrations/duties/calls)";

/// How far it got.
#[derive(Debug, Default)]
struct SoFar {
    read: usize,
    changed: i64,
    odd: usize,
    tied: usize,
}

impl SoFar {
    fn words(&self) -> String {
        let mut words = format!("{} calls were read, {} new or changed", self.read, self.changed);
        if self.tied > 0 {
            // Writing to a String cannot fail.
            let _ = write!(words, "; {} belong to a contact that is known", self.tied);
        }
        if self.odd > 0 {
            let _ = write!(words, "; {} had no id or no time and were left out", self.odd);
        }
        words
    }
}

/// A page.
struct Page {
    count: usize,
    heard: Vec<Heard>,
}

async fn ask(
    connection: &Connection,
    place: &str,
    from: Option<i64>,
    to: i64,
    page: u32,
) -> Result<Page, Trouble> {
    let mut call = call::Call::get("/voice-ai/dashboard/call-logs").header("version", VERSION);
    call.query = vec![
        ("locationId", place.to_owned()),
        ("page", page.to_string()),
        ("pageSize", PAGE.to_string()),
        ("sortBy", "createdAt".to_owned()),
        ("sort", "ascend".to_owned()),
    ];
    // Both or neither, in milliseconds.
    if let Some(from) = from {
        call.query.push(("startDate", from.max(FIRST_MS).to_string()));
        call.query.push(("endDate", to.max(FIRST_MS).to_string()));
    }
    let answer = connection.json(call).await?;
    let Some(rows) = answer["callLogs"].as_array() else {
        let why = "its answer holds no list of calls".to_owned();
        return Err(Trouble::Down { label: connection.kind().label, why });
    };
    let rows: Vec<_> = rows.iter().take(PAGE).collect();
    Ok(Page { count: rows.len(), heard: rows.into_iter().filter_map(payload::read).collect() })
}

/// 2001: the first moment with thirteen digits.
const FIRST_MS: i64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::SoFar;

    #[test]
    fn what_came_is_said_in_words() {
        let so_far = SoFar { read: 150, changed: 3, odd: 0, tied: 0 };
        assert_eq!(so_far.words(), "150 calls were read, 3 new or changed");
        let so_far = SoFar { read: 2, changed: 2, odd: 1, tied: 1 };
        assert_eq!(
            so_far.words(),
            "2 calls were read, 2 new or changed; 1 belong to a contact that is known; 1 had no \
             id or no time and were left out"
        );
    }
}
