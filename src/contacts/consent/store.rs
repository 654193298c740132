//! All SQL of consent and of the questions for it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    contacts::Status,
    db::{Db, Result, Tx},
};

/// Later than all that is kept: the year 9999.
const FAR: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_000, 0) {
    Some(far) => far,
    None => DateTime::<Utc>::UNIX_EPOCH,
};

/// A word about consent, as it was given.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = ConsentEntry)]
pub struct Word {
    #[schema(inline)]
    pub status: Status,
    /// Where it was given: "form newsletter", "import 3", an operator's words.
    pub source: String,
    /// What the person was shown.
    pub wording: String,
    /// The network address it came from, if that is known.
    pub address: Option<String>,
    pub at: DateTime<Utc>,
}

/// The words about a contact, newest first; at most 500.
pub(super) async fn history(db: &Db, organization: OrganizationId, id: i64) -> Result<Vec<Word>> {
    db.query(
        "select status, source, wording, address, at from contact_consent
         where organization_id = $1 and contact_id = $2 order by id desc limit 500",
    )
    .bind(organization)
    .bind(id)
    .all()
    .await
}

pub(super) async fn add(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    word: &Word,
) -> Result<()> {
    tx.query(
        "insert into contact_consent
             (organization_id, contact_id, status, source, wording, address, at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(organization)
    .bind(id)
    .bind(word.status)
    .bind(word.source.as_str())
    .bind(word.wording.as_str())
    .bind(word.address.as_deref())
    .bind(word.at)
    .run()
    .await
    .map(drop)
}

pub(super) async fn set(tx: &mut Tx, id: i64, status: Status, now: DateTime<Utc>) -> Result<()> {
    tx.query(
        "update contact set consent = $2, version = version + 1, updated_at = $3 where id = $1",
    )
    .bind(id)
    .bind(status)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Who is to be asked, or told of.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Person {
    pub(super) email: Option<String>,
    pub(super) consent: Status,
}

/// The contact, which nobody else changes until the transaction ends.
pub(super) async fn person(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Person>> {
    let sql = tx.dialect(
        "select email, consent from contact where organization_id = $1 and id = $2 for update",
        "select email, consent from contact where organization_id = $1 and id = $2",
    );
    tx.query(sql).bind(organization).bind(id).optional().await
}

pub(super) struct NewQuestion<'q> {
    pub(super) hash: &'q str,
    pub(super) organization: OrganizationId,
    pub(super) contact: i64,
    pub(super) email_key: &'q str,
    pub(super) source: &'q str,
    pub(super) wording: &'q str,
    pub(super) made_by: &'q str,
    pub(super) now: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn ask(tx: &mut Tx, new: NewQuestion<'_>) -> Result<()> {
    tx.query(
        "insert into contact_confirmation
             (hash, organization_id, contact_id, email_key, source, wording, made_by, created_at,
              expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(new.hash)
    .bind(new.organization)
    .bind(new.contact)
    .bind(new.email_key)
    .bind(new.source)
    .bind(new.wording)
    .bind(new.made_by)
    .bind(new.now)
    .bind(new.expires_at)
    .run()
    .await
    .map(drop)
}

/// Questions to a contact since a time.
pub(super) async fn asked_since(tx: &mut Tx, contact: i64, since: DateTime<Utc>) -> Result<i64> {
    tx.query("select count(*) from contact_confirmation where contact_id = $1 and created_at > $2")
        .bind(contact)
        .bind(since)
        .scalar()
        .await
}

/// Takes a question back, whose mail did not leave.
pub(super) async fn take_back(db: &Db, hash: &str) -> Result<()> {
    db.query("delete from contact_confirmation where hash = $1 and used_at is null")
        .bind(hash)
        .run()
        .await
        .map(drop)
}

/// A question whose link can be used.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Question {
    pub(super) organization_id: OrganizationId,
    pub(super) contact_id: i64,
    pub(super) email_key: String,
    pub(super) source: String,
    /// What the person is shown.
    pub wording: String,
}

pub(super) async fn question(db: &Db, hash: &str) -> Result<Option<Question>> {
    db.query(
        "select organization_id, contact_id, email_key, source, wording
         from contact_confirmation
         where hash = $1 and used_at is null and expires_at > (select at from database_time)",
    )
    .bind(hash)
    .optional()
    .await
}

/// Uses a link up; once, whoever is first.
pub(super) async fn answer(tx: &mut Tx, hash: &str) -> Result<Option<Question>> {
    tx.query(
        "update contact_confirmation set used_at = (select at from database_time)
         where hash = $1 and used_at is null and expires_at > (select at from database_time)
         returning organization_id, contact_id, email_key, source, wording",
    )
    .bind(hash)
    .optional()
    .await
}

/// The contact with an address.
pub(super) async fn of_email(
    tx: &mut Tx,
    organization: OrganizationId,
    email_key: &str,
) -> Result<Option<i64>> {
    let found: Option<(i64,)> = tx
        .query("select id from contact where organization_id = $1 and email_key = $2")
        .bind(organization)
        .bind(email_key)
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// Takes an address off the list, whatever it is there for; whether it was.
pub(super) async fn unsuppress(
    tx: &mut Tx,
    organization: OrganizationId,
    hash: &str,
) -> Result<bool> {
    let removed = tx
        .query("delete from suppression where organization_id = $1 and email_hash = $2")
        .bind(organization)
        .bind(hash)
        .run()
        .await?;
    Ok(removed > 0)
}

/// Addresses that are never written to.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = Suppression)]
pub struct Suppressed {
    /// A keyed hash of the address; what it is removed by.
    pub email_hash: String,
    /// unsubscribed, bounced, complained, erased or manual.
    pub reason: String,
    pub at: DateTime<Utc>,
}

/// The newest first, below a position.
pub(super) async fn suppressed(
    db: &Db,
    organization: OrganizationId,
    below: Option<(DateTime<Utc>, String)>,
    limit: i64,
) -> Result<Vec<Suppressed>> {
    let (at, hash) = below.unwrap_or((FAR, String::new()));
    db.query(
        "select email_hash, reason, at from suppression
         where organization_id = $1 and (at < $2 or (at = $2 and email_hash < $3))
         order by at desc, email_hash desc limit $4",
    )
    .bind(organization)
    .bind(at)
    .bind(hash)
    .bind(limit)
    .all()
    .await
}
