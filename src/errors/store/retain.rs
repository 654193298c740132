//! Removing events that are old or too many. Counters never come from rows: they stay true.
//!
//! Never removed: what a standing resolution rests on, the newest event of a group that is not
//! resolved or ignored, and rows that are not grouped yet.

use chrono::{DateTime, Utc};

use super::intake::json_ids;
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Rows that one statement looks at or removes: others get their turn between two.
pub const BATCH: i64 = 1000;

/// Events on which a resolution rests that stands.
macro_rules! evidence {
    () => {
        "(select a.error_id from repair_attempt as a join error_group as r on r.id = a.group_id
          where r.status = 'resolved' and r.evidence_id = a.evidence_id)"
    };
}

/// Removes up to [`BATCH`] events from before a time; says how many. 0: none is left.
pub async fn old(tx: &mut Tx, organization: OrganizationId, before: DateTime<Utc>) -> Result<u64> {
    tx.query(concat!(
        "delete from error_log where id in
             (select e.id from error_log as e left join error_group as g on g.id = e.group_id
              where e.organization_id = $1 and e.created_at < $2
                and (e.group_id is not null or e.refused is not null)
                and e.id not in ",
        evidence!(),
        "       and (g.id is null or g.status in ('resolved', 'ignored')
                     or exists (select 1 from error_log as n where n.group_id = e.group_id
                         and (n.created_at, n.id) > (e.created_at, e.id)))
              order by e.created_at, e.id limit $3)"
    ))
    .bind(organization)
    .bind(before)
    .bind(BATCH)
    .run()
    .await
}

/// Removes up to [`BATCH`] counts by endpoint, and storms, from before a time.
pub async fn old_counts(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let mut removed = 0;
    removed += tx
        .query(
            "delete from error_endpoint_user where (hour_at, endpoint_id, user_id) in
                 (select hour_at, endpoint_id, user_id from error_endpoint_user
                  where hour_at < $1 limit $2)",
        )
        .bind(before)
        .bind(BATCH)
        .run()
        .await?;
    removed += tx
        .query(
            "delete from error_endpoint_hour where (hour_at, endpoint_id, group_id) in
                 (select hour_at, endpoint_id, group_id from error_endpoint_hour
                  where hour_at < $1 limit $2)",
        )
        .bind(before)
        .bind(BATCH)
        .run()
        .await?;
    removed += tx
        .query(
            "delete from error_storm where id in
                 (select id from error_storm where ended_at < $1 limit $2)",
        )
        .bind(before)
        .bind(BATCH)
        .run()
        .await?;
    Ok(removed)
}

/// How many events of a group are stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Stored {
    pub group: i64,
    pub organization: i64,
    pub app: String,
    pub events: i64,
}

/// Groups by how many events of them are stored, the fullest first. One walk over the index.
pub async fn stored(db: &Db) -> Result<Vec<Stored>> {
    db.query(
        "select g.id as \"group\", g.organization_id as organization, g.app, c.events
         from (select group_id, count(*) as events from error_log
               where group_id is not null group by group_id) as c
         join error_group as g on g.id = c.group_id
         order by c.events desc limit 200000",
    )
    .all()
    .await
}

/// What is looked at to tell which events are rare.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    pub id: i64,
    pub created_at: DateTime<Utc>,
    pub error_message: String,
    pub endpoint: Option<String>,
    pub release: Option<String>,
    pub environment: Option<String>,
    pub tags: Option<String>,
}

/// A group's oldest events after a place.
pub async fn oldest(db: &Db, group: i64, after: (DateTime<Utc>, i64)) -> Result<Vec<Row>> {
    db.query(
        "select id, created_at, substr(error_message, 1, 500) as error_message, endpoint, release,
             environment, tags
         from error_log where group_id = $1 and (created_at, id) > ($2, $3)
         order by created_at, id limit $4",
    )
    .bind(group)
    .bind(after.0)
    .bind(after.1)
    .bind(BATCH)
    .all()
    .await
}

/// Removes events of a group, but for what has to stay; says how many went.
pub async fn remove(tx: &mut Tx, group: i64, ids: &[i64]) -> Result<u64> {
    let sql = tx.dialect(
        concat!(
            "delete from error_log where group_id = $1
               and id in (select cast(value as bigint)
                          from json_array_elements_text(cast($2 as json)))
               and id not in ",
            evidence!()
        ),
        concat!(
            "delete from error_log where group_id = $1
               and id in (select value from json_each($2)) and id not in ",
            evidence!()
        ),
    );
    tx.query(sql).bind(group).bind(json_ids(ids)).run().await
}
