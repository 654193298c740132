//! A customer who waits for a person, and who is told of it.

use http::header::COOKIE;
use reqwest::Method;
use serde_json::json;

use super::{channel, events, setup, time_passes};
use crate::{
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
