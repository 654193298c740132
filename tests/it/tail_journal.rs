//! Following a real journal (`journalctl --directory`), and what journalctl may do.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use lux::{
    config::{Place, Source, SourceKind},
    db::Db,
    logs::{Fields, Live, Programs, Selection, SourceState},
};
use tokio_util::sync::CancellationToken;

use crate::support::{skip, until};

const WRITER: &str = "/lib/systemd/systemd-journal-remote";

/// Adds a journal file with entries `from..to`, as journald would have written them.
pub(crate) fn write_journal(folder: &Path, name: &str, from: u32, to: u32) {
    let mut export = String::new();
    for number in from..to {
        let micros = u64::from(number) * 1_000_000;
        write!(
            export,
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={micros}\n\
             _BOOT_ID=0123456789abcdef0123456789abcdef\n\
             _MACHINE_ID=fedcba9876543210fedcba9876543210\n_TRANSPORT=stdout\nPRIORITY=6\n\
             SYSLOG_IDENTIFIER=shop\n_PID=42\n_SYSTEMD_UNIT=shop.service\n\
             MESSAGE=line {number}\n\n",
            1_795_000_000_000_000 + micros
        )
        .unwrap();
    }
    let file = folder.join(name);
    let mut child = Command::new(WRITER)
        .arg("-o")
        .arg(file)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

async fn database(folder: &Path) -> Db {
    Db::connect(&format!("sqlite:{}", folder.join("lux.db").display()), 4).await.unwrap()
}

fn follow(db: &Db, place: Place, program: PathBuf) -> (Live, CancellationToken) {
    let source = Source {
        name: "journal".to_owned(),
        app: None,
        kind: SourceKind::Journal,
        place,
        timezone: None,
        capture: true,
    };
    let stop = CancellationToken::new();
    let programs = Programs { journalctl: program };
    let live = Live::start_with(
        db.clone(),
        "test".to_owned(),
        vec![source],
        64 << 20,
        stop.clone(),
        programs,
    );
    (live, stop)
}

async fn lines(live: &Live, count: i64) {
    let read = || live.status()[0].lines;
    until("entries are read", async || (read() >= count).then_some(())).await;
    assert_eq!(read(), count, "{:?}", live.status());
}

#[tokio::test]
async fn a_journal_is_followed_over_restarts() {
    if !Path::new(WRITER).exists() {
        return skip(WRITER);
    }
    let folder = tempfile::tempdir().unwrap();
    let (db, journal) = (database(folder.path()).await, folder.path().join("journal"));
    fs::create_dir(&journal).unwrap();
    write_journal(&journal, "a.journal", 0, 300);
    let place = Place::Directory(journal.clone());
    let start = || follow(&db, place.clone(), PathBuf::from("journalctl"));
    let (live, stop) = start();
    lines(&live, 300).await;
    // While it is followed …
    write_journal(&journal, "b.journal", 300, 400);
    lines(&live, 400).await;
    stop.cancel();
    live.stopped().await;
    // … and while nobody looks.
    write_journal(&journal, "c.journal", 400, 500);
    let (live, stop) = start();
    lines(&live, 500).await;
    // What was said before the restart is found again, and counted once.
    let mut seen = Vec::new();
    until("all is found", async || {
        seen.clear();
        let each = &mut |_: &str, _: Option<&str>, record: &lux::logs::Record<'_>| {
            let Fields::Journal(journal) = &record.fields else { panic!("{record:?}") };
            assert_eq!((journal.unit, journal.pid), (Some("shop.service"), Some(42)));
            seen.push(record.text.clone().into_owned());
        };
        live.for_each(&Selection::default(), each).unwrap();
        (seen.len() >= 500).then_some(())
    })
    .await;
    assert_eq!(seen, (0..500).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert_eq!(live.status()[0].state, SourceState::Ok);
    stop.cancel();
    live.stopped().await;
}

#[tokio::test]
async fn without_journalctl_the_source_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path()).await;
    let (live, _stop) = follow(&db, Place::Unit("*".to_owned()), folder.path().join("nothing"));
    until("it is missing", async || (live.status()[0].state == SourceState::Missing).then_some(()))
        .await;
    assert!(live.status()[0].detail.as_ref().unwrap().contains("cannot be started"));
}

#[tokio::test]
async fn without_the_right_the_source_is_denied_until_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path()).await;
    let program = folder.path().join("journalctl");
    let install = |script: &str| {
        let new = folder.path().join("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, &program).unwrap();
    };
    install("echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1");
    let (live, _stop) = follow(&db, Place::Unit("shop.service".to_owned()), program.clone());
    until("it is denied", async || (live.status()[0].state == SourceState::Denied).then_some(()))
        .await;
    assert!(live.status()[0].remedy.as_ref().unwrap().contains("systemd-journal"));
    let entry = r#"{"__CURSOR":"s=1;i=1;t=5","__REALTIME_TIMESTAMP":"1795000000000000","_TRANSPORT":"driver","MESSAGE":"Suppressed 7 messages from shop.service","N_DROPPED":"7"}"#;
    install(&format!("echo '{entry}'\ncase \"$*\" in *--follow*) sleep 600;; esac"));
    lines(&live, 1).await;
    until("it is well", async || (live.status()[0].state == SourceState::Ok).then_some(())).await;
    assert_eq!(live.status()[0].lost, 7);
}
