//! Rows of `error_storm`, and what is read to find storms. Several replicas may do the same
//! at the same time: a storm begins once and ends once, and its count is added up once.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{intake::json_ids, second};
use crate::{
    auth::OrganizationId,
    db::{Db, Result},
};

/// Groups that one look reads of an organization.
const MAX_ACTIVE: i64 = 2000;

/// Far more events than usual, of a group or of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Storm {
    pub id: i64,
    #[serde(skip)]
    pub organization_id: i64,
    pub app: String,
    /// Null: many groups of the application.
    pub group_id: Option<i64>,
    /// The group's.
    pub title: Option<String>,
    pub started_at: DateTime<Utc>,
    /// Events a minute that are usual there.
    pub usual: i64,
    /// The most events in one minute.
    pub peak: i64,
    /// Events so far.
    pub count: i64,
    /// Null: it goes on.
    pub ended_at: Option<DateTime<Utc>>,
    /// When its beginning or end was told.
    pub told_at: Option<DateTime<Utc>>,
}

/// A group of which events came lately.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Active {
    pub id: i64,
    pub app: String,
    pub count: i64,
    pub first_seen: DateTime<Utc>,
}

/// The groups with events since a time, the newest first.
pub async fn active(
    db: &Db,
    organization: OrganizationId,
    since: DateTime<Utc>,
) -> Result<Vec<Active>> {
    db.query(
        "select id, app, count, first_seen from error_group
         where organization_id = $1 and seen_at >= $2 and merged_into is null
         order by seen_at desc, id desc limit $3",
    )
    .bind(organization)
    .bind(second(since))
    .bind(MAX_ACTIVE)
    .all()
    .await
}

/// How many of a group's events are from after a time, counted up to `most`.
pub async fn since(db: &Db, group: i64, at: DateTime<Utc>, most: i64) -> Result<i64> {
    db.query(
        "select count(*) from (select 1 from error_log
             where group_id = $1 and created_at >= $2 limit $3) as lately",
    )
    .bind(group)
    .bind(at)
    .bind(most)
    .scalar()
    .await
}

/// A storm that begins.
pub struct New<'a> {
    pub organization: OrganizationId,
    pub app: &'a str,
    pub group: Option<i64>,
    pub usual: i64,
    pub peak: i64,
    /// The counter as it stands now, from which the storm's own count goes on.
    pub counter: i64,
}

/// Begins a storm with `peak` events; `None` if it goes on already.
pub async fn begin(db: &Db, new: &New<'_>, now: DateTime<Utc>) -> Result<Option<i64>> {
    let id: Option<(i64,)> = db
        .query(
            "insert into error_storm (organization_id, app, group_id, started_at, usual, peak,
                 count, seen_count, seen_at, told_at)
             values ($1, $2, $3, $4, $5, $6, $6, $7, $4, $4)
             on conflict do nothing returning id",
        )
        .bind(new.organization)
        .bind(new.app)
        .bind(new.group)
        .bind(now)
        .bind(new.usual)
        .bind(new.peak)
        .bind(new.counter)
        .optional()
        .await?;
    Ok(id.map(|(id,)| id))
}

/// Adds what the counter has gained, and notes whether it is calm.
pub async fn go_on(
    db: &Db,
    id: i64,
    counter: i64,
    rate: i64,
    calm: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    db.query(
        "update error_storm set
             count = count + case when seen_count < $2 then $2 - seen_count else 0 end,
             seen_count = case when seen_count < $2 then $2 else seen_count end,
             peak = case when peak < $3 then $3 else peak end,
             calm_since = case when $4 then coalesce(calm_since, $5) else null end,
             seen_at = $5
         where id = $1 and ended_at is null",
    )
    .bind(id)
    .bind(counter)
    .bind(rate)
    .bind(calm)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Ends a storm; false if another replica was faster.
pub async fn end(db: &Db, id: i64, now: DateTime<Utc>) -> Result<bool> {
    let ended = db
        .query(
            "update error_storm set ended_at = $2, told_at = $2
             where id = $1 and ended_at is null",
        )
        .bind(id)
        .bind(now);
    Ok(ended.run().await? == 1)
}

/// A storm that goes on, with since when it is calm.
#[derive(Debug, sqlx::FromRow)]
pub struct Open {
    #[sqlx(flatten)]
    pub storm: Storm,
    pub calm_since: Option<DateTime<Utc>>,
}

/// All storms that go on, of all organizations.
pub async fn open(db: &Db) -> Result<Vec<Open>> {
    db.query(
        "select s.id, s.organization_id, s.app, s.group_id, g.title, s.started_at, s.usual, s.peak,
             s.count, s.ended_at, s.told_at, s.calm_since
         from error_storm as s left join error_group as g on g.id = s.group_id
         where s.ended_at is null order by s.id limit 1000",
    )
    .all()
    .await
}

/// The counters of some groups.
pub async fn counters(db: &Db, groups: &[i64]) -> Result<Vec<(i64, i64)>> {
    let sql = db.dialect(
        "select id, count from error_group
         where id in (select cast(value as bigint)
                      from json_array_elements_text(cast($1 as json)))",
        "select id, count from error_group where id in (select value from json_each($1))",
    );
    db.query(sql).bind(json_ids(groups)).all().await
}

/// A storm as it stands.
pub async fn find(db: &Db, id: i64) -> Result<Option<Storm>> {
    db.query(
        "select s.id, s.organization_id, s.app, s.group_id, g.title, s.started_at, s.usual, s.peak,
             s.count, s.ended_at, s.told_at
         from error_storm as s left join error_group as g on g.id = s.group_id where s.id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// A group's last storm.
pub async fn of_group(db: &Db, group: i64) -> Result<Option<Storm>> {
    db.query(
        "select s.id, s.organization_id, s.app, s.group_id, g.title, s.started_at, s.usual, s.peak,
             s.count, s.ended_at, s.told_at
         from error_storm as s left join error_group as g on g.id = s.group_id
         where s.group_id = $1 order by s.started_at desc limit 1",
    )
    .bind(group)
    .optional()
    .await
}

/// Where a list of storms goes on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Position {
    pub at: DateTime<Utc>,
    pub id: i64,
}

/// Storms, newest first.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<Storm>> {
    let top = super::events::Position::top();
    let after = after.unwrap_or(Position { at: top.at, id: top.id });
    db.query(
        "select s.id, s.organization_id, s.app, s.group_id, g.title, s.started_at, s.usual, s.peak,
             s.count, s.ended_at, s.told_at
         from error_storm as s left join error_group as g on g.id = s.group_id
         where s.organization_id = $1 and (s.started_at, s.id) < ($2, $3)
         order by s.started_at desc, s.id desc limit $4",
    )
    .bind(organization)
    .bind(after.at)
    .bind(after.id)
    .bind(limit)
    .all()
    .await
}
