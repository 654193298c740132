//! What this process learnt of a credential a moment ago, so that not every request asks the
//! database.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Caller, Who};
use crate::clock;

/// How many callers are remembered at once.
const MOST: usize = 1024;

/// What this process knows of a credential by itself.
pub enum Remembered {
    /// Asked lately.
    Caller(Caller),
    /// It was good when it was asked last: no guess.
    Stale,
    Unknown,
}

/// Callers by the hash of their credential. Only good ones are in it: guesses take no room.
#[derive(Debug)]
pub(super) struct Callers {
    /// How long an answer of the database is believed.
    lasts: Duration,
    known: Mutex<HashMap<String, (Caller, Instant)>>,
}

impl Callers {
    pub(super) fn believed_for(lasts: Duration) -> Self {
        Self { lasts, known: Mutex::default() }
    }

    pub(super) fn find(&self, hash: &str) -> Remembered {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(hash) {
            None => Remembered::Unknown,
            Some((caller, asked)) if clock::instant().duration_since(*asked) < self.lasts => {
                Remembered::Caller(caller.clone())
            }
            Some(_) => Remembered::Stale,
        }
    }

    /// Keeps what the database said. It counts from when it was asked (`asked`): the answer may
    /// have been long under way.
    pub(super) fn learn(&self, hash: String, caller: Option<&Caller>, asked: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(caller) = caller else {
            known.remove(&hash);
            return;
        };
        if known.len() >= MOST {
            known.retain(|_, (_, since)| asked.duration_since(*since) < self.lasts);
        }
        if known.len() < MOST || known.contains_key(&hash) {
            known.insert(hash, (caller.clone(), asked));
        }
    }

    /// Forgets a credential that stands for nothing any more.
    pub(super) fn forget(&self, hash: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
    }

    /// Forgets whom this process changed, so that here it counts at once.
    pub(super) fn forget_all(&self, gone: impl Fn(Who) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (caller, _)| !gone(caller.who));
    }
}
