//! The files of one source: which there are, which were rotated away, what is read
//! from each.
//!
//! A file is known by device and inode, not by its name: a renamed file is the same
//! file, and is read to its end before the one that took its place.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::{
    reader::{Reader, born, hash},
    rotated::{is_packed, siblings},
    tracked::Tracked,
};
use crate::{
    clock,
    logs::{
        checkpoint::{Checkpoint, FileId},
        feed::{FILE_SILENCE, Sink},
        ledger::Turn,
        record::Kind,
        status::{SourceState, Trouble},
        time::Zone,
    },
};

/// How long a file without a name must be quiet until it counts as ended. Programs
/// write to a rotated file until they open the new one.
const QUIET: Duration = Duration::from_mins(1);

/// Files without a name that are kept open for one source.
const MAX_GONE: usize = 64;

/// Files of one source; a glob that finds more is told in the source's status.
pub(super) const MAX_FILES: usize = 10_000;

/// Files that are remembered to be done.
const MAX_DONE: usize = 1000;

/// A file as it was found at a configured name.
enum Opened {
    New(Reader),
    /// The one that was read before a restart, until then.
    Known(Reader, Checkpoint),
    /// The same, cut while nobody read; and the copy that was made of it before.
    Cut(Reader, Box<Reader>),
}

/// How a source's files are found and read.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) source: usize,
    pub(crate) pattern: String,
    pub(crate) kind: Kind,
    pub(crate) zone: Zone,
    /// Bytes before the old position that are read again after a restart.
    pub(crate) again: u64,
}

/// See the module's first line.
#[derive(Debug)]
pub(crate) struct Files {
    pub(super) plan: Plan,
    /// Gone files first, so that they are finished before their successors.
    pub(super) tracked: Vec<Tracked>,
    /// What the database knows of files that were not found yet.
    pub(super) known: Vec<Checkpoint>,
    /// When reading was asked for: what is older and was rotated away is history.
    since: SystemTime,
    /// The source was never looked at: what its files hold is history.
    first: bool,
    /// When the names were looked at last: the moment before the look, so that what
    /// comes during it counts as later.
    looked_at: Option<SystemTime>,
    /// Names that led to another file lately: when they last did, and since when files
    /// may have come and gone unseen.
    pub(super) rotated: HashMap<PathBuf, (Instant, SystemTime)>,
    /// Files that were read to their end lately.
    pub(super) done: VecDeque<(FileId, Option<SystemTime>)>,
    pub(crate) state: SourceState,
    pub(crate) trouble: Option<Trouble>,
    /// The files that are (or would be) there, for the notifier.
    pub(crate) paths: Vec<PathBuf>,
    /// Files ended since the last turn.
    pub(super) ended: Vec<FileId>,
    /// Names lead to other files than before.
    pub(crate) renamed: bool,
}

impl Files {
    pub(crate) fn new(plan: Plan, known: Vec<Checkpoint>, since: SystemTime) -> Self {
        Self {
            plan,
            tracked: Vec::new(),
            first: known.is_empty(),
            known,
            since,
            looked_at: None,
            rotated: HashMap::new(),
            done: VecDeque::new(),
            state: SourceState::Missing,
            trouble: None,
            paths: Vec::new(),
            ended: Vec::new(),
            renamed: false,
        }
    }

    fn has_wildcard(&self) -> bool {
        self.plan.pattern.contains(['*', '?', '['])
    }

    fn find_paths(&mut self) -> Vec<PathBuf> {
        if !self.has_wildcard() {
            return vec![PathBuf::from(&self.plan.pattern)];
        }
        let Ok(found) = glob::glob(&self.plan.pattern) else { return Vec::new() };
        let mut paths = Vec::new();
        for path in found {
            match path {
                Ok(path) if paths.len() < MAX_FILES => paths.push(path),
                Ok(_) => {
                    let detail = format!("more than {MAX_FILES} files fit; the rest is not read");
                    self.trouble = Some(Trouble::new(detail, "narrow the pattern"));
                    break;
                }
                Err(error) => {
                    (self.state, self.trouble) = some(Trouble::of(error.path(), error.error()));
                }
            }
        }
        paths
    }

    /// Looks at all names: opens what is new, notes what is gone.
    pub(crate) fn rescan(&mut self, sink: &Sink) {
        let before = self.looked_at.replace(now());
        (self.state, self.trouble) = (SourceState::Missing, None);
        let paths = self.find_paths();
        let mut present: HashMap<FileId, PathBuf> = HashMap::new();
        let mut readable = 0;
        let (mut replaced, mut new, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        for path in &paths {
            let found = match fs::metadata(path) {
                Ok(found) if found.is_file() => FileId::of(&found),
                Ok(found) => {
                    if found.is_dir() || self.has_wildcard() {
                        let detail = format!("{} is not a regular file", path.display());
                        self.trouble = Some(Trouble::new(detail, "name a file"));
                    }
                    continue;
                }
                Err(error) => {
                    (self.state, self.trouble) = some(Trouble::of(path, &error));
                    continue;
                }
            };
            if present.contains_key(&found) {
                readable += 1;
                continue;
            }
            if let Some(tracked) = self.tracked.iter_mut().find(|t| t.reader.id == found) {
                tracked.gone = None;
                if tracked.reader.path != *path && !names(&tracked.reader.path, found) {
                    tracked.reader.path.clone_from(path);
                }
                present.insert(found, path.clone());
                readable += 1;
                continue;
            }
            match self.open(path, found) {
                Ok(opened) => {
                    let is_new = matches!(opened, Opened::New(_));
                    let (reader, copy) = match opened {
                        Opened::New(reader) => {
                            new.push(path.clone());
                            (reader, None)
                        }
                        Opened::Known(reader, at) => {
                            if at.head_len == 0 {
                                unread.push((path.clone(), at.updated_at));
                            }
                            (reader, None)
                        }
                        Opened::Cut(reader, copy) => (reader, Some(*copy)),
                    };
                    present.insert(reader.id, path.clone());
                    replaced.push(path.clone());
                    let mut tracked = Tracked::new(reader, None);
                    if !is_new {
                        tracked.copies_are_done();
                    }
                    self.tracked.push(tracked);
                    self.tracked.extend(copy.map(|copy| Tracked::copy(copy, found)));
                    readable += 1;
                }
                Err(error) => (self.state, self.trouble) = some(Trouble::of(path, &error)),
            }
        }
        if readable > 0 && self.state != SourceState::Denied {
            self.state = SourceState::Ok;
            if self.trouble.as_ref().is_some_and(|_| !self.has_wildcard()) {
                self.trouble = None;
            }
        } else if paths.is_empty() && self.trouble.is_none() {
            let detail = format!("no file fits {}", self.plan.pattern);
            let remedy = "nothing, if the program has not logged yet; else correct the pattern";
            self.trouble = Some(Trouble::new(detail, remedy));
        }
        let at = clock::instant();
        for tracked in &mut self.tracked {
            if !present.contains_key(&tracked.reader.id) {
                tracked.gone.get_or_insert(at);
            }
        }
        let ids: HashSet<FileId> = present.keys().copied().collect();
        if let Some(before) = before {
            self.find_unseen(replaced, before.max(self.since), &ids);
        } else {
            self.find_rotated(&ids);
            self.find_copies(&unread, &ids);
            self.find_unseen_at_first(&new, self.since, &ids);
            self.first = false;
        }
        self.tracked.sort_by_key(|tracked| (tracked.gone.is_none(), tracked.reader.born));
        self.end_gone(sink, MAX_GONE);
        self.renamed |= paths != self.paths;
        self.paths = paths;
    }

    /// Opens a file.
    fn open(&mut self, path: &Path, found: FileId) -> std::io::Result<Opened> {
        let known = self.known.iter().position(|at| at.id == found);
        let tag = new_tag(self.plan.source, found);
        let Some(index) = known else {
            let mut reader = Reader::first(path, tag)?;
            if self.first && reader.born.is_none_or(|born| born < self.since) {
                reader.is_old();
            }
            return Ok(Opened::New(reader));
        };
        let reader = Reader::resume(path, &self.known[index], self.plan.again, tag)?;
        if reader.id != found {
            // Rotated since it was looked at: the old file has another name now.
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let at = self.known.swap_remove(index);
        if reader.tag == at.tag {
            return Ok(Opened::Known(reader, at));
        }
        // It may hold the lines of a record that was still open.
        Ok(match self.find_copy(path, &at, self.plan.again) {
            Some(copy) => Opened::Cut(reader, Box::new(copy)),
            None => Opened::New(reader),
        })
    }

    /// A file was cut. It is begun anew; the copy that may have been made of it before
    /// comes first, for it may hold lines that were not read yet. Returns whether
    /// another file stands at `index` now.
    fn restart(&mut self, index: usize, sink: &Sink) -> bool {
        let tracked = &self.tracked[index];
        let (path, at) = (tracked.reader.path.clone(), tracked.checkpoint());
        let copy = self.find_copy(&path, &at, 0);
        let tracked = &mut self.tracked[index];
        if let Some(mut feed) = tracked.feed.take() {
            feed.flush(sink);
        }
        if tracked.gone.is_some() {
            // A rotated file is overwritten by a later one: what it held was read.
            let tracked = self.tracked.remove(index);
            self.end(&tracked.reader);
            return true;
        }
        let tag = new_tag(self.plan.source, tracked.reader.id);
        tracked.reader.restart(tag);
        tracked.noted = false;
        tracked.copies_are_done();
        if let Some(reader) = copy {
            self.tracked.insert(index, Tracked::copy(reader, at.id));
            return true;
        }
        false
    }

    /// The copy that was made of the file at `path` before it was cut, if it holds more
    /// than was read until `at`.
    fn find_copy(&mut self, path: &Path, at: &Checkpoint, again: u64) -> Option<Reader> {
        let known = |id| self.tracked.iter().any(|t| t.reader.id == id);
        let copies: Vec<_> = siblings(path)
            .into_iter()
            .filter(|(sibling, found)| {
                !known(FileId::of(found)) && !is_packed(sibling) && Reader::is_copy(sibling, at)
            })
            .collect();
        for (_, found) in &copies {
            // Whatever it is renamed to, it is no file that came and went unseen.
            self.note_done(FileId::of(found), born(found));
        }
        let read = at.position.cast_unsigned();
        let open = again > 0 && at.told < at.line;
        let (sibling, found) = copies.into_iter().find(|(_, found)| open || found.len() > read)?;
        let id = FileId::of(&found);
        let at = Checkpoint { id, ..at.clone() };
        let mut copy = Reader::resume(&sibling, &at, again, new_tag(self.plan.source, id)).ok()?;
        // It is read as a part of the file, and its lines are cited as such.
        path.clone_into(&mut copy.path);
        (copy.tag == at.tag).then_some(copy)
    }

    /// Whether the name leads to another file than the one that is read for it.
    fn has_moved(&self, path: &Path) -> bool {
        let found = fs::metadata(path).ok().map(|found| FileId::of(&found));
        let read = self.tracked.iter().find(|t| t.gone.is_none() && t.reader.path == path);
        found != read.map(|t| t.reader.id)
    }

    /// Reads a slice of each file that `wanted` names (`None`: of every file). `grown`
    /// is told which had something; returned are those that may have more.
    pub(crate) fn read(
        &mut self,
        sink: &Sink,
        wanted: Option<&HashSet<PathBuf>>,
        scratch: &mut Vec<u8>,
        turn: &mut Turn,
        grown: &mut Vec<PathBuf>,
    ) -> HashSet<PathBuf> {
        if wanted.is_none_or(|paths| paths.iter().any(|path| self.has_moved(path))) {
            self.rescan(sink);
        }
        let mut more = HashSet::new();
        let mut unfinished: HashSet<PathBuf> = HashSet::new();
        let mut index = 0;
        while index < self.tracked.len() {
            let tracked = &self.tracked[index];
            let path = &tracked.reader.path;
            let skip = wanted.is_some_and(|paths| !paths.contains(path))
                || (tracked.gone.is_none() && unfinished.contains(path));
            if skip {
                index += 1;
                continue;
            }
            let (before, gone, path) = (tracked.reader.position(), tracked.gone, path.clone());
            let tracked = &mut self.tracked[index];
            if !tracked.noted && tracked.copy_of.is_none() {
                // Read in the next turn, when the database knows of it.
                tracked.noted = true;
                turn.is_new = true;
                turn.moved.push(tracked.checkpoint());
                more.insert(path.clone());
                unfinished.insert(path);
                index += 1;
                continue;
            }
            let read = tracked.pump(&self.plan, sink, scratch, turn);
            if read.cut || read.more {
                more.insert(path.clone());
            }
            if read.cut {
                grown.push(path);
                if self.restart(index, sink) {
                    continue;
                }
            } else if read.bytes > 0 {
                grown.push(path.clone());
                if read.more && gone.is_some() {
                    unfinished.insert(path);
                }
            }
            let tracked = &mut self.tracked[index];
            if tracked.copy_of.is_some() && read.bytes == 0 {
                // The file itself is next, in the same turn: both are told at once.
                self.tracked.remove(index).finish(&self.plan, sink, turn);
                continue;
            }
            if tracked.copy_of.is_some() {
                more.insert(tracked.reader.path.clone());
                unfinished.insert(tracked.reader.path.clone());
            }
            if tracked.reader.position() != before || read.cut {
                turn.is_new |= read.cut;
                tracked.noted = true;
                turn.moved.push(tracked.checkpoint());
            }
            index += 1;
        }
        turn.ended.append(&mut self.ended);
        more
    }

    /// Ends open records that were left alone, and files that nobody writes any more.
    pub(crate) fn settle(&mut self, sink: &Sink, turn: &mut Turn) {
        let now = clock::instant();
        let mut index = 0;
        while index < self.tracked.len() {
            let tracked = &mut self.tracked[index];
            if let Some(feed) = &mut tracked.feed
                && feed.settle(sink, FILE_SILENCE)
                && tracked.copy_of.is_none()
            {
                turn.moved.push(tracked.checkpoint());
            }
            let quiet = tracked.gone.is_some_and(|since| {
                now.saturating_duration_since(since) >= QUIET && tracked.reader.is_quiet(now, QUIET)
            });
            if quiet && self.is_oldest(index) {
                let mut tracked = self.tracked.remove(index);
                tracked.finish(&self.plan, sink, turn);
                self.end(&tracked.reader);
            } else {
                index += 1;
            }
        }
    }

    /// Whether no older file of the same name is still read; they end in that order.
    fn is_oldest(&self, index: usize) -> bool {
        let path = &self.tracked[index].reader.path;
        !self.tracked[..index].iter().any(|t| t.gone.is_some() && t.reader.path == *path)
    }

    /// Bounds the files without a name: the oldest that were read to their end go.
    fn end_gone(&mut self, sink: &Sink, most: usize) {
        let gone = self.tracked.iter().filter(|t| t.gone.is_some()).count();
        for _ in most..gone {
            let done = |index: &usize| {
                let tracked = &self.tracked[*index];
                tracked.gone.is_some() && tracked.reader.lag() == 0 && self.is_oldest(*index)
            };
            let Some(index) = (0..self.tracked.len()).find(done) else { return };
            let mut tracked = self.tracked.remove(index);
            if let Some(feed) = &mut tracked.feed {
                feed.flush(sink);
            }
            self.end(&tracked.reader);
        }
    }

    fn end(&mut self, reader: &Reader) {
        self.ended.push(reader.id);
        self.note_done(reader.id, reader.born);
    }

    fn note_done(&mut self, id: FileId, born: Option<SystemTime>) {
        self.done.push_back((id, born));
        if self.done.len() > MAX_DONE {
            self.done.pop_front();
        }
    }

    /// Files open, bytes read of them, bytes that wait, bytes passed over.
    pub(crate) fn figures(&self) -> (usize, u64, u64, u64) {
        let sum = |figure: fn(&Reader) -> u64| {
            self.tracked.iter().map(|tracked| figure(&tracked.reader)).sum()
        };
        let present = self.tracked.iter().filter(|t| t.gone.is_none());
        let position = present.map(|tracked| tracked.reader.position()).sum();
        (self.tracked.len(), position, sum(Reader::lag), sum(Reader::skipped))
    }
}

/// A name for one life of a file that no other has.
pub(crate) fn new_tag(source: usize, id: FileId) -> i64 {
    let now = clock::now().timestamp_micros();
    let parts = [source as u64, id.dev, id.ino, now.cast_unsigned()];
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    // 48 bits read well in a URL and are enough to tell thousands of files apart.
    (hash(&bytes) >> 16).cast_signed()
}

fn some((state, trouble): (SourceState, Trouble)) -> (SourceState, Option<Trouble>) {
    (state, Some(trouble))
}

fn names(path: &Path, id: FileId) -> bool {
    fs::metadata(path).is_ok_and(|found| FileId::of(&found) == id)
}

fn now() -> SystemTime {
    SystemTime::from(clock::now())
}
