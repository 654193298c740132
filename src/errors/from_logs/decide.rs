//! Which records may be events, and what they tell. It is asked for each record of each log,
//! by the threads that read: what is none must be seen at once.
//!
//! | record | event? | because |
//! | --- | --- | --- |
//! | holds a stack trace, of any severity | yes | somebody saw fit to log where it broke |
//! | severity error or worse, with a message | yes | that is what the severity says |
//! | warning or less | no | the program went on as it was meant to |
//! | request answered with 5xx | never by itself | another line says why; alone it is a count |
//! | nginx, error or worse, about an upstream | yes | the application did not answer |
//! | nginx, crit or worse, but TLS handshakes | yes | nginx itself cannot work |
//! | nginx, error without upstream | no | clients' doing: missing files, limits, bodies |
//! | systemd: a service failed, was given up | yes | once a failure, with unit and exit code |
//! | kernel: out of memory, segfault | yes | with the process; all else is not the application |
//! | PostgreSQL, Redis | only if the source says `capture = true` | the application reports it |
//! | Lux's own | no | Lux reports its own errors; else one about capturing would feed itself |
//! | answer to a probe of Lux | no, and tells what the probe caused | nobody was affected |

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    OLDEST,
    candidate::{self, Candidate, Rank},
    host::{self, Failure, Units},
};
use crate::{
    clock,
    config::{Config, SourceKind},
    errors::{
        event::{MAX_MESSAGE, MAX_STACK},
        traceback::Trace,
    },
    logs::{Access, Heard, Kind, NginxError, Record, Severity},
    outbound::visit::AGENT,
};

/// Bytes of a record of low severity that are searched for a stack trace.
const LOOK: usize = 64 << 10;
/// Longest endpoint.
const MAX_ENDPOINT: usize = 2000;
/// Longest method.
const MAX_METHOD: usize = 20;
/// Lengths that names of requests have.
const REQUEST: std::ops::RangeInclusive<usize> = 8..=200;

/// See the module's first lines.
#[derive(Debug)]
pub(super) struct Decide {
    host: String,
    sources: Vec<Setting>,
    units: Mutex<Units>,
}

#[derive(Debug)]
struct Setting {
    capture: bool,
    app: String,
    /// A database's own log, which was asked for.
    database: bool,
}

/// When a record was written.
#[derive(Clone, Copy)]
struct When {
    at: DateTime<Utc>,
    dated: bool,
    read: DateTime<Utc>,
}

impl Decide {
    pub(super) fn new(host: String, config: &Config) -> Self {
        let only = match config.apps.as_slice() {
            [only] => only.name.clone(),
            _ => String::new(),
        };
        let setting = |source: &crate::config::Source| Setting {
            capture: source.capture,
            app: source.app.clone().unwrap_or_else(|| only.clone()),
            database: matches!(source.kind, SourceKind::Postgres | SourceKind::Redis),
        };
        Self {
            host,
            sources: config.sources.iter().map(setting).collect(),
            units: Mutex::default(),
        }
    }

    /// The candidate that a record is, if it is one.
    pub(super) fn of(&self, heard: &Heard<'_>) -> Option<Candidate> {
        let setting = self.sources.get(heard.source).filter(|setting| setting.capture)?;
        let record = heard.record;
        if let Some(access) = record.access() {
            if access.status < 500 {
                return None;
            }
            let when = when(heard)?;
            return Some(self.access(heard, setting, access, when));
        }
        if record.is_nginx_error() && record.severity < Severity::Error {
            return None;
        }
        if let Some(nginx) = record.nginx() {
            if !is_of_nginx(&nginx, record) {
                return None;
            }
            let when = when(heard)?;
            return Some(self.nginx(heard, setting, &nginx, when));
        }
        let identifier = record.journal().and_then(|journal| journal.identifier);
        match identifier {
            Some("systemd") => {
                let when = when(heard)?;
                let unit = record.journal().and_then(|journal| journal.unit);
                let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
                let failure = units.of_systemd(unit, record.message(), when.at)?;
                drop(units);
                return Some(self.failure(heard, setting, failure, when));
            }
            Some("kernel") => return self.kernel(heard, setting),
            Some(child) if child.starts_with('(') => {
                let unit = record.journal().and_then(|journal| journal.unit);
                let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
                units.of_child(unit, record.message(), record.at.unwrap_or_else(clock::now));
                return None;
            }
            _ => {}
        }
        match record.said_kind() {
            Kind::Kernel => return self.kernel(heard, setting),
            Kind::Postgres | Kind::Redis if !setting.database => return None,
            _ => {}
        }
        let bad = record.severity >= Severity::Error;
        let message = record.message();
        let traced = has_trace(message, bad);
        if !(traced || bad) || is_own(record) || (!traced && is_routine(record, message)) {
            return None;
        }
        let when = when(heard)?;
        Some(self.said(heard, setting, message, traced, when))
    }

    fn draft(&self, heard: &Heard<'_>, setting: &Setting, rank: Rank, when: When) -> Candidate {
        let record = heard.record;
        let journal = record.journal();
        let unit = journal.and_then(|journal| journal.unit.or(journal.identifier));
        let mut place = format!("{}:{}", heard.name, heard.file.or(unit).unwrap_or_default());
        if rank == Rank::Access {
            // nginx may write both its logs into the journal.
            place.push_str("#access");
        }
        let grace = TimeDelta::from_std(rank.grace()).unwrap_or_default();
        let mut tags = BTreeMap::from([("source".to_owned(), heard.name.to_owned())]);
        if let Some(unit) = journal.and_then(|journal| journal.unit) {
            tags.insert("unit".to_owned(), unit.to_owned());
        }
        Candidate {
            id: candidate::id(&self.host, heard),
            rank,
            source: heard.name.to_owned(),
            place,
            record: heard.id(),
            line: record.line,
            at: when.at,
            dated: when.dated,
            due: (when.read + grace).timestamp_micros(),
            app: setting.app.clone(),
            severity: record.severity.max(Severity::Error),
            class: None,
            text: String::new(),
            method: None,
            endpoint: None,
            request: None,
            duration: None,
            probe: false,
            fault: None,
            tags,
        }
    }

    fn access(
        &self,
        heard: &Heard<'_>,
        setting: &Setting,
        access: &Access<'_>,
        when: When,
    ) -> Candidate {
        let mut candidate = self.draft(heard, setting, Rank::Access, when);
        candidate.method = method(access.method);
        candidate.endpoint = path(access.target);
        candidate.duration = access.duration;
        candidate.probe = access.agent.starts_with(AGENT);
        candidate.request = request(&heard.record.text, true);
        candidate.text = format!("{} {}", access.status, access.path());
        candidate.text.truncate(candidate.text.floor_char_boundary(MAX_ENDPOINT));
        candidate
    }

    fn nginx(
        &self,
        heard: &Heard<'_>,
        setting: &Setting,
        nginx: &NginxError<'_>,
        when: When,
    ) -> Candidate {
        let mut candidate = self.draft(heard, setting, Rank::Nginx, when);
        let own = heard.record.message().split(", client: ").next().unwrap_or_default();
        let own = own.split('\n').next().unwrap_or_default();
        let (said, action) = match nginx.action {
            Some(action) => (own.rsplit_once(" while ").map_or(own, |(said, _)| said), action),
            None => (own, ""),
        };
        let upstream = is_upstream(nginx, own);
        candidate.class = Some(if upstream { "nginx upstream" } else { "nginx" }.to_owned());
        candidate.text = cut(said, MAX_MESSAGE);
        if let Some((verb, target)) = nginx.request.and_then(|request| request.split_once(' ')) {
            candidate.method = method(verb);
            candidate.endpoint = path(target.split(" HTTP/").next().unwrap_or_default());
        }
        let tags = [("action", action), ("upstream", nginx.upstream.unwrap_or_default())];
        for (name, value) in tags {
            if !value.is_empty() {
                let value = value.split(['?', '#']).next().unwrap_or_default();
                candidate.tags.insert(name.to_owned(), value.to_owned());
            }
        }
        candidate
    }

    fn kernel(&self, heard: &Heard<'_>, setting: &Setting) -> Option<Candidate> {
        if heard.record.severity < Severity::Error {
            return None;
        }
        let failure = host::of_kernel(heard.record.message())?;
        Some(self.failure(heard, setting, failure, when(heard)?))
    }

    fn failure(
        &self,
        heard: &Heard<'_>,
        setting: &Setting,
        failure: Failure,
        when: When,
    ) -> Candidate {
        let mut candidate = self.draft(heard, setting, Rank::Host, when);
        candidate.class = Some(failure.class.to_owned());
        candidate.text = failure.message;
        candidate.fault = failure.fault.map(str::to_owned);
        candidate.tags.extend(failure.tags);
        candidate
    }

    /// What a program logged in words of its own.
    fn said(
        &self,
        heard: &Heard<'_>,
        setting: &Setting,
        message: &str,
        traced: bool,
        when: When,
    ) -> Candidate {
        let rank = if traced { Rank::Trace } else { Rank::Message };
        let mut candidate = self.draft(heard, setting, rank, when);
        candidate.text = cut(message, if traced { MAX_STACK } else { MAX_MESSAGE });
        if heard.record.severity == Severity::Warning {
            // It was caught and told, and the program went on.
            candidate.severity = Severity::Warning;
        }
        if let Some(logger) = heard.record.logger() {
            candidate.method = logger.method.and_then(method);
            candidate.endpoint = logger.endpoint.and_then(path);
            candidate.request = logger.request_id.as_deref().and_then(named);
            if let Some(name) = logger.name {
                candidate.tags.insert("logger".to_owned(), name.to_owned());
            }
        }
        if candidate.request.is_none() {
            let first = heard.record.text.split('\n').next().unwrap_or_default();
            candidate.request = request(first, false);
        }
        candidate
    }
}

/// When the record was written; `None` if that is too long ago, or nobody can know.
fn when(heard: &Heard<'_>) -> Option<When> {
    let read = clock::now();
    match heard.record.at {
        Some(at) => (read - at <= OLDEST).then_some(When { at, dated: true, read }),
        None => (!heard.history).then_some(When { at: read, dated: false, read }),
    }
}

/// Whether the text holds a stack trace. Of what is no error by its severity the trace must
/// be one that can be read: an indented "at" is no proof.
fn has_trace(text: &str, bad: bool) -> bool {
    if memchr::memchr(b'\n', text.as_bytes()).is_none() {
        return false;
    }
    let text = if bad { text } else { &text[..text.floor_char_boundary(LOOK)] };
    let has = |mark: &str| memchr::memmem::find(text.as_bytes(), mark.as_bytes()).is_some();
    if has("Traceback (most recent call last)") {
        return true;
    }
    let marks = ["\n\tat ", "\n    at ", "\n   at ", "\n#0 ", ":in `", ":in '", "\ngoroutine "];
    marks.into_iter().any(has)
        && Trace::parse(text).is_some_and(|trace| {
            trace.exceptions.iter().any(|exception| !exception.frames.is_empty())
        })
}

fn is_upstream(nginx: &NginxError<'_>, own: &str) -> bool {
    nginx.upstream.is_some()
        || nginx.action.is_some_and(|action| action.contains("upstream"))
        || own.contains("upstream")
}

/// Whether an error of nginx is one of the host or of what stands behind it.
fn is_of_nginx(nginx: &NginxError<'_>, record: &Record<'_>) -> bool {
    let own = record.message().split(", client: ").next().unwrap_or_default();
    let handshake = nginx.action.is_some_and(|action| action.contains("SSL handshaking"));
    // PHP sends its warnings through the same line as its fatal errors.
    let mild = ["PHP Warning", "PHP Notice", "PHP Deprecated"];
    let php = mild.iter().any(|mild| own.contains(mild))
        && !["PHP Fatal", "PHP Parse", "Uncaught"].iter().any(|worse| own.contains(worse));
    if php || (handshake && nginx.upstream.is_none()) {
        return false;
    }
    record.severity >= Severity::Critical || is_upstream(nginx, own)
}

/// What is logged as an error and is none: gunicorn's words about being told to stop, and
/// about trying again what it has just said to have failed.
fn is_routine(record: &Record<'_>, message: &str) -> bool {
    record.said_kind() == Kind::Gunicorn
        && (message.starts_with("Retrying in ")
            || ["SIGTERM", "SIGINT", "SIGQUIT"]
                .iter()
                .any(|signal| message.ends_with(&format!("was sent {signal}!"))))
}

/// Whether Lux wrote it.
fn is_own(record: &Record<'_>) -> bool {
    if let Some(journal) = record.journal()
        && (journal.identifier == Some("lux")
            || journal.unit == Some("lux.service")
            || journal.pid == Some(std::process::id()))
    {
        return true;
    }
    let text = &record.text[..record.text.floor_char_boundary(4096)];
    if text.starts_with('{') {
        return text.contains(r#""target":"lux::"#);
    }
    // "2026-11-21T22:17:44.123456Z ERROR lux::errors::capture: …"
    let head = &text[..text.floor_char_boundary(120)];
    head.contains("ERROR lux::") || head.contains("WARN lux::")
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let (first, last) = (text.floor_char_boundary(most / 2), text.len() - most / 2);
    format!("{}\n…\n{}", &text[..first], &text[text.ceil_char_boundary(last)..])
}

fn method(text: &str) -> Option<String> {
    let fits = (1..=MAX_METHOD).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    fits.then(|| text.to_ascii_uppercase())
}

/// The path of a request's target: what customers put into the query is not kept.
fn path(target: &str) -> Option<String> {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => &rest[rest.find('/')?..],
        _ => target,
    };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    path.starts_with('/').then(|| path[..path.floor_char_boundary(MAX_ENDPOINT)].to_owned())
}

/// A text that can be the name of a request.
fn named(text: &str) -> Option<String> {
    let fits = REQUEST.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    fits.then(|| text.to_owned())
}

/// What names the request in a line: the value of a key like "request_id", and of an access
/// line (`bare`) also what looks like nginx's `$request_id`.
fn request(text: &str, bare: bool) -> Option<String> {
    const KEYS: [&str; 7] =
        ["request_id", "request-id", "Request-Id", "Request-ID", "requestId", "req_id", "rid="];
    let text = &text[..text.floor_char_boundary(8192)];
    // Of an access line what stands behind the request: the path is the client's own.
    let text = match text.split_once(" HTTP/") {
        Some((_, behind)) if bare && !text.starts_with('{') => behind,
        _ => text,
    };
    for key in KEYS {
        let Some(at) = memchr::memmem::find(text.as_bytes(), key.as_bytes()) else { continue };
        let rest = text[at + key.len()..].trim_start_matches(['"', '\'', ':', '=', ' ', '[']);
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        if let Some(found) = named(&rest[..end.unwrap_or(rest.len())]) {
            return Some(found);
        }
    }
    if !bare {
        return None;
    }
    let is_id = |word: &&str| {
        word.len() == 32 && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    text.split(|c: char| !c.is_ascii_alphanumeric()).find(is_id).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{has_trace, path, request};

    #[test]
    fn requests_are_named() {
        let id = "0123456789abcdef0123456789abcdef";
        let line = format!(r#"1.2.3.4 - - [x] "GET /a HTTP/1.1" 502 1 "-" "curl" {id} 0.1"#);
        assert_eq!(request(&line, true).as_deref(), Some(id));
        assert_eq!(request(&line, false), None);
        let json = r#"{"msg":"x","request_id":"ab-12-cd-34"}"#;
        assert_eq!(request(json, false).as_deref(), Some("ab-12-cd-34"));
        let text = "ERROR shop: failed [request_id=ab12cd34]";
        assert_eq!(request(text, false).as_deref(), Some("ab12cd34"));
        assert_eq!(request("request_id: -", false), None);
        let forged = r#"1.2.3.4 - - [x] "GET /a?request_id=ab12cd34 HTTP/1.1" 502 1 "-" "curl""#;
        assert_eq!(request(forged, true), None);
    }

    #[test]
    fn paths_have_no_query() {
        assert_eq!(path("/a?token=1").as_deref(), Some("/a"));
        assert_eq!(path("http://shop/a/b?x").as_deref(), Some("/a/b"));
        assert_eq!(path("*"), None);
    }

    #[test]
    fn prose_is_no_trace() {
        assert!(!has_trace("all went well\n    at last it did", false));
        assert!(has_trace("TypeError: x\n    at f (/srv/shop/a.js:1:2)", false));
        assert!(has_trace("a.b.SomeException: x\n\tat com.shop.Cart.total(Cart.java:4)", false));
        assert!(has_trace("Uncaught E: x in /a.php:1\n#0 /srv/a.php(1): f()\n#1 {main}", false));
        assert!(has_trace("a.rb:1:in `f': x (E)\n\tfrom a.rb:2:in `<main>'", false));
        assert!(has_trace("panic: x\n\ngoroutine 1 [running]:\nmain.f()\n\t/srv/a.go:1", false));
        assert!(!has_trace("it was\n#0 of all, seen in 'x'", false));
    }
}
