//! Errors over HTTP, against the real program.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, on_both, run, until};

on_both!(reported_errors_are_listed_with_their_group);
on_both!(each_event_is_accepted_or_rejected_by_itself);
on_both!(groups_are_decided_upon_with_a_reason);
on_both!(rows_of_other_programs_are_picked_up);
on_both!(secrets_do_not_leave_in_answers);

fn event(kind: &str, message: &str) -> Value {
    json!({ "error_type": kind, "error_message": message })
}

async fn groups(server: &Server) -> Vec<Value> {
    server.get("/api/diagnostics/groups").await["groups"].as_array().unwrap().clone()
}

async fn reported_errors_are_listed_with_their_group(database: Database) {
    let server = Server::plain(&database).await;
    let mut sent = event("ValueError", "order 17 is odd");
    sent["endpoint"] = json!("/checkout");
    sent["method"] = json!("POST");
    sent["severity"] = json!("critical");
    sent["user_id"] = json!(42);
    sent["error_stack"] = json!(
        "Traceback (most recent call last):\n  File \"/srv/shop/cart.py\", line 3, in total\n\
         ValueError: order 17 is odd\n"
    );
    let answer = server.post("/api/errors", &sent).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let id = answer.json()["ids"][0].as_i64().unwrap();
    assert_eq!(answer.json(), json!({ "accepted": 1, "ids": [id], "rejected": [] }));

    let list = server.get("/api/diagnostics/errors?severity=critical&endpoint=/checkout").await;
    assert_eq!((&list["success"], &list["next"]), (&json!(true), &Value::Null));
    let listed = &list["errors"][0];
    for (key, value) in [
        ("id", json!(id)),
        ("type", json!("ValueError")),
        ("message", json!("order 17 is odd")),
        ("endpoint", json!("/checkout")),
        ("method", json!("POST")),
        ("severity", json!("critical")),
        ("resolved", json!(false)),
        ("resolution_notes", Value::Null),
    ] {
        assert_eq!(listed[key], value, "{key}");
    }
    let detail = server.get(&format!("/api/diagnostics/errors/{id}")).await;
    assert!(detail["error"]["error_stack"].as_str().unwrap().contains("cart.py"));
    assert_eq!(detail["group"]["culprit"], "cart.py in total");
    let group = &groups(&server).await[0];
    assert_eq!((&group["count"], &group["users"]), (&json!(1), &json!(1)));
    assert_eq!(group["id"], listed["group_id"]);
    assert_eq!(group["buckets"].as_array().unwrap().len(), 24);
    let one = server.get(&format!("/api/diagnostics/groups/{}", group["id"])).await;
    assert_eq!(one["events"][0]["id"], json!(id));
    assert_eq!(one["title"], "ValueError: order 17 is odd");
}

async fn each_event_is_accepted_or_rejected_by_itself(database: Database) {
    let server = Server::plain(&database).await;
    let many = json!([event("A", "1"), { "error_type": "B" }, 7, event("C", "3"), event("", "4")]);
    let answer = server.post("/api/errors", &many).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let answer = answer.json();
    assert_eq!((&answer["accepted"], answer["ids"].as_array().unwrap().len()), (&json!(2), 2));
    let places: Vec<_> =
        answer["rejected"].as_array().unwrap().iter().map(|it| it["index"].clone()).collect();
    assert_eq!(places, [1, 2, 4]);
    assert!(answer["rejected"][0]["detail"].as_str().unwrap().contains("error_message"));
    assert!(server.post("/api/errors", &event("", "x")).await.problem(400).contains("error_type"));
    assert!(server.post("/api/errors", &json!([])).await.problem(400).contains("empty"));
    let crowd = vec![event("A", "1"); 1001];
    assert!(server.post("/api/errors", &crowd).await.problem(413).contains("1000"));
    assert_eq!(groups(&server).await.len(), 2);
}

async fn groups_are_decided_upon_with_a_reason(database: Database) {
    let server = Server::plain(&database).await;
    server.post("/api/errors", &json!([event("A", "a"), event("B", "b"), event("C", "c")])).await;
    let ids: Vec<i64> =
        groups(&server).await.iter().map(|group| group["id"].as_i64().unwrap()).collect();
    let path = format!("/api/diagnostics/groups/{}", ids[0]);
    let refused = server.patch(&path, &json!({ "status": "resolved" })).await;
    assert!(refused.problem(400).contains("reason"));
    let refused = server.patch(&path, &json!({ "status": "resolved", "reason": "  " })).await;
    assert!(refused.problem(400).contains("reason"));
    let resolved = json!({ "status": "resolved", "reason": "rolled back; checkout answers 200" });
    let answer = server.patch(&path, &resolved).await.json();
    assert_eq!(
        (&answer["status"], &answer["resolution"]),
        (&json!("resolved"), &resolved["reason"])
    );
    let kind = answer["error_type"].as_str().unwrap().to_owned();
    let listed = server.get("/api/diagnostics/errors?resolved=true").await;
    assert_eq!(listed["errors"][0]["resolution_notes"], resolved["reason"]);
    assert_eq!(listed["errors"].as_array().unwrap().len(), 1);

    let message = kind.to_lowercase();
    server.post("/api/errors", &event(&kind, &message)).await;
    let regressed = server.get("/api/diagnostics/groups?status=regressed").await;
    assert_eq!(regressed["groups"][0]["id"], json!(ids[0]));
    assert_eq!(regressed["groups"][0]["count"], json!(2));

    let bulk = json!({ "ids": [ids[1], ids[2], ids[1]], "action": "ignore" });
    let answer = server.patch("/api/diagnostics/groups", &bulk).await;
    assert_eq!(answer.json(), json!({ "changed": 2 }));
    let strange = json!({ "ids": [ids[0], 999_999], "status": "unresolved" });
    server.patch("/api/diagnostics/groups", &strange).await.problem(404);
    let still = server.get("/api/diagnostics/groups?status=regressed").await;
    assert_eq!(still["groups"].as_array().unwrap().len(), 1, "all or none");
    let reader = server.request_as(Role::Read, Method::PATCH, &path);
    Answer::of(reader.json(&json!({ "status": "ignored" }))).await.problem(403);
}

async fn rows_of_other_programs_are_picked_up(database: Database) {
    let server = Server::plain(&database).await;
    server
        .database()
        .execute(
            &server.data(),
            "insert into error_log (error_type, error_message, severity, created_at) values
                 ('KeyError', 'order 5', 'high', '2026-11-20 10:00:00.123456'),
                 ('KeyError', 'order 6', 'error', current_timestamp)",
        )
        .await;
    let group = until("both rows are grouped", || async {
        let groups = groups(&server).await;
        groups.into_iter().find(|group| group["count"] == 2)
    })
    .await;
    assert_eq!((&group["error_type"], &group["severity"]), (&json!("KeyError"), &json!("error")));
    // It is looked for again and again, and counted once.
    server.post("/api/errors", &event("KeyError", "order 7")).await;
    assert_eq!(groups(&server).await[0]["count"], 3);
}

async fn secrets_do_not_leave_in_answers(database: Database) {
    let server = Server::plain(&database).await;
    let message = "cannot connect to postgres://shop:s3cr3t-pw@db/shop";
    let mut event = event("OperationalError", message);
    event["error_stack"] = json!("Traceback (most recent call last):\n  password = 's3cr3t-pw'\n");
    event["endpoint"] = json!("/reset?token=s3cr3t-pw-12");
    let id = server.post("/api/errors", &event).await.json()["ids"][0].clone();
    let group = groups(&server).await[0]["id"].clone();
    for path in [
        "/api/diagnostics/errors".to_owned(),
        format!("/api/diagnostics/errors/{id}"),
        "/api/diagnostics/groups".to_owned(),
        format!("/api/diagnostics/groups/{group}"),
    ] {
        let answer = server.get(&path).await.to_string();
        assert!(answer.contains("OperationalError") && !answer.contains("s3cr3t"), "{answer}");
    }
}

#[tokio::test]
async fn the_command_lists_groups_and_events() {
    let server = Server::plain(&Database::sqlite()).await;
    server
        .post("/api/errors", &json!([event("KeyError", "'GBP'"), event("KeyError", "'GBP'")]))
        .await;
    let said = run(server.command().args(["errors"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("KeyError") && said.out.contains('2'), "{said:?}");
    let said = run(server.command().args(["errors", "--json"]));
    assert_eq!(said.json()["groups"][0]["count"], 2);
    let said = run(server.command().args(["errors", "--events", "--json"]));
    assert_eq!(said.json()["errors"].as_array().unwrap().len(), 2);
}
