//! `[repair]` and `[schedule]`: how a repair is verified, and when what is done unasked.

use std::time::Duration;

use serde::Serialize;

/// `[repair]`: how a repair is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Green checks in a row.
    pub passes: u32,
    pub spacing: Duration,
    /// Requests a second that probes may send to one origin, by each replica.
    pub probes_per_second: u32,
    /// Paths that are never asked for because an error names them: part of a path from a
    /// `/` on ("/logout"), or a pattern with `*` for the whole path ("*cron*").
    pub never_probe: Vec<String>,
    /// The program that is asked for the state of units.
    pub systemctl: String,
}

/// Asking for these by GET changes something in real applications.
pub(super) const NEVER_PROBE: &str = "/logout, /log-out, /signout, /sign-out, /delete, /remove, \
                                      /destroy, /purge, /unsubscribe, /export, *cron*";

/// `[schedule]`: cron expressions, and the zone they are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    pub repair: Option<String>,
    pub clear: Option<String>,
    pub clear_older_than: Duration,
    pub timezone: chrono_tz::Tz,
}
