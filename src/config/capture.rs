//! `[capture]`: what applications may send, how long events are kept, how many, and what
//! counts as a storm.

use std::time::Duration;

/// `[capture]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Events a minute of one application that has no quota of its own. Each replica counts
    /// for itself.
    pub quota: u32,
    /// Events of a group from SDKs and logs that are kept in an hour before only some are; all
    /// are counted. 0 keeps all.
    pub keep_first: u64,
    /// Older events are removed.
    pub keep: Duration,
    /// Events of one application that are kept.
    pub max_events: i64,
    /// Events of one group that are kept.
    pub max_group_events: i64,
    /// How often is looked for events to be removed.
    pub retain_every: Duration,
    /// Events in a minute below which nothing is a storm.
    pub storm: u32,
    /// How long it has to be calm for a storm to be over.
    pub storm_calm: Duration,
}

pub(super) fn keep(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_hours(1), Duration::from_hours(3660 * 24), "1h and 3660d")
}

pub(super) fn pace(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_hours(24), "1s and 1d")
}

fn between(text: &str, least: Duration, most: Duration, name: &str) -> Result<Duration, String> {
    let time = super::parse::duration(text)?;
    if time < least || time > most {
        return Err(format!("\"{text}\" is not between {name}"));
    }
    Ok(time)
}

pub(super) fn most(text: &str) -> Result<i64, String> {
    match super::parse::number::<i64>(text)? {
        n if n >= 10 => Ok(n),
        _ => Err("must be at least 10".to_owned()),
    }
}
