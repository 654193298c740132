//! Reading captured events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{SCAN, containing};
use crate::{
    auth::OrganizationId,
    db::{Db, Result},
    logs::Severity,
};

/// Which events; what is `None` does not matter.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    pub since: DateTime<Utc>,
    pub severity: Option<Severity>,
    /// The path, with whatever query.
    pub endpoint: Option<&'a str>,
    pub resolved: Option<bool>,
    /// Part of the type or message, in any case.
    pub q: Option<&'a str>,
    pub app: Option<&'a str>,
}

/// The last event of a page; the next page begins below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub at: DateTime<Utc>,
    pub id: i64,
}

impl Position {
    /// Above every event.
    fn top() -> Self {
        Self { at: DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default(), id: i64::MAX }
    }
}

/// An event as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Listed {
    pub id: i64,
    #[serde(rename = "type")]
    pub error_type: String,
    #[serde(rename = "message")]
    pub error_message: String,
    pub endpoint: Option<String>,
    pub method: Option<String>,
    pub severity: Severity,
    /// Resolved by itself or with its group.
    pub resolved: bool,
    pub created_at: DateTime<Utc>,
    pub group_id: i64,
    /// What proves the resolution.
    pub resolution_notes: Option<String>,
    pub app: String,
    pub user_id: Option<String>,
}

/// One event with its stack trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Detail {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub event: Listed,
    pub error_stack: Option<String>,
}

/// A page of events, newest first, and where the next one begins. A filtered page may
/// be shorter than `limit` and still have a successor.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter<'_>,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Listed>, Option<Position>)> {
    let after = after.unwrap_or_else(Position::top);
    let filtered = filter.severity.is_some()
        || filter.endpoint.is_some()
        || filter.resolved.is_some()
        || filter.q.is_some()
        || filter.app.is_some();
    let scan = if filtered { SCAN } else { limit };
    let with_query = filter.endpoint.map(|path| {
        let pattern = containing(path);
        format!("{}?%", pattern.trim_matches('%'))
    });
    let mut events: Vec<Listed> = db
        .query(
            "select e.id, e.error_type, e.error_message, e.endpoint, e.method, e.severity,
                 (e.is_resolved or g.status = 'resolved') as resolved, e.created_at, e.group_id,
                 coalesce(e.resolution_notes, v.detail) as resolution_notes, e.app, e.user_id
             from (select id from error_log
                   where organization_id = $1 and created_at >= $2 and (created_at, id) < ($3, $4)
                   order by created_at desc, id desc limit $5) as scanned
             join error_log as e on e.id = scanned.id
             join error_group as g on g.id = e.group_id
             left join evidence as v on v.id = g.evidence_id and g.status = 'resolved'
             where (e.severity = $6 or $6 is null)
               and (e.endpoint = $7 or lower(e.endpoint) like $8 escape '\\' or $7 is null)
               and ((e.is_resolved or g.status = 'resolved') = $9 or $9 is null)
               and (lower(e.error_message) like $10 escape '\\'
                   or lower(e.error_type) like $10 escape '\\' or $10 is null)
               and (e.app = $11 or $11 is null)
             order by e.created_at desc, e.id desc limit $12",
        )
        .bind(organization)
        .bind(filter.since)
        .bind(after.at)
        .bind(after.id)
        .bind(scan + 1)
        .bind(filter.severity)
        .bind(filter.endpoint)
        .bind(with_query)
        .bind(filter.resolved)
        .bind(filter.q.map(containing))
        .bind(filter.app)
        .bind(limit + 1)
        .all()
        .await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    if events.len() > page {
        events.truncate(page);
        let next = events.last().map(|event| Position { at: event.created_at, id: event.id });
        return Ok((events, next));
    }
    // The page is not full: either nothing is left, or the scan's bound was reached
    // (rows that are not grouped yet count for it, too).
    let next = db
        .query(
            "select created_at, id from error_log
             where organization_id = $1 and created_at >= $2 and (created_at, id) < ($3, $4)
               and group_id is not null
             order by created_at desc, id desc limit 1 offset $5",
        )
        .bind(organization)
        .bind(filter.since)
        .bind(after.at)
        .bind(after.id)
        .bind(scan)
        .optional::<(DateTime<Utc>, i64)>()
        .await?;
    Ok((events, next.map(|(at, id)| Position { at, id })))
}

/// The newest events of a group.
pub async fn of_group(
    db: &Db,
    organization: OrganizationId,
    group: i64,
    limit: i64,
) -> Result<Vec<Listed>> {
    db.query(
        "select e.id, e.error_type, e.error_message, e.endpoint, e.method, e.severity,
             (e.is_resolved or g.status = 'resolved') as resolved, e.created_at, e.group_id,
             coalesce(e.resolution_notes, v.detail) as resolution_notes, e.app, e.user_id
         from error_group as g
         join error_log as e on e.group_id = g.id
         left join evidence as v on v.id = g.evidence_id and g.status = 'resolved'
         where g.organization_id = $1 and g.id = $2
         order by e.created_at desc, e.id desc limit $3",
    )
    .bind(organization)
    .bind(group)
    .bind(limit)
    .all()
    .await
}

/// When a group's newest events came, the newest first.
pub async fn times(
    db: &Db,
    group: i64,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<DateTime<Utc>>> {
    let rows: Vec<(DateTime<Utc>,)> = db
        .query(
            "select created_at from error_log where group_id = $1 and created_at >= $2
             order by created_at desc, id desc limit $3",
        )
        .bind(group)
        .bind(since)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(at,)| at).collect())
}

/// One event of the organization.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Detail>> {
    db.query(
        "select e.id, e.error_type, e.error_message, e.endpoint, e.method, e.severity,
             (e.is_resolved or g.status = 'resolved') as resolved, e.created_at, e.group_id,
             coalesce(e.resolution_notes, v.detail) as resolution_notes, e.app, e.user_id,
             e.error_stack
         from error_log as e
         join error_group as g on g.id = e.group_id
         left join evidence as v on v.id = g.evidence_id and g.status = 'resolved'
         where e.organization_id = $1 and e.id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}
