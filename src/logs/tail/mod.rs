//! Following files: one thread reads them all, woken by events and once a second.
//!
//! Reading is a thread of its own because a read of a file blocks; the events are a
//! task, which only marks what changed.

pub(crate) mod files;
pub(crate) mod notify;
pub(crate) mod reader;
mod rotated;
mod tracked;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use self::{
    files::Files,
    notify::{Changed, Told, Wake, Watched},
};
use super::{
    feed::Sink,
    ledger::{Ledger, Turn},
    status::{SourceState, Trouble},
};
use crate::clock;

/// How often everything is looked at, told or not.
const POLL: Duration = Duration::from_secs(1);

/// How often files are looked at whose folder may be watched anew.
const REWATCH: Duration = Duration::from_secs(5);

/// Bytes that may be read while the database does not take the positions.
pub(crate) const AHEAD: u64 = 64 << 20;

/// Everything the thread needs.
pub(crate) struct Tailer {
    pub(crate) sources: Vec<(usize, Files)>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) watched: watch::Sender<Watched>,
    /// Rung when there is much to commit.
    pub(crate) commit: Arc<tokio::sync::Notify>,
}

/// How long to wait until looking whether it takes them again.
const HELD: Duration = Duration::from_millis(50);

/// How long reading waits until the database knows of new files.
const NOTED: Duration = Duration::from_secs(2);

/// Bytes after which the positions are kept without waiting for the second to end.
const COMMIT_BYTES: u64 = 8 << 20;

impl Tailer {
    /// Reads until told to stop.
    pub(crate) fn run(mut self) {
        let mut scratch = Vec::new();
        let mut told = Told { everything: true, ..Told::default() };
        let mut polled = clock::instant();
        let mut watch = Rewatch::new();
        loop {
            if told.stop {
                return self.stop();
            }
            let ahead = self.ledger.uncommitted();
            let mut rest = None;
            if ahead < AHEAD {
                rest = Some(self.turn(&told, &mut scratch, &mut watch));
            } else {
                self.hold();
            }
            if ahead > COMMIT_BYTES {
                self.commit.notify_one();
            }
            self.publish(&mut watch);
            let (again, everything) = match rest {
                Some(rest) => (rest, false),
                None => (told.changed, told.everything),
            };
            let wait = if ahead >= AHEAD {
                HELD
            } else if again.is_empty() {
                scratch = Vec::new();
                POLL.saturating_sub(polled.elapsed())
            } else {
                Duration::ZERO
            };
            told = self.wake.wait(wait);
            // What was not finished is still to be read.
            told.everything |= everything;
            for (source, paths) in again {
                told.changed.entry(source).or_default().extend(paths);
            }
            if polled.elapsed() >= POLL {
                polled = clock::instant();
                told.everything = true;
            }
        }
    }

    /// Reads once around; returns the files that may have more.
    fn turn(&mut self, told: &Told, scratch: &mut Vec<u8>, watch: &mut Rewatch) -> Changed {
        let mut more = Changed::new();
        let now = clock::now();
        let (waits, mut met) = (!self.ledger.has_unnoted(), false);
        for (source, files) in &mut self.sources {
            let wanted = told.changed.get(source);
            if wanted.is_none() && !told.everything {
                continue;
            }
            let mut turn = Turn::default();
            let mut grown = Vec::new();
            let wanted = if told.everything { None } else { wanted };
            let rest = files.read(&self.sink, wanted, scratch, &mut turn, &mut grown);
            if !rest.is_empty() {
                more.insert(*source, rest);
            }
            if told.everything {
                files.settle(&self.sink, &mut turn);
                watch.note(grown, told.changed.get(source));
            } else {
                watch.told(grown);
            }
            met |= turn.is_new;
            let (count, position, lag, skipped) = if told.everything || !turn.is_empty() {
                files.figures()
            } else {
                continue;
            };
            self.ledger.with(*source, |entry| {
                entry.apply(turn, now);
                (entry.files, entry.position, entry.lag, entry.skipped) =
                    (count, position, lag, skipped);
                entry.state = files.state;
                entry.trouble.clone_from(&files.trouble);
            });
        }
        if met {
            // Rotated files are read after a crash if the log they came from is known, so
            // that comes first. A database that is away holds nobody up twice.
            self.commit.notify_one();
            if waits {
                self.ledger.wait_until_noted(NOTED);
            }
        }
        more
    }

    /// The database is away, and enough was read that it does not know of.
    fn hold(&self) {
        for (source, _) in &self.sources {
            self.ledger.with(*source, |entry| {
                entry.state = SourceState::Stopped;
                entry.trouble = Some(Trouble::new(
                    "the database does not take the positions; reading waits for it",
                    "bring the database back; nothing is lost meanwhile",
                ));
            });
        }
    }

    fn publish(&mut self, watch: &mut Rewatch) {
        let mut renamed = false;
        for (_, files) in &mut self.sources {
            renamed |= std::mem::take(&mut files.renamed);
        }
        if renamed || watch.is_due() {
            let list = self
                .sources
                .iter()
                .flat_map(|(source, files)| files.paths.iter().map(|path| (*source, path.clone())));
            self.watched.send_replace(list.collect());
        }
    }

    fn stop(&mut self) {
        for (source, _) in &self.sources {
            self.ledger.with(*source, |entry| {
                entry.state = SourceState::Stopped;
                entry.trouble = None;
            });
        }
    }
}

/// Notices that the poll finds what events should have told: a folder was removed
/// and made again, a link leads elsewhere, the queue of events ran over.
struct Rewatch {
    /// Polls in a row that found a file grown without an event.
    untold: HashMap<PathBuf, u32>,
    last: Instant,
    pause: Duration,
    due: bool,
}

impl Rewatch {
    fn new() -> Self {
        Self { untold: HashMap::new(), last: clock::instant(), pause: REWATCH, due: false }
    }

    fn note(&mut self, grown: Vec<PathBuf>, told: Option<&HashSet<PathBuf>>) {
        for path in grown {
            if told.is_some_and(|told| told.contains(&path)) {
                self.untold.remove(&path);
                continue;
            }
            if self.untold.len() > 1000 {
                self.untold.clear();
            }
            let count = self.untold.entry(path).or_default();
            *count += 1;
            self.due |= *count >= 2;
        }
    }

    fn told(&mut self, grown: Vec<PathBuf>) {
        for path in grown {
            self.untold.remove(&path);
        }
    }

    fn is_due(&mut self) -> bool {
        if !self.due || self.last.elapsed() < self.pause {
            return false;
        }
        // Where watching does not help (too many watches) it is tried ever more rarely.
        self.pause = (self.pause * 2).min(Duration::from_mins(10));
        self.last = clock::instant();
        self.due = false;
        self.untold.clear();
        true
    }
}
