//! How much was said in each minute.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    record::Severity,
    search::{self, Query},
    window::Segment,
};
use crate::error::Result;

/// A minute's records, as far as the window holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    pub from: DateTime<Utc>,
    pub records: i64,
    /// Those of them that are errors, or worse.
    pub errors: i64,
}

/// The longest time that is looked at, in minutes.
const MAX_MINUTES: usize = 24 * 60;

pub(super) fn volume(
    names: &[String],
    segments: impl Fn(usize) -> Vec<Arc<Segment>>,
    query: &Query,
    from: DateTime<Utc>,
    minutes: usize,
) -> Result<Vec<Minute>> {
    const MINUTE: i64 = 60_000_000;
    let first = from.timestamp_micros();
    let mut counts: Vec<Minute> = (0_i32..)
        .take(minutes.min(MAX_MINUTES))
        .map(|number| Minute {
            from: from + TimeDelta::minutes(number.into()),
            records: 0,
            errors: 0,
        })
        .collect();
    for source in search::choose(names, &query.sources)? {
        for segment in segments(source) {
            if segment.latest < first {
                continue;
            }
            for meta in &segment.metas {
                let minute = usize::try_from((meta.at - first).div_euclid(MINUTE)).ok();
                let Some(minute) = minute.and_then(|number| counts.get_mut(number)) else {
                    continue;
                };
                if query.wants(&segment, meta) {
                    minute.records += 1;
                    minute.errors += i64::from(meta.severity >= Severity::Error);
                }
            }
        }
    }
    Ok(counts)
}
