//! kill -9 in the middle of everything: what was acknowledged is there, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::json;

use crate::{
    support::{Answer, Database, Role, Server, Setup, on_both, skip, until},
    tail_journal::write_journal,
};

/// Programs that report errors as fast as they are answered, each error once.
pub(crate) struct Reporters {
    stop: Arc<AtomicBool>,
    pub(crate) acknowledged: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Reporters {
    /// Starts four, which report until the server goes away or they are stopped.
    /// With `patient`, a refusal is no reason to stop.
    pub(crate) fn start(server: &Server, round: usize, patient: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let tasks = (0..4)
            .map(|who| {
                let request = server.request_as(Role::Ingest, Method::POST, "/api/errors");
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    let mut known = Vec::new();
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        // One, or an array: both ways in.
                        let size = if number % 3 == 0 { 20 } else { 1 };
                        let names: Vec<_> =
                            (0..size).map(|n| format!("r{round}w{who}n{number}i{n}")).collect();
                        let events: Vec<_> = names
                            .iter()
                            .map(|name| {
                                json!({
                                    "error_type": format!("Kind{}", number % 5),
                                    "error_message": "it broke",
                                    "user_id": name,
                                })
                            })
                            .collect();
                        let request = request.try_clone().unwrap();
                        let request = if size == 1 {
                            request.json(&events[0])
                        } else {
                            request.json(&events)
                        };
                        match Answer::try_of(request).await {
                            Ok(answer) if answer.status == 201 => {
                                acknowledged.fetch_add(names.len() as u64, Ordering::Relaxed);
                                known.extend(names);
                            }
                            // Nobody promised anything about these.
                            Ok(answer) if patient => {
                                assert!(answer.status.is_server_error(), "{answer:?}");
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) if patient => {}
                            Err(_) => break,
                        }
                    }
                    known
                })
            })
            .collect();
        Self { stop, acknowledged, tasks }
    }

    /// Ends them; what was acknowledged.
    pub(crate) async fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}

/// Checks that each acknowledged event is stored once, and that the groups count what
/// is stored.
pub(crate) async fn everything_is_there(server: &Server, acknowledged: &[String]) {
    let (database, data) = (server.database(), server.data());
    let stored = database.column(&data, "select user_id from error_log").await;
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for name in &stored {
        *times.entry(name).or_default() += 1;
    }
    let lost: Vec<_> =
        acknowledged.iter().filter(|name| !times.contains_key(name.as_str())).take(10).collect();
    assert!(lost.is_empty(), "acknowledged, but not stored: {lost:?}");
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).take(10).collect();
    assert!(twice.is_empty(), "stored more than once: {twice:?}");
    let counted = "select cast(sum(count) as text) from error_group";
    let counted: Vec<String> = database.column(&data, counted).await;
    assert_eq!(counted, [stored.len().to_string()], "the groups miscount");
    let ungrouped = "select user_id from error_log where group_id is null";
    assert_eq!(database.column(&data, ungrouped).await, [""; 0]);
}

on_both!(killed_while_errors_come_in);
async fn killed_while_errors_come_in(database: Database) {
    let mut server = Server::plain(&database).await;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let reporters = Reporters::start(&server, round, false);
        until("some are acknowledged", async || {
            (reporters.acknowledged.load(Ordering::Relaxed) > 300).then_some(())
        })
        .await;
        server.kill().await;
        acknowledged.extend(reporters.finish().await);
        server.start().await;
    }
    assert!(acknowledged.len() > 1200);
    everything_is_there(&server, &acknowledged).await;
}

/// A program that logs numbered lines until it is stopped, rotated as logrotate does it
/// (numbers shift, nothing is deleted).
struct Logger {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Logger {
    fn start(path: PathBuf, rotate_every: Option<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let open = || File::options().create(true).append(true).open(&path).unwrap();
            let mut file = open();
            let mut written = 0;
            while !stopped.load(Ordering::Relaxed) {
                let mut block = Vec::new();
                for _ in 0..50 {
                    writeln!(block, "2026-11-21 10:00:00,000 INFO line number n{written}n")
                        .unwrap();
                    written += 1;
                }
                // A line is often half written when somebody reads.
                let (first, second) = block.split_at(block.len() - 20);
                file.write_all(first).unwrap();
                file.write_all(second).unwrap();
                if rotate_every.is_some_and(|every| written % every == 0) {
                    rotate(&path);
                    file = open();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            written
        });
        Self { stop, thread }
    }

    /// How many lines it wrote.
    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn rotate(path: &Path) {
    let numbered = |n: usize| PathBuf::from(format!("{}.{n}", path.display()));
    let last = (1..10_000).find(|n| !numbered(*n).exists()).unwrap();
    for n in (1..last).rev() {
        fs::rename(numbered(n), numbered(n + 1)).unwrap();
    }
    fs::rename(path, numbered(1)).unwrap();
}

async fn lines(server: &Server) -> u64 {
    server.source("app").await.map_or(0, |source| source["lines"].as_u64().unwrap())
}

async fn killed_while_logging(database: &Database, rotate_every: Option<u64>) {
    let setup = Setup::new(database);
    let path = setup.folder().join("app.log");
    File::create(&path).unwrap();
    let mut server = setup.env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    // From when it is known to have been seen, nothing of the log may be lost.
    until("the log is known", async || {
        let known = "select path from log_checkpoint";
        server.database().column(&server.data(), known).await.pop()
    })
    .await;
    let logger = Logger::start(path, rotate_every);
    for _ in 0..3 {
        let before = lines(&server).await;
        until("lines are read", async || (lines(&server).await > before + 2000).then_some(()))
            .await;
        server.kill().await;
        server.start().await;
        // And again while it finds out where it was.
        until("the source is back", async || server.source("app").await).await;
        server.kill().await;
        server.start().await;
    }
    let written = logger.finish();
    until(&format!("all {written} lines are read"), async || {
        let read = lines(&server).await;
        assert!(read <= written, "{read} lines are counted of {written} that were written");
        (read == written).then_some(())
    })
    .await;
    // Neither is any shown twice: the last thousand, of which the window has all.
    let mut found = BTreeSet::new();
    for number in (written - 1000..written).step_by(37) {
        let path = format!("/api/diagnostics/logs?source=app&limit=5&q=n{number}n");
        let records = server.get(&path).await["records"].as_array().unwrap().clone();
        assert_eq!(records.len(), 1, "line {number}: {records:?}");
        assert!(found.insert(records[0]["id"].to_string()), "{records:?}");
    }
    assert_eq!(server.stop().await, Some(0));
    server.start().await;
    // The source is listed once its log has been found again.
    until("the source is back", async || server.source("app").await).await;
    assert_eq!(lines(&server).await, written, "a restart changed the count");
}

on_both!(killed_while_a_log_grows);
async fn killed_while_a_log_grows(database: Database) {
    killed_while_logging(&database, None).await;
}

on_both!(killed_while_a_log_grows_and_rotates);
async fn killed_while_a_log_grows_and_rotates(database: Database) {
    killed_while_logging(&database, Some(5000)).await;
}

on_both!(killed_while_a_journal_is_read);
async fn killed_while_a_journal_is_read(database: Database) {
    if !Path::new("/lib/systemd/systemd-journal-remote").exists() {
        return skip("systemd-journal-remote");
    }
    let setup = Setup::new(&database).env("LUX_REQUESTS_PER_MINUTE", "1000000");
    let folder = setup.folder().join("journal");
    fs::create_dir(&folder).unwrap();
    let toml = format!("[[sources]]\nname = \"app\"\ndirectory = \"{}\"\n", folder.display());
    write_journal(&folder, "a.journal", 0, 3000);
    let mut server = setup.toml(&toml).start().await;
    for kill_at in [100, 1500, 3000] {
        until("entries are read", async || (lines(&server).await >= kill_at).then_some(())).await;
        server.kill().await;
        server.start().await;
    }
    write_journal(&folder, "b.journal", 3000, 5000);
    until("every entry is read", async || {
        let read = lines(&server).await;
        assert!(read <= 5000, "{read} entries are counted of 5000");
        (read == 5000).then_some(())
    })
    .await;
    server.kill().await;
    server.start().await;
    // After a restart nothing comes twice: the next entry is the next number.
    write_journal(&folder, "c.journal", 5000, 5001);
    until("the next entry is read", async || {
        let read = lines(&server).await;
        assert!(read <= 5001, "{read} entries are counted of 5001");
        (read == 5001).then_some(())
    })
    .await;
}
