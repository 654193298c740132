//! From the lines of one file to records in the window and to those who watch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::broadcast;

use super::{
    format::Parser,
    join::Joiner,
    record::Record,
    search::{self, Entry},
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
    /// Whoever watches; the slow ones are told how many records they missed.
    pub(super) watchers: broadcast::Sender<Arc<Entry>>,
    pub(super) names: Vec<String>,
}

/// See the module's first line.
#[derive(Debug)]
pub(super) struct Feed {
    joiner: Joiner,
    stream: Arc<Stream>,
    touched: Instant,
    last_line: u64,
    /// What is open changed since it was shown.
    unshown: bool,
}

impl Feed {
    pub(super) fn new(source: usize, path: Option<String>, tag: i64, parser: Parser) -> Self {
        let stream = Stream { source, path, tag, parser: parser.clone() };
        Self {
            joiner: Joiner::new(parser),
            stream: Arc::new(stream),
            touched: clock::instant(),
            last_line: 0,
            unshown: false,
        }
    }

    /// Takes the next line. `again`: it was seen before a restart, nobody is told.
    pub(super) fn push(
        &mut self,
        sink: &Sink,
        writer: &mut Writer<'_>,
        line: &[u8],
        number: u64,
        again: bool,
    ) {
        let stream = &self.stream;
        let mut emit = |record: &Record<'_>| deliver(sink, writer, stream, record, again);
        self.joiner.push(line, number, &mut emit);
        self.last_line = number;
        self.unshown = true;
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

    /// Ends the open record if it was left alone for `silence`.
    pub(super) fn settle(&mut self, sink: &Sink, silence: Duration) {
        if self.joiner.open_since().is_some() && self.touched.elapsed() >= silence {
            self.flush(sink);
        }
    }

    /// Ends the open record.
    pub(super) fn flush(&mut self, sink: &Sink) {
        let mut writer = sink.window.write();
        let stream = &self.stream;
        self.joiner.flush(&mut |record| deliver(sink, &mut writer, stream, record, false));
    }
}

fn deliver(
    sink: &Sink,
    writer: &mut Writer<'_>,
    stream: &Arc<Stream>,
    record: &Record<'_>,
    again: bool,
) {
    writer.push(stream, record);
    if !again && sink.watchers.receiver_count() > 0 {
        let name = sink.names.get(stream.source).map_or("", String::as_str);
        // Nobody listening any more is no failure.
        let _ = sink.watchers.send(Arc::new(search::entry(name, stream, record)));
    }
}
