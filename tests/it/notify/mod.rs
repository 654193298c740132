//! Who is told what when something breaks: the real program, a real mail server on loopback, a
//! receiver of webhooks, kill -9.

mod business;
mod escalation;
mod held;
mod opened;
mod stormy;
mod waiting;
mod ways;

use serde_json::{Value, json};

use crate::{
    mail::sink::Sink,
    support::{Answer, Database, Role, Server, Setup, until},
};

/// A program that tells soon, and gives its mail to a port.
fn setup(database: &Database, port: u16, more: &str) -> Setup {
    let grace = if more.contains("grace") { "" } else { "grace = \"1s\"\n" };
    let toml = format!(
        "[[sources]]\nname = \"app\"\npath = \"/nonexistent/app.log\"\n\
         [mail]\ntimeout = \"5s\"\n[notify]\n{grace}settle = \"1s\"\npoll = \"200ms\"\n{more}"
    );
    Setup::new(database)
        .toml(&toml)
        .env("LUX_SMTP_URL", &format!("smtp://127.0.0.1:{port}?tls=none"))
        .env("LUX_MAIL_FROM", "lux@example.com")
        .env("LUX_PUBLIC_URL", "https://lux.example.com")
        .env("LUX_EVENTS_PER_MINUTE", "100000000")
}

/// Makes a channel; gives its id.
async fn channel(server: &Server, wish: Value) -> i64 {
    let made = server.post("/api/notifications/channels", &wish).await;
    assert_eq!(made.status, 201, "{wish}: {made:?}");
    made.json()["channel"]["id"].as_i64().unwrap()
}

fn mail_to(address: &str, events: &Value) -> Value {
    json!({"name": address, "kind": "mail", "events": events, "recipients": [address]})
}

async fn error(server: &Server, kind: &str) {
    let event = json!({
        "error_type": kind, "error_message": "no price", "endpoint": "/buy", "method": "POST",
        "app": "shop",
    });
    let answer = server.post("/api/errors", &event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

async fn sql(server: &Server, statement: &str) {
    server.database().execute(&server.data(), statement).await;
}

/// What is due later is due now.
async fn time_passes(server: &Server) {
    let past = "'2020-01-01T00:00:00+00:00'";
    for (table, column) in [
        ("notify_delivery", "next_at"),
        ("notify_delivery", "gather_at"),
        ("notify_event", "escalate_at"),
    ] {
        let statement = format!("update {table} set {column} = {past} where {column} is not null");
        sql(server, &statement).await;
    }
}

async fn deliveries(server: &Server, filter: &str) -> Vec<Value> {
    let path = format!("/api/notifications/deliveries?limit=200&{filter}");
    server.get(&path).await["deliveries"].as_array().unwrap().clone()
}

async fn events(server: &Server) -> Vec<Value> {
    let page = server.get("/api/notifications/events?limit=200").await;
    page["events"].as_array().unwrap().clone()
}

/// Waits until a channel has so many deliveries in a state, and gives them.
async fn until_state(server: &Server, channel: i64, state: &str, count: usize) -> Vec<Value> {
    let filter = format!("channel={channel}&state={state}");
    until(&format!("{count} deliveries are {state}"), async || {
        let found = deliveries(server, &filter).await;
        (found.len() >= count).then_some(found)
    })
    .await
}

async fn until_mails(sink: &Sink, count: usize) {
    until(&format!("{count} mails came"), async || (sink.count() >= count).then_some(())).await;
}

async fn put(server: &Server, path: &str, body: &Value) -> Answer {
    Answer::of(server.request_as(Role::Operator, reqwest::Method::PUT, path).json(body)).await
}
