//! Following real files: rotation, truncation, restarts, and what else happens to logs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lux::{
    config::{Place, Source, SourceKind},
    db::Db,
    logs::{Live, Pattern, Query, Selection, SourceState, SourceStatus},
};
use tokio_util::sync::CancellationToken;

use lux::logs::{Follower, Mark};

use crate::support::until;

/// A folder with logs, a database beside it, and whoever reads them.
struct Host {
    folder: tempfile::TempDir,
    db: Db,
    sources: Vec<Source>,
    running: Option<(Live, CancellationToken)>,
}

fn source(name: &str, kind: SourceKind, place: Place) -> Source {
    Source { name: name.to_owned(), app: None, kind, place, timezone: None, capture: true }
}

impl Host {
    /// Follows `pattern` in its folder.
    async fn new(pattern: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("lux.db").display());
        let db = Db::connect(&url, 4).await.unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let place = Place::Path(logs.join(pattern).display().to_string());
        let sources = vec![source("app", SourceKind::Plain, place)];
        let mut host = Self { folder, db, sources, running: None };
        host.start();
        host
    }

    fn start(&mut self) {
        let stop = CancellationToken::new();
        let (db, sources) = (self.db.clone(), self.sources.clone());
        let live = Live::start(db, "test".to_owned(), sources, 64 << 20, stop.clone());
        self.running = Some((live, stop));
    }

    async fn stop(&mut self) {
        let (live, stop) = self.running.take().unwrap();
        stop.cancel();
        live.stopped().await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    fn live(&self) -> &Live {
        &self.running.as_ref().unwrap().0
    }

    fn status(&self) -> SourceStatus {
        self.live().status().remove(0)
    }

    async fn lines(&self, count: i64) {
        let read = || self.status().lines;
        let what = format!("{count} lines are read");
        until(&what, async || (read() >= count).then_some(())).await;
        assert_eq!(read(), count);
    }

    /// How often each text is in the window.
    fn seen(&self) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        let mut add = |text: &str| *seen.entry(text.to_owned()).or_default() += 1;
        let all = Selection::default();
        self.live()
            .for_each(&all, &mut |_, _, record| record.text.lines().for_each(&mut add))
            .unwrap();
        seen
    }

    fn find(&self, text: &str) -> Vec<String> {
        let query = Query { text: Some(Pattern::parse(text).unwrap()), ..Query::default() };
        self.live().search(&query).unwrap().records.into_iter().map(|record| record.text).collect()
    }
}

fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

/// Checks that lines `0..count` are there, each once, and nothing else.
fn whole(seen: &BTreeMap<String, usize>, count: usize) {
    let wrong: Vec<_> = (0..count)
        .map(|number| format!("line {number}"))
        .filter(|line| seen.get(line) != Some(&1))
        .map(|line| format!("{line}: {} times", seen.get(&line).unwrap_or(&0)))
        .collect();
    assert!(wrong.is_empty(), "{} of {count}: {:?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert_eq!(seen.len(), count);
}

/// Shifts `app.log.1` to `app.log.2` and so on, as logrotate does.
fn shift(path: &Path) {
    let numbered = |n: usize| PathBuf::from(format!("{}.{n}", path.display()));
    let last = (1..100_000).find(|n| !numbered(*n).exists()).unwrap();
    for n in (1..last).rev() {
        fs::rename(numbered(n), numbered(n + 1)).unwrap();
    }
    fs::rename(path, numbered(1)).unwrap();
}

#[derive(Clone, Copy)]
enum Rotation {
    /// The program opens the new file some lines after the rename, as nginx does.
    Late,
    /// Rename and open at once.
    AtOnce,
}

fn storm(path: &Path, rotation: Rotation, rounds: usize, lines: usize) -> usize {
    let open = || File::options().create(true).append(true).open(path).unwrap();
    let mut file = open();
    let mut number = 0;
    let mut say = |file: &mut File| {
        file.write_all(format!("line {number}\n").as_bytes()).unwrap();
        number += 1;
        std::thread::sleep(Duration::from_micros(100));
    };
    for _ in 0..rounds {
        (0..lines).for_each(|_| say(&mut file));
        match rotation {
            Rotation::AtOnce => {
                shift(path);
                file = open();
            }
            Rotation::Late => {
                shift(path);
                let new = open();
                (0..3).for_each(|_| say(&mut file));
                file = new;
            }
        }
    }
    number
}

async fn rotated(rotation: Rotation, rounds: usize, lines: usize) {
    let host = Host::new("app.log").await;
    let path = host.path("app.log");
    let written =
        tokio::task::spawn_blocking(move || storm(&path, rotation, rounds, lines)).await.unwrap();
    host.lines(written as i64).await;
    whole(&host.seen(), written);
}

#[tokio::test]
async fn rotation_by_rename_with_a_late_reopen() {
    rotated(Rotation::Late, 200, 5).await;
}

#[tokio::test]
async fn rotation_by_rename() {
    rotated(Rotation::AtOnce, 200, 5).await;
}

#[tokio::test]
async fn what_is_rotated_before_the_first_look_is_read() {
    let host = Host::new("app.log").await;
    // Nothing of Lux runs on this thread until the test awaits.
    let written = storm(&host.path("app.log"), Rotation::AtOnce, 30, 5);
    host.lines(written as i64).await;
    whole(&host.seen(), written);
}

#[tokio::test]
async fn what_was_rotated_before_the_start_is_history() {
    let mut host = Host::new("app.log").await;
    host.stop().await;
    append(&host.path("app.log.1"), "old\n");
    append(&host.path("app.log"), "new\n");
    // Made before the start by more than the grain of a file's time.
    tokio::time::sleep(Duration::from_millis(50)).await;
    host.start();
    host.lines(1).await;
    assert_eq!(host.seen().into_keys().collect::<Vec<_>>(), ["new"]);
}

#[tokio::test]
async fn long_files_are_rotated_by_rename() {
    rotated(Rotation::AtOnce, 20, 200).await;
}

#[tokio::test]
async fn rotation_by_copy_and_truncation() {
    let host = Host::new("app.log").await;
    let path = host.path("app.log");
    for round in 0..30 {
        let lines = |from: usize, to: usize| {
            (from..to).fold(String::new(), |text, n| text + &format!("line {}\n", round * 50 + n))
        };
        append(&path, lines(0, 40));
        host.lines(round as i64 * 50 + 40).await;
        // What is written just before the truncation is found in the copy.
        append(&path, lines(40, 50));
        fs::copy(&path, format!("{}.1", path.display())).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        host.lines(round as i64 * 50 + 50).await;
    }
    whole(&host.seen(), 1500);
}

/// A writer that rotates its log now and then until it is told to stop.
fn writer(path: PathBuf, rotate_every: usize) -> (Arc<AtomicBool>, std::thread::JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let mut file = open();
        let mut number = 0;
        while !stopped.load(Ordering::Relaxed) {
            let line = format!("line {number}\n");
            let (first, second) = line.split_at(line.len() / 2);
            file.write_all(first.as_bytes()).unwrap();
            file.write_all(second.as_bytes()).unwrap();
            number += 1;
            if number % rotate_every == 0 {
                shift(&path);
                file = open();
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        number
    });
    (stop, thread)
}

#[tokio::test]
async fn restarts_lose_and_repeat_nothing() {
    let mut host = Host::new("app.log").await;
    let (stop, thread) = writer(host.path("app.log"), 250);
    for _ in 0..10 {
        let before = host.status().lines;
        until("lines are read", async || (host.status().lines > before + 300).then_some(())).await;
        host.stop().await;
        host.start();
    }
    stop.store(true, Ordering::Relaxed);
    let written = thread.join().unwrap();
    host.lines(written as i64).await;
    host.stop().await;
    host.start();
    host.lines(written as i64).await;
    // What was said lately is found again after the restart, each line once.
    let last = format!("line {}", written - 1);
    until("the last line is found", async || (host.find(&last).len() == 1).then_some(())).await;
    assert!(host.seen().values().all(|count| *count == 1));
}

#[tokio::test]
async fn what_files_may_hold() {
    let host = Host::new("app.log").await;
    let path = host.path("app.log");
    append(&path, "half of a li");
    append(&path, "ne\r\ncaf\u{e9}\n");
    append(&path, b"bad \xff\xfe\nnul\0nul\n\n");
    append(&path, [vec![b'x'; 200_000], b"\nlast\n".to_vec()].concat());
    append(&path, "unfinished");
    host.lines(7).await;
    let status = host.status();
    assert_eq!((status.dropped, status.state), (200_000 - 65_472, SourceState::Ok));
    assert_eq!(status.position + 10, fs::metadata(&path).unwrap().len());
    for text in ["half of a line", "caf\u{e9}", "bad \u{fffd}\u{fffd}", "nul\u{fffd}nul", "last"] {
        assert_eq!(host.find(&format!("/^{text}$/")), [text]);
    }
    let long = host.find("xxxx").remove(0);
    assert!(long.ends_with(" … [134528 bytes dropped]"), "{:?}", &long[long.len() - 99..]);
    assert!(host.find("unfinished").is_empty());
}

#[tokio::test]
async fn a_file_that_is_cut_begins_anew() {
    let host = Host::new("app.log").await;
    let path = host.path("app.log");
    append(&path, "one\ntwo\n");
    host.lines(2).await;
    // Longer than before: only what it holds tells that it is another text.
    fs::write(&path, "three, which is a long line\nfour\n").unwrap();
    host.lines(4).await;
    fs::write(&path, "five\n").unwrap();
    host.lines(5).await;
    let query = Query { text: Some(Pattern::parse("five").unwrap()), ..Query::default() };
    assert_eq!(host.live().search(&query).unwrap().records[0].line, 1);
}

#[tokio::test]
async fn what_is_missing_is_read_when_it_comes() {
    let host = Host::new("deep/er/app.log").await;
    until("it is missed", async || (host.status().state == SourceState::Missing).then_some(()))
        .await;
    assert!(host.status().detail.unwrap().contains("does not exist"));
    let path = host.path("deep/er/app.log");
    for round in 1..=3 {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        append(&path, format!("line of round {round}\n"));
        host.lines(round).await;
        assert_eq!(host.status().state, SourceState::Ok);
        fs::remove_dir_all(host.path("deep")).unwrap();
        until("it is missed", async || (host.status().state == SourceState::Missing).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn a_link_that_is_turned() {
    let host = Host::new("current.log").await;
    let turn = |to: &str| {
        let _ = fs::remove_file(host.path("new"));
        std::os::unix::fs::symlink(host.path(to), host.path("new")).unwrap();
        fs::rename(host.path("new"), host.path("current.log")).unwrap();
    };
    append(&host.path("a.log"), "a1\n");
    append(&host.path("b.log"), "b1\n");
    turn("a.log");
    host.lines(1).await;
    turn("b.log");
    host.lines(2).await;
    append(&host.path("b.log"), "b2\n");
    host.lines(3).await;
}

#[tokio::test]
async fn a_thousand_files() {
    let mut host = Host::new("*.log").await;
    for number in 0..1000 {
        append(&host.path(&format!("{number}.log")), format!("first of {number}\n"));
    }
    host.lines(1000).await;
    for number in 0..1000 {
        append(&host.path(&format!("{number}.log")), format!("second of {number}\n"));
    }
    host.lines(2000).await;
    assert_eq!(host.status().files, 1000);
    host.stop().await;
    host.start();
    append(&host.path("500.log"), "third\n");
    host.lines(2001).await;
    assert_eq!(host.find("/^second of 77$/").len(), 1);
}

#[tokio::test]
async fn names_that_change_within_a_glob() {
    let host = Host::new("*.log*").await;
    append(&host.path("app.log"), "line 0\n");
    host.lines(1).await;
    for number in 1..10 {
        shift(&host.path("app.log"));
        append(&host.path("app.log"), format!("line {number}\n"));
        host.lines(number + 1).await;
    }
    whole(&host.seen(), 10);
}

#[tokio::test]
async fn a_record_of_many_lines_is_one() {
    let host = Host::new("app.log").await;
    let path = host.path("app.log");
    let (first, second) = (
        "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n",
        "    g()\nValueError: no\n",
    );
    append(&path, first);
    host.lines(2).await;
    // It can be found while it grows …
    assert_eq!(host.find("a.py").len(), 1);
    append(&path, second);
    append(&path, "next\n");
    host.lines(5).await;
    // … and is one when it is whole.
    assert_eq!(host.find("ValueError"), [format!("{first}{}", second.trim_end())]);
    let query = Query { text: Some(Pattern::parse("next").unwrap()), ..Query::default() };
    let next = host.live().search(&query).unwrap().records.remove(0);
    let around = host.live().around(&next.id, 5).unwrap();
    assert_eq!(around.iter().map(|entry| entry.line).collect::<Vec<_>>(), [1, 5]);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let host = Host::new("app.log").await;
    let text: String = (0..500).fold(String::new(), |text, n| {
        text + &format!("2026-11-21 10:00:{:02},{:03} INFO line {n}\n", n / 10, n % 10)
    });
    append(&host.path("app.log"), text);
    host.lines(500).await;
    let mut query = Query { limit: 90, ..Query::default() };
    let mut found = Vec::new();
    loop {
        let page = host.live().search(&query).unwrap();
        found.extend(page.records.iter().map(|record| record.line));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(found, (1..=500).rev().collect::<Vec<u64>>());
}

/// A file that was still empty when its position was kept has nothing to be known by
/// but its inode; what was written to it while nobody read is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_known_again() {
    let mut host = Host::new("app.log").await;
    let path = host.path("app.log");
    append(&path, "");
    until("the empty file is seen", async || {
        (host.status().state == SourceState::Ok).then_some(())
    })
    .await;
    host.stop().await;
    append(&path, "line 0\nline 1\n");
    shift(&path);
    append(&path, "line 2\n");
    host.start();
    host.lines(3).await;
    whole(&host.seen(), 3);
    host.stop().await;
}

fn numbered(count: usize) -> String {
    (0..count).fold(String::new(), |text, number| text + &format!("line {number}\n"))
}

fn texts(followed: &lux::logs::Followed) -> Vec<&str> {
    followed.records.iter().map(|record| record.text.as_str()).collect()
}

#[tokio::test]
async fn who_follows_is_told_each_record_once() {
    let host = Host::new("app.log").await;
    append(&host.path("app.log"), "before\n");
    host.lines(1).await;
    until("it is complete", async || {
        let all = host.live().said_since(&"0-0-0".parse().unwrap(), &Query::default(), 10).unwrap();
        (all.records.len() == 1).then_some(())
    })
    .await;
    let mut follower =
        Follower::new(host.live(), Query::default(), host.live().mark(), 1000).unwrap();
    append(&host.path("app.log"), "one\ntwo\nthree\n");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let step = follower.next().await.unwrap();
        assert_eq!(step.skipped, 0);
        seen.extend(texts(&step).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, ["one", "two", "three"]);
}

#[tokio::test]
async fn what_is_too_much_at_once_is_counted() {
    let host = Host::new("app.log").await;
    let mark = host.live().mark();
    let lines = numbered(500);
    append(&host.path("app.log"), lines);
    until("all are complete", async || {
        let all = host.live().said_since(&mark, &Query::default(), 1000).unwrap();
        (all.records.len() == 500).then_some(())
    })
    .await;
    let wanted = Query {
        text: Some(Pattern::parse("line").unwrap()),
        exclude: Some(Pattern::parse("/0$/").unwrap()),
        ..Query::default()
    };
    let some = host.live().said_since(&mark, &wanted, 100).unwrap();
    assert_eq!((some.records.len(), some.skipped), (100, 350));
    assert_eq!(some.records.last().unwrap().text, "line 499");
    assert!(some.skipped_from.unwrap() <= some.records[0].at);
    let none = host.live().said_since(&some.mark, &wanted, 100).unwrap();
    assert_eq!((none.records.len(), none.skipped), (0, 0));
}

#[tokio::test]
async fn a_mark_leads_over_a_restart() {
    let mut host = Host::new("app.log").await;
    append(&host.path("app.log"), "known\n");
    host.lines(1).await;
    until("it is complete", async || {
        let all = host.live().said_since(&"0-0-0".parse().unwrap(), &Query::default(), 10).unwrap();
        (all.records.len() == 1).then_some(())
    })
    .await;
    let mark: Mark = host.live().mark().to_string().parse().unwrap();
    host.stop().await;
    append(&host.path("app.log"), "missed\n");
    host.start();
    // Who was there before may be told what it knows once more, but misses nothing.
    until("what was missed is told", async || {
        let step = host.live().said_since(&mark, &Query::default(), 10).unwrap();
        texts(&step).contains(&"missed").then_some(())
    })
    .await;
    // Who comes new is not told what was told before the restart.
    let mut follower =
        Follower::new(host.live(), Query::default(), host.live().mark(), 10).unwrap();
    append(&host.path("app.log"), "next\n");
    let step = follower.next().await.unwrap();
    assert_eq!(texts(&step), ["next"]);
}

#[tokio::test]
async fn records_are_paged_in_both_directions() {
    let host = Host::new("app.log").await;
    let lines = numbered(20);
    append(&host.path("app.log"), lines);
    host.lines(20).await;
    let find = |query: &Query| host.live().search(query).unwrap();
    let newest = find(&Query { limit: 5, ..Query::default() });
    assert_eq!(newest.records[0].text, "line 19");
    let middle = host.live().position(&newest.records[4]);
    let up = find(&Query { limit: 3, after: Some(middle), oldest_first: true, ..Query::default() });
    let seen: Vec<_> = up.records.iter().map(|record| record.text.as_str()).collect();
    assert_eq!(seen, ["line 16", "line 17", "line 18"]);
    let rest = find(&Query { after: up.next, oldest_first: true, ..Query::default() });
    assert_eq!((rest.records.len(), rest.next), (1, None));
    let down = find(&Query { limit: 2, after: newest.next, ..Query::default() });
    assert_eq!(down.records[0].text, "line 14");
}
