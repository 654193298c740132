//! What a log is once it has been read: records with a time, a severity and the
//! fields its format offers.

use std::{borrow::Cow, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How bad a record, event or finding is; ordered, so `>= Warning` works.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Severity {
    Debug,
    #[default]
    Info,
    Notice,
    Warning,
    Error,
    Critical,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = crate::error::Error;

    /// Takes the spellings that programs use: syslog, Python, nginx, pino, PostgreSQL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "debug" | "trace" | "debug1" | "debug2" | "debug3" | "debug4" | "debug5" => Self::Debug,
            "info" | "information" | "log" | "statement" => Self::Info,
            "notice" => Self::Notice,
            "warn" | "warning" => Self::Warning,
            "err" | "error" => Self::Error,
            "crit" | "critical" | "alert" | "emerg" | "emergency" | "fatal" | "panic" => {
                Self::Critical
            }
            _ => {
                return Err(crate::error::Error::Invalid(format!(
                    "\"{text}\" is no severity; use debug, info, notice, warning, error or critical"
                )));
            }
        })
    }
}

/// The format of a log source. `Auto` (config only) is resolved from the first lines.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    #[default]
    Auto,
    NginxError,
    NginxAccess,
    Gunicorn,
    /// Python's logging, Django's and uvicorn's own forms, tracebacks.
    Python,
    /// One JSON object a line.
    Json,
    Postgres,
    Redis,
    /// The kernel's ring buffer (`dmesg`, `journalctl -k`).
    Kernel,
    /// journald: export format, `-o json`, or its short text form.
    Journal,
    Plain,
    /// Not a log: a captured error event (`error_log`), read by the advisor as a record.
    Event,
}

/// One record: a line, or several that belong together (a traceback).
///
/// It borrows from the buffer it was parsed in; nothing on the way from bytes to
/// a record of one line allocates.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub kind: Kind,
    /// 1-based number of the record's first line in its file; for the live journal
    /// and events a running number. [`Record::line_at`] numbers the others.
    pub line: u64,
    /// When it was written, if the record says so (a log without zone is read in
    /// the zone of its source).
    pub at: Option<DateTime<Utc>>,
    pub severity: Severity,
    /// The whole record as it stands in the log, lines joined by `\n`, invalid
    /// UTF-8 replaced. For the journal the MESSAGE.
    pub text: Cow<'a, str>,
    /// Byte offset in `text` where the message starts (after time, level, logger).
    pub message_at: usize,
    pub fields: Fields<'a>,
    /// Where the lines of `text` do not follow each other in the file.
    pub jumps: Vec<Jump>,
    /// Lines of the record that were left out of `text` because it is too long.
    pub omitted: u64,
}

/// From byte `at` of a record's text on, lines are numbered from `line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    pub at: usize,
    pub line: u64,
}

impl<'a> Record<'a> {
    /// A record that is nothing but its text.
    pub fn plain(text: impl Into<Cow<'a, str>>, line: u64) -> Self {
        Self {
            kind: Kind::Plain,
            line,
            at: None,
            severity: Severity::Info,
            text: text.into(),
            message_at: 0,
            fields: Fields::None,
            jumps: Vec::new(),
            omitted: 0,
        }
    }

    /// The number in the file of the line that holds byte `offset` of the text.
    pub fn line_at(&self, offset: usize) -> u64 {
        let before = self.jumps.iter().take_while(|jump| jump.at <= offset).last();
        let (from, line) = before.map_or((0, self.line), |jump| (jump.at, jump.line));
        let between = self.text.as_bytes().get(from..offset.min(self.text.len()));
        line + between.map_or(0, |bytes| memchr::memchr_iter(b'\n', bytes).count() as u64)
    }

    /// The record without its head (time, pid, level); of JSON its message and
    /// traceback, unescaped.
    pub fn message(&self) -> &str {
        if let Some(unescaped) = self.logger().and_then(|logger| logger.unescaped.as_deref()) {
            return unescaped;
        }
        self.text.get(self.message_at..).unwrap_or(&self.text)
    }

    /// The kind of what was said: of a line that the journal captured its own kind.
    pub fn said_kind(&self) -> Kind {
        match &self.fields {
            Fields::Journal(journal) => journal.inner.unwrap_or(self.kind),
            _ => self.kind,
        }
    }

    /// The fields of what was said, behind the journal's if it was captured there.
    fn said(&self) -> &Fields<'a> {
        match &self.fields {
            Fields::Journal(Journal { said: Some(said), .. }) => said,
            fields => fields,
        }
    }

    /// The access fields, where this is an access record (maybe captured by the journal).
    pub fn access(&self) -> Option<&Access<'a>> {
        if let Fields::Access(access) = self.said() { Some(access) } else { None }
    }

    /// Whether this is of nginx's error log (maybe captured by the journal).
    pub fn is_nginx_error(&self) -> bool {
        matches!(self.said(), Fields::Nginx(_))
    }

    /// nginx's fields, where this is of its error log (maybe captured by the journal).
    pub fn nginx(&self) -> Option<NginxError<'a>> {
        if let Fields::Nginx(line) = self.said() { Some(line.read()) } else { None }
    }

    /// What gunicorn, Python, PostgreSQL, Redis or JSON named (maybe captured by the journal).
    pub fn logger(&self) -> Option<&Logger<'a>> {
        if let Fields::Logger(logger) = self.said() { Some(logger) } else { None }
    }

    /// The journal's own fields.
    pub fn journal(&self) -> Option<&Journal<'a>> {
        if let Fields::Journal(journal) = &self.fields { Some(journal) } else { None }
    }
}

/// What a format offers beside the text.
#[derive(Clone, Debug, Default)]
pub enum Fields<'a> {
    #[default]
    None,
    Access(Access<'a>),
    Nginx(NginxLine<'a>),
    /// gunicorn, Python logging, PostgreSQL, Redis, JSON: whatever names itself.
    Logger(Logger<'a>),
    Journal(Journal<'a>),
    Event(Event<'a>),
}

/// A request that a server answered (nginx, gunicorn or uvicorn access log).
#[derive(Clone, Debug, Default)]
pub struct Access<'a> {
    pub client: &'a str,
    /// Empty where the request line was garbage.
    pub method: &'a str,
    /// Path with query, as logged.
    pub target: &'a str,
    pub status: u16,
    pub bytes: u64,
    pub referrer: &'a str,
    pub agent: &'a str,
    /// Seconds, where the format logs it.
    pub duration: Option<f64>,
}

impl Access<'_> {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }
}

/// A line of nginx's error log, of which the fields are read when they are asked for:
/// of a storm few lines ever are.
#[derive(Clone, Copy, Debug)]
pub struct NginxLine<'a> {
    pub pid: u32,
    pub(super) message: &'a str,
}

/// nginx's error log. All but `pid` and `errno` come from outside: a client can
/// put nearly anything into `request`, `host` and `referrer`.
#[derive(Clone, Debug, Default)]
pub struct NginxError<'a> {
    pub pid: u32,
    pub errno: Option<u32>,
    /// What nginx was doing: "connecting to upstream".
    pub action: Option<&'a str>,
    pub client: Option<&'a str>,
    pub server: Option<&'a str>,
    /// "GET /path HTTP/1.1"
    pub request: Option<&'a str>,
    /// `http://127.0.0.1:8000/path`
    pub upstream: Option<&'a str>,
    pub host: Option<&'a str>,
}

#[derive(Clone, Debug, Default)]
pub struct Logger<'a> {
    pub name: Option<&'a str>,
    pub pid: Option<u32>,
    /// Where the record itself names a request (`Exception on /x [GET]`, JSON keys).
    pub method: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub request_id: Option<Cow<'a, str>>,
    /// A JSON record's message and traceback, unescaped; the advisor scans these
    /// beside `text`.
    pub unescaped: Option<Box<str>>,
}

#[derive(Clone, Debug, Default)]
pub struct Journal<'a> {
    pub cursor: Option<&'a str>,
    /// The unit the record is about (`UNIT` from systemd, else `_SYSTEMD_UNIT`).
    pub unit: Option<&'a str>,
    /// `SYSLOG_IDENTIFIER`: "systemd", "gunicorn", "kernel".
    pub identifier: Option<&'a str>,
    pub pid: Option<u32>,
    pub message_id: Option<&'a str>,
    /// The kind of the message inside (a gunicorn line captured by journald), if recognised.
    pub inner: Option<Kind>,
    /// What that message offers, if recognised.
    pub said: Option<Box<Fields<'a>>>,
}

/// A captured error, seen as a record.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    pub id: i64,
    pub error_type: &'a str,
    pub method: Option<&'a str>,
    pub endpoint: Option<&'a str>,
}
