//! Runs, and what each found to be wrong.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    diagnose::Captured,
};

/// Who asked for a run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Trigger {
    Chat,
    Api,
    Cli,
    Schedule,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[schema(as = RunStatus)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// Waits for its turn: an organization's runs go one after the other.
    Queued,
    Running,
    /// For an operator's approval; what could be judged is.
    Waiting,
    Done,
    /// The note says why.
    Failed,
}

impl Status {
    /// Nothing more happens by itself.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Waiting | Self::Done | Self::Failed)
    }
}

/// Which groups a run is about; the default is all that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Scope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

/// One pass over open groups.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Run {
    pub id: i64,
    pub trigger: Trigger,
    pub requested_by: String,
    #[schema(value_type = Scope)]
    pub scope: Value,
    pub status: Status,
    pub note: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Groups.
    pub total: i64,
    /// Of these, how many have a verdict.
    pub tested: i64,
    pub resolved: i64,
    pub unresolved: i64,
    #[serde(skip)]
    pub organization_id: i64,
}

impl Run {
    pub fn scope(&self) -> Scope {
        serde_json::from_value(self.scope.clone()).unwrap_or_default()
    }

    pub fn organization(&self) -> OrganizationId {
        OrganizationId(self.organization_id)
    }
}

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "select id, trigger, requested_by, scope, status, note, created_at, started_at,
                 finished_at, total, tested, resolved, unresolved, organization_id
             from repair_run ",
            $rest
        )
    };
}

/// Makes a run, or finds the one of the same scope that has not ended: asking twice is
/// asking once. The flag says whether it is new.
pub async fn open(
    tx: &mut Tx,
    organization: OrganizationId,
    trigger: Trigger,
    by: &str,
    scope: &Scope,
    now: DateTime<Utc>,
) -> Result<(Run, bool)> {
    let wanted = serde_json::to_value(scope).map_err(|error| sqlx::Error::Encode(error.into()))?;
    // Two that ask at once: on PostgreSQL they take turns here, on SQLite they do anyway.
    tx.query("update organization set name = name where id = $1").bind(organization).run().await?;
    let open: Vec<Run> = tx
        .query(select_runs!(
            "where organization_id = $1 and status in ('queued', 'running') order by id limit 100"
        ))
        .bind(organization)
        .all()
        .await?;
    if let Some(run) = open.into_iter().find(|run| run.scope() == *scope) {
        return Ok((run, false));
    }
    let id: i64 = tx
        .query(
            "insert into repair_run (organization_id, trigger, requested_by, scope, status, created_at)
             values ($1, $2, $3, $4, 'queued', $5) returning id",
        )
        .bind(organization)
        .bind(trigger)
        .bind(by)
        .bind(wanted)
        .bind(now)
        .scalar()
        .await?;
    let run = tx.query(select_runs!("where id = $1")).bind(id).one().await?;
    Ok((run, true))
}

pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Run>> {
    db.query(select_runs!("where organization_id = $1 and id = $2"))
        .bind(organization)
        .bind(id)
        .optional()
        .await
}

/// For the queue, which knows only the number.
pub async fn load(db: &Db, id: i64) -> Result<Option<Run>> {
    db.query(select_runs!("where id = $1")).bind(id).optional().await
}

/// Runs below `before`, the newest first.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    before: i64,
    limit: i64,
) -> Result<Vec<Run>> {
    db.query(select_runs!("where organization_id = $1 and id < $2 order by id desc limit $3"))
        .bind(organization)
        .bind(before)
        .bind(limit)
        .all()
        .await
}

/// The newest run that a schedule asked for.
pub async fn last_scheduled(db: &Db, organization: OrganizationId) -> Result<Option<Run>> {
    db.query(select_runs!(
        "where organization_id = $1 and trigger = 'schedule' order by id desc limit 1"
    ))
    .bind(organization)
    .optional()
    .await
}

/// Runs that are not over, and a text that is another one whenever a run got on.
pub async fn progress(db: &Db, organization: OrganizationId) -> Result<(i64, String)> {
    let (open,) = db
        .query(
            "select count(*) from (select id from repair_run where organization_id = $1
                 and status in ('queued', 'running') limit 100) as o",
        )
        .bind(organization)
        .one::<(i64,)>()
        .await?;
    let newest = list(db, organization, i64::MAX, 3).await?;
    let mark = newest.iter().map(|run| {
        format!("{} {:?} {} {} {};", run.id, run.status, run.tested, run.resolved, run.unresolved)
    });
    Ok((open, mark.collect()))
}

/// Lets a run begin or go on, if no other of its organization runs.
pub async fn begin(tx: &mut Tx, run: &Run, now: DateTime<Utc>) -> Result<bool> {
    tx.query("update organization set name = name where id = $1")
        .bind(run.organization_id)
        .run()
        .await?;
    let changed = tx
        .query(
            "update repair_run set status = 'running', finished_at = null,
                 started_at = coalesce(started_at, $2)
             where id = $1 and not exists (select 1 from repair_run as other
                 where other.organization_id = $3 and other.status = 'running' and other.id <> $1)",
        )
        .bind(run.id)
        .bind(now)
        .bind(run.organization_id)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Ends a run: done, or waiting for approvals. Its figures are counted from the attempts.
pub async fn end(
    tx: &mut Tx,
    id: i64,
    status: Status,
    note: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    count(tx, id).await?;
    tx.query(
        "update repair_run set status = $2, finished_at = $3, note = coalesce($4, note) where id = $1",
    )
    .bind(id)
    .bind(status)
    .bind(now)
    .bind(note)
    .run()
    .await
    .map(drop)
}

/// Brings a run's figures up to date.
pub async fn count(tx: &mut Tx, id: i64) -> Result<()> {
    tx.query(
        "update repair_run set
             total = (select count(*) from repair_attempt where run_id = $1),
             tested = (select count(*) from repair_attempt where run_id = $1 and verdict is not null),
             resolved = (select count(*) from repair_attempt where run_id = $1 and verdict = 'resolved'),
             unresolved = (select count(*) from repair_attempt
                 where run_id = $1 and verdict <> 'resolved')
         where id = $1",
    )
    .bind(id)
    .run()
    .await
    .map(drop)
}

/// Runs that wait although nothing of theirs waits for a decision, and since when.
pub async fn undecided(db: &Db) -> Result<Vec<(i64, Option<DateTime<Utc>>)>> {
    db.query(
        "select r.id, r.finished_at from repair_run as r
         where r.status = 'waiting' and not exists (select 1 from action_run as a
             where a.run_id = r.id and a.status = 'proposed')
         order by r.id limit 20",
    )
    .all()
    .await
}

/// What a run found to be wrong.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Cause {
    pub id: i64,
    pub app: String,
    pub cause: String,
    pub title: String,
    pub confidence: String,
    pub finding: Option<Value>,
    pub plan: Value,
    pub acted_at: Option<DateTime<Utc>>,
    pub action: Option<String>,
}

impl Cause {
    /// What the diagnosis named when the run began.
    pub fn captured(&self) -> Captured {
        let captured = self.finding.as_ref().and_then(|finding| finding.get("captured"));
        captured.and_then(|captured| Captured::deserialize(captured).ok()).unwrap_or_default()
    }
}

/// What is to be stored of a cause.
#[derive(Clone, Debug)]
pub struct NewCause<'a> {
    pub app: &'a str,
    pub cause: &'a str,
    pub title: &'a str,
    pub confidence: &'a str,
    pub finding: Option<Value>,
    pub plan: Value,
}

pub async fn add_cause(tx: &mut Tx, run: i64, new: NewCause<'_>) -> Result<i64> {
    tx.query(
        "insert into repair_cause (run_id, app, cause, title, confidence, finding, plan)
         values ($1, $2, $3, $4, $5, $6, $7) returning id",
    )
    .bind(run)
    .bind(new.app)
    .bind(new.cause)
    .bind(new.title)
    .bind(new.confidence)
    .bind(new.finding)
    .bind(new.plan)
    .scalar()
    .await
}

pub async fn causes(db: &Db, run: i64) -> Result<Vec<Cause>> {
    db.query(
        "select id, app, cause, title, confidence, finding, plan, acted_at, action
         from repair_cause where run_id = $1 order by id",
    )
    .bind(run)
    .all()
    .await
}

/// Notes that something was done about a cause: only what is measured later counts.
pub async fn acted(tx: &mut Tx, cause: i64, action: &str, at: DateTime<Utc>) -> Result<()> {
    tx.query("update repair_cause set acted_at = $2, action = $3 where id = $1")
        .bind(cause)
        .bind(at)
        .bind(action)
        .run()
        .await
        .map(drop)
}
