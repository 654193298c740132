//! `[repair]` and `[schedule]`: how a repair is verified, and when what is done unasked.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use croner::parser::{CronParser, Seconds, Year};
use serde::{Serialize, Serializer};

/// `[repair]`: how a repair is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Green checks in a row.
    pub passes: u32,
    pub spacing: Duration,
    /// Whether the request of a new error is tried while the error is live, so that a
    /// later pass means something.
    pub try_failing: bool,
    /// Requests a second that probes may send to one origin, by each replica.
    pub probes_per_second: u32,
    /// Paths that are never asked for because an error names them: part of a path from a
    /// `/` on ("/logout"), or a pattern with `*` for the whole path ("*cron*").
    pub never_probe: Vec<String>,
    /// The program that is asked for the state of units.
    pub systemctl: String,
    /// Whether anything of `[[actions]]` may run; off until it is switched on.
    pub actions: bool,
    /// How long a proposal waits for its approval, and an approval for its run.
    pub approval_expires: Duration,
    /// How long runs, actions and results of probes are kept; what a standing resolution
    /// rests on stays for as long as it stands.
    pub keep: Duration,
}

/// Asking for these by GET changes something in real applications.
pub(super) const NEVER_PROBE: &str = "/logout, /log-out, /signout, /sign-out, /delete, /remove, \
                                      /destroy, /purge, /unsubscribe, /export, *cron*";

/// `[schedule]`: cron expressions, and the zone they are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// `None` is off.
    pub repair: Option<Cron>,
    pub clear: Option<Cron>,
    /// How old a resolved event is when it is removed.
    pub clear_older_than: Duration,
    pub timezone: chrono_tz::Tz,
}

/// A cron expression of five fields, as it was written and as it is computed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    cron: croner::Cron,
}

impl Deref for Cron {
    type Target = croner::Cron;

    fn deref(&self) -> &croner::Cron {
        &self.cron
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = String;

    /// Errors say what is wrong and what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|error| {
            let error = error.to_string();
            format!(
                "\"{text}\" is no cron expression ({}); write minute, hour, day, month and \
                 weekday, like \"0 */6 * * *\", or \"off\"",
                error.trim_end_matches('.')
            )
        })?;
        // Asked from a fixed day on, so that the answer does not depend on today.
        if cron.find_next_occurrence(&chrono::DateTime::UNIX_EPOCH, true).is_err() {
            return Err(format!("\"{text}\" never comes: no month has such a day"));
        }
        Ok(Self { text, cron })
    }
}

/// A cron expression; "off" and the empty text turn a schedule off.
pub(super) fn cron(text: &str) -> Result<Option<Cron>, String> {
    match text.trim() {
        "" | "off" => Ok(None),
        text => text.parse().map(Some),
    }
}

/// How long the past is kept: longer than any cooldown, which is counted from it.
pub(super) fn keep(text: &str) -> Result<Duration, String> {
    let keep = super::parse::duration(text)?;
    if keep < Duration::from_hours(8 * 24) || keep > Duration::from_hours(3660 * 24) {
        return Err(format!("\"{text}\" is not between 8d and 3660d (ten years)"));
    }
    Ok(keep)
}

/// An age that `POST /api/auto-repair/clear` takes, too.
pub(super) fn clear_age(text: &str) -> Result<Duration, String> {
    let age = super::parse::duration(text)?;
    if age < Duration::from_hours(1) || age > Duration::from_hours(8760) {
        return Err(format!("\"{text}\" is not between 1h and 8760h (a year)"));
    }
    Ok(age)
}
