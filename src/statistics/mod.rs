//! The numbers of a dashboard by day: calls, contacts, conversations, errors, repairs.
//!
//! Days are those of a time zone, whatever its offset and its clock changes: their bounds are
//! reckoned here, the database counts between them, each count over an index. A part that cannot
//! be counted is left out with its reason; the others are told all the same.

mod routes;
mod store;

use std::{collections::BTreeMap, future::Future, time::Duration};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::{auth::OrganizationId, db::Db, error::Result};

pub use routes::router;

/// The most days that are counted at once.
pub const MAX_DAYS: u32 = 92;

/// How long one part may take; then the page goes without it.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is counted.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Statistics {
    /// The beginning of the first day.
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// Whose days they are: a name of the time zone database.
    #[schema(value_type = String)]
    pub timezone: Tz,
    /// The oldest first; the lists of all parts are in this order.
    pub days: Vec<NaiveDate>,
    /// Calls taken. `null`, as every part, if it could not be counted.
    pub calls: Option<Calls>,
    /// People who became contacts.
    pub contacts: Option<Counted>,
    /// Conversations that customers began.
    pub conversations: Option<Counted>,
    /// Captured events.
    pub errors: Option<Counted>,
    /// Repair runs.
    pub repairs: Option<Repairs>,
    /// What could not be counted, by the name of the part, and why.
    pub problems: BTreeMap<String, String>,
}

/// A number a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = CountedByDay)]
pub struct Counted {
    pub total: i64,
    pub by_day: Vec<i64>,
}

/// Calls and how long they took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = CallsByDay)]
pub struct Calls {
    pub total: i64,
    pub by_day: Vec<i64>,
    /// Of all, in seconds.
    pub total_seconds: i64,
    pub seconds_by_day: Vec<i64>,
}

/// Repair runs and what they resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = RepairsByDay)]
pub struct Repairs {
    /// Runs.
    pub total: i64,
    pub by_day: Vec<i64>,
    /// Groups of errors that were resolved.
    pub resolved: i64,
    pub resolved_by_day: Vec<i64>,
}

/// Counts the last `days` (1 to [`MAX_DAYS`]), today included.
pub async fn count(
    db: &Db,
    organization: OrganizationId,
    days: u32,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Statistics> {
    let spans = spans(days.clamp(1, MAX_DAYS), zone, now);
    let bounds = store::Bounds::new(&spans)?;
    let mut problems = BTreeMap::new();
    let mut part = |name: &str, came: std::result::Result<store::Rows, String>| match came {
        Ok(rows) => Some(rows),
        Err(why) => {
            problems.insert(name.to_owned(), why);
            None
        }
    };
    let (calls, contacts, conversations, errors, repairs) = tokio::join!(
        patiently(store::calls(db, organization, &bounds)),
        patiently(store::contacts(db, organization, &bounds)),
        patiently(store::conversations(db, organization, &bounds)),
        patiently(store::errors(db, organization, &bounds)),
        patiently(store::repairs(db, organization, &bounds)),
    );
    let size = spans.len();
    let calls = part("calls", calls).map(|rows| rows.by_day(size)).map(|(by_day, seconds)| Calls {
        total: by_day.iter().sum(),
        by_day,
        total_seconds: seconds.iter().sum(),
        seconds_by_day: seconds,
    });
    let counted = |rows: store::Rows| {
        let (by_day, _) = rows.by_day(size);
        Counted { total: by_day.iter().sum(), by_day }
    };
    let contacts = part("contacts", contacts).map(counted);
    let conversations = part("conversations", conversations).map(counted);
    let errors = part("errors", errors).map(counted);
    let repairs =
        part("repairs", repairs).map(|rows| rows.by_day(size)).map(|(by_day, resolved)| Repairs {
            total: by_day.iter().sum(),
            by_day,
            resolved: resolved.iter().sum(),
            resolved_by_day: resolved,
        });
    Ok(Statistics {
        from: spans.first().map_or(now, |span| span.from),
        until: now,
        timezone: zone,
        days: spans.into_iter().map(|span| span.day).collect(),
        calls,
        contacts,
        conversations,
        errors,
        repairs,
        problems,
    })
}

async fn patiently(
    counting: impl Future<Output = crate::db::Result<store::Rows>>,
) -> std::result::Result<store::Rows, String> {
    match tokio::time::timeout(PATIENCE, counting).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a part of the statistics could not be counted");
            Err("the database could not count this; try again in a moment".to_owned())
        }
        Err(_) => Err(format!(
            "it could not be counted within {} s; ask for fewer days",
            PATIENCE.as_secs()
        )),
    }
}

/// One day of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    day: NaiveDate,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// The last days, the oldest first. A day has 23 to 25 hours where clocks change.
fn spans(days: u32, zone: Tz, now: DateTime<Utc>) -> Vec<Span> {
    let today = now.with_timezone(&zone).date_naive();
    let first = today.checked_sub_days(Days::new(u64::from(days) - 1)).unwrap_or(today);
    first
        .iter_days()
        .take(days as usize)
        .map(|day| Span {
            day,
            from: midnight(day, zone),
            until: midnight(day.succ_opt().unwrap_or(day), zone),
        })
        .collect()
}

/// The first moment of a day. Some zones skip midnight when their clocks change.
fn midnight(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let start = day.and_time(chrono::NaiveTime::MIN);
    (0..=8)
        .find_map(|quarter| {
            let local = start + TimeDelta::minutes(15 * quarter);
            zone.from_local_datetime(&local).earliest()
        })
        .map_or_else(|| start.and_utc(), |at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use chrono_tz::Tz;

    use super::spans;

    fn hours(days: u32, zone: Tz, now: &str) -> Vec<i64> {
        let now: DateTime<Utc> = now.parse().unwrap();
        let spans = spans(days, zone, now);
        assert!(spans.windows(2).all(|pair| pair[0].until == pair[1].from));
        assert!(spans.last().unwrap().from <= now && now < spans.last().unwrap().until);
        spans.iter().map(|span| (span.until - span.from).num_hours()).collect()
    }

    #[test]
    fn days_are_as_long_as_clocks_make_them() {
        assert_eq!(hours(3, Tz::Europe__Berlin, "2026-10-26T11:00:00Z"), [24, 25, 24]);
        assert_eq!(hours(3, Tz::Europe__Berlin, "2026-03-30T11:00:00Z"), [24, 23, 24]);
        assert_eq!(hours(2, Tz::Asia__Kolkata, "2026-03-30T19:00:00Z"), [24, 24]);
        // There midnight itself was skipped.
        assert_eq!(hours(2, Tz::America__Santiago, "2026-09-06T15:00:00Z"), [24, 23]);
        assert_eq!(hours(1, Tz::UTC, "2026-11-22T00:00:00Z"), [24]);
    }

    #[test]
    fn a_day_begins_with_its_zone() {
        let now: DateTime<Utc> = "2026-11-22T19:00:00Z".parse().unwrap();
        let found = spans(1, Tz::Asia__Kolkata, now);
        assert_eq!(found[0].day.to_string(), "2026-11-23");
        assert_eq!(now - found[0].from, TimeDelta::minutes(30));
    }
}
