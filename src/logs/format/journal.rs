//! systemd's journal: its entries, as `journalctl -o json` and its short text forms
//! (which syslog files share) give them.

use chrono::{DateTime, Utc};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Context, Head, Parser, json::Key, kernel, level};
use crate::logs::{
    record::{Fields, Journal, Jump, Kind, Record, Severity},
    time,
};

/// One entry of the journal, as far as it matters.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states")]
pub(in crate::logs) struct Entry {
    /// Number of the line that holds (the beginning of) the message.
    pub(in crate::logs) line: u64,
    pub(in crate::logs) message: String,
    pub(in crate::logs) at: Option<DateTime<Utc>>,
    /// Who wrote it: entries of one stream may be parts of one record.
    pub(in crate::logs) stream: String,
    /// Whether it is a line that a service printed, which may be a part of a record.
    pub(in crate::logs) printed: bool,
    /// Whether `at` is fine enough to tell one write from another.
    pub(in crate::logs) exact: bool,
    /// Whether all lines of the message are on one line of the file.
    pub(in crate::logs) folded: bool,
    cursor: Option<String>,
    unit: Option<String>,
    /// `UNIT=` and the like, which anybody can forge who is not root.
    claimed: Option<String>,
    root: bool,
    identifier: Option<String>,
    pid: Option<u32>,
    message_id: Option<String>,
    priority: Option<u64>,
}

impl Entry {
    pub(super) fn set(&mut self, key: &[u8], value: &[u8], line: u64) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match key {
            b"MESSAGE" => {
                self.message = text();
                self.line = line;
            }
            b"__CURSOR" => self.cursor = Some(text()),
            b"__REALTIME_TIMESTAMP" => {
                self.at = text().parse().ok().and_then(DateTime::from_timestamp_micros);
                self.exact = true;
            }
            b"_STREAM_ID" => self.stream = text(),
            b"_PID" => {
                self.pid = text().parse().ok();
                if self.stream.is_empty() {
                    self.stream = text();
                }
            }
            b"_TRANSPORT" => self.printed = value == b"stdout",
            b"_SYSTEMD_UNIT" => self.unit = Some(text()),
            b"UNIT" | b"OBJECT_SYSTEMD_UNIT" | b"COREDUMP_UNIT" => self.claimed = Some(text()),
            b"_UID" => self.root = value == b"0",
            b"SYSLOG_IDENTIFIER" => self.identifier = Some(text()),
            b"MESSAGE_ID" => self.message_id = Some(text()),
            b"PRIORITY" => self.priority = text().parse().ok(),
            _ => {}
        }
    }

    /// A line of `journalctl -o json`.
    pub(in crate::logs) fn from_json(line: &[u8], number: u64) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut reader = serde_json::Deserializer::from_str(line);
        let mut entry = reader.deserialize_map(Collect(number)).ok()?;
        entry.line = number;
        entry.folded = true;
        Some(entry)
    }

    /// Whether it was a line of the text form, which has no cursor.
    pub(in crate::logs) fn is_text(&self) -> bool {
        self.cursor.is_none() && !self.folded
    }

    /// A line of `journalctl -o short-iso` or of a syslog file. A journal without
    /// zone or year in its times is read by the context.
    pub(in crate::logs) fn from_text(line: &str, number: u64, parser: &Parser) -> Option<Self> {
        let prefix = Prefix::of(line.as_bytes(), &parser.context)?;
        let identifier = &line[prefix.identifier.0..prefix.identifier.1];
        let message = &line[prefix.message_at..];
        Some(Self {
            line: number,
            message: message.to_owned(),
            at: prefix.stamp.to_utc(parser.context.zone),
            stream: format!("{identifier}[{}]", prefix.pid.unwrap_or_default()),
            printed: !matches!(identifier, "systemd" | "kernel") && !identifier.starts_with('('),
            exact: prefix.stamp.fraction >= 6,
            claimed: None,
            unit: unit_in(identifier, message).map(str::to_owned),
            identifier: Some(identifier.to_owned()),
            pid: prefix.pid,
            ..Self::default()
        })
    }
}

/// Where the parts of `2026-11-20T12:53:11.768291+0000 host systemd[1]: ` are.
struct Prefix {
    stamp: time::Stamp,
    identifier: (usize, usize),
    pid: Option<u32>,
    message_at: usize,
}

impl Prefix {
    fn of(line: &[u8], context: &Context) -> Option<Self> {
        let stamp = match line.first()? {
            b'0'..=b'9' => time::iso(line).filter(|stamp| stamp.has_zone() && line[10] == b'T')?,
            b'A'..=b'Z' => time::syslog(line, context.reference)?,
            _ => return None,
        };
        let rest = line.get(stamp.len..)?.strip_prefix(b" ")?;
        let start = stamp.len + 1;
        // the identifier ends at ": "; before it may stand the host's name
        let colon = memchr::memmem::find(&rest[..rest.len().min(160)], b": ")
            .or_else(|| rest.strip_suffix(b":").map(<[u8]>::len))?;
        let words = &rest[..colon];
        let blank = memchr::memchr(b' ', words);
        let from = blank.map_or(0, |blank| blank + 1);
        if memchr::memchr(b' ', &words[from..]).is_some() || words.first() == Some(&b'[') {
            return None;
        }
        let host = blank.map(|blank| &words[..blank]);
        let tag = &words[from..];
        let open = tag.ends_with(b"]").then(|| memchr::memrchr(b'[', tag)).flatten();
        let pid = open
            .and_then(|open| std::str::from_utf8(&tag[open + 1..tag.len() - 1]).ok()?.parse().ok());
        let witnessed = pid.is_some() || tag == b"kernel" || host.is_some();
        // "2026-…Z INFO module: text" is an application's own line
        let levelled =
            host.is_some_and(|host| level::word(host).is_some()) || level::word(tag).is_some();
        if !witnessed || levelled || tag.is_empty() {
            return None;
        }
        let end = open.filter(|_| pid.is_some()).unwrap_or(tag.len());
        Some(Self {
            stamp,
            identifier: (start + from, start + from + end),
            pid,
            message_at: (start + colon + 2).min(line.len()),
        })
    }
}

pub(super) fn starts(line: &[u8]) -> bool {
    // any reference does: only the form counts
    let context = Context { zone: time::Zone::Local, reference: DateTime::UNIX_EPOCH };
    Prefix::of(line, &context).is_some()
}

/// The unit that a message of systemd is about: "lux.service: Failed with result …",
/// "Started lux.service - LUX web application."
fn unit_in<'a>(identifier: &str, message: &'a str) -> Option<&'a str> {
    const KINDS: [&str; 8] =
        [".service", ".socket", ".timer", ".mount", ".slice", ".target", ".scope", ".path"];
    if identifier != "systemd" {
        return None;
    }
    message
        .split_ascii_whitespace()
        .take(4)
        .map(|word| word.trim_end_matches([':', '.', ',']))
        .find(|word| KINDS.iter().any(|kind| word.ends_with(kind)))
}

/// What systemd logs its own words at, for the text form, which lacks the priority.
fn of_systemd(message: &str) -> Severity {
    if message.starts_with("Failed to ") || message.contains("Failed at step") {
        Severity::Error
    } else if message.contains("Failed with result")
        || message.contains("code=killed")
        || message.contains("code=dumped")
        || message.contains("repeated too quickly")
        || message.contains("timed out")
        || message.contains("killed by the OOM killer")
    {
        Severity::Warning
    } else if message.contains("Main process exited") {
        Severity::Notice
    } else {
        Severity::Info
    }
}

/// How bad a message is by what it says.
fn told(fields: &Journal<'_>, message: &str, inner: Option<&Head<'_>>) -> Severity {
    let severity = match (inner, fields.identifier) {
        (Some(inner), _) => inner.severity,
        (None, Some("systemd")) => of_systemd(message),
        (None, Some("kernel")) => kernel::severity(message),
        _ => level::told(message.as_bytes()).unwrap_or(Severity::Info),
    };
    if severity < Severity::Warning && super::holds_traceback(message) {
        return Severity::Error;
    }
    severity
}

impl Parser {
    /// What a service printed, read as what it is: the priority of printed lines is
    /// always "info", whatever they say.
    fn inner<'a>(&self, message: &'a str) -> Option<Head<'a>> {
        let mut kind = super::start(message.as_bytes(), Kind::Plain);
        if kind.is_none() && super::starts_traceback(message.as_bytes()) {
            kind = Some(Kind::Python);
        }
        kind.filter(|kind| *kind != Kind::Journal).and_then(|kind| self.head(message, Some(kind)))
    }

    /// Reads the message of a kept entry once more: what it is and what it offers.
    pub(in crate::logs) fn read_said<'a>(&self, journal: &mut Journal<'a>, message: &'a str) {
        if let Some(head) = self.inner(message) {
            journal.inner = Some(head.kind);
            journal.said = Some(Box::new(head.fields));
        }
    }

    /// Reads a record of the journal, whose `text` is the joined messages of the
    /// entries that begin with `entry`.
    pub(in crate::logs) fn entry<'a>(
        &self,
        entry: &'a Entry,
        text: &'a str,
        jumps: Vec<Jump>,
    ) -> Record<'a> {
        let claimed = entry.claimed.as_deref().filter(|_| entry.root);
        let inner = self.inner(text);
        let mut fields = Journal {
            cursor: entry.cursor.as_deref(),
            unit: claimed.or(entry.unit.as_deref()),
            identifier: entry.identifier.as_deref(),
            pid: entry.pid,
            message_id: entry.message_id.as_deref(),
            inner: inner.as_ref().map(|head| head.kind),
            said: None,
        };
        let told = told(&fields, text, inner.as_ref());
        let severity = match entry.priority {
            Some(priority) if !entry.printed => level::syslog(priority).max(
                // the kernel's own levels are coarse: an OOM kill may be "info"
                if fields.identifier == Some("kernel") { told } else { Severity::Debug },
            ),
            _ => told,
        };
        let message_at = inner.as_ref().map_or(0, |head| head.message_at);
        fields.said = inner.map(|head| Box::new(head.fields));
        Record {
            kind: Kind::Journal,
            at: entry.at,
            severity,
            message_at,
            fields: Fields::Journal(fields),
            jumps,
            ..Record::plain(text, entry.line)
        }
    }
}

/// A line of the text form that stands alone among lines of other kinds.
pub(super) fn head<'a>(text: &'a str, context: &Context, parser: &Parser) -> Option<Head<'a>> {
    let prefix = Prefix::of(text.as_bytes(), context)?;
    let identifier = text.get(prefix.identifier.0..prefix.identifier.1)?;
    let message = text.get(prefix.message_at..)?;
    let inner = parser.inner(message);
    let mut fields = Journal {
        unit: unit_in(identifier, message),
        identifier: Some(identifier),
        pid: prefix.pid,
        inner: inner.as_ref().map(|head| head.kind),
        ..Journal::default()
    };
    let severity = told(&fields, message, inner.as_ref());
    let message_at = prefix.message_at + inner.as_ref().map_or(0, |head| head.message_at);
    fields.said = inner.map(|head| Box::new(head.fields));
    Some(Head {
        kind: Kind::Journal,
        at: prefix.stamp.to_utc(context.zone),
        severity,
        message_at,
        fields: Fields::Journal(fields),
    })
}

/// Collects an entry from its JSON form.
struct Collect(u64);

impl<'de> Visitor<'de> for Collect {
    type Value = Entry;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a journal entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut entry = Entry::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let raw: &'de RawValue = map.next_value()?;
            let raw = raw.get();
            let key = key.0.as_bytes();
            // a string; bytes where it is no plain text; null where it is too large;
            // an array of these where the field is repeated
            if raw.starts_with('"') {
                if let Ok(Key(text)) = serde_json::from_str(raw) {
                    entry.set(key, text.as_bytes(), self.0);
                }
            } else if let Ok(bytes) = serde_json::from_str::<Vec<u8>>(raw) {
                entry.set(key, &bytes, self.0);
            } else if let Ok(texts) = serde_json::from_str::<Vec<String>>(raw) {
                entry.set(key, texts.join("\n").as_bytes(), self.0);
            }
        }
        Ok(entry)
    }
}
