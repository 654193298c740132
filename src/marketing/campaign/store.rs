//! The statements of campaigns. Every one of them names the organization.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    brief::Brief,
    content::{Content, Engine, Variants},
    merge::Values,
    render::Person,
};
use crate::{
    auth::OrganizationId,
    clock,
    db::{self, Db, Tx},
    error::{Error, Result},
};

/// How far a campaign is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = CampaignStatus)]
pub enum Status {
    Draft,
    /// Waits for an operator's word.
    InReview,
    /// Its audience stands; it goes out when its time comes.
    Approved,
    Sending,
    Paused,
    Sent,
    Cancelled,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::InReview => "in_review",
            Self::Approved => "approved",
            Self::Sending => "sending",
            Self::Paused => "paused",
            Self::Sent => "sent",
            Self::Cancelled => "cancelled",
        }
    }

    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::InReview => "in review",
            other => other.as_str(),
        }
    }
}

/// A campaign.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Campaign {
    pub id: i64,
    pub name: String,
    pub status: Status,
    pub brief: Brief,
    /// Who gets it.
    pub segment_id: Option<i64>,
    pub segment: Option<String>,
    /// "error:12", "agent:email_crm", or a person.
    pub origin: String,
    /// The newest version.
    pub version: i64,
    pub approved_version: Option<i64>,
    pub approved_hash: Option<String>,
    pub approved_by: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    /// Null: as soon as it is approved.
    pub send_at: Option<DateTime<Utc>>,
    /// The zone that the time was chosen in.
    pub timezone: String,
    /// Mails a minute; 0: as fast as the mail server takes them.
    pub per_minute: i64,
    pub counts_opens: bool,
    pub counts_clicks: bool,
    /// Recipients, set at approval.
    pub audience: i64,
    /// Why it stands as it does, in words.
    pub note: String,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    name: String,
    status: Status,
    brief: String,
    segment_id: Option<i64>,
    segment: Option<String>,
    origin: String,
    version: i64,
    approved_version: Option<i64>,
    approved_hash: Option<String>,
    approved_by: Option<String>,
    approved_at: Option<DateTime<Utc>>,
    send_at: Option<DateTime<Utc>>,
    timezone: String,
    per_minute: i64,
    counts_opens: bool,
    counts_clicks: bool,
    audience: i64,
    note: String,
    made_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Row> for Campaign {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            status: row.status,
            brief: serde_json::from_str(&row.brief).unwrap_or_default(),
            segment_id: row.segment_id,
            segment: row.segment,
            origin: row.origin,
            version: row.version,
            approved_version: row.approved_version,
            approved_hash: row.approved_hash,
            approved_by: row.approved_by,
            approved_at: row.approved_at,
            send_at: row.send_at,
            timezone: row.timezone,
            per_minute: row.per_minute,
            counts_opens: row.counts_opens,
            counts_clicks: row.counts_clicks,
            audience: row.audience,
            note: row.note,
            made_by: row.made_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

/// A campaign; 404 for one of another organization.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Campaign> {
    let row: Option<Row> = db
        .query(
            "select c.id, c.name, c.status, c.brief, c.segment_id, s.name as segment, c.origin,
                 c.version, c.approved_version, c.approved_hash, c.approved_by, c.approved_at,
                 c.send_at, c.timezone, c.per_minute, c.counts_opens, c.counts_clicks, c.audience,
                 c.note, c.made_by, c.created_at, c.updated_at, c.started_at, c.finished_at
             from campaign c left join segment s on s.id = c.segment_id
             where c.organization_id = $1 and c.id = $2",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    row.map(Campaign::from).ok_or(Error::NotFound("campaign"))
}

/// Campaigns, changed last first, those behind `before` (a time and an id); of one status, if
/// one is named.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    status: Option<Status>,
    before: Option<(DateTime<Utc>, i64)>,
    limit: i64,
) -> db::Result<Vec<Campaign>> {
    let (at, id) = before.unwrap_or((DateTime::<Utc>::MAX_UTC, i64::MAX));
    // As both databases can compare it.
    let at = at.min(clock::now() + chrono::TimeDelta::days(366));
    let rows: Vec<Row> = db
        .query(
            "select c.id, c.name, c.status, c.brief, c.segment_id, s.name as segment, c.origin,
                 c.version, c.approved_version, c.approved_hash, c.approved_by, c.approved_at,
                 c.send_at, c.timezone, c.per_minute, c.counts_opens, c.counts_clicks, c.audience,
                 c.note, c.made_by, c.created_at, c.updated_at, c.started_at, c.finished_at
             from campaign c left join segment s on s.id = c.segment_id
             where c.organization_id = $1 and (c.updated_at < $2 or (c.updated_at = $2 and c.id < $3))
               and (c.status = $4 or $4 is null)
             order by c.updated_at desc, c.id desc limit $5",
        )
        .bind(organization)
        .bind(at)
        .bind(id)
        .bind(status)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Campaign::from).collect())
}

/// Campaigns that wait for an approval.
pub async fn awaiting(db: &Db, organization: OrganizationId) -> db::Result<i64> {
    db.query("select count(*) from campaign where organization_id = $1 and status = 'in_review'")
        .bind(organization)
        .scalar()
        .await
}

/// Whether a segment is the organization's.
pub async fn has_segment(db: &Db, organization: OrganizationId, id: i64) -> db::Result<bool> {
    let found: i64 = db
        .query("select count(*) from segment where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .scalar()
        .await?;
    Ok(found > 0)
}

/// Ids and names of the segments, by name; at most 500.
pub async fn segments(db: &Db, organization: OrganizationId) -> db::Result<Vec<(i64, String)>> {
    db.query("select id, name from segment where organization_id = $1 order by name, id limit 500")
        .bind(organization)
        .all()
        .await
}

/// What a new campaign begins with.
pub struct New<'a> {
    pub name: &'a str,
    pub brief: &'a Brief,
    pub segment_id: Option<i64>,
    pub origin: &'a str,
    pub note: &'a str,
    pub by: &'a str,
}

/// Adds a campaign with its first version.
pub async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    new: New<'_>,
    content: &Content,
    engine: Engine,
) -> Result<i64> {
    let brief = json(new.brief)?;
    let now = clock::now();
    let id: i64 = tx
        .query(
            "insert into campaign (organization_id, name, brief, segment_id, origin, version, note,
                 made_by, created_at, updated_at)
             values ($1, $2, $3, $4, $5, 1, $6, $7, $8, $8) returning id",
        )
        .bind(organization)
        .bind(new.name)
        .bind(brief)
        .bind(new.segment_id)
        .bind(new.origin)
        .bind(new.note)
        .bind(new.by)
        .bind(now)
        .scalar()
        .await?;
    insert_version(tx, id, 1, content, engine, new.by).await?;
    Ok(id)
}

/// Adds a version.
pub async fn insert_version(
    tx: &mut Tx,
    campaign: i64,
    version: i64,
    content: &Content,
    engine: Engine,
    by: &str,
) -> Result<()> {
    let variants = Variants { social: content.social.clone(), ads: content.ads.clone() };
    tx.query(
        "insert into campaign_version (campaign_id, version, subjects, preview_text, body,
             variants, strategy, engine, made_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(campaign)
    .bind(version)
    .bind(json(&content.subjects)?)
    .bind(content.preview_text.as_str())
    .bind(content.body.as_str())
    .bind(json(&variants)?)
    .bind(content.strategy.as_str())
    .bind(engine)
    .bind(by)
    .bind(clock::now())
    .run()
    .await?;
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.into()))
}

/// A version of a campaign.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CampaignVersion)]
pub struct Version {
    pub version: i64,
    pub content: Content,
    pub engine: Engine,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    version: i64,
    subjects: String,
    preview_text: String,
    body: String,
    variants: String,
    strategy: String,
    engine: Engine,
    made_by: String,
    created_at: DateTime<Utc>,
}

impl From<VersionRow> for Version {
    fn from(row: VersionRow) -> Self {
        let variants: Variants = serde_json::from_str(&row.variants).unwrap_or_default();
        Self {
            version: row.version,
            content: Content {
                subjects: serde_json::from_str(&row.subjects).unwrap_or_default(),
                preview_text: row.preview_text,
                body: row.body,
                social: variants.social,
                ads: variants.ads,
                strategy: row.strategy,
            },
            engine: row.engine,
            made_by: row.made_by,
            created_at: row.created_at,
        }
    }
}

/// One version; 404 where the organization has none such.
pub async fn version(
    db: &Db,
    organization: OrganizationId,
    campaign: i64,
    version: i64,
) -> Result<Version> {
    let row: Option<VersionRow> = db
        .query(
            "select v.version, v.subjects, v.preview_text, v.body, v.variants, v.strategy, v.engine,
                 v.made_by, v.created_at
             from campaign_version v join campaign c on c.id = v.campaign_id
             where c.organization_id = $1 and c.id = $2 and v.version = $3",
        )
        .bind(organization)
        .bind(campaign)
        .bind(version)
        .optional()
        .await?;
    row.map(Version::from).ok_or(Error::NotFound("version of the campaign"))
}

/// A version in the list of all.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = CampaignVersionLine)]
pub struct VersionLine {
    pub version: i64,
    pub engine: Engine,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
}

/// The versions of a campaign, newest first; at most 200.
pub async fn versions(
    db: &Db,
    organization: OrganizationId,
    campaign: i64,
) -> db::Result<Vec<VersionLine>> {
    db.query(
        "select v.version, v.engine, v.made_by, v.created_at
         from campaign_version v join campaign c on c.id = v.campaign_id
         where c.organization_id = $1 and c.id = $2 order by v.version desc limit 200",
    )
    .bind(organization)
    .bind(campaign)
    .all()
    .await
}

/// Locks a campaign for this transaction; gives its status and newest version.
pub async fn lock(tx: &mut Tx, organization: OrganizationId, id: i64) -> Result<(Status, i64)> {
    let sql = tx.dialect(
        "select status, version from campaign where organization_id = $1 and id = $2 for update",
        "select status, version from campaign where organization_id = $1 and id = $2",
    );
    let row = tx.query(sql).bind(organization).bind(id).optional().await?;
    row.ok_or(Error::NotFound("campaign"))
}

/// Sets how far a campaign is, with why.
pub async fn set_status(tx: &mut Tx, id: i64, status: Status, note: &str) -> db::Result<()> {
    tx.query("update campaign set status = $2, note = $3, updated_at = $4 where id = $1")
        .bind(id)
        .bind(status)
        .bind(note)
        .bind(clock::now())
        .run()
        .await
        .map(drop)
}

/// Notes that a version is the newest.
pub async fn set_version(tx: &mut Tx, id: i64, version: i64) -> db::Result<()> {
    tx.query("update campaign set version = $2, updated_at = $3 where id = $1")
        .bind(id)
        .bind(version)
        .bind(clock::now())
        .run()
        .await
        .map(drop)
}

/// To whom, when and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    pub segment_id: Option<i64>,
    pub send_at: Option<DateTime<Utc>>,
    pub timezone: String,
    pub per_minute: i64,
}

pub async fn set_plan(tx: &mut Tx, id: i64, plan: &Plan) -> db::Result<()> {
    tx.query(
        "update campaign set name = $2, segment_id = $3, send_at = $4, timezone = $5,
             per_minute = $6, updated_at = $7 where id = $1",
    )
    .bind(id)
    .bind(plan.name.as_str())
    .bind(plan.segment_id)
    .bind(plan.send_at)
    .bind(plan.timezone.as_str())
    .bind(plan.per_minute)
    .bind(clock::now())
    .run()
    .await
    .map(drop)
}

/// Takes an approval back: nobody's mail waits any more.
pub async fn unapprove(tx: &mut Tx, id: i64) -> db::Result<()> {
    tx.query("delete from campaign_mail where campaign_id = $1 and status = 'waiting'")
        .bind(id)
        .run()
        .await?;
    tx.query(
        "update campaign set approved_version = null, approved_hash = null, approved_by = null,
             approved_at = null, approved_brand = null, audience = 0 where id = $1",
    )
    .bind(id)
    .run()
    .await
    .map(drop)
}

/// What was approved, and who gets it.
pub struct Approval<'a> {
    pub version: i64,
    pub hash: &'a str,
    /// As JSON.
    pub brand: &'a str,
    pub by: &'a str,
    pub audience: i64,
}

/// Notes an approval of a version as it was seen.
pub async fn set_approved(tx: &mut Tx, id: i64, approval: Approval<'_>) -> db::Result<()> {
    tx.query(
        "update campaign set status = 'approved', approved_version = $2, approved_hash = $3,
             approved_by = $4, approved_at = $5, audience = $6, approved_brand = $7, note = '',
             updated_at = $5
         where id = $1",
    )
    .bind(id)
    .bind(approval.version)
    .bind(approval.hash)
    .bind(approval.by)
    .bind(clock::now())
    .bind(approval.audience)
    .bind(approval.brand)
    .run()
    .await
    .map(drop)
}

/// What is not sent yet will not be.
pub async fn cancel_waiting(tx: &mut Tx, id: i64) -> db::Result<u64> {
    tx.query(
        "update campaign_mail set status = 'cancelled', due_at = null, told = ''
         where campaign_id = $1 and status = 'waiting'",
    )
    .bind(id)
    .run()
    .await
}

/// The brand that a version was approved with, as JSON.
pub async fn approved_brand(
    db: &Db,
    organization: OrganizationId,
    id: i64,
    version: i64,
) -> db::Result<Option<String>> {
    let found: Option<(Option<String>,)> = db
        .query(
            "select approved_brand from campaign
             where organization_id = $1 and id = $2 and approved_version = $3",
        )
        .bind(organization)
        .bind(id)
        .bind(version)
        .optional()
        .await?;
    Ok(found.and_then(|(brand,)| brand))
}

/// Takes a campaign away, with its versions.
pub async fn delete(tx: &mut Tx, id: i64) -> db::Result<()> {
    tx.query("delete from campaign where id = $1").bind(id).run().await.map(drop)
}

#[derive(sqlx::FromRow)]
struct PersonRow {
    id: i64,
    email: String,
    first_name: String,
    last_name: String,
    company: String,
    attributes: String,
}

impl From<PersonRow> for Person {
    fn from(row: PersonRow) -> Self {
        let attributes: BTreeMap<String, String> =
            serde_json::from_str(&row.attributes).unwrap_or_default();
        Self {
            id: row.id,
            email: row.email,
            values: Values {
                first_name: row.first_name,
                last_name: row.last_name,
                company: row.company,
                attributes,
            },
        }
    }
}

/// The contacts of these ids that have an address.
pub async fn people(db: &Db, organization: OrganizationId, ids: &[i64]) -> Result<Vec<Person>> {
    let sql = db.dialect(
        "select id, email, first_name, last_name, company, attributes from contact
         where organization_id = $1 and email is not null
           and id in (select cast(value as bigint) from json_array_elements_text(cast($2 as json)))",
        "select id, email, first_name, last_name, company, attributes from contact
         where +organization_id = $1 and email is not null
           and id in (select value from json_each($2))",
    );
    let rows: Vec<PersonRow> = db.query(sql).bind(organization).bind(json(&ids)?).all().await?;
    Ok(rows.into_iter().map(Person::from).collect())
}

/// The first contacts of a segment that have an address, to look at a mail as they will.
pub async fn samples(
    db: &Db,
    organization: OrganizationId,
    segment: i64,
    limit: i64,
) -> db::Result<Vec<Person>> {
    let rows: Vec<PersonRow> = db
        .query(
            "select c.id, c.email, c.first_name, c.last_name, c.company, c.attributes
             from contact c
             where c.organization_id = $1 and c.email is not null
               and c.id in (select m.contact_id from segment_contact m where m.segment_id = $2)
             order by c.id limit $3",
        )
        .bind(organization)
        .bind(segment)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Person::from).collect())
}

/// The e-mail address of an account.
pub async fn address_of(
    db: &Db,
    organization: OrganizationId,
    account: i64,
) -> db::Result<Option<String>> {
    let row: Option<(Option<String>,)> = db
        .query("select email from account where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(account)
        .optional()
        .await?;
    Ok(row.and_then(|(email,)| email))
}

/// The newest campaign of an origin that is not over.
pub async fn of_origin(
    db: &Db,
    organization: OrganizationId,
    origin: &str,
) -> db::Result<Option<i64>> {
    let row: Option<(i64,)> = db
        .query(
            "select id from campaign where organization_id = $1 and origin = $2
               and status <> 'cancelled' order by id desc limit 1",
        )
        .bind(organization)
        .bind(origin)
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// What became of a campaign's mails: counts of rows, nothing else.
#[derive(Clone, Debug, Default, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = CampaignStatistics)]
pub struct Statistics {
    /// Recipients at approval, whatever became of their mail.
    pub audience: i64,
    pub waiting: i64,
    pub sent: i64,
    pub refused: i64,
    /// Nobody knows whether they were sent.
    pub uncertain: i64,
    pub skipped: i64,
    /// Not sent because the campaign was cancelled.
    pub cancelled: i64,
    pub bounced: i64,
    pub complained: i64,
    pub unsubscribed: i64,
    /// 0 where opens are not counted.
    pub opened: i64,
    /// 0 where clicks are not counted.
    pub clicked: i64,
}

pub async fn statistics(db: &Db, campaign: i64) -> db::Result<Statistics> {
    db.query(
        "select count(*) as audience,
             coalesce(sum(case when status in ('waiting', 'claimed') then 1 else 0 end), 0) as waiting,
             coalesce(sum(case when status = 'sent' then 1 else 0 end), 0) as sent,
             coalesce(sum(case when status = 'refused' then 1 else 0 end), 0) as refused,
             coalesce(sum(case when status = 'uncertain' then 1 else 0 end), 0) as uncertain,
             coalesce(sum(case when status = 'skipped' then 1 else 0 end), 0) as skipped,
             coalesce(sum(case when status = 'cancelled' then 1 else 0 end), 0) as cancelled,
             coalesce(sum(case when bounced in ('soft', 'hard') then 1 else 0 end), 0) as bounced,
             coalesce(sum(case when bounced = 'complaint' then 1 else 0 end), 0) as complained,
             coalesce(sum(case when unsubscribed_at is not null then 1 else 0 end), 0)
                 as unsubscribed,
             coalesce(sum(case when opened_at is not null then 1 else 0 end), 0) as opened,
             coalesce(sum(case when clicked_at is not null then 1 else 0 end), 0) as clicked
         from campaign_mail where campaign_id = $1",
    )
    .bind(campaign)
    .one()
    .await
}
