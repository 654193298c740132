//! "Fix it": the chat asks for a repair run and tells what became of it.

use std::time::Duration;

use serde_json::Value;

use super::answer::Answer;
use crate::{
    error::Result,
    repair::{
        Repair,
        action::Status,
        report::{self, Report},
        store::runs::{Run, Scope, Trigger},
    },
};

use super::Owner;

/// What an answer says about a run.
pub(super) struct Told {
    pub answer: Answer,
    pub results: Option<Value>,
}

/// Starts a run over the open errors (of one application, or of these groups), or finds the
/// one under way.
pub(super) async fn start(
    repair: &Repair,
    owner: &Owner,
    app: Option<String>,
    groups: Option<Vec<i64>>,
) -> Result<Run> {
    let scope = match groups {
        Some(groups) => repair.scope(owner.organization, None, Some(groups), app).await?,
        None => Scope { groups: None, app },
    };
    repair.start(owner.organization, Trigger::Chat, &owner.author, &scope).await
}

/// Waits for a run's end, at most so long, and tells what became of it.
pub(super) async fn tell(repair: &Repair, owner: &Owner, run: i64, most: Duration) -> Result<Told> {
    let settled = repair.settled(owner.organization, run, most).await?;
    let report = repair.report(owner.organization, run).await?;
    let results = serde_json::to_value(&report.results).map_err(anyhow::Error::from)?;
    let mut text = report::markdown(&report);
    if !settled {
        text = format!(
            "Repair run {run} is under way ({} of {} tested so far). Ask \"fix it\" again to hear \
             how it stands, or follow it with `lux repair --follow {run}`.\n",
            report.results.tested, report.results.total_errors
        );
    }
    let waits = waiting(&report);
    if settled && !waits.is_empty() {
        text.push_str("\nThese wait for an approval:\n");
        for line in waits {
            text.push_str(&line);
        }
    }
    Ok(Told { answer: Answer::of(text), results: Some(results) })
}

fn waiting(report: &Report) -> Vec<String> {
    report
        .causes
        .iter()
        .flat_map(|cause| &cause.actions)
        .filter(|action| action.status == Status::Proposed)
        .map(|action| {
            format!("- `{}`: `lux repair --approve {}`\n", action.argv.join(" "), action.id)
        })
        .collect()
}
