//! What a run does about a cause that is seen to be live: an action of the allow-list, at
//! most one, once; its undo where it did not help; else the verdict.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Repair,
    action::{ActionRun, Rendered, Status as ActionStatus},
    plan::{Plan, Step},
    run::Work,
    store::{
        attempts::{self, Subject},
        runs::{self, Run},
    },
    verdict::{Judgement, Verdict},
};
use crate::{
    clock,
    config::Policy,
    diagnose::Confidence,
    error::{Error, Result},
    errors::store::groups,
    jobs::Lease,
};

/// An error without a red check is live if it came so lately.
const LIVE: TimeDelta = TimeDelta::minutes(10);

impl Repair {
    /// For groups of one cause that are not proven to be resolved: does what may be done,
    /// else gives them their verdict. True if something was done, and they are checked on.
    pub(super) async fn act(
        &self,
        lease: &Lease,
        run: &Run,
        work: &mut Work,
        cause: i64,
        groups: Vec<(Subject, Judgement)>,
    ) -> Result<bool> {
        let organization = run.organization();
        let done = self.actions.of_run(organization, run.id).await?;
        let of_cause: Vec<&ActionRun> = done
            .iter()
            .filter(|action| action.cause_id == cause && action.undo_of.is_none())
            .collect();
        let mut said = None;
        if let Some(action) = of_cause.iter().find(|action| action.status == ActionStatus::Approved)
        {
            match self.execute(lease, run, work, cause, action).await? {
                None => return Ok(true),
                Some(refusal) => said = Some(refusal),
            }
        }
        let waiting = of_cause.iter().find(|action| action.status == ActionStatus::Proposed);
        if let Some(action) = of_cause.iter().find(|action| action.status.was_run()) {
            // Began before a crash: what it did is there, and it never runs twice.
            let at = work.cause(cause).and_then(|cause| cause.acted_at);
            if at.is_none()
                && let Some(ended) = action.finished_at.or(action.started_at)
            {
                self.note_action(lease, work, cause, &action.action, ended).await?;
                return Ok(true);
            }
            let undone = match &action.undo {
                Some(_) if action.status != ActionStatus::Undone => {
                    refusable(self.actions.undo(organization, action.id, "lux").await)?
                }
                _ => None,
            };
            said = Some(ended_text(action, undone.as_ref()));
        } else if let Some(action) = of_cause
            .iter()
            .find(|action| matches!(action.status, ActionStatus::Rejected | ActionStatus::Expired))
        {
            said = Some(match action.status {
                ActionStatus::Expired => format!("the proposal {} expired", action.action),
                _ => format!("the proposal {} was rejected", action.action),
            });
        }
        let mut awaiting = waiting.map(|action| action.action.clone());
        if awaiting.is_none() && said.is_none() && Self::is_live(work, cause, &groups) {
            match self.choose_action(run, work, cause).await? {
                Some(rendered) if rendered.policy == Policy::Auto => {
                    let proposed =
                        self.actions.propose(organization, run.id, cause, &rendered, "lux").await?;
                    match self.execute(lease, run, work, cause, &proposed).await? {
                        None => return Ok(true),
                        Some(refusal) => said = Some(refusal),
                    }
                }
                Some(rendered) => {
                    self.actions.propose(organization, run.id, cause, &rendered, "lux").await?;
                    let told = json!({ "action": rendered.action, "argv": rendered.argv,
                                       "status": "proposed" });
                    self.tell(run.id, "action", told).await;
                    awaiting = Some(rendered.action);
                }
                None => {
                    if let Some(rendered) = self.suggested(run, work, cause).await? {
                        self.actions
                            .suggest(organization, run.id, cause, &rendered, "model")
                            .await?;
                        let told = json!({ "action": rendered.action, "argv": rendered.argv,
                                           "status": "proposed", "by": "model" });
                        self.tell(run.id, "action", told).await;
                        awaiting = Some(rendered.action);
                    }
                }
            }
        }
        for (subject, judgement) in groups {
            let (mut verdict, mut why) = match judgement {
                Judgement::StillFailing { why } => (Verdict::StillFailing, why),
                Judgement::Inconclusive { why } => (Verdict::Inconclusive, why),
                Judgement::Open | Judgement::Resolved { .. } => continue,
            };
            if let Some(action) = &awaiting {
                verdict = Verdict::AwaitingApproval;
                why = format!("{why}. The action {action} waits for an operator's approval");
            } else if let Some(said) = &said {
                why = format!("{why}. {said}");
            }
            let mut tx = self.app.db.begin().await?;
            lease.hold(&mut tx).await?;
            let checks = work.shown(run, &subject);
            let id = subject.attempt_id;
            attempts::judge(&mut tx, id, verdict, &why, checks, None, clock::now()).await?;
            tx.commit().await?;
            self.tell_verdict(run, &subject, verdict, &why).await;
        }
        Ok(false)
    }

    /// Nothing is done about what is not seen to fail: a red check, or where there is none,
    /// a confirmed cause and an error of these minutes.
    fn is_live(work: &Work, cause: i64, live: &[(Subject, Judgement)]) -> bool {
        let confirmed = work
            .cause(cause)
            .is_some_and(|cause| cause.confidence == Confidence::Confirmed.as_str());
        let open = |subject: &Subject| {
            matches!(subject.status, groups::Status::Unresolved | groups::Status::Regressed)
        };
        live.iter().filter(|(subject, _)| open(subject)).any(|(subject, judgement)| match judgement
        {
            Judgement::StillFailing { .. } => true,
            Judgement::Inconclusive { .. } => confirmed && clock::now() - subject.last_seen < LIVE,
            Judgement::Open | Judgement::Resolved { .. } => false,
        })
    }

    async fn choose_action(&self, run: &Run, work: &Work, cause: i64) -> Result<Option<Rendered>> {
        let Some(cause) = work.cause(cause) else { return Ok(None) };
        let ranked = self.ranked(run.organization(), &cause.cause, &cause.captured()).await?;
        Ok(ranked
            .into_iter()
            .map(|(rendered, _)| rendered)
            .find(|rendered| rendered.blocked.is_none() && rendered.policy != Policy::Never))
    }

    /// Where the playbook has no action that may run: the first one that the model's plan
    /// names. It is rendered anew; of the plan only the name counts.
    async fn suggested(&self, run: &Run, work: &Work, cause: i64) -> Result<Option<Rendered>> {
        let Some(cause) = work.cause(cause) else { return Ok(None) };
        let Ok(plan) = serde_json::from_value::<Plan>(cause.plan.clone()) else { return Ok(None) };
        let named: Vec<String> = plan
            .model
            .into_iter()
            .flat_map(|plan| plan.steps)
            .filter_map(|step| match step {
                Step::Action { name, .. } => Some(name),
                Step::Manual { .. } | Step::Probe { .. } => None,
            })
            .collect();
        if named.is_empty() {
            return Ok(None);
        }
        let nameable = self.actions.nameable(run.organization(), &cause.cause).await?;
        Ok(named.iter().find_map(|name| {
            let fits = |action: &&Rendered| action.action == *name && action.blocked.is_none();
            nameable.iter().find(fits).cloned()
        }))
    }

    /// Runs an action; what was measured before it does not count any more. Gives the reason
    /// where it may not run now (stopped, cooldown, used up).
    async fn execute(
        &self,
        lease: &Lease,
        run: &Run,
        work: &mut Work,
        cause: i64,
        action: &ActionRun,
    ) -> Result<Option<String>> {
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        tx.commit().await?;
        let organization = run.organization();
        let done = match self.actions.execute(organization, action.id, "lux").await {
            Ok(done) => done,
            Err(Error::Conflict(why)) => {
                return Ok(Some(format!("{} may not run now: {why}", action.action)));
            }
            Err(error) => return Err(error),
        };
        let told = json!({ "action": done.action, "argv": done.argv.0, "status": done.status,
                           "exit_code": done.exit_code });
        self.tell(run.id, "action", told).await;
        if done.status.was_run() {
            self.note_action(lease, work, cause, &done.action, clock::now()).await?;
        }
        Ok(None)
    }

    async fn note_action(
        &self,
        lease: &Lease,
        work: &mut Work,
        cause: i64,
        action: &str,
        at: DateTime<Utc>,
    ) -> Result<()> {
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        runs::acted(&mut tx, cause, action, at).await?;
        tx.commit().await?;
        if let Some(cause) = work.causes.iter_mut().find(|known| known.id == cause) {
            cause.acted_at = Some(at);
            cause.action = Some(action.to_owned());
        }
        Ok(())
    }
}

/// What was done, unless it may not be done now.
fn refusable(done: Result<ActionRun>) -> Result<Option<ActionRun>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Error::Conflict(why)) => {
            tracing::warn!(why, "an action is not taken back");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn ended_text(action: &ActionRun, undone: Option<&ActionRun>) -> String {
    let mut text = match action.status {
        ActionStatus::Succeeded | ActionStatus::Undone => {
            format!("{} ran and did not help", action.action)
        }
        ActionStatus::TimedOut => format!("{} did not end in time", action.action),
        ActionStatus::Unknown => {
            format!("{} was interrupted; what it did is unknown", action.action)
        }
        _ => match action.exit_code {
            Some(code) => format!("{} failed with exit code {code}", action.action),
            None => format!("{} failed", action.action),
        },
    };
    if let Some(undone) = undone {
        // Writing to a String cannot fail.
        let _ = write!(text, "; {} undid it", undone.action);
    }
    text
}
