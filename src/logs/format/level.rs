//! Levels as programs spell them.

use crate::logs::record::Severity;

/// The severity a level word stands for: syslog, Python, nginx, pino, PostgreSQL.
pub(super) fn word(text: &[u8]) -> Option<Severity> {
    const WORDS: &[(&[u8], Severity)] = &[
        (b"info", Severity::Info),
        (b"error", Severity::Error),
        (b"warning", Severity::Warning),
        (b"debug", Severity::Debug),
        (b"critical", Severity::Critical),
        (b"warn", Severity::Warning),
        (b"notice", Severity::Notice),
        (b"fatal", Severity::Critical),
        (b"err", Severity::Error),
        (b"crit", Severity::Critical),
        (b"alert", Severity::Critical),
        (b"emerg", Severity::Critical),
        (b"emergency", Severity::Critical),
        (b"panic", Severity::Critical),
        (b"exception", Severity::Error),
        (b"severe", Severity::Error),
        (b"trace", Severity::Debug),
        (b"information", Severity::Info),
        (b"log", Severity::Info),
    ];
    WORDS.iter().find(|(known, _)| text.eq_ignore_ascii_case(known)).map(|(_, severity)| *severity)
}

/// Python's and pino's numbers: 10 debug … 50 critical (Python), 60 fatal (pino).
/// They differ at 30 to 50, where pino's are milder; the field's name tells them apart.
pub(super) fn number(number: u64, pino: bool) -> Severity {
    match (number, pino) {
        (0..=7, _) => syslog(number),
        (8..20, _) | (20..30, true) => Severity::Debug,
        (30..40, true) | (20..30, false) => Severity::Info,
        (40..50, true) | (30..40, false) => Severity::Warning,
        (50..60, true) | (40..50, false) => Severity::Error,
        _ => Severity::Critical,
    }
}

/// The journal's PRIORITY, syslog's severity.
pub(super) fn syslog(priority: u64) -> Severity {
    match priority {
        0..=2 => Severity::Critical,
        3 => Severity::Error,
        4 => Severity::Warning,
        5 => Severity::Notice,
        6 => Severity::Info,
        _ => Severity::Debug,
    }
}

/// The severity of an answer to a request. nginx logs none: a 5xx is the server's
/// fault, 499 means that the client gave up waiting, other 4xx are mostly robots.
pub(super) fn status(status: u16) -> Severity {
    match status {
        500.. => Severity::Error,
        499 | 444 => Severity::Warning,
        _ => Severity::Info,
    }
}

/// The severity that a text without known head tells: a traceback, or a word that
/// stands as a level among the first ones (`ERROR`, `[warn]`, `error:`, `level=error`); PHP's and
/// Go's own words.
pub(super) fn told(text: &[u8]) -> Option<Severity> {
    if text.starts_with(b"Traceback (most recent call last)") || text.starts_with(b"  + Exception")
    {
        return Some(Severity::Error);
    }
    if text.starts_with(b"http: panic serving ") {
        return Some(Severity::Error);
    }
    if let Some(said) = text.strip_prefix(b"PHP ") {
        const SAID: [(&[u8], Severity); 6] = [
            (b"Fatal error:", Severity::Error),
            (b"Parse error:", Severity::Error),
            (b"Recoverable fatal error:", Severity::Error),
            (b"Warning:", Severity::Warning),
            (b"Notice:", Severity::Notice),
            (b"Deprecated:", Severity::Notice),
        ];
        let known = SAID.iter().find(|(words, _)| said.starts_with(words));
        if let Some((_, severity)) = known {
            return Some(*severity);
        }
    }
    let head = &text[..text.len().min(160)];
    let head = memchr::memchr(b'\n', head).map_or(head, |end| &head[..end]);
    let mut at = 0;
    while at < head.len() {
        let start = at;
        while at < head.len() && head[at].is_ascii_alphabetic() {
            at += 1;
        }
        if at - start >= 3
            && let Some(severity) = word(&head[start..at])
        {
            let before = start.checked_sub(1).map(|at| head[at]);
            let after = head.get(at).copied();
            let shouted = head[start..at].iter().all(u8::is_ascii_uppercase)
                && !matches!(after, Some(b'_' | b'-' | b'.'))
                && !matches!(before, Some(b'_' | b'-' | b'.' | b'/'));
            let framed = matches!((before, after), (Some(b'['), Some(b']')))
                || (matches!(before, Some(b'=' | b'"'))
                    && head[..start]
                        .to_ascii_lowercase()
                        .windows(3)
                        .any(|w| w == b"lev" || w == b"lvl"));
            let leads = start == 0 && after == Some(b':');
            if shouted || framed || leads {
                return Some(severity);
            }
        }
        at += 1;
    }
    None
}
