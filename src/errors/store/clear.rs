//! Removing resolved events. Groups, their counters, hourly totals and evidence stay: what
//! happened remains known, only the single events go.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Events that one statement removes: others get their turn between two.
pub const BATCH: i64 = 1000;

/// Removes up to [`BATCH`] resolved events older than `before`, and says how many it
/// were; 0 when none is left. Resolved is an event by itself or with its group, as the lists
/// show it. An event that waits to be grouped is left until it is counted.
pub async fn batch(
    tx: &mut Tx,
    organization: OrganizationId,
    before: DateTime<Utc>,
) -> Result<u64> {
    let by_itself = tx
        .query(
            "delete from error_log where id in
                 (select id from error_log
                  where organization_id = $1 and is_resolved and created_at < $2
                    and (group_id is not null or refused is not null)
                  order by created_at, id limit $3)",
        )
        .bind(organization)
        .bind(before)
        .bind(BATCH)
        .run()
        .await?;
    if by_itself > 0 {
        return Ok(by_itself);
    }
    tx.query(
        "delete from error_log where id in
             (select e.id from error_group as g
              join error_log as e on e.group_id = g.id and e.created_at < $2
              where g.organization_id = $1 and g.merged_into is null
                and g.status = 'resolved' limit $3)",
    )
    .bind(organization)
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// All organizations, for what is done on schedule.
pub async fn organizations(db: &Db) -> Result<Vec<OrganizationId>> {
    let ids: Vec<(OrganizationId,)> =
        db.query("select id from organization order by id limit 100000").all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}
