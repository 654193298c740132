//! One file that is followed: its bytes on their way to records, and what is kept of how far
//! it was read.

use std::{path::Path, time::Instant};

use chrono::{DateTime, Utc};

use super::{
    files::Plan,
    reader::{Line, MAX_LINE, Pumped, Reader},
    rotated::CLOCK_GRAIN,
};
use crate::{
    clock,
    logs::{
        checkpoint::{Checkpoint, FileId},
        feed::{Feed, Sink},
        format::{self, Parser},
        ledger::Turn,
        record::Kind,
    },
};

/// See the module's first line.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) reader: Reader,
    pub(super) feed: Option<Feed>,
    /// No configured name leads to it since then.
    pub(super) gone: Option<Instant>,
    /// The database is told of it, which comes before its lines are: what is rotated away
    /// while Lux is dead is then no history, and read.
    pub(super) noted: bool,
    /// The rest of that file, which was copied before it was cut; nobody writes to it. How
    /// far it was read is kept as if it were the file: so no copy is taken for a rotated
    /// file after a crash.
    pub(super) copy_of: Option<FileId>,
    /// Copies of the file that are older than this are read, or known to hold nothing new.
    copied_until: Option<DateTime<Utc>>,
}

impl Tracked {
    pub(super) fn new(reader: Reader, gone: Option<Instant>) -> Self {
        Self { reader, feed: None, gone, noted: false, copy_of: None, copied_until: None }
    }

    pub(super) fn copy(reader: Reader, of: FileId) -> Self {
        Self { copy_of: Some(of), ..Self::new(reader, Some(clock::instant())) }
    }

    /// How far it was read and told.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let mut at = self.reader.checkpoint();
        at.id = self.copy_of.unwrap_or(at.id);
        if let Some(feed) = &self.feed {
            at.told = at.told.max(feed.told().cast_signed());
        }
        at.updated_at = at.updated_at.max(self.copied_until.unwrap_or(at.updated_at));
        at
    }

    /// No copy that exists now is to be read after a restart, which also looks at those that
    /// seem to be a [`CLOCK_GRAIN`] older than the time that is kept.
    pub(super) fn copies_are_done(&mut self) {
        self.copied_until = Some(clock::now() + CLOCK_GRAIN * 2);
    }

    pub(super) fn pump(
        &mut self,
        plan: &Plan,
        sink: &Sink,
        scratch: &mut Vec<u8>,
        turn: &mut Turn,
    ) -> Pumped {
        let Self { reader, feed, .. } = self;
        let (path, tag, told) = (reader.path.clone(), reader.tag, reader.told);
        let mut writer = None;
        let mut text = Vec::new();
        let result = reader.pump(scratch, &mut |line| {
            let feed = feed.get_or_insert_with(|| new_feed(plan, &path, tag, told, line.bytes));
            let writer = writer.get_or_insert_with(|| sink.window.write());
            take(line, &mut text, turn, |bytes| {
                feed.push(sink, writer, bytes, line.number, line.history);
            });
        });
        if let (Some(feed), Some(mut writer)) = (feed.as_mut(), writer) {
            feed.pause(&mut writer);
        }
        result.unwrap_or_else(|error| {
            tracing::debug!(path = %path.display(), %error, "a log could not be read");
            Pumped::default()
        })
    }

    pub(super) fn finish(&mut self, plan: &Plan, sink: &Sink, turn: &mut Turn) {
        let Self { reader, feed, .. } = self;
        let (path, tag, told) = (reader.path.clone(), reader.tag, reader.told);
        let mut text = Vec::new();
        reader.finish(&mut |line| {
            let feed = feed.get_or_insert_with(|| new_feed(plan, &path, tag, told, line.bytes));
            let mut writer = sink.window.write();
            take(line, &mut text, turn, |bytes| {
                feed.push(sink, &mut writer, bytes, line.number, line.history);
            });
        });
        if let Some(feed) = feed {
            feed.flush(sink);
        }
    }
}

/// Room for the mark behind a line of which bytes were dropped.
const MARK_ROOM: usize = 64;

/// Counts a line and hands its bytes on, with a mark where some were dropped.
fn take(line: Line<'_>, text: &mut Vec<u8>, turn: &mut Turn, push: impl FnOnce(&[u8])) {
    let mut dropped = 0;
    let mut kept = line.bytes;
    if line.dropped > 0 {
        // The whole may not be longer than any other line.
        kept = &kept[..kept.len().min(MAX_LINE - MARK_ROOM)];
        dropped = line.dropped + (line.bytes.len() - kept.len()) as u64;
    }
    if !line.again {
        turn.lines += 1;
        turn.bytes += line.taken;
        turn.dropped += dropped;
    }
    if dropped == 0 {
        return push(kept);
    }
    text.clear();
    text.extend_from_slice(kept);
    text.extend_from_slice(format!(" … [{dropped} bytes dropped]").as_bytes());
    push(text);
}

fn new_feed(plan: &Plan, path: &Path, tag: i64, told: u64, first: &[u8]) -> Feed {
    let shown = path.to_string_lossy();
    let kind = match plan.kind {
        Kind::Auto => format::detect(&shown, first),
        kind => kind,
    };
    Feed::new(plan.source, Some(shown.into_owned()), tag, Parser::new(kind, plan.zone), told)
}
