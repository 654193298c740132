//! What was learnt of keys a moment ago.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Known, REMEMBERED};
use crate::clock;

/// Keys that are remembered, and as many that are none.
const MAX: usize = 4096;

/// After this time one request asks again, and the others go on believing meanwhile.
const FRESH: Duration = Duration::from_secs(1);

type Key = (i64, u128);

/// Known keys and unknown ones have rooms of their own: guessing drives out no application.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: Mutex<HashMap<Key, Entry>>,
    unknown: Mutex<HashMap<Key, Instant>>,
}

/// What is remembered of a key.
pub(super) enum Remembered {
    Known(Arc<Known>),
    /// There is no such key.
    Unknown,
    /// The caller has to ask.
    Nothing,
}

#[derive(Debug)]
struct Entry {
    known: Arc<Known>,
    since: Instant,
    /// When somebody last went to ask.
    asked: Instant,
}

impl Keys {
    pub(super) fn remembered(&self, key: Key) -> Remembered {
        let now = clock::instant();
        let age = |since: Instant| now.saturating_duration_since(since);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get_mut(&key)
            && age(entry.since) < REMEMBERED
        {
            if age(entry.asked) < FRESH {
                return Remembered::Known(Arc::clone(&entry.known));
            }
            entry.asked = now;
            return Remembered::Nothing;
        }
        drop(known);
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        match unknown.get(&key) {
            Some(since) if age(*since) < REMEMBERED => Remembered::Unknown,
            _ => Remembered::Nothing,
        }
    }

    /// Whether it was a known key when the database was last asked, however long ago.
    pub(super) fn was_known(&self, key: Key) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
    }

    pub(super) fn remember(&self, key: Key, answer: Option<Arc<Known>>) {
        let now = clock::instant();
        let old = |since: Instant| now.saturating_duration_since(since) >= REMEMBERED;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answer {
            unknown.remove(&key);
            if known.len() >= MAX {
                known.retain(|_, entry| !old(entry.since));
            }
            if known.len() < MAX || known.contains_key(&key) {
                known.insert(key, Entry { known: answer, since: now, asked: now });
            }
        } else {
            known.remove(&key);
            if unknown.len() >= MAX {
                unknown.retain(|_, since| !old(*since));
            }
            if unknown.len() < MAX {
                unknown.insert(key, now);
            }
        }
    }

    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
