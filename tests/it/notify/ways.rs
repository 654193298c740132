//! Each way of telling: what leaves, what comes back, and never twice.

use aws_lc_rs::hmac;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    channel, deliveries, error, mail_to, put, setup, sql, time_passes, until_mails, until_state,
};
use crate::{
    hooks::Receiver,
    mail::sink::{Act, Sink},
    support::{Answer, Database, Role, Server, free_port, on_both, until},
};

on_both!(a_webhook_is_signed_and_told_until_it_hears);
async fn a_webhook_is_signed_and_told_until_it_hears(database: Database) {
    let (receiver, origin) = Receiver::start().await;
    let allowed = format!("[hooks]\nallowed = \"{origin}\"\n");
    let server = setup(&database, 9, &allowed).start().await;
    let wish = json!({
        "name": "pager", "kind": "webhook", "events": ["error.opened"], "url": format!("{origin}/in"),
    });
    let made = server.post("/api/notifications/channels", &wish).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let (id, secret) = (made["channel"]["id"].as_i64().unwrap(), made["secret"].as_str().unwrap());
    let mut elsewhere = wish.clone();
    elsewhere["url"] = json!("http://169.254.169.254/latest");
    elsewhere["name"] = json!("metadata");
    let why = server.post("/api/notifications/channels", &elsewhere).await.problem(400);
    assert!(why.starts_with("url: ") && why.contains("[hooks] allowed"), "{why}");

    receiver.answers(500, None);
    receiver.answers(429, Some("30"));
    error(&server, "KeyError").await;
    let waiting = until("the first try failed", async || {
        let all = deliveries(&server, &format!("channel={id}")).await;
        all.into_iter().find(|it| it["reason"] == "the target answered 500")
    })
    .await;
    assert_eq!(waiting["state"], "waiting");
    time_passes(&server).await;
    until("it is put off", async || {
        let put_off = "the target answered 429: too many requests";
        let all = deliveries(&server, &format!("channel={id}")).await;
        all.into_iter().find(|it| it["reason"] == put_off)
    })
    .await;
    let health = server.get("/api/diagnostics/health").await;
    let part = &health["health"]["parts"]["notifications"];
    assert_eq!(part["state"], "degraded", "{part}");
    assert!(part["detail"].as_str().unwrap().contains("\"pager\": the target answered 429"));
    time_passes(&server).await;
    until_state(&server, id, "sent", 1).await;
    let heard = receiver.heard();
    let bodies: Vec<Value> = heard.iter().map(|it| serde_json::from_str(&it.1).unwrap()).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|it| it["id"] == bodies[0]["id"]), "a repeat has the same id");
    assert_eq!((&bodies[0]["event"], &bodies[0]["app"]), (&json!("error.opened"), &json!("shop")));
    let (headers, body) = &heard[0];
    let signature = headers["x-lux-signature"].to_str().unwrap();
    let (second, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let tag: Vec<u8> = (0..tag.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, format!("{second}.{body}").as_bytes(), &tag).unwrap();

    // Neither the address nor the key is shown, and a change without an address keeps both.
    let shown = server.get(&format!("/api/notifications/channels/{id}")).await;
    assert!(!shown.to_string().contains(secret) && !shown.to_string().contains("/in"), "{shown}");
    assert_eq!(shown["failures"], 0);
    let mut other = wish.clone();
    other.as_object_mut().unwrap().remove("url");
    other["name"] = json!("pager 2");
    let answer = put(&server, &format!("/api/notifications/channels/{id}"), &other).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    // Whoever fails for a day is given up, in words.
    for _ in 0..3 {
        receiver.answers(503, None);
    }
    error(&server, "Later").await;
    until("it failed once", async || {
        let all = deliveries(&server, &format!("channel={id}&state=waiting")).await;
        all.into_iter().find(|it| it["reason"] == "the target answered 503")
    })
    .await;
    let old = "update notify_delivery set created_at = '2020-01-01T00:00:00+00:00' where state = 'waiting'";
    sql(&server, old).await;
    time_passes(&server).await;
    let failed = until_state(&server, id, "failed", 1).await;
    assert_eq!(failed[0]["reason"], "given up after a day: the target answered 503");
    assert_eq!(failed[0]["next_at"], Value::Null);
}

on_both!(a_webhook_hears_the_same_after_a_kill);
async fn a_webhook_hears_the_same_after_a_kill(database: Database) {
    let (receiver, origin) = Receiver::start().await;
    let allowed = format!("[hooks]\nallowed = \"{origin}\"\n");
    let mut server = setup(&database, 9, &allowed).start().await;
    let wish = json!({
        "name": "pager", "kind": "webhook", "events": ["error.opened"], "url": format!("{origin}/in"),
    });
    let id = channel(&server, wish).await;
    // It dies while the delivery waits, and again in the middle of telling.
    receiver.answers(500, None);
    receiver.answers(0, None);
    error(&server, "KeyError").await;
    let waiting = until_state(&server, id, "waiting", 1).await;
    until("the first try failed", async || (receiver.heard().len() == 1).then_some(())).await;
    server.kill().await;
    server.start().await;
    time_passes(&server).await;
    until("the second try hangs", async || (receiver.heard().len() == 2).then_some(())).await;
    server.kill().await;
    server.start().await;
    time_passes(&server).await;
    let sent = until_state(&server, id, "sent", 1).await;
    assert_eq!((sent.len(), &sent[0]["id"]), (1, &waiting[0]["id"]));
    time_passes(&server).await;
    assert_eq!(deliveries(&server, "").await.len(), 1);
    let heard = receiver.heard();
    let ids: Vec<Value> = heard
        .iter()
        .map(|it| serde_json::from_str::<Value>(&it.1).unwrap()["id"].clone())
        .collect();
    let own = format!("notification-{}", sent[0]["id"]);
    assert_eq!(ids, [own.as_str(); 3], "the receiver can tell a repeat");
}

on_both!(mail_waits_for_its_server_and_comes_once);
async fn mail_waits_for_its_server_and_comes_once(database: Database) {
    let port = free_port();
    let server = setup(&database, port, "").start().await;
    let id = channel(&server, mail_to("ada@example.com", &json!(["error.opened"]))).await;
    let browser = json!({"name": "us", "kind": "browser", "events": ["health.changed"]});
    channel(&server, browser).await;
    error(&server, "KeyError").await;
    let waiting = until("the first try failed", async || {
        let all = deliveries(&server, &format!("channel={id}&state=waiting")).await;
        all.into_iter().find(|it| it["reason"].is_string())
    })
    .await;
    let why = waiting["reason"].as_str().unwrap();
    assert!(why.starts_with("the mail server cannot be reached"), "{why}");
    until("health tells of it", async || {
        let health = server.get("/api/diagnostics/health").await;
        let parts = &health["health"]["parts"];
        let ill = |name: &str| parts[name]["state"] == "degraded";
        (ill("mail") && ill("notifications")).then_some(())
    })
    .await;
    // Who looks at pages hears of it.
    let entry = until("the inbox tells of it", async || {
        let inbox = server.get("/api/notifications/inbox?unread=true").await;
        inbox["entries"].as_array().unwrap().first().cloned()
    })
    .await;
    assert!(entry["title"].as_str().unwrap().contains("mail is degraded"), "{entry}");
    let sink = Sink::at(port).await;
    // By itself.
    until_mails(&sink, 1).await;
    until_state(&server, id, "sent", 1).await;
    let health = server.get("/api/diagnostics/health").await;
    assert_eq!(health["health"]["parts"]["notifications"]["state"], "ok", "{health}");
    time_passes(&server).await;
    assert_eq!(sink.count(), 1);
    // Who heard that it was ill hears that it is over.
    let titles = until("the inbox tells that it is over", async || {
        let inbox = server.get("/api/notifications/inbox").await;
        let entries = inbox["entries"].as_array().unwrap();
        let titles: Vec<String> = entries.iter().map(|it| it["title"].to_string()).collect();
        titles.iter().any(|it| it.contains("mail is well again")).then_some(titles)
    })
    .await;
    assert_eq!(titles.iter().filter(|it| it.contains(": mail is ")).count(), 2, "{titles:?}");
}

on_both!(who_dies_while_sending_sends_nothing_twice);
async fn who_dies_while_sending_sends_nothing_twice(database: Database) {
    let sink = Sink::acting(|to, _| match to {
        "ada@example.com" => Act::HangAfter,
        _ => Act::Take,
    })
    .await;
    let mut server = setup(&database, sink.port, "").start().await;
    let mut wish = mail_to("ada@example.com", &json!(["error.opened"]));
    wish["recipients"] = json!(["ada@example.com", "bob@example.com"]);
    let id = channel(&server, wish).await;
    error(&server, "KeyError").await;
    until_mails(&sink, 2).await;
    until_state(&server, id, "sent", 1).await;
    server.kill().await;
    server.start().await;
    time_passes(&server).await;
    let uncertain = until_state(&server, id, "uncertain", 1).await;
    assert_eq!(uncertain[0]["target"], "ada@example.com");
    assert!(uncertain[0]["reason"].as_str().unwrap().contains("not sent again"), "{uncertain:?}");
    time_passes(&server).await;
    assert_eq!((sink.to("ada@example.com").len(), sink.to("bob@example.com").len()), (1, 1));
}

async fn tested(server: &Server, id: i64) -> Value {
    let path = format!("/api/notifications/channels/{id}/test");
    let answer = Answer::of(server.request_as(Role::Operator, Method::POST, &path)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

on_both!(a_test_says_what_came_of_it);
async fn a_test_says_what_came_of_it(database: Database) {
    let sink = Sink::acting(|to, _| match to {
        "gone@example.com" => Act::Rcpt("550 5.1.1 no such user"),
        "slow@example.com" => Act::Hang,
        _ => Act::Take,
    })
    .await;
    let server = setup(&database, sink.port, "").start().await;
    let good = channel(&server, mail_to("ada@example.com", &json!([]))).await;
    let came = tested(&server, good).await;
    assert_eq!((&came["success"], &came["message"]), (&json!(true), &json!("sent")), "{came}");
    assert_eq!(sink.count(), 1);
    let gone = channel(&server, mail_to("gone@example.com", &json!([]))).await;
    let came = tested(&server, gone).await;
    assert_eq!(came["success"], false);
    let message = came["message"].as_str().unwrap();
    assert!(message.contains("gone@example.com") && message.contains("no such user"), "{message}");
    let started = std::time::Instant::now();
    let slow = channel(&server, mail_to("slow@example.com", &json!([]))).await;
    let came = tested(&server, slow).await;
    assert!(started.elapsed().as_secs() < 15 && came["success"] == false, "{came}");
    // A test is tried once.
    time_passes(&server).await;
    assert_eq!(deliveries(&server, "state=waiting").await.len(), 0);

    let slack = json!({"name": "slack", "kind": "slack", "events": ["error.storm"]});
    let slack = channel(&server, slack).await;
    let came = tested(&server, slack).await;
    assert!(came["message"].as_str().unwrap().contains("no connection serves messages"), "{came}");

    // The browser's: each reads for themselves.
    let browser = channel(&server, json!({"name": "us", "kind": "browser"})).await;
    assert_eq!(tested(&server, browser).await["success"], true);
    let inbox = server.get("/api/notifications/inbox").await;
    assert_eq!((&inbox["unread"], &inbox["entries"][0]["read"]), (&json!(1), &json!(false)));
    let read = json!({"ids": [inbox["entries"][0]["id"]]});
    let answer = server.post("/api/notifications/inbox/read", &read).await;
    assert_eq!(answer.json(), json!({"unread": 0}));
    assert_eq!(server.get("/api/notifications/inbox?unread=true").await["entries"], json!([]));
    let request = server.request_as(Role::Read, Method::GET, "/api/notifications/inbox");
    assert_eq!(Answer::of(request).await.json()["unread"], 1);
    let request = server.request_as(Role::Read, Method::POST, "/api/notifications/inbox/read");
    let up_to = json!({"up_to": inbox["entries"][0]["id"]});
    assert_eq!(Answer::of(request.json(&up_to)).await.json(), json!({"unread": 0}));
}

on_both!(what_is_wrong_with_a_channel_names_its_field);
async fn what_is_wrong_with_a_channel_names_its_field(database: Database) {
    let sink = Sink::new().await;
    let server = setup(&database, sink.port, "").start().await;
    let path = "/api/notifications/channels";
    let good = mail_to("ada@example.com", &json!(["error.storm"]));
    for (key, value, field) in [
        ("name", json!(""), "name: "),
        ("recipients", json!([]), "recipients: "),
        ("recipients", json!(["ada@example.com", "x"]), "recipients[1]: "),
        ("recipients", json!(["ada@example.com", "ADA@example.com"]), "recipients[1]: "),
        ("quiet", json!({"from": "25:00", "to": "07:00", "zone": "UTC"}), "quiet.from: "),
        ("quiet", json!({"from": "22:00", "to": "07:00", "zone": "Mars"}), "quiet.zone: "),
        ("digest_at", json!("8"), "digest_at: "),
        ("zone", json!("Mars"), "zone: "),
        ("escalate_after_minutes", json!(5), "escalate_to: "),
        ("url", json!("https://hooks.zapier.com/x"), "url: "),
        ("slack_channel", json!("C1"), "slack_channel: "),
    ] {
        let mut wish = good.clone();
        wish[key] = value;
        let why = server.post(path, &wish).await.problem(400);
        assert!(why.starts_with(field), "{key}: {why}");
    }
    let id = channel(&server, good.clone()).await;
    assert_eq!(server.post(path, &good).await.status, 409);
    let mut own = good.clone();
    own["escalate_after_minutes"] = json!(5);
    own["escalate_to"] = json!(id);
    let why = put(&server, &format!("{path}/{id}"), &own).await.problem(400);
    assert!(why.starts_with("escalate_to: "), "{why}");
    let other = json!({"name": "x", "kind": "browser"});
    let why = put(&server, &format!("{path}/{id}"), &other).await.problem(400);
    assert!(why.starts_with("kind: "), "{why}");
    let request = server.request_as(Role::Operator, Method::DELETE, &format!("{path}/{id}"));
    assert_eq!(Answer::of(request).await.status, 204);
    assert_eq!(server.get(path).await["channels"], json!([]));
}
