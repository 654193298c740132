//! Redis: `1234:M 20 Nov 2026 12:53:11.123 * Ready to accept connections`.

use super::{Context, Head, level};
use crate::logs::{
    record::{Fields, Kind, Logger, Severity},
    time,
};

/// The pid and the place after `:M `.
fn process(bytes: &[u8]) -> Option<(u32, usize)> {
    let colon = memchr::memchr(b':', &bytes[..bytes.len().min(11)])?;
    let pid = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let role = matches!(bytes.get(colon + 1), Some(b'X' | b'C' | b'S' | b'M'));
    (role && bytes.get(colon + 2) == Some(&b' ')).then_some((pid, colon + 3))
}

pub(super) fn starts(line: &[u8]) -> bool {
    process(line).is_some()
}

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    let bytes = text.as_bytes();
    let (pid, mut at) = process(bytes)?;
    let stamp = time::words(&bytes[at..]);
    if let Some(stamp) = stamp {
        at = (at + stamp.len + 1).min(bytes.len());
    }
    let mut severity = match bytes.get(at) {
        Some(b'#') => Severity::Warning,
        Some(b'*') => Severity::Notice,
        Some(b'.') => Severity::Debug,
        _ => Severity::Info,
    };
    if matches!(bytes.get(at), Some(b'#' | b'*' | b'.' | b'-')) {
        at = (at + 2).min(bytes.len());
    }
    // Redis knows no level above warning; its fatal errors say so in words
    if severity == Severity::Warning
        && let Some(rest) = text.get(at..)
        && (rest.contains("rror") || rest.contains("atal") || rest.contains("Can't"))
    {
        severity = Severity::Error;
    }
    if let Some(told) = bytes.get(at..).and_then(level::told) {
        severity = severity.max(told);
    }
    Some(Head {
        kind: Kind::Redis,
        at: stamp.and_then(|stamp| stamp.to_utc(context.zone)),
        severity,
        message_at: at,
        fields: Fields::Logger(Logger { pid: Some(pid), ..Logger::default() }),
    })
}
