//! Asking Lux for a repair, and for what it knows.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::kinds::Kind;
use crate::support::Server;

/// Longest run of the matrix.
const LONGEST: Duration = Duration::from_mins(4);

/// Asks for a repair and waits for its report: `results` of the contract.
pub(crate) async fn repair(server: &Server, wanted: &Value) -> Value {
    let answer = server.post("/api/auto-repair/start?wait=20", wanted).await;
    assert!(answer.status == 200 || answer.status == 202, "{answer:?}");
    let mut report = answer.json();
    let run = report["run_id"].clone();
    assert!(run.is_i64(), "{answer:?}");
    let started = Instant::now();
    while answer.status == 202 && !is_finished(&report) {
        assert!(started.elapsed() < LONGEST, "run {run} does not end: {report:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        report = server.get(&format!("/api/auto-repair/runs/{run}")).await;
    }
    let results = report["results"].clone();
    assert!(results["details"].is_array(), "{report:#}");
    results
}

fn is_finished(report: &Value) -> bool {
    report["finished_at"].is_string() || report["run"]["finished_at"].is_string()
}

/// All groups, of all pages; `filter` ends with `&`.
pub(crate) async fn groups(server: &Server, filter: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/api/diagnostics/groups?{filter}limit=200{after}");
        let page = server.get(&path).await;
        all.extend(page["groups"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The newest events of a kind.
pub(crate) async fn events(server: &Server, kind: &Kind) -> Vec<Value> {
    let page = server
        .request_as(crate::support::Role::Read, reqwest::Method::GET, "/api/diagnostics/errors")
        .query(&[("limit", "200"), ("app", kind.app), ("endpoint", kind.endpoint())]);
    let answer = crate::support::Answer::of(page).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.json()["errors"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["method"] == kind.method).collect()
}
