//! A record as a row. What logs hold was written by strangers: nothing of it is markup, and
//! what could not be seen, or would change how other text is shown, is shown as an escape.

use std::{fmt::Write, ops::Range};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::view::{View, exact};
use crate::{
    llm,
    logs::{Entry, Kind, Pattern, Severity},
};

/// Characters of the line that is seen before it is opened, and of what is seen then.
const FIRST: usize = 2000;
const FOLDED: usize = 8 << 10;

/// Fields of a JSON record that are shown beside its message.
const FIELDS: usize = 8;

/// See the module's first line.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) at: DateTime<Utc>,
    pub(super) source: String,
    pub(super) severity: Severity,
    /// "debug", "info", "warn", "err", "lux".
    pub(super) class: &'static str,
    /// "/var/log/app.log, line 12".
    pub(super) place: String,
    pub(super) first: Vec<Part>,
    pub(super) rest: Option<Rest>,
    /// It holds what is looked for.
    pub(super) hit: bool,
    /// It is the one that a link leads to.
    pub(super) here: bool,
    /// Leads here, also when the record has left the memory.
    pub(super) link: String,
}

/// What is folded away.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// "23 more lines".
    pub(super) label: String,
    pub(super) parts: Vec<Part>,
    /// It holds what is looked for.
    pub(super) open: bool,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Plain(String),
    /// What is looked for.
    Hit(String),
    /// Something that cannot be seen, written out.
    Escape(String),
    /// A name of a field.
    Name(String),
}

impl Row {
    pub(super) fn new(entry: &Entry, find: Option<&Pattern>, here: bool) -> Self {
        let hit = find.is_some_and(|find| find.is_in(&entry.text));
        let (first, rest) = if entry.kind == Kind::Json {
            json(&entry.text, find).unwrap_or_else(|| lines(entry, find))
        } else {
            lines(entry, find)
        };
        let link = View {
            sources: vec![entry.source.clone()],
            at: Some(entry.at),
            record: Some(entry.id.clone()),
            ..View::default()
        };
        Self {
            id: entry.id.clone(),
            at: entry.at,
            source: visible(&entry.source),
            severity: entry.severity,
            class: class(entry),
            place: match &entry.file {
                Some(file) => format!("{}, line {}", visible(file), entry.line),
                None => "the journal".to_owned(),
            },
            first,
            rest: rest.map(|rest| Rest { open: rest.open || here, ..rest }),
            hit,
            here,
            link: link.url(),
        }
    }

    pub(super) fn exact(&self) -> String {
        exact(self.at)
    }

    pub(super) fn clock(&self) -> String {
        self.at.format("%H:%M:%S%.3f").to_string()
    }

    pub(super) fn level(&self) -> &'static str {
        name_of(self.severity)
    }
}

/// As it is read out.
pub(super) const fn name_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => "Debug",
        Severity::Info => "Info",
        Severity::Notice => "Notice",
        Severity::Warning => "Warning",
        Severity::Error => "Error",
        Severity::Critical => "Critical",
    }
}

fn class(entry: &Entry) -> &'static str {
    let of = |key: &str| entry.fields.get(key).and_then(Value::as_str);
    match entry.severity {
        Severity::Error | Severity::Critical => "err",
        Severity::Warning => "warn",
        _ if of("unit") == Some("lux.service") || of("identifier") == Some("lux") => "lux",
        Severity::Debug => "debug",
        Severity::Info | Severity::Notice => "info",
    }
}

/// The first line after the record's head, and the others.
fn lines(entry: &Entry, find: Option<&Pattern>) -> (Vec<Part>, Option<Rest>) {
    let text = entry.text.trim_end_matches('\n');
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let message = first.get(entry.message_at..).filter(|message| !message.trim().is_empty());
    // Who looks for something of the head wants to see it.
    let in_head = |find: &Pattern| find.hits(first).any(|hit| hit.start < entry.message_at);
    let first = match message {
        Some(message) if !find.is_some_and(in_head) => message,
        _ => first,
    };
    let (shown, cut) = split(first, FIRST);
    let more = rest.lines().count();
    let label = match (more, cut.is_empty()) {
        (0, true) => return (parts(shown, find), None),
        (0, false) => format!("{} more characters", cut.chars().count()),
        (1, _) => "1 more line".to_owned(),
        (more, _) => format!("{more} more lines"),
    };
    let joined = match (cut.is_empty(), rest.is_empty()) {
        (false, false) => format!("{cut}\n{rest}"),
        (false, true) => cut.to_owned(),
        _ => rest.to_owned(),
    };
    (parts(shown, find), Some(folded(label, &joined, find)))
}

/// A record that is one JSON object: its message and some fields; all of them when opened.
fn json(text: &str, find: Option<&Pattern>) -> Option<(Vec<Part>, Option<Rest>)> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else { return None };
    let said = |name: &str| fields.get(name).and_then(Value::as_str);
    let name = ["message", "msg", "event"].into_iter().find(|name| said(name).is_some())?;
    let message = said(name)?;
    let (line, _) = message.split_once('\n').unwrap_or((message, ""));
    let mut first = parts(split(line, FIRST).0, find);
    let told = ["level", "severity", "time", "timestamp", "ts", "@timestamp", "levelname", name];
    let others = fields.iter().filter(|(key, _)| !told.contains(&key.as_str()));
    for (key, value) in others.take(FIELDS) {
        let shown = written(value);
        let shown = shown.lines().next().unwrap_or_default();
        first.push(Part::Name(format!("  {}=", visible(split(key, 60).0))));
        first.extend(parts(split(shown, 120).0, find));
    }
    let whole = fields.iter().fold(String::new(), |mut text, (key, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}: {}", written(value));
        text
    });
    let label = match fields.len() {
        1 => "1 field".to_owned(),
        count => format!("{count} fields"),
    };
    Some((first, Some(folded(label, whole.trim_end(), find))))
}

fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn folded(label: String, text: &str, find: Option<&Pattern>) -> Rest {
    let (shown, cut) = split(text, FOLDED);
    let mut parts = parts(shown, find);
    if !cut.is_empty() {
        let bytes = cut.len();
        parts.push(Part::Escape(format!("\n… {bytes} more bytes are in the file")));
    }
    let open = parts.iter().any(|part| matches!(part, Part::Hit(_)));
    Rest { label, parts, open }
}

/// The first `most` characters, and the others.
fn split(text: &str, most: usize) -> (&str, &str) {
    let at = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}

/// A text as one string, with its escapes.
pub(super) fn visible(text: &str) -> String {
    parts(text, None).into_iter().fold(String::new(), |mut all, part| {
        let (Part::Plain(text) | Part::Hit(text) | Part::Escape(text) | Part::Name(text)) = part;
        all.push_str(&text);
        all
    })
}

fn parts(text: &str, find: Option<&Pattern>) -> Vec<Part> {
    let mut hits = find.into_iter().flat_map(|find| find.hits(text)).peekable();
    let mut made = Vec::new();
    let mut plain = String::new();
    let mut hit = String::new();
    for (at, c) in text.char_indices() {
        while hits.next_if(|range: &Range<usize>| range.end <= at).is_some() {
            flush(&mut made, &mut hit, Part::Hit);
        }
        let inside = hits.peek().is_some_and(|range| range.contains(&at));
        let escape = escaped(c);
        if inside {
            flush(&mut made, &mut plain, Part::Plain);
            match escape {
                Some(text) => hit.push_str(&text),
                None => hit.push(c),
            }
            continue;
        }
        flush(&mut made, &mut hit, Part::Hit);
        match escape {
            Some(text) => {
                flush(&mut made, &mut plain, Part::Plain);
                made.push(Part::Escape(text));
            }
            None => plain.push(c),
        }
    }
    flush(&mut made, &mut hit, Part::Hit);
    flush(&mut made, &mut plain, Part::Plain);
    made
}

fn flush(made: &mut Vec<Part>, text: &mut String, part: impl FnOnce(String) -> Part) {
    if !text.is_empty() {
        made.push(part(std::mem::take(text)));
    }
}

fn escaped(c: char) -> Option<String> {
    match c {
        '\n' | '\t' => None,
        '\r' => Some("\\r".to_owned()),
        '\x1b' => Some("\\e".to_owned()),
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => Some(format!("\\x{:02x}", u32::from(c))),
        c if llm::is_hidden(c) => Some(format!("\\u{{{:x}}}", u32::from(c))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, json, parts, visible};
    use crate::logs::Pattern;

    fn plain(text: &str) -> Part {
        Part::Plain(text.to_owned())
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(
            visible("a\x1b[31mb\u{202e}c\r\0\u{200b}"),
            "a\\e[31mb\\u{202e}c\\r\\x00\\u{200b}"
        );
        assert_eq!(visible("tab\tand\nline, ünïcode, 日本"), "tab\tand\nline, ünïcode, 日本");
    }

    #[test]
    fn what_is_looked_for_is_marked() {
        let find = Pattern::plain("many").unwrap();
        let hit = |text: &str| Part::Hit(text.to_owned());
        assert_eq!(
            parts("too many, Many", Some(&find)),
            [plain("too "), hit("many"), plain(", "), hit("Many")]
        );
        assert_eq!(parts("manymany", Some(&find)), [hit("many"), hit("many")]);
        // Matches of no length mark nothing.
        let nothing = Pattern::regex("x*").unwrap();
        assert_eq!(parts("abc", Some(&nothing)), [plain("abc")]);
    }

    #[test]
    fn a_json_record_is_readable() {
        let text = r#"{"level":"error","msg":"it <b>broke</b>","user":7,"stack":"a\nb"}"#;
        let (first, rest) = json(text, None).unwrap();
        assert_eq!(first[0], plain("it <b>broke</b>"));
        assert_eq!(first.len(), 5);
        let rest = rest.unwrap();
        assert_eq!(rest.label, "4 fields");
        assert!(matches!(&rest.parts[0], Part::Plain(text) if text.contains("stack: a\nb")));
        assert!(json("{\"a\":1}", None).is_none() && json("nonsense", None).is_none());
    }
}
