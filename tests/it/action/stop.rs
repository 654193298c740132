//! The kill switch: by API and by a file; taking actions back.

use std::fs;

use lux::{
    auth::{Caller, Who},
    repair::action::Status,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{HERE, Rig, gone, script};
use crate::support::{Answer, Database, Role, on_both, run, until};

fn doctor(rig: &Rig) -> Value {
    let report = run(rig.server.command().args(["doctor", "--json"])).json();
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "actions").unwrap().clone()
}

async fn health(rig: &Rig) -> Value {
    rig.server.get("/api/diagnostics/health").await["health"]["parts"]["actions"].clone()
}

on_both!(one_stop_for_all);
async fn one_stop_for_all(database: Database) {
    let mut rig = Rig::start(&database, |folder| {
        let hang = "trap '' TERM; echo $$ >> $HERE/pids; while :; do sleep 1; done";
        [script(folder, "first", "exit 0", "undo = \"hang\""), script(folder, "hang", hang, "")]
            .concat()
    })
    .await;
    assert_eq!(health(&rig).await["detail"], "2 actions may run");
    assert_eq!(doctor(&rig)["outcome"], "ok");
    let first = rig.run("first", 1).await;
    let (waiting, other) = (rig.propose("first", 2).await, rig.run("first", 3).await);
    let hanging = rig.undo(first.id).await.json()["id"].as_i64().unwrap();
    let pids = rig.pids("pids", 1).await;

    // Stopped at the server; another replica (this process) obeys as well.
    let stopped = rig.server.post("/api/auto-repair/stop", &json!({})).await.json();
    assert_eq!(stopped["stopped"], true, "{stopped:#}");
    let ended = rig.becomes(hanging, "failed").await;
    assert!(ended["detail"].as_str().unwrap().contains("stopped by token:rig"), "{ended:#}");
    gone(&pids).await;
    let why = rig.actions().execute(HERE, waiting.id, "test").await.unwrap_err();
    assert!(why.to_string().contains("stopped by token:rig"), "{why}");
    rig.undo(other.id).await.problem(409);
    assert!(rig.offered("first").await.blocked.unwrap().contains("stopped"));
    let part = health(&rig).await;
    assert_eq!(part["state"], "degraded", "{part:#}");
    assert!(part["detail"].as_str().unwrap().contains("POST /api/auto-repair/go"));
    assert_eq!(doctor(&rig)["outcome"], "warn");
    // A second stop does not hide who did it first; a restart changes nothing.
    let second = Caller {
        organization: HERE,
        role: lux::auth::Role::Admin,
        who: Who::Token(1),
        name: "second".to_owned(),
        address: None,
    };
    rig.actions().stop(&second, None).await.unwrap();
    rig.server.stop().await;
    rig.server.start().await;
    assert!(health(&rig).await["detail"].as_str().unwrap().contains("token:rig"));
    let operator = rig.server.request_as(Role::Operator, Method::POST, "/api/auto-repair/go");
    Answer::of(operator).await.problem(403);

    let standing = rig.server.post("/api/auto-repair/go", &json!({})).await.json();
    assert_eq!(standing, json!({ "stopped": false, "reason": null }));
    let run = rig.actions().execute(HERE, waiting.id, "test").await.unwrap();
    assert_eq!(run.status, Status::Succeeded, "{run:?}");
    // What was ended stays ended.
    assert_eq!(rig.read(hanging).await["status"], "failed");
    assert_eq!(rig.lines("pids"), 1);
}

#[tokio::test]
async fn a_file_stops_all() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        [
            script(folder, "first", "exit 0", "undo = \"hang\""),
            script(folder, "hang", "echo $$ >> $HERE/pids; sleep 600", ""),
        ]
        .concat()
    })
    .await;
    let first = rig.run("first", 1).await;
    let waiting = rig.propose("first", 2).await;
    let hanging = rig.undo(first.id).await.json()["id"].as_i64().unwrap();
    let pids = rig.pids("pids", 1).await;
    let file = rig.server.data().join("stop-actions");
    fs::write(&file, "").unwrap();
    let ended = rig.becomes(hanging, "failed").await;
    assert!(ended["detail"].as_str().unwrap().contains("stop-actions"), "{ended:#}");
    gone(&pids).await;
    let why = rig.actions().execute(HERE, waiting.id, "test").await.unwrap_err();
    assert!(why.to_string().contains("stop-actions"), "{why}");
    assert!(health(&rig).await["detail"].as_str().unwrap().contains("stop-actions"));
    assert!(doctor(&rig)["detail"].as_str().unwrap().contains("stop-actions"));
    let why = rig.server.post("/api/auto-repair/go", &json!({})).await.problem(409);
    assert!(why.contains("remove it"), "{why}");
    fs::remove_file(&file).unwrap();
    until("actions may run again", async || (health(&rig).await["state"] == "ok").then_some(()))
        .await;
    let run = rig.actions().execute(HERE, waiting.id, "test").await.unwrap();
    assert_eq!(run.status, Status::Succeeded, "{run:?}");
}

on_both!(an_action_is_taken_back_once);
async fn an_action_is_taken_back_once(database: Database) {
    let rig = Rig::start(&database, |folder| {
        let unit = "params = { unit = { one_of = [\"a\", \"b\"], default = \"b\" } }";
        [
            script(
                folder,
                "open",
                "echo open >> $HERE/ran; exit 1",
                &format!("undo = \"close\"\n{unit}"),
            )
            .replace(".sh\"]", ".sh\", \"{unit}\"]"),
            script(
                folder,
                "close",
                "echo close $1 >> $HERE/ran",
                "policy = \"approve\"\nparams = { unit = { one_of = [\"a\", \"b\"] } }",
            )
            .replace(".sh\"]", ".sh\", \"{unit}\"]"),
            script(folder, "final", "exit 0", ""),
            script(folder, "forbidden", "exit 0", "undo = \"locked\""),
            script(folder, "locked", "exit 0", "policy = \"never\""),
        ]
        .concat()
    })
    .await;
    let proposed = rig.propose("open", 1).await;
    let argv = proposed.undo.clone().unwrap().0;
    assert!(argv[1].ends_with("close.sh") && argv[2] == "b", "it is shown: {argv:?}");
    rig.undo(proposed.id).await.problem(409);
    // What failed half-way can be taken back as well.
    let open = rig.actions().execute(HERE, proposed.id, "test").await.unwrap();
    assert_eq!(open.status, Status::Failed);
    let undo = rig.actions().undo(HERE, open.id, "test").await.unwrap();
    assert_eq!((undo.status, undo.undo_of), (Status::Succeeded, Some(open.id)), "{undo:?}");
    assert_eq!(undo.argv.0, argv);
    assert_eq!(rig.read(open.id).await["status"], "undone");
    let again = rig.undo(open.id).await;
    assert_eq!((again.status.as_u16(), again.json()["id"].as_i64()), (200, Some(undo.id)));
    let text = fs::read_to_string(rig.server.folder().join("ran")).unwrap();
    assert_eq!(text, "open\nclose b\n");
    for name in ["final", "forbidden"] {
        let done = rig.run(name, 1).await;
        let why = rig.undo(done.id).await.problem(409);
        assert!(why.contains("undo") || why.contains("never"), "{why}");
    }
}
