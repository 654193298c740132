//! Which groups somebody met.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::groups::Status;
use crate::{
    auth::OrganizationId,
    db::{Db, Result},
    logs::Severity,
};

/// A group that somebody met.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = MetGroup)]
pub struct Met {
    pub id: i64,
    pub app: String,
    /// Null for customers.
    pub title: Option<String>,
    /// Null for customers.
    pub error_type: Option<String>,
    pub severity: Severity,
    pub status: Status,
    /// Of anybody's events.
    pub first_seen: DateTime<Utc>,
    /// Of anybody's events.
    pub last_seen: DateTime<Utc>,
}

/// Groups of whose events one names a user by one of `names` (an empty one is nobody's), the last
/// seen first. Of somebody who met more than 2000 groups, some are left out.
pub async fn by(
    db: &Db,
    organization: OrganizationId,
    names: [&str; 3],
    limit: i64,
) -> Result<Vec<Met>> {
    let [one, two, three] = names;
    db.query(
        "select id, app, title, error_type, severity, status, first_seen, last_seen
         from error_group
         where organization_id = $1 and merged_into is null and id in
             (select group_id from error_group_user
              where user_id in ($2, $3, $4) and user_id <> '' limit 2000)
         order by last_seen desc, id desc limit $5",
    )
    .bind(organization)
    .bind(one)
    .bind(two)
    .bind(three)
    .bind(limit)
    .all()
    .await
}
