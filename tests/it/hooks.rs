//! Outgoing hooks: a real receiver subscribes and hears what happens, signed, until it has heard.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_lc_rs::hmac;
use axum::{Router, body::Bytes, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, Setup, on_both, repair, until};

/// A status, and its `Retry-After`.
type Reply = (u16, Option<&'static str>);

/// A program that is told things.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    heard: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    /// What it answers next; 200 when nothing is left. With 0 it never does.
    answers: Arc<Mutex<VecDeque<Reply>>>,
}

impl Receiver {
    pub(crate) async fn start() -> (Self, String) {
        let receiver = Self::default();
        let routes = Router::new().route("/{*path}", post(hear)).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (receiver, origin)
    }

    pub(crate) fn answers(&self, status: u16, retry_after: Option<&'static str>) {
        self.answers.lock().unwrap().push_back((status, retry_after));
    }

    pub(crate) fn heard(&self) -> Vec<(HeaderMap, String)> {
        self.heard.lock().unwrap().clone()
    }

    /// The bodies of an event, once there are so many.
    async fn bodies(&self, event: &str, count: usize) -> Vec<Value> {
        until("the event is told", async || {
            let all = self.heard().into_iter().map(|it| serde_json::from_str(&it.1).unwrap());
            let own: Vec<Value> = all.filter(|it: &Value| it["event"] == event).collect();
            (own.len() >= count).then_some(own)
        })
        .await
    }
}

async fn hear(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let text = String::from_utf8(body.to_vec()).unwrap();
    receiver.heard.lock().unwrap().push((headers, text));
    let (status, wait) = receiver.answers.lock().unwrap().pop_front().unwrap_or((200, None));
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let wait = wait.map(|wait| (http::header::RETRY_AFTER, wait.parse().unwrap()));
    (StatusCode::from_u16(status).unwrap(), wait.into_iter().collect())
}

async fn subscribe(server: &Server, event: &str, url: &str) -> Value {
    let made = server.post("/api/hooks", &json!({"target_url": url, "event": event})).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()
}

async fn contact(server: &Server, email: &str) {
    assert_eq!(server.post("/api/contacts", &json!({"email": email})).await.status, 201);
}

/// What is due later is due now.
async fn time_passes(server: &Server, database: &Database) {
    let sql = "update hook_delivery set next_at = '2026-01-01T00:00:00+00:00'";
    database.execute(&server.data(), sql).await;
}

on_both!(what_happens_is_told);
async fn what_happens_is_told(database: Database) {
    let (receiver, origin) = Receiver::start().await;
    let toml = format!("[hooks]\nallowed = \"{origin}\"\n");
    let server = Setup::new(&database).toml(&toml).start().await;
    contact(&server, "before@example.com").await;
    let mut secret = String::new();
    for event in
        ["contact.created", "error.opened", "error.resolved", "error.regressed", "repair.finished"]
    {
        let made = subscribe(&server, event, &format!("{origin}/{event}")).await;
        if event == "contact.created" {
            made["secret"].as_str().unwrap().clone_into(&mut secret);
        }
    }
    let again = json!({"target_url": format!("{origin}/error.opened"), "event": "error.opened"});
    assert_eq!(server.post("/api/hooks", &again).await.status, 409);

    contact(&server, "ada@example.com").await;
    let told = receiver.bodies("contact.created", 1).await;
    assert_eq!(told[0]["email"], "ada@example.com", "who was there before is no news");
    assert_eq!(told[0]["segments"], json!(["lead"]));
    let (headers, body) = receiver.heard().remove(0);
    let signature = headers["x-lux-signature"].to_str().unwrap();
    let (second, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let tag: Vec<u8> = (0..tag.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, format!("{second}.{body}").as_bytes(), &tag).unwrap();

    let event = json!({"error_type": "KeyError", "error_message": "price", "endpoint": "/buy"});
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    let opened = receiver.bodies("error.opened", 1).await;
    assert_eq!(opened[0]["error_type"], "KeyError");
    let group = opened[0]["group_id"].as_i64().unwrap();
    let resolve = json!({"status": "resolved", "reason": "fixed by hand"});
    let path = format!("/api/diagnostics/groups/{group}");
    let request = server.request_as(Role::Operator, Method::PATCH, &path).json(&resolve);
    assert_eq!(Answer::of(request).await.status, 200);
    assert_eq!(receiver.bodies("error.resolved", 1).await[0]["status"], "resolved");
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    assert_eq!(receiver.bodies("error.regressed", 1).await[0]["group_id"], group);
    repair(&server, &json!({})).await;
    assert_eq!(receiver.bodies("repair.finished", 1).await[0]["status"], "done");

    // What is shown of the hooks is no address one could post to.
    let hooks = server.get("/api/hooks").await;
    assert_eq!(hooks["hooks"].as_array().unwrap().len(), 5);
    assert!(!hooks.to_string().contains("error.opened\",\"target\":\"http"), "{hooks}");
    assert!(!hooks.to_string().contains(&secret));
    until("the deliveries are counted", async || {
        let hooks = server.get("/api/hooks").await;
        let all = hooks["hooks"].as_array().unwrap().clone();
        all.iter().all(|it| it["delivered"].as_i64() >= Some(1) && it["waiting"] == 0).then_some(())
    })
    .await;
}

on_both!(it_is_told_until_it_is_heard);
async fn it_is_told_until_it_is_heard(database: Database) {
    let (receiver, origin) = Receiver::start().await;
    let toml = format!("[hooks]\nallowed = \"{origin}\"\n");
    let server = Setup::new(&database).toml(&toml).start().await;
    let hook = subscribe(&server, "contact.created", &format!("{origin}/in")).await["id"].clone();
    let state = async || {
        let hooks = server.get("/api/hooks").await;
        let all = hooks["hooks"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["id"] == hook)
    };
    receiver.answers(500, None);
    receiver.answers(429, Some("30"));
    contact(&server, "ada@example.com").await;
    let failed =
        until("the first try has failed", async || state().await.filter(|it| it["failures"] == 1))
            .await;
    assert_eq!(failed["last_error"], "the target answered 500");
    time_passes(&server, &database).await;
    until("it is put off", async || {
        let put_off = "the target answered 429: too many requests";
        state().await.filter(|it| it["last_error"] == put_off && it["failures"] == 1)
    })
    .await;
    time_passes(&server, &database).await;
    until("it is heard", async || state().await.filter(|it| it["delivered"] == 1)).await;
    let told = receiver.bodies("contact.created", 3).await;
    assert!(
        told.iter().all(|it| it["id"] == told[0]["id"]),
        "the same delivery, by its id: {told:?}"
    );
    assert_eq!(state().await.unwrap()["failures"], 0);

    // Whoever fails for a day is given up …
    for _ in 0..8 {
        receiver.answers(503, None);
    }
    contact(&server, "bob@example.com").await;
    until("it is given up", async || {
        time_passes(&server, &database).await;
        state().await.filter(|it| !it["disabled_at"].is_null())
    })
    .await;
    let count = receiver.heard().len();
    assert_eq!(count, 3 + 8);
    contact(&server, "eve@example.com").await;
    assert_eq!(state().await.unwrap()["waiting"], 0, "nothing is noted for it any more");

    // … and whoever says 410 is gone.
    let other =
        subscribe(&server, "contact.created", &format!("{origin}/other")).await["id"].clone();
    receiver.answers(410, None);
    contact(&server, "grace@example.com").await;
    until("the hook is gone", async || {
        let hooks = server.get("/api/hooks").await;
        let there = hooks["hooks"].as_array().unwrap().iter().any(|it| it["id"] == other);
        (!there).then_some(())
    })
    .await;
}

on_both!(hooks_survive_a_kill);
async fn hooks_survive_a_kill(database: Database) {
    let (receiver, origin) = Receiver::start().await;
    let toml = format!("[hooks]\nallowed = \"{origin}\"\n");
    let mut server = Setup::new(&database).toml(&toml).start().await;
    subscribe(&server, "contact.created", &format!("{origin}/in")).await;
    for n in 0..40 {
        contact(&server, &format!("p{n}@example.com")).await;
        if n % 20 == 10 {
            server.kill().await;
            server.start().await;
        }
    }
    // What was taken by the dead is everybody's after a minute.
    until("everybody is told of", async || {
        time_passes(&server, &database).await;
        let told = receiver.heard();
        let mut emails: Vec<String> = told
            .iter()
            .map(|it| serde_json::from_str::<Value>(&it.1).unwrap()["email"].to_string())
            .collect();
        emails.sort();
        emails.dedup();
        (emails.len() == 40).then_some(())
    })
    .await;
}

on_both!(who_keeps_no_ids_unsubscribes_by_the_address);
async fn who_keeps_no_ids_unsubscribes_by_the_address(database: Database) {
    let server = Server::plain(&database).await;
    let (one, other) =
        ("https://hooks.zapier.com/hooks/1/a/", "https://hooks.zapier.com/hooks/1/b/");
    for (url, event) in [
        (one, "contact.created"),
        (one, "error.opened"),
        (one, "error.resolved"),
        (other, "error.opened"),
    ] {
        subscribe(&server, event, url).await;
    }
    let end = async |wish: Value| {
        let request = server.request_as(Role::Operator, Method::DELETE, "/api/hooks");
        Answer::of(request.json(&wish)).await
    };
    let left = async || {
        let hooks = server.get("/api/hooks").await["hooks"].clone();
        let all = hooks.as_array().unwrap().clone();
        all.iter().map(|it| format!("{} {}", it["target"], it["event"])).collect::<Vec<_>>()
    };
    end(json!({ "target_url": "no address" })).await.problem(400);
    end(json!({ "target_url": "https://hooks.zapier.com/hooks/1/c/" })).await.problem(404);
    end(json!({ "target_url": one, "event": "repair.finished" })).await.problem(404);
    assert_eq!(left().await.len(), 4);
    assert_eq!(end(json!({ "target_url": one, "event": "error.opened" })).await.status, 204);
    assert_eq!(left().await.len(), 3);
    assert_eq!(end(json!({ "target_url": one })).await.status, 204);
    assert_eq!(left().await, ["\"hooks.zapier.com/…ks1b\" \"error.opened\""]);
    let deeds = server.deeds().await;
    assert_eq!(deeds.iter().filter(|it| it["action"] == "hook.removed").count(), 3);
}

on_both!(where_hooks_may_go);
async fn where_hooks_may_go(database: Database) {
    let server = Setup::new(&database)
        .toml("[hooks]\nallowed = \"https://hooks.example.com\"")
        .start()
        .await;
    for (url, fine) in [
        ("https://hooks.zapier.com/hooks/standard/1/abc/", true),
        ("https://hooks.example.com/in", true),
        ("http://hooks.zapier.com/hooks/standard/1/abc/", false),
        ("https://hooks.zapier.com.evil.example/x", false),
        ("https://hooks.zapier.com:8443/x", false),
        ("https://user:pass@hooks.zapier.com/x", false),
        ("https://evil.example/?https://hooks.zapier.com/", false),
        ("http://127.0.0.1:5000/api/contacts", false),
        ("http://169.254.169.254/latest/meta-data", false),
        ("file:///etc/passwd", false),
        ("hooks.zapier.com", false),
    ] {
        let wish = json!({"target_url": url, "event": "contact.created"});
        let answer = server.post("/api/hooks", &wish).await;
        let expected = if fine { 201 } else { 400 };
        assert_eq!(answer.status, expected, "{url}: {answer:?}");
        if !fine {
            assert!(answer.json()["detail"].as_str().unwrap().starts_with("target_url: "));
        }
    }
    let hooks = server.get("/api/hooks").await;
    let shown: Vec<_> = hooks["hooks"].as_array().unwrap().iter().map(|it| &it["target"]).collect();
    assert_eq!(shown, ["hooks.zapier.com/…1abc", "hooks.example.com/…in"]);

    let samples = server.get("/api/hooks/samples?event=error.opened").await;
    assert_eq!(samples[0]["event"], "error.opened");
    contact(&server, "ada@example.com").await;
    let samples = server.get("/api/hooks/samples?event=contact.created").await;
    assert_eq!(
        (samples.as_array().unwrap().len(), &samples[0]["email"]),
        (1, &json!("ada@example.com"))
    );
}
