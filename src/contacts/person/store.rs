//! All SQL that reads, or forgets, everything about one person.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Most rows of one kind that are written out.
const MOST: i64 = 100_000;

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Activity {
    kind: String,
    at: DateTime<Utc>,
    by: String,
    detail: String,
}

pub(super) async fn activities(db: &Db, id: i64) -> Result<Vec<Activity>> {
    db.query(
        "select kind, at, by, detail from contact_activity where contact_id = $1
         order by id limit $2",
    )
    .bind(id)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Membership {
    slug: String,
    name: String,
}

pub(super) async fn segments(db: &Db, id: i64) -> Result<Vec<Membership>> {
    db.query(
        "select distinct s.slug, s.name from segment_contact m
         join segment s on s.id = m.segment_id where m.contact_id = $1 order by s.slug",
    )
    .bind(id)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct SentMail {
    campaign: String,
    status: String,
    sent_at: Option<DateTime<Utc>>,
    told: String,
    bounced: Option<String>,
    opened_at: Option<DateTime<Utc>>,
    clicked_at: Option<DateTime<Utc>>,
    unsubscribed_at: Option<DateTime<Utc>>,
}

pub(super) async fn mails(db: &Db, id: i64) -> Result<Vec<SentMail>> {
    db.query(
        "select c.name as campaign, m.status, m.sent_at, m.told, m.bounced, m.opened_at,
             m.clicked_at, m.unsubscribed_at
         from campaign_mail m join campaign c on c.id = m.campaign_id
         where m.contact_id = $1 order by m.id limit $2",
    )
    .bind(id)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Receipt {
    at: DateTime<Utc>,
    status: i64,
    body: String,
    answer: String,
}

pub(super) async fn receipts(db: &Db, id: i64) -> Result<Vec<Receipt>> {
    db.query(
        "select at, status, body, answer from webhook_receipt where contact_id = $1
         order by id limit $2",
    )
    .bind(id)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Call {
    source: String,
    started_at: DateTime<Utc>,
    duration_seconds: i64,
    from_number: String,
    summary: String,
    transcript: String,
    extracted: String,
}

pub(super) async fn calls(db: &Db, id: i64) -> Result<Vec<Call>> {
    db.query(
        "select source, started_at, duration_seconds, from_number, summary, transcript, extracted
         from call_log where contact_id = $1 order by started_at, id limit $2",
    )
    .bind(id)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Elsewhere {
    service: String,
    external_id: String,
    at: DateTime<Utc>,
}

/// As whom services know the person.
pub(super) async fn elsewhere(db: &Db, id: i64) -> Result<Vec<Elsewhere>> {
    db.query(
        "select service, external_id, at from contact_elsewhere where contact_id = $1
         order by service, external_id limit $2",
    )
    .bind(id)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct RejectedRow {
    import_id: i64,
    line: i64,
    reason: String,
    cells: String,
}

/// Rows of files that were refused and hold the address.
pub(super) async fn rejected(
    db: &Db,
    organization: OrganizationId,
    email_key: &str,
) -> Result<Vec<RejectedRow>> {
    let sql = db.dialect(
        "select r.import_id, r.line, r.reason, r.cells from contact_import_rejected r
         join contact_import i on i.id = r.import_id
         where i.organization_id = $1 and strpos(lower(r.cells), $2) > 0
         order by r.import_id, r.number limit $3",
        "select r.import_id, r.line, r.reason, r.cells from contact_import_rejected r
         join contact_import i on i.id = r.import_id
         where i.organization_id = $1 and instr(lower(r.cells), $2) > 0
         order by r.import_id, r.number limit $3",
    );
    db.query(sql).bind(organization).bind(email_key).bind(MOST).all().await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Asked {
    source: String,
    wording: String,
    created_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
}

pub(super) async fn questions(db: &Db, id: i64) -> Result<Vec<Asked>> {
    db.query(
        "select source, wording, created_at, used_at from contact_confirmation
         where contact_id = $1 order by created_at limit $2",
    )
    .bind(id)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct FormerId {
    old_id: i64,
    at: DateTime<Utc>,
}

pub(super) async fn former_ids(db: &Db, id: i64) -> Result<Vec<FormerId>> {
    db.query("select old_id, at from contact_merged where contact_id = $1 order by at limit $2")
        .bind(id)
        .bind(MOST)
        .all()
        .await
}

/// Whom it is about: the key of the address, and the telephone number as it came.
pub(super) async fn whom(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<(Option<String>, Option<String>)>> {
    let sql = tx.dialect(
        "select email, email_key from contact where organization_id = $1 and id = $2 for update",
        "select email, email_key from contact where organization_id = $1 and id = $2",
    );
    tx.query(sql).bind(organization).bind(id).optional().await
}

/// Strikes out what the address stands in without the contact's id: refused rows of files, and
/// requests of the webhook that were not understood.
pub(super) async fn forget_address(
    tx: &mut Tx,
    organization: OrganizationId,
    email_key: &str,
) -> Result<()> {
    let sql = tx.dialect(
        "delete from contact_import_rejected
         where import_id in (select id from contact_import where organization_id = $1)
           and strpos(lower(cells), $2) > 0",
        "delete from contact_import_rejected
         where import_id in (select id from contact_import where organization_id = $1)
           and instr(lower(cells), $2) > 0",
    );
    tx.query(sql).bind(organization).bind(email_key).run().await?;
    let sql = tx.dialect(
        "update webhook_receipt set body = '', answer = '{}'
         where organization_id = $1
           and (strpos(lower(body), $2) > 0 or strpos(lower(answer), $2) > 0)",
        "update webhook_receipt set body = '', answer = '{}'
         where organization_id = $1
           and (instr(lower(body), $2) > 0 or instr(lower(answer), $2) > 0)",
    );
    tx.query(sql).bind(organization).bind(email_key).run().await.map(drop)
}

/// Ends the contact and all that hangs on it. What counts mails stays, without whom they were for.
pub(super) async fn forget(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query("update webhook_receipt set body = '', answer = '{}' where contact_id = $1")
        .bind(id)
        .run()
        .await?;
    tx.query("update campaign_mail set told = '' where contact_id = $1").bind(id).run().await?;
    // That there was a call stays, and how long it was; it is not fetched again.
    tx.query(
        "update call_log set from_number = '', from_email = '', provider_contact_id = null,
             summary = '', transcript = '', actions = '[]', extracted = '{}',
             content_hash = 'erased'
         where contact_id = $1",
    )
    .bind(id)
    .run()
    .await?;
    tx.query("delete from contact where id = $1").bind(id).run().await?;
    tx.query(
        "insert into contact_erased (organization_id, contact_id, made_by, at)
         values ($1, $2, $3, $4)
         -- In a database of before ids were used once.
         on conflict (organization_id, contact_id) do update set made_by = excluded.made_by,
             at = excluded.at",
    )
    .bind(organization)
    .bind(id)
    .bind(by)
    .bind(now)
    .run()
    .await
    .map(drop)
}
