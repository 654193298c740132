//! Times as logs write them, to UTC.

use chrono::{DateTime, Datelike, Local, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};

/// Where times that name no zone were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// The zone of this host.
    #[default]
    Local,
    Named(chrono_tz::Tz),
}

impl Zone {
    /// An hour that occurs twice is taken as its first, one that was skipped by the
    /// clocks as if they had not been moved yet.
    fn to_utc(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self {
            Self::Local => in_zone(&Local, local),
            Self::Named(zone) => in_zone(&zone, local),
        }
    }
}

fn in_zone<Z: TimeZone>(zone: &Z, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    if let Some(time) = zone.from_local_datetime(&local).earliest() {
        return Some(time.with_timezone(&Utc));
    }
    let before = local.checked_sub_signed(TimeDelta::hours(3))?;
    let offset = zone.from_local_datetime(&before).earliest()?.offset().fix();
    Some(local.checked_sub_offset(offset)?.and_utc())
}

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Seconds since 1970 as the clock on the wall showed them.
    seconds: i64,
    micros: u32,
    /// Seconds east of UTC, if the text names them.
    offset: Option<i32>,
    /// Digits after the second.
    pub(super) fraction: u8,
    /// Bytes of text it took.
    pub(super) len: usize,
}

impl Stamp {
    pub(super) fn to_utc(self, zone: Zone) -> Option<DateTime<Utc>> {
        let nanos = self.micros * 1000;
        if let Some(offset) = self.offset {
            return DateTime::from_timestamp(self.seconds - i64::from(offset), nanos);
        }
        zone.to_utc(DateTime::from_timestamp(self.seconds, nanos)?.naive_utc())
    }

    pub(super) fn has_zone(self) -> bool {
        self.offset.is_some()
    }
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The number in exactly `count` digits at `at`.
pub(super) fn digits(text: &[u8], at: usize, count: usize) -> Option<i64> {
    let mut number = 0;
    for byte in text.get(at..at + count)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(number)
}

fn month(name: &[u8]) -> Option<i64> {
    const NAMES: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let name: [u8; 3] = name.try_into().ok()?;
    let at = NAMES.chunks(3).position(|known| name.eq_ignore_ascii_case(known))?;
    i64::try_from(at).ok().map(|at| at + 1)
}

fn date(year: i64, month: i64, day: i64) -> Option<i64> {
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| days(year, month, day) * 86_400)
}

/// Seconds of `HH:MM:SS` at `at`.
fn clock(text: &[u8], at: usize) -> Option<i64> {
    let (hour, minute, second) =
        (digits(text, at, 2)?, digits(text, at + 3, 2)?, digits(text, at + 6, 2)?);
    let fits = text[at + 2] == b':' && text[at + 5] == b':';
    (fits && hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// The fraction after `.` or `,` at `at`: microseconds, number of digits, bytes taken.
fn fraction(text: &[u8], at: usize) -> (u32, u8, usize) {
    if !matches!(text.get(at), Some(b'.' | b',')) {
        return (0, 0, 0);
    }
    let (mut micros, mut count) = (0, 0);
    while let Some(byte) = text.get(at + 1 + count).filter(|b| b.is_ascii_digit() && count < 9) {
        if count < 6 {
            micros = micros * 10 + u32::from(byte - b'0');
        }
        count += 1;
    }
    let scale = 10_u32.pow(6 - u32::try_from(count.min(6)).unwrap_or(6));
    (micros * scale, u8::try_from(count).unwrap_or(9), if count == 0 { 0 } else { count + 1 })
}

/// `Z`, `UTC`, `GMT`, `+0000`, `+00:00`, `+00`, with or without a blank before it:
/// seconds east, bytes taken.
fn offset(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let rest = text.get(at..)?;
    let blank = usize::from(rest.first() == Some(&b' '));
    let rest = &rest[blank..];
    let east = match rest.first()? {
        b'Z' if blank == 0 => return Some((0, 1)),
        b'U' | b'G' if rest.starts_with(b"UTC") || rest.starts_with(b"GMT") => {
            return Some((0, blank + 3));
        }
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = digits(rest, 1, 2)?;
    let colon = usize::from(rest.get(3) == Some(&b':'));
    let (minutes, len) = match digits(rest, 3 + colon, 2) {
        Some(minutes) => (minutes, 5 + colon),
        None => (0, 3),
    };
    if hours > 15 || minutes > 59 {
        return None;
    }
    i32::try_from(east * (hours * 3600 + minutes * 60)).ok().map(|seconds| (seconds, blank + len))
}

fn stamp(text: &[u8], day: i64, at: usize) -> Option<Stamp> {
    let seconds = day + clock(text, at)?;
    let (micros, fraction, taken) = fraction(text, at + 8);
    let end = at + 8 + taken;
    let zone = offset(text, end);
    Some(Stamp {
        seconds,
        micros,
        fraction,
        offset: zone.map(|(seconds, _)| seconds),
        len: end + zone.map_or(0, |(_, len)| len),
    })
}

/// `2026-11-20 12:53:05,783`, `2026-11-20T12:53:11.768291+0000`, `2026-11-20 12:53:02 UTC`.
pub(super) fn iso(text: &[u8]) -> Option<Stamp> {
    let head = text.get(..19)?;
    if head[4] != b'-' || head[7] != b'-' || !matches!(head[10], b' ' | b'T' | b't') {
        return None;
    }
    let day = date(digits(head, 0, 4)?, digits(head, 5, 2)?, digits(head, 8, 2)?)?;
    stamp(text, day, 11)
}

/// nginx's error log: `2026/11/20 12:48:26`.
pub(super) fn slashes(text: &[u8]) -> Option<Stamp> {
    let head = text.get(..19)?;
    if head[4] != b'/' || head[7] != b'/' || head[10] != b' ' {
        return None;
    }
    let day = date(digits(head, 0, 4)?, digits(head, 5, 2)?, digits(head, 8, 2)?)?;
    Some(Stamp { seconds: day + clock(head, 11)?, micros: 0, offset: None, fraction: 0, len: 19 })
}

/// Access logs: `20/Nov/2026:12:37:09 +0000`, Flask's `23/Aug/2024 14:39:36`.
pub(super) fn common(text: &[u8]) -> Option<Stamp> {
    let head = text.get(..20)?;
    if head[2] != b'/' || head[6] != b'/' || !matches!(head[11], b':' | b' ') {
        return None;
    }
    let day = date(digits(head, 7, 4)?, month(&head[3..6])?, digits(head, 0, 2)?)?;
    stamp(text, day, 12)
}

/// PHP: `21-Nov-2026 10:00:03`, `21-Nov-2026 10:00:03 UTC`, `21-Nov-2026 10:00:03 Europe/Berlin`.
pub(super) fn php(text: &[u8]) -> Option<Stamp> {
    let head = text.get(..20)?;
    if head[2] != b'-' || head[6] != b'-' || head[11] != b' ' {
        return None;
    }
    let day = date(digits(head, 7, 4)?, month(&head[3..6])?, digits(head, 0, 2)?)?;
    let stamp = stamp(text, day, 12)?;
    let zone = text.get(stamp.len..)?.strip_prefix(b" ").unwrap_or_default();
    let len = zone.iter().take_while(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(b)).count();
    let named = str::from_utf8(&zone[..len]).ok().and_then(|name| name.parse().ok());
    match named {
        Some(zone) if !stamp.has_zone() => {
            let at = stamp.to_utc(Zone::Named(zone))?;
            let offset = i32::try_from(stamp.seconds - at.timestamp()).ok()?;
            Some(Stamp { offset: Some(offset), len: stamp.len + 1 + len, ..stamp })
        }
        _ => Some(stamp),
    }
}

/// Redis: `20 Nov 2026 12:53:11.123`.
pub(super) fn words(text: &[u8]) -> Option<Stamp> {
    let head = text.get(..20)?;
    if head[2] != b' ' || head[6] != b' ' || head[11] != b' ' {
        return None;
    }
    let day = date(digits(head, 7, 4)?, month(&head[3..6])?, digits(head, 0, 2)?)?;
    stamp(text, day, 12)
}

/// syslog: `Nov 20 12:53:11`, `Jul  5 09:13:44`. It names no year: the last one is
/// taken that does not put the time more than a day after `reference`.
pub(super) fn syslog(text: &[u8], reference: DateTime<Utc>) -> Option<Stamp> {
    let head = text.get(..15)?;
    if head[3] != b' ' || head[6] != b' ' {
        return None;
    }
    let month = month(&head[..3])?;
    let day = if head[4] == b' ' { digits(head, 5, 1)? } else { digits(head, 4, 2)? };
    let latest = reference.timestamp() + 86_400;
    let year = i64::from(reference.year()) + 1;
    let of_day = clock(head, 7)?;
    let seconds = (0..3).find_map(|back| {
        let seconds = date(year - back, month, day)? + of_day;
        (seconds <= latest).then_some(seconds)
    })?;
    let (micros, fraction, taken) = fraction(text, 15);
    Some(Stamp { seconds, micros, offset: None, fraction, len: 15 + taken })
}

/// Seconds, milli-, micro- or nanoseconds since 1970, told apart by their size.
pub(super) fn epoch(number: f64) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates; from_* checks")]
    match number {
        n if !(1e8..1e20).contains(&n) => None,
        n if n < 1e11 => DateTime::from_timestamp_micros((n * 1e6).round() as i64),
        n if n < 1e14 => DateTime::from_timestamp_millis(n as i64),
        n if n < 1e17 => DateTime::from_timestamp_micros(n as i64),
        n => DateTime::from_timestamp_micros((n / 1e3) as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(stamp: Option<Stamp>, zone: Zone) -> String {
        stamp
            .and_then(|stamp| stamp.to_utc(zone))
            .map_or_else(|| "none".into(), |time| time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
    }

    const PARIS: Zone = Zone::Named(chrono_tz::Europe::Paris);

    #[test]
    fn times_of_every_form() {
        let all = [
            (iso(b"2026-11-20 12:53:05,783 INFO"), "2026-11-20T11:53:05.783000"),
            (iso(b"2026-11-20T12:53:20,003510+00:00 x"), "2026-11-20T12:53:20.003510"),
            (iso(b"2026-11-20 12:53:02 +0530] [1]"), "2026-11-20T07:23:02.000000"),
            (iso(b"2026-11-20 13:23:35.530 UTC [17038]"), "2026-11-20T13:23:35.530000"),
            (iso(b"2024-04-06T07:51:37-07:00"), "2024-04-06T14:51:37.000000"),
            (iso(b"2024-04-06T07:51:37.123456789Z"), "2024-04-06T07:51:37.123456"),
            (iso(b"2024-13-06T07:51:37Z"), "none"),
            (iso(b"2024-12-06T27:51:37Z"), "none"),
            (slashes(b"2026/11/20 12:48:26 [error]"), "2026-11-20T11:48:26.000000"),
            (common(b"20/Nov/2026:12:37:09 +0000]"), "2026-11-20T12:37:09.000000"),
            (common(b"01/Oct/2020:11:25:58 -0400]"), "2020-10-01T15:25:58.000000"),
            (common(b"23/Aug/2024 14:39:36]"), "2024-08-23T12:39:36.000000"),
            (words(b"20 Nov 2026 12:53:11.123 * x"), "2026-11-20T11:53:11.123000"),
            (php(b"21-Nov-2026 10:00:03] WARNING: x"), "2026-11-21T09:00:03.000000"),
            (php(b"21-Nov-2026 10:00:03 UTC] PHP Fatal"), "2026-11-21T10:00:03.000000"),
            (php(b"21-Jul-2026 10:00:03 America/New_York] x"), "2026-07-21T14:00:03.000000"),
            (php(b"21-Nov-2026 10:00:03 Nowhere/Else] x"), "2026-11-21T09:00:03.000000"),
            (php(b"21-Non-2026 10:00:03] x"), "none"),
        ];
        for (stamp, expected) in all {
            assert_eq!(utc(stamp, PARIS), expected);
        }
    }

    #[test]
    fn summer_time() {
        // 02:30 does not exist on this day in Paris, and exists twice on the other.
        assert_eq!(utc(iso(b"2026-03-29 02:30:00"), PARIS), "2026-03-29T01:30:00.000000");
        assert_eq!(utc(iso(b"2026-10-25 02:30:00"), PARIS), "2026-10-25T00:30:00.000000");
    }

    #[test]
    fn a_year_is_found() {
        let reference = "2026-01-02T00:00:00Z".parse().unwrap();
        let utc = |text: &[u8]| utc(syslog(text, reference), PARIS);
        assert_eq!(utc(b"Dec 31 23:59:59 host x"), "2025-12-31T22:59:59.000000");
        assert_eq!(utc(b"Jan  1 09:13:44 host x"), "2026-01-01T08:13:44.000000");
    }

    #[test]
    fn numbers_since_1970() {
        for number in [1_795_179_191.0, 1_795_179_191e3, 1_795_179_191e6, 1_795_179_191e9] {
            assert_eq!(epoch(number).unwrap().timestamp(), 1_795_179_191, "{number}");
        }
        assert_eq!(epoch(5.0), None);
        assert_eq!(epoch(f64::NAN), None);
    }
}
