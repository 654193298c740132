//! Who did what, when, from where: rows that are only ever added, each chained to the one
//! before. They are kept for good: nothing in Lux removes them, and the database refuses to.
//!
//! Writers of one organization wait for one another from their entry to their commit, so an
//! entry is the last thing that a transaction writes. That also keeps them from waiting in a
//! circle.

mod chain;
mod export;
mod head;
mod verify;

use std::net::IpAddr;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;

use super::{Caller, OrganizationId};
use crate::{
    clock,
    db::{Db, Result, Tx},
    redact,
};

pub use export::page;
pub use head::{Head, heads, tell, watch};
pub use verify::{Check, Known, Problem, verify};

/// Entries that one request has checked: some tenths of a second.
pub const MOST_CHECKED: i64 = 20_000;

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

/// Who does something, and from where: a token's or person's name, "schedule", "lux".
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    pub name: &'a str,
    /// Of the request; `None` for what did not come over the network.
    pub address: Option<IpAddr>,
}

impl<'a> From<&'a str> for Actor<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, address: None }
    }
}

impl<'a> From<&'a String> for Actor<'a> {
    fn from(name: &'a String) -> Self {
        Self { name, address: None }
    }
}

impl<'a> From<&'a Caller> for Actor<'a> {
    fn from(caller: &'a Caller) -> Self {
        Self { name: &caller.name, address: caller.address }
    }
}

/// Adds an entry: who did what (`action`: "errors.clear") to what (`subject`: "group 7").
/// Secrets in `detail` are struck out. If it cannot be written, what it tells of must not
/// happen either: let the error end the transaction.
pub async fn write<'a>(
    place: impl Into<Place<'a>>,
    organization: OrganizationId,
    actor: impl Into<Actor<'_>>,
    action: &str,
    subject: &str,
    detail: &Value,
) -> Result<()> {
    let (actor, place) = (actor.into(), place.into());
    let new = New {
        actor: text(actor.name),
        action: text(action),
        subject: text(subject),
        address: actor.address.map(|address| address.to_canonical().to_string()),
        detail: bounded(detail),
    };
    match place {
        Place::Tx(tx) => append(tx, organization, new).await,
        Place::Db(db) => {
            let mut tx = db.begin().await?;
            append(&mut tx, organization, new).await?;
            tx.commit().await
        }
    }
}

struct New {
    actor: String,
    action: String,
    subject: String,
    address: Option<String>,
    detail: Value,
}

async fn append(tx: &mut Tx, organization: OrganizationId, new: New) -> Result<()> {
    // Locks the head: who comes next waits for this transaction's end.
    let (number, before): (i64, String) = tx
        .query(
            "insert into audit_head (organization_id, entries, hash) values ($1, 1, '')
             on conflict (organization_id) do update set entries = audit_head.entries + 1
             returning entries, hash",
        )
        .bind(organization)
        .one()
        .await?;
    // As both databases keep it.
    let at = clock::now().trunc_subsecs(6);
    let link = chain::Link {
        organization: organization.0,
        number,
        at,
        actor: &new.actor,
        action: &new.action,
        subject: &new.subject,
        address: new.address.as_deref(),
        detail: &new.detail,
    };
    let hash = link.hash(&before);
    tx.query(
        "insert into audit (organization_id, actor, action, subject, detail, created_at,
             number, hash, address)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(organization)
    .bind(new.actor)
    .bind(new.action)
    .bind(new.subject)
    .bind(Json(new.detail))
    .bind(at)
    .bind(number)
    .bind(hash.as_str())
    .bind(new.address)
    .run()
    .await?;
    tx.query("update audit_head set hash = $2 where organization_id = $1")
        .bind(organization)
        .bind(hash)
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

/// Whole numbers that a float holds exactly, and so does every reader of JSON.
const EXACT: f64 = 9e15;

/// Without secrets, and without NUL, which PostgreSQL cannot hold. A fraction becomes text: read
/// back as a number it may differ in its last digit, and with it the entry's hash.
fn clean(value: &Value) -> Value {
    let string = |text: &str| redact::secrets(text).replace('\0', "\u{fffd}");
    match value {
        Value::String(text) => Value::String(string(text)),
        Value::Array(items) => Value::Array(items.iter().map(clean).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (string(key), clean(value))).collect())
        }
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float.fract() != 0.0 || float.abs() > EXACT => {
                Value::String(number.to_string())
            }
            _ => value.clone(),
        },
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
    /// Where the request came from, if it was one.
    pub address: Option<String>,
    #[schema(value_type = Object)]
    pub detail: Json<Value>,
    /// Its place in the chain, from 1; null for entries from before there was one.
    pub number: Option<i64>,
    /// SHA-256 over the entry and the hash of the one before.
    pub hash: Option<String>,
}

/// The last entry of a page; the next page begins below it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Position {
    pub id: i64,
}

/// Which entries are listed; the default is all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// What the deed begins with: "token.", "token.create".
    pub action: Option<String>,
    /// What the author's name begins with.
    pub actor: Option<String>,
}

impl Filter {
    fn is_all(&self) -> bool {
        self.action.is_none() && self.actor.is_none()
    }
}

/// Entries that are looked at for one page of a filtered list: it may be short, even empty, and
/// have a successor.
pub const SCAN: i64 = 20_000;

/// A page of entries, newest first, and where the next one begins. A filtered page looks at
/// [`SCAN`] entries.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Entry>, Option<Position>)> {
    let scan = if filter.is_all() { limit + 1 } else { SCAN };
    let below = after.map_or(i64::MAX, |after| after.id);
    let mut entries: Vec<Entry> = db
        .query(
            "select a.id, a.created_at as at, a.actor, a.action, a.subject, a.address, a.detail,
                 a.number, a.hash
             from (select id from audit where organization_id = $1 and id < $2
                   order by id desc limit $3) as scanned
             join audit as a on a.id = scanned.id
             where substr(a.action, 1, length($4)) = $4 and substr(a.actor, 1, length($5)) = $5
             order by a.id desc limit $6",
        )
        .bind(organization)
        .bind(below)
        .bind(scan)
        .bind(filter.action.clone().unwrap_or_default())
        .bind(filter.actor.clone().unwrap_or_default())
        .bind(limit + 1)
        .all()
        .await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    if entries.len() > page {
        entries.truncate(page);
        let next = entries.last().map(|entry| Position { id: entry.id });
        return Ok((entries, next));
    }
    if filter.is_all() {
        return Ok((entries, None));
    }
    // The last one that was looked at, unless the log ended before.
    let last: Option<(i64,)> = db
        .query(
            "select id from audit where organization_id = $1 and id < $2
             order by id desc limit 1 offset $3",
        )
        .bind(organization)
        .bind(below)
        .bind(scan - 1)
        .optional()
        .await?;
    Ok((entries, last.map(|(id,)| Position { id })))
}
