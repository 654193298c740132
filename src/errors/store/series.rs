//! Counts over time and by value: from counters, or from a bounded sample that says so.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{index, intake::json_ids};
use crate::{
    auth::OrganizationId,
    db::{Db, Result},
    logs::Severity,
};

/// Events that a sample looks at.
pub const SAMPLE: i64 = 1000;

/// Events by hour, all applications together.
pub async fn by_hour(
    db: &Db,
    organization: OrganizationId,
    severity: Option<Severity>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, i64)>> {
    db.query(
        "select hour_at, cast(sum(count) as bigint) as count from error_hour
         where organization_id = $1 and hour_at >= $2 and hour_at < $3
           and (severity = $4 or $4 is null)
         group by hour_at",
    )
    .bind(organization)
    .bind(since)
    .bind(until)
    .bind(severity)
    .all()
    .await
}

/// Events by hour of a group, or of an application's groups.
pub async fn by_hour_of(
    db: &Db,
    organization: OrganizationId,
    app: Option<&str>,
    group: Option<i64>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, i64)>> {
    let query = match group {
        Some(group) => db
            .query(
                "select b.hour_at, cast(sum(b.count) as bigint) as count
                 from error_group as g join error_bucket as b on b.group_id = g.id
                 where g.organization_id = $1 and g.id = $5 and b.hour_at >= $2 and b.hour_at < $3
                   and (g.app = $4 or $4 is null)
                 group by b.hour_at",
            )
            .bind(organization)
            .bind(since)
            .bind(until)
            .bind(app)
            .bind(group),
        None => db
            .query(
                "select b.hour_at, cast(sum(b.count) as bigint) as count
                 from error_group as g join error_bucket as b on b.group_id = g.id
                 where g.organization_id = $1 and g.seen_at >= $2 and g.app = $4
                   and g.merged_into is null
                   and b.hour_at >= $2 and b.hour_at < $3
                 group by b.hour_at",
            )
            .bind(organization)
            .bind(since)
            .bind(until)
            .bind(app.unwrap_or_default()),
    };
    query.all().await
}

/// Where errors come from.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = EndpointErrors)]
pub struct Endpoint {
    #[serde(skip)]
    pub id: i64,
    pub app: String,
    /// The path with its ids masked: `/user/<n>`.
    pub endpoint: String,
    pub method: String,
    pub count: i64,
    pub groups: i64,
    pub last_seen: DateTime<Utc>,
    /// Distinct users; of each hour up to a thousand are told apart.
    #[sqlx(skip)]
    pub users: i64,
}

/// The endpoints with most events.
pub async fn endpoints(
    db: &Db,
    organization: OrganizationId,
    app: Option<&str>,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Endpoint>> {
    let mut found: Vec<Endpoint> = db
        .query(
            "select e.id, e.app, e.endpoint, e.method, cast(sum(h.count) as bigint) as count,
                 count(distinct h.group_id) as groups, max(h.last_seen) as last_seen
             from error_endpoint_hour as h join error_endpoint as e on e.id = h.endpoint_id
             where h.hour_at >= $2 and e.organization_id = $1 and (e.app = $3 or $3 is null)
             group by e.id, e.app, e.endpoint, e.method
             order by count desc, e.id limit $4",
        )
        .bind(organization)
        .bind(since)
        .bind(app)
        .bind(limit)
        .all()
        .await?;
    let ids: Vec<i64> = found.iter().map(|endpoint| endpoint.id).collect();
    let sql = db.dialect(
        "select endpoint_id, count(distinct user_id) from error_endpoint_user
         where hour_at >= $1
           and endpoint_id in (select cast(value as bigint)
                               from json_array_elements_text(cast($2 as json)))
         group by endpoint_id",
        "select endpoint_id, count(distinct user_id) from error_endpoint_user
         where hour_at >= $1 and endpoint_id in (select value from json_each($2))
         group by endpoint_id",
    );
    let users: Vec<(i64, i64)> = db.query(sql).bind(since).bind(json_ids(&ids)).all().await?;
    let users: HashMap<i64, i64> = users.into_iter().collect();
    for endpoint in &mut found {
        endpoint.users = users.get(&endpoint.id).copied().unwrap_or(0);
    }
    Ok(found)
}

/// Events that the counters do not hold yet, counted up to ten thousand.
pub async fn behind(db: &Db) -> Result<i64> {
    let mark = index::mark(db).await?;
    db.query("select count(*) from (select 1 from error_log where id > $1 limit 10000) as new")
        .bind(mark)
        .scalar()
        .await
}

/// A page of a group's users, by name; the names above `after`.
pub async fn users(db: &Db, group: i64, after: &str, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = db
        .query(
            "select user_id from error_group_user where group_id = $1 and user_id > $2
             order by user_id limit $3",
        )
        .bind(group)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(user,)| user).collect())
}

/// What the newest events of a group say, without their texts.
#[derive(Debug, sqlx::FromRow)]
pub struct Sampled {
    pub user_id: Option<String>,
    pub endpoint: Option<String>,
    pub method: Option<String>,
    pub severity: String,
    pub release: Option<String>,
    pub environment: Option<String>,
    pub tags: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl Sampled {
    pub fn values(&self) -> BTreeMap<String, String> {
        let mut values = index::tags(self.tags.as_deref());
        let endpoint = self.endpoint.as_deref().map(crate::logs::template::path);
        for (name, value) in [
            ("release", self.release.clone()),
            ("environment", self.environment.clone()),
            ("method", self.method.clone()),
            ("endpoint", endpoint),
            ("severity", Some(self.severity.clone())),
        ] {
            values.extend(value.map(|value| (name.to_owned(), value)));
        }
        values
    }
}

/// The newest [`SAMPLE`] events of a group.
pub async fn sample(db: &Db, group: i64) -> Result<Vec<Sampled>> {
    db.query(
        "select user_id, endpoint, method, severity, release, environment, tags, created_at
         from error_log where group_id = $1 order by created_at desc, id desc limit $2",
    )
    .bind(group)
    .bind(SAMPLE)
    .all()
    .await
}
