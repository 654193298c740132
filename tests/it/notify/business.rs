//! The settings of the product's first version: they save.

use serde_json::{Value, json};

use super::{error, put, setup, until_mails};
use crate::{
    mail::sink::Sink,
    support::{Database, on_both},
};

const EMAILS: &str = "/api/business/notification-emails";
const PHONE: &str = "/api/business/notification-phone";

on_both!(settings_are_saved);
async fn settings_are_saved(database: Database) {
    let sink = Sink::new().await;
    let mut server = setup(&database, sink.port, "").start().await;
    assert_eq!(server.get(EMAILS).await["emails"], json!([]));
    assert_eq!(server.get(PHONE).await["phone"], Value::Null);

    let wish = json!({"emails": [" ada@example.com", "bob@example.com"]});
    let saved = server.post(EMAILS, &wish).await;
    assert_eq!(saved.status, 200, "{saved:?}");
    let all = json!(["ada@example.com", "bob@example.com"]);
    let message = "saved: 2 addresses are told by mail";
    assert_eq!(saved.json(), json!({"success": true, "message": message, "emails": all}));
    let saved = put(&server, PHONE, &json!({"phone": "+44 (20) 7946-0018"})).await.json();
    assert_eq!((&saved["success"], &saved["phone"]), (&json!(true), &json!("+442079460018")));
    assert!(saved["message"].as_str().unwrap().contains("sends no SMS"), "{saved}");

    // What is wrong says which, and nothing of it is saved.
    for (wrong, place) in [
        (json!({"emails": ["eve@example.com", "x"]}), "emails[1]: "),
        (json!({"emails": ["a@example.com", "b@example.com", "A@example.com"]}), "emails[2]: "),
        (json!({"emails": ["eve@example.com\r\nBcc: x@example.com"]}), "emails[0]: "),
        (json!({"emails": vec!["eve@example.com"; 21]}), "emails: at most 20"),
    ] {
        let why = put(&server, EMAILS, &wrong).await.problem(400);
        assert!(why.starts_with(place), "{why}");
    }
    for wrong in ["12", "call me", "+1", &"9".repeat(50)] {
        let why = put(&server, PHONE, &json!({"phone": wrong})).await.problem(400);
        assert!(why.starts_with("phone: "), "{why}");
    }
    for _ in 0..2 {
        assert_eq!(server.get(EMAILS).await["emails"], all);
        assert_eq!(server.get(PHONE).await["phone"], "+442079460018");
        assert_eq!(server.stop().await, Some(0));
        server.start().await;
    }
    // They are the recipients of a channel, which tells them.
    let channels = server.get("/api/notifications/channels").await;
    let team = &channels["channels"][0];
    assert_eq!((&team["name"], &team["recipients"]), (&json!("Team"), &all));
    error(&server, "KeyError").await;
    until_mails(&sink, 2).await;
    assert_eq!((sink.to("ada@example.com").len(), sink.to("bob@example.com").len()), (1, 1));

    let saved = put(&server, EMAILS, &json!({"emails": []})).await.json();
    assert_eq!(saved["message"], "saved: nobody is told by mail any more");
    assert_eq!(server.get(EMAILS).await["emails"], json!([]));
    let saved = put(&server, PHONE, &json!({"phone": ""})).await.json();
    assert_eq!(saved["phone"], Value::Null);
    let channels = server.get("/api/notifications/channels").await;
    assert_eq!(channels["channels"].as_array().unwrap().len(), 1, "no second channel is made");
}
