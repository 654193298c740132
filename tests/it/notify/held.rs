//! What is not told at once: quiet hours, digests, maintenance.

use chrono::TimeDelta;
use serde_json::json;

use super::{channel, error, events, mail_to, put, setup, time_passes, until_mails, until_state};
use crate::{
    mail::sink::Sink,
    support::{Database, on_both},
};

on_both!(quiet_hours_are_quiet_and_summed_up);
async fn quiet_hours_are_quiet_and_summed_up(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    let mut wish = mail_to("ada@example.com", &json!(["error.opened"]));
    // The whole day.
    wish["quiet"] = json!({"from": "00:00", "to": "00:00", "zone": "Europe/Berlin"});
    let id = channel(&server, wish.clone()).await;
    error(&server, "First").await;
    error(&server, "Second").await;
    let held = until_state(&server, id, "held", 2).await;
    assert!(held[0]["reason"].as_str().unwrap().starts_with("quiet hours until "), "{held:#?}");
    assert!(held.iter().all(|it| it["gather_at"].is_string() && it["sent_at"].is_null()));
    let mut critical = json!({"error_type": "Burning", "error_message": "x", "app": "shop"});
    critical["severity"] = json!("critical");
    server.post("/api/errors", &critical).await;
    until_mails(&sink, 1).await;
    assert!(sink.received()[0].header("Subject").contains("Burning"), "what is critical passes");

    // It is quiet still when the time comes: it is put off again.
    time_passes(&server).await;
    let held = until_state(&server, id, "held", 2).await;
    assert_eq!((held.len(), sink.count()), (2, 1));
    wish.as_object_mut().unwrap().remove("quiet");
    let path = format!("/api/notifications/channels/{id}");
    assert_eq!(put(&server, &path, &wish).await.status, 200);
    time_passes(&server).await;
    until_mails(&sink, 2).await;
    let mail = &sink.received()[1];
    assert_eq!(mail.header("Subject"), "[Lux] 2 notifications in quiet hours");
    assert!(mail.body().contains("First") && mail.body().contains("Second"), "{}", mail.body());
    until_state(&server, id, "sent", 2).await;
    time_passes(&server).await;
    let held = until_state(&server, id, "held", 2).await;
    assert!(held.iter().all(|it| it["gather_at"].is_null()), "{held:#?}");
    assert!(held[0]["reason"].as_str().unwrap().starts_with("in the summary of"), "{held:#?}");
    assert_eq!(sink.count(), 2);
}

on_both!(a_digest_is_one_message);
async fn a_digest_is_one_message(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    let mut wish = mail_to("ada@example.com", &json!(["error.opened"]));
    wish["digest"] = json!("daily");
    wish["digest_at"] = json!("08:00");
    wish["zone"] = json!("Europe/Berlin");
    wish["recipients"] = json!(["ada@example.com", "bob@example.com"]);
    let id = channel(&server, wish).await;
    error(&server, "First").await;
    error(&server, "Second").await;
    until_state(&server, id, "digested", 2).await;
    assert_eq!(sink.count(), 0);
    time_passes(&server).await;
    until_mails(&sink, 2).await;
    until_state(&server, id, "sent", 2).await;
    for address in ["ada@example.com", "bob@example.com"] {
        let mails = sink.to(address);
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].header("Subject"), "[Lux] Digest: 2 notifications");
        assert!(mails[0].body().contains("First"), "{}", mails[0].body());
    }
}

on_both!(maintenance_holds_what_happens_and_sums_it_up);
async fn maintenance_holds_what_happens_and_sums_it_up(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    let id = channel(&server, mail_to("ada@example.com", &json!(["error.opened"]))).await;
    let path = "/api/notifications/maintenance";
    let to = lux::clock::now() + TimeDelta::hours(1);
    let wish = json!({"to": to, "app": "shop", "reason": "new disks"});
    let made = server.post(path, &wish).await;
    assert_eq!(made.status, 201, "{made:?}");
    let window = made.json()["id"].clone();
    error(&server, "First").await;
    error(&server, "Second").await;
    let held = until_state(&server, id, "held", 2).await;
    let reason = held[0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("maintenance until ") && reason.ends_with(": new disks"),
        "{reason}"
    );
    assert!(events(&server).await.iter().all(|it| it["state"] == "told"), "it is recorded");
    // Another application is none of it.
    let other = json!({"error_type": "Other", "error_message": "x", "app": "bank"});
    server.post("/api/errors", &other).await;
    until_mails(&sink, 1).await;
    assert!(sink.received()[0].header("Subject").contains("in bank"));
    let ended = server.post(&format!("{path}/{window}/end"), &json!({})).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    until_mails(&sink, 2).await;
    assert_eq!(sink.received()[1].header("Subject"), "[Lux] 2 notifications during maintenance");
    let again = server.post(&format!("{path}/{window}/end"), &json!({})).await;
    assert_eq!(again.problem(409), "the window is over already");
    error(&server, "Third").await;
    until_mails(&sink, 3).await;
    let listed = server.get(path).await;
    assert_eq!(listed["windows"][0]["reason"], "new disks");
    let request = server.request_as(
        crate::support::Role::Operator,
        reqwest::Method::DELETE,
        &format!("{path}/{window}"),
    );
    assert_eq!(crate::support::Answer::of(request).await.status, 204);
    assert_eq!(server.get(path).await["windows"], json!([]));
    for (wish, why) in [
        (json!({"to": "2020-01-01T00:00:00Z", "reason": "x"}), "to: "),
        (json!({"to": "2046-01-01T00:00:00Z", "reason": "x"}), "to: "),
        (json!({"to": to, "reason": " "}), "reason: "),
    ] {
        let told = server.post(path, &wish).await.problem(400);
        assert!(told.starts_with(why), "{told}");
    }
}
