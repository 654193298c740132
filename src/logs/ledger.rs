//! What was read but is not in the database yet, and the counts of each source.
//! Readers write it after every turn; one task carries it to the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{
    checkpoint::{Change, Checkpoint, FileId, Known, Totals},
    status::{SourceState, Trouble},
};

/// See the module's first line.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: Mutex<Vec<Entry>>,
    /// Rung when the database has taken something.
    bell: Condvar,
}

/// One source's part.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) source: String,
    pub(super) totals: Totals,
    pub(super) state: SourceState,
    pub(super) trouble: Option<Trouble>,
    /// Sums over the files that are being read.
    pub(super) position: u64,
    pub(super) lag: u64,
    pub(super) skipped: u64,
    pub(super) files: usize,
    pub(super) cursor: Option<String>,
    moved: BTreeMap<FileId, Checkpoint>,
    ended: BTreeSet<FileId>,
    changed: bool,
    /// Bytes that were read since the database last took the entry.
    uncommitted: u64,
    /// Turns that met files which the database does not know of yet.
    unnoted: u64,
}

/// How much of one source the database is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    uncommitted: u64,
    unnoted: u64,
}

/// What a turn of reading adds.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) lines: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
    pub(super) lost: u64,
    pub(super) moved: Vec<Checkpoint>,
    pub(super) ended: Vec<FileId>,
    /// A file was met that the database does not know of.
    pub(super) is_new: bool,
}

impl Turn {
    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0 && self.moved.is_empty() && self.ended.is_empty()
    }
}

impl Entry {
    pub(super) fn apply(&mut self, turn: Turn, now: DateTime<Utc>) {
        if turn.is_empty() {
            return;
        }
        self.totals.lines += turn.lines.cast_signed();
        self.totals.bytes += turn.bytes.cast_signed();
        self.totals.dropped_bytes += turn.dropped.cast_signed();
        self.totals.lost += turn.lost.cast_signed();
        if turn.lines > 0 {
            self.totals.last_line_at = Some(now);
        }
        for id in turn.ended {
            self.moved.remove(&id);
            self.ended.insert(id);
        }
        for at in turn.moved {
            self.ended.remove(&at.id);
            if at.cursor.is_some() {
                self.cursor.clone_from(&at.cursor);
            }
            self.moved.insert(at.id, at);
        }
        self.uncommitted += turn.bytes;
        self.unnoted += u64::from(turn.is_new);
        self.changed = true;
    }
}

impl Ledger {
    pub(super) fn new(sources: impl Iterator<Item = String>) -> Self {
        let entries = sources.map(|source| Entry { source, ..Entry::default() }).collect();
        Self { entries: Mutex::new(entries), bell: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one source's entry.
    pub(super) fn with(&self, source: usize, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().get_mut(source) {
            change(entry);
        }
    }

    /// Takes over what the database knows.
    pub(super) fn restore(&self, source: usize, known: &Known) {
        self.with(source, |entry| {
            entry.totals = known.totals.clone();
            entry.cursor = known.checkpoints.iter().find_map(|at| at.cursor.clone());
        });
    }

    /// Bytes that only this process knows to be read.
    pub(super) fn uncommitted(&self) -> u64 {
        self.lock().iter().map(|entry| entry.uncommitted).sum()
    }

    /// Whether files were met that the database does not know of yet.
    pub(super) fn has_unnoted(&self) -> bool {
        self.lock().iter().any(|entry| entry.unnoted > 0)
    }

    /// Waits until the database knows of all files that were met, for `most` at the longest.
    pub(super) fn wait_until_noted(&self, most: Duration) {
        let waits = |entries: &mut Vec<Entry>| entries.iter().any(|entry| entry.unnoted > 0);
        // Who waited long enough goes on, noted or not.
        drop(self.bell.wait_timeout_while(self.lock(), most, waits));
    }

    /// What the database has to take. Give it back with [`Ledger::put_back`] if it
    /// does not, else call [`Ledger::taken`].
    pub(super) fn take(&self) -> (Vec<Change>, Vec<Amount>) {
        let mut entries = self.lock();
        let amount =
            |entry: &Entry| Amount { uncommitted: entry.uncommitted, unnoted: entry.unnoted };
        let amounts = entries.iter().map(amount).collect();
        let mut changes = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.changed) {
            entry.changed = false;
            changes.push(Change {
                source: entry.source.clone(),
                totals: entry.totals.clone(),
                moved: mem::take(&mut entry.moved).into_values().collect(),
                ended: mem::take(&mut entry.ended).into_iter().collect(),
            });
        }
        (changes, amounts)
    }

    pub(super) fn taken(&self, amounts: &[Amount]) {
        for (entry, amount) in self.lock().iter_mut().zip(amounts) {
            entry.uncommitted = entry.uncommitted.saturating_sub(amount.uncommitted);
            entry.unnoted = entry.unnoted.saturating_sub(amount.unnoted);
        }
        self.bell.notify_all();
    }

    /// The database did not take it. What was read meanwhile is newer and stays.
    pub(super) fn put_back(&self, changes: Vec<Change>) {
        let mut entries = self.lock();
        for change in changes {
            let Some(entry) = entries.iter_mut().find(|entry| entry.source == change.source) else {
                continue;
            };
            entry.changed = true;
            for at in change.moved {
                if !entry.ended.contains(&at.id) {
                    entry.moved.entry(at.id).or_insert(at);
                }
            }
            for id in change.ended {
                if !entry.moved.contains_key(&id) {
                    entry.ended.insert(id);
                }
            }
        }
    }
}
