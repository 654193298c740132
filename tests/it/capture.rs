//! Errors on their way in and out: reports, rows of other programs, groups, decisions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, on_both, until};

fn event(kind: &str, message: &str) -> Value {
    json!({ "error_type": kind, "error_message": message, "endpoint": "/buy", "method": "POST" })
}

async fn groups(server: &Server) -> Vec<Value> {
    server.get("/api/diagnostics/groups?limit=200").await["groups"].as_array().unwrap().clone()
}

on_both!(reports_are_answered_as_the_contract_says);
async fn reports_are_answered_as_the_contract_says(database: Database) {
    let server = Server::plain(&database).await;
    let one = server.post("/api/errors", &event("KeyError", "price")).await;
    assert_eq!(one.status, 201, "{one:?}");
    let one = one.json();
    assert_eq!(one["accepted"], 1, "{one}");
    assert_eq!(one["rejected"], json!([]), "{one}");
    let id = one["ids"][0].as_i64().unwrap();

    let whole = json!({
        "error_type": "ValueError", "error_message": "no", "error_stack": "Traceback …",
        "endpoint": "/pay", "method": "POST", "severity": "critical", "user_id": "u7",
        "created_at": "2026-11-20T10:00:00Z", "app": "shop"
    });
    let some = json!([event("A", "a"), { "error_type": "B" }, 7, whole, event("", "x")]);
    let answer = server.post("/api/errors", &some).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["accepted"], 2, "{answer}");
    assert_eq!(answer["ids"].as_array().unwrap().len(), 2, "{answer}");
    let rejected = answer["rejected"].as_array().unwrap();
    let places: Vec<_> = rejected.iter().map(|item| item["index"].as_i64().unwrap()).collect();
    assert_eq!(places, [1, 2, 4], "{answer}");
    assert!(rejected[0]["detail"].as_str().unwrap().contains("error_message"), "{answer}");

    let all = json!([event("A", "a"), event("A", "b")]);
    let answer = server.post("/api/errors", &all).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["accepted"]), (201, &json!(2)));

    let listed = server.get("/api/diagnostics/errors?hours=8000&limit=50").await;
    assert_eq!(listed["success"], true);
    let errors = listed["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 5, "{listed:#}");
    let first = errors.iter().find(|error| error["id"] == id).unwrap();
    for (key, value) in [
        ("type", json!("KeyError")),
        ("message", json!("price")),
        ("endpoint", json!("/buy")),
        ("method", json!("POST")),
        ("severity", json!("error")),
        ("resolved", json!(false)),
        ("resolution_notes", Value::Null),
    ] {
        assert_eq!(first[key], value, "{key} of {first}");
    }
    assert!(first["created_at"].as_str().unwrap().ends_with('Z'), "{first}");
    assert!(first["group_id"].is_i64(), "{first}");
    let detail = server.get(&format!("/api/diagnostics/errors/{id}")).await;
    assert!(detail.to_string().contains("KeyError"), "{detail}");
}

on_both!(like_errors_are_one_group_and_come_back_as_a_regression);
async fn like_errors_are_one_group_and_come_back_as_a_regression(database: Database) {
    let server = Server::plain(&database).await;
    for number in 0..30 {
        let message = format!("order {number} of user 10.0.0.{number} not found");
        assert_eq!(server.post("/api/errors", &event("LookupError", &message)).await.status, 201);
    }
    assert_eq!(server.post("/api/errors", &event("OSError", "disk")).await.status, 201);
    let all = groups(&server).await;
    assert_eq!(all.len(), 2, "{all:#?}");
    let group = all.iter().find(|group| group["error_type"] == "LookupError").unwrap();
    assert_eq!((&group["count"], &group["status"]), (&json!(30), &json!("unresolved")));
    let buckets = group["buckets"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap());
    assert_eq!(buckets.sum::<i64>(), 30, "{group:#}");
    let path = format!("/api/diagnostics/groups/{}", group["id"]);

    // Resolved means proven.
    server.patch(&path, &json!({ "status": "resolved" })).await.problem(400);
    assert_eq!(server.get(&path).await["status"], "unresolved");
    let reason = json!({ "status": "resolved", "reason": "the import ran again" });
    assert_eq!(server.patch(&path, &reason).await.status, 200);
    assert_eq!(server.get(&path).await["status"], "resolved");

    let again = event("LookupError", "order 77 of user 10.0.0.9 not found");
    assert_eq!(server.post("/api/errors", &again).await.status, 201);
    let group = server.get(&path).await;
    assert_eq!((&group["status"], &group["count"]), (&json!("regressed"), &json!(31)));

    // All of a bulk change, or nothing of it.
    let ids: Vec<_> = all.iter().map(|group| group["id"].clone()).collect();
    let missing = json!({ "ids": [ids[0], ids[1], 987_654_321], "status": "ignored" });
    server.patch("/api/diagnostics/groups", &missing).await.problem(404);
    assert!(groups(&server).await.iter().all(|group| group["status"] != "ignored"));
    let bulk = json!({ "ids": ids, "status": "ignored" });
    let answer = server.patch("/api/diagnostics/groups", &bulk).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(groups(&server).await.iter().all(|group| group["status"] == "ignored"));
}

on_both!(rows_of_another_program_are_grouped);
async fn rows_of_another_program_are_grouped(database: Database) {
    let server = Server::plain(&database).await;
    let insert = "insert into error_log (error_type, error_message, error_stack, endpoint, method, \
                  user_id, severity, is_resolved, resolution_notes) values \
                  ('TypeError', 'row 1 is bad', null, '/old', 'GET', null, 'error', false, null), \
                  ('TypeError', 'row 2 is bad', null, '/old', 'GET', 'u', 'error', false, null)";
    database.execute(&server.data(), insert).await;
    let group = until("the rows are grouped", async || {
        groups(&server).await.into_iter().find(|group| group["count"] == 2)
    })
    .await;
    assert_eq!(group["error_type"], "TypeError");
    // A third through the front door joins them.
    let mut third = event("TypeError", "row 3 is bad");
    third["endpoint"] = json!("/old");
    third["method"] = json!("GET");
    assert_eq!(server.post("/api/errors", &third).await.status, 201);
    let path = format!("/api/diagnostics/groups/{}", group["id"]);
    assert_eq!(server.get(&path).await["count"], 3);
    let listed = server.get("/api/diagnostics/errors").await;
    assert_eq!(listed["errors"].as_array().unwrap().len(), 3, "{listed:#}");
}

on_both!(pages_hold_every_item_once);
async fn pages_hold_every_item_once(database: Database) {
    let server = Server::plain(&database).await;
    let many: Vec<_> = (0..57).map(|n| event(&format!("Kind{}", "abc".repeat(n)), "m")).collect();
    assert_eq!(server.post("/api/errors", &many).await.status, 201);
    for (path, key) in
        [("/api/diagnostics/errors", "errors"), ("/api/diagnostics/groups", "groups")]
    {
        let mut ids = Vec::new();
        let mut next = String::new();
        loop {
            let page = server.get(&format!("{path}?limit=10{next}")).await;
            let items = page[key].as_array().unwrap();
            assert!(items.len() <= 10);
            ids.extend(items.iter().map(|item| item["id"].as_i64().unwrap()));
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
            assert!(ids.len() <= 57, "{path} does not end");
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 57, "{path}");
    }
}

#[tokio::test]
async fn an_ingest_token_reports_and_reads_nothing() {
    let server = Server::plain(&Database::sqlite()).await;
    let report = server.request_as(Role::Ingest, Method::POST, "/api/errors");
    assert_eq!(Answer::of(report.json(&event("E", "m"))).await.status, 201);
    let read = server.request_as(Role::Ingest, Method::GET, "/api/diagnostics/errors");
    Answer::of(read).await.problem(403);
}
