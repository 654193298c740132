//! Errors that stand in logs become events of the same groups as those that were reported,
//! and one that is seen in several places counts once.
//!
//! The way of a record: the thread that reads tells of it ([`FromLogs`] listens); what may be
//! an event (`decide` says what is, and why) is copied into a bounded queue. Before a log's
//! position moves, the queue goes into the table `error_held`, so a kill -9 costs nothing:
//! what is not held yet is read again, with the same id. There it waits for some seconds
//! (`Rank::grace`), since the application may report the same error a moment later, and
//! nginx's line says less than the application's own. Then `matching` decides whether the
//! record is one more sighting of an event, of a probe's making, or an event by itself.
//!
//! What happened more than `OLDEST` ago is left alone, and so is what stood in a log without
//! a time before Lux first looked at it.

mod candidate;
mod decide;
mod host;
mod matching;
mod resolve;
mod store;

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

pub use self::store::{Sighting, sightings};
use self::{candidate::Candidate, decide::Decide};
use super::Capture;
use crate::{
    app::App,
    clock,
    config::Config,
    db::{self, Db},
    error::Result,
    logs::{Heard, Listener},
};

/// What happened longer ago is history, not an event.
const OLDEST: TimeDelta = TimeDelta::hours(24);

/// Records that may wait to be held, and their bytes; what comes on top is dropped and counted.
const QUEUE: usize = 20_000;
const QUEUE_BYTES: usize = 16 << 20;
/// Above this many, those that are no events by themselves (access lines) are dropped.
const QUEUE_BUSY: usize = QUEUE / 2;
/// Records that may wait for the decision in the database.
const MAX_HELD: u64 = 200_000;
/// Bytes of one statement that holds records.
const STATEMENT_BYTES: usize = 4 << 20;
/// For so long after the last drop health speaks of it.
const DROPPED_LATELY: TimeDelta = TimeDelta::minutes(10);

/// Listens to the logs and makes events of what they say. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FromLogs(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    db: Db,
    host: String,
    decide: Decide,
    queue: Mutex<Queue>,
    /// There may be something to decide on.
    wake: Notify,
    /// Records of an earlier life may be held.
    unknown: AtomicBool,
    held: AtomicU64,
    /// Kept while `held` and the table are changed together.
    books: tokio::sync::Mutex<()>,
    counts: Counts,
    dropped_at: Mutex<Option<DateTime<Utc>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Candidate>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Counts {
    captured: AtomicU64,
    joined: AtomicU64,
    of_probes: AtomicU64,
    dropped: AtomicU64,
}

/// How it is doing, counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// Records that became events.
    pub captured: u64,
    /// Records that told of an event that was known already.
    pub joined: u64,
    /// Records of what Lux's own probes caused.
    pub of_probes: u64,
    /// Records that were given up, since too many came at once.
    pub dropped: u64,
    /// Records that wait to be decided on.
    pub held: u64,
    /// When one was dropped, if that was lately.
    pub dropped_lately: Option<DateTime<Utc>>,
}

impl FromLogs {
    /// Listens for `host`; the sources and applications are those of the configuration.
    pub fn new(db: Db, host: String, config: &Config) -> Self {
        Self(Arc::new(Parts {
            db,
            decide: Decide::new(host.clone(), config),
            host,
            queue: Mutex::default(),
            wake: Notify::new(),
            unknown: AtomicBool::new(true),
            held: AtomicU64::new(0),
            books: tokio::sync::Mutex::default(),
            counts: Counts::default(),
            dropped_at: Mutex::default(),
        }))
    }

    /// Starts deciding on what was heard, until the shutdown.
    pub fn start(&self, app: &App, capture: Capture) {
        app.tasks.spawn(resolve::run(self.clone(), capture, app.shutdown.clone()));
    }

    /// How it is doing.
    pub fn doing(&self) -> Doing {
        let parts = &*self.0;
        let at = *parts.dropped_at.lock().unwrap_or_else(PoisonError::into_inner);
        Doing {
            captured: parts.counts.captured.load(Relaxed),
            joined: parts.counts.joined.load(Relaxed),
            of_probes: parts.counts.of_probes.load(Relaxed),
            dropped: parts.counts.dropped.load(Relaxed),
            held: parts.held.load(Relaxed),
            dropped_lately: at.filter(|at| clock::now() - *at < DROPPED_LATELY),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_some(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.0.counts.dropped.fetch_add(count, Relaxed);
        metrics::counter!("lux_log_events_dropped_total").increment(count);
        *self.0.dropped_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
    }

    async fn hold(&self) -> Result<()> {
        let mut waiting = {
            let mut queue = self.queue();
            queue.bytes = 0;
            mem::take(&mut queue.waiting)
        };
        if waiting.is_empty() {
            return Ok(());
        }
        let room = MAX_HELD.saturating_sub(self.0.held.load(Relaxed));
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        self.drop_some(waiting.len().saturating_sub(room) as u64);
        waiting.truncate(room);
        let mut at_once = usize::MAX;
        while !waiting.is_empty() {
            let (mut bytes, mut count) = (0, 0);
            for candidate in waiting.iter().take(at_once) {
                if count > 0 && bytes + candidate.size() > STATEMENT_BYTES {
                    break;
                }
                (bytes, count) = (bytes + candidate.size(), count + 1);
            }
            match self.put(&waiting.make_contiguous()[..count]).await {
                Ok(()) => drop(waiting.drain(..count)),
                // One of them must not hold up the others, nor the positions of the logs.
                Err(error) if count > 1 && db::failure(&error) == db::Failure::Statement => {
                    at_once = 1;
                }
                Err(error) if db::failure(&error) == db::Failure::Statement => {
                    tracing::warn!(%error, "a record of a log cannot be held and is dropped");
                    waiting.pop_front();
                    self.drop_some(1);
                }
                Err(error) => {
                    // What came meanwhile stands behind it.
                    let mut queue = self.queue();
                    queue.bytes += waiting.iter().map(Candidate::size).sum::<usize>();
                    waiting.append(&mut queue.waiting);
                    queue.waiting = waiting;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    async fn put(&self, candidates: &[Candidate]) -> db::Result<()> {
        let _books = self.0.books.lock().await;
        let held = store::hold(&self.0.db, &self.0.host, candidates).await?;
        self.0.held.fetch_add(held, Relaxed);
        self.0.wake.notify_one();
        Ok(())
    }
}

impl Listener for FromLogs {
    fn hear(&self, heard: &Heard<'_>) {
        let Some(candidate) = self.0.decide.of(heard) else { return };
        let size = candidate.size();
        let mut queue = self.queue();
        let waiting = queue.waiting.len();
        let full = waiting >= QUEUE
            || queue.bytes + size > QUEUE_BYTES
            || (waiting >= QUEUE_BUSY && !candidate.rank.is_event());
        if full {
            drop(queue);
            return self.drop_some(1);
        }
        queue.bytes += size;
        queue.waiting.push_back(candidate);
    }

    fn keep(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.hold())
    }
}
