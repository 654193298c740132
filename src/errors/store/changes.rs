//! What became of groups: each change of a status is noted by the database itself
//! (`group_change`), whoever makes it.

use chrono::{DateTime, Utc};

use super::{groups::Status, intake::json_ids};
use crate::{
    auth::OrganizationId,
    db::{Db, Result},
};

/// Decisions that end by themselves, at one look.
const SOME: i64 = 1000;

/// One change of a group's status.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Change {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub status: Status,
    pub was: Status,
    /// The person who decided it; `None` where an event or a repair did.
    pub made_by: Option<String>,
    /// Why it counts as resolved, and whether checks say so ("probe") or a person ("operator").
    pub evidence: Option<String>,
    pub evidence_kind: Option<String>,
    pub muted_until: Option<DateTime<Utc>>,
    /// Of the newest event then.
    pub release: Option<String>,
}

/// What became of a group, the newest first.
pub async fn of_group(db: &Db, group: i64, limit: i64) -> Result<Vec<Change>> {
    db.query(
        "select c.id, c.at, c.status, c.was, c.made_by, v.detail as evidence,
             v.kind as evidence_kind, c.muted_until, c.release
         from group_change as c
         left join evidence as v on v.id = c.evidence_id and c.status = 'resolved'
         where c.group_id = $1 order by c.id desc limit $2",
    )
    .bind(group)
    .bind(limit)
    .all()
    .await
}

/// Takes a decision back: what `by` decided at that moment. Groups of which something else
/// was decided since stay, and so do those that were resolved before and failed meanwhile.
/// Gives how many are as they were, and how many were decided about.
pub async fn take_back(
    db: &Db,
    organization: OrganizationId,
    at: DateTime<Utc>,
    by: &str,
) -> Result<(usize, usize)> {
    let mut tx = db.begin().await?;
    let decided: Vec<(i64, i64)> = tx
        .query(
            "select id, group_id from group_change
             where organization_id = $1 and at = $2 and made_by = $3 order by id",
        )
        .bind(organization)
        .bind(at)
        .bind(by)
        .all()
        .await?;
    let Some(last) = decided.last().map(|(id, _)| *id) else { return Ok((0, 0)) };
    let ids: Vec<i64> = decided.iter().map(|(id, _)| *id).collect();
    let groups: Vec<i64> = decided.iter().map(|(_, group)| *group).collect();
    let sql = tx.dialect(
        "update error_group set status = c.was, status_at = c.was_at, status_by = c.was_by,
             evidence_id = c.was_evidence_id, resolved_in = c.was_resolved_in,
             resolved_after = c.was_resolved_after, muted_until = c.was_muted_until
         from group_change as c
         where c.id in (select cast(value as bigint)
                        from json_array_elements_text(cast($1 as json)))
           and error_group.id = c.group_id and error_group.status = c.status
           and error_group.status_at = c.at and error_group.merged_into is null
           and (c.was <> 'resolved' or error_group.last_seen <= c.at)
         returning error_group.id",
        "update error_group set status = c.was, status_at = c.was_at, status_by = c.was_by,
             evidence_id = c.was_evidence_id, resolved_in = c.was_resolved_in,
             resolved_after = c.was_resolved_after, muted_until = c.was_muted_until
         from group_change as c
         where c.id in (select value from json_each($1))
           and error_group.id = c.group_id and error_group.status = c.status
           and error_group.status_at = c.at and error_group.merged_into is null
           and (c.was <> 'resolved' or error_group.last_seen <= c.at)
         returning error_group.id",
    );
    let back: Vec<(i64,)> = tx.query(sql).bind(json_ids(&ids)).all().await?;
    let back: Vec<i64> = back.into_iter().map(|(id,)| id).collect();
    // As if it had not been: what was decided, and that it was taken back.
    let sql = tx.dialect(
        "delete from group_change
         where group_id in (select cast(value as bigint)
                            from json_array_elements_text(cast($1 as json)))
           and (id > $2 or (at = $3 and made_by = $4))",
        "delete from group_change
         where group_id in (select value from json_each($1))
           and (id > $2 or (at = $3 and made_by = $4))",
    );
    tx.query(sql).bind(json_ids(&back)).bind(last).bind(at).bind(by).run().await?;
    tx.commit().await?;
    Ok((back.len(), groups.len()))
}

/// Opens groups again whose time of being ignored is over; gives how many.
pub async fn unmute(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    db.query(
        "update error_group set status = 'unresolved', status_at = $1, status_by = null,
             muted_until = null
         where id in (select id from error_group where muted_until <= $1 order by muted_until
                      limit $2)
           and status = 'ignored' and muted_until <= $1",
    )
    .bind(now)
    .bind(SOME)
    .run()
    .await
}
