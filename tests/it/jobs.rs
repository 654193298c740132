//! The queue with several workers on one database, and workers that die.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lux::{
    db::Db,
    error::Error,
    jobs::{Done, Jobs, Lease, NewJob, Pace},
};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{both::on_both, support::until};

/// Fast, so that no test waits for half a minute.
const PACE: Pace = Pace {
    lease: Duration::from_millis(1500),
    beat: Duration::from_millis(300),
    poll: Duration::from_millis(50),
    retry: Duration::from_millis(50),
};

/// A replica: its own pool, its own queue.
struct Replica {
    db: Db,
    jobs: Jobs,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Replica {
    async fn new(url: &str, name: &str) -> Self {
        let db = Db::connect(url, 4).await.unwrap();
        let jobs = Jobs::with_pace(db.clone(), name.to_owned(), PACE);
        Self { db, jobs, tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    fn start(&self) {
        self.jobs.start(&self.tasks, self.stop.clone());
    }

    async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// status, attempts, fence
    async fn row(&self, id: i64) -> (String, i64, i64) {
        self.db
            .query("select status, attempts, fence from job where id = $1")
            .bind(id)
            .one()
            .await
            .unwrap()
    }

    async fn is(&self, id: i64, status: &str) {
        until(&format!("job {id} is {status}"), async || {
            (self.row(id).await.0 == status).then_some(())
        })
        .await;
    }

    async fn error(&self, id: i64) -> String {
        let error: Option<String> =
            self.db.query("select error from job where id = $1").bind(id).scalar().await.unwrap();
        error.unwrap_or_default()
    }
}

on_both! {
    async fn each_job_is_run_once_by_one_of_four_replicas(url: &str) {
        let runs: Arc<Mutex<BTreeMap<i64, Vec<usize>>>> = Arc::default();
        let mut replicas = Vec::new();
        for number in 0..4 {
            let replica = Replica::new(url, &format!("replica {number}")).await;
            let runs = Arc::clone(&runs);
            replica.jobs.handle("count", 8, move |lease| {
                let runs = Arc::clone(&runs);
                async move {
                    let n = lease.payload["n"].as_i64().unwrap();
                    runs.lock().unwrap().entry(n).or_default().push(number);
                    tokio::task::yield_now().await;
                    Ok(Done::Finished)
                }
            });
            replicas.push(replica);
        }
        for n in 0..200 {
            replicas[0].jobs.enqueue(NewJob::new("count", json!({ "n": n }))).await.unwrap();
        }
        replicas.iter().for_each(Replica::start);
        for n in 200..400 {
            let from = &replicas[n % 4].jobs;
            from.enqueue(NewJob::new("count", json!({ "n": n }))).await.unwrap();
        }
        let db = &replicas[0].db;
        until("all is done", async || {
            let done = db.query("select count(*) from job where status = 'done'");
            (done.scalar::<i64>().await.unwrap() == 400).then_some(())
        })
        .await;
        let runs = runs.lock().unwrap().clone();
        assert_eq!(runs.len(), 400);
        let twice: Vec<_> = runs.iter().filter(|(_, by)| by.len() != 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        let again: i64 = db.query("select count(*) from job where attempts <> 1 or fence <> 1")
            .scalar().await.unwrap();
        assert_eq!(again, 0);
        for replica in &replicas {
            replica.stop().await;
        }
    }

    async fn an_occasion_makes_one_job(url: &str) {
        let replica = Replica::new(url, "one").await;
        let job = || NewJob::new("x", json!({})).dedupe("nightly@2026-11-21");
        let first = replica.jobs.enqueue(job()).await.unwrap();
        assert!(first.is_some());
        assert_eq!(replica.jobs.enqueue(job()).await.unwrap(), None);
        // Undone with the transaction it belongs to.
        let mut tx = replica.db.begin().await.unwrap();
        let other = NewJob::new("x", json!({})).dedupe("other");
        assert!(Jobs::enqueue_in(&mut tx, other.clone()).await.unwrap().is_some());
        drop(tx);
        assert!(replica.jobs.enqueue(other).await.unwrap().is_some());
    }

    async fn the_job_of_a_dead_worker_is_taken_over_and_its_late_write_refused(url: &str) {
        let second = Replica::new(url, "second").await;
        let id = second.jobs.enqueue(NewJob::new("work", json!({}))).await.unwrap().unwrap();
        let (began, held) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None::<Lease>)));
        let (tell, keep) = (Arc::clone(&began), Arc::clone(&held));
        // A runtime of its own, so that it can die with all its tasks.
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let dying = builder.worker_threads(1).enable_all().build().unwrap();
        let place = url.to_owned();
        dying.spawn(async move {
            let first = Replica::new(&place, "first").await;
            first.jobs.handle("work", 1, move |lease| {
                *keep.lock().unwrap() = Some(lease);
                tell.notify_one();
                std::future::pending()
            });
            first.start();
            std::future::pending::<()>().await;
        });
        began.notified().await;
        let lease = held.lock().unwrap().take().unwrap();
        let mut tx = second.db.begin().await.unwrap();
        lease.hold(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        dying.shutdown_background();

        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        second.jobs.handle("work", 1, move |lease| {
            let counted = Arc::clone(&counted);
            async move {
                counted.store(lease.attempt as usize, Ordering::SeqCst);
                Ok(Done::Finished)
            }
        });
        second.start();
        second.is(id, "done").await;
        assert_eq!(attempts.load(Ordering::SeqCst), 2);
        assert_eq!(second.row(id).await, ("done".to_owned(), 2, 2));
        let mut tx = second.db.begin().await.unwrap();
        let refused = lease.hold(&mut tx).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        assert!(lease.lost.is_cancelled());
        drop(tx);
        second.stop().await;
    }

    async fn a_worker_learns_that_its_job_was_given_away(url: &str) {
        let replica = Replica::new(url, "one").await;
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        replica.jobs.handle("work", 2, move |lease| {
            let count = Arc::clone(&count);
            async move {
                if lease.attempt == 1 {
                    lease.lost.cancelled().await;
                    count.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Done::Finished)
            }
        });
        let id = replica.jobs.enqueue(NewJob::new("work", json!({}))).await.unwrap().unwrap();
        replica.start();
        replica.is(id, "running").await;
        replica.db.query("update job set status = 'waiting' where id = $1").bind(id)
            .run().await.unwrap();
        replica.is(id, "done").await;
        until("it was told", async || (told.load(Ordering::SeqCst) == 1).then_some(())).await;
        // The end of the first worker changed nothing.
        assert_eq!(replica.row(id).await, ("done".to_owned(), 2, 2));
        replica.stop().await;
    }

    async fn a_job_that_kills_its_workers_fails_in_the_end(url: &str) {
        let replica = Replica::new(url, "one").await;
        let job = NewJob { max_attempts: 2, ..NewJob::new("nobody handles it", json!({})) };
        let id = replica.jobs.enqueue(job).await.unwrap().unwrap();
        replica.db
            .query("update job set status = 'running', attempts = 2, fence = 2, lease_owner = 'gone'
                    where id = $1")
            .bind(id).run().await.unwrap();
        replica.start();
        replica.is(id, "failed").await;
        assert!(replica.error(id).await.contains("no sign of life"));
        replica.stop().await;
    }

    async fn errors_and_panics_are_attempts(url: &str) {
        let replica = Replica::new(url, "one").await;
        let tried = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tried);
        replica.jobs.handle("frail", 1, move |lease| {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                match lease.attempt {
                    1 => panic!("password=hunter22hunter"),
                    2 => Err(Error::invalid("no such order")),
                    _ => Ok(Done::Finished),
                }
            }
        });
        let id = replica.jobs.enqueue(NewJob::new("frail", json!({}))).await.unwrap().unwrap();
        let hopeless = NewJob { max_attempts: 1, ..NewJob::new("frail", json!({})) };
        let hopeless = replica.jobs.enqueue(hopeless).await.unwrap().unwrap();
        replica.start();
        replica.is(id, "done").await;
        assert_eq!(replica.row(id).await.1, 3);
        replica.is(hopeless, "failed").await;
        let error = replica.error(hopeless).await;
        assert!(error.contains("panicked") && !error.contains("hunter22"), "{error}");
        assert_eq!(tried.load(Ordering::SeqCst), 4);
        replica.stop().await;
    }

    async fn more_to_do_is_no_failure(url: &str) {
        let replica = Replica::new(url, "one").await;
        let rounds = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rounds);
        replica.jobs.handle("steps", 1, move |lease| {
            let count = Arc::clone(&count);
            async move {
                assert_eq!(lease.attempt, 1);
                let round = count.fetch_add(1, Ordering::SeqCst);
                Ok(if round < 7 { Done::Again(Duration::from_millis(1)) } else { Done::Finished })
            }
        });
        let job = NewJob { max_attempts: 2, ..NewJob::new("steps", json!({})) };
        let id = replica.jobs.enqueue(job).await.unwrap().unwrap();
        replica.start();
        replica.is(id, "done").await;
        assert_eq!(rounds.load(Ordering::SeqCst), 8);
        replica.stop().await;
    }

    async fn a_shutdown_puts_unfinished_work_back_at_once(url: &str) {
        let first = Replica::new(url, "first").await;
        let began = Arc::new(Notify::new());
        let tell = Arc::clone(&began);
        first.jobs.handle("long", 1, move |lease| {
            let tell = Arc::clone(&tell);
            async move {
                tell.notify_one();
                lease.lost.cancelled().await;
                Err(Error::Unavailable("interrupted".to_owned()))
            }
        });
        let job = NewJob { max_attempts: 1, ..NewJob::new("long", json!({})) };
        let id = first.jobs.enqueue(job).await.unwrap().unwrap();
        first.start();
        began.notified().await;
        first.stop().await;
        assert_eq!(first.row(id).await, ("waiting".to_owned(), 0, 1));
        let second = Replica::new(url, "second").await;
        second.jobs.handle("long", 1, |_| async { Ok(Done::Finished) });
        second.start();
        second.is(id, "done").await;
        second.stop().await;
    }

    async fn no_more_than_allowed_run_at_a_time(url: &str) {
        let replica = Replica::new(url, "one").await;
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (running, seen) = (Arc::clone(&now), Arc::clone(&most));
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        replica.jobs.handle("bounded", 3, move |_| {
            let (running, seen, held) = (Arc::clone(&running), Arc::clone(&seen), Arc::clone(&held));
            async move {
                seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                held.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(Done::Finished)
            }
        });
        let mut last = 0;
        for _ in 0..30 {
            let job = NewJob::new("bounded", json!({}));
            last = replica.jobs.enqueue(job).await.unwrap().unwrap();
        }
        replica.start();
        // Nobody goes on before as many as may are under way.
        until("three run", async || (now.load(Ordering::SeqCst) >= 3).then_some(())).await;
        gate.add_permits(30);
        replica.is(last, "done").await;
        assert_eq!(most.load(Ordering::SeqCst), 3);
        replica.stop().await;
    }

    async fn what_ended_long_ago_is_forgotten(url: &str) {
        let replica = Replica::new(url, "one").await;
        for (days, count) in [(8, 1200), (6, 3)] {
            let ended = chrono::DateTime::from_timestamp_micros(
                lux::clock::now().timestamp_micros() - days * 86_400_000_000,
            );
            for _ in 0..count {
                let job = NewJob::new("old", json!({}));
                let mut tx = replica.db.begin().await.unwrap();
                let id = Jobs::enqueue_in(&mut tx, job).await.unwrap();
                tx.query("update job set status = 'done', finished_at = $2 where id = $1")
                    .bind(id).bind(ended).run().await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        replica.start();
        until("only the young are left", async || {
            let left: i64 = replica.db.query("select count(*) from job").scalar().await.unwrap();
            (left == 3).then_some(())
        })
        .await;
        replica.stop().await;
    }
}
