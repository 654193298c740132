//! `[repair]` and `[schedule]`: how a repair is verified, and when what is done unasked.

use std::time::Duration;

use serde::Serialize;

/// `[repair]`: how a repair is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Green checks in a row.
    pub passes: u32,
    pub spacing: Duration,
    /// Whether anything of `[[actions]]` may run; off until it is switched on.
    pub actions: bool,
    /// How long a proposal waits for its approval, and an approval for its run.
    pub approval_expires: Duration,
}

/// `[schedule]`: cron expressions, and the zone they are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    pub repair: Option<String>,
    pub clear: Option<String>,
    pub clear_older_than: Duration,
    pub timezone: chrono_tz::Tz,
}
