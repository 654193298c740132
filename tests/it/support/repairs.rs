//! Asking Lux for a repair, and for what it knows.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Server, until};

/// Longest run that is waited for.
const LONGEST: Duration = Duration::from_mins(4);

/// Asks for a repair and waits for its report: `results` of the contract.
pub(crate) async fn repair(server: &Server, wanted: &Value) -> Value {
    let answer = server.post("/api/auto-repair/start?wait=20", wanted).await;
    assert!(answer.status == 200 || answer.status == 202, "{answer:?}");
    let mut report = answer.json();
    let run = report["run_id"].clone();
    assert!(run.is_i64(), "{answer:?}");
    let started = Instant::now();
    while !report["finished_at"].is_string() {
        assert!(started.elapsed() < LONGEST, "run {run} does not end: {report:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        report = server.get(&format!("/api/auto-repair/runs/{run}")).await;
    }
    assert_ne!(report["status"], "failed", "{report:#}");
    let results = report["results"].clone();
    assert!(results["details"].is_array(), "{report:#}");
    results
}

/// Asks for a repair and does not wait; the id of the run.
pub(crate) async fn start_repair(server: &Server, wanted: &Value) -> i64 {
    let answer = server.post("/api/auto-repair/start", wanted).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["run_id"].as_i64().unwrap()
}

/// The report of a run, once it has ended. Lux may be away meanwhile.
pub(crate) async fn end_of_run(server: &Server, run: i64) -> Value {
    until(&format!("run {run} ends"), async || {
        let path = format!("/api/auto-repair/runs/{run}");
        let request = server.request_as(super::Role::Read, reqwest::Method::GET, &path);
        let answer = super::Answer::try_of(request).await.ok()?;
        let report = (answer.status == 200).then(|| answer.json())?;
        report["finished_at"].is_string().then_some(report)
    })
    .await
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
