//! From the lines of one file to records in the window and to who must hear of each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    format::Parser,
    join::Joiner,
    listen::{Heard, Listener},
    record::Record,
    window::{Stream, Window, Writer},
};
use crate::clock;

/// A record of a file is complete when nothing was added for this long.
pub(super) const FILE_SILENCE: Duration = Duration::from_secs(1);

/// Open records longer than this, in lines, are not shown before they are complete.
const SHOWN_OPEN: u64 = 200;

/// Where records go.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) window: Window,
    pub(super) names: Vec<String>,
    /// Whoever must not miss a record.
    pub(super) listener: Option<Arc<dyn Listener>>,
}

/// See the module's first line.
#[derive(Debug)]
pub(super) struct Feed {
    joiner: Joiner,
    stream: Arc<Stream>,
    touched: Instant,
    last_line: u64,
    marks: Marks,
    /// What is open changed since it was shown.
    unshown: bool,
}

/// Which records were told before, or are of unknown age.
#[derive(Clone, Copy, Debug)]
struct Marks {
    /// Records that begin before this line were told before a restart.
    told: u64,
    /// Those that begin before this one are history.
    history: u64,
}

impl Feed {
    /// `told` is the mark of before a restart ([`Feed::told`]), 0 of a new log.
    pub(super) fn new(
        source: usize,
        path: Option<String>,
        tag: i64,
        parser: Parser,
        told: u64,
    ) -> Self {
        let stream = Stream { source, path, tag, parser: parser.clone() };
        Self {
            joiner: Joiner::new(parser),
            stream: Arc::new(stream),
            touched: clock::instant(),
            last_line: 0,
            marks: Marks { told, history: 0 },
            unshown: false,
        }
    }

    /// Takes the next line. `history`: it was there before its source was first looked at.
    pub(super) fn push(
        &mut self,
        sink: &Sink,
        writer: &mut Writer<'_>,
        line: &[u8],
        number: u64,
        history: bool,
    ) {
        let (stream, marks) = (&self.stream, self.marks);
        let mut emit = |record: &Record<'_>| deliver(sink, writer, stream, record, marks);
        self.joiner.push(line, number, &mut emit);
        self.last_line = number;
        if history {
            self.marks.history = number + 1;
        }
        self.unshown = true;
    }

    /// The first line of which nobody was told yet: all records that begin before it were
    /// handed over, in this life of the program or an earlier one.
    pub(super) fn told(&self) -> u64 {
        let next = if self.last_line == 0 { 0 } else { self.last_line + 1 };
        self.marks.told.max(self.joiner.open_since().unwrap_or(next))
    }

    /// After some lines: remembers when, and shows the record that may still grow.
    pub(super) fn pause(&mut self, writer: &mut Writer<'_>) {
        if !std::mem::take(&mut self.unshown) {
            return;
        }
        self.touched = clock::instant();
        let Some(since) = self.joiner.open_since() else { return };
        if self.last_line.saturating_sub(since) < SHOWN_OPEN {
            let stream = &self.stream;
            self.joiner.peek(&mut |record| writer.show_open(stream, record));
        }
    }

    /// Ends the open record if it was left alone for `silence`; whether there was one.
    pub(super) fn settle(&mut self, sink: &Sink, silence: Duration) -> bool {
        let due = self.joiner.open_since().is_some() && self.touched.elapsed() >= silence;
        if due {
            self.flush(sink);
        }
        due
    }

    /// Ends the open record.
    pub(super) fn flush(&mut self, sink: &Sink) {
        let mut writer = sink.window.write();
        let (stream, marks) = (&self.stream, self.marks);
        self.joiner.flush(&mut |record| deliver(sink, &mut writer, stream, record, marks));
    }
}

fn deliver(
    sink: &Sink,
    writer: &mut Writer<'_>,
    stream: &Arc<Stream>,
    record: &Record<'_>,
    marks: Marks,
) {
    let again = record.line < marks.told;
    writer.push(stream, record, again);
    if again {
        return;
    }
    if let Some(listener) = &sink.listener {
        listener.hear(&Heard {
            source: stream.source,
            name: sink.names.get(stream.source).map_or("", String::as_str),
            file: stream.path.as_deref(),
            tag: stream.tag,
            history: record.line < marks.history,
            record,
        });
    }
}
