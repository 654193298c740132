//! Reading captured events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    auth::OrganizationId,
    db::{Db, Result},
    logs::Severity,
};

/// The last event of a page; the next page begins below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub at: DateTime<Utc>,
    pub id: i64,
}

impl Position {
    /// Above every event.
    pub(super) fn top() -> Self {
        Self { at: DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default(), id: i64::MAX }
    }
}

/// An event as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = ListedError)]
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
#[schema(as = ListedDetail)]
pub struct Detail {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub event: Listed,
    pub error_stack: Option<String>,
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

/// The events of a group right before and right after one of them, in the order of time.
pub async fn beside(
    db: &Db,
    group: i64,
    at: DateTime<Utc>,
    id: i64,
) -> Result<(Option<i64>, Option<i64>)> {
    let before = db
        .query(
            "select id from error_log where group_id = $1 and (created_at, id) < ($2, $3)
             order by created_at desc, id desc limit 1",
        )
        .bind(group)
        .bind(at)
        .bind(id)
        .optional::<(i64,)>()
        .await?;
    let after = db
        .query(
            "select id from error_log where group_id = $1 and (created_at, id) > ($2, $3)
             order by created_at, id limit 1",
        )
        .bind(group)
        .bind(at)
        .bind(id)
        .optional::<(i64,)>()
        .await?;
    Ok((before.map(|(id,)| id), after.map(|(id,)| id)))
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
