//! Who did what, when: rows that are only ever added.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;

use super::OrganizationId;
use crate::{
    clock,
    db::{Db, Query, Result, Tx},
    redact,
};

/// Bound of the actor's, action's and subject's text, in characters.
const MAX_TEXT: usize = 300;

/// Bound of what `detail` takes as JSON, in bytes; a longer one is left out.
const MAX_DETAIL: usize = 64 << 10;

/// Where an entry is written: in a transaction, so that it is there if and only if what it tells
/// of is, or by itself.
pub enum Place<'a> {
    Db(&'a Db),
    Tx(&'a mut Tx),
}

impl<'a> From<&'a Db> for Place<'a> {
    fn from(db: &'a Db) -> Self {
        Self::Db(db)
    }
}

impl<'a> From<&'a mut Tx> for Place<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

impl<'a> Place<'a> {
    fn query(self, sql: &'static str) -> Query<'a> {
        match self {
            Self::Db(db) => db.query(sql),
            Self::Tx(tx) => tx.query(sql),
        }
    }
}

/// Adds an entry: who (`actor`: a token's name, "schedule", "lux") did what (`action`:
/// "errors.clear") to what (`subject`: "group 7"). Secrets in `detail` are struck out.
pub async fn write<'a>(
    place: impl Into<Place<'a>>,
    organization: OrganizationId,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Value,
) -> Result<()> {
    place
        .into()
        .query(
            "insert into audit (organization_id, actor, action, subject, detail, created_at)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(organization)
        .bind(text(actor))
        .bind(text(action))
        .bind(text(subject))
        .bind(Json(bounded(detail)))
        .bind(clock::now())
        .run()
        .await
        .map(drop)
}

fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}").chars().take(MAX_TEXT).collect()
}

fn bounded(detail: &Value) -> Value {
    let detail = clean(detail);
    let length = detail.to_string().len();
    if length > MAX_DETAIL {
        return serde_json::json!({ "left_out": format!("{length} bytes") });
    }
    detail
}

/// Without secrets, and without NUL, which PostgreSQL cannot hold.
fn clean(value: &Value) -> Value {
    let string = |text: &str| redact::secrets(text).replace('\0', "\u{fffd}");
    match value {
        Value::String(text) => Value::String(string(text)),
        Value::Array(items) => Value::Array(items.iter().map(clean).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (string(key), clean(value))).collect())
        }
        other => other.clone(),
    }
}

/// One entry.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
pub struct Entry {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    pub subject: String,
    #[schema(value_type = Object)]
    pub detail: Json<Value>,
}

/// The last entry of a page; the next page begins below it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Position {
    pub id: i64,
}

/// A page of entries, newest first, and where the next one begins.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Entry>, Option<Position>)> {
    let mut entries: Vec<Entry> = db
        .query(
            "select id, created_at as at, actor, action, subject, detail from audit
             where organization_id = $1 and id < $2 order by id desc limit $3",
        )
        .bind(organization)
        .bind(after.map_or(i64::MAX, |after| after.id))
        .bind(limit + 1)
        .all()
        .await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > page;
    entries.truncate(page);
    let next = entries.last().filter(|_| more).map(|entry| Position { id: entry.id });
    Ok((entries, next))
}
