//! One JSON object a line, with the keys that Python, Node, Go and nginx use.

use std::borrow::Cow;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Context, Head, level, python};
use crate::logs::{
    record::{Access, Fields, Kind, Logger, Severity},
    time,
};

/// Keys of objects that tell of a request.
const OF_REQUESTS: [&str; 10] =
    ["http", "request", "req", "response", "res", "url", "client", "source", "user_agent", "nginx"];
/// What Caddy and pino say of a request that was answered, beside its fields.
const ANSWERED: [&str; 2] = ["\"handled request\"", "\"request completed\""];

/// Objects within objects that are opened; each is read once more.
const MAX_DEPTH: u8 = 3;
/// Bytes of message and traceback that are unescaped.
const UNESCAPED: usize = 128 * 1024;

/// The values of a record, still as they stand in the text.
#[derive(Default)]
struct Values<'a> {
    level: Option<&'a str>,
    /// "lvl" and "level" as a number is pino's or bunyan's; "levelno" is Python's.
    python_level: bool,
    time: Option<&'a str>,
    message: Option<&'a str>,
    traces: Vec<&'a str>,
    logger: Option<&'a str>,
    pid: Option<&'a str>,
    request_id: Option<&'a str>,
    method: Option<&'a str>,
    target: Option<&'a str>,
    request: Option<&'a str>,
    status: Option<&'a str>,
    size: Option<&'a str>,
    client: Option<&'a str>,
    referrer: Option<&'a str>,
    agent: Option<&'a str>,
    duration: Option<&'a str>,
    /// "original" of an object: what it is of, the object's key says.
    original: Option<&'a str>,
    /// How many objects this one is in.
    depth: u8,
}

impl<'a> Values<'a> {
    fn take(&mut self, key: &str, value: &'a str) {
        if value.starts_with('{') && OF_REQUESTS.contains(&key) {
            if self.depth < MAX_DEPTH {
                self.open(key, value);
            }
            return;
        }
        let place = match key {
            "level" | "levelname" | "severity" | "lvl" | "log.level" | "loglevel" => {
                &mut self.level
            }
            "levelno" => {
                self.python_level = true;
                &mut self.level
            }
            "time" | "timestamp" | "ts" | "asctime" | "@timestamp" | "date" | "datetime"
            | "time_iso8601" | "time_local" | "msec" => &mut self.time,
            "message" | "msg" | "event" => &mut self.message,
            "exc_info" | "exception" | "stack" | "stack_trace" | "traceback" | "error" | "err"
            | "exc_text" | "stack_info" | "error.stack_trace" | "error.message" => {
                if self.traces.len() < 8 && value != "null" && value != "false" && value != "true" {
                    self.traces.push(value);
                }
                return;
            }
            "logger" | "name" | "logger_name" | "log.logger" | "module" => &mut self.logger,
            "pid" | "process" | "process_id" => &mut self.pid,
            "request_id" | "req_id" | "trace_id" | "correlation_id" | "x_request_id" => {
                &mut self.request_id
            }
            "request_method" | "method" | "http_method" | "verb" => &mut self.method,
            "request_uri" | "uri" | "path" | "url" | "endpoint" => &mut self.target,
            "request" => &mut self.request,
            "status" | "status_code" | "statusCode" | "response" | "code" => &mut self.status,
            "body_bytes_sent" | "bytes_sent" | "bytes" | "size" | "response_size" => &mut self.size,
            "remote_addr" | "client_ip" | "client" | "remote_ip" | "ip" | "client_addr"
            | "remoteAddress" | "address" => &mut self.client,
            "http_referer" | "http_referrer" | "referer" | "referrer" => &mut self.referrer,
            "http_user_agent" | "user_agent" | "agent" => &mut self.agent,
            "request_time" | "duration" | "response_time" | "rt" => &mut self.duration,
            "original" => &mut self.original,
            _ => return,
        };
        place.get_or_insert(value);
    }

    /// What an object says of a request: ECS's `http.request.method`, Caddy's `request.uri`,
    /// pino's `req.url`.
    fn open(&mut self, key: &str, value: &'a str) {
        let mut reader = serde_json::Deserializer::from_str(value);
        let Ok(inner) = reader.deserialize_map(Collect { depth: self.depth + 1 }) else { return };
        let (target, agent) = match key {
            "url" => (inner.target.or(inner.original), inner.agent),
            "user_agent" => (inner.target, inner.agent.or(inner.original)),
            _ => (inner.target, inner.agent),
        };
        let places = [
            (&mut self.method, inner.method),
            (&mut self.target, target),
            (&mut self.status, inner.status),
            (&mut self.size, inner.size),
            (&mut self.client, inner.client),
            (&mut self.referrer, inner.referrer),
            (&mut self.agent, agent),
            (&mut self.duration, inner.duration),
        ];
        for (place, value) in places {
            *place = place.or(value);
        }
    }
}

/// Collects the values of the wanted keys without building a tree.
struct Collect {
    depth: u8,
}

impl<'de> Visitor<'de> for Collect {
    type Value = Values<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Values { depth: self.depth, ..Values::default() };
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            values.take(&key.0, value.get());
        }
        Ok(values)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
pub(super) struct Key<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

pub(super) fn starts(line: &[u8]) -> bool {
    line.starts_with(b"{\"") || line.starts_with(b"{ \"")
}

/// The inside of a raw JSON string as it stands, or a raw number.
fn scalar(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw)
}

/// A raw JSON value's text: a string unescaped, of anything else all strings in it.
fn unescape(raw: &str, into: &mut String) {
    if raw.starts_with('"') {
        if let Ok(Key(text)) = serde_json::from_str(raw) {
            push(into, &text);
        }
    } else if raw.starts_with(['{', '[']) {
        let mut reader = serde_json::Deserializer::from_str(raw);
        // what came before a mistake has been collected
        let _ = reader.deserialize_any(Strings(into));
    }
}

fn push(into: &mut String, text: &str) {
    if text.is_empty() || into.len() >= UNESCAPED {
        return;
    }
    if !into.is_empty() && !into.ends_with('\n') {
        into.push('\n');
    }
    // a traceback's last line says most, so of a long text both ends are kept
    let room = UNESCAPED - into.len();
    if text.len() <= room {
        into.push_str(text);
    } else {
        into.push_str(&text[..text.floor_char_boundary(room / 2)]);
        into.push_str("\n…\n");
        into.push_str(&text[text.ceil_char_boundary(text.len() - room / 2)..]);
    }
}

/// Appends every string in a value, however deep (the reader stops at 128 levels).
struct Strings<'s>(&'s mut String);

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        push(self.0, text);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Inner(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Inner(self.0))?;
        }
        Ok(())
    }
}

struct Inner<'s>(&'s mut String);

impl<'de> serde::de::DeserializeSeed<'de> for Inner<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(Strings(self.0))
    }
}

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    if !text.starts_with('{') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let values = reader.deserialize_map(Collect { depth: 0 }).ok()?;
    let at = values.time.and_then(|raw| when(scalar(raw), context));
    if values.message.is_none_or(|message| ANSWERED.contains(&message))
        && let Some(access) = access(&values)
    {
        return Some(Head {
            kind: Kind::NginxAccess,
            at,
            severity: level::status(access.status),
            message_at: 0,
            fields: Fields::Access(access),
        });
    }
    let mut unescaped = String::new();
    let message_at = values.message.map_or(0, |raw| {
        unescape(raw, &mut unescaped);
        // the raw value is a part of the text
        raw.as_ptr().addr().saturating_sub(text.as_ptr().addr()) + usize::from(raw.starts_with('"'))
    });
    let first = unescaped.len();
    for trace in &values.traces {
        unescape(trace, &mut unescaped);
    }
    let told = values.level.and_then(|raw| {
        let level = scalar(raw);
        level.parse().map_or_else(
            |_| level::word(level.as_bytes()),
            |number| Some(level::number(number, !values.python_level)),
        )
    });
    let severity = told.unwrap_or(if unescaped.len() > first && !values.traces.is_empty() {
        Severity::Error
    } else {
        level::told(unescaped.as_bytes()).unwrap_or(Severity::Info)
    });
    let mut logger = Logger {
        name: values.logger.map(scalar),
        pid: values.pid.and_then(|raw| scalar(raw).parse().ok()),
        method: values.method.map(scalar),
        endpoint: values.target.map(scalar).filter(|path| path.starts_with('/')),
        request_id: values.request_id.map(|raw| Cow::Borrowed(scalar(raw))),
        unescaped: None,
    };
    if logger.endpoint.is_none()
        && let Some(message) = values.message
    {
        // raw is as good as unescaped here: paths need no escapes
        python::request(scalar(message), &mut logger);
    }
    logger.unescaped = Some(unescaped.into_boxed_str());
    Some(Head { kind: Kind::Json, at, severity, message_at, fields: Fields::Logger(logger) })
}

fn when(text: &str, context: &Context) -> Option<chrono::DateTime<chrono::Utc>> {
    if let Ok(number) = text.parse() {
        return time::epoch(number);
    }
    let bytes = text.as_bytes();
    time::iso(bytes).or_else(|| time::common(bytes)).and_then(|stamp| stamp.to_utc(context.zone))
}

/// nginx's `log_format … escape=json`, recognised by a status and a request.
fn access<'a>(values: &Values<'a>) -> Option<Access<'a>> {
    let status =
        scalar(values.status?).parse().ok().filter(|status| (100..600).contains(status))?;
    let field =
        |raw: Option<&'a str>| raw.map(scalar).filter(|text| *text != "-").unwrap_or_default();
    let mut access = Access {
        client: field(values.client),
        method: field(values.method),
        target: field(values.target),
        status,
        bytes: values.size.and_then(|raw| scalar(raw).parse().ok()).unwrap_or_default(),
        referrer: field(values.referrer),
        agent: field(values.agent),
        duration: values.duration.and_then(|raw| scalar(raw).parse().ok()),
    };
    let request = field(values.request);
    if access.target.is_empty()
        && let Some((method, rest)) = request.split_once(' ')
    {
        access.method = method;
        access.target = super::access::target(rest);
    }
    (!access.target.is_empty() || !access.method.is_empty()).then_some(access)
}
