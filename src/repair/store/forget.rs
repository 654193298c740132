//! Removing what is old, some rows at a time.
//!
//! What a resolution that stands rests on is never removed: the attempt, its run and cause,
//! what was done, and the results of its checks. (The `evidence` rows themselves stay for
//! good, as do groups, counts, recipes and the audit log.) Nothing of a run that has not
//! ended or of an open watch goes either. Rows go before those that they refer to.

use chrono::{DateTime, Utc};

use crate::db::{Result, Tx};

/// Rows that one statement removes: others get their turn between two.
pub const BATCH: i64 = 1000;

/// Kinds of rows that grow old.
#[derive(Clone, Copy, Debug)]
pub enum Old {
    Results,
    Steps,
    Actions,
    Watches,
    Attempts,
    Causes,
    Runs,
}

impl Old {
    /// In the order in which they go.
    pub const ALL: [Self; 7] = [
        Self::Results,
        Self::Steps,
        Self::Actions,
        Self::Watches,
        Self::Attempts,
        Self::Causes,
        Self::Runs,
    ];
}

/// Removes up to [`BATCH`] rows from before a time, and says how many it were; 0 when none
/// is left.
pub async fn batch(tx: &mut Tx, old: Old, before: DateTime<Utc>) -> Result<u64> {
    match old {
        Old::Results => results(tx, before).await,
        Old::Steps => steps(tx, before).await,
        Old::Actions => actions(tx, before).await,
        Old::Watches => watches(tx, before).await,
        Old::Attempts => attempts(tx, before).await,
        Old::Causes => causes(tx, before).await,
        Old::Runs => runs(tx, before).await,
    }
}

/// Results of probes. Those of a run go with what rests on it.
async fn results(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "delete from probe_result where id in
             (select p.id from probe_result as p
              where p.finished_at < $1
                and not exists (select 1 from repair_run as r where r.id = p.attempt_id
                    and r.status not in ('done', 'failed'))
                and not exists (select 1 from repair_attempt as a
                    join error_group as g on g.id = a.group_id
                    where a.run_id = p.attempt_id and g.status = 'resolved'
                      and g.evidence_id = a.evidence_id)
              order by p.finished_at, p.id limit $2)",
    )
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// Steps of runs.
async fn steps(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "delete from repair_event where (run_id, seq) in
             (select e.run_id, e.seq from repair_run as r
              join repair_event as e on e.run_id = r.id
              where r.status in ('done', 'failed') and r.finished_at < $1 limit $2)",
    )
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// Actions. The last start of each stays: cooldowns are counted from it.
async fn actions(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "delete from action_run where id in
             (select o.id from action_run as o
              where o.proposed_at < $1
                and coalesce(o.finished_at, o.decided_at, o.proposed_at) < $1
                and o.status not in ('proposed', 'approved', 'running')
                and not exists (select 1 from action_run as u where u.undo_of = o.id)
                and not exists (select 1 from repair_run as r where r.id = o.run_id
                    and r.status not in ('done', 'failed'))
                and not exists (select 1 from repair_attempt as a
                    join error_group as g on g.id = a.group_id
                    where a.cause_id = o.cause_id and g.status = 'resolved'
                      and g.evidence_id = a.evidence_id)
                and (o.started_at is null or exists (select 1 from action_run as l
                    where l.action = o.action and l.started_at > o.started_at))
              order by o.proposed_at, o.id limit $2)",
    )
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// Watches that ended, unless their resolution stands.
async fn watches(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "delete from watch where group_id in
             (select w.group_id from watch as w
              join repair_attempt as a on a.id = w.attempt_id
              join error_group as g on g.id = w.group_id
              where w.status <> 'watching' and w.ends_at < $1 and a.finished_at < $1
                and not (g.status = 'resolved' and g.evidence_id = a.evidence_id)
              order by w.ends_at limit $2)",
    )
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// Attempts whose resolution, if there was one, does not stand.
async fn attempts(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "delete from repair_attempt where id in
             (select a.id from repair_run as r
              join repair_attempt as a on a.run_id = r.id
              join error_group as g on g.id = a.group_id
              where r.status in ('done', 'failed') and r.finished_at < $1
                and (a.evidence_id is null or g.status <> 'resolved'
                    or g.evidence_id is null or g.evidence_id <> a.evidence_id)
                and not exists (select 1 from watch as w where w.attempt_id = a.id)
              limit $2)",
    )
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// Causes without an attempt.
async fn causes(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "delete from repair_cause where id in
             (select c.id from repair_run as r
              join repair_cause as c on c.run_id = r.id
              where r.status in ('done', 'failed') and r.finished_at < $1
                and not exists (select 1 from repair_attempt as a where a.cause_id = c.id)
              limit $2)",
    )
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// Runs of which nothing is left.
async fn runs(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    tx.query(
        "delete from repair_run where id in
             (select r.id from repair_run as r
              where r.status in ('done', 'failed') and r.finished_at < $1
                and not exists (select 1 from repair_attempt as a where a.run_id = r.id)
                and not exists (select 1 from repair_cause as c where c.run_id = r.id)
                and not exists (select 1 from repair_event as e where e.run_id = r.id)
              order by r.finished_at, r.id limit $2)",
    )
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}
