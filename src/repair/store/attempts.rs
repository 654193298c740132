//! Attempts: a group in a run, from the start to its verdict.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    errors::store::groups::Status,
    repair::verdict::Verdict,
};

/// A group in a run, with what its verdict rests on.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Attempt {
    pub id: i64,
    pub run_id: i64,
    pub cause_id: i64,
    pub group_id: i64,
    pub error_id: i64,
    pub verdict: Option<Verdict>,
    pub why: Option<String>,
    pub checks: Option<Value>,
    pub evidence_id: Option<i64>,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Whether the resolution held; `None` while it is watched, or where there was none.
    pub held: Option<bool>,
}

/// The group of an attempt as it is now.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Subject {
    pub attempt_id: i64,
    pub group_id: i64,
    pub cause_id: i64,
    pub verdict: Option<Verdict>,
    pub error_id: i64,
    pub title: String,
    pub app: String,
    pub status: Status,
    /// The path.
    pub endpoint: Option<String>,
    /// As the newest event had it, perhaps with a query.
    pub requested: Option<String>,
    pub method: Option<String>,
    pub error_type: String,
    pub error_message: String,
    pub count: i64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// When the group was opened again, else when it was first seen.
    pub live_since: DateTime<Utc>,
}

pub async fn add(
    tx: &mut Tx,
    organization: OrganizationId,
    run: i64,
    cause: i64,
    group: i64,
    error: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into repair_attempt (organization_id, run_id, cause_id, group_id, error_id, started_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (run_id, group_id) do nothing",
    )
    .bind(organization)
    .bind(run)
    .bind(cause)
    .bind(group)
    .bind(error)
    .bind(now)
    .run()
    .await
    .map(drop)
}

pub async fn of_run(db: &Db, run: i64) -> Result<Vec<Attempt>> {
    db.query(
        "select id, run_id, cause_id, group_id, error_id, verdict, why, checks, evidence_id,
             started_at, finished_at, held
         from repair_attempt where run_id = $1 order by id",
    )
    .bind(run)
    .all()
    .await
}

/// How many groups of each of these runs have which verdict.
pub async fn outcomes(db: &Db, runs: &[i64]) -> Result<Vec<(i64, Option<Verdict>, i64)>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let sql = db.dialect(
        "select run_id, verdict, count(*) from repair_attempt
         where run_id in (select value::bigint from jsonb_array_elements_text($1::jsonb))
         group by run_id, verdict",
        "select run_id, verdict, count(*) from repair_attempt
         where run_id in (select value from json_each($1))
         group by run_id, verdict",
    );
    db.query(sql).bind(Value::from(runs).to_string()).all().await
}

/// The groups of causes, at most 200: cause, group, its title.
pub async fn of_causes(
    db: &Db,
    organization: OrganizationId,
    causes: &[i64],
) -> Result<Vec<(i64, i64, String)>> {
    if causes.is_empty() {
        return Ok(Vec::new());
    }
    let sql = db.dialect(
        "select a.cause_id, g.id, g.title
         from repair_attempt as a join error_group as g on g.id = a.group_id
         where a.organization_id = $1
           and a.cause_id in (select value::bigint from jsonb_array_elements_text($2::jsonb))
         order by a.id limit 200",
        "select a.cause_id, g.id, g.title
         from repair_attempt as a join error_group as g on g.id = a.group_id
         where a.organization_id = $1 and a.cause_id in (select value from json_each($2))
         order by a.id limit 200",
    );
    db.query(sql).bind(organization).bind(Value::from(causes).to_string()).all().await
}

/// The attempts of a group and of those that were merged into it, the newest first.
pub async fn of_group(
    db: &Db,
    organization: OrganizationId,
    group: i64,
    limit: i64,
) -> Result<Vec<Attempt>> {
    db.query(
        "select id, run_id, cause_id, group_id, error_id, verdict, why, checks, evidence_id,
             started_at, finished_at, held
         from repair_attempt
         where organization_id = $2 and (group_id = $1
             or group_id in (select id from error_group where merged_into = $1))
         order by id desc limit $3",
    )
    .bind(group)
    .bind(organization)
    .bind(limit)
    .all()
    .await
}

/// A group that a run is about right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct UnderWay {
    pub group_id: i64,
    pub run_id: i64,
    /// An action waits for an operator's word; otherwise it is being tested.
    pub waits: bool,
}

/// Which of these groups runs are about right now.
pub async fn under_way(
    db: &Db,
    organization: OrganizationId,
    groups: &[i64],
) -> Result<Vec<UnderWay>> {
    let groups = serde_json::to_string(groups).unwrap_or_default();
    let sql = db.dialect(
        "select a.group_id, a.run_id, a.verdict is not null as waits
         from (select id from repair_run where organization_id = $1
                   and status in ('queued', 'running')
               union all
               select id from repair_run where organization_id = $1 and status = 'waiting') as r
         join repair_attempt as a on a.run_id = r.id
         where (a.verdict is null or a.verdict = 'awaiting_approval')
           and a.group_id in (select cast(value as bigint)
                              from json_array_elements_text(cast($2 as json)))
         order by a.run_id",
        "select a.group_id, a.run_id, a.verdict is not null as waits
         from (select id from repair_run where organization_id = $1
                   and status in ('queued', 'running')
               union all
               select id from repair_run where organization_id = $1 and status = 'waiting') as r
         join repair_attempt as a on a.run_id = r.id
         where (a.verdict is null or a.verdict = 'awaiting_approval')
           and a.group_id in (select value from json_each($2))
         order by a.run_id",
    );
    db.query(sql).bind(organization).bind(groups).all().await
}

/// The groups of a run as they are now, with their newest events.
pub async fn subjects(db: &Db, run: i64) -> Result<Vec<Subject>> {
    db.query(
        "select a.id as attempt_id, a.group_id, a.cause_id, a.verdict, a.error_id, g.title, g.app,
             g.status, g.endpoint, e.endpoint as requested, g.method, g.error_type, e.error_message, g.count, g.first_seen,
             g.last_seen,
             case when g.status = 'regressed' then g.status_at else g.first_seen end as live_since
         from repair_attempt as a
         join error_group as g on g.id = a.group_id
         join error_log as e on e.id = a.error_id
         where a.run_id = $1 order by a.id",
    )
    .bind(run)
    .all()
    .await
}

/// Gives an attempt its verdict. False if it has one already.
pub async fn judge(
    tx: &mut Tx,
    id: i64,
    verdict: Verdict,
    why: &str,
    checks: Value,
    evidence: Option<i64>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = tx
        .query(
            "update repair_attempt set verdict = $2, why = $3, checks = $4, evidence_id = $5,
                 finished_at = $6
             where id = $1 and verdict is null",
        )
        .bind(id)
        .bind(verdict)
        .bind(why)
        .bind(checks)
        .bind(evidence)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Attempts that waited for an approval are judged anew.
pub async fn take_up(tx: &mut Tx, run: i64) -> Result<u64> {
    tx.query(
        "update repair_attempt set verdict = null, why = null, finished_at = null
         where run_id = $1 and verdict = 'awaiting_approval'",
    )
    .bind(run)
    .run()
    .await
}

/// Marks a group as resolved by evidence, unless an event came after `since`.
pub async fn resolve(
    tx: &mut Tx,
    organization: OrganizationId,
    group: i64,
    evidence: i64,
    since: DateTime<Utc>,
) -> Result<bool> {
    let changed = tx
        .query(
            "update error_group set status = 'resolved', evidence_id = $3, status_at = $4,
                 resolved_in = null, resolved_after = null, status_by = null
             where organization_id = $1 and id = $2 and merged_into is null and status in ('unresolved', 'regressed')
               and last_seen < $4",
        )
        .bind(organization)
        .bind(group)
        .bind(evidence)
        .bind(since)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Stores what proves a resolution; gives its number.
pub async fn add_evidence(
    tx: &mut Tx,
    organization: OrganizationId,
    detail: &str,
    made_by: &str,
    now: DateTime<Utc>,
) -> Result<i64> {
    tx.query(
        "insert into evidence (organization_id, kind, detail, made_by, created_at)
         values ($1, 'probe', $2, $3, $4) returning id",
    )
    .bind(organization)
    .bind(detail)
    .bind(made_by)
    .bind(now)
    .scalar()
    .await
}

/// Resolutions of a group that did not hold, since then.
pub async fn broken(db: &Db, group: i64, since: DateTime<Utc>) -> Result<i64> {
    db.query(
        "select count(*) from repair_attempt
         where group_id = $1 and held = false and finished_at >= $2",
    )
    .bind(group)
    .bind(since)
    .scalar()
    .await
}

/// Open groups seen lately whose failing request Lux has not tried yet, or not since
/// the group came back.
pub async fn untried(db: &Db, seen_since: DateTime<Utc>, limit: i64) -> Result<Vec<Untried>> {
    db.query(
        "select g.id as group_id, g.organization_id, g.app, g.endpoint, g.method, g.error_type,
             g.title
         from error_group as g
         left join failing_request as f on f.group_id = g.id
         where g.organization_id in (select id from organization) and g.seen_at >= $1
           and g.merged_into is null and g.status in ('unresolved', 'regressed')
           and (f.group_id is null or (g.status = 'regressed' and f.tried_at < g.status_at))
         order by g.seen_at desc, g.id desc limit $2",
    )
    .bind(seen_since)
    .bind(limit)
    .all()
    .await
}

/// A group of [`untried`].
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Untried {
    pub group_id: i64,
    pub organization_id: i64,
    pub app: String,
    pub endpoint: Option<String>,
    pub method: Option<String>,
    pub error_type: String,
    pub title: String,
}

/// Claims the trying of a group's request; false if another replica has it.
pub async fn try_now(db: &Db, group: i64, now: DateTime<Utc>) -> Result<bool> {
    let changed = db
        .query(
            "insert into failing_request (group_id, tried_at) values ($1, $2)
             on conflict (group_id) do update set tried_at = excluded.tried_at
                 where failing_request.tried_at < (select status_at from error_group
                     where id = excluded.group_id and status = 'regressed')",
        )
        .bind(group)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Marks the events of a resolved group, some at a time; gives the last one's place, to
/// go on from there, and `None` at the end.
pub async fn mark_events(
    db: &Db,
    group: i64,
    evidence: i64,
    notes: &str,
    until: DateTime<Utc>,
    after: (DateTime<Utc>, i64),
) -> Result<Option<(DateTime<Utc>, i64)>> {
    const SOME: i64 = 500;
    let rows: Vec<(DateTime<Utc>, i64)> = db
        .query(
            "select created_at, id from error_log
             where group_id = $1 and created_at <= $2 and (created_at, id) > ($3, $4)
             order by created_at, id limit $5",
        )
        .bind(group)
        .bind(until)
        .bind(after.0)
        .bind(after.1)
        .bind(SOME)
        .all()
        .await?;
    let Some(last) = rows.last().copied() else { return Ok(None) };
    db.query(
        "update error_log set is_resolved = true, resolution_notes = $3, evidence_id = $2
         where group_id = $1 and not is_resolved and created_at <= $4
           and (created_at, id) > ($5, $6) and (created_at, id) <= ($7, $8)
           and exists (select 1 from error_group as g
               where g.id = $1 and g.status = 'resolved' and g.evidence_id = $2)",
    )
    .bind(group)
    .bind(evidence)
    .bind(notes)
    .bind(until)
    .bind(after.0)
    .bind(after.1)
    .bind(last.0)
    .bind(last.1)
    .run()
    .await?;
    Ok(Some(last))
}

/// Opens the events again that an attempt had marked as resolved, some at a time; gives
/// the last one's place, to go on from there, and `None` at the end.
pub async fn unmark_events(
    db: &Db,
    group: i64,
    attempt: i64,
    after: (DateTime<Utc>, i64),
) -> Result<Option<(DateTime<Utc>, i64)>> {
    const SOME: i64 = 500;
    let rows: Vec<(DateTime<Utc>, i64)> = db
        .query(
            "select created_at, id from error_log
             where group_id = $1 and (created_at, id) > ($2, $3)
             order by created_at, id limit $4",
        )
        .bind(group)
        .bind(after.0)
        .bind(after.1)
        .bind(SOME)
        .all()
        .await?;
    let Some(last) = rows.last().copied() else { return Ok(None) };
    db.query(
        "update error_log set is_resolved = false, resolution_notes = null, evidence_id = null
         where group_id = $1 and is_resolved
           and evidence_id = (select evidence_id from repair_attempt where id = $2)
           and (created_at, id) > ($3, $4) and (created_at, id) <= ($5, $6)",
    )
    .bind(group)
    .bind(attempt)
    .bind(after.0)
    .bind(after.1)
    .bind(last.0)
    .bind(last.1)
    .run()
    .await?;
    Ok(Some(last))
}
