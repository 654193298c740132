//! Python's logging in its usual shapes, Flask's, Django's and uvicorn's forms; Monolog's and
//! those of other programs that write a time first.

use super::{Context, Head, level};
use crate::logs::{
    record::{Fields, Kind, Logger, Severity},
    time,
};

pub(super) const TRACEBACK: &[u8] = b"Traceback (most recent call last)";
pub(super) const GROUP: &[u8] = b"  + Exception Group Traceback";
const LOGGING: &[u8] = b"--- Logging error ---";

/// Words that `%(levelname)s` gives.
const LEVELS: [&[u8]; 8] =
    [b"INFO", b"ERROR", b"WARNING", b"DEBUG", b"CRITICAL", b"WARN", b"FATAL", b"TRACE"];

/// The form of a head, and the place after its time or level.
enum Form {
    /// Time first; level and name are still to come.
    Time(Option<time::Stamp>, usize),
    /// Level first (then its time, if any).
    Level(Severity, Option<time::Stamp>, usize),
    /// `ERROR:root:message`
    Basic(Severity, usize, usize),
    Bare,
}

fn form(line: &[u8]) -> Option<Form> {
    match line.first()? {
        b'0'..=b'9' => {
            if let Some(stamp) = time::iso(line).or_else(|| time::slashes(line)) {
                return Some(Form::Time(Some(stamp), stamp.len));
            }
            // "22:31:37 ERROR …": a time without a date needs the level as witness
            let clock = line.get(..8)?;
            let digits = [0, 1, 3, 4, 6, 7].iter().all(|at| clock[*at].is_ascii_digit());
            if !digits || clock[2] != b':' || clock[5] != b':' {
                return None;
            }
            let part = line[8..]
                .iter()
                .take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
                .count();
            let rest = line.get(8 + part..)?.strip_prefix(b" ")?;
            leading(rest.strip_prefix(b"[").unwrap_or(rest)).map(|_| Form::Time(None, 8 + part))
        }
        b'[' => {
            let stamp = time::iso(&line[1..]).or_else(|| time::php(&line[1..]))?;
            (line.get(stamp.len + 1) == Some(&b']'))
                .then_some(Form::Time(Some(stamp), stamp.len + 2))
        }
        b'-' => line.starts_with(LOGGING).then_some(Form::Bare),
        b'T' if line.starts_with(TRACEBACK) => Some(Form::Bare),
        b' ' => line.starts_with(GROUP).then_some(Form::Bare),
        b'A'..=b'Z' => {
            let (severity, len) = leading(line)?;
            match line.get(len)? {
                b':' => {
                    let rest = &line[len + 1..];
                    let blanks = rest.iter().take_while(|b| **b == b' ').count();
                    // uvicorn pads "INFO:" to ten bytes
                    if blanks > 0 {
                        let at = len + 1 + blanks;
                        return (at == 10.max(len + 2)).then_some(Form::Level(severity, None, at));
                    }
                    let name = rest.iter().take_while(|b| named(**b)).count();
                    (name > 0 && rest.get(name) == Some(&b':')).then_some(Form::Basic(
                        severity,
                        len + 1,
                        len + 1 + name,
                    ))
                }
                b' ' => {
                    let blanks = line[len..].iter().take_while(|b| **b == b' ').count();
                    let at = len + blanks;
                    let rest = &line[at..];
                    if let Some(stamp) = time::iso(rest) {
                        return Some(Form::Level(severity, Some(stamp), at + stamp.len));
                    }
                    let inner = rest.strip_prefix(b"[")?;
                    if let Some(stamp) = time::iso(inner) {
                        return Some(Form::Level(severity, Some(stamp), at + stamp.len + 2));
                    }
                    inner
                        .first()?
                        .is_ascii_alphanumeric()
                        .then_some(Form::Level(severity, None, at))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// A level word in capitals at the beginning, and its length.
fn leading(text: &[u8]) -> Option<(Severity, usize)> {
    let len = text.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let word = &text[..len];
    LEVELS.contains(&word).then(|| level::word(word)).flatten().map(|severity| (severity, len))
}

fn named(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

pub(super) fn starts(line: &[u8]) -> bool {
    !matches!(form(line), None | Some(Form::Bare)) || line.starts_with(LOGGING)
}

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    let end = text.find('\n').unwrap_or(text.len());
    let line = &text.as_bytes()[..end];
    let mut logger = Logger::default();
    let (stamp, mut severity, message_at) = match form(line)? {
        Form::Bare => (None, Some(Severity::Error), 0),
        Form::Basic(severity, from, to) => {
            logger.name = text.get(from..to);
            (None, Some(severity), to + 1)
        }
        Form::Level(severity, stamp, at) => {
            (stamp, Some(severity), rest(text, end, at, stamp.is_some(), &mut logger))
        }
        Form::Time(stamp, at) => {
            let (severity, at) = until_level(text, end, at, &mut logger);
            let at = if severity.is_some() { rest(text, end, at, false, &mut logger) } else { at };
            (stamp, severity, at)
        }
    };
    let message_at = message_at.min(end);
    // A program that names no levels is not to be measured by them.
    let kind = if severity.is_some() { Kind::Python } else { Kind::Plain };
    if severity.is_none() {
        severity = level::told(&text.as_bytes()[message_at..]);
    }
    let message = text.get(message_at..end).unwrap_or_default();
    request(message, &mut logger);
    Some(Head {
        kind,
        at: stamp.and_then(|stamp| stamp.to_utc(context.zone)),
        severity: severity.unwrap_or(Severity::Info),
        message_at,
        fields: Fields::Logger(logger),
    })
}

/// Bounds of the next token at or after `at`, past blanks and separators that stand
/// alone ("-", "|", ":"). Brackets belong to a token and may hold blanks.
fn token(line: &[u8], mut at: usize) -> Option<(usize, usize)> {
    loop {
        at += line.get(at..)?.iter().take_while(|b| **b == b' ').count();
        let alone = matches!(line.get(at)?, b'-' | b'|' | b':')
            && matches!(line.get(at + 1), None | Some(b' '));
        if !alone {
            break;
        }
        at += 1;
    }
    let rest = &line[at..];
    let len = if rest[0] == b'[' {
        memchr::memchr(b']', &rest[..rest.len().min(80)]).map(|close| close + 1)
    } else {
        None
    };
    let len = len.or_else(|| memchr::memchr(b' ', rest)).unwrap_or(rest.len());
    Some((at, at + len.max(1)))
}

/// Looks for the level among the first tokens after the time; what stands before it
/// is a process number or the logger's name.
fn until_level<'a>(
    text: &'a str,
    end: usize,
    from: usize,
    logger: &mut Logger<'a>,
) -> (Option<Severity>, usize) {
    let line = &text.as_bytes()[..end];
    let mut at = from;
    let (mut name, mut pid) = (None, None);
    for _ in 0..6 {
        let Some((start, stop)) = token(line, at) else { break };
        let bare = bare(text, start, stop);
        let framed = line[start] == b'['
            || (line[..start].ends_with(b"- ") && line[stop..].starts_with(b" -"));
        let shouts = bare.len() > 2 && bare.bytes().all(|byte| byte.is_ascii_uppercase());
        if (shouts || framed)
            && let Some(severity) = level::word(bare.as_bytes())
        {
            (logger.name, logger.pid) = (name, pid);
            return (Some(severity), stop);
        }
        // Monolog: "production.ERROR: message"
        if let Some((channel, level)) = bare.rsplit_once('.')
            && level.len() > 2
            && level.bytes().all(|byte| byte.is_ascii_uppercase())
            && let Some(severity) = level::word(level.as_bytes())
        {
            (logger.name, logger.pid) = (Some(channel), pid);
            return (Some(severity), stop);
        }
        if let Ok(number) = bare.parse() {
            pid = pid.or(Some(number));
        } else if name.is_none() && !bare.is_empty() && bare.bytes().all(named) {
            name = Some(bare);
        }
        at = stop;
    }
    let message = line[from..].iter().take_while(|b| **b == b' ').count() + from;
    (None, message)
}

/// A token without its brackets, parentheses and trailing colon or comma.
fn bare(text: &str, start: usize, stop: usize) -> &str {
    text.get(start..stop).unwrap_or_default().trim_matches(['[', ']', '(', ')', ':', ','])
}

/// Logger and process number behind the level; the place where the message begins.
fn rest<'a>(
    text: &'a str,
    end: usize,
    from: usize,
    django: bool,
    logger: &mut Logger<'a>,
) -> usize {
    let line = &text.as_bytes()[..end];
    let mut at = from;
    if line.get(at) == Some(&b':') {
        at += 1;
    }
    if django && let Some(after) = verbose(text, end, at, logger) {
        return after;
    }
    for _ in 0..4 {
        let Some((start, stop)) = token(line, at) else { return end };
        let name = bare(text, start, stop);
        let bracketed = line[start] == b'[' && line[stop - 1] == b']';
        if bracketed {
            match name.parse() {
                Ok(pid) => logger.pid = Some(pid),
                Err(_) if logger.name.is_none() && name.bytes().all(named) => {
                    logger.name = Some(name);
                }
                Err(_) => return start,
            }
        } else if logger.name.is_none() && name == "in" {
            // Flask: "ERROR in app: Exception on /x [GET]"
            let Some((start, stop)) = token(line, stop) else { return end };
            if line[stop - 1] != b':' {
                return at;
            }
            logger.name = Some(bare(text, start, stop));
            return (stop + 1).min(end);
        } else if logger.name.is_none()
            && !name.is_empty()
            && line[stop - 1] == b':'
            && name.bytes().all(|b| named(b) && !b.is_ascii_uppercase())
        {
            logger.name = Some(name);
            return (stop + 1).min(end);
        } else if line[stop..].starts_with(b" - ") && !name.is_empty() && stop - start < 100 {
            // "… - app.module - message", loguru's "| app:view:12 - message"
            logger.name = logger.name.or(name.split(':').next());
            return stop + 3;
        } else {
            return start;
        }
        at = stop;
    }
    token(line, at).map_or(end, |(start, _)| start)
}

/// Django's "verbose" format: `log 21132 140426819551936 Not Found: /.env`.
fn verbose<'a>(text: &'a str, end: usize, at: usize, logger: &mut Logger<'a>) -> Option<usize> {
    let line = &text.as_bytes()[..end];
    let module = token(line, at)?;
    let process = token(line, module.1)?;
    let thread = token(line, process.1)?;
    let pid = bare(text, process.0, process.1).parse().ok()?;
    bare(text, thread.0, thread.1).parse::<u64>().ok()?;
    logger.name = Some(bare(text, module.0, module.1));
    logger.pid = Some(pid);
    Some((thread.1 + 1).min(end))
}

/// The request that a message names: Flask's `Exception on /x [GET]`, Django's
/// "Internal Server Error: /x", gunicorn's "Error handling request /x".
pub(super) fn request<'a>(message: &'a str, logger: &mut Logger<'a>) {
    const BEFORE: [&str; 7] = [
        "Internal Server Error: ",
        "Not Found: ",
        "Bad Request: ",
        "Forbidden (Permission denied): ",
        "Forbidden: ",
        "Unauthorized: ",
        "Error handling request ",
    ];
    let message = message.split('\n').next().unwrap_or_default();
    if let Some(rest) = message.split_once("Exception on ").map(|(_, rest)| rest)
        && let Some((path, method)) = rest.rsplit_once(" [")
        && path.starts_with('/')
    {
        logger.endpoint = Some(path);
        logger.method = method.strip_suffix(']');
        return;
    }
    if let Some(rest) = message.split_once("Method Not Allowed (").map(|(_, rest)| rest)
        && let Some((method, path)) = rest.split_once("): ")
    {
        (logger.method, logger.endpoint) = (Some(method), Some(path));
        return;
    }
    for before in BEFORE {
        if let Some((_, path)) = message.split_once(before)
            && path.starts_with('/')
        {
            logger.endpoint = path.split(' ').next();
            return;
        }
    }
}

/// Whether the line can only be a part of a traceback, of an error's text or of
/// another record: what tells records apart where no format is known.
pub(super) fn continues(line: &[u8]) -> bool {
    match line.first() {
        None | Some(b' ' | b'\t' | b'|' | b'^' | b'}' | b')' | b']') => true,
        Some(b'T') => line.starts_with(TRACEBACK),
        _ => {
            line.starts_with(b"The above exception was")
                || line.starts_with(b"During handling of the above")
                || line.starts_with(b"Call stack:")
                || line.starts_with(b"Caused by: ")
                || raised(line)
        }
    }
}

/// `module.SomeError: text`
fn raised(line: &[u8]) -> bool {
    let name = line.iter().take_while(|b| named(**b) && **b != b'-').count();
    let word = &line[..name];
    let ends = [
        &b"Error"[..],
        b"Exception",
        b"Warning",
        b"Interrupt",
        b"Exit",
        b"DoesNotExist",
        b"Timeout",
    ]
    .iter()
    .any(|end| word.ends_with(end));
    ends && matches!(line.get(name), None | Some(b':'))
}
