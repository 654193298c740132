//! Durable work: a table of jobs that every replica takes from, and the schedules that
//! fill it. Knows no features; they register what they can do with [`Jobs::handle`].
//!
//! **A job runs at least once**, and what it stores through [`Lease::hold`] is stored by
//! one worker only. A claim raises the job's `fence` and begins a lease; the worker
//! shows every ten seconds that it lives by raising `beat`. Who sees a beat stand still for
//! thirty seconds *of its own monotonic clock* puts the job back. So no lease depends on
//! a wall clock: it may jump by hours, or differ between hosts, and nothing is taken
//! from a worker that lives, nor kept by one that is dead. A worker of this host whose
//! process is gone is noticed at once (see `owner`). A worker that was only asleep (a
//! stopped process, a database that was away) finds its fence raised at its next write.
//!
//! **Shutdown**: no new claims; `Lease::lost` of the running handlers is cancelled, and
//! they have [`GRACE`] to end by themselves. What is unfinished then is dropped at its
//! next await and put back at once, without counting as an attempt, so that another
//! replica or the next start goes on immediately.

mod owner;
mod run;
pub mod schedule;
mod store;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock,
    db::{Db, Tx},
    error::{Error, Result},
};

pub use owner::{is_dead, this_process};
pub use schedule::{Scheduled, next_runs};
pub use store::{Held, LastRun};

/// How long handlers may go on after the shutdown began.
pub const GRACE: Duration = Duration::from_secs(5);

/// The times a queue keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a beat may stand still before the job is put back.
    pub lease: Duration,
    /// How often a worker shows that it lives; a third of `lease`.
    pub beat: Duration,
    /// How often is looked for work that nobody announced.
    pub poll: Duration,
    /// Pause before the second attempt; it triples with each further one.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            beat: Duration::from_secs(10),
            poll: Duration::from_secs(1),
            retry: Duration::from_secs(5),
        }
    }
}

/// A job to be done.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub kind: &'static str,
    pub payload: Value,
    /// Names the occasion. While a job of the same name is known (finished ones are for
    /// seven days), no second one is made.
    pub dedupe: Option<String>,
    /// Not before this; `None` is now.
    pub run_at: Option<DateTime<Utc>>,
    /// How often it may be begun; at least 1.
    pub max_attempts: u32,
}

impl NewJob {
    /// A job to be done now, tried up to five times.
    pub fn new(kind: &'static str, payload: Value) -> Self {
        Self { kind, payload, dedupe: None, run_at: None, max_attempts: 5 }
    }

    #[must_use]
    pub fn dedupe(mut self, name: impl Into<String>) -> Self {
        self.dedupe = Some(name.into());
        self
    }
}

/// The right to work on a job, as long as the fence is not raised.
#[derive(Debug)]
pub struct Lease {
    pub job: i64,
    pub fence: i64,
    /// From 1. More than 1 means that an earlier attempt may have done a part already.
    pub attempt: u32,
    pub payload: Value,
    /// Cancelled when the lease is lost or Lux shuts down. Either way: stop. What is not
    /// committed somebody else is going to do.
    pub lost: CancellationToken,
}

impl Lease {
    /// To be called in each transaction that stores something of the job: it fails if
    /// the job was given to another worker meanwhile, and keeps it from being given away
    /// until the transaction ends.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the lease was lost; drop the transaction then.
    pub async fn hold(&self, tx: &mut Tx) -> Result<()> {
        if store::hold(tx, self.job, self.fence).await? {
            return Ok(());
        }
        self.lost.cancel();
        Err(Error::Conflict(format!("job {} was given to another worker", self.job)))
    }
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Finished,
    /// There is more to do, after a pause. Attempts are counted anew.
    Again(Duration),
}

type Handler = Arc<dyn Fn(Lease) -> BoxFuture<'static, Result<Done>> + Send + Sync>;

#[derive(Clone)]
struct Kind {
    handler: Handler,
    slots: Arc<Semaphore>,
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Queue>);

struct Queue {
    db: Db,
    owner: String,
    pace: Pace,
    kinds: Mutex<BTreeMap<&'static str, Kind>>,
    schedules: Mutex<Vec<Scheduled>>,
    woken: Notify,
}

impl Jobs {
    /// `owner` names the process; [`this_process`] gives a name by which others on this
    /// host can tell whether it still runs.
    pub fn new(db: Db, owner: String) -> Self {
        Self::with_pace(db, owner, Pace::default())
    }

    /// [`Jobs::new`] with other times.
    pub fn with_pace(db: Db, owner: String, pace: Pace) -> Self {
        Self(Arc::new(Queue {
            db,
            owner,
            pace,
            kinds: Mutex::default(),
            schedules: Mutex::default(),
            woken: Notify::new(),
        }))
    }

    /// Stores a job; gives its id, or `None` if one of its `dedupe` name is known.
    pub async fn enqueue(&self, job: NewJob) -> Result<Option<i64>> {
        let mut tx = self.0.db.begin().await?;
        let id = Self::enqueue_in(&mut tx, job).await?;
        tx.commit().await?;
        self.wake();
        Ok(id)
    }

    /// [`Jobs::enqueue`] inside the caller's transaction: the job exists if, and only if,
    /// what belongs to it does. Call [`Jobs::wake`] after the commit to have it begun at once.
    pub async fn enqueue_in(tx: &mut Tx, job: NewJob) -> Result<Option<i64>> {
        Ok(store::insert(tx, job, clock::now()).await?)
    }

    /// Says what is done with jobs of a kind, `concurrency` at a time in this process.
    /// An error or a panic is an attempt; the next follows after a growing pause.
    pub fn handle<F, Fut>(&self, kind: &'static str, concurrency: usize, handler: F)
    where
        F: Fn(Lease) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Done>> + Send + 'static,
    {
        let kind_of_work = Kind {
            handler: Arc::new(move |lease| Box::pin(handler(lease))),
            slots: Arc::new(Semaphore::new(concurrency.max(1))),
        };
        lock(&self.0.kinds).insert(kind, kind_of_work);
        self.wake();
    }

    /// Adds schedules; see [`schedule`].
    pub fn schedule(&self, schedules: Vec<Scheduled>) {
        lock(&self.0.schedules).extend(schedules);
        self.wake();
    }

    /// Puts schedules in the place of all that make jobs of a kind.
    pub fn reschedule(&self, kind: &str, schedules: Vec<Scheduled>) {
        let mut all = lock(&self.0.schedules);
        all.retain(|schedule| schedule.kind != kind);
        all.extend(schedules);
    }

    /// Keeps a schedule from making jobs until it is released; its ticks meanwhile are let pass.
    /// Whether it was not held before.
    pub async fn hold(tx: &mut Tx, schedule: &str, by: &str) -> Result<bool> {
        Ok(store::hold_schedule(tx, schedule, by, clock::now()).await?)
    }

    /// Lets a schedule make jobs again, from its next tick on. Whether it was held.
    pub async fn release(tx: &mut Tx, schedule: &str) -> Result<bool> {
        Ok(store::release_schedule(tx, schedule).await?)
    }

    /// By whom a schedule is held, if it is.
    pub async fn held(&self, schedule: &str) -> Result<Option<Held>> {
        Ok(store::held(&self.0.db, schedule).await?)
    }

    /// The schedules with the time of their next tick, soonest first.
    pub fn next_runs(&self) -> Vec<(String, DateTime<Utc>)> {
        next_runs(&lock(&self.0.schedules), clock::now())
    }

    /// How the newest job of a schedule went; jobs are remembered for seven days.
    pub async fn last_run(&self, schedule: &str) -> Result<Option<LastRun>> {
        Ok(store::last_of(&self.0.db, schedule).await?)
    }

    /// Begins to work; ends when `shutdown` is cancelled, which `tasks` can be awaited for.
    pub fn start(&self, tasks: &TaskTracker, shutdown: CancellationToken) {
        tasks.spawn(run::queue(self.clone(), tasks.clone(), shutdown));
    }

    /// Looks for work now, in this process.
    pub fn wake(&self) {
        self.0.woken.notify_one();
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
