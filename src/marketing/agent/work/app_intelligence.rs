//! APP Intelligence: the repair runs, started and read through repair's own functions.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    super::{
        Agents,
        input::{Gather, Inputs, Line, at, said},
        report::{Report, count},
    },
    Job,
};
use crate::{
    error::Result,
    repair::store::runs::{Scope, Trigger},
};

/// How long a run is waited for; it goes on without anybody who waits.
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(sqlx::FromRow)]
struct RunRow {
    id: i64,
    status: String,
    total: i64,
    tested: i64,
    resolved: i64,
    unresolved: i64,
    finished_at: Option<DateTime<Utc>>,
    note: Option<String>,
}

pub(super) async fn collect(gather: &mut Gather<'_>, agents: &Agents, job: &Job<'_>) -> Result<()> {
    let scope = Scope::default();
    let run = agents.repair.start(job.organization, Trigger::Api, job.by, &scope).await?;
    agents.repair.settled(job.organization, run.id, PATIENCE).await?;
    let (db, organization) = (&gather.app.db, gather.organization);
    let runs = db
        .query(
            "select id, status, total, tested, resolved, unresolved, finished_at, note
             from repair_run where organization_id = $1 and id = $2",
        )
        .bind(organization)
        .bind(run.id);
    let line = |run: RunRow| {
        let note = run.note.unwrap_or_default();
        Line::of([
            json!(run.id),
            json!(run.status),
            json!(run.total),
            json!(run.tested),
            json!(run.resolved),
            json!(run.unresolved),
            at(run.finished_at),
            said(&note),
        ])
        .to(format!("/repairs/{}", run.id))
    };
    let columns = ["run", "status", "errors", "judged", "resolved", "unresolved", "ended", "note"];
    gather.table("run", "The repair run", &columns, runs, line).await?;
    let attempts = db
        .query(
            "select a.group_id, g.title, coalesce(a.verdict, ''), coalesce(a.why, ''),
                    coalesce(c.title, '')
             from repair_attempt a join error_group g on g.id = a.group_id
             left join repair_cause c on c.id = a.cause_id
             where a.run_id = $1 order by a.id limit 50",
        )
        .bind(run.id);
    let line = |(group, title, verdict, why, cause): (i64, String, String, String, String)| {
        Line::of([said(&title), said(&cause), json!(verdict), said(&why)])
            .to(format!("/errors/{group}"))
    };
    let columns = ["error", "cause", "verdict", "why"];
    gather.table("attempts", "Errors of the run", &columns, attempts, line).await
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let Some(run) = inputs.get("run").lines.first() else {
        return Report::new("No repair run could be started.");
    };
    let (id, total, resolved) = (run.number(0), run.number(2), run.number(4));
    report.summary = match (run.text(1), total) {
        ("queued" | "running", _) => {
            format!("Repair run {id} is under way: {} of {total} errors judged.", run.number(3))
        }
        ("failed", _) => format!("Repair run {id} stopped early: {}", run.text(7)),
        (_, 0) => "Nothing to do: no error is open.".to_owned(),
        _ => format!(
            "Repair run {id}: {resolved} of {} resolved with evidence.",
            count(total, "error", "errors")
        ),
    };
    if total > 0 || run.text(1) == "failed" {
        report.find(report.summary.clone(), [run.id.as_str()]);
    }
    for line in inputs.get("attempts").lines.iter().filter(|it| it.text(2) != "resolved").take(8) {
        let verdict = match line.text(2) {
            "still_failing" => "still fails",
            "awaiting_approval" => "waits for an approval",
            "" => "has no verdict yet",
            _ => "is not proven either way",
        };
        let why = match line.text(3) {
            "" => String::new(),
            why => format!(": {why}"),
        };
        report.find(format!("{} {verdict}{why}.", line.text(0)), [line.id.as_str()]);
    }
    report
}
