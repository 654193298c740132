//! Rows of `notify_window`, and what is held in `notify_delivery` until a summary tells it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// A time in which what happens is told afterwards.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = MaintenanceWindow)]
pub struct Window {
    pub id: i64,
    /// Of this application only; empty: of all.
    pub app: String,
    pub reason: String,
    #[sqlx(rename = "from_at")]
    pub from: DateTime<Utc>,
    #[sqlx(rename = "to_at")]
    pub to: DateTime<Utc>,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
}

impl Window {
    /// Whether it holds what happens in an application at a moment.
    pub fn covers(&self, app: &str, now: DateTime<Utc>) -> bool {
        self.from <= now && now < self.to && (self.app.is_empty() || self.app == app)
    }
}

/// All that end after a moment, soonest first, in a transaction that decides by them.
pub(in crate::notify) async fn open(
    tx: &mut Tx,
    organization: OrganizationId,
    now: DateTime<Utc>,
) -> Result<Vec<Window>> {
    tx.query(
        "select id, app, reason, from_at, to_at, made_by, created_at from notify_window
         where organization_id = $1 and to_at > $2 order by to_at, id limit 200",
    )
    .bind(organization)
    .bind(now)
    .all()
    .await
}

/// The newest by their end.
pub async fn list(db: &Db, organization: OrganizationId, limit: i64) -> Result<Vec<Window>> {
    db.query(
        "select id, app, reason, from_at, to_at, made_by, created_at from notify_window
         where organization_id = $1 order by to_at desc, id desc limit $2",
    )
    .bind(organization)
    .bind(limit)
    .all()
    .await
}

pub(in crate::notify) async fn find(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Window>> {
    tx.query(
        "select id, app, reason, from_at, to_at, made_by, created_at from notify_window
         where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

pub(in crate::notify) async fn count(
    tx: &mut Tx,
    organization: OrganizationId,
    now: DateTime<Utc>,
) -> Result<i64> {
    tx.query("select count(*) from notify_window where organization_id = $1 and to_at > $2")
        .bind(organization)
        .bind(now)
        .scalar()
        .await
}

pub(in crate::notify) async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    window: &Window,
) -> Result<i64> {
    tx.query(
        "insert into notify_window (organization_id, app, reason, from_at, to_at, made_by,
             created_at)
         values ($1, $2, $3, $4, $5, $6, $7) returning id",
    )
    .bind(organization)
    .bind(&window.app)
    .bind(&window.reason)
    .bind(window.from)
    .bind(window.to)
    .bind(&window.made_by)
    .bind(window.created_at)
    .scalar()
    .await
}

/// Ends it at a moment.
pub(in crate::notify) async fn end(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<()> {
    tx.query(
        "update notify_window set to_at = $2,
             from_at = case when from_at > $2 then $2 else from_at end
         where id = $1",
    )
    .bind(id)
    .bind(now)
    .run()
    .await
    .map(drop)
}

pub(in crate::notify) async fn remove(tx: &mut Tx, id: i64) -> Result<()> {
    tx.query("delete from notify_window where id = $1").bind(id).run().await.map(drop)
}

/// What a window holds is summed up now.
pub(in crate::notify) async fn release(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<()> {
    tx.query(
        "update notify_delivery set gather_at = $2
         where window_id = $1 and gather_at is not null and gather_at > $2",
    )
    .bind(id)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// A channel for which something is to be summed up.
pub(in crate::notify) async fn gathering(
    db: &Db,
    now: DateTime<Utc>,
) -> Result<Option<(i64, OrganizationId)>> {
    db.query(
        "select channel_id, organization_id from notify_delivery
         where gather_at <= $1 order by gather_at, channel_id limit 1",
    )
    .bind(now)
    .optional()
    .await
}

/// What is summed up: when it was, its title and state, and the storm it tells of.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::notify) struct Held {
    pub(in crate::notify) id: i64,
    pub(in crate::notify) created_at: DateTime<Utc>,
    pub(in crate::notify) severity: crate::logs::Severity,
    pub(in crate::notify) title: String,
    pub(in crate::notify) state: super::deliveries::State,
    pub(in crate::notify) in_window: bool,
}

/// What is due of a channel, oldest first, and how much it is.
pub(in crate::notify) async fn held(
    tx: &mut Tx,
    channel: i64,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<(Vec<Held>, i64)> {
    let count = tx
        .query("select count(*) from notify_delivery where channel_id = $1 and gather_at <= $2")
        .bind(channel)
        .bind(now)
        .scalar()
        .await?;
    let rows = tx
        .query(
            "select id, created_at, severity, title, state, window_id is not null as in_window
             from notify_delivery where channel_id = $1 and gather_at <= $2 order by id limit $3",
        )
        .bind(channel)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok((rows, count))
}

/// It was summed up, or is to be later.
pub(in crate::notify) async fn gathered(
    tx: &mut Tx,
    channel: i64,
    now: DateTime<Utc>,
    reason: &str,
    later: Option<DateTime<Utc>>,
) -> Result<()> {
    tx.query(
        "update notify_delivery set gather_at = $4, reason = $3
         where channel_id = $1 and gather_at <= $2",
    )
    .bind(channel)
    .bind(now)
    .bind(reason)
    .bind(later)
    .run()
    .await
    .map(drop)
}
