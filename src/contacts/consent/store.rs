//! All SQL of consent and of the questions for it.

use chrono::{DateTime, TimeDelta, Utc};
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
    /// What stands for the address where it is counted how often it was asked.
    pub(super) address: &'q str,
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
    .await?;
    // Whoever asks next tidies up.
    tx.query("delete from consent_asked where at < $1")
        .bind(new.now - TimeDelta::days(2))
        .run()
        .await?;
    tx.query("insert into consent_asked (organization_id, email_hash, at) values ($1, $2, $3)")
        .bind(new.organization)
        .bind(new.address)
        .bind(new.now)
        .run()
        .await?;
    // Asked by a person, nobody has to be asked by itself any more.
    tx.query("delete from contact_unasked where contact_id = $1")
        .bind(new.contact)
        .run()
        .await
        .map(drop)
}

/// Questions to an address (its hash) since a time, whoever has it.
pub(super) async fn asked_at(
    tx: &mut Tx,
    organization: OrganizationId,
    address: &str,
    since: DateTime<Utc>,
) -> Result<i64> {
    tx.query(
        "select count(*) from consent_asked
         where organization_id = $1 and email_hash = $2 and at > $3",
    )
    .bind(organization)
    .bind(address)
    .bind(since)
    .scalar()
    .await
}

/// Questions of an organization since a time.
pub(super) async fn asked_by(
    tx: &mut Tx,
    organization: OrganizationId,
    since: DateTime<Utc>,
) -> Result<i64> {
    tx.query("select count(*) from consent_asked where organization_id = $1 and at > $2")
        .bind(organization)
        .bind(since)
        .scalar()
        .await
}

/// Takes a question back, whose mail did not leave.
pub(super) async fn take_back(db: &Db, hash: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    undo(&mut tx, hash).await?;
    tx.commit().await
}

async fn undo(tx: &mut Tx, hash: &str) -> Result<()> {
    // Of a time, only one question was asked at an address.
    let asked: Option<(OrganizationId, DateTime<Utc>)> = tx
        .query(
            "delete from contact_confirmation where hash = $1 and used_at is null
             returning organization_id, created_at",
        )
        .bind(hash)
        .optional()
        .await?;
    if let Some((organization, at)) = asked {
        tx.query("delete from consent_asked where organization_id = $1 and at = $2")
            .bind(organization)
            .bind(at)
            .run()
            .await?;
    }
    Ok(())
}

/// Somebody who said yes in a form.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Unasked {
    pub(super) contact_id: i64,
    pub(super) organization_id: OrganizationId,
    pub(super) source: String,
    pub(super) wording: String,
    pub(super) at: DateTime<Utc>,
    pub(super) tries: i64,
}

pub(super) async fn has_unasked(db: &Db) -> Result<bool> {
    let found: Option<(i64,)> =
        db.query("select contact_id from contact_unasked limit 1").optional().await?;
    Ok(found.is_some())
}

pub(super) async fn forget_unasked(db: &Db, before: DateTime<Utc>) -> Result<()> {
    db.query("delete from contact_unasked where at < $1").bind(before).run().await.map(drop)
}

/// Takes the next one who is due off the list.
pub(super) async fn take_unasked(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<Unasked>> {
    let sql = tx.dialect(
        "delete from contact_unasked where contact_id in (
             select contact_id from contact_unasked where next_at <= $1
             order by next_at limit 1 for update skip locked)
         returning contact_id, organization_id, source, wording, at, tries",
        "delete from contact_unasked where contact_id in (
             select contact_id from contact_unasked where next_at <= $1 order by next_at limit 1)
         returning contact_id, organization_id, source, wording, at, tries",
    );
    tx.query(sql).bind(now).optional().await
}

/// Takes a question back, whose mail did not leave; it is tried again at `next`, if there is one.
pub(super) async fn not_asked(
    db: &Db,
    hash: &str,
    person: &Unasked,
    next: Option<DateTime<Utc>>,
) -> Result<()> {
    let mut tx = db.begin().await?;
    undo(&mut tx, hash).await?;
    if let Some(next) = next {
        // The contact may be gone by now.
        tx.query(
            "insert into contact_unasked
                 (contact_id, organization_id, source, wording, at, tries, next_at)
             select id, organization_id, $2, $3, $4, $5, $6 from contact where id = $1
             on conflict (contact_id) do nothing",
        )
        .bind(person.contact_id)
        .bind(person.source.as_str())
        .bind(person.wording.as_str())
        .bind(person.at)
        .bind(person.tries + 1)
        .bind(next)
        .run()
        .await?;
    }
    tx.commit().await
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
