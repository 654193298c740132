//! What became of a run: as JSON, in sentences, and as Markdown.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    action::{self, ActionRun},
    cases::Case,
    plan::{Plan, Step},
    store::{
        attempts,
        runs::{self, Run, Status},
    },
    verdict::Verdict,
};
use crate::{db::Db, error::Result};

/// What became of a run, or with `run_id: null` what one would do.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RepairReport)]
pub struct Report {
    pub success: bool,
    pub run_id: Option<i64>,
    /// `None` in a preview.
    pub status: Option<Status>,
    pub dry_run: bool,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub note: Option<String>,
    /// One for each cause, with its plan and the actions that ran or wait.
    pub causes: Vec<CauseReport>,
    pub results: Results,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CauseReport {
    pub cause: String,
    pub title: String,
    pub app: String,
    /// "confirmed", "likely", "inconclusive" or "unknown".
    pub confidence: String,
    /// The diagnosis, as `lux diagnose --json` prints a finding.
    #[schema(value_type = Option<Value>)]
    pub finding: Option<Value>,
    #[schema(value_type = Plan)]
    pub fix_plan: Value,
    #[schema(value_type = Vec<Value>)]
    pub actions: Vec<ActionRun>,
    pub groups: usize,
}

/// The figures and the errors one by one; keys of the product's first version.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = RepairResults)]
pub struct Results {
    pub total_errors: usize,
    pub tested: usize,
    pub resolved: usize,
    pub unresolved: usize,
    pub details: Vec<Detail>,
}

/// One error (a group, by its newest event).
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RepairDetail)]
pub struct Detail {
    pub error_id: i64,
    pub group_id: i64,
    pub title: String,
    pub cause: String,
    /// `None` while it is being tested, and in a preview.
    pub status: Option<Verdict>,
    pub why: Option<String>,
    #[schema(value_type = Plan)]
    pub fix_plan: Value,
    /// What the checks said: when ("before", "after"), name, passed, status_code, latency_ms.
    #[schema(value_type = Vec<Value>)]
    pub probes: Value,
    pub evidence_id: Option<i64>,
    pub attempt_id: Option<i64>,
    /// False once the resolution did not hold.
    pub held: Option<bool>,
}

pub(super) fn preview(cases: &[Case], plans: Vec<Plan>) -> Report {
    let mut causes = Vec::new();
    let mut details = Vec::new();
    for (case, plan) in cases.iter().zip(plans) {
        let plan = serde_json::to_value(plan).unwrap_or_default();
        let detail = |group: &crate::errors::store::open::Open| Detail {
            error_id: group.event_id,
            group_id: group.group_id,
            title: group.title.clone(),
            cause: case.cause().to_owned(),
            status: None,
            why: None,
            fix_plan: plan.clone(),
            probes: Value::Array(Vec::new()),
            evidence_id: None,
            attempt_id: None,
            held: None,
        };
        details.extend(case.groups.iter().map(detail));
        causes.push(CauseReport {
            cause: case.cause().to_owned(),
            title: case.title.clone(),
            app: case.app.clone(),
            confidence: case.confidence().to_owned(),
            finding: case.finding.as_ref().and_then(|found| serde_json::to_value(found).ok()),
            fix_plan: plan,
            actions: Vec::new(),
            groups: case.groups.len(),
        });
    }
    let results = Results { total_errors: details.len(), details, ..Results::default() };
    Report {
        success: true,
        run_id: None,
        status: None,
        dry_run: true,
        started_at: None,
        finished_at: None,
        note: None,
        causes,
        results,
    }
}

pub(super) async fn of_run(db: &Db, run: Run, actions: Vec<ActionRun>) -> Result<Report> {
    let known = runs::causes(db, run.id).await?;
    let subjects = attempts::subjects(db, run.id).await?;
    let mut details = Vec::new();
    for attempt in attempts::of_run(db, run.id).await? {
        let cause = known.iter().find(|cause| cause.id == attempt.cause_id);
        let subject = subjects.iter().find(|subject| subject.attempt_id == attempt.id);
        details.push(Detail {
            error_id: attempt.error_id,
            group_id: attempt.group_id,
            title: subject.map(|subject| subject.title.clone()).unwrap_or_default(),
            cause: cause.map_or("unknown", |cause| &cause.cause).to_owned(),
            status: attempt.verdict,
            why: attempt.why,
            fix_plan: cause.map(|cause| cause.plan.clone()).unwrap_or_default(),
            probes: attempt.checks.unwrap_or_else(|| Value::Array(Vec::new())),
            evidence_id: attempt.evidence_id,
            attempt_id: Some(attempt.id),
            held: attempt.held,
        });
    }
    let causes = known
        .into_iter()
        .map(|cause| CauseReport {
            groups: subjects.iter().filter(|subject| subject.cause_id == cause.id).count(),
            actions: actions.iter().filter(|action| action.cause_id == cause.id).cloned().collect(),
            cause: cause.cause,
            title: cause.title,
            app: cause.app,
            confidence: cause.confidence,
            finding: cause.finding,
            fix_plan: cause.plan,
        })
        .collect();
    let count =
        |wanted: fn(&Detail) -> bool| details.iter().filter(|detail| wanted(detail)).count();
    let results = Results {
        total_errors: details.len(),
        tested: count(|detail| detail.status.is_some()),
        resolved: count(|detail| detail.status == Some(Verdict::Resolved)),
        unresolved: count(|detail| detail.status.is_some_and(|status| status != Verdict::Resolved)),
        details,
    };
    Ok(Report {
        success: run.status != Status::Failed,
        run_id: Some(run.id),
        status: Some(run.status),
        dry_run: false,
        started_at: run.started_at,
        finished_at: run.finished_at,
        note: run.note,
        causes,
        results,
    })
}

/// What a verdict is called in sentences.
pub fn verdict_text(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Resolved) => "resolved",
        Some(Verdict::StillFailing) => "still failing",
        Some(Verdict::Inconclusive) => "inconclusive",
        Some(Verdict::AwaitingApproval) => "awaiting approval",
        None => "not tested yet",
    }
}

/// The report for people, in Markdown; the chat and the command line show the same text.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(args);
        text.push('\n');
    };
    let results = &report.results;
    match (report.run_id, results.total_errors) {
        (_, 0) => line(format_args!("There is no open error to repair.")),
        (None, all) => line(format_args!(
            "A run would test {all} {} of {} {}.",
            plural(all, "error", "errors"),
            report.causes.len(),
            plural(report.causes.len(), "cause", "causes")
        )),
        (Some(id), all) => line(format_args!(
            "Repair run {id}: {} of {all} {} resolved, {} not.",
            results.resolved,
            plural(all, "error", "errors"),
            results.unresolved
        )),
    }
    for cause in &report.causes {
        line(format_args!("\n## {} ({})", flat(&cause.title), cause.confidence));
        let plan: Plan = serde_json::from_value(cause.fix_plan.clone()).unwrap_or_default();
        if !plan.explanation.is_empty() {
            line(format_args!("\n{}", plan.explanation));
        }
        let of_cause: Vec<&Detail> = results
            .details
            .iter()
            .filter(|detail| detail.cause == cause.cause && detail.fix_plan == cause.fix_plan)
            .collect();
        if of_cause.iter().any(|detail| detail.status != Some(Verdict::Resolved)) {
            line(format_args!("\nWhat to do:"));
            for (number, step) in plan.steps.iter().enumerate() {
                line(format_args!("{}. {}", number + 1, step_text(step)));
            }
        }
        for action in &cause.actions {
            line(format_args!("\n`{}`: {}", action.argv.join(" "), told(action)));
        }
        line(format_args!(""));
        for detail in of_cause.iter().take(50) {
            line(format_args!(
                "- **{}**: {} (error {}). {}",
                verdict_text(detail.status),
                flat(&detail.title),
                detail.error_id,
                detail.why.as_deref().map(flat).unwrap_or_default()
            ));
            for probe in detail.probes.as_array().into_iter().flatten().take(8) {
                let passed = if probe["passed"] == true { "passes" } else { "fails" };
                line(format_args!(
                    "  - {} {}: {passed} ({}, {} ms)",
                    probe["when"].as_str().unwrap_or_default(),
                    probe["name"].as_str().unwrap_or_default(),
                    flat(probe["why"].as_str().unwrap_or_default()),
                    probe["latency_ms"]
                ));
            }
        }
        if of_cause.len() > 50 {
            line(format_args!("- and {} more", of_cause.len() - 50));
        }
    }
    text
}

/// What became of an action.
fn told(action: &ActionRun) -> String {
    let status = match action.status {
        action::Status::Proposed => "waits for an operator's approval",
        action::Status::Approved => "is approved",
        action::Status::Running => "is running",
        action::Status::Succeeded => "succeeded",
        action::Status::Failed => "failed",
        action::Status::TimedOut => "did not end in time",
        action::Status::Rejected => "was rejected",
        action::Status::Expired => "expired",
        action::Status::Unknown => "was interrupted; what it did is unknown",
        action::Status::Undone => "was undone",
    };
    let by = action.decided_by.as_deref().map(|by| format!(" (decided by {by})"));
    let detail = action.detail.as_deref().map(|detail| format!(": {}", flat(detail)));
    format!("{status}{}{}", by.unwrap_or_default(), detail.unwrap_or_default())
}

/// A step of a plan as a sentence.
pub fn step_text(step: &Step) -> String {
    match step {
        Step::Manual { text } => text.clone(),
        Step::Action { name, argv, record, blocked, .. } => {
            let mut text = format!("Run {name}: `{}`", argv.join(" "));
            if let Some(record) = record {
                let _ = write!(text, " ({record})");
            }
            if let Some(blocked) = blocked {
                let _ = write!(text, "; not now: {blocked}");
            }
            text
        }
        Step::Probe { request, shared: None, .. } => format!("Lux checks with {request}"),
        Step::Probe { request, shared: Some(shared), .. } => {
            format!("Lux checks with {request}, as the error names {}", flat(shared))
        }
    }
}

fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// Text of an error on one line, without what Markdown would act upon.
fn flat(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !matches!(c, '`' | '*' | '<' | '>' | '[' | ']'))
        .take(300)
        .collect()
}
