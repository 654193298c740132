//! The job of a ticket: reads its row and its group, and does what lies between them. Each step is
//! written down before the next, so whoever takes over after a crash goes on where it broke off; what
//! was opened there and not written down here is found by its key.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use url::Url;

use super::{
    Tickets,
    facts::Facts,
    store::{self, Ended, Row, Status},
    words::{self, Behind},
};
use crate::{
    auth::oidc,
    clock,
    db::Tx,
    error::{Error, Result},
    errors::store::{groups::Status as Group, open},
    integrations::{
        Trouble,
        tracker::{NewTicket, Tracker},
    },
    jobs::{Done, Jobs, Lease, NewJob},
};

/// The kind of the job, how many run at a time, and how often one may break off.
const JOB: &str = "ticket";
const TOGETHER: usize = 2;
const TRIES: u32 = 20;

/// How often is looked for tickets that triggers woke, and how many are taken at once.
const REST: Duration = Duration::from_secs(1);
const STEP: i64 = 20;

/// Pauses after a passing trouble, in seconds: over two days. Then it is left alone.
const PAUSES: [i64; 9] = [10, 30, 60, 300, 900, 3600, 3 * 3600, 12 * 3600, 24 * 3600];

/// The pause after a request whose end nobody knows: what it made has to be found by then.
const UNKNOWN: i64 = 30;

/// How long a tracker may take until it finds what was opened a moment ago.
const SETTLED: Duration = Duration::from_secs(2);

/// What the keys of tickets are hashed for, and how much of a hash is enough, in characters.
const PURPOSE: &str = "ticket";
const KEY: usize = 16;

/// The project of a duty's target.
pub(super) fn project(target: &str) -> Result<String> {
    let target: Value = serde_json::from_str(target).unwrap_or_default();
    let project = match &target["project"] {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    if project.is_empty() {
        let why = "the duty tickets names no project; set its target to {\"project\": \"…\"}";
        return Err(Error::Conflict(why.to_owned()));
    }
    Ok(project)
}

/// Makes a job for a ticket, if none has it.
pub(super) async fn queue(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<()> {
    if store::claim(tx, id, now).await? {
        let job = NewJob { max_attempts: TRIES + 1, ..NewJob::new(JOB, json!({"ticket": id})) };
        Jobs::enqueue_in(tx, job).await?;
    }
    Ok(())
}

/// Registers the job, and looks for tickets that are due. Every replica does; each is one job's.
pub(super) fn start(tickets: &Tickets) {
    let app = tickets.0.integrations.app().clone();
    let handler = tickets.clone();
    app.jobs.handle(JOB, TOGETHER, move |lease: Lease| {
        let tickets = handler.clone();
        async move { tickets.carry_on(&lease).await }
    });
    app.tasks.clone().spawn(async move {
        let look = async {
            loop {
                if let Err(error) = queue_due(&app).await {
                    tracing::debug!(%error, "tickets wait");
                }
                tokio::time::sleep(REST).await;
            }
        };
        app.shutdown.run_until_cancelled(look).await;
    });
}

async fn queue_due(app: &crate::app::App) -> Result<()> {
    let now = clock::now();
    let due = store::due(&app.db, now, STEP).await?;
    let is_any = !due.is_empty();
    for id in due {
        let mut tx = app.db.begin().await?;
        queue(&mut tx, id, now).await?;
        tx.commit().await?;
    }
    if is_any {
        app.jobs.wake();
    }
    Ok(())
}

impl Tickets {
    async fn carry_on(&self, lease: &Lease) -> Result<Done> {
        let app = self.0.integrations.app();
        let id = lease.payload["ticket"].as_i64().unwrap_or_default();
        let Some(row) = store::load(&app.db, id).await? else { return Ok(Done::Finished) };
        let done = if lease.attempt > TRIES {
            let why = "it broke off too often; Lux's own log says why";
            Err(Error::Invalid(why.to_owned()).into())
        } else {
            tokio::select! {
                done = self.see_to(lease, &row) => done,
                () = lease.lost.cancelled() => {
                    return Err(Error::Unavailable("the work on a ticket was interrupted".into()));
                }
            }
        };
        self.end(lease, &row, done).await?;
        Ok(Done::Finished)
    }

    /// Does what lies between the ticket and its group.
    async fn see_to(&self, lease: &Lease, row: &Row) -> Result<(), Trouble> {
        let app = self.0.integrations.app();
        let organization = row.organization_id;
        let connection = self.0.integrations.connection(organization, row.integration_id).await?;
        let tracker = Tracker::new(connection.patient())?;
        let project = project(&row.target)?;
        let facts = Facts::read(&app.db, organization, row.group_id).await?;
        let page = self.page(facts.group.id);
        let there = row.external_id.clone();
        let is_there = matches!(row.status, Status::Open | Status::Closed);
        let (id, status) = if let Some(id) = there.filter(|_| is_there) {
            (id, row.status)
        } else {
            let opened = self.open(lease, row, &tracker, &project, &facts).await?;
            let Some(id) = opened else {
                return self.set_status(lease, row, Status::Closed).await;
            };
            (id, Status::Open)
        };
        let (news, told) = facts.news();
        let known = store::load(&app.db, row.id).await?.and_then(|row| row.told);
        if let Some(news) = news.filter(|_| told != known) {
            tracker.comment(&project, &id, &words::news(&facts, news, page)).await?;
            let mut tx = app.db.begin().await?;
            lease.hold(&mut tx).await?;
            store::told(&mut tx, row.id, told.as_deref()).await?;
            tx.commit().await?;
        }
        let wanted = match facts.group.status {
            Group::Resolved => Status::Closed,
            Group::Unresolved | Group::Regressed => Status::Open,
            Group::Ignored => status,
        };
        if status != wanted {
            tracker.set_open(&project, &id, wanted == Status::Open).await?;
            self.set_status(lease, row, wanted).await?;
        }
        Ok(())
    }

    /// Opens the ticket, or finds it opened; gives what the tracker knows it by. `None` if its group
    /// was resolved before it came to that.
    async fn open(
        &self,
        lease: &Lease,
        row: &Row,
        tracker: &Tracker,
        project: &str,
        facts: &Facts,
    ) -> Result<Option<String>, Trouble> {
        let app = self.0.integrations.app();
        let organization = row.organization_id;
        // What was begun before may have come to its end without being written down.
        let was_tried = row.dedupe_key.is_some();
        let dedupe_key = match &row.dedupe_key {
            Some(key) => key.clone(),
            None => self.key(lease, row, facts).await?,
        };
        if was_tried {
            tokio::time::sleep(SETTLED).await;
        }
        let title = words::title(&facts.group);
        let ticket = if facts.is_resolved() {
            let found = tracker.find(project, &dedupe_key, was_tried).await?;
            let Some(found) = found else { return Ok(None) };
            found
        } else {
            let events = open::these(&app.db, organization, &[facts.group.id]).await?;
            let behind = match Behind::of(facts) {
                Some(behind) => Some(behind),
                None => self.0.repair.explain(organization, facts.group.id).await?.map(Into::into),
            };
            let page = self.page(facts.group.id);
            let body = words::ticket(facts, events.first(), behind.as_ref(), page);
            let new = NewTicket { dedupe_key, title: title.clone(), body };
            tracker.open(project, &new, was_tried).await?
        };
        // Its text tells how things stand, unless that is how it ended.
        let (_, mut told) = facts.news();
        if facts.is_resolved() {
            told = None;
        }
        let title = crate::integrations::tracker::text::plain(&title, 250);
        let mut tx = app.db.begin().await?;
        lease.hold(&mut tx).await?;
        store::opened(&mut tx, row.id, &ticket, &title, told.as_deref(), clock::now()).await?;
        tx.commit().await?;
        metrics::counter!("lux_tickets_opened_total").increment(1);
        tracing::info!(ticket = row.id, key = ticket.key, "a ticket was opened");
        Ok(Some(ticket.id))
    }

    /// The key that the tracker finds the ticket by, stored before the tracker hears of it. It is the
    /// same after a restored backup, and another for another Lux.
    async fn key(&self, lease: &Lease, row: &Row, facts: &Facts) -> Result<String> {
        let app = self.0.integrations.app();
        let group = &facts.group;
        let name = format!(
            "{}\n{}\n{}\n{}",
            row.organization_id.0, row.group_id, group.app, group.fingerprint
        );
        let hash = app.lasting.keyed().await?.hash(PURPOSE, &name).to_lowercase();
        let hash = hash.chars().filter(char::is_ascii_alphanumeric).take(KEY);
        let key = format!("lux-{}", hash.collect::<String>());
        let mut tx = app.db.begin().await?;
        lease.hold(&mut tx).await?;
        store::set_key(&mut tx, row.id, &key).await?;
        tx.commit().await?;
        Ok(key)
    }

    async fn set_status(&self, lease: &Lease, row: &Row, status: Status) -> Result<(), Trouble> {
        let mut tx = self.0.integrations.app().db.begin().await?;
        lease.hold(&mut tx).await?;
        store::set_status(&mut tx, row.id, status, clock::now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives the ticket back, with when it is tried again.
    async fn end(&self, lease: &Lease, row: &Row, done: Result<(), Trouble>) -> Result<()> {
        let app = self.0.integrations.app();
        let now = clock::now();
        let (error, next, tries) = match &done {
            Ok(()) => (None, None, 0),
            Err(trouble) if trouble.is_passing() => {
                let tries = row.tries + 1;
                (Some(told(trouble)), pause(trouble, row.tries).map(|it| now + it), tries)
            }
            Err(trouble) => (Some(told(trouble)), None, row.tries + 1),
        };
        // It may have been opened in this very job.
        let known = store::load(&app.db, row.id).await?;
        let is_there = known.is_some_and(|it| {
            it.external_id.is_some() && matches!(it.status, Status::Open | Status::Closed)
        });
        let mut tx = app.db.begin().await?;
        lease.hold(&mut tx).await?;
        if let (Err(trouble), None) = (&done, next) {
            tracing::warn!(ticket = row.id, code = trouble.code(), "a ticket was not seen to");
            if !is_there || matches!(trouble, Trouble::NotFound { .. }) {
                store::set_status(&mut tx, row.id, Status::Failed, now).await?;
            }
        }
        let ended = Ended { error: error.as_deref(), next_at: next, tries };
        store::release(&mut tx, row, &ended, clock::now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The page of an error, if Lux knows its own address.
    fn page(&self, group: i64) -> Option<Url> {
        let address = oidc::address(&self.0.integrations.app().config)?;
        Url::parse(&format!("{address}/errors/{group}")).ok()
    }
}

/// A trouble as it may be shown; what is wrong inside goes to the log.
fn told(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Failed(error @ (Error::Database(_) | Error::Io(_) | Error::Internal(_))) => {
            tracing::warn!(%error, "a ticket could not be seen to");
            "Lux itself could not do it; its log has the reason".to_owned()
        }
        trouble => trouble.to_string(),
    }
}

/// How long until it is tried again; `None` if that is enough.
fn pause(trouble: &Trouble, tries: i64) -> Option<TimeDelta> {
    let seconds = *PAUSES.get(usize::try_from(tries).ok()?)?;
    Some(TimeDelta::seconds(match trouble {
        Trouble::TooMany { wait, .. } => {
            seconds.max(i64::try_from(wait.as_secs()).unwrap_or(3600).min(24 * 3600))
        }
        trouble if !trouble.is_undone() => seconds.max(UNKNOWN),
        _ => seconds,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PAUSES, Trouble, pause, project};

    #[test]
    fn pauses_grow_and_end() {
        let down = Trouble::Down { label: "Jira", why: "status 502".to_owned() };
        let pauses: Vec<i64> =
            (0..).map_while(|tries| pause(&down, tries)).map(|it| it.num_seconds()).collect();
        assert_eq!(pauses.len(), PAUSES.len());
        assert!(pauses.is_sorted() && pauses[0] >= 30, "{pauses:?}");
        let full = Trouble::TooMany { label: "Jira", wait: Duration::from_hours(2) };
        assert_eq!(pause(&full, 0).map(|it| it.num_seconds()), Some(7200));
    }

    #[test]
    fn a_target_names_its_project() {
        assert_eq!(project(r#"{"project": " OPS "}"#).ok().as_deref(), Some("OPS"));
        assert_eq!(project(r#"{"project": 9001}"#).ok().as_deref(), Some("9001"));
        assert!(project(r#"{"channel": "C1"}"#).is_err());
        assert!(project("").is_err());
    }
}
