//! Which format a source has, and what a container runtime put before its lines.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::{json::Key, start, starts_plainly};
use crate::logs::{record::Kind, time};

/// Lines that are looked at.
const LINES: usize = 300;

/// The kind of a log from its file name (a hint; may be empty) and its first lines.
/// [`Kind::Plain`] where nothing is recognised, never [`Kind::Auto`].
pub fn detect(name: &str, head: &[u8]) -> Kind {
    // "-- No entries --", "-- Boot … --"
    if is_export(head) || head.starts_with(b"-- ") && head.trim_ascii_end().ends_with(b" --") {
        return Kind::Journal;
    }
    let hint = named(name);
    let mut counts: Vec<(Kind, usize)> = Vec::new();
    let mut foreign = 0;
    let cut_off = head.last() != Some(&b'\n');
    let mut lines = head.split(|byte| *byte == b'\n').take(LINES).peekable();
    while let Some(line) = lines.next() {
        if cut_off && lines.peek().is_none() && !counts.is_empty() {
            break;
        }
        let unwrapped = strip(line);
        let line = unwrapped.as_ref().map_or(line, |(inner, _)| inner);
        match start(line, hint.unwrap_or(Kind::Plain)) {
            Some(Kind::Json) if journal_json(line) => count(&mut counts, Kind::Journal),
            Some(kind) => count(&mut counts, kind),
            None => foreign += usize::from(starts_plainly(line)),
        }
    }
    let known: usize = counts.iter().map(|(_, count)| count).sum();
    // of equally frequent kinds the one that the name promises
    let best = counts.into_iter().max_by_key(|(kind, count)| (*count, Some(*kind) == hint));
    match best {
        Some((kind, _)) if known * 10 >= foreign => kind,
        Some(_) => Kind::Plain,
        // nothing but continuation lines, or nothing at all: believe the name
        None if foreign == 0 => hint.unwrap_or(Kind::Plain),
        None => match hint {
            // the name promises a format whose lines would have been recognised,
            // except where such a program's output is often mixed with others'
            Some(kind @ (Kind::Gunicorn | Kind::Python)) if foreign < 3 => kind,
            _ => Kind::Plain,
        },
    }
}

/// Whether the text is in the journal's export format.
pub(in crate::logs) fn is_export(head: &[u8]) -> bool {
    head.starts_with(b"__CURSOR=") || head.starts_with(b"__REALTIME_TIMESTAMP=")
}

fn journal_json(line: &[u8]) -> bool {
    let has = |key: &[u8]| memchr::memmem::find(line, key).is_some();
    has(b"\"__CURSOR\"") || has(b"\"__REALTIME_TIMESTAMP\"")
}

fn count(counts: &mut Vec<(Kind, usize)>, kind: Kind) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, count)) => *count += 1,
        None => counts.push((kind, 1)),
    }
}

fn named(name: &str) -> Option<Kind> {
    const NAMES: [(&str, Kind); 12] = [
        ("access", Kind::NginxAccess),
        ("gunicorn", Kind::Gunicorn),
        ("nginx", Kind::NginxError),
        ("postgres", Kind::Postgres),
        ("redis", Kind::Redis),
        ("kern", Kind::Kernel),
        ("dmesg", Kind::Kernel),
        ("journal", Kind::Journal),
        ("syslog", Kind::Journal),
        ("messages", Kind::Journal),
        (".json", Kind::Json),
        ("error.log", Kind::NginxError),
    ];
    let name = name.to_ascii_lowercase();
    NAMES.iter().find(|(part, _)| name.contains(part)).map(|(_, kind)| *kind)
}

/// A line and when its prefix says it was written.
type Unwrapped<'a> = (Cow<'a, [u8]>, Option<DateTime<Utc>>);

/// A line without what Docker (`logs -t`, compose, json-file) or a CRI runtime put
/// before it, and the time that stood there. `None` where there is no such thing.
pub(in crate::logs) fn strip(line: &[u8]) -> Option<Unwrapped<'_>> {
    match line.first()? {
        b'{' => {
            if !line.starts_with(b"{\"log\":\"") {
                return None;
            }
            let wrapped: Wrapped<'_> = serde_json::from_slice(line).ok()?;
            let text = wrapped.log.0.into_owned();
            let at = time::iso(wrapped.time.0.as_bytes())
                .and_then(|stamp| stamp.to_utc(time::Zone::Local));
            Some((Cow::Owned(text.trim_end_matches('\n').as_bytes().to_vec()), at))
        }
        b'0'..=b'9' => {
            let stamp = time::iso(line).filter(|stamp| {
                stamp.fraction == 9 && stamp.has_zone() && line.get(10) == Some(&b'T')
            })?;
            let rest = line.get(stamp.len..)?.strip_prefix(b" ").unwrap_or_default();
            let rest = [&b"stdout F "[..], b"stderr F ", b"stdout P ", b"stderr P "]
                .iter()
                .find_map(|stream| rest.strip_prefix(*stream))
                .unwrap_or(rest);
            Some((Cow::Borrowed(rest), stamp.to_utc(time::Zone::Local)))
        }
        byte if byte.is_ascii_alphabetic() => {
            // compose: "web-1  | text"
            let head = &line[..line.len().min(80)];
            let bar = memchr::memchr(b'|', head)?;
            let name = head[..bar].trim_ascii_end();
            let fits = bar > name.len()
                && name
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
                && name.iter().any(u8::is_ascii_digit)
                && matches!(line.get(bar + 1), None | Some(b' '));
            fits.then(|| (Cow::Borrowed(line.get(bar + 2..).unwrap_or_default()), None))
        }
        _ => None,
    }
}

/// Docker's json-file format.
#[derive(serde::Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    log: Key<'a>,
    #[serde(borrow)]
    time: Key<'a>,
}
