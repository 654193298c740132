//! Claiming, keeping, ending and putting back.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::{JoinError, JoinHandle},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Done, GRACE, Handler, Jobs, Lease, lock, owner,
    schedule::{self, Ticked},
    store::{self, Claimed, End, Running},
};
use crate::{clock, db, error::Result, redact};

/// How long ended jobs are kept.
const KEPT: TimeDelta = TimeDelta::days(7);

/// How often old jobs are removed, and how many in one statement.
const PRUNE_EVERY: Duration = Duration::from_hours(1);
const PRUNE_BATCH: i64 = 500;

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// What is kept of an error, in characters.
const MAX_ERROR: usize = 2000;

/// Works until the shutdown.
pub(super) async fn queue(jobs: Jobs, tasks: TaskTracker, shutdown: CancellationToken) {
    let mut seen = Seen::default();
    let mut ticked = Ticked::default();
    let mut pruned: Option<Instant> = None;
    let mut failing = false;
    // A round is not cut short: a claim that nobody knows of would have to be waited for.
    while !shutdown.is_cancelled() {
        match round(&jobs, &tasks, &shutdown, &mut seen, &mut ticked, &mut pruned).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the job queue does not answer; trying again");
                }
                failing = true;
            }
        }
        tokio::select! {
            () = jobs.0.woken.notified(), if !failing => {}
            () = tokio::time::sleep(jobs.0.pace.poll) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn round(
    jobs: &Jobs,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
    seen: &mut Seen,
    ticked: &mut Ticked,
    pruned: &mut Option<Instant>,
) -> db::Result<()> {
    schedule::enqueue_due(jobs, ticked, clock::now()).await?;
    put_back_abandoned(jobs, seen).await?;
    claim_what_is_due(jobs, tasks, shutdown).await?;
    if pruned.is_none_or(|last| last.elapsed() > PRUNE_EVERY) {
        // One batch a round: a long history goes away over several.
        let removed = store::prune(&jobs.0.db, clock::now() - KEPT, PRUNE_BATCH).await?;
        if removed < PRUNE_BATCH.unsigned_abs() {
            *pruned = Some(clock::instant());
        }
    }
    Ok(())
}

/// Begins due jobs while there are free slots for their kinds.
async fn claim_what_is_due(
    jobs: &Jobs,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> db::Result<()> {
    let queue = &jobs.0;
    let kinds = lock(&queue.kinds).clone();
    for (name, kind) in kinds {
        while let Ok(slot) = Arc::clone(&kind.slots).try_acquire_owned() {
            let now = clock::now();
            if shutdown.is_cancelled() || !store::is_due(&queue.db, name, now).await? {
                break;
            }
            let began = clock::instant();
            let lease = queue.pace.lease;
            let claimed = store::claim(&queue.db, name, &queue.owner, now, lease).await?;
            let Some(claimed) = claimed else { break };
            let worker = Worker { jobs: jobs.clone(), kind: name, claimed, slot };
            tasks.spawn(worker.run(Arc::clone(&kind.handler), began, shutdown.clone()));
        }
    }
    Ok(())
}

/// Beats of running jobs, and since when (by the monotonic clock) they stand where they do.
#[derive(Default)]
struct Seen(HashMap<i64, (Running, Instant)>);

/// Puts back what nobody works on any more: its process has ended, or its beat stands still.
async fn put_back_abandoned(jobs: &Jobs, seen: &mut Seen) -> db::Result<()> {
    let queue = &jobs.0;
    let now = clock::instant();
    let mut still = HashMap::new();
    for running in store::running(&queue.db).await? {
        let since = match seen.0.remove(&running.id) {
            Some((before, since)) if before == running => since,
            _ => now,
        };
        still.insert(running.id, (running, since));
    }
    seen.0 = still;
    for (running, since) in seen.0.values() {
        let dead = running.lease_owner.as_deref().is_some_and(owner::is_dead);
        if !dead && since.elapsed() < queue.pace.lease {
            continue;
        }
        let why = if dead {
            "the process that worked on it has ended".to_owned()
        } else {
            format!("its worker gave no sign of life for {} s", queue.pace.lease.as_secs_f32())
        };
        if store::put_back(&queue.db, running, &why, clock::now()).await? {
            tracing::warn!(job = running.id, kind = running.kind, why, "a job was abandoned");
            count(&running.kind, "abandoned");
        }
    }
    Ok(())
}

/// One claimed job, and the slot it takes.
struct Worker {
    jobs: Jobs,
    kind: &'static str,
    claimed: Claimed,
    slot: OwnedSemaphorePermit,
}

/// Aborts the task when it is dropped.
struct Work(JoinHandle<Result<Done>>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    /// Runs the handler to its end, its loss, or the shutdown. `began` is when the claim
    /// was asked for: no later than the database's own view of it.
    async fn run(self, handler: Handler, began: Instant, shutdown: CancellationToken) {
        let lost = CancellationToken::new();
        let lease = Lease {
            job: self.claimed.id,
            fence: self.claimed.fence,
            attempt: u32::try_from(self.claimed.attempts).unwrap_or(u32::MAX),
            payload: self.claimed.payload.0.clone(),
            lost: lost.clone(),
        };
        // A task of its own, so that a panic ends with it.
        let mut work = Work(tokio::spawn(async move { handler(lease).await }));
        let ended = tokio::select! {
            ended = &mut work.0 => Some(ended),
            () = self.keep(began, &lost) => None,
            () = shutdown.cancelled() => {
                lost.cancel();
                let ended = tokio::time::timeout(GRACE, &mut work.0).await;
                self.end_at_shutdown(ended.ok()).await;
                return;
            }
        };
        if let Some(ended) = ended {
            self.end(outcome(ended, &self.claimed, &self.jobs)).await;
        } else {
            lost.cancel();
            tracing::warn!(job = self.claimed.id, kind = self.kind, "the lease was lost");
            count(self.kind, "lost");
            // It may end by itself; what it writes is refused by the fence.
            let _ = tokio::time::timeout(GRACE, &mut work.0).await;
        }
        drop(work);
        let Self { jobs, slot, .. } = self;
        drop(slot);
        jobs.wake();
    }

    /// Shows signs of life; returns when the lease is lost.
    async fn keep(&self, mut shown: Instant, lost: &CancellationToken) {
        let pace = self.jobs.0.pace;
        let mut pause = pace.beat;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // `Lease::hold` was refused.
                () = lost.cancelled() => return,
            }
            let asked = clock::instant();
            let until = clock::now() + pace.lease;
            let beat =
                store::beat(&self.jobs.0.db, self.claimed.id, self.claimed.fence, until).await;
            match beat {
                Ok(true) => {
                    shown = asked;
                    pause = pace.beat;
                }
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, job = self.claimed.id, "no sign of life was stored");
                    pause = pace.poll.min(pace.beat);
                }
            }
            // Others may have put it back: nobody can tell while the database is away.
            if shown.elapsed() >= pace.lease {
                return;
            }
        }
    }

    /// Stores how it ended, again and again while the database is away.
    async fn end(&self, end: End) {
        let began = clock::instant();
        let result = match &end {
            End::Done => "done",
            End::Again(_) => "again",
            End::Retry(..) => "retried",
            End::Failed(_) => "failed",
            End::Released => "released",
        };
        if let End::Retry(_, error) | End::Failed(error) = &end {
            tracing::warn!(job = self.claimed.id, kind = self.kind, error, result, "a job failed");
        }
        let (queue, job) = (&self.jobs.0, &self.claimed);
        loop {
            match store::end(&queue.db, job.id, job.fence, &end, clock::now()).await {
                Ok(true) => return count(self.kind, result),
                Ok(false) => return count(self.kind, "lost"),
                Err(error) if began.elapsed() > queue.pace.lease => {
                    tracing::error!(%error, job = job.id, result, "a job's end was not stored; it will be done again");
                    return count(self.kind, "lost");
                }
                Err(_) => tokio::time::sleep(queue.pace.poll).await,
            }
        }
    }

    /// What ended well in time is done; all else is put back for the next start.
    async fn end_at_shutdown(&self, ended: Option<Result<Result<Done>, JoinError>>) {
        let end = match ended {
            Some(Ok(Ok(done))) => end_of(done),
            _ => End::Released,
        };
        self.end(end).await;
    }
}

fn end_of(done: Done) -> End {
    match done {
        Done::Finished => End::Done,
        Done::Again(pause) => End::Again(clock::now() + pause),
    }
}

fn outcome(ended: Result<Result<Done>, JoinError>, claimed: &Claimed, jobs: &Jobs) -> End {
    let error = match ended {
        Ok(Ok(done)) => return end_of(done),
        Ok(Err(error)) => error.to_string(),
        Err(error) if error.is_panic() => panic_text(error),
        Err(error) => error.to_string(),
    };
    let error = redact::secrets(&error).replace('\0', "\u{fffd}");
    let error: String = error.chars().take(MAX_ERROR).collect();
    if claimed.attempts >= claimed.max_attempts {
        return End::Failed(error);
    }
    let pause = pause_after(claimed.attempts, jobs.0.pace.retry);
    End::Retry(clock::now() + pause, error)
}

/// Tripled with each attempt, up to a quarter of an hour.
fn pause_after(attempt: i64, first: Duration) -> Duration {
    let exponent = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(20);
    first.saturating_mul(3_u32.saturating_pow(exponent)).min(LONGEST_PAUSE)
}

fn panic_text(error: JoinError) -> String {
    let payload = error.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.as_deref().unwrap_or("(no text)"))
}

fn count(kind: &str, result: &'static str) {
    metrics::counter!("lux_jobs_total", "kind" => kind.to_owned(), "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LONGEST_PAUSE, pause_after};

    #[test]
    fn pauses_grow_to_a_bound() {
        let first = Duration::from_secs(5);
        let pauses: Vec<u64> =
            (1..=4).map(|attempt| pause_after(attempt, first).as_secs()).collect();
        assert_eq!(pauses, [5, 15, 45, 135]);
        assert_eq!(pause_after(1000, first), LONGEST_PAUSE);
    }
}
