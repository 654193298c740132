//! gunicorn's error log: `[2026-11-20 12:53:02 +0000] [2962] [INFO] Starting gunicorn`,
//! and that of releases before 19, without brackets around the time.

use super::{Context, Head, level};
use crate::logs::{
    record::{Fields, Kind, Logger},
    time,
};

/// The place after `[…] ` at `at`, and what is in the brackets.
fn brackets(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?.strip_prefix(b"[")?;
    let close = memchr::memchr(b']', &rest[..rest.len().min(24)])?;
    let after = at + close + 2;
    Some((&rest[..close], after + usize::from(bytes.get(after) == Some(&b' '))))
}

/// `[pid] [LEVEL] ` at `at`.
fn tail(bytes: &[u8], at: usize) -> Option<(u32, &[u8], usize)> {
    let (pid, at) = brackets(bytes, at)?;
    let pid = std::str::from_utf8(pid).ok()?.parse().ok()?;
    let (level, at) = brackets(bytes, at)?;
    Some((pid, level, at))
}

/// Where `[pid]` begins, behind the time.
fn stamped(bytes: &[u8]) -> Option<(time::Stamp, usize)> {
    if let Some(inner) = bytes.strip_prefix(b"[") {
        let stamp = time::iso(inner)?;
        bytes.get(stamp.len + 1..)?.starts_with(b"] [").then_some((stamp, stamp.len + 3))
    } else {
        let stamp = time::iso(bytes)?;
        bytes.get(stamp.len..)?.starts_with(b" [").then_some((stamp, stamp.len + 1))
    }
}

pub(super) fn starts(line: &[u8]) -> bool {
    stamped(line)
        .and_then(|(_, at)| tail(line, at))
        .is_some_and(|(_, name, _)| level::word(name).is_some())
}

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    let bytes = text.as_bytes();
    let (stamp, at) = stamped(bytes)?;
    let (pid, name, message_at) = tail(bytes, at)?;
    Some(Head {
        kind: Kind::Gunicorn,
        at: stamp.to_utc(context.zone),
        severity: level::word(name)?,
        message_at,
        fields: Fields::Logger(Logger { pid: Some(pid), ..Logger::default() }),
    })
}
