//! Counting between the bounds of days, which the statement is given as one list.

use chrono::SecondsFormat;
use serde_json::json;

use super::Span;
use crate::{
    auth::OrganizationId,
    db::{Db, Result},
    error::{Error, Result as Checked},
};

/// The bounds of days as JSON: `[["from", "until"], …]`, as both databases read times.
pub(super) struct Bounds(String);

impl Bounds {
    pub(super) fn new(spans: &[Span]) -> Checked<Self> {
        let list: Vec<_> = spans
            .iter()
            .map(|span| {
                let text = |at: chrono::DateTime<chrono::Utc>| {
                    at.to_rfc3339_opts(SecondsFormat::Secs, false)
                };
                json!([text(span.from), text(span.until)])
            })
            .collect();
        let text = serde_json::to_string(&list).map_err(|error| Error::Internal(error.into()))?;
        Ok(Self(text))
    }
}

/// The number of a day, and two numbers of it; days without any have no row.
pub(super) struct Rows(Vec<(i64, i64, i64)>);

impl Rows {
    /// Both numbers for each of so many days.
    pub(super) fn by_day(&self, days: usize) -> (Vec<i64>, Vec<i64>) {
        let mut found = (vec![0; days], vec![0; days]);
        for (day, first, second) in &self.0 {
            let day = usize::try_from(*day).unwrap_or(usize::MAX);
            if let (Some(one), Some(other)) = (found.0.get_mut(day), found.1.get_mut(day)) {
                (*one, *other) = (*first, *second);
            }
        }
        found
    }
}

async fn rows(
    db: &Db,
    sql: &'static str,
    organization: OrganizationId,
    bounds: &Bounds,
) -> Result<Rows> {
    db.query(sql).bind(organization).bind(bounds.0.as_str()).all().await.map(Rows)
}

/// Calls, and their seconds.
pub(super) async fn calls(db: &Db, of: OrganizationId, bounds: &Bounds) -> Result<Rows> {
    let sql = db.dialect(
        "select cast(d.day - 1 as bigint), cast(count(c.started_at) as bigint),
             cast(coalesce(sum(c.duration_seconds), 0) as bigint)
         from json_array_elements(cast($2 as json)) with ordinality as d(bound, day)
         join call_log as c on c.organization_id = $1
             and c.started_at >= cast(d.bound->>0 as timestamptz)
             and c.started_at < cast(d.bound->>1 as timestamptz)
         group by d.day",
        "select cast(d.key as bigint), cast(count(c.started_at) as bigint),
             cast(coalesce(sum(c.duration_seconds), 0) as bigint)
         from json_each($2) as d
         cross join call_log as c on c.organization_id = $1
             and c.started_at >= json_extract(d.value, '$[0]')
             and c.started_at < json_extract(d.value, '$[1]')
         group by d.key",
    );
    rows(db, sql, of, bounds).await
}

/// Contacts that were made.
pub(super) async fn contacts(db: &Db, of: OrganizationId, bounds: &Bounds) -> Result<Rows> {
    let sql = db.dialect(
        "select cast(d.day - 1 as bigint), cast(count(c.created_at) as bigint), cast(0 as bigint)
         from json_array_elements(cast($2 as json)) with ordinality as d(bound, day)
         join contact as c on c.organization_id = $1
             and c.created_at >= cast(d.bound->>0 as timestamptz)
             and c.created_at < cast(d.bound->>1 as timestamptz)
         group by d.day",
        "select cast(d.key as bigint), cast(count(c.created_at) as bigint), cast(0 as bigint)
         from json_each($2) as d
         cross join contact as c on c.organization_id = $1
             and c.created_at >= json_extract(d.value, '$[0]')
             and c.created_at < json_extract(d.value, '$[1]')
         group by d.key",
    );
    rows(db, sql, of, bounds).await
}

/// Conversations that began.
pub(super) async fn conversations(db: &Db, of: OrganizationId, bounds: &Bounds) -> Result<Rows> {
    let sql = db.dialect(
        "select cast(d.day - 1 as bigint), cast(count(c.created_at) as bigint), cast(0 as bigint)
         from json_array_elements(cast($2 as json)) with ordinality as d(bound, day)
         join conversation as c on c.organization_id = $1
             and c.created_at >= cast(d.bound->>0 as timestamptz)
             and c.created_at < cast(d.bound->>1 as timestamptz)
         group by d.day",
        "select cast(d.key as bigint), cast(count(c.created_at) as bigint), cast(0 as bigint)
         from json_each($2) as d
         cross join conversation as c on c.organization_id = $1
             and c.created_at >= json_extract(d.value, '$[0]')
             and c.created_at < json_extract(d.value, '$[1]')
         group by d.key",
    );
    rows(db, sql, of, bounds).await
}

/// Events, from the counters of hours: where a zone's days begin within an hour, the whole hour
/// belongs to the day in which it began.
pub(super) async fn errors(db: &Db, of: OrganizationId, bounds: &Bounds) -> Result<Rows> {
    let sql = db.dialect(
        "select cast(d.day - 1 as bigint), cast(sum(h.count) as bigint), cast(0 as bigint)
         from json_array_elements(cast($2 as json)) with ordinality as d(bound, day)
         join error_hour as h on h.organization_id = $1
             and h.hour_at >= cast(d.bound->>0 as timestamptz)
             and h.hour_at < cast(d.bound->>1 as timestamptz)
         group by d.day",
        "select cast(d.key as bigint), cast(sum(h.count) as bigint), cast(0 as bigint)
         from json_each($2) as d
         cross join error_hour as h on h.organization_id = $1
             and h.hour_at >= json_extract(d.value, '$[0]')
             and h.hour_at < json_extract(d.value, '$[1]')
         group by d.key",
    );
    rows(db, sql, of, bounds).await
}

/// Repair runs, and the groups that they resolved.
pub(super) async fn repairs(db: &Db, of: OrganizationId, bounds: &Bounds) -> Result<Rows> {
    let sql = db.dialect(
        "select cast(d.day - 1 as bigint), cast(count(r.created_at) as bigint),
             cast(coalesce(sum(r.resolved), 0) as bigint)
         from json_array_elements(cast($2 as json)) with ordinality as d(bound, day)
         join repair_run as r on r.organization_id = $1
             and r.created_at >= cast(d.bound->>0 as timestamptz)
             and r.created_at < cast(d.bound->>1 as timestamptz)
         group by d.day",
        "select cast(d.key as bigint), cast(count(r.created_at) as bigint),
             cast(coalesce(sum(r.resolved), 0) as bigint)
         from json_each($2) as d
         cross join repair_run as r on r.organization_id = $1
             and r.created_at >= json_extract(d.value, '$[0]')
             and r.created_at < json_extract(d.value, '$[1]')
         group by d.key",
    );
    rows(db, sql, of, bounds).await
}
