//! Feeding records to the advisor.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    Advisor, Diagnosis, Inner, Scanned,
    family::{self, Family},
    matcher::{self, Found},
    rank,
    tally::{Hit, Records, Tally},
    traceback,
    traffic::{Traffic, clip, is_loopback},
    unexplained::Unexplained,
};
use crate::logs::{Fields, Kind, Record, Severity};

/// Bytes of a quotation.
const QUOTE: usize = 500;
/// Bytes of a record that are searched; what is longer is cut.
const SEARCHED: usize = 256 * 1024;

/// What the advisor has seen so far; of bounded size, whatever is fed.
pub struct Scan {
    pub(crate) advisor: Arc<Inner>,
    pub(crate) sources: Vec<Source>,
    /// One for each signal.
    pub(crate) tallies: Vec<Tally>,
    /// One for each playbook: what its unconditional signals matched.
    pub(crate) records: Vec<Records>,
    pub(crate) traffic: Traffic,
    pub(crate) unexplained: Unexplained,
    found: Vec<Found>,
    heard: Heard,
}

/// What was found in nginx's own words at a severity; it repeats them for every request
/// of a storm. Places count from the beginning of the message.
type Heard = HashMap<Box<str>, (Severity, Vec<Found>)>;
/// Messages that are remembered, and the longest of them in bytes.
const HEARD: usize = 256;
const HEARD_BYTES: usize = 300;

/// One log, by the name it is cited by.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub name: String,
    pub kind: Kind,
    pub records: u64,
    pub first: Option<DateTime<Utc>>,
    pub last: Option<DateTime<Utc>>,
}

impl Scan {
    pub fn new(advisor: &Advisor) -> Self {
        Self {
            tallies: vec![Tally::default(); advisor.inner.matcher.signals.len()],
            records: vec![Records::default(); advisor.inner.playbooks.len()],
            advisor: Arc::clone(&advisor.inner),
            sources: Vec::new(),
            traffic: Traffic::default(),
            unexplained: Unexplained::default(),
            found: Vec::new(),
            heard: Heard::default(),
        }
    }

    /// Takes one record of the log `source`. Access records are counted, all others
    /// searched.
    pub fn feed(&mut self, source: &str, record: &Record<'_>) {
        let source = self.source(source, record);
        if let Fields::Access(access) = &record.fields {
            // nginx asks upstreams in HTTP/1.0 unless told otherwise
            let inner = record.kind != Kind::NginxAccess
                || is_loopback(access.client) && record.text.contains(" HTTP/1.0\" ");
            self.traffic.add(source, inner, record, access);
        } else {
            self.search(source, record);
        }
    }

    fn source(&mut self, name: &str, record: &Record<'_>) -> usize {
        let index = match self.sources.last() {
            Some(last) if last.name == name => self.sources.len() - 1,
            _ => self.sources.iter().position(|source| source.name == name).unwrap_or_else(|| {
                self.sources.push(Source {
                    name: name.to_owned(),
                    kind: record.kind,
                    records: 0,
                    first: None,
                    last: None,
                });
                self.sources.len() - 1
            }),
        };
        let source = &mut self.sources[index];
        source.records += 1;
        source.first = [source.first, record.at].into_iter().flatten().min();
        source.last = source.last.max(record.at);
        index
    }

    fn search(&mut self, source: usize, record: &Record<'_>) {
        let family = Family::of(record);
        let kind = family::kind_of(record);
        // behind `client:` stands what a client sent: it proves nothing
        let text: &str = match kind {
            Kind::NginxError => {
                let client = memchr::memmem::find(record.text.as_bytes(), b", client: ");
                &record.text[..client.unwrap_or(record.text.len())]
            }
            _ => clip(&record.text, SEARCHED),
        };
        let unescaped = match &record.fields {
            Fields::Logger(logger) => logger.unescaped.as_deref(),
            _ => None,
        };
        let mut found = std::mem::take(&mut self.found);
        let chain = if family == Family::App || family == Family::Other {
            traceback::parse(unescaped.unwrap_or(text))
        } else {
            Vec::new()
        };
        let advisor = Arc::clone(&self.advisor);
        if let Some(plain) = unescaped {
            advisor.matcher.search(plain, true, &chain, &mut found);
        }
        let own_chain = if unescaped.is_some() { &[][..] } else { &chain[..] };
        if record.kind == Kind::NginxError {
            self.hear(record, text, &mut found);
        } else {
            advisor.matcher.search(text, false, own_chain, &mut found);
        }
        let ends: Vec<_> = traceback::root(&chain).into_iter().chain(chain.last()).collect();
        for raised in &ends {
            let whole = unescaped.unwrap_or(text);
            // a slice of `whole`, so its place is the distance of the two
            let at = raised.line.as_ptr() as usize - whole.as_ptr() as usize;
            advisor.matcher.raised(raised.name(), whole, at, unescaped.is_some(), &mut found);
            if found.iter().any(|hit| is_general(&advisor, hit)) {
                break;
            }
        }

        found.retain(|hit| counts(&advisor, hit, family, kind, record.severity));
        // general playbooks speak only where no specific one does
        if let Some(least) = found
            .iter()
            .map(|hit| {
                advisor.playbooks[advisor.matcher.signals[hit.signal as usize].playbook].generality
            })
            .min()
        {
            found.retain(|hit| {
                advisor.playbooks[advisor.matcher.signals[hit.signal as usize].playbook].generality
                    <= least
            });
        }

        let explains = found.iter().any(|hit| {
            advisor.playbooks[advisor.matcher.signals[hit.signal as usize].playbook].role
                != super::Role::Fact
        });
        if !explains && record.severity >= Severity::Error && family != Family::Statement {
            self.unexplained.add(
                source,
                record.line,
                chain.last().map_or_else(|| first_line(record.message()), |raised| raised.line),
            );
        }
        let frame = traceback::blamed(&chain).map(|frame| {
            let place = format!("{} line {}", frame.file, frame.line);
            if frame.function.is_empty() { place } else { format!("{place} in {}", frame.function) }
        });
        for (index, hit) in found.iter().enumerate() {
            let signal = &advisor.matcher.signals[hit.signal as usize];
            let is_known = |other: &Found| {
                let other = &advisor.matcher.signals[other.signal as usize];
                other.playbook == signal.playbook && !other.is_conditional()
            };
            if !signal.is_conditional() && !found[..index].iter().any(is_known) {
                self.records[signal.playbook].add(record, family);
            }
        }
        for hit in found.drain(..) {
            let signal = &advisor.matcher.signals[hit.signal as usize];
            let weak = is_weak(signal, family, kind, record.severity);
            let in_unescaped = unescaped.filter(|_| hit.clear);
            self.tallies[hit.signal as usize].add(record.at, weak, || {
                let shown_at = hit.shown.unwrap_or(hit.at);
                let (line, shown) = quote(record, in_unescaped, shown_at);
                // What a logger says of a traceback, and what was raised.
                let raised = chain.last().filter(|_| {
                    in_unescaped.is_none()
                        && record.kind != Kind::Event
                        && traceback::rank(text, &chain, shown_at) == traceback::Rank::Message
                });
                let raised = raised.map(|raised| {
                    let at = raised.line.as_ptr() as usize - text.as_ptr() as usize;
                    let (line, shown) = quote(record, None, at);
                    (line, shown.into())
                });
                let captures = signal.captures(in_unescaped.unwrap_or(text), hit.at);
                Hit {
                    source,
                    line,
                    text: shown.into(),
                    raised,
                    at: record.at,
                    pid: captured_pid(&captures).or_else(|| pid(record)),
                    unit: unit(record).map(Into::into),
                    upstream: upstream(record).map(Into::into),
                    request: request(record, unescaped.unwrap_or(text)),
                    frame: frame.as_deref().map(Into::into),
                    captures,
                    weak,
                    family,
                }
            });
        }
        self.found = found;
    }

    /// Searches a line of nginx's error log, or remembers what was found in the same words.
    fn hear(&mut self, record: &Record<'_>, text: &str, found: &mut Vec<Found>) {
        let from = record.message_at;
        let words = text.get(from..).filter(|words| words.len() <= HEARD_BYTES);
        if let Some((severity, heard)) = words.and_then(|words| self.heard.get(words))
            && *severity == record.severity
        {
            found.extend(heard.iter().map(|hit| Found { at: hit.at + from, ..*hit }));
            return;
        }
        self.advisor.matcher.search(text, false, &[], found);
        if let Some(words) = words
            && found.iter().all(|hit| hit.at >= from)
        {
            if self.heard.len() >= HEARD {
                self.heard.clear();
            }
            let heard = found.iter().map(|hit| Found { at: hit.at - from, ..*hit });
            self.heard.insert(words.into(), (record.severity, heard.collect()));
        }
    }

    /// Adds what was made of the part of the logs that follows this one.
    pub fn merge(&mut self, later: Self) {
        let mut sources = Vec::with_capacity(later.sources.len());
        for source in later.sources {
            if let Some(index) = self.sources.iter().position(|own| own.name == source.name) {
                let own = &mut self.sources[index];
                own.records += source.records;
                own.first = [own.first, source.first].into_iter().flatten().min();
                own.last = own.last.max(source.last);
                sources.push(index);
            } else {
                sources.push(self.sources.len());
                self.sources.push(source);
            }
        }
        for (tally, mut part) in self.tallies.iter_mut().zip(later.tallies) {
            for hit in part.hits_mut() {
                hit.source = sources.get(hit.source).copied().unwrap_or(hit.source);
            }
            tally.merge(part);
        }
        for (own, part) in self.records.iter_mut().zip(later.records) {
            own.merge(part);
        }
        self.traffic.merge(later.traffic, &sources);
        self.unexplained.merge(later.unexplained, &sources);
    }

    /// Concludes. `scanned` and `notes` are the reader's, where it has some.
    pub fn finish(self, scanned: Scanned, notes: Vec<String>) -> Diagnosis {
        rank::conclude(self, scanned, notes)
    }
}

fn is_general(advisor: &Inner, hit: &Found) -> bool {
    advisor.playbooks[advisor.matcher.signals[hit.signal as usize].playbook].generality > 0
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Whether the record's program and severity are what the signal asks for.
fn counts(advisor: &Inner, hit: &Found, family: Family, kind: Kind, severity: Severity) -> bool {
    let rule = &advisor.matcher.signals[hit.signal as usize].rule;
    let wanted = if rule.on.is_empty() {
        family != Family::Statement
    } else {
        rule.on.contains(&family)
            || (family == Family::Other && !rule.on.contains(&Family::Statement))
    };
    // A program that names no levels is not to be measured by them.
    let least = match rule.min {
        _ if family == Family::Other => Severity::Debug,
        Some(min) => min,
        None if has_level(family, kind) => Severity::Warning,
        None => Severity::Debug,
    };
    wanted && severity >= least
}

/// Whether the program's own level says how bad it is: systemd logs what services
/// print as "info", whatever it says, and servers' words speak for themselves.
fn has_level(family: Family, kind: Kind) -> bool {
    family == Family::App && matches!(kind, Kind::Python | Kind::Json | Kind::Gunicorn)
}

fn is_weak(signal: &matcher::Compiled, family: Family, kind: Kind, severity: Severity) -> bool {
    signal.rule.min.is_none() && has_level(family, kind) && severity < Severity::Error
}

/// The line number and the part of the line to show. For JSON (`plain` is the message
/// and traceback in clear) the same words as they stand in the file, escaped.
fn quote<'a>(record: &'a Record<'_>, plain: Option<&str>, at: usize) -> (u64, &'a str) {
    if let Some(plain) = plain {
        let clear = &plain[matcher::line_of(plain, at)];
        let escaped = serde_json::to_string(clear.trim()).unwrap_or_default();
        let escaped = clip(escaped.trim_matches('"'), QUOTE);
        let place = record.text.find(escaped).or_else(|| {
            let short: String =
                clear.trim().chars().take_while(|c| c.is_ascii() && *c != '"').collect();
            (short.len() >= 4).then(|| record.text.find(&short)).flatten()
        });
        let start = place.unwrap_or(0);
        let rest = &record.text[start..];
        let end = rest.find("\\n").unwrap_or(rest.len());
        return (record.line_at(start), clip(&rest[..end], QUOTE));
    }
    let range = matcher::line_of(&record.text, at.min(record.text.len()));
    let line = &record.text[range.clone()];
    let start = if line.len() > QUOTE && at - range.start > QUOTE / 2 {
        line.ceil_char_boundary(at - range.start - QUOTE / 4)
    } else {
        0
    };
    let number = if record.kind == Kind::Event { record.line } else { record.line_at(at) };
    (number, clip(&line[start..], QUOTE).trim())
}

fn captured_pid(captures: &[(String, String)]) -> Option<u32> {
    captures.iter().find(|(name, _)| name == "pid").and_then(|(_, value)| value.parse().ok())
}

fn pid(record: &Record<'_>) -> Option<u32> {
    match &record.fields {
        Fields::Logger(logger) => logger.pid,
        Fields::Journal(journal) => journal.pid,
        _ => None,
    }
}

fn unit<'a>(record: &'a Record<'_>) -> Option<&'a str> {
    match &record.fields {
        Fields::Journal(journal) => journal.unit,
        _ => None,
    }
}

/// `http://127.0.0.1:8000/path` → `127.0.0.1:8000`.
fn upstream<'a>(record: &'a Record<'_>) -> Option<&'a str> {
    let Fields::Nginx(line) = &record.fields else { return None };
    let address = line.read().upstream?;
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    if let Some(path) = address.strip_prefix("unix:") {
        // "unix:/run/app.sock:/path"
        let path = path.split(":/").next()?.trim_end_matches(['/', ':']);
        return Some(&address[..address.len().min("unix:".len() + path.len())]);
    }
    address.split('/').next()
}

/// The request that a record is about.
fn request(record: &Record<'_>, text: &str) -> Option<(Box<str>, Box<str>)> {
    let (method, path) = match &record.fields {
        Fields::Nginx(line) => line.read().request.and_then(request_line)?,
        Fields::Event(event) => (event.method.unwrap_or("GET"), event.endpoint?),
        Fields::Logger(logger) if logger.endpoint.is_some() => {
            (logger.method.unwrap_or("GET"), logger.endpoint?)
        }
        _ => named_request(text)?,
    };
    (path.starts_with('/') && path.len() < 300).then(|| (method.into(), path.into()))
}

fn request_line(line: &str) -> Option<(&str, &str)> {
    let mut parts = line.split(' ');
    let method = parts.next()?;
    let known = matches!(method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS");
    known.then_some((method, parts.next()?))
}

/// Flask's `Exception on /x [GET]`, Django's "Internal Server Error: /x".
fn named_request(text: &str) -> Option<(&str, &str)> {
    let line = first_line(text);
    if let Some((_, rest)) = line.split_once("Exception on ") {
        let (path, method) = rest.split_once(" [")?;
        return Some((method.split(']').next()?, path));
    }
    for head in
        ["Internal Server Error: ", "Bad Request: ", "Forbidden (", "Error handling request "]
    {
        if let Some((_, rest)) = line.split_once(head)
            && let Some(path) = rest.split([' ', '"']).next()
            && path.starts_with('/')
        {
            return Some(("GET", path));
        }
    }
    None
}
