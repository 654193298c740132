//! The only caller of the system clock: everything else takes `now` as a value,
//! so that time can be reasoned about and tested.

use std::time::Instant;

use chrono::{DateTime, SubsecRound, Utc};

/// The end of the year 9999: after all times that are kept.
pub const FOREVER: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 0).expect("a valid time");

/// The current time as both databases can keep it: PostgreSQL stores
/// microseconds, so a finer value would not read back equal.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// The nearest time that can be compared with what is kept, all of which is of 1970 to 9999:
/// callers name years that PostgreSQL does not know.
pub fn near(at: DateTime<Utc>) -> DateTime<Utc> {
    at.clamp(DateTime::UNIX_EPOCH, FOREVER)
}

/// The monotonic clock, for durations: it does not jump when the wall clock does.
pub fn instant() -> Instant {
    Instant::now()
}
