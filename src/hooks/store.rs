//! Subscriptions, and what is still to be told to them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Event;
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// A subscription as it is shown.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Hook {
    pub id: i64,
    #[schema(inline)]
    pub event: Event,
    /// Host and end of the address; the rest is a secret of the subscriber.
    #[sqlx(rename = "target_shown")]
    pub target: String,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub delivered: i64,
    pub delivered_at: Option<DateTime<Utc>>,
    /// Deliveries that failed in a row.
    pub failures: i64,
    pub last_error: Option<String>,
    /// Since when nothing is sent any more.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Deliveries that wait.
    pub waiting: i64,
}

/// A subscription to be stored.
pub(super) struct New<'a> {
    pub(super) row_name: &'a str,
    pub(super) event: Event,
    pub(super) target_sealed: &'a str,
    pub(super) target_shown: &'a str,
    pub(super) target_hash: &'a str,
    pub(super) secret_sealed: &'a str,
    pub(super) made_by: &'a str,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    new: &New<'_>,
) -> Result<i64> {
    tx.query(
        "insert into hook (organization_id, row_name, event, target_sealed, target_shown,
             target_hash, secret_sealed, made_by, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id",
    )
    .bind(organization)
    .bind(new.row_name)
    .bind(new.event)
    .bind(new.target_sealed)
    .bind(new.target_shown)
    .bind(new.target_hash)
    .bind(new.secret_sealed)
    .bind(new.made_by)
    .bind(new.now)
    .bind(new.expires_at)
    .scalar()
    .await
}

pub(super) async fn count(tx: &mut Tx, organization: OrganizationId) -> Result<i64> {
    tx.query("select count(*) from hook where organization_id = $1")
        .bind(organization)
        .scalar()
        .await
}

/// All subscriptions, oldest first; there are at most 200.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Hook>> {
    db.query(
        "select id, event, target_shown, made_by, created_at, expires_at, delivered, delivered_at,
             failures, last_error, disabled_at,
             (select count(*) from hook_delivery d where d.hook_id = hook.id) as waiting
         from hook where organization_id = $1 order by id",
    )
    .bind(organization)
    .all()
    .await
}

pub(super) async fn remove(tx: &mut Tx, organization: OrganizationId, id: i64) -> Result<bool> {
    let gone = tx
        .query("delete from hook where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .run()
        .await?;
    Ok(gone > 0)
}

/// Removes the subscriptions of an address (its hash), or that of one event; gives their ids.
pub(super) async fn remove_address(
    tx: &mut Tx,
    organization: OrganizationId,
    target_hash: &str,
    event: Option<Event>,
) -> Result<Vec<i64>> {
    let gone: Vec<(i64,)> = tx
        .query(
            "delete from hook where organization_id = $1 and target_hash = $2
                 and (event = $3 or $3 is null)
             returning id",
        )
        .bind(organization)
        .bind(target_hash)
        .bind(event)
        .all()
        .await?;
    Ok(gone.into_iter().map(|(id,)| id).collect())
}

/// Something to be told, and to whom.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Due {
    pub(super) id: i64,
    pub(super) hook_id: i64,
    pub(super) organization_id: OrganizationId,
    pub(super) event: Event,
    pub(super) subject_id: i64,
    pub(super) at: DateTime<Utc>,
    pub(super) tries: i64,
    pub(super) row_name: String,
    pub(super) target_sealed: String,
    pub(super) secret_sealed: String,
}

/// Takes what is due, at most `limit`: nobody else tries it before `until`.
pub(super) async fn take(
    db: &Db,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Due>> {
    let waiting: Option<(i64,)> = db
        .query("select id from hook_delivery where next_at <= $1 limit 1")
        .bind(now)
        .optional()
        .await?;
    if waiting.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "select d.id, d.hook_id, h.organization_id, h.event, d.subject_id, d.at, d.tries,
             h.row_name, h.target_sealed, h.secret_sealed
         from hook_delivery d join hook h on h.id = d.hook_id
         where d.next_at <= $1 order by d.next_at, d.id limit $2 for update of d skip locked",
        "select d.id, d.hook_id, h.organization_id, h.event, d.subject_id, d.at, d.tries,
             h.row_name, h.target_sealed, h.secret_sealed
         from hook_delivery d join hook h on h.id = d.hook_id
         where d.next_at <= $1 order by d.next_at, d.id limit $2",
    );
    let due: Vec<Due> = tx.query(sql).bind(now).bind(limit).all().await?;
    for one in &due {
        tx.query("update hook_delivery set next_at = $2, tries = tries + 1 where id = $1")
            .bind(one.id)
            .bind(until)
            .run()
            .await?;
    }
    tx.commit().await?;
    Ok(due)
}

/// It was heard.
pub(super) async fn told(db: &Db, due: &Due, now: DateTime<Utc>) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.query("delete from hook_delivery where id = $1").bind(due.id).run().await?;
    tx.query(
        "update hook set delivered = delivered + 1, delivered_at = $2, failures = 0,
             last_error = null
         where id = $1",
    )
    .bind(due.hook_id)
    .bind(now)
    .run()
    .await?;
    tx.commit().await
}

/// What it was about is gone.
pub(super) async fn drop_delivery(db: &Db, id: i64) -> Result<()> {
    db.query("delete from hook_delivery where id = $1").bind(id).run().await.map(drop)
}

/// It failed, and is tried again later.
pub(super) async fn failed(
    db: &Db,
    due: &Due,
    error: &str,
    next: DateTime<Utc>,
    counts: bool,
) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.query("update hook_delivery set next_at = $2, tries = tries - $3 where id = $1")
        .bind(due.id)
        .bind(next)
        .bind(i64::from(!counts))
        .run()
        .await?;
    tx.query("update hook set failures = failures + $3, last_error = $2 where id = $1")
        .bind(due.hook_id)
        .bind(error)
        .bind(i64::from(counts))
        .run()
        .await?;
    tx.commit().await
}

/// The subscriber does not want any more: 410.
pub(super) async fn unsubscribe(db: &Db, hook: i64) -> Result<()> {
    db.query("delete from hook where id = $1").bind(hook).run().await.map(drop)
}

/// It failed too often: nothing is sent until somebody subscribes again.
pub(super) async fn disable(db: &Db, hook: i64, error: &str, now: DateTime<Utc>) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.query("update hook set disabled_at = $2, last_error = $3 where id = $1")
        .bind(hook)
        .bind(now)
        .bind(error)
        .run()
        .await?;
    tx.query("delete from hook_delivery where hook_id = $1").bind(hook).run().await?;
    tx.commit().await
}

/// Removes subscriptions whose time is over, and those given up a month ago.
pub(super) async fn expire(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    db.query("delete from hook where expires_at <= $1 or disabled_at <= $2")
        .bind(now)
        .bind(now - TimeDelta::days(30))
        .run()
        .await
}
