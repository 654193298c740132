//! From the text of a record to its fields, one module a format.

use chrono::{DateTime, Utc};

use super::{
    record::{Fields, Kind, Record, Severity},
    time::Zone,
};

mod access;
mod detect;
mod export;
mod gunicorn;
mod journal;
mod json;
mod kernel;
mod level;
mod nginx;
mod postgres;
mod python;
mod redis;

pub use detect::detect;
pub(super) use detect::is_export;
pub(super) use detect::strip as strip_prefix;
pub(super) use export::Export;
pub(super) use journal::Entry;

/// Bytes of a line that are looked at to tell whether it starts a record.
pub(super) const LOOK: usize = 2048;

/// What a head is read with.
#[derive(Clone, Copy, Debug)]
struct Context {
    zone: Zone,
    /// About when the text was written, for times that name no year.
    reference: DateTime<Utc>,
}

/// What stands before a message.
struct Head<'a> {
    kind: Kind,
    at: Option<DateTime<Utc>>,
    severity: Severity,
    message_at: usize,
    fields: Fields<'a>,
}

/// Reads the records of one source. Cheap to clone; holds no state between records.
#[derive(Clone, Debug)]
pub struct Parser {
    kind: Kind,
    context: Context,
}

impl Parser {
    /// `kind` is what the source mostly holds; a record that clearly has another
    /// form is read as that. `zone` is where times without a zone were written.
    pub fn new(kind: Kind, zone: Zone) -> Self {
        Self { kind, context: Context { zone, reference: crate::clock::now() } }
    }

    /// For old text: times that name no year (syslog) are taken to lie before `time`.
    #[must_use]
    pub fn written_before(mut self, time: DateTime<Utc>) -> Self {
        self.context.reference = time;
        self
    }

    /// The kind of the source.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The zone of times that name none.
    pub fn zone(&self) -> Zone {
        self.context.zone
    }

    /// Reads one record, whose lines are joined by `\n`. Takes any text; allocates
    /// only for JSON. `line` is the number of its first line.
    pub fn parse<'a>(&self, text: &'a str, line: u64) -> Record<'a> {
        self.parse_started(text, line, start(text.as_bytes(), self.kind))
    }

    /// The same where [`start`] has been asked already.
    pub(super) fn parse_started<'a>(
        &self,
        text: &'a str,
        line: u64,
        started: Option<Kind>,
    ) -> Record<'a> {
        let mut record = Record::plain(text, line);
        match self.head(text, started) {
            Some(head) => {
                record.kind = head.kind;
                record.at = head.at;
                record.severity = head.severity;
                record.message_at = text.floor_char_boundary(head.message_at);
                record.fields = head.fields;
            }
            None => record.severity = level::told(text.as_bytes()).unwrap_or(Severity::Info),
        }
        if record.severity < Severity::Warning
            && record.kind != Kind::NginxAccess
            && holds_traceback(text)
        {
            record.severity = Severity::Error;
        }
        record
    }

    fn head<'a>(&self, text: &'a str, started: Option<Kind>) -> Option<Head<'a>> {
        let context = &self.context;
        match started {
            Some(Kind::NginxAccess) => access::head(text, context),
            Some(Kind::NginxError) => nginx::head(text, context),
            Some(Kind::Gunicorn) => gunicorn::head(text, context).map(|mut head| {
                if let Fields::Logger(logger) = &mut head.fields {
                    python::request(text.get(head.message_at..).unwrap_or_default(), logger);
                }
                head
            }),
            Some(Kind::Json) => json::head(text, context),
            Some(Kind::Postgres) => postgres::head(text, context),
            Some(Kind::Redis) => redis::head(text, context),
            Some(Kind::Kernel) => kernel::head(text, context),
            Some(Kind::Journal) => journal::head(text, context, self),
            _ => python::head(text, context),
        }
    }
}

/// Whether a record that has more than one line holds a traceback.
fn holds_traceback(text: &str) -> bool {
    memchr::memchr(b'\n', text.as_bytes())
        .is_some_and(|at| memchr::memmem::find(&text.as_bytes()[at..], python::TRACEBACK).is_some())
}

/// The kind of the record that this line starts, if it starts one; a source of
/// `kind` is tried for its own form first. Only the first [`LOOK`] bytes count.
pub(super) fn start(line: &[u8], kind: Kind) -> Option<Kind> {
    let line = &line[..line.len().min(LOOK)];
    if kind == Kind::NginxAccess && access::starts(line) {
        return Some(Kind::NginxAccess);
    }
    match line.first()? {
        b' ' | b'\t' => None,
        b'{' => json::starts(line).then_some(Kind::Json),
        b'[' => {
            if gunicorn::starts(line) {
                Some(Kind::Gunicorn)
            } else if kernel::starts(line) {
                Some(Kind::Kernel)
            } else if python::starts(line) {
                Some(Kind::Python)
            } else {
                access::starts(line).then_some(Kind::NginxAccess)
            }
        }
        b'<' => kernel::starts(line).then_some(Kind::Kernel),
        b'0'..=b'9' => digits(line),
        _ => {
            if nginx::starts(line) {
                Some(Kind::NginxError)
            } else if access::starts(line) {
                Some(Kind::NginxAccess)
            } else if python::starts(line) {
                Some(Kind::Python)
            } else {
                journal::starts(line).then_some(Kind::Journal)
            }
        }
    }
}

fn digits(line: &[u8]) -> Option<Kind> {
    match line.get(4) {
        Some(b'/') if nginx::starts(line) => return Some(Kind::NginxError),
        Some(b'-') if super::time::iso(line).is_some() => {
            return Some(if kernel::starts(line) {
                Kind::Kernel
            } else if journal::starts(line) {
                Kind::Journal
            } else if postgres::continues(line) {
                return None;
            } else if postgres::starts(line) {
                Kind::Postgres
            } else if gunicorn::starts(line) {
                Kind::Gunicorn
            } else if access::starts(line) {
                Kind::NginxAccess
            } else {
                Kind::Python
            });
        }
        _ => {}
    }
    if redis::starts(line) {
        Some(Kind::Redis)
    } else if python::starts(line) {
        Some(Kind::Python)
    } else {
        access::starts(line).then_some(Kind::NginxAccess)
    }
}

/// Whether the line begins a record in a source whose format nobody knows.
pub(super) fn starts_plainly(line: &[u8]) -> bool {
    !python::continues(line)
}

/// Whether the line is where a traceback of its own begins.
pub(super) fn starts_traceback(line: &[u8]) -> bool {
    line.starts_with(python::TRACEBACK) || line.starts_with(python::GROUP)
}

/// Whether the line begins what a runtime prints when a program ends against its will, past
/// any logger: Node, Go, Rust, PHP, Java, C.
pub(super) fn starts_crash(line: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 18] = [
        b"<--- Last few GCs",
        b"FATAL ERROR: ",
        b"node:internal/",
        b"Error: ",
        b"TypeError: ",
        b"ReferenceError: ",
        b"RangeError: ",
        b"SyntaxError: ",
        b"Uncaught ",
        b"panic: ",
        b"fatal error: ",
        b"thread '",
        b"PHP Fatal error:",
        b"Exception in thread ",
        b"Fatal Python error: ",
        b"Segmentation fault",
        b"terminate called ",
        b"Bus error",
    ];
    // "/srv/shop/server.js:12" stands above the line that Node quotes
    let place = line.first() == Some(&b'/')
        && line.last().is_some_and(u8::is_ascii_digit)
        && memchr::memmem::find(line, b".js:").is_some();
    place || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning))
}

#[cfg(test)]
mod tests;
