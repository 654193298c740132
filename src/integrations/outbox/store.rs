//! Rows of `integration_delivery`: what is to be told, and what came of it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// How long rows are kept.
const KEEP: TimeDelta = TimeDelta::days(92);
const FORGET_STEP: i64 = 500;

/// What is told.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = DeliveryKind)]
pub enum Kind {
    Storm,
    Repair,
    Message,
    Report,
}

/// How far it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = DeliveryState)]
pub enum State {
    Waiting,
    /// It is leaving at this moment.
    Sending,
    Sent,
    /// Nobody knows whether it arrived; it is not sent again.
    Uncertain,
    Failed,
    /// There was no need any more.
    Dropped,
}

/// Something that is told, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Delivery {
    pub id: i64,
    #[serde(skip)]
    #[schema(ignore)]
    pub organization_id: i64,
    #[schema(inline)]
    pub kind: Kind,
    /// The storm or the repair run that it is about.
    pub subject_id: Option<i64>,
    pub title: String,
    /// What was said; for a report all of it, only where one is asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The channel or folder.
    pub target: String,
    /// "slack".
    pub provider: Option<String>,
    #[schema(inline)]
    pub status: State,
    /// The provider's name for it.
    pub external_id: Option<String>,
    pub link: Option<String>,
    /// Of a storm: the count that was told last.
    pub told_count: i64,
    /// How often the message was brought up to date.
    pub edits: i64,
    pub tries: i64,
    /// When it is looked at again; `null`: never.
    pub next_at: Option<DateTime<Utc>>,
    /// What went wrong last, in words.
    pub last_error: Option<String>,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    pub edited_at: Option<DateTime<Utc>>,
}

impl Delivery {
    pub(super) fn organization(&self) -> OrganizationId {
        OrganizationId(self.organization_id)
    }
}

/// Something to be told.
pub(super) struct New<'a> {
    pub(super) organization: OrganizationId,
    pub(super) kind: Kind,
    pub(super) occasion: &'a str,
    pub(super) title: &'a str,
    pub(super) body: &'a str,
    pub(super) target: &'a str,
    pub(super) made_by: &'a str,
    pub(super) now: DateTime<Utc>,
}

/// Notes it; `None` if it was noted before.
pub(super) async fn insert(tx: &mut Tx, new: &New<'_>) -> Result<Option<i64>> {
    let id: Option<(i64,)> = tx
        .query(
            "insert into integration_delivery (organization_id, kind, occasion, title, body,
                 target, made_by, created_at, next_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
             on conflict (organization_id, occasion) do nothing returning id",
        )
        .bind(new.organization)
        .bind(new.kind)
        .bind(new.occasion)
        .bind(new.title)
        .bind(new.body)
        .bind(new.target)
        .bind(new.made_by)
        .bind(new.now)
        .optional()
        .await?;
    Ok(id.map(|(id,)| id))
}

pub(super) async fn of_occasion(
    db: &Db,
    organization: OrganizationId,
    occasion: &str,
) -> Result<Option<Delivery>> {
    db.query(
        "select id, organization_id, kind, subject_id, title, body, target, provider, status,
             external_id, link, told_count, edits, tries, next_at, last_error, made_by,
             created_at, sent_at, edited_at
         from integration_delivery where organization_id = $1 and occasion = $2",
    )
    .bind(organization)
    .bind(occasion)
    .optional()
    .await
}

pub(super) async fn find(
    db: &Db,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Delivery>> {
    db.query(
        "select id, organization_id, kind, subject_id, title, body, target, provider, status,
             external_id, link, told_count, edits, tries, next_at, last_error, made_by,
             created_at, sent_at, edited_at
         from integration_delivery where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// What was told, newest first, below `before`; without the text of reports.
pub async fn deliveries(
    db: &Db,
    organization: OrganizationId,
    kind: Option<Kind>,
    before: i64,
    limit: i64,
) -> Result<Vec<Delivery>> {
    db.query(
        "select id, organization_id, kind, subject_id, title,
             case when kind = 'report' then '' else body end as body, target, provider, status,
             external_id, link, told_count, edits, tries, next_at, last_error, made_by,
             created_at, sent_at, edited_at
         from integration_delivery
         where organization_id = $1 and id < $2 and (cast($3 as text) is null or kind = $3)
         order by id desc limit $4",
    )
    .bind(organization)
    .bind(before)
    .bind(kind)
    .bind(limit)
    .all()
    .await
}

/// Takes what is due, at most `limit`: nobody else looks at it before `until`. What is given has
/// the status that it had, and the number of this try.
pub(super) async fn take(
    db: &Db,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Delivery>> {
    let waiting: Option<(i64,)> = db
        .query("select id from integration_delivery where next_at <= $1 limit 1")
        .bind(now)
        .optional()
        .await?;
    if waiting.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "select id, organization_id, kind, subject_id, title, body, target, provider, status,
             external_id, link, told_count, edits, tries, next_at, last_error, made_by,
             created_at, sent_at, edited_at
         from integration_delivery where next_at <= $1
         order by next_at, id limit $2 for update skip locked",
        "select id, organization_id, kind, subject_id, title, body, target, provider, status,
             external_id, link, told_count, edits, tries, next_at, last_error, made_by,
             created_at, sent_at, edited_at
         from integration_delivery where next_at <= $1 order by next_at, id limit $2",
    );
    let mut due: Vec<Delivery> = tx.query(sql).bind(now).bind(limit).all().await?;
    for one in &mut due {
        one.tries += 1;
        tx.query("update integration_delivery set next_at = $2, tries = $3 where id = $1")
            .bind(one.id)
            .bind(until)
            .bind(one.tries)
            .run()
            .await?;
    }
    tx.commit().await?;
    Ok(due)
}

/// Writes down that it is leaving; false if another has taken it meanwhile.
pub(super) async fn about_to(
    db: &Db,
    one: &Delivery,
    title: &str,
    body: &str,
    target: &str,
    provider: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let noted = db
        .query(
            "update integration_delivery set status = 'sending', sending_at = $3, title = $4,
                 body = $5, target = $6, provider = $7
             where id = $1 and tries = $2",
        )
        .bind(one.id)
        .bind(one.tries)
        .bind(now)
        .bind(title)
        .bind(body)
        .bind(target)
        .bind(provider)
        .run()
        .await?;
    Ok(noted > 0)
}

/// What was sent.
pub(super) struct Sent<'a> {
    pub(super) external_id: &'a str,
    pub(super) link: Option<&'a str>,
    pub(super) told_count: i64,
    /// When there is something to bring up to date.
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// It is there. Whoever knows that writes it down, also if another has given it up meanwhile.
pub(super) async fn sent(
    db: &Db,
    one: &Delivery,
    sent: &Sent<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    db.query(
        "update integration_delivery set status = 'sent', external_id = $2, link = $3,
             told_count = $4, next_at = $5, sent_at = $6, last_error = null
         where id = $1 and status in ('sending', 'uncertain')",
    )
    .bind(one.id)
    .bind(sent.external_id)
    .bind(sent.link)
    .bind(sent.told_count)
    .bind(sent.next_at)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Another status, in words why, and when it is looked at again.
pub(super) async fn set(
    db: &Db,
    one: &Delivery,
    status: State,
    why: Option<&str>,
    next_at: Option<DateTime<Utc>>,
) -> Result<()> {
    db.query(
        "update integration_delivery set status = $3, last_error = $4, next_at = $5
         where id = $1 and tries = $2",
    )
    .bind(one.id)
    .bind(one.tries)
    .bind(status)
    .bind(why)
    .bind(next_at)
    .run()
    .await
    .map(drop)
}

/// The message was brought up to date.
pub(super) async fn edited(
    db: &Db,
    one: &Delivery,
    title: &str,
    body: &str,
    count: i64,
    next_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<()> {
    db.query(
        "update integration_delivery set title = $3, body = $4, told_count = $5, next_at = $6,
             edited_at = $7, edits = edits + 1, last_error = null
         where id = $1 and tries = $2",
    )
    .bind(one.id)
    .bind(one.tries)
    .bind(title)
    .bind(body)
    .bind(count)
    .bind(next_at)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Removes what is old, a few at a time; how many it were.
pub(super) async fn forget(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    db.query(
        "delete from integration_delivery where id in
             (select id from integration_delivery
              where created_at < $1 and next_at is null order by id limit $2)",
    )
    .bind(now - KEEP)
    .bind(FORGET_STEP)
    .run()
    .await
}

/// The organizations whose reports are written by themselves.
pub(super) async fn reporting(db: &Db) -> Result<Vec<OrganizationId>> {
    let rows: Vec<(OrganizationId,)> = db
        .query(
            "select organization_id from integration_duty
             where duty = 'reports' and is_automatic order by organization_id",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// A repair run, as a message tells of it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Run {
    pub(super) trigger: String,
    pub(super) status: String,
    pub(super) note: Option<String>,
    pub(super) total: i64,
    pub(super) resolved: i64,
    pub(super) unresolved: i64,
}

pub(super) async fn run(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Run>> {
    db.query(
        "select trigger, status, note, total, resolved, unresolved
         from repair_run where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// How an error of a run was judged.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Judged {
    pub(super) group_id: i64,
    pub(super) title: String,
    pub(super) verdict: Option<String>,
}

pub(super) async fn judged(
    db: &Db,
    organization: OrganizationId,
    run: i64,
    limit: i64,
) -> Result<Vec<Judged>> {
    db.query(
        "select a.group_id, g.title, a.verdict
         from repair_attempt a join error_group g on g.id = a.group_id
         where a.run_id = $2 and a.organization_id = $1 order by a.id limit $3",
    )
    .bind(organization)
    .bind(run)
    .bind(limit)
    .all()
    .await
}

/// Whether a run before this one, within a week, found the same errors and judged each the same.
pub(super) async fn is_as_before(db: &Db, organization: OrganizationId, run: i64) -> Result<bool> {
    let before: Option<(i64,)> = db
        .query(
            "select max(r.id) from repair_run r
             where r.organization_id = $1 and r.id < $2 and r.status in ('done', 'failed')
               and exists (select 1 from repair_attempt a where a.run_id = r.id)
             having max(r.id) is not null",
        )
        .bind(organization)
        .bind(run)
        .optional()
        .await?;
    let Some((before,)) = before else { return Ok(false) };
    let differing: i64 = db
        .query(
            "select count(*) from (
                 select group_id, verdict from repair_attempt where run_id in ($1, $2)
                 group by group_id, verdict having count(*) = 1
             ) as different",
        )
        .bind(before)
        .bind(run)
        .scalar()
        .await?;
    Ok(differing == 0)
}
