//! All SQL of the queue. Statements that end or prolong a lease name its fence. Writes are
//! transactions, because on SQLite those wait for their turn in order.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::NewJob;
use crate::db::{Db, Result, Tx};

/// A claimed job.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) fence: i64,
    pub(super) attempts: i64,
    pub(super) max_attempts: i64,
    pub(super) payload: Json<Value>,
}

/// A running job as the others see it.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Running {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) fence: i64,
    pub(super) beat: i64,
    pub(super) lease_owner: Option<String>,
}

/// How the newest job of a schedule went.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LastRun {
    /// "waiting", "running", "done", "failed".
    pub status: String,
    /// Why the last attempt failed.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

pub(super) async fn insert(tx: &mut Tx, job: NewJob, now: DateTime<Utc>) -> Result<Option<i64>> {
    let id: Option<(i64,)> = tx
        .query(
            "insert into job (kind, payload, dedupe, run_at, max_attempts, created_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (dedupe) do nothing returning id",
        )
        .bind(job.kind)
        .bind(Json(job.payload))
        .bind(job.dedupe)
        .bind(job.run_at.unwrap_or(now))
        .bind(i64::from(job.max_attempts.max(1)))
        .bind(now)
        .optional()
        .await?;
    Ok(id.map(|(id,)| id))
}

/// Whether a job of a kind waits and is due. Asked before a claim, which on SQLite would
/// take the write lock even if there is nothing to do.
pub(super) async fn is_due(db: &Db, kind: &str, now: DateTime<Utc>) -> Result<bool> {
    db.query(
        "select id from job where kind = $1 and status = 'waiting' and run_at <= $2
         order by run_at, id limit 1",
    )
    .bind(kind)
    .bind(now)
    .optional::<(i64,)>()
    .await
    .map(|found| found.is_some())
}

/// Takes the next due job of a kind. On PostgreSQL rows that another replica is just
/// taking are passed over; SQLite runs one writing statement at a time.
pub(super) async fn claim(
    db: &Db,
    kind: &str,
    owner: &str,
    now: DateTime<Utc>,
    lease: Duration,
) -> Result<Option<Claimed>> {
    let sql = db.dialect(
        "update job set status = 'running', attempts = attempts + 1, fence = fence + 1,
             beat = beat + 1, lease_owner = $2, lease_until = $4
         where id = (select id from job where kind = $1 and status = 'waiting' and run_at <= $3
                     order by run_at, id limit 1 for update skip locked)
         returning id, fence, attempts, max_attempts, payload",
        "update job set status = 'running', attempts = attempts + 1, fence = fence + 1,
             beat = beat + 1, lease_owner = $2, lease_until = $4
         where id = (select id from job where kind = $1 and status = 'waiting' and run_at <= $3
                     order by run_at, id limit 1)
         returning id, fence, attempts, max_attempts, payload",
    );
    let mut tx = db.begin().await?;
    let claimed =
        tx.query(sql).bind(kind).bind(owner).bind(now).bind(now + lease).optional().await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Shows that the owner lives; false if the job is no longer its own.
pub(super) async fn beat(db: &Db, id: i64, fence: i64, until: DateTime<Utc>) -> Result<bool> {
    let mut tx = db.begin().await?;
    let query = tx.query(
        "update job set beat = beat + 1, lease_until = $3
         where id = $1 and fence = $2 and status = 'running'",
    );
    let changed = query.bind(id).bind(fence).bind(until).run().await?;
    tx.commit().await?;
    Ok(changed == 1)
}

/// [`super::Lease::hold`]; on PostgreSQL the changed row stays locked until the end of
/// the transaction.
pub(super) async fn hold(tx: &mut Tx, id: i64, fence: i64) -> Result<bool> {
    tx.query("update job set beat = beat + 1 where id = $1 and fence = $2 and status = 'running'")
        .bind(id)
        .bind(fence)
        .run()
        .await
        .map(|changed| changed == 1)
}

/// How a claim ends.
#[derive(Debug)]
pub(super) enum End {
    Done,
    /// There is more to do.
    Again(DateTime<Utc>),
    /// Failed, to be tried once more.
    Retry(DateTime<Utc>, String),
    /// Failed for good.
    Failed(String),
    /// Not finished by no fault of its own.
    Released,
}

/// Ends a claim; false if the job is no longer this worker's.
pub(super) async fn end(
    db: &Db,
    id: i64,
    fence: i64,
    end: &End,
    now: DateTime<Utc>,
) -> Result<bool> {
    let mut tx = db.begin().await?;
    let query = match end {
        End::Done => tx
            .query(
                "update job set status = 'done', finished_at = $3, lease_owner = null,
                     lease_until = null, error = null
                 where id = $1 and fence = $2 and status = 'running'",
            )
            .bind(id)
            .bind(fence)
            .bind(now),
        End::Failed(error) => tx
            .query(
                "update job set status = 'failed', finished_at = $3, lease_owner = null,
                     lease_until = null, error = $4
                 where id = $1 and fence = $2 and status = 'running'",
            )
            .bind(id)
            .bind(fence)
            .bind(now)
            .bind(error.as_str()),
        End::Again(at) => tx
            .query(
                "update job set status = 'waiting', run_at = $3, attempts = 0,
                     lease_owner = null, lease_until = null, error = null
                 where id = $1 and fence = $2 and status = 'running'",
            )
            .bind(id)
            .bind(fence)
            .bind(*at),
        End::Retry(at, error) => tx
            .query(
                "update job set status = 'waiting', run_at = $3, lease_owner = null,
                     lease_until = null, error = $4
                 where id = $1 and fence = $2 and status = 'running'",
            )
            .bind(id)
            .bind(fence)
            .bind(*at)
            .bind(error.as_str()),
        End::Released => tx
            .query(
                "update job set status = 'waiting', run_at = $3, attempts = attempts - 1,
                     lease_owner = null, lease_until = null
                 where id = $1 and fence = $2 and status = 'running'",
            )
            .bind(id)
            .bind(fence)
            .bind(now),
    };
    let changed = query.run().await?;
    tx.commit().await?;
    Ok(changed == 1)
}

/// What runs, over all replicas.
pub(super) async fn running(db: &Db) -> Result<Vec<Running>> {
    db.query(
        "select id, kind, fence, beat, lease_owner from job where status = 'running'
         order by id limit 10000",
    )
    .all()
    .await
}

/// Puts a job back whose worker is gone, if its beat still stands where it was seen. One
/// that was begun often enough has failed. A worker that is just storing something (it
/// holds the row's lock) is not waited for: it lives.
pub(super) async fn put_back(
    db: &Db,
    seen: &Running,
    why: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "update job set
             status = case when attempts >= max_attempts then 'failed' else 'waiting' end,
             finished_at = case when attempts >= max_attempts then $4 else finished_at end,
             run_at = $4, lease_owner = null, lease_until = null, error = $5
         where id = (select id from job
                     where id = $1 and fence = $2 and beat = $3 and status = 'running'
                     for update skip locked)",
        "update job set
             status = case when attempts >= max_attempts then 'failed' else 'waiting' end,
             finished_at = case when attempts >= max_attempts then $4 else finished_at end,
             run_at = $4, lease_owner = null, lease_until = null, error = $5
         where id = $1 and fence = $2 and beat = $3 and status = 'running'",
    );
    let query = tx.query(sql);
    let query = query.bind(seen.id).bind(seen.fence).bind(seen.beat).bind(now).bind(why);
    let changed = query.run().await?;
    tx.commit().await?;
    Ok(changed == 1)
}

/// Removes up to `limit` jobs that ended before a time.
pub(super) async fn prune(db: &Db, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    let mut tx = db.begin().await?;
    let query = tx.query(
        "delete from job where id in
             (select id from job where finished_at < $1 order by finished_at limit $2)",
    );
    let removed = query.bind(before).bind(limit).run().await?;
    tx.commit().await?;
    Ok(removed)
}

/// The expression and tick a schedule has come to.
pub(super) async fn schedule(db: &Db, name: &str) -> Result<Option<(String, DateTime<Utc>)>> {
    db.query("select expression, tick from schedule where name = $1").bind(name).optional().await
}

/// Begins (or begins anew) a schedule at a tick, without a job for it.
pub(super) async fn set_schedule(
    db: &Db,
    name: &str,
    expression: &str,
    tick: DateTime<Utc>,
) -> Result<()> {
    db.query(
        "insert into schedule (name, expression, tick) values ($1, $2, $3)
         on conflict (name) do update set expression = excluded.expression, tick = excluded.tick",
    )
    .bind(name)
    .bind(expression)
    .bind(tick)
    .run()
    .await
    .map(drop)
}

/// The newest job of a schedule.
pub(super) async fn last_of(db: &Db, schedule: &str) -> Result<Option<LastRun>> {
    // The names of its jobs are "SCHEDULE@TICK"; "A" follows "@".
    db.query(
        "select status, error, created_at, finished_at from job
         where dedupe > $1 and dedupe < $2 order by dedupe desc limit 1",
    )
    .bind(format!("{schedule}@"))
    .bind(format!("{schedule}A"))
    .optional()
    .await
}

/// Moves a schedule on; false if another replica did.
pub(super) async fn tick(tx: &mut Tx, name: &str, tick: DateTime<Utc>) -> Result<bool> {
    tx.query("update schedule set tick = $2 where name = $1 and tick < $2")
        .bind(name)
        .bind(tick)
        .run()
        .await
        .map(|changed| changed == 1)
}

/// A schedule that makes no jobs for now.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Held {
    pub held_by: String,
    pub held_at: DateTime<Utc>,
}

/// Whether and by whom a schedule is held.
pub(super) async fn held(db: &Db, name: &str) -> Result<Option<Held>> {
    db.query("select held_by, held_at from schedule_hold where name = $1")
        .bind(name)
        .optional()
        .await
}

pub(super) async fn hold_schedule(
    tx: &mut Tx,
    name: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    tx.query(
        "insert into schedule_hold (name, held_by, held_at) values ($1, $2, $3)
         on conflict (name) do nothing",
    )
    .bind(name)
    .bind(by)
    .bind(now)
    .run()
    .await
    .map(|changed| changed == 1)
}

pub(super) async fn release_schedule(tx: &mut Tx, name: &str) -> Result<bool> {
    tx.query("delete from schedule_hold where name = $1")
        .bind(name)
        .run()
        .await
        .map(|changed| changed == 1)
}
