//! When a channel is quiet, and when its digests are due: pure functions of the time.

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Timelike, Utc, Weekday,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Hours in which a channel is told nothing: from a time of the day on some days, to the next time
/// that the clock shows the other one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QuietHours)]
pub struct Quiet {
    /// "22:00".
    pub from: String,
    /// "07:00": of the next day where it is not after `from`.
    pub to: String,
    /// "Europe/Berlin".
    pub zone: String,
    /// On which days it begins: "mon" to "sun"; none are all.
    #[serde(default)]
    pub days: Vec<String>,
}

/// [`Quiet`], read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
    days: Vec<Weekday>,
}

/// A time of the day.
pub fn time_of(text: &str, field: &str) -> Result<NaiveTime> {
    let wrong = || Error::invalid(format!("{field}: write a time of the day such as \"22:00\""));
    if text.len() != 5 {
        return Err(wrong());
    }
    NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| wrong())
}

/// A zone by its name.
pub fn zone_of(text: &str, field: &str) -> Result<Tz> {
    text.parse().map_err(|_| {
        Error::invalid(format!("{field}: is no time zone; write a name such as \"Europe/Berlin\""))
    })
}

impl Quiet {
    /// Reads it; the error names the field that is wrong.
    pub fn read(&self) -> Result<Hours> {
        let mut days = Vec::new();
        for (index, day) in self.days.iter().enumerate() {
            let day = day.parse::<Weekday>().ok().filter(|_| day.len() <= 9).ok_or_else(|| {
                Error::invalid(format!("quiet.days[{index}]: write one of mon, tue … sun"))
            })?;
            if !days.contains(&day) {
                days.push(day);
            }
        }
        Ok(Hours {
            from: time_of(&self.from, "quiet.from")?,
            to: time_of(&self.to, "quiet.to")?,
            zone: zone_of(&self.zone, "quiet.zone")?,
            days,
        })
    }
}

impl Hours {
    /// Until when it is quiet, if it is at this moment.
    pub fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let today = now.with_timezone(&self.zone).date_naive();
        let begins = [today.checked_sub_days(Days::new(1)), Some(today)];
        begins
            .into_iter()
            .flatten()
            .filter_map(|date| self.span(date))
            .find_map(|(from, to)| (from <= now && now < to).then_some(to))
    }

    /// The quiet hours that begin on a date.
    fn span(&self, date: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        if !self.days.is_empty() && !self.days.contains(&date.weekday()) {
            return None;
        }
        let ends = if self.to > self.from { date } else { date.checked_add_days(Days::new(1))? };
        // A time that there is twice: from the first on, to the last.
        Some((
            instant(self.zone, date, self.from, false)?,
            instant(self.zone, ends, self.to, true)?,
        ))
    }
}

/// The moment at which a clock shows a time on a date; where the clock leaps over it, the moment
/// of the leap.
fn instant(zone: Tz, date: NaiveDate, time: NaiveTime, last: bool) -> Option<DateTime<Utc>> {
    let mut local = date.and_time(time);
    // Clocks leap over an hour or less, but for islands that changed the day.
    for _ in 0..=(25 * 4) {
        let found = zone.from_local_datetime(&local);
        if let Some(found) = if last { found.latest() } else { found.earliest() } {
            let found = found.with_timezone(&Utc);
            if local.time() == time {
                return Some(found);
            }
            // Back to the first minute after the leap.
            let mut first = found;
            for _ in 0..15 {
                let before = first - TimeDelta::minutes(1);
                if before.with_timezone(&zone).naive_local() < date.and_time(time) {
                    break;
                }
                first = before;
            }
            return Some(first);
        }
        local += TimeDelta::minutes(15);
    }
    None
}

/// How often what happens is summed up instead of told at once.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = NotifyDigest)]
pub enum Digest {
    #[default]
    Off,
    Hourly,
    Daily,
}

impl Digest {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
        }
    }

    /// When the next one is due after a moment; `at` is the daily one's time in `zone`.
    pub fn next(self, now: DateTime<Utc>, at: NaiveTime, zone: Tz) -> Option<DateTime<Utc>> {
        match self {
            Self::Off => None,
            Self::Hourly => {
                let local = now.with_timezone(&zone);
                let into = i64::from(local.minute()) * 60 + i64::from(local.second());
                let begun = now
                    - TimeDelta::seconds(into)
                    - TimeDelta::nanoseconds(i64::from(local.nanosecond()));
                Some(begun + TimeDelta::hours(1))
            }
            Self::Daily => {
                let today = now.with_timezone(&zone).date_naive();
                (0..3).find_map(|days| {
                    let date = today.checked_add_days(Days::new(days))?;
                    instant(zone, date, at, false).filter(|due| *due > now)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveTime, Utc};

    use super::{Digest, Quiet};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn quiet(from: &str, to: &str, zone: &str, days: &[&str]) -> super::Hours {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        let (from, to, zone) = (from.to_owned(), to.to_owned(), zone.to_owned());
        Quiet { from, to, zone, days }.read().unwrap()
    }

    #[test]
    fn a_night_is_quiet() {
        let night = quiet("22:00", "07:00", "Europe/Berlin", &[]);
        assert_eq!(night.until(at("2026-11-20T20:59:59Z")), None);
        let end = Some(at("2026-11-21T06:00:00Z"));
        assert_eq!(night.until(at("2026-11-20T21:00:00Z")), end);
        assert_eq!(night.until(at("2026-11-21T05:59:59Z")), end);
        assert_eq!(night.until(at("2026-11-21T06:00:00Z")), None);
        let noon = quiet("12:00", "13:00", "UTC", &[]);
        assert_eq!(noon.until(at("2026-11-20T12:30:00Z")), Some(at("2026-11-20T13:00:00Z")));
        assert_eq!(noon.until(at("2026-11-20T13:00:00Z")), None);
    }

    #[test]
    fn days_are_those_of_its_beginning() {
        // Friday's night, in a zone that is a day ahead of UTC in the morning.
        let night = quiet("22:00", "07:00", "Pacific/Auckland", &["fri"]);
        // 2026-11-20 is a Friday; 22:00 in Auckland (+13) is 09:00 UTC.
        assert_eq!(night.until(at("2026-11-20T08:59:00Z")), None);
        assert_eq!(night.until(at("2026-11-20T09:00:00Z")), Some(at("2026-11-20T18:00:00Z")));
        assert_eq!(night.until(at("2026-11-21T09:00:00Z")), None);
        let whole = quiet("00:00", "00:00", "UTC", &["sat", "sun"]);
        assert_eq!(whole.until(at("2026-11-21T15:00:00Z")), Some(at("2026-11-22T00:00:00Z")));
        assert_eq!(whole.until(at("2026-11-23T00:00:00Z")), None);
    }

    #[test]
    fn clocks_that_are_changed_keep_the_local_hours() {
        let night = quiet("22:00", "07:00", "Europe/Berlin", &[]);
        // 2026-03-29: 02:00 becomes 03:00; the night is an hour shorter.
        assert_eq!(night.until(at("2026-03-28T21:00:00Z")), Some(at("2026-03-29T05:00:00Z")));
        // 2026-10-25: 03:00 becomes 02:00; an hour longer.
        assert_eq!(night.until(at("2026-10-24T20:00:00Z")), Some(at("2026-10-25T06:00:00Z")));
        // An end that there is not: the leap itself. One that there is twice: the second.
        let gap = quiet("01:00", "02:30", "Europe/Berlin", &[]);
        assert_eq!(gap.until(at("2026-03-29T00:30:00Z")), Some(at("2026-03-29T01:00:00Z")));
        let twice = quiet("01:00", "02:30", "Europe/Berlin", &[]);
        assert_eq!(twice.until(at("2026-10-25T00:45:00Z")), Some(at("2026-10-25T01:30:00Z")));
        // A beginning that there is not.
        let gap = quiet("02:30", "06:00", "Europe/Berlin", &[]);
        assert_eq!(gap.until(at("2026-03-29T00:59:00Z")), None);
        assert_eq!(gap.until(at("2026-03-29T01:00:00Z")), Some(at("2026-03-29T04:00:00Z")));
    }

    #[test]
    fn digests_are_due() {
        let eight = NaiveTime::from_hms_opt(8, 0, 0).unwrap();
        let berlin = chrono_tz::Europe::Berlin;
        let daily = |now| Digest::Daily.next(at(now), eight, berlin).unwrap();
        assert_eq!(daily("2026-11-20T06:59:59Z"), at("2026-11-20T07:00:00Z"));
        assert_eq!(daily("2026-11-20T07:00:00Z"), at("2026-11-21T07:00:00Z"));
        // Summer time begins in between.
        assert_eq!(daily("2026-03-28T07:00:00Z"), at("2026-03-29T06:00:00Z"));
        let missing = NaiveTime::from_hms_opt(2, 30, 0).unwrap();
        let due = Digest::Daily.next(at("2026-03-28T12:00:00Z"), missing, berlin);
        assert_eq!(due, Some(at("2026-03-29T01:00:00Z")));
        let hourly = |now, zone| Digest::Hourly.next(at(now), eight, zone).unwrap();
        assert_eq!(hourly("2026-11-20T06:59:59Z", berlin), at("2026-11-20T07:00:00Z"));
        assert_eq!(hourly("2026-11-20T07:00:00Z", berlin), at("2026-11-20T08:00:00Z"));
        let kolkata = chrono_tz::Asia::Kolkata;
        assert_eq!(hourly("2026-11-20T07:00:00Z", kolkata), at("2026-11-20T07:30:00Z"));
        assert_eq!(Digest::Off.next(at("2026-11-20T07:00:00Z"), eight, berlin), None);
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        let good = Quiet {
            from: "22:00".to_owned(),
            to: "07:00".to_owned(),
            zone: "UTC".to_owned(),
            days: vec!["mon".to_owned()],
        };
        assert!(good.read().is_ok());
        for (wrong, field) in [
            (Quiet { from: "24:00".to_owned(), ..good.clone() }, "quiet.from"),
            (Quiet { to: "7".to_owned(), ..good.clone() }, "quiet.to"),
            (Quiet { zone: "Berlin".to_owned(), ..good.clone() }, "quiet.zone"),
            (
                Quiet { days: vec!["mon".to_owned(), "x".to_owned()], ..good.clone() },
                "quiet.days[1]",
            ),
        ] {
            let why = wrong.read().unwrap_err().to_string();
            assert!(why.starts_with(field), "{why}");
        }
    }
}
