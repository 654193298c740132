//! What happened to a contact.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// One thing that happened.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = ContactActivity)]
pub struct Activity {
    pub id: i64,
    /// created, updated, merged, note, segment_added, mailed, bounced, unsubscribed …
    pub kind: String,
    pub at: DateTime<Utc>,
    /// Who did it: a person, "webhook zapier", "import 3".
    pub by: String,
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// Notes that something happened.
pub async fn note(
    tx: &mut Tx,
    organization: OrganizationId,
    contact: i64,
    kind: &str,
    by: &str,
    detail: &Value,
    at: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into contact_activity (organization_id, contact_id, kind, at, by, detail)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(organization)
    .bind(contact)
    .bind(kind)
    .bind(at)
    .bind(by)
    .bind(detail.to_string())
    .run()
    .await
    .map(drop)
}

/// What happened to a contact before the entry `before` (all, if it is none), newest first.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    contact: i64,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Activity>> {
    let rows: Vec<(i64, String, DateTime<Utc>, String, String)> = db
        .query(
            "select id, kind, at, by, detail from contact_activity
             where organization_id = $1 and contact_id = $2 and id < $3
             order by id desc limit $4",
        )
        .bind(organization)
        .bind(contact)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .all()
        .await?;
    let read = |(id, kind, at, by, detail): (_, _, _, _, String)| Activity {
        id,
        kind,
        at,
        by,
        detail: serde_json::from_str(&detail).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(read).collect())
}
