//! What nobody reacted to is told others, once.

use reqwest::Method;
use serde_json::{Value, json};

use super::{channel, error, events, mail_to, put, setup, time_passes, until_mails, until_state};
use crate::{
    mail::sink::Sink,
    support::{Answer, Database, Role, Server, on_both, until},
};

async fn event_of(server: &Server, title: &str) -> Value {
    until(&format!("{title} is told"), async || {
        let all = events(server).await;
        let told = |it: &Value| it["state"] == "told" && it["title"].to_string().contains(title);
        all.into_iter().find(told)
    })
    .await
}

on_both!(what_nobody_reacts_to_escalates_once);
async fn what_nobody_reacts_to_escalates_once(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    let boss = channel(&server, mail_to("boss@example.com", &json!([]))).await;
    let mut wish = mail_to("ada@example.com", &json!(["error.opened"]));
    wish["escalate_after_minutes"] = json!(30);
    wish["escalate_to"] = json!(boss);
    let ada = channel(&server, wish).await;
    let phone = json!({"phone": "+44 20 7946 0018"});
    assert_eq!(put(&server, "/api/business/notification-phone", &phone).await.status, 200);
    for kind in ["Ignored", "Seen", "Muted", "Tried"] {
        error(&server, kind).await;
    }
    let ignored = event_of(&server, "Ignored").await;
    assert!(ignored["escalate_at"].is_string(), "{ignored}");
    let seen = event_of(&server, "Seen").await;
    let path = format!("/api/notifications/events/{}/acknowledge", seen["id"]);
    for _ in 0..2 {
        assert_eq!(server.post(&path, &json!({})).await.status, 204);
    }
    let muted = event_of(&server, "Muted").await;
    let path = format!("/api/diagnostics/groups/{}", muted["subject_id"]);
    let request = server.request_as(Role::Operator, Method::PATCH, &path);
    let answer = Answer::of(request.json(&json!({"status": "ignored"}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let tried = event_of(&server, "Tried").await;
    crate::support::repair(&server, &json!({"group_ids": [tried["subject_id"]]})).await;
    until_state(&server, ada, "sent", 4).await;

    time_passes(&server).await;
    until_mails(&sink, 5).await;
    let all = until("all is decided", async || {
        let all = events(&server).await;
        all.iter().all(|it| it["escalate_at"].is_null()).then_some(all)
    })
    .await;
    let told = until_state(&server, boss, "sent", 1).await;
    assert_eq!((told.len(), &told[0]["kind"]), (1, &json!("escalation")));
    let mails = sink.to("boss@example.com");
    assert_eq!(mails.len(), 1);
    assert!(mails[0].header("Subject").starts_with("[Lux] Nobody reacted: "));
    let body = mails[0].body();
    assert!(body.contains("Ignored") && body.contains("+442079460018"), "{body}");
    assert!(body.contains("sends no SMS"), "{body}");
    let of = |title: &str| {
        all.iter().find(|it| it["title"].to_string().contains(title)).unwrap().clone()
    };
    assert!(of("Ignored")["escalated_at"].is_string());
    assert!(of("Seen")["acknowledged_by"].is_string());
    assert_eq!(of("Muted")["reaction"], "the error's status was changed");
    assert_eq!(of("Tried")["reaction"], "a repair run took it on");
    time_passes(&server).await;
    let deeds: Vec<_> = server.deeds().await.iter().map(|it| it["action"].clone()).collect();
    let count = |name: &str| deeds.iter().filter(|it| *it == name).count();
    assert_eq!((count("notify.escalated"), count("notify.acknowledged")), (1, 1), "{deeds:?}");
    assert_eq!(sink.count(), 5);
}
