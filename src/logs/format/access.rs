//! Requests that were answered: nginx's and gunicorn's common and combined form,
//! the form of Flask's development server, uvicorn's.

use super::{Context, Head, level};
use crate::logs::{
    record::{Access, Fields, Kind, Severity},
    time,
};

/// How far into a line the time in brackets may begin (long addresses and users).
const HEAD: usize = 300;

/// Whether the line is of this form, and where its `[` or `"` is.
fn anchor(line: &[u8]) -> Option<Anchor> {
    let head = &line[..line.len().min(HEAD)];
    let mut from = 0;
    while let Some(at) = memchr::memchr2(b'[', b'"', &head[from..]).map(|at| at + from) {
        if head[at] == b'"' {
            // uvicorn: `127.0.0.1:61465 - "GET / HTTP/1.1" 200 OK`, maybe after a level
            let before = head[..at].strip_suffix(b" - ")?;
            let client = memchr::memrchr(b' ', before).map_or(before, |blank| &before[blank + 1..]);
            let port = memchr::memrchr(b':', client)?;
            let digits =
                client.len() > port + 1 && client[port + 1..].iter().all(u8::is_ascii_digit);
            let ends = client[0].is_ascii_hexdigit() || client[0] == b'[';
            return (digits && ends).then_some(Anchor::Quote(at));
        }
        if at >= 2 && head[at - 1] == b' ' && line.len() > at + 21 && dated(&line[at + 1..at + 13])
        {
            return Some(Anchor::Time(at));
        }
        from = at + 1;
    }
    None
}

/// Whether it has the shape of `20/Nov/2026:`.
fn dated(text: &[u8]) -> bool {
    text[0].is_ascii_digit()
        && text[2] == b'/'
        && text[3].is_ascii_alphabetic()
        && text[6] == b'/'
        && text[7..11].iter().all(u8::is_ascii_digit)
        && matches!(text[11], b':' | b' ')
}

enum Anchor {
    /// The `[` before the time.
    Time(usize),
    /// The `"` before the request, where there is no time.
    Quote(usize),
}

pub(super) fn starts(line: &[u8]) -> bool {
    anchor(line).is_some()
}

/// The next quoted field at or after `at`: its bounds and the place after it. nginx
/// escapes quotes inside as `\x22`, gunicorn and Apache as `\"`.
fn quoted(bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let open = at + memchr::memchr(b'"', bytes.get(at..)?)?;
    let mut from = open + 1;
    loop {
        let close = from + memchr::memchr(b'"', bytes.get(from..)?)?;
        let slashes = bytes[open + 1..close].iter().rev().take_while(|b| **b == b'\\').count();
        if slashes % 2 == 0 {
            return Some((open + 1, close, close + 1));
        }
        from = close + 1;
    }
}

fn number(bytes: &[u8], at: usize) -> (u64, usize) {
    let mut at = at;
    let mut number = 0_u64;
    while let Some(byte) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    (number, at)
}

fn blanks(bytes: &[u8], at: usize) -> usize {
    at + bytes[at.min(bytes.len())..].iter().take_while(|byte| **byte == b' ').count()
}

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    let bytes = text.as_bytes();
    let (at, quote, client) = match anchor(bytes)? {
        Anchor::Time(open) => {
            let stamp = time::common(&bytes[open + 1..])?;
            let client = client(text.get(..open)?);
            (stamp.to_utc(context.zone), open + 1 + stamp.len, client)
        }
        Anchor::Quote(open) => {
            let before = text.get(..open - 3)?;
            let client = before.rsplit(' ').next().unwrap_or_default();
            (None, open, client.rsplit_once(':').map_or(client, |(host, _)| host))
        }
    };
    let line = memchr::memchr(b'\n', bytes).map_or(bytes, |end| &bytes[..end]);
    let mut access = Access { client, ..Access::default() };
    let mut message_at = quote;
    if let Some((from, to, after)) = quoted(line, quote) {
        message_at = from - 1;
        let request = text.get(from..to).unwrap_or_default();
        if let Some(blank) = memchr::memchr(b' ', request.as_bytes())
            && let (method, rest) = (&request[..blank], &request[blank + 1..])
            && !method.is_empty()
            && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
        {
            access.method = method;
            access.target = target(rest);
        } else {
            access.target = request;
        }
        let (status, end) = number(line, blanks(line, after));
        access.status = u16::try_from(status).unwrap_or_default();
        let (size, mut end) = number(line, blanks(line, end));
        access.bytes = size;
        if let Some((from, to, after)) = quoted(line, end) {
            access.referrer = dash(text.get(from..to));
            end = after;
            if let Some((from, to, after)) = quoted(line, end) {
                access.agent = dash(text.get(from..to));
                end = after;
            }
        }
        access.duration = line.get(end..).and_then(duration);
    }
    Some(Head {
        kind: Kind::NginxAccess,
        at,
        severity: if access.status == 0 { Severity::Info } else { level::status(access.status) },
        message_at,
        fields: Fields::Access(access),
    })
}

/// The client before the time: `203.0.113.10 - bob `.
fn client(before: &str) -> &str {
    let Some(blank) = memchr::memchr(b' ', before.as_bytes()) else { return before };
    let (first, rest) = (&before[..blank], &before[blank + 1..]);
    if rest.starts_with("- ") {
        return first;
    }
    // Apache's and nginx's "vhost" forms put the server's name first
    match rest.split_once(' ') {
        Some((second, rest)) if rest.starts_with("- ") => second,
        _ => first,
    }
}

/// `/path HTTP/1.1` without the protocol.
pub(super) fn target(rest: &str) -> &str {
    match memchr::memrchr(b' ', rest.as_bytes()) {
        Some(blank) if rest.as_bytes()[blank..].starts_with(b" HTTP/") => &rest[..blank],
        _ => rest,
    }
}

fn dash(field: Option<&str>) -> &str {
    field.filter(|field| *field != "-").unwrap_or_default()
}

/// What people append: `0.123`, `"0.123"`, `rt=0.123 uct="0.000" …`: the first
/// number with a fraction, in seconds.
fn duration(rest: &[u8]) -> Option<f64> {
    if rest.len() < 4 {
        return None;
    }
    let rest = std::str::from_utf8(&rest[..rest.len().min(200)]).ok()?;
    rest.split([' ', '"', ',']).find_map(|token| {
        let value = token.rsplit_once('=').map_or(token, |(_, value)| value);
        let (whole, part) = value.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits(whole) && digits(part)).then(|| value.parse().ok()).flatten()
    })
}
