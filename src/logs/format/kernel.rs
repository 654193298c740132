//! The kernel's ring buffer: `dmesg --time-format iso` and plain `dmesg`.

use super::{Context, Head};
use crate::logs::{
    record::{Fields, Kind, Severity},
    time,
};

/// `[   12.345678] ` (after `<6>` or not): the place after it. It counts from boot,
/// so there is no time to be had.
fn since_boot(bytes: &[u8]) -> Option<usize> {
    let prefix = match bytes {
        [b'<', b'0'..=b'9', b'>', ..] => 3,
        [b'<', b'0'..=b'9', b'0'..=b'9', b'>', ..] => 4,
        _ => 0,
    };
    let rest = bytes.get(prefix..)?.strip_prefix(b"[")?;
    let blanks = rest.iter().take_while(|b| **b == b' ').count();
    let whole = rest[blanks..].iter().take_while(|b| b.is_ascii_digit()).count();
    let point = blanks + whole;
    let part = rest.get(point + 1..)?.iter().take_while(|b| b.is_ascii_digit()).count();
    let close = point + 1 + part;
    let fits = whole > 0 && part == 6 && rest[point] == b'.' && rest.get(close) == Some(&b']');
    let after = prefix + 1 + close + 1;
    fits.then(|| after + usize::from(bytes.get(after) == Some(&b' ')))
}

/// `2026-11-20T12:53:20,003510+00:00 `
fn iso(bytes: &[u8]) -> Option<time::Stamp> {
    (bytes.get(10) == Some(&b'T') && bytes.get(19) == Some(&b','))
        .then(|| time::iso(bytes))
        .flatten()
        .filter(|stamp| stamp.fraction == 6 && stamp.has_zone())
}

pub(super) fn starts(line: &[u8]) -> bool {
    since_boot(line).is_some() || iso(line).is_some()
}

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    let bytes = text.as_bytes();
    let (at, message_at) = match since_boot(bytes) {
        Some(after) => (None, after),
        None => iso(bytes).map(|stamp| (stamp.to_utc(context.zone), stamp.len + 1))?,
    };
    let message_at = message_at.min(bytes.len());
    Some(Head {
        kind: Kind::Kernel,
        at,
        severity: severity(text.get(message_at..).unwrap_or_default()),
        message_at,
        fields: Fields::None,
    })
}

/// dmesg prints no priority; these are what the kernel logs at error or worse and an
/// application's operator cares for.
pub(super) fn severity(message: &str) -> Severity {
    const ERRORS: [&str; 8] = [
        "Out of memory",
        "out of memory",
        "oom-kill:",
        "I/O error",
        "EXT4-fs error",
        "segfault at",
        "general protection",
        "BUG:",
    ];
    const WARNINGS: [&str; 4] =
        ["invoked oom-killer", "hung_task", "blocked for more than", "traps:"];
    if ERRORS.iter().any(|part| message.contains(part)) {
        Severity::Error
    } else if WARNINGS.iter().any(|part| message.contains(part)) {
        Severity::Warning
    } else {
        Severity::Info
    }
}
