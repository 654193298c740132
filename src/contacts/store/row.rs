//! A contact's row.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, de::DeserializeOwned};

use crate::contacts::{Contact, Status};

/// A row of `contact`; its lists are JSON texts.
#[derive(sqlx::FromRow)]
pub(in crate::contacts) struct ContactRow {
    pub(super) id: i64,
    email: Option<String>,
    email_domain: String,
    first_name: String,
    last_name: String,
    company: String,
    phone: Option<String>,
    phone_given: String,
    source: String,
    sources: String,
    tags: String,
    attributes: String,
    consent: Status,
    bounced: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    active_at: DateTime<Utc>,
}

impl From<ContactRow> for Contact {
    fn from(row: ContactRow) -> Self {
        Self {
            id: row.id,
            email: row.email,
            email_domain: row.email_domain,
            first_name: row.first_name,
            last_name: row.last_name,
            company: row.company,
            phone: row.phone,
            phone_given: row.phone_given,
            source: row.source,
            sources: read(&row.sources),
            tags: read(&row.tags),
            attributes: read(&row.attributes),
            consent: row.consent,
            bounced: row.bounced,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            active_at: row.active_at,
        }
    }
}

/// What Lux wrote into a JSON column; what somebody else put there counts as nothing.
fn read<T: DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}

/// A time as SQLite holds it (and sqlx would bind it); PostgreSQL reads it as well.
pub(super) fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// Rows for a statement that takes them as one JSON parameter.
pub(in crate::contacts) fn json<T: Serialize + ?Sized>(rows: &T) -> crate::db::Result<String> {
    serde_json::to_string(rows).map_err(|error| crate::db::Error::Encode(error.into()))
}
