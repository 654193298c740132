//! Cooldown and runs a day, held by the database: over replicas and restarts.

use lux::repair::action::Status;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{HERE, Rig, script, undo_at};
use crate::support::{Database, Server, on_both};

/// One more server process on the same database.
struct Replica {
    base: String,
    _child: tokio::process::Child,
}

impl Replica {
    async fn of(server: &Server) -> Self {
        let mut command = tokio::process::Command::from(server.command());
        command.args(["serve", "--listen", "127.0.0.1:0"]).kill_on_drop(true);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let base = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { base, _child: child }
    }
}

on_both!(a_cooldown_holds_over_replicas_and_restarts);
async fn a_cooldown_holds_over_replicas_and_restarts(database: Database) {
    let mut rig = Rig::start(&database, |folder| {
        [
            script(folder, "first", "exit 0", "undo = \"restart\""),
            script(folder, "restart", "echo x >> $HERE/ran", "cooldown = \"1h\""),
        ]
        .concat()
    })
    .await;
    let mut originals = Vec::new();
    for run in 1..=2 {
        originals.push(rig.run("first", run).await.id);
    }
    let ran = rig.undo(originals[0]).await;
    assert_eq!(ran.status, 202, "{ran:?}");
    let id = ran.json()["id"].as_i64().unwrap();
    rig.becomes(id, "succeeded").await;
    assert_eq!(rig.read(originals[0]).await["status"], "undone");
    // On another replica, in this process, after a restart: it holds.
    let replica = Replica::of(&rig.server).await;
    let why = undo_at(&rig.server, &replica.base, originals[1]).await.problem(409);
    assert!(why.contains("cooldown"), "{why}");
    let why = rig.actions().undo(HERE, originals[1], "test").await.unwrap_err();
    assert!(why.to_string().contains("cooldown"), "{why}");
    rig.server.stop().await;
    rig.server.start().await;
    let why = rig.undo(originals[1]).await.problem(409);
    assert!(why.contains("cooldown"), "{why}");
    let blocked = rig.offered("restart").await.blocked.unwrap();
    assert!(blocked.contains("cooldown"), "{blocked}");
    assert_eq!(rig.lines("ran"), 1);
    // It is only put off: the same may run once it is over.
    rig.server.database().execute(&rig.server.data(), "delete from action_turn").await;
    let earlier =
        "update action_run set started_at = '2020-01-01 00:00:00+00:00' where action = 'restart'";
    rig.server.database().execute(&rig.server.data(), earlier).await;
    let ran = rig.undo(originals[1]).await;
    assert_eq!(ran.status, 202, "{ran:?}");
    rig.becomes(ran.json()["id"].as_i64().unwrap(), "succeeded").await;
    assert_eq!(rig.lines("ran"), 2);
}

on_both!(runs_a_day_are_counted_over_replicas_that_race);
async fn runs_a_day_are_counted_over_replicas_that_race(database: Database) {
    let rig = Rig::start(&database, |folder| {
        [
            script(
                folder,
                "first",
                "exit 0",
                "undo = \"restart\"\nparams = { n = { int = [1, 99], from = \"n\" } }",
            )
            .replace(".sh\"]", ".sh\", \"{n}\"]"),
            // Another target each, so that only the count holds them up.
            script(
                folder,
                "restart",
                "echo $1 >> $HERE/ran",
                "max_per_day = 3\nparams = { n = { int = [1, 99], from = \"n\" } }",
            )
            .replace(".sh\"]", ".sh\", \"{n}\"]"),
        ]
        .concat()
    })
    .await;
    let mut originals = Vec::new();
    for run in 1..=12 {
        let known = lux::diagnose::Captured::from([("n".to_owned(), vec![run.to_string()])]);
        let offered = rig.actions().for_cause(HERE, "first", &known).await.unwrap();
        let first = rig.actions().propose(HERE, run, 1, &offered[0], "test").await.unwrap();
        let done = rig.actions().execute(HERE, first.id, "test").await.unwrap();
        assert_eq!(done.status, Status::Succeeded);
        originals.push(done.id);
    }
    let replica = Replica::of(&rig.server).await;
    let bases = [rig.server.base.as_str(), replica.base.as_str()];
    let races = originals.iter().enumerate().map(|(n, id)| undo_at(&rig.server, bases[n % 2], *id));
    let answers = futures_util::future::join_all(races).await;
    let (ran, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 202);
    assert_eq!(ran.len(), 3, "{answers:?}");
    for answer in refused {
        let why = answer.problem(409);
        assert!(why.contains("max_per_day is 3"), "{why}");
    }
    for answer in ran {
        rig.becomes(answer.json()["id"].as_i64().unwrap(), "succeeded").await;
    }
    assert_eq!(rig.lines("ran"), 3);
}

on_both!(of_one_target_one_runs_at_a_time);
async fn of_one_target_one_runs_at_a_time(database: Database) {
    let rig = Rig::start(&database, |folder| {
        let text = "echo x >> $HERE/ran; while [ ! -e $HERE/go ]; do sleep 0.05; done";
        [
            script(folder, "first", "exit 0", "undo = \"slow\""),
            script(folder, "slow", text, ""),
            // Another name for the very same command.
            script(folder, "twin", text, "").replace("twin.sh", "slow.sh"),
        ]
        .concat()
    })
    .await;
    let first = rig.run("first", 1).await;
    let begun = rig.undo(first.id).await.json();
    assert_eq!(begun["status"], "running", "{begun:#}");
    for name in ["slow", "twin"] {
        let offered = rig.offered(name).await;
        assert!(offered.possible && offered.blocked.unwrap().contains("runs right now"));
        let other = rig.propose(name, 2).await;
        let why = rig.actions().execute(HERE, other.id, "test").await.unwrap_err();
        assert!(why.to_string().contains("runs right now"), "{why}");
        assert_eq!(rig.read(other.id).await["status"], "approved");
    }
    std::fs::write(rig.server.folder().join("go"), "").unwrap();
    rig.becomes(begun["id"].as_i64().unwrap(), "succeeded").await;
    assert_eq!(rig.lines("ran"), 1);
    // Now it may.
    assert_eq!(rig.run("slow", 2).await.status, Status::Succeeded);
    assert_eq!(rig.lines("ran"), 2);
}
