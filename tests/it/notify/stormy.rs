//! Storms: one message, whatever their size, and their end.

use serde_json::{Value, json};

use super::{channel, events, mail_to, setup, sql, until_mails, until_state};
use crate::{
    mail::sink::Sink,
    support::{Database, on_both, until},
};

const STORMY: &str =
    "grace = \"15s\"\n[capture]\nstorm = 40\nstorm_calm = \"5s\"\nkeep_first = 100\n";

on_both!(a_storm_of_a_hundred_thousand_events_is_one_message);
async fn a_storm_of_a_hundred_thousand_events_is_one_message(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, STORMY).start().await;
    let wants = json!(["error.opened", "error.storm"]);
    let id = channel(&server, mail_to("ada@example.com", &wants)).await;
    let event = json!({
        "error_type": "Stormy", "error_message": "the same again", "endpoint": "/buy",
        "method": "GET", "app": "shop",
    });
    let batch = Value::Array(vec![event; 1000]);
    for _ in 0..100 {
        let answer = server.post("/api/errors", &batch).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    until_mails(&sink, 1).await;
    let subject = sink.received()[0].header("Subject");
    assert_eq!(subject, "[Lux] Storm of errors in shop");
    assert!(sink.received()[0].body().contains("Stormy"), "{}", sink.received()[0].body());
    // Its end is told, and what opened meanwhile was part of it.
    until_mails(&sink, 2).await;
    let told = until_state(&server, id, "sent", 2).await;
    let all = until("the new error was decided about", async || {
        let all = events(&server).await;
        all.iter().all(|it| it["state"] != "waiting").then_some(all)
    })
    .await;
    let mail = &sink.received()[1];
    assert_eq!(mail.header("Subject"), "[Lux] The storm of errors in shop is over");
    assert!(mail.body().contains("100000 events in all"), "{}", mail.body());
    assert_eq!((sink.count(), told.len()), (2, 2));
    let states: Vec<_> = all.iter().map(|it| (it["kind"].clone(), it["state"].clone())).collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(states.contains(&(json!("error.storm"), json!("told"))), "{states:?}");
    assert!(states.contains(&(json!("error.opened"), json!("folded"))), "{states:?}");
}

on_both!(a_storm_that_goes_on_is_told_once_an_hour);
async fn a_storm_that_goes_on_is_told_once_an_hour(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    let id = channel(&server, mail_to("ada@example.com", &json!(["error.storm"]))).await;
    // Begun two hours ago; its watch leaves it alone before it has seen two minutes of calm.
    let begun = lux::clock::now() - chrono::TimeDelta::hours(2);
    sql(
        &server,
        &format!(
            "insert into error_storm (organization_id, app, started_at, usual, peak, count,
                 seen_count, seen_at)
             values (1, 'shop', '{}', 3, 5000, 480000, 0, '2046-01-01T00:00:00+00:00')",
            begun.to_rfc3339()
        ),
    )
    .await;
    until_mails(&sink, 1).await;
    until_state(&server, id, "sent", 1).await;
    let past = "'2020-01-01T00:00:00+00:00'";
    let hour = format!("update notify_event set still_at = {past}, next_at = {past}");
    sql(&server, &hour).await;
    until_mails(&sink, 2).await;
    let mails = sink.received();
    let subjects: Vec<String> = mails.iter().map(|it| it.header("Subject")).collect();
    assert_eq!(subjects[0], "[Lux] Storm of errors in shop");
    assert!(subjects[1].contains("goes on: still 4000 a minute"), "{subjects:?}");
    assert!(mails[1].body().contains("480000 events"), "{}", mails[1].body());
}
