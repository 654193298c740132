//! All SQL of actions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::render::{Rendered, bound, target};
use crate::{
    auth::OrganizationId,
    config::{Policy, Risk},
    db::{Db, Query, Result, Tx},
};

/// How far an action has come.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[schema(as = ActionStatus)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Waits for a person.
    Proposed,
    /// May run, once.
    Approved,
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise, could not be started, or was ended by the kill switch.
    Failed,
    /// Was ended because its time was over.
    TimedOut,
    Rejected,
    /// Was not decided, or not run, in time; or the configuration has changed since.
    Expired,
    /// Lux was not there when it ended: what it did must be looked at. Never run again.
    Unknown,
    /// Its undo succeeded.
    Undone,
}

impl Status {
    /// Whether it was run, or begun.
    pub fn was_run(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Unknown | Self::Undone
        )
    }
}

/// An action that was proposed, with all that became of it.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct ActionRun {
    pub id: i64,
    pub run_id: i64,
    pub cause_id: i64,
    /// Why: the name of the cause.
    pub cause: String,
    pub action: String,
    pub title: Option<String>,
    #[schema(value_type = BTreeMap<String, String>)]
    pub params: Json<BTreeMap<String, String>>,
    /// Exactly what runs; the first is the program's whole path.
    #[schema(value_type = Vec<String>)]
    pub argv: Json<Vec<String>>,
    /// Names of the variables it gets besides `PATH` and `LANG`.
    #[schema(value_type = Vec<String>)]
    pub env: Json<Vec<String>>,
    /// Whose rights it runs with; absent: Lux's own.
    pub run_as: Option<String>,
    pub timeout_ms: i64,
    pub policy: Policy,
    pub risk: Risk,
    /// What approving and rejecting must name.
    pub hash: String,
    /// The argv that would take it back.
    #[schema(value_type = Option<Vec<String>>)]
    pub undo: Option<Json<Vec<String>>>,
    /// The action that this one takes back.
    pub undo_of: Option<i64>,
    /// The one with other values that stands in its place.
    pub replaced_by: Option<i64>,
    pub status: Status,
    pub proposed_by: String,
    pub proposed_at: DateTime<Utc>,
    /// Until when it can be decided, or run once it is.
    pub expires_at: DateTime<Utc>,
    pub decided_by: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub decision_reason: Option<String>,
    pub started_by: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub exit_code: Option<i64>,
    pub signal: Option<i64>,
    /// How it ended, in words.
    pub detail: Option<String>,
    /// What it printed, at most 64 KiB, without secrets; not in lists.
    pub output: Option<String>,
    /// Bytes that are missing from the output.
    pub output_dropped: i64,
}

impl ActionRun {
    /// As it is at `now`: what was not decided or run in time is expired, whether or not
    /// that has been noted yet.
    fn at(mut self, now: DateTime<Utc>) -> Self {
        if matches!(self.status, Status::Proposed | Status::Approved) && self.expires_at <= now {
            self.status = Status::Expired;
        }
        self
    }
}

/// A connection of the pool, or a transaction.
pub(super) enum On<'a> {
    Db(&'a Db),
    Tx(&'a mut Tx),
}

impl On<'_> {
    fn query(&mut self, sql: &'static str) -> Query<'_> {
        match self {
            Self::Db(db) => db.query(sql),
            Self::Tx(tx) => tx.query(sql),
        }
    }
}

/// What an action is proposed for, and by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal<'a> {
    pub(super) organization: OrganizationId,
    pub(super) run: i64,
    pub(super) cause: i64,
    pub(super) by: &'a str,
    pub(super) at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) undo_of: Option<i64>,
    /// Who decided already, and why, if nobody needs to be asked.
    pub(super) decided: Option<(&'a str, &'a str)>,
}

impl Proposal<'_> {
    pub(super) fn hash(&self, rendered: &Rendered) -> String {
        bound(&rendered.hash, self.organization, self.run, self.cause, self.undo_of)
    }
}

/// Stores a proposal, unless it is there already; gives its id and whether it is new.
pub(super) async fn propose(
    tx: &mut Tx,
    rendered: &Rendered,
    proposal: &Proposal<'_>,
) -> Result<(i64, bool)> {
    let hash = proposal.hash(rendered);
    let status = if proposal.decided.is_some() { Status::Approved } else { Status::Proposed };
    let made: Option<(i64,)> = tx
        .query(
            "insert into action_run
                 (organization_id, run_id, cause_id, cause, action, title, params, argv, env,
                  run_as, timeout_ms, policy, risk, hash, target, undo, undo_of, status,
                  proposed_by, proposed_at, expires_at, decided_by, decided_at, decision_reason)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                     $18, $19, $20, $21, $22, $23, $24)
             on conflict (run_id, cause_id, hash) do nothing returning id",
        )
        .bind(proposal.organization)
        .bind(proposal.run)
        .bind(proposal.cause)
        .bind(rendered.cause.as_str())
        .bind(rendered.action.as_str())
        .bind(rendered.title.as_deref())
        .bind(Json(&rendered.params))
        .bind(Json(&rendered.argv))
        .bind(Json(&rendered.env))
        .bind(rendered.user.as_deref())
        .bind(i64::try_from(rendered.timeout_ms).unwrap_or(i64::MAX))
        .bind(rendered.policy)
        .bind(rendered.risk)
        .bind(hash.as_str())
        .bind(target(&rendered.argv))
        .bind(rendered.undo.as_ref().map(Json))
        .bind(proposal.undo_of)
        .bind(status)
        .bind(proposal.by)
        .bind(proposal.at)
        .bind(proposal.expires_at)
        .bind(proposal.decided.map(|(by, _)| by))
        .bind(proposal.decided.map(|_| proposal.at))
        .bind(proposal.decided.map(|(_, why)| why))
        .optional()
        .await?;
    if let Some((id,)) = made {
        return Ok((id, true));
    }
    let id = tx
        .query("select id from action_run where run_id = $1 and cause_id = $2 and hash = $3")
        .bind(proposal.run)
        .bind(proposal.cause)
        .bind(hash)
        .scalar()
        .await?;
    Ok((id, false))
}

macro_rules! select_actions {
    ($rest:literal) => {
        concat!(
            "select id, run_id, cause_id, cause, action, title, params, argv, env, run_as,
                 timeout_ms, policy, risk, hash, undo, undo_of, replaced_by, status, proposed_by,
                 proposed_at,
                 expires_at, decided_by, decided_at, decision_reason, started_by, started_at,
                 finished_at, exit_code, signal, detail, output, output_dropped ",
            $rest
        )
    };
}

pub(super) async fn find(
    mut on: On<'_>,
    organization: OrganizationId,
    id: i64,
    now: DateTime<Utc>,
) -> Result<Option<ActionRun>> {
    let found: Option<ActionRun> = on
        .query(select_actions!("from action_run where organization_id = $1 and id = $2"))
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(|run| run.at(now)))
}

/// All of a repair run, in the order in which they were proposed.
pub(super) async fn of_run(
    db: &Db,
    organization: OrganizationId,
    run: i64,
    now: DateTime<Utc>,
) -> Result<Vec<ActionRun>> {
    let found: Vec<ActionRun> = db
        .query(select_actions!(
            "from action_run where organization_id = $1 and run_id = $2 order by id limit 1000"
        ))
        .bind(organization)
        .bind(run)
        .all()
        .await?;
    Ok(found.into_iter().map(|run| run.at(now)).collect())
}

/// The newest first, below the id `before`; those of one status, if it is given. Without
/// what they printed: a page of that could be megabytes.
pub(super) async fn list(
    db: &Db,
    organization: OrganizationId,
    status: Option<Status>,
    before: i64,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<ActionRun>> {
    let found: Vec<ActionRun> = db
        .query(
            "select id, run_id, cause_id, cause, action, title, params, argv, env, run_as,
                 timeout_ms, policy, risk, hash, undo, undo_of, replaced_by, status, proposed_by,
                 proposed_at,
                 expires_at, decided_by, decided_at, decision_reason, started_by, started_at,
                 finished_at, exit_code, signal, detail, cast(null as text) as output,
                 output_dropped
             from action_run
             where organization_id = $1 and id < $2
               and (cast($3 as text) is null
                    or (status = $3
                        and (status not in ('proposed', 'approved') or expires_at > $4))
                    or ($3 = 'expired' and status in ('proposed', 'approved')
                        and expires_at <= $4))
             order by id desc limit $5",
        )
        .bind(organization)
        .bind(before)
        .bind(status)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok(found.into_iter().map(|run| run.at(now)).collect())
}

/// The same for those that were decided about.
pub(super) async fn decided(
    db: &Db,
    organization: OrganizationId,
    before: i64,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<ActionRun>> {
    let found: Vec<ActionRun> = db
        .query(
            "select id, run_id, cause_id, cause, action, title, params, argv, env, run_as,
                 timeout_ms, policy, risk, hash, undo, undo_of, replaced_by, status, proposed_by,
                 proposed_at,
                 expires_at, decided_by, decided_at, decision_reason, started_by, started_at,
                 finished_at, exit_code, signal, detail, cast(null as text) as output,
                 output_dropped
             from action_run
             where organization_id = $1 and id < $2 and decided_at is not null
             order by id desc limit $3",
        )
        .bind(organization)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(found.into_iter().map(|run| run.at(now)).collect())
}

/// How many wait for a decision, counted up to 1 000.
pub(super) async fn proposed(
    db: &Db,
    organization: OrganizationId,
    now: DateTime<Utc>,
) -> Result<i64> {
    let (count,) = db
        .query(
            "select count(*) from (select id from action_run where organization_id = $1
                 and status = 'proposed' and expires_at > $2 limit 1000) as p",
        )
        .bind(organization)
        .bind(now)
        .one::<(i64,)>()
        .await?;
    Ok(count)
}

/// A decision, and until when what was approved may run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision<'a> {
    pub(super) status: Status,
    pub(super) by: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

/// Decides a proposal that waits, is not expired and has this hash: at most once.
pub(super) async fn decide(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    hash: &str,
    decision: &Decision<'_>,
) -> Result<bool> {
    let changed = tx
        .query(
            "update action_run
             set status = $4, decided_by = $5, decision_reason = $6, decided_at = $7,
                 expires_at = $8
             where id = $1 and organization_id = $2 and hash = $3 and status = 'proposed'
               and expires_at > $7",
        )
        .bind(id)
        .bind(organization)
        .bind(hash)
        .bind(decision.status)
        .bind(decision.by)
        .bind(decision.reason)
        .bind(decision.at)
        .bind(decision.expires_at)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Notes of a proposal that was decided just now which one stands in its place.
pub(super) async fn replaced(tx: &mut Tx, id: i64, by: i64) -> Result<()> {
    let sql = "update action_run set replaced_by = $2 where id = $1";
    tx.query(sql).bind(id).bind(by).run().await.map(drop)
}

/// A proposal that another stood in the place of waits again, as long as that one would have.
pub(super) async fn restore(tx: &mut Tx, id: i64, expires_at: DateTime<Utc>) -> Result<()> {
    tx.query(
        "update action_run
         set status = 'proposed', decided_by = null, decided_at = null, decision_reason = null,
             replaced_by = null, expires_at = $2
         where id = $1 and status = 'rejected' and replaced_by is not null",
    )
    .bind(id)
    .bind(expires_at)
    .run()
    .await
    .map(drop)
}

/// Ends what has not begun yet.
pub(super) async fn void(tx: &mut Tx, id: i64, why: &str) -> Result<bool> {
    let changed = tx
        .query(
            "update action_run set status = 'expired', detail = $2
             where id = $1 and status in ('proposed', 'approved')",
        )
        .bind(id)
        .bind(why)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Notes what was not decided or run in time.
pub(super) async fn expire(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    db.query(
        "update action_run set status = 'expired',
             detail = case when status = 'proposed' then 'nobody decided in time'
                           else 'it was not run in time' end
         where status in ('proposed', 'approved') and expires_at <= $1",
    )
    .bind(now)
    .run()
    .await
}

/// Waits until no other replica begins a run of this action; until the end of the
/// transaction none can.
pub(super) async fn take_turn(tx: &mut Tx, action: &str, now: DateTime<Utc>) -> Result<()> {
    tx.query(
        "insert into action_turn (action, taken_at) values ($1, $2)
         on conflict (action) do update set taken_at = excluded.taken_at",
    )
    .bind(action)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// When an action was last begun, and how often since a time.
pub(super) async fn begun(
    on: &mut On<'_>,
    action: &str,
    since: DateTime<Utc>,
) -> Result<(Option<DateTime<Utc>>, i64)> {
    let last: Option<(DateTime<Utc>,)> = on
        .query(
            "select started_at from action_run where action = $1 and started_at is not null
             order by started_at desc limit 1",
        )
        .bind(action)
        .optional()
        .await?;
    let count = on
        .query("select count(*) from action_run where action = $1 and started_at > $2")
        .bind(action)
        .bind(since)
        .scalar()
        .await?;
    Ok((last.map(|(at,)| at), count))
}

/// The running action on a target, if there is one.
pub(super) async fn running_on(on: &mut On<'_>, argv: &[String]) -> Result<Option<i64>> {
    let found: Option<(i64,)> = on
        .query("select id from action_run where target = $1 and status = 'running' limit 1")
        .bind(target(argv))
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// Commits to running it: from here on it counts as run, whatever happens.
pub(super) async fn start(
    tx: &mut Tx,
    id: i64,
    by: &str,
    owner: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = tx
        .query(
            "update action_run
             set status = 'running', started_by = $2, owner = $3, started_at = $4,
                 heartbeat_at = $4
             where id = $1 and status = 'approved' and expires_at > $4",
        )
        .bind(id)
        .bind(by)
        .bind(owner)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Says that the process that runs it still does.
pub(super) async fn beat(db: &Db, id: i64, now: DateTime<Utc>) -> Result<()> {
    db.query("update action_run set heartbeat_at = $2 where id = $1 and status = 'running'")
        .bind(id)
        .bind(now)
        .run()
        .await
        .map(drop)
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) detail: String,
    pub(super) output: String,
    pub(super) dropped: u64,
}

/// Notes the end. Its own process knows better than one that gave it up for lost.
pub(super) async fn finish(
    tx: &mut Tx,
    id: i64,
    owner: &str,
    result: &Outcome,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = tx
        .query(
            "update action_run
             set status = $3, exit_code = $4, signal = $5, detail = $6, output = $7,
                 output_dropped = $8, finished_at = $9
             where id = $1 and owner = $2 and status in ('running', 'unknown')",
        )
        .bind(id)
        .bind(owner)
        .bind(result.status)
        .bind(result.exit_code.map(i64::from))
        .bind(result.signal.map(i64::from))
        .bind(result.detail.as_str())
        .bind(result.output.as_str())
        .bind(i64::try_from(result.dropped).unwrap_or(i64::MAX))
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// The original of an undo that succeeded.
pub(super) async fn undone(tx: &mut Tx, undo: i64) -> Result<()> {
    tx.query(
        "update action_run set status = 'undone'
         where id = (select undo_of from action_run where id = $1)",
    )
    .bind(undo)
    .run()
    .await
    .map(drop)
}

/// The undo of an action that there is already.
pub(super) async fn undo_of(tx: &mut Tx, id: i64) -> Result<Option<i64>> {
    let found: Option<(i64,)> = tx
        .query("select id from action_run where undo_of = $1 order by id limit 1")
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// Lets an undo that was asked for again run, if it was not begun yet.
pub(super) async fn ask_again(
    tx: &mut Tx,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "update action_run
         set status = 'approved', decided_by = $2, decided_at = $3, expires_at = $4, detail = null
         where id = $1 and status in ('approved', 'expired') and started_at is null",
    )
    .bind(id)
    .bind(by)
    .bind(now)
    .bind(expires_at)
    .run()
    .await
    .map(drop)
}

/// A run that has not ended, as far as the database knows.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Open {
    pub(super) id: i64,
    pub(super) organization_id: OrganizationId,
    pub(super) owner: Option<String>,
    pub(super) heartbeat_at: Option<DateTime<Utc>>,
}

pub(super) async fn running(db: &Db) -> Result<Vec<Open>> {
    db.query(
        "select id, organization_id, owner, heartbeat_at from action_run
         where status = 'running' order by target limit 1000",
    )
    .all()
    .await
}

/// Gives a run up, unless its process has said since that it lives.
pub(super) async fn give_up(
    tx: &mut Tx,
    open: &Open,
    why: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = tx
        .query(
            "update action_run set status = 'unknown', detail = $3, finished_at = $4
             where id = $1 and status = 'running' and heartbeat_at = $2",
        )
        .bind(open.id)
        .bind(open.heartbeat_at)
        .bind(why)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// The kill switch as the database has it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Switch {
    pub(super) stopped: bool,
    pub(super) changed_by: Option<String>,
    pub(super) changed_at: Option<DateTime<Utc>>,
}

pub(super) async fn switch(on: &mut On<'_>) -> Result<Switch> {
    on.query("select stopped, changed_by, changed_at from action_switch where id = 1").one().await
}

/// Turns the kill switch; who did it first stays noted.
pub(super) async fn turn(tx: &mut Tx, stopped: bool, by: &str, now: DateTime<Utc>) -> Result<bool> {
    let changed = tx
        .query(
            "update action_switch set stopped = $1, changed_by = $2, changed_at = $3
             where id = 1 and stopped <> $1",
        )
        .bind(stopped)
        .bind(by)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}
