//! The only caller of the system clock: everything else takes `now` as a value,
//! so that time can be reasoned about and tested.

use std::time::Instant;

use chrono::{DateTime, SubsecRound, Utc};

/// The current time as both databases can keep it: PostgreSQL stores
/// microseconds, so a finer value would not read back equal.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// The monotonic clock, for durations: it does not jump when the wall clock does.
pub fn instant() -> Instant {
    Instant::now()
}
