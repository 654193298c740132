//! All SQL of sign-ups.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// A sign-up to be.
pub(super) struct New<'a> {
    pub(super) organization: OrganizationId,
    pub(super) email: &'a str,
    pub(super) email_key: &'a str,
    pub(super) name: &'a str,
    pub(super) company: &'a str,
    /// Of the network.
    pub(super) address: String,
    pub(super) now: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    /// When its letter is to be sent; `None`: none is.
    pub(super) next_at: Option<DateTime<Utc>>,
}

pub(super) async fn insert(tx: &mut Tx, new: New<'_>) -> Result<()> {
    tx.query(
        "insert into customer_signup (organization_id, email, email_key, name, company, address,
             created_at, expires_at, next_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(new.organization)
    .bind(new.email)
    .bind(new.email_key)
    .bind(new.name)
    .bind(new.company)
    .bind(new.address)
    .bind(new.now)
    .bind(new.expires_at)
    .bind(new.next_at)
    .run()
    .await
    .map(drop)
}

/// How many signed up since a moment, counted up to `most`.
pub(super) async fn recent(
    tx: &mut Tx,
    organization: OrganizationId,
    since: DateTime<Utc>,
    most: i64,
) -> Result<i64> {
    tx.query(
        "select count(*) from (select 1 from customer_signup
             where organization_id = $1 and created_at > $2 limit $3) as counted",
    )
    .bind(organization)
    .bind(since)
    .bind(most)
    .scalar()
    .await
}

/// How often an address was given since a moment, counted up to a hundred.
pub(super) async fn recent_of(
    tx: &mut Tx,
    organization: OrganizationId,
    email_key: &str,
    since: DateTime<Utc>,
) -> Result<i64> {
    tx.query(
        "select count(*) from (select 1 from customer_signup
             where organization_id = $1 and email_key = $2 and created_at > $3 limit 100)
             as counted",
    )
    .bind(organization)
    .bind(email_key)
    .bind(since)
    .scalar()
    .await
}

/// A sign-up whose link can be used now.
#[derive(sqlx::FromRow)]
pub(super) struct Usable {
    pub(super) id: i64,
    pub(super) organization_id: OrganizationId,
    pub(super) email: String,
    pub(super) email_key: String,
    pub(super) name: String,
    pub(super) company: String,
}

pub(super) async fn usable(tx: &mut Tx, hash: &str) -> Result<Option<Usable>> {
    tx.query(
        "select id, organization_id, email, email_key, name, company from customer_signup
         where hash = $1 and used_at is null and expires_at > (select at from database_time)",
    )
    .bind(hash)
    .optional()
    .await
}

/// Marks a link as used; whether nobody was faster.
pub(super) async fn used(tx: &mut Tx, id: i64, hash: &str, now: DateTime<Utc>) -> Result<bool> {
    let used = tx
        .query(
            "update customer_signup set used_at = $3, next_at = null
             where id = $1 and hash = $2 and used_at is null and expires_at > $3",
        )
        .bind(id)
        .bind(hash)
        .bind(now)
        .run()
        .await?;
    Ok(used == 1)
}

/// Whether a letter is to be sent.
pub(super) async fn is_due(db: &Db, now: DateTime<Utc>) -> Result<bool> {
    let due: Option<(i64,)> = db
        .query("select id from customer_signup where next_at <= $1 limit 1")
        .bind(now)
        .optional()
        .await?;
    Ok(due.is_some())
}

/// The next letter that is to be sent; the others wait for who takes it.
pub(super) async fn next(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<i64>> {
    let sql = tx.dialect(
        "select id from customer_signup where next_at <= $1 order by next_at, id limit 1
         for update skip locked",
        "select id from customer_signup where next_at <= $1 order by next_at, id limit 1",
    );
    let next: Option<(i64,)> = tx.query(sql).bind(now).optional().await?;
    Ok(next.map(|(id,)| id))
}

/// A sign-up whose letter is about to be sent.
#[derive(sqlx::FromRow)]
pub(super) struct Due {
    pub(super) id: i64,
    pub(super) organization_id: OrganizationId,
    pub(super) email: String,
    pub(super) email_key: String,
    /// This one included.
    pub(super) tries: i64,
}

/// Takes a letter, until a moment.
pub(super) async fn claimed(tx: &mut Tx, id: i64, until: DateTime<Utc>) -> Result<Due> {
    tx.query(
        "update customer_signup set tries = tries + 1, next_at = $2 where id = $1
         returning id, organization_id, email, email_key, tries",
    )
    .bind(id)
    .bind(until)
    .one()
    .await
}

/// What is kept of the token that the letter holds; `None` where it holds none.
pub(super) async fn set_hash(tx: &mut Tx, id: i64, hash: Option<String>) -> Result<()> {
    tx.query("update customer_signup set hash = $2 where id = $1")
        .bind(id)
        .bind(hash)
        .run()
        .await
        .map(drop)
}

/// When a letter is to be tried again; never, where it was sent or given up.
pub(super) async fn tried(db: &Db, id: i64, next: Option<DateTime<Utc>>) -> Result<()> {
    db.query("update customer_signup set next_at = $2 where id = $1 and used_at is null")
        .bind(id)
        .bind(next)
        .run()
        .await
        .map(drop)
}

/// Removes some that ended before a moment; how many.
pub(super) async fn remove_old(db: &Db, before: DateTime<Utc>) -> Result<u64> {
    db.query(
        "delete from customer_signup where id in
             (select id from customer_signup where expires_at <= $1 limit 500)",
    )
    .bind(before)
    .run()
    .await
}
