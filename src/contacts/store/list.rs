//! Finding contacts again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::row::{ContactRow, json};
use crate::{
    auth::OrganizationId,
    contacts::{Contact, Status},
    db::{Db, Query, Result},
};

/// Which contacts; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The first source.
    pub source: Option<String>,
    pub consent: Option<Status>,
    pub tag: Option<String>,
    /// The id of a segment.
    pub segment: Option<i64>,
    /// Created at or after.
    pub since: Option<DateTime<Utc>>,
    /// Created before.
    pub until: Option<DateTime<Utc>>,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ContactSort)]
pub enum Sort {
    /// Created last first.
    #[default]
    Newest,
    /// Heard of last first.
    Active,
    /// By address; those without one are left out.
    Email,
}

/// Where a page of a list begins: after this contact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Position {
    pub id: i64,
    pub active_at: Option<DateTime<Utc>>,
    pub email_key: Option<String>,
}

/// The filter's values, $1 to $7, and the limit, $8.
fn bound<'q>(
    query: Query<'q>,
    organization: OrganizationId,
    filter: &Filter,
    limit: i64,
) -> Query<'q> {
    query
        .bind(organization)
        .bind(filter.source.clone())
        .bind(filter.consent.map(Status::as_str))
        .bind(filter.tag.clone())
        .bind(filter.segment)
        .bind(filter.since)
        .bind(filter.until)
        .bind(limit)
}

/// A page of contacts.
pub async fn page(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    sort: Sort,
    after: Option<&Position>,
    limit: i64,
) -> Result<Vec<Contact>> {
    let id = after.map_or(i64::MAX, |it| it.id);
    let rows: Vec<ContactRow> = match (sort, filter.segment) {
        (Sort::Newest, None) => {
            let query = db.query(
                "select c.id, c.email, c.email_domain, c.first_name, c.last_name, c.company,
                     c.phone, c.phone_given, c.source, c.sources, c.tags, c.attributes, c.consent,
                     c.bounced, c.version, c.created_at, c.updated_at, c.active_at
                 from contact c where c.organization_id = $1
                     and (cast($2 as text) is null or c.source = $2) and (cast($3 as text) is null or c.consent = $3)
                     and (cast($4 as text) is null or exists (select 1 from contact_tag t
                         where t.organization_id = $1 and t.tag = $4 and t.contact_id = c.id))
                     and (cast($5 as bigint) is null)
                     and (cast($6 as timestamptz) is null or c.created_at >= $6)
                     and (cast($7 as timestamptz) is null or c.created_at < $7)
                     and c.id < $9
                 order by c.id desc limit $8",
            );
            bound(query, organization, filter, limit).bind(id).all().await?
        }
        (Sort::Newest, Some(_)) => {
            let query = db.query(
                "select c.id, c.email, c.email_domain, c.first_name, c.last_name, c.company,
                     c.phone, c.phone_given, c.source, c.sources, c.tags, c.attributes, c.consent,
                     c.bounced, c.version, c.created_at, c.updated_at, c.active_at
                 from segment_contact m join contact c on c.id = m.contact_id
                 where m.segment_id = $5 and c.organization_id = $1
                     and (cast($2 as text) is null or c.source = $2) and (cast($3 as text) is null or c.consent = $3)
                     and (cast($4 as text) is null or exists (select 1 from contact_tag t
                         where t.organization_id = $1 and t.tag = $4 and t.contact_id = c.id))
                     and (cast($6 as timestamptz) is null or c.created_at >= $6)
                     and (cast($7 as timestamptz) is null or c.created_at < $7)
                     and m.contact_id < $9
                 order by m.contact_id desc limit $8",
            );
            bound(query, organization, filter, limit).bind(id).all().await?
        }
        (Sort::Active, _) => {
            let query = db.query(
                "select c.id, c.email, c.email_domain, c.first_name, c.last_name, c.company,
                     c.phone, c.phone_given, c.source, c.sources, c.tags, c.attributes, c.consent,
                     c.bounced, c.version, c.created_at, c.updated_at, c.active_at
                 from contact c where c.organization_id = $1
                     and (cast($2 as text) is null or c.source = $2) and (cast($3 as text) is null or c.consent = $3)
                     and (cast($4 as text) is null or exists (select 1 from contact_tag t
                         where t.organization_id = $1 and t.tag = $4 and t.contact_id = c.id))
                     and (cast($5 as bigint) is null or exists (select 1 from segment_contact m
                         where m.segment_id = $5 and m.contact_id = c.id))
                     and (cast($6 as timestamptz) is null or c.created_at >= $6)
                     and (cast($7 as timestamptz) is null or c.created_at < $7)
                     and (c.active_at, c.id) < ($10, $9)
                 order by c.active_at desc, c.id desc limit $8",
            );
            let at = after.and_then(|it| it.active_at).unwrap_or(DateTime::<Utc>::MAX_UTC);
            let at = at.min(LATEST);
            bound(query, organization, filter, limit).bind(id).bind(at).all().await?
        }
        (Sort::Email, _) => {
            let query = db.query(
                "select c.id, c.email, c.email_domain, c.first_name, c.last_name, c.company,
                     c.phone, c.phone_given, c.source, c.sources, c.tags, c.attributes, c.consent,
                     c.bounced, c.version, c.created_at, c.updated_at, c.active_at
                 from contact c where c.organization_id = $1
                     and (cast($2 as text) is null or c.source = $2) and (cast($3 as text) is null or c.consent = $3)
                     and (cast($4 as text) is null or exists (select 1 from contact_tag t
                         where t.organization_id = $1 and t.tag = $4 and t.contact_id = c.id))
                     and (cast($5 as bigint) is null or exists (select 1 from segment_contact m
                         where m.segment_id = $5 and m.contact_id = c.id))
                     and (cast($6 as timestamptz) is null or c.created_at >= $6)
                     and (cast($7 as timestamptz) is null or c.created_at < $7)
                     and c.email_key > $9
                 order by c.email_key limit $8",
            );
            let key = after.and_then(|it| it.email_key.clone()).unwrap_or_default();
            bound(query, organization, filter, limit).bind(key).all().await?
        }
    };
    Ok(rows.into_iter().map(Contact::from).collect())
}

/// Later than any contact was heard of.
const LATEST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(at) => at,
    None => DateTime::<Utc>::MAX_UTC,
};

/// Those of the ids that fit, newest first.
pub(in crate::contacts) async fn of_ids(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    ids: &[i64],
) -> Result<Vec<Contact>> {
    let sql = db.dialect(
        "select c.id, c.email, c.email_domain, c.first_name, c.last_name, c.company,
             c.phone, c.phone_given, c.source, c.sources, c.tags, c.attributes, c.consent,
             c.bounced, c.version, c.created_at, c.updated_at, c.active_at
         from contact c where c.organization_id = $1
             and (cast($2 as text) is null or c.source = $2) and (cast($3 as text) is null or c.consent = $3)
             and (cast($4 as text) is null or exists (select 1 from contact_tag t
                 where t.organization_id = $1 and t.tag = $4 and t.contact_id = c.id))
             and (cast($5 as bigint) is null or exists (select 1 from segment_contact m
                 where m.segment_id = $5 and m.contact_id = c.id))
             and (cast($6 as timestamptz) is null or c.created_at >= $6)
             and (cast($7 as timestamptz) is null or c.created_at < $7)
             and c.id in (select cast(value as bigint)
                 from json_array_elements_text(cast($9 as json)))
         order by c.id desc limit $8",
        "select c.id, c.email, c.email_domain, c.first_name, c.last_name, c.company,
             c.phone, c.phone_given, c.source, c.sources, c.tags, c.attributes, c.consent,
             c.bounced, c.version, c.created_at, c.updated_at, c.active_at
         from contact c where +c.organization_id = $1
             and (cast($2 as text) is null or c.source = $2) and (cast($3 as text) is null or c.consent = $3)
             and (cast($4 as text) is null or exists (select 1 from contact_tag t
                 where t.organization_id = $1 and t.tag = $4 and t.contact_id = c.id))
             and ($5 is null or exists (select 1 from segment_contact m
                 where m.segment_id = $5 and m.contact_id = c.id))
             and ($6 is null or c.created_at >= $6)
             and ($7 is null or c.created_at < $7)
             and c.id in (select value from json_each($9))
         order by c.id desc limit $8",
    );
    let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let query = bound(db.query(sql), organization, filter, limit);
    let rows: Vec<ContactRow> = query.bind(json(ids)?).all().await?;
    Ok(rows.into_iter().map(Contact::from).collect())
}

/// One contact with its address as it is compared.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Contact>> {
    let row: Option<ContactRow> = db
        .query(
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at
             from contact where organization_id = $1 and id = $2",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(Contact::from))
}

/// The contact of an address.
pub async fn find_by_email(
    db: &Db,
    organization: OrganizationId,
    email_key: &str,
) -> Result<Option<Contact>> {
    let row: Option<ContactRow> = db
        .query(
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at
             from contact where organization_id = $1 and email_key = $2",
        )
        .bind(organization)
        .bind(email_key)
        .optional()
        .await?;
    Ok(row.map(Contact::from))
}

/// The segments that a contact is in now: id, slug and name.
pub async fn segments_of(db: &Db, contact: i64) -> Result<Vec<(i64, String, String)>> {
    db.query(
        "select s.id, s.slug, s.name from segment_contact m join segment s on s.id = m.segment_id
         where m.contact_id = $1 order by s.id",
    )
    .bind(contact)
    .all()
    .await
}
