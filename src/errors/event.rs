//! A captured error: as a program reports it, and as it is kept.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    logs::Severity,
    outbound::visit::is_marked,
};

/// Longest `error_type`, in bytes.
pub const MAX_TYPE: usize = 255;
/// Longest `error_message` that is kept, in bytes; the rest is cut and counted.
pub const MAX_MESSAGE: usize = 16 * 1024;
/// Longest `error_stack` that is kept, in bytes; what is too much is cut out of the middle.
pub const MAX_STACK: usize = 256 * 1024;
/// Longest `endpoint` that is kept, in bytes.
pub const MAX_ENDPOINT: usize = 2000;
/// Longest `method`, in bytes.
pub const MAX_METHOD: usize = 20;
/// Longest `user_id`, in bytes.
pub const MAX_USER: usize = 255;
/// Longest `app`, in bytes.
pub const MAX_APP: usize = 100;
/// Longest `release`, `environment` and `request_id`, in bytes.
pub const MAX_NAME: usize = 200;
/// Most tags of an event; their names and values are kept up to [`MAX_NAME`] bytes.
pub const MAX_TAGS: usize = 50;
/// Most parts of a fingerprint that the reporting program chose.
pub const MAX_PARTS: usize = 20;
/// Largest packed detail, in bytes.
pub const MAX_DETAIL: usize = 512 * 1024;
/// Most headers of the request that failed.
const MAX_HEADERS: usize = 100;
/// How far a reporting program's clock may be ahead; a later time is set to now.
const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);
/// 2000-01-01: earlier times come from clocks that were never set.
pub const EARLIEST: i64 = 946_684_800;

/// Who told of an event.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Origin {
    /// `POST /api/errors`.
    #[default]
    Json,
    /// An SDK that speaks Sentry's protocol.
    Sentry,
    /// A record of a log.
    Log,
    /// A row that another program inserted.
    Row,
    /// Lux itself.
    Lux,
}

impl Origin {
    /// As it is written: "json".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Sentry => "sentry",
            Self::Log => "log",
            Self::Row => "row",
            Self::Lux => "lux",
        }
    }
}

/// An error as a program reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, utoipa::ToSchema)]
pub struct NewEvent {
    /// The exception's class: "ValueError", "psycopg2.OperationalError". At most 255 bytes.
    pub error_type: String,
    /// What it said. Kept up to 16 KiB.
    pub error_message: String,
    /// The traceback as text. Kept up to 256 KiB: its beginning and its end.
    pub error_stack: Option<String>,
    /// The path that failed ("/checkout"). Data: Lux never calls it because of an event.
    pub endpoint: Option<String>,
    /// The request's method.
    pub method: Option<String>,
    /// Default: error.
    pub severity: Option<Severity>,
    /// Who was affected, in the application's own terms.
    pub user_id: Option<String>,
    /// When it happened; default: now. A time without zone is UTC.
    pub created_at: Option<DateTime<Utc>>,
    /// Which monitored application; default: the unnamed one.
    pub app: Option<String>,
    /// Headers of the request that failed. They are not kept: an event that Lux's own probe
    /// caused (`X-Lux-Probe`) is told from the others by them. At most 100.
    #[schema(required = false)]
    pub request_headers: BTreeMap<String, String>,
    /// That request's `User-Agent`, where not all headers are sent.
    pub user_agent: Option<String>,
    /// The application's version ("shop@1.4.2").
    pub release: Option<String>,
    /// "production", "staging".
    pub environment: Option<String>,
    /// Names the request in all logs (nginx's `$request_id`, `X-Request-Id`).
    pub request_id: Option<String>,
    /// Name → value, at most 50.
    #[schema(required = false)]
    pub tags: BTreeMap<String, String>,
    /// What the program wants to be told apart by; `{{ default }}` stands for Lux's own way.
    #[schema(required = false)]
    pub fingerprint: Vec<String>,
    /// The reporting program's own id, 32 hexadecimal digits; a repeat is one event.
    pub event_id: Option<String>,
    #[schema(ignore)]
    pub origin: Origin,
    /// The packed rest (`error_detail`), at most [`MAX_DETAIL`] bytes.
    #[schema(ignore)]
    pub detail: Option<Vec<u8>>,
}

/// A checked and bounded event, ready to be fingerprinted and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub error_type: String,
    pub error_message: String,
    pub error_stack: Option<String>,
    pub endpoint: Option<String>,
    pub method: Option<String>,
    pub user_id: Option<String>,
    pub severity: Severity,
    pub created_at: DateTime<Utc>,
    /// "" is the unnamed application.
    pub app: String,
    pub release: Option<String>,
    pub environment: Option<String>,
    pub request_id: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// What the reporting program wants it told apart by; empty: nothing.
    pub parts: Vec<String>,
    pub event_id: Option<String>,
    pub origin: Origin,
    /// The packed rest.
    pub detail: Option<Vec<u8>>,
}

/// Every field takes any JSON, so that a refusal can name the field.
#[derive(Deserialize)]
struct Fields {
    error_type: Option<Value>,
    error_message: Option<Value>,
    error_stack: Option<Value>,
    endpoint: Option<Value>,
    method: Option<Value>,
    severity: Option<Value>,
    user_id: Option<Value>,
    created_at: Option<Value>,
    app: Option<Value>,
    request_headers: Option<Value>,
    user_agent: Option<Value>,
    release: Option<Value>,
    environment: Option<Value>,
    request_id: Option<Value>,
    tags: Option<Value>,
    fingerprint: Option<Value>,
    event_id: Option<Value>,
}

impl NewEvent {
    /// Whether a probe of Lux caused it: such an event is no occurrence of anything.
    pub fn is_of_probe(&self) -> bool {
        is_marked(&self.request_headers, self.user_agent.as_deref())
    }

    /// Reads one JSON object; unknown fields are passed over.
    ///
    /// A refusal is one sentence that names the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let refused = |why: &str| {
            Error::invalid(format!("an event is a JSON object with named fields ({why})"))
        };
        // serde would take an array for the fields in their order.
        if !json.trim_start().starts_with('{') {
            return Err(refused("this is none"));
        }
        let fields: Fields =
            serde_json::from_str(json).map_err(|error| refused(&error.to_string()))?;
        Ok(Self {
            error_type: required("error_type", fields.error_type)?,
            error_message: required("error_message", fields.error_message)?,
            error_stack: optional("error_stack", fields.error_stack)?,
            endpoint: optional("endpoint", fields.endpoint)?,
            method: optional("method", fields.method)?,
            severity: severity(fields.severity)?,
            user_id: match fields.user_id {
                Some(Value::Number(number)) => Some(number.to_string()),
                other => optional("user_id", other)?,
            },
            created_at: time(fields.created_at)?,
            app: optional("app", fields.app)?,
            request_headers: headers(fields.request_headers)?,
            user_agent: optional("user_agent", fields.user_agent)?,
            release: optional("release", fields.release)?,
            environment: optional("environment", fields.environment)?,
            request_id: optional("request_id", fields.request_id)?,
            tags: tags(fields.tags)?,
            fingerprint: parts(fields.fingerprint)?,
            event_id: event_id(fields.event_id)?,
            origin: Origin::Json,
            detail: None,
        })
    }

    /// Checks and bounds what a program sent over HTTP: long texts are cut, a clock
    /// that is ahead is set to `now`, anything else that makes no sense is refused.
    pub fn check(self, now: DateTime<Utc>) -> Result<Event> {
        if self.error_type.trim().is_empty() {
            return Err(Error::invalid("error_type is empty; name the exception's class"));
        }
        within("error_type", &self.error_type, MAX_TYPE)?;
        for (field, value, most) in [
            ("method", &self.method, MAX_METHOD),
            ("user_id", &self.user_id, MAX_USER),
            ("app", &self.app, MAX_APP),
            ("release", &self.release, MAX_NAME),
            ("environment", &self.environment, MAX_NAME),
            ("request_id", &self.request_id, MAX_NAME),
        ] {
            if let Some(value) = value {
                within(field, value, most)?;
            }
        }
        if let Some(method) = &self.method
            && !method.trim().bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
        {
            return Err(Error::invalid("method is not an HTTP method such as GET or POST"));
        }
        if let Some(at) = self.created_at
            && at.timestamp() < EARLIEST
        {
            return Err(Error::invalid(format!(
                "created_at is {at}, before the year 2000; send the time the error happened, or leave it out"
            )));
        }
        Ok(self.fit(now))
    }

    /// Makes the best of any event: used where nobody can be told to mend it
    /// (rows that another program wrote).
    pub fn fit(self, now: DateTime<Utc>) -> Event {
        let error_type = one_line(&self.error_type, MAX_TYPE);
        let created_at = self
            .created_at
            .filter(|at| at.timestamp() >= EARLIEST && *at <= now + MAX_AHEAD)
            .unwrap_or(now);
        let line = |value: Option<String>, most| {
            value.map(|value| one_line(&value, most)).filter(|value| !value.is_empty())
        };
        Event {
            error_type: if error_type.is_empty() { "Error".into() } else { error_type },
            error_message: head(clean(self.error_message), MAX_MESSAGE),
            error_stack: self
                .error_stack
                .map(clean)
                .filter(|stack| !stack.trim().is_empty())
                .map(|stack| ends(stack, MAX_STACK)),
            endpoint: line(self.endpoint, MAX_ENDPOINT),
            method: line(self.method, MAX_METHOD).map(|method| method.to_ascii_uppercase()),
            user_id: line(self.user_id, MAX_USER),
            severity: self.severity.unwrap_or(Severity::Error),
            created_at,
            app: line(self.app, MAX_APP).unwrap_or_default(),
            release: line(self.release, MAX_NAME),
            environment: line(self.environment, MAX_NAME),
            request_id: line(self.request_id, MAX_NAME),
            tags: self
                .tags
                .into_iter()
                .map(|(name, value)| (one_line(&name, MAX_NAME), one_line(&value, MAX_NAME)))
                .filter(|(name, _)| !name.is_empty())
                .take(MAX_TAGS)
                .collect(),
            parts: self
                .fingerprint
                .into_iter()
                .take(MAX_PARTS)
                .map(|part| one_line(&part, MAX_NAME))
                .collect(),
            event_id: self.event_id,
            origin: self.origin,
            detail: self.detail.filter(|detail| detail.len() <= MAX_DETAIL),
        }
    }
}

impl Event {
    /// The endpoint without its query.
    pub fn path(&self) -> Option<&str> {
        self.endpoint.as_deref().and_then(|endpoint| endpoint.split(['?', '#']).next())
    }

    /// About how much memory and disk it takes, in bytes.
    pub fn size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        256 + self.error_type.len()
            + self.error_message.len()
            + optional(&self.error_stack)
            + optional(&self.endpoint)
            + optional(&self.user_id)
            + self.detail.as_ref().map_or(0, Vec::len)
            + self.tags.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// Reads the times that programs write: RFC 3339, or SQL's and Python's forms, which
/// without a zone are UTC.
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    if let Ok(at) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z") {
        return Some(at.to_utc());
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|at| at.and_utc())
}

fn required(field: &str, value: Option<Value>) -> Result<String> {
    optional(field, value)?
        .ok_or_else(|| Error::invalid(format!("{field} is missing; every event has a {field}")))
}

fn optional(field: &str, value: Option<Value>) -> Result<Option<String>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("{field} is not a string"))),
    }
}

/// Header → value; of several values the first that is text.
fn headers(value: Option<Value>) -> Result<BTreeMap<String, String>> {
    let refused = || {
        Error::invalid(format!(
            "request_headers is an object of at most {MAX_HEADERS} names with their values"
        ))
    };
    let fields = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(fields)) if fields.len() <= MAX_HEADERS => fields,
        Some(_) => return Err(refused()),
    };
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Array(values) => values.iter().find_map(Value::as_str).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect())
}

/// Name → value; numbers and truth values become texts.
fn tags(value: Option<Value>) -> Result<BTreeMap<String, String>> {
    let refused = || {
        Error::invalid(format!("tags is an object of at most {MAX_TAGS} names with their values"))
    };
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(fields)) if fields.len() <= MAX_TAGS => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| Ok((name, plain(value).ok_or_else(refused)?)))
            .collect(),
        Some(_) => Err(refused()),
    }
}

fn parts(value: Option<Value>) -> Result<Vec<String>> {
    let refused =
        || Error::invalid(format!("fingerprint is an array of at most {MAX_PARTS} strings"));
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(parts)) if parts.len() <= MAX_PARTS => {
            parts.into_iter().map(|part| plain(part).ok_or_else(refused)).collect()
        }
        Some(_) => Err(refused()),
    }
}

fn plain(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// A UUID with or without hyphens, as 32 small hexadecimal digits.
fn event_id(value: Option<Value>) -> Result<Option<String>> {
    let Some(text) = optional("event_id", value)? else { return Ok(None) };
    let id = uuid::Uuid::parse_str(text.trim()).map_err(|_| {
        Error::invalid("event_id is not a UUID (32 hexadecimal digits); leave it out, or make one")
    })?;
    Ok(Some(id.simple().to_string()))
}

fn severity(value: Option<Value>) -> Result<Option<Severity>> {
    optional("severity", value)?
        .map(|text| {
            text.parse().map_err(|_| {
                Error::invalid("severity is none of debug, info, notice, warning, error, critical")
            })
        })
        .transpose()
}

fn time(value: Option<Value>) -> Result<Option<DateTime<Utc>>> {
    let at = match value {
        // Seconds since 1970, as Python's time.time() gives them.
        Some(Value::Number(seconds)) => {
            #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
            let micros = seconds.as_f64().map(|seconds| (seconds * 1e6) as i64);
            micros.and_then(DateTime::from_timestamp_micros)
        }
        other => match optional("created_at", other)? {
            None => return Ok(None),
            Some(text) => parse_time(&text),
        },
    };
    let at =
        at.ok_or_else(|| Error::invalid("created_at is not a time such as 2026-01-31T12:00:00Z"))?;
    Ok(Some(chrono::SubsecRound::trunc_subsecs(at, 6)))
}

fn within(field: &str, value: &str, most: usize) -> Result<()> {
    if value.len() > most {
        return Err(Error::invalid(format!(
            "{field} is {} bytes long; at most {most} are taken",
            value.len()
        )));
    }
    Ok(())
}

/// Removes NUL, which PostgreSQL's text cannot hold.
fn clean(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// Control characters become blanks: such a value is shown in one line.
fn one_line(text: &str, most: usize) -> String {
    let cut = &text[..text.floor_char_boundary(most)];
    let line = cut.replace(char::is_control, " ");
    line.trim().to_owned()
}

fn head(mut text: String, most: usize) -> String {
    if text.len() > most {
        let kept = text.floor_char_boundary(most);
        let rest = text.len() - kept;
        text.truncate(kept);
        text.push_str("… [");
        text.push_str(&rest.to_string());
        text.push_str(" bytes cut]");
    }
    text
}

/// Keeps both ends: a traceback says at its end what was raised, and at its
/// beginning (JavaScript, Java) or before the first "caused" (Python) where.
fn ends(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let head = text.floor_char_boundary(most / 2);
    let tail = text.ceil_char_boundary(text.len() - most / 2);
    format!("{}\n… [{} bytes cut] …\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        parse_time("2026-01-31T12:00:00Z").unwrap()
    }

    #[test]
    fn a_refusal_names_its_field() {
        for (json, field) in [
            (r#"{"error_message": "m"}"#, "error_type"),
            (r#"{"error_type": "T"}"#, "error_message"),
            (r#"{"error_type": 5, "error_message": "m"}"#, "error_type"),
            (r#"{"error_type": "  ", "error_message": "m"}"#, "error_type"),
            (r#"{"error_type": "T", "error_message": "m", "error_stack": []}"#, "error_stack"),
            (r#"{"error_type": "T", "error_message": "m", "severity": "dire"}"#, "severity"),
            (r#"{"error_type": "T", "error_message": "m", "created_at": "soon"}"#, "created_at"),
            (r#"{"error_type": "T", "error_message": "m", "created_at": 12}"#, "created_at"),
            (r#"{"error_type": "T", "error_message": "m", "created_at": 1e300}"#, "created_at"),
            (r#"{"error_type": "T", "error_message": "m", "method": "GET /x"}"#, "method"),
            (r#"{"error_type": "T", "error_message": "m", "user_id": {}}"#, "user_id"),
            (
                r#"{"error_type": "T", "error_message": "m", "request_headers": "x"}"#,
                "request_headers",
            ),
            (r#"{"error_type": "T", "error_message": "m", "user_agent": 5}"#, "user_agent"),
            (r#"{"error_type": "T", "error_message": "m", "tags": ["a"]}"#, "tags"),
            (r#"{"error_type": "T", "error_message": "m", "tags": {"a": {}}}"#, "tags"),
            (r#"{"error_type": "T", "error_message": "m", "fingerprint": "x"}"#, "fingerprint"),
            (r#"{"error_type": "T", "error_message": "m", "event_id": "7"}"#, "event_id"),
            ("[1]", "an event is a JSON object"),
            (r#""text""#, "an event is a JSON object"),
        ] {
            let refused = NewEvent::from_json(json).and_then(|event| event.check(now()));
            let text = refused.expect_err(json).to_string();
            assert!(text.contains(field), "{json}: {text}");
        }
    }

    #[test]
    fn events_of_probes_are_told_by_their_mark() {
        let event = |more: &str| {
            let json = format!(r#"{{"error_type": "T", "error_message": "m"{more}}}"#);
            NewEvent::from_json(&json).unwrap().is_of_probe()
        };
        for marked in [
            r#", "request_headers": {"X-Lux-Probe": "0190"}"#,
            r#", "request_headers": {"x-lux-probe": ["0190"], "host": "x"}"#,
            r#", "request_headers": {"User-Agent": "Lux-Probe/0.1.0"}"#,
            r#", "user_agent": "Lux-Probe/0.1.0""#,
        ] {
            assert!(event(marked), "{marked}");
        }
        for own in [
            "",
            r#", "request_headers": null"#,
            r#", "request_headers": {"user-agent": "curl/8", "referer": "Lux-Probe/1"}"#,
            r#", "user_agent": "Mozilla/5.0 (Lux-Probe/1)""#,
        ] {
            assert!(!event(own), "{own}");
        }
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let event = NewEvent {
            error_type: "T".into(),
            error_message: "é".repeat(MAX_MESSAGE),
            error_stack: Some(format!("start{}end", "ü".repeat(MAX_STACK))),
            ..NewEvent::default()
        };
        let event = event.check(now()).unwrap();
        assert!(event.error_message.len() < MAX_MESSAGE + 40);
        assert!(event.error_message.ends_with("bytes cut]"));
        let stack = event.error_stack.unwrap();
        assert!(stack.len() < MAX_STACK + 40);
        assert!(stack.starts_with("start") && stack.ends_with("end"));
    }

    #[test]
    fn a_clock_that_is_ahead_is_set_to_now() {
        let ahead = |hours| NewEvent {
            error_type: "T".into(),
            created_at: Some(now() + TimeDelta::hours(hours)),
            ..NewEvent::default()
        };
        assert_eq!(ahead(2).check(now()).unwrap().created_at, now());
        assert_eq!(ahead(-2).check(now()).unwrap().created_at, now() - TimeDelta::hours(2));
    }

    #[test]
    fn times_of_many_programs_are_read() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31 12:00:00",
            "2026-01-31 12:00:00.000000",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00+00",
            "2026-01-31 12:00:00.0+00:00",
        ] {
            assert_eq!(parse_time(text), Some(now()), "{text}");
        }
        let event =
            r#"{"error_type":"T","error_message":"m","created_at":1769860800.25,"user_id":7}"#;
        let event = NewEvent::from_json(event).unwrap();
        assert_eq!(event.created_at, Some(now() + TimeDelta::milliseconds(250)));
        assert_eq!(event.user_id.as_deref(), Some("7"));
    }

    #[test]
    fn rows_of_others_are_made_to_fit() {
        let event = NewEvent {
            error_type: "\0\n".into(),
            error_message: "a\0b".into(),
            endpoint: Some(" /x\r\ny ".into()),
            created_at: parse_time("1970-01-01 00:00:00"),
            ..NewEvent::default()
        };
        let event = event.fit(now());
        assert_eq!(event.error_type, "Error");
        assert_eq!(event.error_message, "a\u{fffd}b");
        assert_eq!(event.endpoint.as_deref(), Some("/x  y"));
        assert_eq!(event.created_at, now());
    }
}
