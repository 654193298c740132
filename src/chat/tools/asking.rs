//! Tools around probes, repair runs and actions. What changes anything is done only for
//! who asked for it; for all others it is a proposal.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Found, Item, Tools, User, reading::word};
use crate::{
    diagnose::Finding,
    error::{Error, Result},
    errors::store::{groups, open},
    probe::{Context, Outcome, Phase},
    repair::{
        action::Rendered,
        report,
        store::runs::{self, Scope, Trigger},
    },
};

/// Runs that are listed.
const RUNS: i64 = 5;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunProbe {
    /// The probe's name, from `list_probes`.
    name: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RepairRuns {
    /// The run to be told in full; without it the latest are listed.
    run_id: Option<i64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListActions {
    /// The group of errors that is to be mended, from `list_errors`.
    group_id: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartRepair {
    /// Only these groups of errors; all open ones if left out.
    group_ids: Option<Vec<i64>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProposeAction {
    /// The action's name, from `list_actions`.
    action: String,
    /// The group of errors that it is to mend.
    group_id: i64,
}

impl Tools {
    pub(super) async fn list_probes(&self, user: &User) -> Result<Found> {
        let probes = self.probes.all(user.organization).await?;
        let mine = probes
            .iter()
            .filter(|probe| user.app.is_none() || probe.app.is_none() || probe.app == user.app);
        let lines: Vec<String> = mine
            .map(|probe| {
                let covers = match probe.covers.as_slice() {
                    [] => String::new(),
                    covers => format!(", covers {}", covers.join(", ")),
                };
                format!("- {}: {}{covers}", probe.name, probe.check)
            })
            .collect();
        Ok(Found::of(format!("{} probes.\n{}", lines.len(), lines.join("\n"))))
    }

    pub(super) async fn run_probe(&self, user: &User, wanted: &RunProbe) -> Result<Found> {
        let found = self.probes.find(user.organization, &wanted.name).await?;
        let probe = found
            .ok_or_else(|| Error::invalid("there is no such probe; list_probes names them"))?;
        if !probe.check.is_safe() {
            return Ok(Found {
                summary: format!(
                    "{} may change data, so only a person runs it; the operator has a button now.",
                    probe.name
                ),
                proposals: vec![json!({
                    "kind": "probe",
                    "title": format!("Run the probe {}", probe.name),
                    "method": "POST",
                    "path": format!("/api/probes/{}/run", probe.name),
                    "body": {},
                })],
                ..Found::default()
            });
        }
        let context = Context {
            organization: user.organization,
            attempt: None,
            phase: Phase::Manual,
            failing: None,
        };
        let sample = self.probes.run(&probe, &context).await?;
        let says = match sample.outcome {
            Outcome::Pass => "passes",
            Outcome::Fail => "fails",
            Outcome::Unclear => "answers neither way",
        };
        Ok(Found {
            summary: format!("{} {says} ({} ms).", sample.probe, sample.latency_ms),
            items: vec![Item {
                source: "probe".to_owned(),
                line: sample.id.unsigned_abs(),
                about: format!("result {} at {}", sample.id, sample.at.to_rfc3339()),
                text: format!("{}\n{}", sample.why, sample.excerpt.unwrap_or_default()),
            }],
            ..Found::default()
        })
    }

    pub(super) async fn repair_runs(&self, user: &User, wanted: &RepairRuns) -> Result<Found> {
        if let Some(id) = wanted.run_id {
            let report = self.repair.report(user.organization, id).await?;
            return Ok(Found {
                summary: format!(
                    "Run {id}: {} of {} resolved.",
                    report.results.resolved, report.results.total_errors
                ),
                items: vec![Item {
                    source: "repair".to_owned(),
                    line: id.unsigned_abs(),
                    about: format!("the report of run {id}"),
                    text: report::markdown(&report),
                }],
                ..Found::default()
            });
        }
        let runs = runs::list(&self.app.db, user.organization, i64::MAX, RUNS).await?;
        let lines: Vec<String> = runs
            .iter()
            .map(|run| {
                let (id, at) = (run.id, run.created_at.to_rfc3339());
                format!("- run {id} at {at}: {} of {} resolved", run.resolved, run.total)
            })
            .collect();
        Ok(Found::of(format!("{} runs.\n{}", lines.len(), lines.join("\n"))))
    }

    pub(super) async fn list_actions(&self, user: &User, wanted: &ListActions) -> Result<Found> {
        let (finding, actions) = self.actions_for(user, wanted.group_id).await?;
        if actions.is_empty() {
            return Ok(Found::of(format!(
                "No action of the allow-list is for the cause {}.",
                finding.cause
            )));
        }
        let lines: Vec<String> = actions
            .iter()
            .map(|action| {
                let blocked = match &action.blocked {
                    Some(why) => format!("; may not run now: {why}"),
                    None => String::new(),
                };
                let (name, argv) = (&action.action, action.argv.join(" "));
                format!(
                    "- {name}: `{argv}`, policy {}, risk {}{blocked}",
                    word(action.policy),
                    word(action.risk)
                )
            })
            .collect();
        Ok(Found::of(format!("For the cause {}:\n{}", finding.cause, lines.join("\n"))))
    }

    pub(super) async fn start_repair(&self, user: &User, wanted: StartRepair) -> Result<Found> {
        let groups = wanted.group_ids;
        let scope = self.repair.scope(user.organization, None, groups, user.app.clone()).await?;
        if !user.wants_repair {
            return Ok(Found {
                summary: "Nothing was started: the operator did not ask for a repair in this \
                          message. They have a button now."
                    .to_owned(),
                proposals: vec![repair_button(&scope)],
                ..Found::default()
            });
        }
        let run = self.repair.start(user.organization, Trigger::Chat, &user.name, &scope).await?;
        Ok(Found {
            summary: format!(
                "Repair run {} is under way. repair_runs tells what became of it.",
                run.id
            ),
            run_id: Some(run.id),
            ..Found::default()
        })
    }

    pub(super) async fn propose_action(
        &self,
        user: &User,
        wanted: &ProposeAction,
    ) -> Result<Found> {
        let (finding, actions) = self.actions_for(user, wanted.group_id).await?;
        let Some(action) = actions.into_iter().find(|action| action.action == wanted.action) else {
            return Err(Error::Invalid(format!(
                "the allow-list has no such action for the cause {}; list_actions names them",
                finding.cause
            )));
        };
        let scope = Scope { groups: Some(vec![wanted.group_id]), app: None };
        let blocked = match &action.blocked {
            Some(why) => format!(" It may not run now: {why}."),
            None => String::new(),
        };
        Ok(Found {
            summary: format!(
                "Nothing was run. The operator sees a button that starts a repair of group {}, \
                 in which {} would run `{}` after their approval.{blocked}",
                wanted.group_id,
                action.action,
                action.argv.join(" ")
            ),
            proposals: vec![json!({
                "kind": "action",
                "title": format!("Repair group {} with {}", wanted.group_id, action.action),
                "argv": action.argv,
                "risk": action.risk,
                "policy": action.policy,
                "hash": action.hash,
                "method": "POST",
                "path": "/api/auto-repair/start",
                "body": { "group_ids": scope.groups },
            })],
            ..Found::default()
        })
    }

    /// The cause of a group's newest event, and what the allow-list has for it.
    async fn actions_for(&self, user: &User, group: i64) -> Result<(Finding, Vec<Rendered>)> {
        let (db, organization) = (&self.app.db, user.organization);
        let known = groups::find(db, organization, group).await?;
        known
            .filter(|group| user.app.as_ref().is_none_or(|app| group.app == *app))
            .ok_or_else(|| Error::invalid("there is no such group; list_errors names them"))?;
        let events = open::these(db, organization, &[group]).await?;
        let explained = self.diagnoser.explain(events).await?;
        let finding = explained.into_iter().flatten().next().ok_or_else(|| {
            Error::invalid("the group's cause is not known, so no action is for it")
        })?;
        let actions =
            self.actions.for_cause(organization, &finding.cause, &finding.captured).await?;
        Ok((finding, actions))
    }
}

/// "Run repair", as a person may click it.
pub(in crate::chat) fn repair_button(scope: &Scope) -> Value {
    json!({
        "kind": "repair",
        "title": "Run repair",
        "method": "POST",
        "path": "/api/auto-repair/start",
        "body": { "app": scope.app, "group_ids": scope.groups },
    })
}
