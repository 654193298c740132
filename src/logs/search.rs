//! Looking into the window: by source, time, severity and text, newest first.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    record::{Fields, Kind, Record, Severity},
    window::{Segment, Stream},
};
use crate::{
    clock,
    error::{Error, Result},
};

/// The longest page.
pub const MAX_LIMIT: usize = 200;

/// The most records shown on each side of one.
pub const MAX_AROUND: usize = 200;

/// Bytes of a pattern, and of what a regular expression may be compiled to.
const MAX_PATTERN: usize = 1000;
const MAX_COMPILED: usize = 1 << 20;

/// One record as the outside sees it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = LogEntry)]
pub struct Entry {
    /// Stable, also over restarts; [`super::Live::around`] takes it.
    pub id: String,
    pub source: String,
    /// The file, where the source has files.
    pub file: Option<String>,
    /// 1-based number of its first line.
    pub line: u64,
    /// When it was written, or, if it does not tell, when it was read.
    pub at: DateTime<Utc>,
    pub severity: Severity,
    pub kind: Kind,
    pub text: String,
    /// What its format offers beside the text.
    #[schema(value_type = Object)]
    pub fields: Value,
}

/// What is looked for; the default finds everything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Names of sources; empty means all.
    pub sources: Vec<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// At least this bad.
    pub severity: Option<Severity>,
    pub text: Option<Pattern>,
    /// At most this many, and at most [`MAX_LIMIT`]; 0 means 50.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Position>,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    at: i64,
    seq: u64,
    /// The process that counted `seq`.
    epoch: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Newest first.
    pub records: Vec<Entry>,
    /// Set if there are more.
    pub next: Option<Position>,
}

/// A text to be found, upper and lower case alike.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// `/…/` is a regular expression (of the `regex` crate: linear time), all else is
    /// looked for as it stands.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_PATTERN {
            return Err(Error::invalid(format!("q may be {MAX_PATTERN} bytes long")));
        }
        let expression = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let source = expression.map_or_else(|| regex::escape(text), str::to_owned);
        RegexBuilder::new(&source)
            .case_insensitive(true)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .build()
            .map(Self)
            .map_err(|error| Error::invalid(format!("q is no valid expression: {error}")))
    }

    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl Query {
    /// Whether one record is wanted; used for those who watch.
    pub fn wants(&self, entry: &Entry) -> bool {
        (self.sources.is_empty() || self.sources.contains(&entry.source))
            && self.severity.is_none_or(|least| entry.severity >= least)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at <= until)
            && self.text.as_ref().is_none_or(|text| text.is_in(&entry.text))
    }
}

/// A record's place in the order of answers, and where it lies.
type Found = (i64, u64, usize, usize);

/// Searches what `segments` gives for each chosen source.
pub(super) fn search(
    names: &[String],
    segments: impl Fn(usize) -> Vec<Arc<Segment>>,
    query: &Query,
    epoch: i64,
) -> Result<Page> {
    let limit = if query.limit == 0 { 50 } else { query.limit.min(MAX_LIMIT) };
    let before = match query.after {
        Some(position) if position.epoch != epoch => {
            return Err(Error::invalid(
                "the cursor is from before Lux was restarted; start without a cursor",
            ));
        }
        Some(position) => (position.at, position.seq),
        None => (i64::MAX, u64::MAX),
    };
    let since = query.since.map_or(i64::MIN, |since| since.timestamp_micros());
    let until = query.until.map_or(i64::MAX, |until| until.timestamp_micros());
    let chosen: Vec<Arc<Segment>> = choose(names, &query.sources)?
        .into_iter()
        .flat_map(|source| segments(source).into_iter().rev())
        .collect();
    // The newest `limit` that fit, the oldest of them on top; one more tells of a next page.
    let mut found: BinaryHeap<Reverse<Found>> = BinaryHeap::with_capacity(limit + 2);
    for (number, segment) in chosen.iter().enumerate() {
        if segment.latest < since {
            continue;
        }
        for (index, meta) in segment.metas.iter().enumerate().rev() {
            let full = found.len() > limit;
            let least = found.peek().filter(|_| full).map(|Reverse(least)| (least.0, least.1));
            if least.is_some_and(|least| (segment.latest, u64::MAX) < least) {
                break;
            }
            let place = (meta.at, meta.seq);
            if place >= before
                || meta.at < since
                || meta.at > until
                || least.is_some_and(|least| place < least)
                || query.severity.is_some_and(|least| meta.severity < least)
                || query.text.as_ref().is_some_and(|text| !text.is_in(segment.text(meta)))
            {
                continue;
            }
            found.push(Reverse((meta.at, meta.seq, number, index)));
            if found.len() > limit + 1 {
                found.pop();
            }
        }
    }
    let more = found.len() > limit;
    let mut found: Vec<Found> = found.into_iter().map(|Reverse(found)| found).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(limit);
    let last = found.last().map(|&(at, seq, ..)| Position { at, seq, epoch });
    let records = found
        .iter()
        .filter_map(|&(_, _, segment, index)| owned(names, chosen.get(segment)?, index));
    Ok(Page { records: records.collect(), next: last.filter(|_| more) })
}

/// The indices of the sources that were named; none named means all.
pub(super) fn choose(names: &[String], wanted: &[String]) -> Result<Vec<usize>> {
    if wanted.is_empty() {
        return Ok((0..names.len()).collect());
    }
    let find = |name: &String| {
        names.iter().position(|known| known == name).ok_or_else(|| {
            Error::invalid(format!(
                "there is no source \"{}\"; the sources are: {}",
                name.chars().take(100).collect::<String>(),
                names.join(", ")
            ))
        })
    };
    wanted.iter().map(find).collect()
}

/// The records around one, of the same file, oldest first. `None` if the window does
/// not hold it.
pub(super) fn around(
    names: &[String],
    segments: impl Fn(usize) -> Vec<Arc<Segment>>,
    id: &str,
    each_side: usize,
) -> Option<Vec<Entry>> {
    let (tag, line) = id.split_once('-')?;
    let tag = i64::from_str_radix(tag, 16).ok()?;
    let line: u64 = line.parse().ok()?;
    let each_side = each_side.min(MAX_AROUND);
    let all: Vec<Arc<Segment>> =
        (0..names.len()).flat_map(segments).filter(|segment| segment.has_stream(tag)).collect();
    let mut lines = BTreeMap::new();
    for segment in &all {
        for (index, meta) in segment.metas.iter().enumerate() {
            if segment.stream(meta).is_some_and(|stream| stream.tag == tag) {
                lines.insert(meta.line, (segment, index));
            }
        }
    }
    lines.get(&line)?;
    let before = lines.range(..line).rev().take(each_side).count();
    let from = lines.range(..line).rev().take(before).last().map_or(line, |(line, _)| *line);
    let shown = lines.range(from..).take(before + 1 + each_side);
    Some(shown.filter_map(|(_, (segment, index))| owned(names, segment, *index)).collect())
}

/// The id of the record that holds line `line` of a source or file. Only numbers are compared;
/// no record is read but the one that is found.
pub(super) fn locate(
    names: &[String],
    segments: impl Fn(usize) -> Vec<Arc<Segment>>,
    quoted: &str,
    line: u64,
) -> Option<String> {
    let mut best: Option<(u64, i64, Arc<Segment>, usize)> = None;
    for (source, name) in names.iter().enumerate() {
        for segment in segments(source) {
            for (index, meta) in segment.metas.iter().enumerate() {
                let fits =
                    |stream: &Arc<Stream>| name == quoted || stream.path.as_deref() == Some(quoted);
                let better = best
                    .as_ref()
                    .is_none_or(|(found, at, ..)| (meta.line, meta.at) > (*found, *at));
                if meta.line <= line && better && segment.stream(meta).is_some_and(fits) {
                    best = Some((meta.line, meta.at, Arc::clone(&segment), index));
                }
            }
        }
    }
    let (_, _, segment, index) = best?;
    let record = segment.record(index)?;
    let stream = segment.stream(segment.metas.get(index)?)?;
    let holds = record.line_at(record.text.len()) >= line;
    holds.then(|| format!("{:x}-{}", stream.tag, record.line))
}

fn owned(names: &[String], segment: &Segment, index: usize) -> Option<Entry> {
    let record = segment.record(index)?;
    let meta = segment.metas.get(index)?;
    let stream = segment.stream(meta)?;
    let mut entry = entry(names.get(stream.source)?, stream, &record);
    entry.at = meta.time();
    Some(entry)
}

/// The record as the outside sees it.
pub(super) fn entry(source: &str, stream: &Stream, record: &Record<'_>) -> Entry {
    Entry {
        id: format!("{:x}-{}", stream.tag, record.line),
        source: source.to_owned(),
        file: stream.path.clone(),
        line: record.line,
        at: record.at.unwrap_or_else(clock::now),
        severity: record.severity,
        kind: record.kind,
        text: record.text.clone().into_owned(),
        fields: fields(record),
    }
}

/// What a record's format offers, without what it does not tell.
fn fields(record: &Record<'_>) -> Value {
    let mut fields = match &record.fields {
        Fields::None => json!({}),
        Fields::Access(access) => json!({
            "client": access.client, "method": access.method, "target": access.target,
            "status": access.status, "bytes": access.bytes, "referrer": access.referrer,
            "agent": access.agent, "duration": access.duration,
        }),
        Fields::Nginx(line) => {
            let nginx = line.read();
            json!({
                "pid": nginx.pid, "errno": nginx.errno, "action": nginx.action,
                "client": nginx.client, "server": nginx.server, "request": nginx.request,
                "upstream": nginx.upstream, "host": nginx.host,
            })
        }
        Fields::Logger(logger) => json!({
            "logger": logger.name, "pid": logger.pid, "method": logger.method,
            "endpoint": logger.endpoint, "request_id": logger.request_id,
        }),
        Fields::Journal(journal) => json!({
            "cursor": journal.cursor, "unit": journal.unit, "identifier": journal.identifier,
            "pid": journal.pid, "message_id": journal.message_id,
        }),
        Fields::Event(event) => json!({
            "event": event.id, "error_type": event.error_type, "method": event.method,
            "endpoint": event.endpoint,
        }),
    };
    if let Value::Object(map) = &mut fields {
        map.retain(|_, value| !value.is_null());
    }
    fields
}
