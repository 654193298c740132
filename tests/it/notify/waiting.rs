//! What waits for a person, and who is told of it.

use http::header::COOKIE;
use reqwest::Method;
use serde_json::json;

use super::{channel, events, setup, time_passes, until_state};
use crate::{
    action::{Rig, script},
    authority,
    support::{Answer, Database, on_both, until},
};

on_both!(who_waits_for_a_person_is_told_of_until_somebody_answers);
async fn who_waits_for_a_person_is_told_of_until_somebody_answers(database: Database) {
    let server = setup(&database, 9, "").start().await;
    let second = channel(&server, json!({"name": "night", "kind": "browser", "events": []})).await;
    let wish = json!({
        "name": "team", "kind": "browser", "events": ["conversation.waiting"],
        "escalate_after_minutes": 30, "escalate_to": second,
    });
    channel(&server, wish).await;
    // Its address is https, so cookies are called otherwise.
    let cookie = authority::person(&server, "customer").await.replace("lux-dev", "__Host-lux");
    let ask = |path: String, body: serde_json::Value| {
        server
            .request(Method::POST, &path)
            .header(COOKIE, cookie.clone())
            .header("sec-fetch-site", "same-origin")
            .json(&body)
    };
    // No model is set up: the plain sentence hands over.
    let body = json!({"text": "Where is my order?"});
    let begun = Answer::of(ask("/api/conversations".to_owned(), body)).await;
    assert!(begun.status.is_success(), "{begun:?}");
    let entry = until("the inbox tells of it", async || {
        let inbox = server.get("/api/notifications/inbox?unread=true").await;
        inbox["entries"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(entry["title"], "A customer waits for a person: Where is my order?");
    let path = entry["path"].as_str().unwrap();
    let id: i64 = path.strip_prefix("/conversations/").unwrap().parse().unwrap();

    // Somebody answers, so nobody else is woken.
    let answer = json!({"text": "It is on its way."});
    let answered = server.post(&format!("/api/conversations/{id}/messages"), &answer).await;
    assert!(answered.status.is_success(), "{answered:?}");
    time_passes(&server).await;
    until("the escalation is settled", async || {
        let all = events(&server).await;
        (all[0]["reaction"] == "somebody answered").then_some(())
    })
    .await;
    let inbox = server.get("/api/notifications/inbox").await;
    assert_eq!(inbox["entries"].as_array().unwrap().len(), 1, "{inbox}");
}

on_both!(an_action_that_nobody_decides_about_escalates);
async fn an_action_that_nobody_decides_about_escalates(database: Database) {
    let rig = Rig::start(&database, |folder| {
        let mend = script(folder, "mend", "true", "policy = \"approve\"");
        format!("{mend}[notify]\ngrace = \"1s\"\npoll = \"200ms\"\n")
    })
    .await;
    let server = &rig.server;
    let boss = channel(server, json!({"name": "boss", "kind": "browser", "events": []})).await;
    let wish = json!({
        "name": "team", "kind": "browser", "events": ["repair.approval"],
        "escalate_after_minutes": 30, "escalate_to": boss,
    });
    channel(server, wish).await;
    let (left, decided) = (rig.propose("mend", 1).await, rig.propose("mend", 2).await);
    // It weighs no more than a warning, and is waited for all the same.
    let told = until("both are told", async || {
        let all = events(server).await;
        (all.len() == 2 && all.iter().all(|it| it["state"] == "told")).then_some(all)
    })
    .await;
    let waits =
        |it: &serde_json::Value| it["severity"] == "warning" && it["escalate_at"].is_string();
    assert!(told.iter().all(waits), "{told:#?}");
    let answer = rig.decide(decided.id, "reject", &decided.hash).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    time_passes(server).await;
    let all = until("both are settled", async || {
        let all = events(server).await;
        all.iter().all(|it| it["escalate_at"].is_null()).then_some(all)
    })
    .await;
    let of = |id: i64| all.iter().find(|it| it["subject_id"] == id).unwrap();
    assert_eq!(of(decided.id)["reaction"], "the action was decided about");
    assert!(of(left.id)["escalated_at"].is_string(), "{all:#?}");
    let escalated = until_state(server, boss, "sent", 1).await;
    assert_eq!((escalated.len(), &escalated[0]["kind"]), (1, &json!("escalation")));
    assert_eq!(escalated[0]["event_id"], of(left.id)["id"]);
}
