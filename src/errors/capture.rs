//! The one writer: many requests, one transaction, each answered after its commit.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    NewEvent,
    grouping::Rules,
    store::{
        known::Known,
        releases::Releases,
        write::{Item, Recorded, write},
    },
};
use crate::{
    auth::OrganizationId,
    clock,
    db::{self, Db, Failure, failure},
    error::{Error, Result},
};

/// Requests that may wait.
const QUEUE: usize = 10_000;
/// What waiting requests may hold, in KiB.
const QUEUE_KIB: usize = 64 * 1024;
/// A transaction takes no further request once it holds this many events …
const BATCH_EVENTS: usize = 2000;
/// … or this many bytes.
const BATCH_BYTES: usize = 8 << 20;
/// How often a transaction is tried while the database is busy or away.
const TRIES: u32 = 3;
/// Pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(5);

/// How long the writer waits for the callers that it has just answered, …
const GATHER: Duration = Duration::from_millis(1);
/// … and how often it lets others run for the sake of those that come besides.
const YIELDS: usize = 4;

/// Records events. Cheap to clone (every request has several); all clones feed one writer.
#[derive(Clone, Debug)]
pub struct Capture(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    state: Arc<State>,
    stop: CancellationToken,
    stopped: CancellationToken,
    rules: Rules,
}

/// How the writer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// Waiting for the writer, in KiB.
    pub queued_kib: usize,
    /// Events stored since the start.
    pub stored: u64,
    /// Events turned away since the start because the queue was full or the database away.
    pub turned_away: u64,
    /// Since when the database has not taken events, and why.
    pub failing: Option<(DateTime<Utc>, &'static str)>,
}

#[derive(Debug, Default)]
struct State {
    stored: AtomicU64,
    turned_away: AtomicU64,
    failing: Mutex<Option<(DateTime<Utc>, &'static str)>>,
}

#[derive(Debug)]
struct Job {
    items: Vec<Item>,
    answer: oneshot::Sender<Vec<Outcome>>,
    /// Held until the answer is given.
    _room: OwnedSemaphorePermit,
}

type Outcome = Result<Recorded, Refusal>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Away,
    Full,
    /// The database cannot store these values.
    Poison,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Poison => {
                Self::invalid("the database refused the values of this event; it was not stored")
            }
            refusal => Self::Unavailable(refusal.text().into()),
        }
    }
}

impl Refusal {
    const fn text(self) -> &'static str {
        match self {
            Self::Away => "the database does not answer; the event was not stored, send it again",
            Self::Full => {
                "the disk of the database is full; free some space. The event was not stored"
            }
            Self::Poison => "the database refused an event's values",
        }
    }
}

impl Capture {
    /// Starts the writer; see [`Known::sampling`] for `keep_first`.
    pub fn start(db: Db, rules: Rules, keep_first: u64) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let parts = Parts {
            jobs,
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            state: Arc::default(),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            rules,
        };
        let writer = Writer {
            db,
            releases: Releases::default(),
            state: Arc::clone(&parts.state),
            known: Known::sampling(keep_first),
        };
        let (stop, stopped) = (parts.stop.clone(), parts.stopped.clone().drop_guard());
        tokio::spawn(async move {
            writer.run(waiting, stop).await;
            drop(stopped);
        });
        Self(Arc::new(parts))
    }

    /// Checks, fingerprints and stores events; returns once they are committed.
    ///
    /// One outcome for each event, in order: what became of it, or why it is not stored
    /// ([`Error::Invalid`]: mend it; [`Error::Unavailable`]: send it again).
    pub async fn record(
        &self,
        organization: OrganizationId,
        events: Vec<NewEvent>,
    ) -> Vec<Result<Recorded>> {
        let now = clock::now();
        let mut items = Vec::with_capacity(events.len());
        let mut outcomes: Vec<Option<Result<Recorded>>> = Vec::with_capacity(events.len());
        for event in events {
            match event.check(now) {
                Ok(event) => {
                    let fingerprint = self.0.rules.fingerprint(&event);
                    items.push(Item { organization, event, fingerprint, row: None });
                    outcomes.push(None);
                }
                Err(refused) => outcomes.push(Some(Err(refused))),
            }
        }
        let count = items.len();
        let mut stored = match self.store(items).await {
            Ok(stored) => stored.into_iter().map(|outcome| outcome.map_err(Error::from)).collect(),
            Err(full) => vec![Err(full)],
        }
        .into_iter();
        debug_assert!(count == 0 || stored.len() > 0);
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Some(refused) => refused,
                None => stored.next().unwrap_or_else(|| Err(queue_full())),
            })
            .collect()
    }

    async fn store(&self, items: Vec<Item>) -> Result<Vec<Outcome>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let count = items.len();
        let turn_away = || {
            self.0.state.turned_away.fetch_add(count as u64, Ordering::Relaxed);
            metrics::counter!("lux_events_turned_away_total").increment(count as u64);
        };
        let kib = size(&items).div_ceil(1024).min(QUEUE_KIB);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.0.room).try_acquire_many_owned(kib) else {
            turn_away();
            return Err(queue_full());
        };
        let (answer, answered) = oneshot::channel();
        if self.0.jobs.try_send(Job { items, answer, _room: room }).is_err() {
            turn_away();
            return Err(queue_full());
        }
        let outcomes = answered.await.map_err(|_| {
            Error::Unavailable("Lux is shutting down; the event was not stored".into())
        })?;
        Ok(outcomes)
    }

    /// How the writer is doing.
    pub fn doing(&self) -> Doing {
        let failing = self.0.state.failing.lock().unwrap_or_else(PoisonError::into_inner);
        Doing {
            queued_kib: QUEUE_KIB - self.0.room.available_permits(),
            stored: self.0.state.stored.load(Ordering::Relaxed),
            turned_away: self.0.state.turned_away.load(Ordering::Relaxed),
            failing: *failing,
        }
    }

    /// Stores what waits, then ends the writer. Later events are turned away.
    pub async fn drain(&self) {
        self.0.stop.cancel();
        self.0.stopped.cancelled().await;
    }
}

fn queue_full() -> Error {
    Error::Unavailable(
        "too many events are waiting to be stored; this one was not, send it again".into(),
    )
}

fn size(items: &[Item]) -> usize {
    items.iter().map(|item| item.event.size()).sum()
}

/// Requests that share a transaction.
struct Batch {
    jobs: Vec<Job>,
    events: usize,
    bytes: usize,
}

impl Batch {
    fn of(job: Job) -> Self {
        let mut batch = Self { jobs: Vec::new(), events: 0, bytes: 0 };
        batch.push(job);
        batch
    }

    fn push(&mut self, job: Job) {
        self.events += job.items.len();
        self.bytes += size(&job.items);
        self.jobs.push(job);
    }

    fn is_full(&self) -> bool {
        self.events >= BATCH_EVENTS || self.bytes >= BATCH_BYTES
    }

    /// Takes what waits already.
    fn drain(&mut self, waiting: &mut mpsc::Receiver<Job>) {
        while !self.is_full()
            && let Ok(job) = waiting.try_recv()
        {
            self.push(job);
        }
    }
}

struct Writer {
    db: Db,
    releases: Releases,
    state: Arc<State>,
    known: Known,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>, stop: CancellationToken) {
        // Requests that may be here soon: those answered last, which mostly come back at once,
        // and those that came meanwhile. They share a transaction, or two halves of them would
        // take turns for ever. A lone caller waits for nobody.
        let mut expected = 1;
        loop {
            let first = tokio::select! {
                job = waiting.recv() => job,
                () = stop.cancelled(), if !waiting.is_closed() => {
                    waiting.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut batch = Batch::of(first);
            batch.drain(&mut waiting);
            if batch.jobs.len() < expected {
                let rest = async {
                    while batch.jobs.len() < expected && !batch.is_full() {
                        let Some(job) = waiting.recv().await else { return };
                        batch.push(job);
                        batch.drain(&mut waiting);
                    }
                };
                // Whoever does not come back in time does not hold up the others.
                let _ = tokio::time::timeout(GATHER, rest).await;
            }
            for _ in 0..YIELDS {
                if batch.is_full() || batch.jobs.len() == 1 && expected == 1 {
                    break;
                }
                tokio::task::yield_now().await;
                batch.drain(&mut waiting);
            }
            let answered = batch.jobs.len();
            self.store(batch.jobs).await;
            expected = answered + waiting.len();
        }
    }

    async fn store(&mut self, jobs: Vec<Job>) {
        let items: Vec<&Item> = jobs.iter().flat_map(|job| &job.items).collect();
        let outcomes = self.outcomes(&items).await;
        let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        let lost = outcomes.len() as u64 - stored;
        self.state.stored.fetch_add(stored, Ordering::Relaxed);
        self.state.turned_away.fetch_add(lost, Ordering::Relaxed);
        metrics::counter!("lux_events_stored_total").increment(stored);
        if lost > 0 {
            metrics::counter!("lux_events_turned_away_total").increment(lost);
        }
        let mut outcomes = outcomes.into_iter();
        for job in jobs {
            let own = outcomes.by_ref().take(job.items.len()).collect();
            // Nobody may be waiting any more; the events are stored all the same.
            let _ = job.answer.send(own);
        }
    }

    /// Stores all in one transaction. If the database refuses a value, halves are
    /// tried, until the poisonous event stands alone and the others are stored.
    async fn outcomes(&mut self, items: &[&Item]) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = vec![Err(Refusal::Away); items.len()];
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..items.len()).collect();
        while let Some(range) = ranges.pop() {
            match self.persist(&items[range.clone()]).await {
                Ok(ids) => {
                    for (outcome, id) in outcomes[range].iter_mut().zip(ids) {
                        *outcome = Ok(id);
                    }
                }
                Err(Refusal::Poison) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
                Err(Refusal::Poison) => outcomes[range.start] = Err(Refusal::Poison),
                Err(refusal) => {
                    // The rest would only wait for the same.
                    ranges.push(range);
                    for range in ranges.drain(..) {
                        outcomes[range].fill(Err(refusal));
                    }
                }
            }
        }
        outcomes
    }

    async fn persist(&mut self, items: &[&Item]) -> Result<Vec<Recorded>, Refusal> {
        let recorded = self.tries(items).await;
        if recorded.is_err() {
            self.known.forget();
        }
        recorded
    }

    async fn tries(&mut self, items: &[&Item]) -> Result<Vec<Recorded>, Refusal> {
        let mut pause = PAUSE;
        let mut refusal = Refusal::Away;
        for attempt in 1..=TRIES {
            match tokio::time::timeout(TRY, self.attempt(items)).await {
                Ok(Ok(ids)) => {
                    self.note(None);
                    return Ok(ids);
                }
                Ok(Err(Attempt::Failed(error))) => match failure(&error) {
                    Failure::Statement => {
                        tracing::warn!(%error, events = items.len(), "a batch was refused");
                        return Err(Refusal::Poison);
                    }
                    Failure::Full => {
                        refusal = Refusal::Full;
                        tracing::error!(%error, "the disk of the database is full");
                        break;
                    }
                    Failure::Busy | Failure::Away => {
                        tracing::warn!(%error, attempt, "events could not be stored");
                    }
                },
                // Whether it was committed nobody knows; a second try could store it twice.
                Ok(Err(Attempt::Commit(error))) => {
                    tracing::error!(%error, "the commit of a batch failed");
                    if failure(&error) == Failure::Full {
                        refusal = Refusal::Full;
                    }
                    break;
                }
                Err(_) => {
                    tracing::error!("the database did not store a batch in time");
                    break;
                }
            }
            self.known.forget();
            if attempt < TRIES {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        self.note(Some(refusal));
        Err(refusal)
    }

    async fn attempt(&mut self, items: &[&Item]) -> Result<Vec<Recorded>, Attempt> {
        let mut tx = self.db.begin().await?;
        let new = self.releases.note(&mut tx, items, clock::now()).await?;
        let recorded = write(&mut tx, &mut self.known, items).await?;
        tx.commit().await.map_err(Attempt::Commit)?;
        self.releases.remember(new);
        Ok(recorded)
    }

    fn note(&self, refusal: Option<Refusal>) {
        let mut failing = self.state.failing.lock().unwrap_or_else(PoisonError::into_inner);
        *failing = refusal
            .map(|refusal| (failing.map_or_else(clock::now, |(since, _)| since), refusal.text()));
    }
}

enum Attempt {
    Failed(db::Error),
    Commit(db::Error),
}

impl From<db::Error> for Attempt {
    fn from(error: db::Error) -> Self {
        Self::Failed(error)
    }
}
