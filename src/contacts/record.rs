//! The writers of contacts: many requests, one transaction, each answered after its commit.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rlibphonenumber::Region;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Arrival, Incoming, Recorded,
    receipt::{self, Receipt},
    store::write::{Terms, write},
};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    db::{self, Db, Failure, failure},
    error::{Error, Result},
    seal::Lasting,
};

/// Requests that may wait.
const QUEUE: usize = 10_000;
/// A transaction takes no further request once it holds this many contacts.
const BATCH: usize = 1000;
/// The most that one request brings.
pub const MAX_ITEMS: usize = 5000;
/// How often a transaction is tried while the database is busy, or another replica stored one of
/// the addresses at the same time; and the pause before the second try, which doubles.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(20);
/// On PostgreSQL, while one transaction waits for the disk another one works. SQLite has one writer.
const WRITERS: usize = 2;
/// How long the writer waits for the callers that it has just answered.
const GATHER: Duration = Duration::from_millis(1);

/// Contacts: what came about people goes through here. Cheap to clone; all clones feed the same
/// writers.
#[derive(Clone, Debug)]
pub struct Contacts(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// One for each writer. Whoever is written about goes to the same one each time: two that
    /// store a new address at once would wait for each other.
    jobs: Vec<mpsc::Sender<Job>>,
    region: Option<Region>,
    /// Contacts that were written by this process; the indexer makes way while it grows.
    written: Arc<AtomicUsize>,
    stop: CancellationToken,
    stopped: CancellationToken,
}

struct Job {
    organization: OrganizationId,
    items: Vec<Arrival>,
    receipt: Option<Receipt>,
    answer: oneshot::Sender<Result<Vec<Recorded>, Refusal>>,
}

#[derive(Clone, Copy, Debug)]
enum Refusal {
    Away,
    Full,
    Poison,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Away => Self::Unavailable(
                "the database does not answer; nothing was stored, send it again".into(),
            ),
            Refusal::Full => Self::Unavailable(
                "the disk of the database is full; free some space. Nothing was stored".into(),
            ),
            Refusal::Poison => Self::invalid("the database refused the values; nothing was stored"),
        }
    }
}

impl Contacts {
    /// Starts the writer.
    pub fn start(app: &App) -> Self {
        let written: Arc<AtomicUsize> = Arc::default();
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        let all_stopped = Arc::new(stopped.clone().drop_guard());
        let count = if matches!(app.db, Db::Pg(_)) { WRITERS } else { 1 };
        let jobs = (0..count).map(|_| {
            let (jobs, waiting) = mpsc::channel(QUEUE / count);
            let writer = Writer {
                db: app.db.clone(),
                lasting: app.lasting.clone(),
                written: Arc::clone(&written),
            };
            let (stop, stopped) = (stop.clone(), Arc::clone(&all_stopped));
            tokio::spawn(async move {
                writer.run(waiting, stop).await;
                drop(stopped);
            });
            jobs
        });
        let parts = Parts {
            jobs: jobs.collect(),
            region: app.config.contacts.phone_region,
            written,
            stop,
            stopped,
        };
        super::segment::register(app);
        super::words::start(app, Arc::clone(&parts.written));
        receipt::start(app);
        super::consent::start(app);
        Self(Arc::new(parts))
    }

    /// Merges what came into what is known; returns once all of it is committed, in order. Either
    /// all of it is stored, or nothing.
    pub async fn record(
        &self,
        organization: OrganizationId,
        items: Vec<Incoming>,
    ) -> Result<Vec<Recorded>> {
        self.send(organization, items, None).await
    }

    /// [`Contacts::record`], with what is noted of the request in the same transaction.
    pub(super) async fn send(
        &self,
        organization: OrganizationId,
        items: Vec<Incoming>,
        receipt: Option<Receipt>,
    ) -> Result<Vec<Recorded>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        if items.len() > MAX_ITEMS {
            return Err(Error::TooLarge(format!("at most {MAX_ITEMS} contacts go in one request")));
        }
        let items: Vec<Arrival> =
            items.into_iter().map(|it| Arrival::new(it, self.0.region)).collect();
        let (answer, answered) = oneshot::channel();
        let writer = self.writer_of(&items);
        let job = Job { organization, items, receipt, answer };
        writer.try_send(job).map_err(|_| {
            Error::Unavailable("too many contacts are waiting to be stored; send it again".into())
        })?;
        let stored = answered.await.map_err(|_| {
            Error::Unavailable("Lux is shutting down; nothing was stored, send it again".into())
        })?;
        Ok(stored?)
    }

    /// One person's writer. Lists, and who has only a telephone, which nothing in the database
    /// keeps apart, go to the first.
    fn writer_of(&self, items: &[Arrival]) -> &mpsc::Sender<Job> {
        let jobs = &self.0.jobs;
        let place = match items {
            [Arrival { person: Incoming { email: Some(email), .. }, .. }] => {
                let hash = foldhash::quality::FixedState::default().hash_one(&email.key);
                usize::try_from(hash % jobs.len() as u64).unwrap_or_default()
            }
            _ => 0,
        };
        &jobs[place]
    }

    /// How telephone numbers without a country's prefix are read.
    pub fn region(&self) -> Option<Region> {
        self.0.region
    }

    /// Contacts were written on another way.
    pub(super) fn wrote(&self, count: usize) {
        self.0.written.fetch_add(count, Ordering::Relaxed);
    }

    /// Stores what waits, then ends the writer.
    pub async fn drain(&self) {
        self.0.stop.cancel();
        self.0.stopped.cancelled().await;
    }
}

struct Writer {
    db: Db,
    lasting: Lasting,
    written: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(self, mut waiting: mpsc::Receiver<Job>, stop: CancellationToken) {
        // Those answered last mostly come back at once: they share a transaction, or two halves
        // of them would take turns for ever. A lone caller waits for nobody.
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
            let mut batch = vec![first];
            drain(&mut batch, &mut waiting);
            if batch.len() < expected {
                let rest = async {
                    while batch.len() < expected && size(&batch) < BATCH {
                        let Some(job) = waiting.recv().await else { return };
                        batch.push(job);
                        drain(&mut batch, &mut waiting);
                    }
                };
                let _ = tokio::time::timeout(GATHER, rest).await;
            }
            let answered = batch.len();
            self.store(batch).await;
            expected = answered + waiting.len();
        }
    }

    /// Stores all in one transaction. If the database refuses a value, each request is tried
    /// alone, so that one does not spoil the others.
    async fn store(&self, jobs: Vec<Job>) {
        let outcome = self.tries(&jobs).await;
        match outcome {
            Ok(recorded) => {
                metrics::counter!("lux_contacts_recorded_total")
                    .increment(recorded.iter().map(Vec::len).sum::<usize>() as u64);
                for (job, own) in jobs.into_iter().zip(recorded) {
                    // Nobody may be waiting any more; the contacts are stored all the same.
                    let _ = job.answer.send(Ok(own));
                }
            }
            Err(Refusal::Poison) if jobs.len() > 1 => {
                for job in jobs {
                    let outcome = self.tries(std::slice::from_ref(&job)).await;
                    let own = outcome.map(|mut all| all.pop().unwrap_or_default());
                    let _ = job.answer.send(own);
                }
            }
            Err(refusal) => {
                for job in jobs {
                    let _ = job.answer.send(Err(refusal));
                }
            }
        }
    }

    async fn tries(&self, jobs: &[Job]) -> Result<Vec<Vec<Recorded>>, Refusal> {
        let mut pause = PAUSE;
        let mut refusal = Refusal::Away;
        for attempt in 1..=TRIES {
            let Ok(outcome) = tokio::time::timeout(TRY, self.attempt(jobs)).await else {
                tracing::error!("the database did not store contacts in time");
                return Err(Refusal::Away);
            };
            let error = match outcome {
                Ok(recorded) => return Ok(recorded),
                Err(error) => error,
            };
            match failure(&error) {
                // Another replica stored one of the addresses at the same time: it is found now.
                _ if db::is_duplicate(&error) => {}
                Failure::Statement => {
                    tracing::warn!(%error, "contacts were refused by the database");
                    return Err(Refusal::Poison);
                }
                Failure::Full => {
                    tracing::error!(%error, "the disk of the database is full");
                    refusal = Refusal::Full;
                }
                Failure::Busy | Failure::Away => {
                    tracing::warn!(%error, attempt, "contacts could not be stored");
                }
            }
            if attempt < TRIES {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        Err(refusal)
    }

    async fn attempt(&self, jobs: &[Job]) -> db::Result<Vec<Vec<Recorded>>> {
        let now = clock::now();
        // Only who is said to want mail is looked for among those who do not.
        let asks = jobs.iter().flat_map(|job| &job.items).any(|item| item.person.consent.is_some());
        let keyed = if asks {
            let keyed = self.lasting.keyed().await;
            Some(keyed.map_err(|error| db::Error::Decode(error.into()))?)
        } else {
            None
        };
        let terms = Terms { keyed, now };
        let mut tx = self.db.begin().await?;
        let mut recorded: Vec<Vec<Recorded>> = jobs.iter().map(|_| Vec::new()).collect();
        let mut organizations: Vec<OrganizationId> =
            jobs.iter().map(|it| it.organization).collect();
        organizations.sort_unstable_by_key(|it| it.0);
        organizations.dedup();
        for organization in organizations {
            let own =
                || jobs.iter().enumerate().filter(|(_, job)| job.organization == organization);
            let items: Vec<&Arrival> = own().flat_map(|(_, job)| &job.items).collect();
            let mut all = write(&mut tx, organization, &items, &terms).await?.into_iter();
            for (place, job) in own() {
                recorded[place] = all.by_ref().take(job.items.len()).collect();
            }
        }
        let told = jobs.iter().zip(&recorded).filter_map(|(job, recorded)| {
            Some((job.organization, job.receipt.as_ref()?, recorded.as_slice()))
        });
        receipt::keep(&mut tx, told, now).await?;
        tx.commit().await?;
        self.written.fetch_add(size(jobs), Ordering::Relaxed);
        Ok(recorded)
    }
}

fn size(batch: &[Job]) -> usize {
    batch.iter().map(|job| job.items.len()).sum()
}

/// Takes what waits already.
fn drain(batch: &mut Vec<Job>, waiting: &mut mpsc::Receiver<Job>) {
    let mut items = size(batch);
    while items < BATCH
        && let Ok(job) = waiting.try_recv()
    {
        items += job.items.len();
        batch.push(job);
    }
}
