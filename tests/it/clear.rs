//! Clearing resolved events: what goes, what stays, and who is told.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, Setup, on_both, until};

on_both!(old_resolved_events_go_and_nothing_else);
on_both!(the_schedules_job_clears);
on_both!(nonsense_is_refused_and_clears_nothing);
on_both!(the_audit_log_is_read_in_pages);

/// So many hours ago, as both databases read it.
fn ago(hours: i64) -> String {
    let at: chrono::DateTime<Utc> = lux::clock::now() - TimeDelta::hours(hours);
    at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

async fn sql(server: &Server, statement: &str) {
    server.database().execute(&server.data(), statement).await;
}

async fn number(server: &Server, from: &str) -> usize {
    let counted = format!("select cast(count(*) as text) from {from}");
    server.database().column(&server.data(), &counted).await[0].parse().unwrap()
}

/// Reports an event; gives its group.
async fn group(server: &Server, kind: &str) -> i64 {
    let event = json!({ "error_type": kind, "error_message": "m" });
    let id = server.post("/api/errors", &event).await.json()["ids"][0].clone();
    let error = server.get(&format!("/api/diagnostics/errors/{id}")).await;
    error["group"]["id"].as_i64().unwrap()
}

/// Adds events to a group behind Lux's back: `count` of an age, resolved on evidence or not.
async fn add(server: &Server, group: i64, count: usize, hours: i64, resolved: bool) {
    let evidence = "insert into evidence (organization_id, kind, detail, made_by, created_at)
                    values (1, 'probe', '{}', 'test', '2026-11-01T00:00:00+00:00')";
    sql(server, evidence).await;
    let (at, proof) = (ago(hours), "(select max(id) from evidence)");
    let resolution =
        if resolved { format!("true, '{{}}', {proof}") } else { "false, null, null".into() };
    let insert = format!(
        "insert into error_log (error_type, error_message, severity, created_at, group_id,
                                is_resolved, resolution_notes, evidence_id)
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {count})
         select 'E', 'm', 'error', '{at}', {group}, {resolution} from n"
    );
    sql(server, &insert).await;
}

async fn old_resolved_events_go_and_nothing_else(database: Database) {
    let server = Server::plain(&database).await;
    let (open, cured) = (group(&server, "Open").await, group(&server, "Cured").await);
    add(&server, open, 12_000, 25, true).await;
    add(&server, open, 5, 23, true).await;
    add(&server, open, 7, 25, false).await;
    add(&server, cured, 1003, 30, false).await;
    let reason = json!({ "status": "resolved", "reason": "rolled back, the page answers 200" });
    server.patch(&format!("/api/diagnostics/groups/{cured}"), &reason).await;
    let evidence = number(&server, "evidence").await;
    let group_before = server.get(&format!("/api/diagnostics/groups/{open}")).await;
    let buckets = number(&server, "error_bucket").await;

    let clear = json!({ "older_than_hours": 24 });
    let answer = server.post("/api/auto-repair/clear", &clear).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected =
        json!({ "success": true, "deleted": 13_003, "older_than_hours": 24, "continues": false });
    assert_eq!(answer.json(), expected);
    // Two reported ones, five that are too young, seven that are not resolved.
    assert_eq!(number(&server, "error_log").await, 2 + 5 + 7);
    assert_eq!(number(&server, "error_log where is_resolved").await, 5);
    assert_eq!(number(&server, "evidence").await, evidence);
    assert_eq!(number(&server, "error_bucket").await, buckets);
    let group_after = server.get(&format!("/api/diagnostics/groups/{open}")).await;
    for key in ["count", "first_seen", "last_seen", "status", "buckets"] {
        assert_eq!(group_after[key], group_before[key], "{key}");
    }
    let cured = server.get(&format!("/api/diagnostics/groups/{cured}")).await;
    assert_eq!((&cured["status"], &cured["count"]), (&json!("resolved"), &json!(1)));

    let again = server.post("/api/auto-repair/clear", &clear).await;
    assert_eq!(again.json()["deleted"], 0);
    let audit = server.get("/api/audit").await;
    let told = &audit["entries"][1];
    assert_eq!((&told["actor"], &told["action"]), (&json!("rig"), &json!("errors.clear")));
    assert_eq!(told["detail"], json!({ "deleted": 13_003, "older_than_hours": 24 }));
}

async fn the_schedules_job_clears(database: Database) {
    let server = Setup::new(&database)
        .toml("[schedule]\nclear_older_than = \"90m\"\n[[sources]]\nname = \"a\"\npath = \"/x\"\n")
        .start()
        .await;
    let group = group(&server, "Open").await;
    add(&server, group, 2500, 3, true).await;
    add(&server, group, 4, 1, true).await;
    // As the schedule makes it.
    let at = ago(0);
    sql(
        &server,
        &format!(
            "insert into job (kind, payload, dedupe, run_at, max_attempts, created_at)
             values ('clear', '{{\"schedule\": true}}', 'clear@test', '{at}', 5, '{at}')"
        ),
    )
    .await;
    until("the job is done", async || {
        let done = "job where dedupe = 'clear@test' and status = 'done' and attempts = 1";
        (number(&server, done).await == 1).then_some(())
    })
    .await;
    assert_eq!(number(&server, "error_log").await, 5);
    let told = server.get("/api/audit").await["entries"][0].clone();
    assert_eq!(told["actor"], "schedule");
    assert_eq!(told["detail"], json!({ "deleted": 2500, "older_than_hours": 2 }));
    let answer = server.post("/api/auto-repair/clear", &json!({})).await.json();
    assert_eq!((&answer["deleted"], &answer["older_than_hours"]), (&json!(0), &json!(2)));
}

async fn nonsense_is_refused_and_clears_nothing(database: Database) {
    let server = Server::plain(&database).await;
    let group = group(&server, "Open").await;
    add(&server, group, 3, 9000, true).await;
    for hours in [json!(0), json!(-1), json!(8761), json!(i64::MAX), json!("24"), json!(1.5)] {
        let body = json!({ "older_than_hours": hours });
        let answer = server.post("/api/auto-repair/clear", &body).await;
        let detail = answer.problem(400);
        assert!(!detail.is_empty(), "{hours}");
    }
    let detail = server.post("/api/auto-repair/clear", &json!({ "older_than_hours": 0 })).await;
    assert!(detail.problem(400).contains("from 1 to 8760"));
    let odd = json!({ "older_then_hours": 24 });
    server.post("/api/auto-repair/clear", &odd).await.problem(400);
    for role in [Role::Read, Role::Ingest] {
        let request = server.request_as(role, Method::POST, "/api/auto-repair/clear");
        Answer::of(request.json(&json!({ "older_than_hours": 1 }))).await.problem(403);
    }
    assert_eq!(number(&server, "error_log").await, 4);
    assert_eq!(server.deeds().await, Vec::<Value>::new());
}

async fn the_audit_log_is_read_in_pages(database: Database) {
    let server = Server::plain(&database).await;
    for role in Role::ALL {
        server.token(role);
    }
    for hours in 1..=3 {
        server.post("/api/auto-repair/clear", &json!({ "older_than_hours": hours })).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/audit?limit=2".to_owned();
    loop {
        let page = server.get(&path).await;
        for entry in page["entries"].as_array().unwrap() {
            seen.push(entry["detail"]["older_than_hours"].clone());
        }
        let Value::String(next) = &page["next"] else { break };
        path = format!("/api/audit?limit=2&cursor={next}");
    }
    // Below them the tokens of the rig.
    assert_eq!(
        (&seen[..3], seen.len()),
        (&[json!(3), json!(2), json!(1)][..], 3 + Role::ALL.len())
    );
}
