//! PostgreSQL's stderr log, with the usual line prefixes.

use super::{Context, Head};
use crate::logs::{
    record::{Fields, Kind, Logger, Severity},
    time,
};

const LEVELS: [(&str, Severity); 15] = [
    ("LOG", Severity::Info),
    ("ERROR", Severity::Error),
    ("FATAL", Severity::Critical),
    ("PANIC", Severity::Critical),
    ("WARNING", Severity::Warning),
    ("NOTICE", Severity::Notice),
    ("INFO", Severity::Info),
    ("DEBUG", Severity::Debug),
    // these belong to the record before them, which has its own severity
    ("STATEMENT", Severity::Info),
    ("DETAIL", Severity::Info),
    ("HINT", Severity::Info),
    ("CONTEXT", Severity::Info),
    ("QUERY", Severity::Info),
    ("LOCATION", Severity::Info),
    ("BACKTRACE", Severity::Info),
];

/// The level (`FATAL:  `, two blanks), where its message begins, and the time.
fn split(bytes: &[u8]) -> Option<(time::Stamp, usize, Severity, usize)> {
    let stamp = time::iso(bytes)?;
    // another zone than UTC by its name: "2026-11-20 13:23:35.530 CET [17038]"
    let named = bytes.get(stamp.len + 1..)?.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let named = usize::from(!stamp.has_zone() && (2..=5).contains(&named)) * (named + 1);
    if !stamp.has_zone() && named == 0 {
        return None;
    }
    let prefix_at = stamp.len + named;
    let window = &bytes[prefix_at..bytes.len().min(prefix_at + 200)];
    let mut from = 0;
    while let Some(colon) = memchr::memmem::find(&window[from..], b":  ").map(|at| at + from) {
        let start =
            window[..colon].iter().rposition(|b| !b.is_ascii_uppercase() && !b.is_ascii_digit());
        let word = &window[start.map_or(0, |at| at + 1)..colon];
        let word = word.strip_suffix(b"1").unwrap_or(word);
        if let Some((_, severity)) = LEVELS.iter().find(|(name, _)| name.as_bytes() == word) {
            return Some((stamp, prefix_at, *severity, prefix_at + colon + 3));
        }
        from = colon + 1;
    }
    None
}

pub(super) fn starts(line: &[u8]) -> bool {
    split(line).is_some()
}

/// `DETAIL`, `HINT`, `STATEMENT` … lines say more about the line before them.
pub(super) fn continues(line: &[u8]) -> bool {
    const MORE: [&[u8]; 7] = [
        b"STATEMENT:  ",
        b"DETAIL:  ",
        b"HINT:  ",
        b"CONTEXT:  ",
        b"QUERY:  ",
        b"LOCATION:  ",
        b"BACKTRACE:  ",
    ];
    split(line).is_some_and(|(_, _, _, at)| MORE.iter().any(|word| line[..at].ends_with(word)))
}

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    let (stamp, prefix_at, severity, message_at) = split(text.as_bytes())?;
    let prefix = text.get(prefix_at..message_at).unwrap_or_default();
    let pid = prefix.split_once('[').and_then(|(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse().ok()
    });
    // "lux@lux": the role and its database
    let name = prefix.split_ascii_whitespace().find(|token| token.contains('@'));
    Some(Head {
        kind: Kind::Postgres,
        at: stamp.to_utc(context.zone),
        severity,
        message_at,
        fields: Fields::Logger(Logger { name, pid, ..Logger::default() }),
    })
}
