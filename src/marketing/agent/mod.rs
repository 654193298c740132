//! The eleven agents: each reads tables of Lux, says what its rules (and a model, if there is
//! one) make of them, with citations, and proposes drafts. None has an effect by itself.
//!
//! A run is a row and a job: asked for twice it is made once, over all replicas. Schedules are
//! the job queue's; what an operator sets is read again every few seconds by each replica.

pub mod input;
mod model;
pub mod report;
pub mod roster;
mod routes;
mod setting;
pub mod store;
mod take;
mod work;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    error::{Error, Result},
    health::Health,
    jobs::{Done, Jobs, Lease, NewJob},
    repair::Repair,
};

use report::{Kind, Report};
pub use roster::{AGENTS, Agent, Group, Key};
pub use routes::router;
pub use setting::{Change, Paused, Standing};
use store::{Ended, Run, Trigger};

/// The job that carries a run out.
const JOB: &str = "agent";

/// How often settings are read again, and how often old runs are removed.
const LOOK: Duration = Duration::from_secs(2);
const FORGET: Duration = Duration::from_hours(1);
const FORGET_BATCH: i64 = 500;

/// Runs of agents, by hand and by schedule. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    app: App,
    health: Health,
    repair: Repair,
}

/// Whether an operator can have something made of a proposal; the others are texts to copy.
pub fn may_be_taken(kind: Kind) -> bool {
    matches!(kind, Kind::Campaign | Kind::Segment)
}

impl Agents {
    /// Takes up the work: registers the job, and keeps the schedules as they are set.
    pub fn start(app: App, health: Health, repair: Repair) -> Self {
        let agents = Self { app, health, repair };
        let handler = agents.clone();
        agents.app.jobs.handle(JOB, 2, move |lease: Lease| {
            let agents = handler.clone();
            async move { agents.carry_out(lease).await }
        });
        let looking = agents.clone();
        agents.app.tasks.spawn(async move { looking.keep_schedules().await });
        agents
    }

    async fn keep_schedules(&self) {
        let shutdown = self.app.shutdown.clone();
        let mut timer = tokio::time::interval(LOOK);
        let mut forgot: Option<std::time::Instant> = None;
        let mut set = None;
        while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
            match store::settings(&self.app.db, OrganizationId::FIRST).await {
                Ok(settings) if set.as_ref() != Some(&settings) => {
                    self.app.jobs.reschedule(JOB, setting::schedules(&self.app.config, &settings));
                    set = Some(settings);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the agents' settings could not be read"),
            }
            if forgot.is_none_or(|at| at.elapsed() > FORGET) {
                let keep = TimeDelta::from_std(self.app.config.repair.keep);
                let before = clock::now() - keep.unwrap_or(TimeDelta::days(365));
                match store::forget(&self.app.db, before, FORGET_BATCH).await {
                    Ok(removed) if removed < FORGET_BATCH.unsigned_abs() => {
                        forgot = Some(clock::instant());
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "old runs of agents were not removed"),
                }
            }
        }
    }

    /// Asks for a run; one of the same agent that has not ended is that run.
    ///
    /// [`Error::Conflict`] if the agent is switched off.
    pub async fn ask(
        &self,
        organization: OrganizationId,
        key: Key,
        trigger: Trigger,
        by: &str,
    ) -> Result<Run> {
        if !self.standing(organization, key).await?.is_on {
            return Err(Error::Conflict(format!(
                "{} is off; switch it on first (PATCH /api/agents/{} with {{\"on\": true}})",
                key.agent().name,
                key.as_str()
            )));
        }
        let mut tx = self.app.db.begin().await?;
        let (id, is_new) =
            store::open(&mut tx, organization, key, trigger, by, clock::now()).await?;
        if is_new {
            Jobs::enqueue_in(&mut tx, NewJob::new(JOB, json!({ "run": id }))).await?;
        }
        tx.commit().await?;
        self.app.jobs.wake();
        self.run(organization, id).await
    }

    /// A run with all that it read and said.
    pub async fn run(&self, organization: OrganizationId, id: i64) -> Result<Run> {
        let found = store::find(&self.app.db, organization, id).await?;
        found.ok_or(Error::NotFound("run"))
    }

    /// Runs of an agent below `before`, the newest first.
    pub async fn runs(
        &self,
        organization: OrganizationId,
        key: Key,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Run>> {
        Ok(store::list(&self.app.db, organization, key, before, limit).await?)
    }

    /// The newest run of each agent that has run.
    pub async fn newest(&self, organization: OrganizationId) -> Result<BTreeMap<Key, Run>> {
        Ok(store::newest(&self.app.db, organization).await?)
    }

    /// Who signed up since a time, against as long before it: by source, by segment; each table
    /// with its statement.
    pub async fn signups(
        &self,
        organization: OrganizationId,
        since: DateTime<Utc>,
    ) -> Result<input::Inputs> {
        let mut gather = input::Gather::new(&self.app, organization, clock::now());
        work::signups(&mut gather, since).await?;
        Ok(gather.inputs)
    }

    /// Waits until a run is over, at most so long; how it stands then.
    pub async fn settled(
        &self,
        organization: OrganizationId,
        id: i64,
        most: Duration,
    ) -> Result<Run> {
        let until = clock::instant() + most;
        loop {
            let run = self.run(organization, id).await?;
            if run.status.is_settled() || clock::instant() >= until {
                return Ok(run);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One job: a run that was asked for, or a schedule's tick.
    async fn carry_out(&self, lease: Lease) -> Result<Done> {
        let now = clock::now();
        let id = if let Some(id) = lease.payload["run"].as_i64() {
            id
        } else {
            let Some(id) = self.of_tick(&lease, now).await? else { return Ok(Done::Finished) };
            id
        };
        let Some(run) = store::load(&self.app.db, id).await? else { return Ok(Done::Finished) };
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        let begun = store::begin(&mut tx, id, now).await?;
        tx.commit().await?;
        if !begun {
            return Ok(Done::Finished);
        }
        let ended = match self.work(&run).await {
            Ok(ended) => ended,
            Err(error) => {
                tracing::warn!(%error, agent = run.agent.as_str(), "an agent's run failed");
                let why = match &error {
                    Error::Database(_) | Error::Internal(_) | Error::Io(_) => {
                        "Lux has a fault of its own; its log says more".to_owned()
                    }
                    other => other.to_string(),
                };
                Ended {
                    outcome: format!("Stopped early: {why}"),
                    error: Some(why),
                    ..Ended::default()
                }
            }
        };
        metrics::counter!(
            "lux_agent_runs_total",
            "agent" => run.agent.as_str(),
            "result" => if ended.error.is_some() { "failed" } else { "done" },
        )
        .increment(1);
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        store::end(&mut tx, id, &ended, clock::now()).await?;
        tx.commit().await?;
        Ok(Done::Finished)
    }

    /// The run of a schedule's tick; `None` if the agent is off or paused by now, or has one under
    /// way.
    async fn of_tick(&self, lease: &Lease, now: DateTime<Utc>) -> Result<Option<i64>> {
        let organization = OrganizationId::FIRST;
        let key = lease.payload["agent"].as_str().and_then(|key| key.parse::<Key>().ok());
        let Some(key) = key else { return Ok(None) };
        let standing = self.standing(organization, key).await?;
        if !standing.is_on || standing.paused.is_some() {
            return Ok(None);
        }
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        let trigger = Trigger::Schedule;
        let (id, is_new) =
            store::open(&mut tx, organization, key, trigger, "schedule", now).await?;
        tx.commit().await?;
        // An earlier attempt of this job may have made it.
        Ok((is_new || lease.attempt > 1).then_some(id))
    }

    /// Reads, judges, and asks the model if there is one.
    async fn work(&self, run: &Run) -> Result<Ended> {
        let organization = run.organization();
        let settings = store::settings(&self.app.db, organization).await?;
        let pages = settings.get(&run.agent).map_or(&[][..], |setting| &setting.pages);
        let job = work::Job { organization, by: &run.requested_by, pages };
        let inputs = work::collect(self, run.agent, &job).await?;
        let rules = work::advise(run.agent, &inputs);
        let mut ended = Ended { engine: Some("template"), ..Ended::default() };
        let mut report = rules.clone();
        // Where there is nothing there is nothing to ask about.
        if self.app.llm.is_on() && !rules.is_idle() {
            let by = run.requested_by.as_str();
            match model::ask(&self.app, organization, run.agent, by, &inputs, &rules).await {
                Ok(spoken) => {
                    report = spoken.report;
                    let told = spoken.told;
                    ended.engine = Some("model");
                    ended.prompt = Some(spoken.prompt);
                    ended.model = Some(told.model);
                    ended.tokens_in = i64::try_from(told.tokens_in).unwrap_or(i64::MAX);
                    ended.tokens_out = i64::try_from(told.tokens_out).unwrap_or(i64::MAX);
                    ended.cost_micros = told.cost_micros;
                }
                Err(why) => report.note(format!("{why} {TEMPLATE}")),
            }
        } else if !self.app.llm.is_on() {
            report.note(format!("No model is connected. {TEMPLATE}"));
        }
        ended.outcome = one_line(&report);
        ended.result = Some(report);
        ended.inputs = inputs.0;
        Ok(ended)
    }
}

/// What is said of a result that no model had a part in.
const TEMPLATE: &str =
    "This is Lux's own template: its findings are counted by rules, its drafts have gaps to fill.";

/// What came of it, for the tile.
fn one_line(report: &Report) -> String {
    const LONGEST: usize = 200;
    let mut line: String = report.summary.chars().take(LONGEST).collect();
    if report.summary.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}
