//! New errors, those that come back, and many at once.

use reqwest::Method;
use serde_json::json;

use super::{channel, deliveries, error, events, mail_to, setup, until_mails, until_state};
use crate::{
    hooks::Receiver,
    mail::sink::Sink,
    support::{Answer, Database, Role, Setup, on_both, until},
};

on_both!(an_error_is_told_when_it_opens_and_when_it_comes_back);
async fn an_error_is_told_when_it_opens_and_when_it_comes_back(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    error(&server, "Before").await;
    let wants = json!(["error.opened", "error.regressed"]);
    let id = channel(&server, mail_to("ada@example.com", &wants)).await;
    let event = json!({
        "error_type": "KeyError", "error_message": "price\r\nBcc: eve@example.com token=hunter2hunter2",
        "endpoint": "/buy", "method": "POST", "app": "shop",
    });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    until_mails(&sink, 1).await;
    let mail = sink.received().remove(0);
    assert_eq!((mail.to.as_str(), mail.header("Bcc").as_str()), ("ada@example.com", ""));
    let subject = mail.header("Subject");
    assert!(subject.starts_with("[Lux] New error in shop: KeyError"), "{subject}");
    let body = mail.body();
    for part in ["Where: POST /buy", "Application: shop", "How many: 2 events", "Since: "] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!mail.text.contains("hunter2hunter2"), "{}", mail.text);
    let told = until_state(&server, id, "sent", 1).await;
    let event_id = told[0]["event_id"].as_i64().unwrap();
    let seen = server.get(&format!("/api/notifications/events/{event_id}")).await;
    let group = seen["subject_id"].as_i64().unwrap();
    assert!(body.contains(&format!("https://lux.example.com/errors/{group}")), "{body}");
    let link = format!("https://lux.example.com/notifications/events/{event_id}");
    assert!(body.contains(&link), "{body}");

    let resolve = json!({"status": "resolved", "reason": "fixed by hand"});
    let path = format!("/api/diagnostics/groups/{group}");
    let request = server.request_as(Role::Operator, Method::PATCH, &path).json(&resolve);
    assert_eq!(Answer::of(request).await.status, 200);
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    until_mails(&sink, 2).await;
    let subject = sink.received()[1].header("Subject");
    assert!(subject.starts_with("[Lux] Back again in shop: KeyError"), "{subject}");
    assert_eq!(until_state(&server, id, "sent", 2).await.len(), 2);
    assert_eq!(deliveries(&server, "").await.len(), 2, "and nothing of what was there before");
    let shown = server.get(&format!("/api/notifications/channels/{id}")).await;
    assert_eq!((&shown["failures"], shown["sent_at"].is_string()), (&json!(0), true));
}

on_both!(only_what_is_wanted_is_told);
async fn only_what_is_wanted_is_told(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    let mut wish = mail_to("ada@example.com", &json!(["error.opened"]));
    wish["app"] = json!("bank");
    wish["least"] = json!("critical");
    channel(&server, wish).await;
    error(&server, "KeyError").await;
    let mut event = json!({"error_type": "Broke", "error_message": "x", "app": "bank"});
    server.post("/api/errors", &event).await;
    event["severity"] = json!("critical");
    event["error_type"] = json!("Burning");
    server.post("/api/errors", &event).await;
    until_mails(&sink, 1).await;
    until("all was decided", async || {
        let all = events(&server).await;
        (all.len() == 3 && all.iter().all(|it| it["state"] != "waiting")).then_some(())
    })
    .await;
    let states: Vec<_> = events(&server).await.iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["told", "unwanted", "unwanted"]);
    assert!(sink.received()[0].header("Subject").contains("Burning"));
    assert_eq!(sink.count(), 1);
}

on_both!(many_new_errors_are_one_message);
async fn many_new_errors_are_one_message(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "grace = \"3s\"\n").start().await;
    let id = channel(&server, mail_to("ada@example.com", &json!(["error.opened"]))).await;
    let all: Vec<_> = (0..12_u8)
        .map(|n| {
            let kind = format!("Kind{}", char::from(b'a' + n));
            json!({"error_type": kind, "error_message": "x", "app": "shop"})
        })
        .collect();
    assert_eq!(server.post("/api/errors", &json!(all)).await.status, 201);
    let told = until_state(&server, id, "sent", 1).await;
    assert_eq!((told.len(), sink.count()), (1, 1), "{told:#?}");
    let mail = &sink.received()[0];
    assert_eq!(mail.header("Subject"), "[Lux] 12 errors at once in shop");
    assert!(mail.body().contains("Kinda") && mail.body().contains("Kindl"), "{}", mail.body());
    let all = events(&server).await;
    let folded = all.iter().filter(|it| it["state"] == "folded").count();
    let one = all.iter().find(|it| it["state"] == "told").unwrap();
    assert_eq!((folded, &one["folded"]), (12, &json!(12)));
}

on_both!(two_replicas_tell_once);
async fn two_replicas_tell_once(database: Database) {
    let sink = Sink::new().await;
    let (receiver, origin) = Receiver::start().await;
    let allowed = format!("[hooks]\nallowed = \"{origin}\"\n");
    let server = setup(&database, sink.port, &allowed).start().await;
    let toml = "[mail]\ntimeout = \"5s\"\n[notify]\ngrace = \"1s\"\npoll = \"200ms\"\n\
                [[sources]]\nname = \"app\"\npath = \"/nonexistent/app.log\"\n";
    let other = Setup::replica_of(&server)
        .toml(&format!("{toml}{allowed}"))
        .env("LUX_SMTP_URL", &format!("smtp://127.0.0.1:{}?tls=none", sink.port))
        .env("LUX_MAIL_FROM", "lux@example.com")
        .start()
        .await;
    let mut wish = mail_to("ada@example.com", &json!(["error.opened"]));
    wish["recipients"] = json!(["ada@example.com", "bob@example.com", "eve@example.com"]);
    let id = channel(&server, wish).await;
    let url = format!("{origin}/in");
    let wish = json!({"name": "pager", "kind": "webhook", "events": ["error.opened"], "url": url});
    let pager = channel(&other, wish).await;
    for kind in ["First", "Second", "Third"] {
        error(&server, kind).await;
        error(&other, kind).await;
    }
    let told = until_state(&server, id, "sent", 9).await;
    assert_eq!((told.len(), sink.count()), (9, 9));
    for address in ["ada@example.com", "bob@example.com", "eve@example.com"] {
        assert_eq!(sink.to(address).len(), 3);
    }
    assert_eq!(until_state(&other, pager, "sent", 3).await.len(), 3);
    assert_eq!(receiver.heard().len(), 3);
}
