//! Closing the loop: open errors → causes → plans → allowed actions → checks → verdict
//! with evidence → watch.
//!
//! [`Repair::start`] stores a wish and queues it; the reconciler (`run`) carries it on
//! from the database alone. [`verdict`] decides, by rule; `watching` tries failing
//! requests while errors are live, and sees whether resolutions hold.

mod acting;
pub mod action;
mod cases;
mod checks;
mod fit;
mod forget;
pub mod plan;
mod proposal;
pub mod report;
pub mod rhythm;
mod routes;
mod run;
mod steps;
pub mod store;
pub mod verdict;
mod watching;

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    app::App,
    auth::{Caller, OrganizationId},
    clock,
    diagnose::{Analyst, Captured, Diagnoser},
    error::{Error, Result},
    jobs::{Done, Jobs, Lease, NewJob},
    probe::Probes,
};

use action::{ActionRun, Actions, Catalogue, Decided, Rendered, Word};
use cases::Case;
pub use forget::FORGET;
use plan::Plan;
use proposal::Choice;
pub use proposal::ModelPlan;
use report::Report;
pub use routes::router;
pub use steps::steps;
use store::{
    events, recipes,
    runs::{self, Run, Scope, Trigger},
};

/// The job that carries a run on.
const JOB: &str = "repair";

/// Checks that a plan shows: those of the errors with the most events, their own first.
const MOST_PROBES: usize = 20;

/// Groups that one call may name.
const MOST_GROUPS: usize = 1000;

fn job(run: i64) -> NewJob {
    NewJob { max_attempts: run::TRIES + 1, ..NewJob::new(JOB, json!({ "run": run })) }
}

/// Repairs errors. Cheap to clone.
#[derive(Clone)]
pub struct Repair {
    app: App,
    diagnoser: Diagnoser,
    analyst: Analyst,
    probes: Probes,
    actions: Actions,
}

impl Repair {
    /// Takes up the work: registers the job, and watches.
    pub fn start_up(app: App, diagnoser: Diagnoser, probes: Probes, actions: Actions) -> Self {
        let analyst = Analyst::new(app.clone(), diagnoser.clone(), probes.clone());
        let repair = Self { app, diagnoser, analyst, probes, actions };
        let handler = repair.clone();
        repair.app.jobs.handle(JOB, 2, move |lease: Lease| {
            let repair = handler.clone();
            async move { repair.carry_on(lease).await }
        });
        let handler = repair.clone();
        repair.app.jobs.handle(FORGET, 1, move |lease: Lease| {
            let repair = handler.clone();
            async move { repair.forget(&lease).await }
        });
        repair.watch();
        repair
    }

    /// The allow-list of actions.
    pub fn catalogue(&self) -> &Catalogue {
        self.actions.catalogue()
    }

    async fn carry_on(&self, lease: Lease) -> Result<Done> {
        if let Some(id) = lease.payload["run"].as_i64() {
            return self.drive(&lease, id).await;
        }
        // A schedule's tick: the run is made (or found again) and carried on by this job.
        let scope = Scope::default();
        let organization = OrganizationId::FIRST;
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        let by = "schedule";
        let now = clock::now();
        let (run, _) =
            runs::open(&mut tx, organization, Trigger::Schedule, by, &scope, now).await?;
        tx.commit().await?;
        self.drive(&lease, run.id).await
    }

    /// Asks for a run; one of the same scope that has not ended is that run.
    pub async fn start(
        &self,
        organization: OrganizationId,
        trigger: Trigger,
        by: &str,
        scope: &Scope,
    ) -> Result<Run> {
        let mut tx = self.app.db.begin().await?;
        let (run, is_new) =
            runs::open(&mut tx, organization, trigger, by, scope, clock::now()).await?;
        if is_new {
            Jobs::enqueue_in(&mut tx, job(run.id)).await?;
        }
        tx.commit().await?;
        self.app.jobs.wake();
        Ok(run)
    }

    /// Approves or rejects an action, and lets its run go on.
    pub async fn decide(
        &self,
        caller: &Caller,
        action: i64,
        decided: Decided,
        word: Word,
    ) -> Result<ActionRun> {
        let run = self.actions.say(caller, action, decided, word).await?;
        self.decided(caller.organization, run.run_id).await?;
        Ok(run)
    }

    /// Lets a run that waits go on after an operator decided about one of its actions.
    async fn decided(&self, organization: OrganizationId, run: i64) -> Result<()> {
        let waiting = runs::find(&self.app.db, organization, run).await?;
        if let Some(run) = waiting.filter(|run| run.status == runs::Status::Waiting) {
            self.resume(run.id, run.finished_at).await?;
        }
        Ok(())
    }

    /// Once for each time a run came to wait, however many notice that it need not.
    async fn resume(&self, run: i64, waits_since: Option<DateTime<Utc>>) -> Result<()> {
        let since = waits_since.unwrap_or_default().timestamp_micros();
        self.app.jobs.enqueue(job(run).dedupe(format!("repair:{run}:{since}"))).await?;
        Ok(())
    }

    /// The scope of a call that names an error, groups, or neither.
    pub async fn scope(
        &self,
        organization: OrganizationId,
        error: Option<i64>,
        groups: Option<Vec<i64>>,
        app: Option<String>,
    ) -> Result<Scope> {
        let mut groups = groups;
        if let Some(error) = error {
            let found =
                crate::errors::store::events::find(&self.app.db, organization, error).await?;
            let event = found.ok_or(Error::NotFound("error"))?;
            groups.get_or_insert_default().push(event.event.group_id);
        }
        if let Some(ids) = &mut groups {
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                return Err(Error::invalid("group_ids is empty; leave it out to repair all"));
            }
            if ids.len() > MOST_GROUPS {
                return Err(Error::TooLarge(format!(
                    "{} groups at once are too many; name at most {MOST_GROUPS}",
                    ids.len()
                )));
            }
            for id in ids.iter_mut() {
                let found =
                    crate::errors::store::groups::find(&self.app.db, organization, *id).await?;
                // What was merged is repaired with the group that it is part of.
                *id = found.ok_or(Error::NotFound("group"))?.id;
            }
            ids.sort_unstable();
            ids.dedup();
        }
        Ok(Scope { groups, app })
    }

    /// What a run would do, without doing any of it.
    pub async fn preview(&self, organization: OrganizationId, scope: &Scope) -> Result<Report> {
        let cases = cases::collect(&self.app.db, &self.diagnoser, organization, scope).await?;
        let plans = self.plans(organization, &cases).await?;
        Ok(report::preview(&cases, plans))
    }

    /// What is behind an open group, as a run would begin with it, by rule alone: `None` if the
    /// group is not open or has no events.
    pub async fn explain(
        &self,
        organization: OrganizationId,
        group: i64,
    ) -> Result<Option<report::CauseReport>> {
        let scope = Scope { groups: Some(vec![group]), app: None };
        let cases = cases::collect(&self.app.db, &self.diagnoser, organization, &scope).await?;
        let Some(case) = cases.into_iter().next() else { return Ok(None) };
        let plan = plan::plan(case.finding.as_ref(), &case.title, &[], &[]);
        Ok(report::preview(&[case], vec![plan]).causes.into_iter().next())
    }

    /// What became of a run so far.
    pub async fn report(&self, organization: OrganizationId, id: i64) -> Result<Report> {
        let found = runs::find(&self.app.db, organization, id).await?;
        let run = found.ok_or(Error::NotFound("run"))?;
        let actions = self.actions.of_run(organization, id).await?;
        report::of_run(&self.app.db, run, actions).await
    }

    /// Waits until a run has settled, at most so long.
    pub async fn settled(
        &self,
        organization: OrganizationId,
        id: i64,
        most: Duration,
    ) -> Result<bool> {
        let settled = async {
            loop {
                let run = runs::find(&self.app.db, organization, id).await?;
                if run.ok_or(Error::NotFound("run"))?.status.is_settled() {
                    return Ok(true);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(most, settled).await.unwrap_or(Ok(false))
    }

    async fn plans(&self, organization: OrganizationId, cases: &[Case]) -> Result<Vec<Plan>> {
        let chooser =
            checks::Chooser::new(&self.app, &self.probes, &self.diagnoser, organization).await?;
        let mut plans = Vec::with_capacity(cases.len());
        let mut choices = Vec::with_capacity(cases.len());
        for case in cases {
            let mut probes = Vec::new();
            let mut seen = HashSet::new();
            let captured = case.captured();
            for (group, own) in case.groups.iter().zip(&case.own) {
                let path = group.endpoint.as_deref().and_then(|text| text.split('?').next());
                let wanted = checks::Wanted {
                    app: &group.app,
                    method: group.method.as_deref(),
                    endpoint: path,
                    requested: group.endpoint.as_deref(),
                    cause: case.cause(),
                    own: own.as_ref(),
                    captured: &captured,
                };
                let mut checks = chooser.choose(&wanted).await;
                for (_, probe) in checks.probes {
                    let key = probe.key();
                    let shared = checks.tied.remove(&key);
                    if seen.insert(key) && probes.len() < MOST_PROBES {
                        probes.push((probe, shared));
                    }
                }
            }
            let ranked = self.ranked(organization, case.cause(), &captured).await?;
            plans.push(plan::plan(case.finding.as_ref(), &case.title, &ranked, &probes));
            let probes = probes.into_iter().map(|(probe, _)| probe).collect();
            choices.push(Choice { ranked, probes });
        }
        self.draft(organization, cases, &choices, &mut plans).await;
        Ok(plans)
    }

    /// The actions for a cause with their record here, the best proven first.
    async fn ranked(
        &self,
        organization: OrganizationId,
        cause: &str,
        known: &Captured,
    ) -> Result<Vec<(Rendered, Option<String>)>> {
        let records = recipes::of_cause(&self.app.db, organization, cause).await?;
        let actions = self.actions.for_cause(organization, cause, known).await?;
        let record =
            |action: &Rendered| records.iter().find(|record| record.recipe == action.action);
        let rank = |action: &Rendered| record(action).map_or(0.5, recipes::Recipe::rank);
        let mut ranked: Vec<(Rendered, Option<String>)> = actions
            .into_iter()
            .map(|action| {
                let text = record(&action).map(recipes::Recipe::text);
                (action, text)
            })
            .collect();
        ranked.sort_by(|(a, _), (b, _)| rank(b).total_cmp(&rank(a)));
        Ok(ranked)
    }

    /// Notes a step for those who follow the run. A step that cannot be noted costs its
    /// followers a line, not the run its end.
    async fn tell(&self, run: i64, kind: &str, data: Value) {
        if let Err(error) = events::add(&self.app.db, run, kind, data, clock::now()).await {
            tracing::warn!(%error, run, kind, "a step of a repair run was not noted");
        }
    }
}
