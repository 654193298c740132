//! Approvals: for exactly what was looked at, in time, once.

use std::fs;

use lux::{diagnose::Captured, repair::action::Status};
use reqwest::Method;
use serde_json::json;

use super::{HERE, Library, Rig, script, toml};
use crate::support::{Answer, Database, Role, on_both};

on_both!(an_approval_is_for_what_was_looked_at_and_for_once);
async fn an_approval_is_for_what_was_looked_at_and_for_once(database: Database) {
    let rig = Rig::start(&database, |folder| {
        let more = "policy = \"approve\"\ntitle = \"Restart the shop\"\nrisk = \"reversible\"\n\
                    params = { unit = { one_of = [\"a.service\", \"b.service\"], from = \"unit\" } }";
        script(folder, "restart", "echo $1 >> $HERE/ran", more).replace(".sh\"]", ".sh\", \"{unit}\"]")
    })
    .await;
    let mut waiting = Vec::new();
    for unit in ["a.service", "b.service"] {
        let known = Captured::from([("unit".to_owned(), vec![unit.to_owned()])]);
        let offered = rig.actions().for_cause(HERE, "restart", &known).await.unwrap();
        waiting.push(rig.actions().propose(HERE, 1, 7, &offered[0], "test").await.unwrap());
    }
    let [a, b] = [&waiting[0], &waiting[1]];
    assert!(a.status == Status::Proposed && a.hash != b.hash);

    // What a person is shown.
    let list = Answer::of(rig.server.request_as(
        Role::Read,
        Method::GET,
        "/api/auto-repair/actions?status=proposed",
    ))
    .await
    .json();
    assert_eq!(list["actions"].as_array().unwrap().len(), 2, "{list:#}");
    let shown = &list["actions"][1];
    assert_eq!(shown["argv"][2], "a.service");
    assert_eq!(shown["params"], json!({ "unit": "a.service" }));
    for (key, value) in [
        ("id", json!(a.id)),
        ("title", json!("Restart the shop")),
        ("cause", json!("restart")),
        ("risk", json!("reversible")),
        ("policy", json!("approve")),
        ("timeout_ms", json!(60_000)),
        ("run_as", json!(null)),
        ("hash", json!(a.hash)),
        ("run_id", json!(1)),
        ("cause_id", json!(7)),
    ] {
        assert_eq!(shown[key], value, "{key}: {shown:#}");
    }
    assert!(shown["expires_at"].as_str() > shown["proposed_at"].as_str());

    // Not before somebody has approved it.
    let early = rig.actions().execute(HERE, a.id, "test").await.unwrap_err();
    assert!(early.to_string().contains("approv"), "{early}");
    // Not by who may only read, and not for another hash.
    let path = format!("/api/auto-repair/actions/{}/approve", a.id);
    let body = json!({ "hash": a.hash });
    let reader = rig.server.request_as(Role::Read, Method::POST, &path).json(&body);
    Answer::of(reader).await.problem(403);
    for hash in [b.hash.as_str(), "", "x", &a.hash[..63], "a\0b"] {
        let why = rig.decide(a.id, "approve", hash).await.problem(409);
        assert!(why.contains("the hash is not that of action"), "{why}");
    }
    let long = json!({ "hash": a.hash, "reason": "x".repeat(5000) });
    let long = rig.server.request_as(Role::Operator, Method::POST, &path).json(&long);
    Answer::of(long).await.problem(400);
    assert_eq!(rig.read(a.id).await["status"], "proposed");

    let answer = rig.decide(a.id, "approve", &a.hash).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let approved = answer.json();
    assert_eq!(
        (&approved["status"], &approved["decided_by"]),
        (&json!("approved"), &json!("token:rig"))
    );
    assert_eq!(approved["decision_reason"], "looked at it");
    // Approving runs nothing by itself, and is for once.
    let why = rig.decide(a.id, "approve", &a.hash).await.problem(409);
    assert!(why.contains("decided by token:rig"), "{why}");
    rig.decide(a.id, "reject", &a.hash).await.problem(409);
    assert_eq!(rig.lines("ran"), 0);
    let run = rig.actions().execute(HERE, a.id, "test").await.unwrap();
    assert_eq!(run.status, Status::Succeeded, "{run:?}");
    rig.decide(a.id, "approve", &a.hash).await.problem(409);
    rig.actions().execute(HERE, a.id, "test").await.unwrap();
    assert_eq!(rig.lines("ran"), 1);

    // A refusal is for good; the same proposal does not come back.
    let answer = rig.decide(b.id, "reject", &b.hash).await;
    assert_eq!(answer.json()["status"], "rejected", "{answer:?}");
    rig.decide(b.id, "approve", &b.hash).await.problem(409);
    let rejected = rig.actions().execute(HERE, b.id, "test").await.unwrap();
    assert_eq!(rejected.status, Status::Rejected);
    let known = Captured::from([("unit".to_owned(), vec!["b.service".to_owned()])]);
    let offered = rig.actions().for_cause(HERE, "restart", &known).await.unwrap();
    let again = rig.actions().propose(HERE, 1, 7, &offered[0], "test").await.unwrap();
    assert_eq!((again.id, again.status), (b.id, Status::Rejected));
    assert_eq!(rig.lines("ran"), 1);
    // For another run it is another proposal, with another hash.
    let other = rig.actions().propose(HERE, 2, 7, &offered[0], "test").await.unwrap();
    assert!(other.status == Status::Proposed && other.hash != b.hash);

    // Another organization knows nothing of it.
    let elsewhere = lux::auth::OrganizationId(2);
    let stranger = rig.actions().approve(elsewhere, other.id, &other.hash, "x", None).await;
    assert!(matches!(stranger, Err(lux::error::Error::NotFound(_))), "{stranger:?}");
}

on_both!(other_values_are_a_proposal_of_their_own);
async fn other_values_are_a_proposal_of_their_own(database: Database) {
    let rig = Rig::start(&database, |folder| {
        let more = "policy = \"approve\"\nparams = { unit = { one_of = [\"a.service\", \
                    \"b.service\", \"c.service\"], from = \"unit\" }, wait = { int = [0, 9], default = \"1\" } }";
        script(folder, "restart", "echo $1 $2 >> $HERE/ran", more)
            .replace(".sh\"]", ".sh\", \"{unit}\", \"{wait}\"]")
    })
    .await;
    let known = Captured::from([("unit".to_owned(), vec!["a.service".to_owned()])]);
    let offered = rig.actions().for_cause(HERE, "restart", &known).await.unwrap();
    let a = rig.actions().propose(HERE, 1, 7, &offered[0], "test").await.unwrap();
    let edit = async |role: Role, id: i64, hash: &str, params: serde_json::Value| {
        let path = format!("/api/auto-repair/actions/{id}/edit");
        let body = json!({ "hash": hash, "params": params });
        Answer::of(rig.server.request_as(role, Method::POST, &path).json(&body)).await
    };
    let b = json!({ "unit": "b.service" });
    edit(Role::Read, a.id, &a.hash, b.clone()).await.problem(403);
    edit(Role::Operator, a.id, "another", b.clone()).await.problem(409);
    edit(Role::Operator, 4711, &a.hash, b.clone()).await.problem(404);
    for (params, said) in [
        (json!({ "unit": "--help" }), "--help"),
        (json!({ "unit": "d.service" }), "one of a.service, b.service, c.service"),
        (json!({ "wait": "10" }), "a number from 0 to 9"),
        (json!({ "unit": "b.service; reboot" }), "one of"),
        (json!({ "user": "root" }), "has no parameter user"),
    ] {
        let why = edit(Role::Operator, a.id, &a.hash, params.clone()).await.problem(400);
        assert!(why.contains(said) || said == "--help", "{params}: {why}");
    }
    // The same values: the same proposal.
    let same = edit(Role::Operator, a.id, &a.hash, json!({ "wait": "1" })).await.json();
    assert_eq!((&same["id"], &same["status"]), (&json!(a.id), &json!("proposed")));

    let other = edit(Role::Operator, a.id, &a.hash, b).await;
    assert_eq!(other.status, 200, "{other:?}");
    let other = other.json();
    assert_eq!(other["status"], "proposed", "{other}");
    assert_eq!(other["params"], json!({ "unit": "b.service", "wait": "1" }));
    assert_eq!(other["argv"][2], "b.service");
    assert_eq!(other["proposed_by"], "token:rig");
    let (id, hash) = (other["id"].as_i64().unwrap(), other["hash"].as_str().unwrap());
    let before = rig.read(a.id).await;
    assert_eq!((&before["status"], &before["replaced_by"]), (&json!("rejected"), &json!(id)));
    assert_eq!(before["expires_at"], other["expires_at"], "it gains no time");
    // An approval of what was looked at before is none of this.
    rig.decide(a.id, "approve", &a.hash).await.problem(409);
    rig.decide(id, "approve", &a.hash).await.problem(409);
    assert_eq!(rig.lines("ran"), 0);

    // To and fro: what stood aside waits again.
    let back = edit(Role::Operator, id, hash, json!({ "unit": "a.service" })).await.json();
    assert_eq!((&back["id"], &back["status"]), (&json!(a.id), &json!("proposed")));
    assert_eq!(back["replaced_by"], json!(null));
    assert_eq!(rig.read(id).await["replaced_by"], a.id);
    let params = json!({ "unit": "c.service", "wait": "0" });
    let last = edit(Role::Operator, a.id, &a.hash, params).await.json();
    let (id, hash) = (last["id"].as_i64().unwrap(), last["hash"].as_str().unwrap());
    let answer = rig.decide(id, "approve", hash).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    rig.actions().execute(HERE, id, "test").await.unwrap();
    let ran = fs::read_to_string(rig.server.folder().join("ran")).unwrap();
    assert_eq!(ran, "c.service 0\n");
    // What was decided is not changed any more.
    edit(Role::Operator, id, hash, json!({ "wait": "2" })).await.problem(409);
    let deeds = rig.server.deeds().await;
    assert_eq!(deeds.iter().filter(|deed| deed["action"] == "action.edit").count(), 3);
}

on_both!(of_many_decisions_at_once_one_counts);
async fn of_many_decisions_at_once_one_counts(database: Database) {
    let rig = Rig::start(&database, |folder| {
        script(folder, "mend", "echo x >> $HERE/ran; sleep 0.3", "policy = \"approve\"")
    })
    .await;
    for run in 1..=5 {
        let proposed = rig.propose("mend", run).await;
        let words = ["approve", "reject", "approve", "reject", "approve", "approve"];
        let decisions = words.map(|word| rig.decide(proposed.id, word, &proposed.hash));
        let answers = futures_util::future::join_all(decisions).await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|answer| [200, 409].contains(&answer.status.as_u16())));
        assert_eq!(rig.read(proposed.id).await["status"], won[0].json()["status"]);
    }
    // Many that run what is approved: it runs once.
    let before = rig.lines("ran");
    let proposed = rig.propose("mend", 100).await;
    rig.decide(proposed.id, "approve", &proposed.hash).await;
    let runs = (0..8).map(|_| rig.actions().execute(HERE, proposed.id, "test"));
    let runs = futures_util::future::join_all(runs).await;
    let finished = runs.iter().flatten().filter(|run| run.status == Status::Succeeded).count();
    assert!(finished >= 1, "{runs:?}");
    assert_eq!(rig.lines("ran") - before, 1);
}

on_both!(what_is_not_decided_or_run_in_time_is_over);
async fn what_is_not_decided_or_run_in_time_is_over(database: Database) {
    let rig = Rig::start(&database, |folder| {
        let text = script(folder, "mend", "echo x >> $HERE/ran", "policy = \"approve\"");
        format!("approval_expires = \"5s\"\n{text}")
    })
    .await;
    let (undecided, not_run) = (rig.propose("mend", 1).await, rig.propose("mend", 2).await);
    let approved = rig.decide(not_run.id, "approve", &not_run.hash).await;
    assert_eq!(approved.status, 200, "{approved:?}");
    for id in [undecided.id, not_run.id] {
        rig.becomes(id, "expired").await;
    }
    let why = rig.decide(undecided.id, "approve", &undecided.hash).await.problem(409);
    assert!(why.contains("expired"), "{why}");
    for id in [undecided.id, not_run.id] {
        let run = rig.actions().execute(HERE, id, "test").await.unwrap();
        assert_eq!(run.status, Status::Expired, "{run:?}");
    }
    rig.actions().settle().await.unwrap();
    let noted = rig.read(undecided.id).await;
    assert_eq!(noted["detail"], "nobody decided in time", "{noted:#}");
    let waiting = rig.server.get("/api/auto-repair/actions?status=proposed").await;
    assert_eq!(waiting["actions"], json!([]));
    let over = rig.server.get("/api/auto-repair/actions?status=expired").await;
    assert_eq!(over["actions"].as_array().unwrap().len(), 2, "{over:#}");
    assert_eq!(rig.lines("ran"), 0);
}

#[tokio::test]
async fn a_change_of_the_configuration_voids_what_was_proposed() {
    let old = |folder: &std::path::Path| {
        ["mend", "heal"]
            .map(|name| script(folder, name, "echo x >> $HERE/ran", "policy = \"approve\""))
            .concat()
    };
    let mut rig = Rig::start(&Database::sqlite(), old).await;
    let (waiting, approved) = (rig.propose("mend", 1).await, rig.propose("heal", 1).await);
    assert_eq!(rig.decide(approved.id, "approve", &approved.hash).await.status, 200);
    rig.server.stop().await;
    let folder = rig.server.folder().to_owned();
    let new =
        toml(&folder, &old(&folder).replace("env = {", "timeout = \"61s\"\nenv = { NEW = \"1\","));
    fs::write(folder.join("lux.toml"), new).unwrap();
    rig.server.start().await;
    rig.library = Library::of(&rig.server).await;
    let why = rig.decide(waiting.id, "approve", &waiting.hash).await.problem(409);
    assert!(why.contains("has changed"), "{why}");
    assert_eq!(rig.read(waiting.id).await["status"], "expired");
    let run = rig.actions().execute(HERE, approved.id, "test").await.unwrap();
    assert_eq!(run.status, Status::Expired, "{run:?}");
    assert!(run.detail.unwrap().contains("has changed"));
    assert_eq!(rig.lines("ran"), 0);
    // What it makes of it now is another proposal of the same run.
    let fresh = rig.propose("mend", 1).await;
    assert!(fresh.id != waiting.id && fresh.status == Status::Proposed);
}

#[tokio::test]
async fn a_list_has_pages() {
    let rig = Rig::start(&Database::sqlite(), |folder| script(folder, "mend", "exit 0", "")).await;
    let mut made = Vec::new();
    for run in 1..=5 {
        made.push(rig.propose("mend", run).await.id);
    }
    let (mut seen, mut path) = (Vec::new(), "/api/auto-repair/actions?limit=2".to_owned());
    loop {
        let page = rig.server.get(&path).await;
        seen.extend(
            page["actions"].as_array().unwrap().iter().map(|it| it["id"].as_i64().unwrap()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/auto-repair/actions?limit=2&cursor={next}");
    }
    made.reverse();
    assert_eq!(seen, made);
    let approved = rig.server.get("/api/auto-repair/actions?status=approved").await;
    assert_eq!(approved["actions"].as_array().unwrap().len(), 5, "{approved:#}");
}
