//! Counting what applications send: in memory, stored once a second.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, SubsecRound, Timelike, Utc};
use serde::{Deserialize, Serialize};

use super::store;
use crate::{clock, db::Db};

/// Counters that wait to be stored.
const MAX_COUNTERS: usize = 20_000;
/// Keys whose use waits to be noted.
const MAX_USED: usize = 4096;
/// A minute's precision is enough for the last use of a key.
const NOTED: Duration = Duration::from_mins(1);

/// What became of what was sent.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[schema(as = UsageOutcome)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Outcome {
    /// Stored, or taken without being kept (sessions, transactions).
    Accepted,
    OverQuota,
    /// It could not be understood.
    Invalid,
    /// Lux's own probe caused it: no occurrence.
    Probe,
}

/// (application, hour, category, outcome)
pub(super) type Counter = (i64, DateTime<Utc>, &'static str, Outcome);

#[derive(Debug, Default)]
pub(super) struct Usage {
    counts: Mutex<Counts>,
    /// Held while counters are on their way to the database: who reads waits for them.
    storing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Counts {
    counters: BTreeMap<Counter, u64>,
    /// When the use of a key was last stored; `None`: it waits.
    used: HashMap<i64, Option<Instant>>,
}

impl Usage {
    pub(super) fn count(&self, app: i64, category: &'static str, outcome: Outcome, n: u64) {
        let counter = (app, hour(clock::now()), category, outcome);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).add(counter, n);
    }

    /// Notes that a key was used, for its `last_used_at`.
    pub(super) fn note_use(&self, key: i64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.used.len() < MAX_USED {
            counts.used.entry(key).or_insert(None);
        }
    }

    pub(super) async fn flush(&self, db: &Db) {
        let _storing = self.storing.lock().await;
        let (counters, used) = self.take();
        if counters.is_empty() && used.is_empty() {
            return;
        }
        let stored = store::add_usage(db, &counters, &used, clock::now()).await;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match stored {
            Ok(()) => {
                let now = clock::instant();
                counts.used.extend(used.into_iter().map(|key| (key, Some(now))));
            }
            Err(error) => {
                tracing::warn!(%error, "usage of applications could not be stored yet");
                for (counter, n) in counters {
                    counts.add(counter, n);
                }
            }
        }
    }

    fn take(&self) -> (BTreeMap<Counter, u64>, Vec<i64>) {
        let now = clock::instant();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |noted: Instant| now.saturating_duration_since(noted) < NOTED;
        counts.used.retain(|_, noted| noted.is_none_or(recent));
        let waiting = counts.used.iter().filter(|(_, noted)| noted.is_none());
        let used = waiting.map(|(key, _)| *key).collect();
        (mem::take(&mut counts.counters), used)
    }
}

impl Counts {
    fn add(&mut self, counter: Counter, n: u64) {
        if self.counters.len() < MAX_COUNTERS || self.counters.contains_key(&counter) {
            *self.counters.entry(counter).or_default() += n;
        }
    }
}

fn hour(at: DateTime<Utc>) -> DateTime<Utc> {
    at.with_minute(0).and_then(|at| at.with_second(0)).unwrap_or(at).trunc_subsecs(0)
}
