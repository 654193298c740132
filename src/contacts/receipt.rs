//! What the webhook was told, and what it answered: a repeat gets the same answer, and what was
//! not understood can be looked at.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Recorded, store::json, webhook};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    db::{Db, Result, Tx},
};

/// How long a key answers for itself.
const KEY_LIFE: TimeDelta = TimeDelta::days(14);
/// How long receipts are kept, and how many of the old go at once.
const KEPT: TimeDelta = TimeDelta::days(30);
const STEP: i64 = 2000;
const EVERY: Duration = Duration::from_mins(10);
/// The most of a body that is kept, in bytes.
pub(super) const MAX_BODY: usize = 16 * 1024;

/// A request to be noted.
#[derive(Debug)]
pub(super) struct Receipt {
    /// "k:" and what the sender calls it, or "b:" and the body's hash.
    pub(super) key: String,
    /// The body as it came, cut.
    pub(super) body: String,
}

/// A request that was noted.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WebhookReceipt)]
pub struct Noted {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub status: i64,
    pub contact_id: Option<i64>,
    /// What was answered.
    #[schema(value_type = Object)]
    pub answer: serde_json::Value,
    /// The body as it came, at most 16 KiB of it.
    pub body: String,
}

#[derive(Serialize)]
struct Row<'a> {
    organization: i64,
    key: &'a str,
    status: u16,
    contact: Option<i64>,
    answer: String,
    body: &'a str,
}

type NotedRow = (i64, DateTime<Utc>, i64, Option<i64>, String, String);

/// Notes requests with what came of them.
pub(super) async fn keep<'a>(
    tx: &mut Tx,
    told: impl Iterator<Item = (OrganizationId, &'a Receipt, &'a [Recorded])>,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut rows = Vec::new();
    for (organization, receipt, recorded) in told {
        let (status, answer) = webhook::answer(recorded);
        rows.push(Row {
            organization: organization.0,
            key: &receipt.key,
            status: status.as_u16(),
            contact: recorded.first().map(|it| it.contact.id),
            answer: json(&answer)?,
            body: &receipt.body,
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "insert into webhook_receipt (organization_id, key, at, status, contact_id, answer, body)
         select r.organization, r.key, $2, r.status, r.contact, r.answer, r.body
         from json_to_recordset(cast($1 as json)) as r(organization bigint, key text,
             status bigint, contact bigint, answer text, body text)",
        "insert into webhook_receipt (organization_id, key, at, status, contact_id, answer, body)
         select value ->> 'organization', value ->> 'key', $2, value ->> 'status',
             value ->> 'contact', value ->> 'answer', value ->> 'body'
         from jsonb_each($1)",
    );
    tx.query(sql).bind(json(&rows)?).bind(now).run().await.map(drop)
}

/// What was answered to a request of this name, if it was not long ago.
pub(super) async fn answered(
    db: &Db,
    organization: OrganizationId,
    key: &str,
) -> Result<Option<(i64, String)>> {
    db.query(
        "select status, answer from webhook_receipt
         where organization_id = $1 and key = $2 and at > $3 order by at limit 1",
    )
    .bind(organization)
    .bind(key)
    .bind(clock::now() - KEY_LIFE)
    .optional()
    .await
}

/// The newest requests before the one of the id `before`.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Noted>> {
    let rows: Vec<NotedRow> = db
        .query(
            "select id, at, status, contact_id, answer, body from webhook_receipt
             where organization_id = $1 and id < $2 order by id desc limit $3",
        )
        .bind(organization)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .all()
        .await?;
    let noted = rows.into_iter().map(|(id, at, status, contact_id, answer, body)| Noted {
        id,
        at,
        status,
        contact_id,
        answer: serde_json::from_str(&answer).unwrap_or_default(),
        body,
    });
    Ok(noted.collect())
}

/// Removes what is older than 30 days, a little at a time.
pub(super) fn start(app: &App) {
    let db = app.db.clone();
    let shutdown = app.shutdown.clone();
    app.tasks.spawn(async move {
        loop {
            match remove(&db, clock::now() - KEPT).await {
                Ok(removed) if removed >= STEP.unsigned_abs() => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "old receipts of the webhook were not removed");
                }
            }
            let pause = tokio::time::sleep(EVERY);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    });
}

async fn remove(db: &Db, before: DateTime<Utc>) -> Result<u64> {
    db.query(
        "delete from webhook_receipt where id in (
             select id from webhook_receipt where at < $1 order by at limit $2)",
    )
    .bind(before)
    .bind(STEP)
    .run()
    .await
}
