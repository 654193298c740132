//! Lux's own log, when what it tells of was written by somebody else.

use reqwest::{Method, header::USER_AGENT};
use serde_json::json;

use crate::support::{Answer, Database, Model, Reply, Server, Setup, on_both, until};

/// What would be an event of its own, and would clear a terminal.
const FORGED: &str = "2026-11-23T00:00:00Z  INFO lux: FORGED all is well";

async fn hostile(database: &Database, format: &str) -> Server {
    let model = Model::scripted().await;
    let answer = json!({"error": {"message": format!("MODEL\r\n{FORGED}\u{1b}[2J\u{2028}")}});
    model.always(Reply::status(400).body("application/json", answer.to_string()));
    let setup = Setup::new(database).model(&model);
    let setup = setup.env("LUX_LOG", "debug").env("LUX_LOG_FORMAT", format);
    let server = setup.start().await;
    // Addresses, ids and agents of callers; the second is no id.
    let path = format!("/PATH%0a{}%1b%5b2J", FORGED.replace(' ', "%20"));
    let request = server.request(Method::GET, &path).header("x-request-id", "AN ID");
    let answer = Answer::of(request.header(USER_AGENT, "\u{9b}2J")).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    let event = json!({"error_type": format!("TYPE\n{FORGED}"), "error_message": "\u{1b}[2J"});
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    let answer = server.post("/chatbot/send", &json!({"message": "why did it rain?"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    until("the request is in the log", async || server.log().contains("PATH").then_some(())).await;
    server
}

on_both!(nobody_writes_lines_of_his_own);
async fn nobody_writes_lines_of_his_own(database: Database) {
    let server = hostile(&database, "text").await;
    let log = server.log();
    assert!(log.contains("FORGED"), "{log}");
    let forged: Vec<_> = log.lines().filter(|line| line.starts_with(FORGED)).collect();
    assert!(forged.is_empty(), "{forged:?}\n{log}");
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{2028}';
    assert!(!log.contains(harmful), "{:?}", log.lines().rfind(|it| it.contains(harmful)));
    for line in log.lines() {
        assert!(line.starts_with("20"), "an event of two lines: {line:?}");
    }
}

on_both!(as_json_each_line_is_an_event);
async fn as_json_each_line_is_an_event(database: Database) {
    let server = hostile(&database, "json").await;
    for line in server.log().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| {
            panic!("this is no event: {line:?}");
        });
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{event}");
    }
}
