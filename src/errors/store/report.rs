//! Reading what a reporter told of an event besides the columns that every event has.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    auth::OrganizationId,
    db::{Db, Result},
    errors::event::Origin,
};

/// What names an event elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = EventReport)]
pub struct Report {
    pub origin: Origin,
    /// The SDK's own id, which an application may show to its users.
    pub event_id: Option<String>,
    pub release: Option<String>,
    pub environment: Option<String>,
    /// Names the request in all logs.
    pub request_id: Option<String>,
    pub tags: BTreeMap<String, String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    origin: Origin,
    event_id: Option<String>,
    release: Option<String>,
    environment: Option<String>,
    request_id: Option<String>,
    tags: Option<String>,
    body: Option<Vec<u8>>,
}

/// The report of an event, and its packed detail.
pub async fn find(
    db: &Db,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<(Report, Option<Vec<u8>>)>> {
    let row: Option<Row> = db
        .query(
            "select e.origin, e.event_id, e.release, e.environment, e.request_id, e.tags, d.body
             from error_log as e
             left join error_detail as d on d.event_id = e.id
             where e.organization_id = $1 and e.id = $2",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(|row| {
        let tags = row.tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok());
        let report = Report {
            origin: row.origin,
            event_id: row.event_id,
            release: row.release,
            environment: row.environment,
            request_id: row.request_id,
            tags: tags.unwrap_or_default(),
        };
        (report, row.body)
    }))
}

/// The newest event with an SDK's id.
pub async fn by_event_id(
    db: &Db,
    organization: OrganizationId,
    event_id: &str,
) -> Result<Option<i64>> {
    let found: Option<(i64,)> = db
        .query(
            "select id from error_log where event_id = $2 and organization_id = $1
             order by id desc limit 1",
        )
        .bind(organization)
        .bind(event_id)
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}
