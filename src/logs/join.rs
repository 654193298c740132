//! From lines to records: a record lasts until the next line that starts one.

use std::{borrow::Cow, collections::VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    format::{self, Entry, Parser},
    record::{Jump, Kind, Record, Severity},
};

/// Bytes and lines of a record that are kept from its beginning …
const HEAD_BYTES: usize = 192 * 1024;
const HEAD_LINES: u64 = 1800;
/// … and from its end, because a traceback says last what was raised.
const TAIL_BYTES: usize = 64 * 1024;
const TAIL_LINES: usize = 200;
/// No line is longer than this.
const LINE_BYTES: usize = 64 * 1024;
/// A record within these bounds is kept whole.
pub(super) const WHOLE_BYTES: usize = LINE_BYTES;
pub(super) const WHOLE_LINES: u64 = HEAD_LINES;
/// Streams of the journal that may have an open record at a time.
const STREAMS: usize = 64;
/// Entries of one journal stream further apart do not belong together.
const APART: TimeDelta = TimeDelta::seconds(1);

/// Tells whether a line begins a record. Lines that [`format::start`] knows always
/// do, so text may be cut before any of them.
#[derive(Debug)]
pub(super) struct Boundary {
    source: Kind,
    /// The kind that the open record's first line told.
    current: Option<Kind>,
    lines: u64,
    traceback: bool,
    /// It began with what a runtime prints when a program ends.
    crash: bool,
    /// Between "Traceback" and the line that names the exception.
    in_frames: bool,
}

impl Boundary {
    pub(super) fn new(source: Kind) -> Self {
        Self { source, current: None, lines: 0, traceback: false, crash: false, in_frames: false }
    }

    /// The open record has been handed over.
    pub(super) fn close(&mut self) {
        *self = Self::new(self.source);
    }

    /// What the first line of the open record was found to start.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.current
    }

    /// Whether the record that the last line began consists of that line alone.
    pub(super) fn is_single(&self) -> bool {
        self.current == Some(Kind::NginxAccess) && self.lines == 1
    }

    /// Whether `line` begins a record; `low` tells whether the open one is below a warning.
    pub(super) fn begins(&mut self, line: &[u8], low: impl FnOnce() -> bool) -> bool {
        let kind = format::start(line, self.source);
        let begins = self.lines == 0 || kind.is_some() || self.parts(line, low);
        if begins {
            self.close();
            self.current = kind;
            self.crash = kind.is_none() && format::starts_crash(line);
        }
        self.lines += 1;
        if format::starts_traceback(line) {
            (self.traceback, self.in_frames) = (true, true);
        } else if !matches!(line.first(), None | Some(b' ' | b'\t')) {
            self.in_frames = false;
        }
        begins
    }

    /// Whether an unknown line is apart from the open record.
    fn parts(&self, line: &[u8], low: impl FnOnce() -> bool) -> bool {
        if self.current == Some(Kind::NginxAccess) {
            return true;
        }
        // an object of JSON is whole: what a crash prints after it is another matter
        if self.current == Some(Kind::Json)
            && !matches!(line.first(), None | Some(b' ' | b'\t' | b'}' | b']'))
        {
            return true;
        }
        if !(self.traceback || self.crash) && format::starts_crash(line) {
            return low();
        }
        // after "[INFO] Booting worker" a traceback is another matter
        if self.lines == 1 && !self.traceback && format::starts_traceback(line) {
            return low();
        }
        let plain = self.source == Kind::Plain || self.current.is_none();
        plain && !self.in_frames && format::starts_plainly(line)
    }
}

/// Whether text of this kind may be cut before `line`, given what stands before it.
pub(super) fn may_cut(kind: Kind, before: &[u8], line: &[u8]) -> bool {
    if format::start(line, kind).is_some() {
        return true;
    }
    kind == Kind::Plain && format::starts_plainly(line) && !ends_in_frames(before)
}

/// Whether the text ends between "Traceback" and the line that names the exception,
/// or may do so for all that a look at the last lines can tell.
fn ends_in_frames(text: &[u8]) -> bool {
    for line in text.rsplit(|byte| *byte == b'\n').take(500) {
        if format::starts_traceback(line) {
            return true;
        }
        if !matches!(line.first(), None | Some(b' ' | b'\t')) {
            return false;
        }
    }
    true
}

/// A line as text: invalid UTF-8 and NUL replaced, `\r` and colours taken out.
pub(super) fn clean(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if memchr::memchr3(0, b'\r', 0x1b, text.as_bytes()).is_none() {
        return text;
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = memchr::memchr3(0, b'\r', 0x1b, rest.as_bytes()) {
        cleaned.push_str(&rest[..at]);
        let (byte, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match byte {
            0 => cleaned.push('\u{fffd}'),
            b'\r' if !(after.is_empty() || after.starts_with('\n')) => cleaned.push('\r'),
            b'\r' => {}
            _ => {
                if let Some(code) = after.strip_prefix('[') {
                    let len = code.bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
                    rest = code[len..].strip_prefix(['m', 'K']).unwrap_or(&code[len..]);
                }
            }
        }
    }
    cleaned.push_str(rest);
    Cow::Owned(cleaned)
}

/// Joins the lines of one source into records and reads them.
///
/// A record is handed over when the line after it starts another one, or by
/// [`Joiner::flush`]; records of one line (access logs) at once. Of a record that is
/// too long (256 KiB, 2000 lines) the beginning and the end are kept.
#[derive(Debug)]
pub struct Joiner {
    parser: Parser,
    boundary: Boundary,
    /// One for files; one a stream for the journal.
    open: VecDeque<Open>,
    /// Whether a container runtime's prefix stands before the lines; the first line tells.
    wrapped: Option<bool>,
}

impl Joiner {
    pub fn new(parser: Parser) -> Self {
        let boundary = Boundary::new(parser.kind());
        Self { parser, boundary, open: VecDeque::new(), wrapped: None }
    }

    /// Takes the next line, without its line end (a `\r` is stripped here) and with
    /// its number. For the journal: a line of `journalctl -o json` or of its text.
    pub fn push(&mut self, line: &[u8], number: u64, emit: &mut dyn FnMut(&Record<'_>)) {
        if self.parser.kind() == Kind::Journal {
            return self.push_journal(line, number, emit);
        }
        let wrapped = *self.wrapped.get_or_insert_with(|| format::strip_prefix(line).is_some());
        let stripped = if wrapped { format::strip_prefix(line) } else { None };
        let (line, at) = match &stripped {
            Some((inner, at)) => (&**inner, *at),
            None => (line, None),
        };
        let text = clean(cut(line));
        let parser = &self.parser;
        let low = || {
            let head = self.open.back().map_or("", |open| &open.text);
            parser.parse(head, 0).severity < Severity::Warning
        };
        if self.boundary.begins(text.as_bytes(), low) {
            self.emit_all(emit);
            if self.boundary.is_single() {
                self.boundary.close();
                let mut record = self.parser.parse(&text, number);
                record.at = record.at.or(at);
                emit(&record);
                return;
            }
            self.open.push_back(Open::new(&text, number, at, None));
        } else if let Some(open) = self.open.back_mut() {
            open.push(&text, number);
        }
    }

    fn push_journal(&mut self, line: &[u8], number: u64, emit: &mut dyn FnMut(&Record<'_>)) {
        if line.first() == Some(&b'{') {
            if let Some(entry) = Entry::from_json(line, number) {
                return self.push_entry(entry, emit);
            }
        } else if line.starts_with(b"-- ") {
            return; // "-- Boot … --", "-- No entries --"
        }
        let text = clean(cut(line));
        if let Some(entry) = Entry::from_text(&text, number, &self.parser) {
            return self.push_entry(entry, emit);
        }
        // journalctl indents the further lines of a message
        match self.open.back_mut() {
            Some(open) => open.push(text.trim_start(), number),
            None if text.trim().is_empty() => {}
            None => emit(&self.parser.parse(&text, number)),
        }
    }

    /// Takes an entry of the journal: what one stream printed in one write, or as a
    /// traceback line by line, is one record.
    pub(super) fn push_entry(&mut self, entry: Entry, emit: &mut dyn FnMut(&Record<'_>)) {
        while let Some(open) = self.open.front()
            && (self.open.len() >= STREAMS || !open.is_near(entry.at))
            && let Some(open) = self.open.pop_front()
        {
            open.emit(&self.parser, emit);
        }
        // what was not printed is whole, but for indented lines of the text form
        if let Some(at) = self.open.iter().position(|open| !open.printed())
            && let Some(open) = self.open.remove(at)
        {
            open.emit(&self.parser, emit);
        }
        let message = clean(entry.message.as_bytes()).into_owned();
        let at = self.open.iter().position(|open| open.printed() && open.is_of(&entry));
        if let Some(at) = at.filter(|_| entry.printed) {
            if self.open[at].takes(&entry, &message) {
                self.open[at].last = entry.at;
                self.open[at].exact = entry.exact;
                return self.open[at].push_lines(&message, entry.line, entry.folded);
            }
            if let Some(open) = self.open.remove(at) {
                open.emit(&self.parser, emit);
            }
        }
        let (line, whole) = (entry.line, !entry.printed && !entry.is_text());
        let open = Open::new(&message, line, entry.at, Some(entry));
        if whole {
            open.emit(&self.parser, emit);
        } else {
            self.open.push_back(open);
        }
    }

    fn emit_all(&mut self, emit: &mut dyn FnMut(&Record<'_>)) {
        for open in self.open.drain(..) {
            open.emit(&self.parser, emit);
        }
    }

    /// Hands over what is open: at the end, or when the source has been silent
    /// (1 s for a file, 300 ms for the journal are good).
    pub fn flush(&mut self, emit: &mut dyn FnMut(&Record<'_>)) {
        self.emit_all(emit);
        self.boundary.close();
    }

    /// Shows what is open as it is so far; it stays open.
    pub fn peek(&self, emit: &mut dyn FnMut(&Record<'_>)) {
        for open in &self.open {
            open.clone().emit(&self.parser, emit);
        }
    }

    /// The number of the first line that has not been handed over yet: the place to
    /// start again after a crash.
    pub fn open_since(&self) -> Option<u64> {
        self.open.iter().map(|open| open.line).min()
    }
}

fn cut(line: &[u8]) -> &[u8] {
    &line[..line.len().min(LINE_BYTES)]
}

/// A record whose end has not been seen.
#[derive(Clone, Debug)]
struct Open {
    text: String,
    line: u64,
    lines: u64,
    /// The number that the next line has if nothing is between.
    next: u64,
    jumps: Vec<Jump>,
    /// What does not fit behind `text`: the last lines with their numbers.
    tail: VecDeque<(u64, String)>,
    tail_bytes: usize,
    omitted: u64,
    /// When the prefix or the journal says it was written, and the last line of it.
    at: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    exact: bool,
    entry: Option<Entry>,
}

impl Open {
    fn new(text: &str, line: u64, at: Option<DateTime<Utc>>, entry: Option<Entry>) -> Self {
        let folded = entry.as_ref().is_some_and(|entry| entry.folded);
        let mut open = Self {
            text: String::with_capacity(text.len()),
            line,
            lines: 0,
            next: line,
            jumps: Vec::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            omitted: 0,
            at,
            last: at,
            exact: entry.as_ref().is_some_and(|entry| entry.exact),
            entry,
        };
        open.push_lines(text, line, folded);
        open
    }

    /// The lines of a message, which are all on one line of JSON (`folded`), but on
    /// several of an export.
    fn push_lines(&mut self, text: &str, number: u64, folded: bool) {
        let mut number = number;
        for line in text.split('\n') {
            self.push(line, number);
            number += u64::from(!folded);
        }
    }

    fn push(&mut self, line: &str, number: u64) {
        let line = &line[..line.floor_char_boundary(LINE_BYTES)];
        let fits = self.lines < HEAD_LINES && self.text.len() + line.len() < HEAD_BYTES;
        if fits && self.tail.is_empty() {
            self.append(line, number);
            return;
        }
        self.tail_bytes += line.len();
        self.tail.push_back((number, line.to_owned()));
        while (self.tail.len() > TAIL_LINES || self.tail_bytes > TAIL_BYTES)
            && let Some((_, line)) = self.tail.pop_front()
        {
            self.tail_bytes -= line.len();
            self.omitted += 1;
        }
    }

    fn append(&mut self, line: &str, number: u64) {
        if self.lines > 0 {
            self.text.push('\n');
        }
        if number != self.next {
            self.jumps.push(Jump { at: self.text.len(), line: number });
        }
        self.text.push_str(line);
        self.lines += 1;
        self.next = number + 1;
    }

    fn printed(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.printed)
    }

    fn is_of(&self, entry: &Entry) -> bool {
        self.entry.as_ref().is_some_and(|open| open.stream == entry.stream)
    }

    fn is_near(&self, at: Option<DateTime<Utc>>) -> bool {
        match (self.last, at) {
            (Some(last), Some(at)) => (at - last).abs() <= APART,
            _ => true,
        }
    }

    /// Whether a printed line of the same stream belongs to this record.
    fn takes(&self, entry: &Entry, message: &str) -> bool {
        if format::start(message.as_bytes(), Kind::Plain).is_some() {
            return false;
        }
        let one_write = self.exact && entry.exact && self.last == entry.at;
        let last = self.text.rsplit('\n').next().unwrap_or_default();
        let in_frames = last.starts_with(' ') || format::starts_traceback(last.as_bytes());
        one_write || in_frames || !format::starts_plainly(message.as_bytes())
    }

    fn emit(mut self, parser: &Parser, emit: &mut dyn FnMut(&Record<'_>)) {
        for (number, line) in std::mem::take(&mut self.tail) {
            self.append(&line, number);
        }
        self.text.truncate(self.text.trim_end_matches('\n').len());
        if self.text.is_empty() {
            return;
        }
        let mut record = match &self.entry {
            Some(entry) => parser.entry(entry, &self.text, self.jumps),
            None => Record { jumps: self.jumps, ..parser.parse(&self.text, self.line) },
        };
        record.at = record.at.or(self.at);
        record.omitted = self.omitted;
        emit(&record);
    }
}
