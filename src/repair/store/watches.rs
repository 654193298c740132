//! Resolutions under watch.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    errors::store::groups::Status,
};

/// A resolution and until when it is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Watch {
    pub group_id: i64,
    pub attempt_id: i64,
    pub cause: String,
    pub recipe: String,
    pub started_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    #[serde(skip)]
    pub organization_id: i64,
}

/// What is watched from a resolution on.
#[derive(Clone, Debug)]
pub struct NewWatch<'a> {
    pub organization: OrganizationId,
    pub group: i64,
    pub attempt: i64,
    pub cause: &'a str,
    pub recipe: &'a str,
    pub started_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

pub async fn begin(tx: &mut Tx, new: &NewWatch<'_>) -> Result<()> {
    tx.query(
        "insert into watch (group_id, organization_id, attempt_id, cause, recipe, started_at,
             ends_at, status)
         values ($1, $2, $3, $4, $5, $6, $7, 'watching')
         on conflict (group_id) do update set attempt_id = excluded.attempt_id,
             cause = excluded.cause, recipe = excluded.recipe, started_at = excluded.started_at,
             ends_at = excluded.ends_at, status = 'watching'",
    )
    .bind(new.group)
    .bind(new.organization)
    .bind(new.attempt)
    .bind(new.cause)
    .bind(new.recipe)
    .bind(new.started_at)
    .bind(new.ends_at)
    .run()
    .await
    .map(drop)
}

/// Watches whose group came back.
pub async fn broken(db: &Db, limit: i64) -> Result<Vec<Watch>> {
    db.query(
        "select w.group_id, w.attempt_id, w.cause, w.recipe, w.started_at, w.ends_at,
             w.organization_id
         from watch as w join error_group as g on g.id = w.group_id
         where w.status = 'watching' and g.status = 'regressed' order by w.ends_at limit $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Watches that ended in quiet.
pub async fn over(db: &Db, now: DateTime<Utc>, limit: i64) -> Result<Vec<Watch>> {
    db.query(
        "select w.group_id, w.attempt_id, w.cause, w.recipe, w.started_at, w.ends_at,
             w.organization_id
         from watch as w join error_group as g on g.id = w.group_id
         where w.status = 'watching' and w.ends_at <= $1 and g.status <> 'regressed'
         order by w.ends_at limit $2",
    )
    .bind(now)
    .bind(limit)
    .all()
    .await
}

/// Ends a watch; false if another replica did.
pub async fn end(tx: &mut Tx, watch: &Watch, held: bool) -> Result<bool> {
    let changed = tx
        .query("update watch set status = $3 where group_id = $1 and attempt_id = $2 and status = 'watching'")
        .bind(watch.group_id)
        .bind(watch.attempt_id)
        .bind(if held { "held" } else { "broken" })
        .run()
        .await?;
    if changed != 1 {
        return Ok(false);
    }
    tx.query("update repair_attempt set held = $2 where id = $1")
        .bind(watch.attempt_id)
        .bind(held)
        .run()
        .await?;
    Ok(true)
}

/// The last watch of a group, and how it stands: "watching", "held" or "broken".
pub async fn of_group(db: &Db, group: i64) -> Result<Option<(DateTime<Utc>, String)>> {
    db.query("select ends_at, status from watch where group_id = $1").bind(group).optional().await
}

/// The endpoints under watch, those that end first first.
pub async fn open(db: &Db, organization: OrganizationId, limit: i64) -> Result<Vec<Watched>> {
    db.query(
        "select w.group_id, g.title, g.endpoint, g.method, w.started_at, w.ends_at
         from watch as w join error_group as g on g.id = w.group_id
         where w.status = 'watching' and w.organization_id = $1 order by w.ends_at limit $2",
    )
    .bind(organization)
    .bind(limit)
    .all()
    .await
}

/// What became of the last check of each group under watch, those that end first first.
pub async fn endpoints(db: &Db, organization: OrganizationId, limit: i64) -> Result<Vec<Endpoint>> {
    let rows: Vec<Checked> = db
        .query(
            "select w.group_id, g.title, g.app, g.endpoint, g.method, g.status, w.started_at,
                 w.ends_at, a.checks
             from watch as w
             join error_group as g on g.id = w.group_id
             join repair_attempt as a on a.id = w.attempt_id
             where w.status = 'watching' and w.organization_id = $1 order by w.ends_at limit $2",
        )
        .bind(organization)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Endpoint::from).collect())
}

#[derive(sqlx::FromRow)]
struct Checked {
    group_id: i64,
    title: String,
    app: String,
    endpoint: Option<String>,
    method: Option<String>,
    status: Status,
    started_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    checks: Option<Value>,
}

impl From<Checked> for Endpoint {
    fn from(row: Checked) -> Self {
        let name = match (row.method, row.endpoint) {
            (Some(method), Some(path)) => format!("{method} {path}"),
            (None, Some(path)) => path,
            (_, None) => row.title,
        };
        let checks = row.checks.as_ref().and_then(Value::as_array);
        let last = checks.and_then(|checks| checks.iter().max_by_key(|it| it["at"].as_str()));
        let outcome = match row.status {
            // The resolution holds no more; the watch is about to end.
            Status::Regressed => "fail",
            _ => last.and_then(|check| check["outcome"].as_str()).unwrap_or("unclear"),
        };
        Self {
            name,
            app: row.app,
            group_id: row.group_id,
            outcome: outcome.to_owned(),
            since: row.started_at,
            next_look: row.ends_at,
        }
    }
}

/// What is watched, as health tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = WatchedEndpoint)]
pub struct Endpoint {
    /// "GET /checkout", or the group's title where it names no endpoint.
    pub name: String,
    pub app: String,
    pub group_id: i64,
    /// Of the last check: "pass", "fail", "unclear". An event of the group is "fail".
    pub outcome: String,
    /// Since when it has been well.
    pub since: DateTime<Utc>,
    /// When Lux decides whether the resolution held; an event of the group is seen at once.
    pub next_look: DateTime<Utc>,
}

/// A group under watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Watched {
    pub group_id: i64,
    pub title: String,
    pub endpoint: Option<String>,
    pub method: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}
