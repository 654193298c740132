//! `[notify]`: how long is waited before something is told.

use std::time::Duration;

/// `[notify]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// How long a new error waits, to see whether it is one of many.
    pub grace: Duration,
    /// How long a part of Lux has to be ill, or well again, before that is told.
    pub settle: Duration,
    /// How often is looked for what is to be told.
    pub poll: Duration,
}

pub(super) fn grace(text: &str) -> Result<Duration, String> {
    between(text, Duration::ZERO, Duration::from_mins(10), "0s and 10m")
}

pub(super) fn poll(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(100), Duration::from_mins(1), "100ms and 1m")
}

fn between(text: &str, least: Duration, most: Duration, name: &str) -> Result<Duration, String> {
    let time = super::parse::duration(text)?;
    if time < least || time > most {
        return Err(format!("\"{text}\" is not between {name}"));
    }
    Ok(time)
}
