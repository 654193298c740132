//! All SQL of attachments.

use chrono::{DateTime, Utc};

use super::Attachment;
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

pub(super) async fn list(
    db: &Db,
    organization: OrganizationId,
    account: i64,
    limit: i64,
) -> Result<Vec<Attachment>> {
    db.query(
        "select id, name, media_type, size, made_by, created_at from customer_attachment
         where organization_id = $1 and account_id = $2 order by id desc limit $3",
    )
    .bind(organization)
    .bind(account)
    .bind(limit)
    .all()
    .await
}

/// An attachment with its bytes.
#[derive(sqlx::FromRow)]
pub(super) struct Whole {
    #[sqlx(flatten)]
    pub(super) shown: Attachment,
    pub(super) bytes: Vec<u8>,
}

pub(super) async fn find_whole(
    db: &Db,
    organization: OrganizationId,
    account: i64,
    id: i64,
) -> Result<Option<Whole>> {
    db.query(
        "select id, name, media_type, size, made_by, created_at, bytes
         from customer_attachment join customer_attachment_bytes on attachment_id = id
         where organization_id = $1 and account_id = $2 and id = $3",
    )
    .bind(organization)
    .bind(account)
    .bind(id)
    .optional()
    .await
}

/// Whoever attaches to a customer waits here for the one before. SQLite has one writer anyway.
pub(super) async fn take_turn(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
) -> Result<()> {
    let sql = tx.dialect(
        "select id from account where organization_id = $1 and id = $2 for no key update",
        "select id from account where organization_id = $1 and id = $2",
    );
    tx.query(sql).bind(organization).bind(account).run().await.map(drop)
}

/// How many a customer has.
pub(super) async fn count(tx: &mut Tx, organization: OrganizationId, account: i64) -> Result<i64> {
    tx.query(
        "select count(*) from (select 1 from customer_attachment
             where organization_id = $1 and account_id = $2 limit 1000) as counted",
    )
    .bind(organization)
    .bind(account)
    .scalar()
    .await
}

/// An attachment to be.
pub(super) struct New<'a> {
    pub(super) organization: OrganizationId,
    pub(super) account: i64,
    pub(super) name: &'a str,
    pub(super) media_type: &'a str,
    pub(super) size: i64,
    pub(super) bytes: &'a [u8],
    pub(super) made_by: &'a str,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn insert(tx: &mut Tx, new: New<'_>) -> Result<Attachment> {
    let kept: Attachment = tx
        .query(
            "insert into customer_attachment (organization_id, account_id, name, media_type, size,
                 made_by, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             returning id, name, media_type, size, made_by, created_at",
        )
        .bind(new.organization)
        .bind(new.account)
        .bind(new.name)
        .bind(new.media_type)
        .bind(new.size)
        .bind(new.made_by)
        .bind(new.now)
        .one()
        .await?;
    tx.query("insert into customer_attachment_bytes (attachment_id, bytes) values ($1, $2)")
        .bind(kept.id)
        .bind(new.bytes)
        .run()
        .await?;
    Ok(kept)
}

/// Removes an attachment, its bytes with it. Whether there was one.
pub(super) async fn remove(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    id: i64,
) -> Result<bool> {
    let gone = tx
        .query(
            "delete from customer_attachment
             where organization_id = $1 and account_id = $2 and id = $3",
        )
        .bind(organization)
        .bind(account)
        .bind(id)
        .run()
        .await?;
    Ok(gone > 0)
}
