//! API tokens: shown once, kept as a hash, ended at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, on_both, until};

async fn make(server: &Server, name: &str, role: &str) -> Value {
    let answer = server.post("/api/tokens", &json!({ "name": name, "role": role })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

async fn status(server: &Server, token: &str, path: &str) -> u16 {
    let request = server.request(Method::GET, path).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

/// What the audit log says was done, oldest first.
async fn audited(server: &Server, action: &str) -> Vec<Value> {
    let entries = server.get("/api/audit?limit=200").await;
    let entries = entries["entries"].as_array().unwrap().iter().rev();
    entries.filter(|entry| entry["action"] == action).cloned().collect()
}

on_both!(a_token_is_shown_once);
async fn a_token_is_shown_once(database: Database) {
    let server = Server::plain(&database).await;
    let made = make(&server, "ci", "read").await;
    let token = made["token"].as_str().unwrap();
    let form = regex::Regex::new("^lux_[A-Za-z0-9_-]{43}$").unwrap();
    assert!(form.is_match(token), "{token}");
    assert!(token.starts_with(made["prefix"].as_str().unwrap()), "{made}");
    assert_ne!(make(&server, "ci", "read").await["token"], token);
    assert_eq!(status(&server, token, "/api/apps").await, 200);
    assert_eq!(status(&server, token, "/api/tokens").await, 403);
    let listed = server.get("/api/tokens").await;
    let row = listed["tokens"].as_array().unwrap().iter().find(|row| row["id"] == made["id"]);
    let row = row.unwrap();
    assert!(row["last_used_at"].is_string(), "{row}");
    assert!(row["expires_at"].is_string() && row["revoked_at"].is_null(), "{row}");
    // Neither the list, nor the database, nor any log has it.
    assert!(!listed.to_string().contains(token), "{listed}");
    let columns = "select name || prefix || hash from api_token";
    for row in database.column(&server.data(), columns).await {
        assert!(!row.contains(&token[10..]), "{row}");
    }
    let created = audited(&server, "token.create").await;
    let subject = format!("token {}", made["id"]);
    let told: Vec<_> = created.iter().filter(|entry| entry["subject"] == *subject).collect();
    let [first] = told[..] else { panic!("{created:?}") };
    assert_eq!(first["detail"]["role"], "read");
    assert!(!first.to_string().contains(token) && !server.log().contains(token));
}

on_both!(a_revoked_token_ends_everywhere);
async fn a_revoked_token_ends_everywhere(database: Database) {
    let server = Server::plain(&database).await;
    let made = make(&server, "gone", "operator").await;
    let (id, token) = (made["id"].as_i64().unwrap(), made["token"].as_str().unwrap());
    assert_eq!(status(&server, token, "/api/apps").await, 200);
    let path = format!("/api/tokens/{id}");
    let revoke = || Answer::of(server.request_as(Role::Admin, Method::DELETE, &path));
    assert_eq!(revoke().await.status, 204);
    assert_eq!(status(&server, token, "/api/apps").await, 401);
    revoke().await.problem(404);
    assert_eq!(audited(&server, "token.revoke").await.len(), 1);
    // What the command line ends, ends here as well.
    let made = make(&server, "gone too", "read").await;
    let token = made["token"].as_str().unwrap();
    assert_eq!(status(&server, token, "/api/apps").await, 200);
    let mut command = server.command();
    command.args(["token", "revoke", &made["id"].to_string()]);
    assert_eq!(crate::support::run(&mut command).code, Some(0));
    until("the token is refused", async || {
        (status(&server, token, "/api/apps").await == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn wishes_for_tokens_are_checked() {
    let server = Server::plain(&Database::sqlite()).await;
    let ask = async |body: Value| server.post("/api/tokens", &body).await;
    for (wrong, said) in [
        (json!({ "name": "x", "role": "customer" }), "role"),
        (json!({ "name": "x", "role": "root" }), "role"),
        (json!({ "name": " ", "role": "read" }), "name"),
        (json!({ "name": "x".repeat(101), "role": "read" }), "name"),
        (json!({ "name": "x", "role": "read", "expires_in_days": 0 }), "365"),
        (json!({ "name": "x", "role": "read", "expires_in_days": 366 }), "365"),
        (json!({ "name": "x", "role": "read", "expires_at": null }), "expires_at"),
        (json!({ "name": "x", "role": "read", "organization_id": 2 }), "organization_id"),
    ] {
        let detail = ask(wrong.clone()).await.problem(400);
        assert!(detail.contains(said) || said == "role", "{wrong}: {detail}");
    }
    let longest = ask(json!({ "name": "x", "role": "ingest", "expires_in_days": 365 })).await;
    assert_eq!(longest.status, 201, "{longest:?}");
    let body = json!({ "name": "x", "role": "read" });
    let request = server.request_as(Role::Operator, Method::POST, "/api/tokens").json(&body);
    Answer::of(request).await.problem(403);
}
