//! Lux ends while an action runs: nobody pretends to know what it did, and it is not run
//! again.

use lux::repair::action::Status;
use rustix::process::{Signal, kill_process_group};
use serde_json::json;

use super::{HERE, Rig, gone, lives, script};
use crate::support::{Database, on_both};

async fn rig(database: &Database) -> Rig {
    Rig::start(database, |folder| {
        [
            script(folder, "first", "exit 0", "undo = \"hang\""),
            script(folder, "hang", "echo $$ >> $HERE/pids; echo begun; sleep 600", ""),
            script(folder, "quick", "exit 0", "undo = \"slow\""),
            script(folder, "slow", "echo $$ >> $HERE/slow; sleep 1; echo end", ""),
        ]
        .concat()
    })
    .await
}

on_both!(killed_while_an_action_runs);
async fn killed_while_an_action_runs(database: Database) {
    let mut rig = rig(&database).await;
    let first = rig.run("first", 1).await;
    let begun = rig.undo(first.id).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let id = begun.json()["id"].as_i64().unwrap();
    let pids = rig.pids("pids", 1).await;
    // As long as it lives, nobody gives it up.
    rig.actions().settle().await.unwrap();
    assert_eq!(rig.read(id).await["status"], "running");
    rig.server.kill().await;
    rig.server.start().await;
    let lost = rig.becomes(id, "unknown").await;
    assert!(lost["detail"].as_str().unwrap().contains("not run again"), "{lost:#}");
    assert_eq!(lost["exit_code"], json!(null));
    // The command outlives a kill -9 of Lux; it is this test's to end.
    assert!(lives(pids[0]));
    kill_process_group(pids[0], Signal::KILL).unwrap();
    gone(&pids).await;

    // Never again, whoever asks.
    let again = rig.undo(first.id).await;
    assert_eq!((again.status.as_u16(), &again.json()["status"]), (200, &json!("unknown")));
    let again = rig.actions().execute(HERE, id, "test").await.unwrap();
    assert_eq!(again.status, Status::Unknown);
    rig.server.kill().await;
    rig.server.start().await;
    rig.actions().settle().await.unwrap();
    assert_eq!(rig.read(id).await["status"], "unknown");
    assert_eq!(rig.lines("pids"), 1);
    // The original was not taken back, as far as anybody knows.
    assert_eq!(rig.read(first.id).await["status"], "succeeded");
}

#[tokio::test]
async fn a_replica_that_fell_silent_is_given_up() {
    let rig = rig(&Database::sqlite()).await;
    let proposed = rig.propose("quick", 1).await;
    let (database, data) = (rig.server.database(), rig.server.data());
    let elsewhere = "update action_run set status = 'running', owner = 'elsewhere/pid:[1] 1 1', \
                     started_at = proposed_at, heartbeat_at = ";
    // Just heard of: it stays.
    database.execute(&data, &format!("{elsewhere} proposed_at")).await;
    rig.actions().settle().await.unwrap();
    assert_eq!(rig.read(proposed.id).await["status"], "running");
    database.execute(&data, &format!("{elsewhere} '2020-01-01T00:00:00+00:00'")).await;
    rig.becomes(proposed.id, "unknown").await;
}

on_both!(asked_to_end_while_an_action_runs);
async fn asked_to_end_while_an_action_runs(database: Database) {
    let mut rig = rig(&database).await;
    let (first, quick) = (rig.run("first", 1).await, rig.run("quick", 1).await);
    let hanging = rig.undo(first.id).await.json()["id"].as_i64().unwrap();
    let ending = rig.undo(quick.id).await.json()["id"].as_i64().unwrap();
    let pids = rig.pids("pids", 1).await;
    rig.pids("slow", 1).await;
    assert_eq!(rig.server.stop().await, Some(0));
    // What ends in time is waited for; what does not is ended, and said to be.
    let ended = rig.actions().find(HERE, ending).await.unwrap();
    assert_eq!((ended.status, ended.output.as_deref()), (Status::Succeeded, Some("end\n")));
    let cut = rig.actions().find(HERE, hanging).await.unwrap();
    assert_eq!(cut.status, Status::Unknown, "{cut:?}");
    assert!(cut.detail.unwrap().contains("Lux was stopped"));
    assert_eq!(cut.output.as_deref(), Some("begun\n"));
    gone(&pids).await;
    rig.server.start().await;
    assert_eq!(rig.read(hanging).await["status"], "unknown");
    assert_eq!(rig.lines("pids"), 1);
}
