//! What was said lately: a bounded memory of records, shared fairly by the sources.
//!
//! Records lie in segments: their texts in one string, beside it a few numbers for
//! each. A segment that is being looked at is never changed (`Arc::make_mut` copies
//! it first), so searching holds no lock while it searches.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};

use super::{
    format::Parser,
    record::{Fields, Journal, Jump, Kind, Record, Severity},
};
use crate::clock;

/// Bytes of text in a segment, more only if one record is longer.
const SEGMENT: usize = 64 << 10;

/// One life of one file, or the journal.
#[derive(Debug)]
pub(super) struct Stream {
    /// Index of its source.
    pub(super) source: usize,
    pub(super) path: Option<String>,
    /// First half of the ids of its records.
    pub(super) tag: i64,
    pub(super) parser: Parser,
}

/// What is kept of a record beside its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    start: u32,
    len: u32,
    /// What the journal told of the entry follows the text, in so many bytes.
    extra: u32,
    message_at: u32,
    pub(super) line: u64,
    /// When it was written, else when it was read, in microseconds since 1970.
    pub(super) at: i64,
    /// Counts all records of this process.
    pub(super) seq: u64,
    stream: u32,
    kind: Kind,
    pub(super) severity: Severity,
    /// The record itself tells its time.
    dated: bool,
    /// It was handed over before a restart, and read again.
    pub(super) again: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    text: String,
    pub(super) metas: Vec<Meta>,
    streams: Vec<Arc<Stream>>,
    /// Of the few records whose lines do not follow each other: index, jumps, omitted.
    odd: Vec<(usize, Vec<Jump>, u64)>,
    /// The latest time of a record.
    pub(super) latest: i64,
}

impl Segment {
    fn bytes(&self) -> usize {
        self.text.len() + self.metas.len() * size_of::<Meta>()
    }

    fn push(&mut self, stream: &Arc<Stream>, record: &Record<'_>, seq: u64, again: bool) {
        if self.metas.is_empty() {
            self.latest = i64::MIN;
        }
        let known = self.streams.iter().rposition(|known| Arc::ptr_eq(known, stream));
        let index = known.unwrap_or_else(|| {
            self.streams.push(Arc::clone(stream));
            self.streams.len() - 1
        });
        let start = self.text.len();
        self.text.push_str(&record.text);
        let len = self.text.len() - start;
        if let Fields::Journal(journal) = &record.fields {
            write_journal(&mut self.text, journal);
        }
        let at = record.at.unwrap_or_else(clock::now).timestamp_micros();
        self.latest = self.latest.max(at);
        if !record.jumps.is_empty() || record.omitted > 0 {
            self.odd.push((self.metas.len(), record.jumps.clone(), record.omitted));
        }
        self.metas.push(Meta {
            start: short(start),
            len: short(len),
            extra: short(self.text.len() - start - len),
            message_at: short(record.message_at),
            line: record.line,
            at,
            seq,
            stream: short(index),
            kind: record.kind,
            severity: record.severity,
            dated: record.at.is_some(),
            again,
        });
    }

    pub(super) fn stream(&self, meta: &Meta) -> Option<&Arc<Stream>> {
        self.streams.get(meta.stream as usize)
    }

    pub(super) fn has_stream(&self, tag: i64) -> bool {
        self.streams.iter().any(|stream| stream.tag == tag)
    }

    pub(super) fn text(&self, meta: &Meta) -> &str {
        self.text.get(range(meta.start, meta.len)).unwrap_or_default()
    }

    /// The record again, as it was read.
    pub(super) fn record(&self, index: usize) -> Option<Record<'_>> {
        let meta = self.metas.get(index)?;
        let text = self.text(meta);
        let mut record = if meta.extra > 0 {
            let extra = self.text.get(range(meta.start + meta.len, meta.extra))?;
            let mut journal = read_journal(extra);
            self.stream(meta)?.parser.read_said(&mut journal, text);
            let fields = Fields::Journal(journal);
            let message_at = meta.message_at as usize;
            Record { message_at, fields, ..Record::plain(text, meta.line) }
        } else {
            self.stream(meta)?.parser.parse(text, meta.line)
        };
        record.kind = meta.kind;
        record.severity = meta.severity;
        record.at = meta.dated.then(|| meta.time());
        if let Some((_, jumps, omitted)) = self.odd.iter().find(|(odd, ..)| *odd == index) {
            record.jumps.clone_from(jumps);
            record.omitted = *omitted;
        }
        Some(record)
    }
}

impl Meta {
    pub(super) fn time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.at).unwrap_or_default()
    }
}

/// A segment's offsets fit: a record is at most some hundred KiB long.
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn range(start: u32, len: u32) -> Range<usize> {
    start as usize..start as usize + len as usize
}

fn write_journal(text: &mut String, journal: &Journal<'_>) {
    let pid = journal.pid.map(|pid| pid.to_string());
    let parts =
        [journal.cursor, journal.unit, journal.identifier, pid.as_deref(), journal.message_id];
    for part in parts {
        text.push_str(part.unwrap_or_default());
        text.push('\0');
    }
}

fn read_journal(text: &str) -> Journal<'_> {
    let mut parts = text.split('\0').map(|part| Some(part).filter(|part| !part.is_empty()));
    let mut next = || parts.next().flatten();
    Journal {
        cursor: next(),
        unit: next(),
        identifier: next(),
        pid: next().and_then(|pid| pid.parse().ok()),
        message_id: next(),
        ..Journal::default()
    }
}

/// The records of one source.
#[derive(Debug, Default)]
struct Ring {
    /// Oldest first; the last one is still filled.
    segments: VecDeque<Arc<Segment>>,
    bytes: usize,
    /// Records that may still grow, by the tag of their stream: the last of each file.
    open: BTreeMap<i64, Arc<Segment>>,
}

#[derive(Debug)]
struct Rings {
    of_source: Vec<Ring>,
    bytes: usize,
    next_seq: u64,
}

/// See the module's first line.
#[derive(Debug)]
pub(super) struct Window {
    rings: Mutex<Rings>,
    budget: usize,
}

/// The right to add records; others wait while it is held.
pub(super) struct Writer<'w> {
    rings: MutexGuard<'w, Rings>,
    budget: usize,
}

impl Window {
    /// `budget` is the bytes of all sources together.
    pub(super) fn new(sources: usize, budget: usize) -> Self {
        let rings = (0..sources).map(|_| Ring::default()).collect();
        Self { rings: Mutex::new(Rings { of_source: rings, bytes: 0, next_seq: 1 }), budget }
    }

    pub(super) fn write(&self) -> Writer<'_> {
        Writer { rings: self.lock(), budget: self.budget }
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segments of one source, oldest first, and those of records that may grow.
    pub(super) fn segments(&self, source: usize) -> Vec<Arc<Segment>> {
        let rings = self.lock();
        rings.of_source.get(source).map_or_else(Vec::new, |ring| {
            ring.segments.iter().chain(ring.open.values()).cloned().collect()
        })
    }

    /// The segments of one source that hold complete records after `seq`, newest first.
    pub(super) fn since(&self, source: usize, seq: u64) -> Vec<Arc<Segment>> {
        let rings = self.lock();
        let later = |segment: &&Arc<Segment>| segment.metas.last().is_some_and(|it| it.seq > seq);
        rings.of_source.get(source).map_or_else(Vec::new, |ring| {
            ring.segments.iter().rev().take_while(later).cloned().collect()
        })
    }

    /// The number of the newest record.
    pub(super) fn newest(&self) -> u64 {
        self.lock().next_seq - 1
    }

    /// Bytes held, of all sources.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

impl Writer<'_> {
    /// Adds a record, which takes the place of the one that might have grown. `again`: it was
    /// handed over before a restart.
    pub(super) fn push(&mut self, stream: &Arc<Stream>, record: &Record<'_>, again: bool) -> u64 {
        let rings = &mut *self.rings;
        let seq = rings.next_seq;
        let Some(ring) = rings.of_source.get_mut(stream.source) else { return seq };
        rings.next_seq += 1;
        if !ring.open.is_empty() {
            ring.open.remove(&stream.tag);
        }
        let full = ring.segments.back().is_none_or(|last| {
            last.text.len() + record.text.len() > SEGMENT && !last.metas.is_empty()
        });
        if full {
            if let Some(last) = ring.segments.back_mut()
                && let Some(last) = Arc::get_mut(last)
            {
                last.text.shrink_to_fit();
                last.metas.shrink_to_fit();
            }
            ring.segments.push_back(Arc::default());
        }
        if let Some(last) = ring.segments.back_mut() {
            let last = Arc::make_mut(last);
            let before = last.bytes();
            last.push(stream, record, seq, again);
            let grown = last.bytes() - before;
            ring.bytes += grown;
            rings.bytes += grown;
        }
        if rings.bytes > self.budget {
            rings.make_room(self.budget);
        }
        seq
    }

    /// Shows a record that may still grow.
    pub(super) fn show_open(&mut self, stream: &Arc<Stream>, record: &Record<'_>) {
        let rings = &mut *self.rings;
        let Some(ring) = rings.of_source.get_mut(stream.source) else { return };
        let mut segment = Segment::default();
        segment.push(stream, record, rings.next_seq, false);
        rings.next_seq += 1;
        ring.open.insert(stream.tag, Arc::new(segment));
    }
}

impl Rings {
    /// The source that holds most gives its oldest segment: a noisy log takes only
    /// the room that the others leave.
    fn make_room(&mut self, budget: usize) {
        while self.bytes > budget {
            let Some(most) = self.of_source.iter_mut().max_by_key(|ring| ring.bytes) else {
                return;
            };
            let Some(oldest) = most.segments.pop_front() else { return };
            let freed = oldest.bytes();
            most.bytes -= freed;
            self.bytes -= freed;
        }
    }
}
