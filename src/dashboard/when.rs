//! Times as people read them. The page's script shows them in the viewer's zone; without it
//! they are in UTC and say so.

use askama::filters::Safe;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// How long ago, the exact time one hover away: "12 min ago".
pub fn ago(at: &DateTime<Utc>, now: &DateTime<Utc>) -> Safe<String> {
    element(at, "ago", &format!("{} ago", span(*now - *at)))
}

/// How long until, for what is to come: "in 5 min".
pub fn until(at: &DateTime<Utc>, now: &DateTime<Utc>) -> Safe<String> {
    element(at, "until", &format!("in {}", span(*at - *now)))
}

/// Date and time to the second.
pub fn full(at: &DateTime<Utc>) -> Safe<String> {
    element(at, "full", &at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// The time of the day to the second, for what happened today or nearly so.
pub fn clock(at: &DateTime<Utc>) -> Safe<String> {
    element(at, "clock", &at.format("%H:%M:%S").to_string())
}

fn element(at: &DateTime<Utc>, kind: &str, text: &str) -> Safe<String> {
    let exact = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let title = at.format("%Y-%m-%d %H:%M:%S UTC");
    Safe(format!("<time datetime=\"{exact}\" data-when=\"{kind}\" title=\"{title}\">{text}</time>"))
}

/// A span in its largest unit: "3 s", "12 min", "5 h", "4 days".
pub fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};

    use super::{ago, span};

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn the_exact_time_is_in_the_element() {
        let at = Utc.with_ymd_and_hms(2026, 11, 20, 13, 58, 7).unwrap();
        let text = ago(&at, &(at + TimeDelta::minutes(31))).0;
        assert_eq!(
            text,
            "<time datetime=\"2026-11-20T13:58:07.000Z\" data-when=\"ago\" \
             title=\"2026-11-20 13:58:07 UTC\">31 min ago</time>"
        );
    }
}
