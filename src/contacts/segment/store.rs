//! Reading segments.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Rule, members::read};
use crate::{
    auth::OrganizationId,
    contacts::{Contact, store::ContactRow},
    db::{Db, Result},
};

/// The most segments of an organization: each is looked at for each contact.
pub(super) const MAX: i64 = 200;
/// Contacts that [`matching`] looks at.
const LOOKS: i64 = 20_000;

/// A segment.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Segment {
    pub id: i64,
    /// The name in addresses and rules.
    pub slug: String,
    pub name: String,
    /// Null: its members are put in and taken out by people.
    pub rule: Option<Rule>,
    /// The rule that is being counted out; until it is done, `rule` holds.
    pub next_rule: Option<Rule>,
    /// Contacts that are in it now.
    pub members: i64,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    slug: String,
    name: String,
    rule: Option<String>,
    next_rule: Option<String>,
    members: i64,
    made_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Segment {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            slug: row.slug,
            name: row.name,
            rule: row.rule.as_deref().and_then(read),
            next_rule: row.next_rule.as_deref().and_then(read),
            members: row.members,
            made_by: row.made_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// All segments by name, with how many are in each.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Segment>> {
    let rows: Vec<Row> = db
        .query(
            "select s.id, s.slug, s.name, s.rule, s.next_rule,
                 (select count(*) from segment_contact c where c.segment_id = s.id) as members,
                 s.made_by, s.created_at, s.updated_at
             from segment s where s.organization_id = $1 order by lower(s.name), s.id",
        )
        .bind(organization)
        .all()
        .await?;
    Ok(rows.into_iter().map(Segment::from).collect())
}

/// One segment, by its id.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Segment>> {
    let row: Option<Row> = db
        .query(
            "select s.id, s.slug, s.name, s.rule, s.next_rule,
                 (select count(*) from segment_contact c where c.segment_id = s.id) as members,
                 s.made_by, s.created_at, s.updated_at
             from segment s where s.organization_id = $1 and s.id = $2",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(Segment::from))
}

/// How many contacts are in a segment now.
pub async fn count(db: &Db, segment: i64) -> Result<i64> {
    db.query("select count(*) from segment_contact where segment_id = $1")
        .bind(segment)
        .scalar()
        .await
}

/// How a rule would do: of the newest contacts (at most 20 000), how many it fits, and whether
/// these were all.
pub async fn matching(
    db: &Db,
    organization: OrganizationId,
    rule: &Rule,
    now: DateTime<Utc>,
) -> Result<(i64, i64, bool)> {
    let (mut below, mut looked, mut fits) = (i64::MAX, 0, 0);
    loop {
        let rows: Vec<ContactRow> = db
            .query(
                "select id, email, email_domain, first_name, last_name, company, phone,
                     phone_given, source, sources, tags, attributes, consent, bounced, version,
                     created_at, updated_at, active_at
                 from contact where organization_id = $1 and id < $2 order by id desc limit 2000",
            )
            .bind(organization)
            .bind(below)
            .all()
            .await?;
        let is_last = rows.len() < 2000;
        for contact in rows.into_iter().map(Contact::from) {
            below = contact.id;
            looked += 1;
            fits += i64::from(rule.spans(&contact).hold(now.timestamp()));
        }
        if is_last || looked >= LOOKS {
            return Ok((fits, looked, is_last));
        }
    }
}
