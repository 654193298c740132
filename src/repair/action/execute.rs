//! Running what was approved, once: the intent is committed before anything happens, the
//! end after it. What lies between is unknown to whoever comes later, and stays so.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    Actions,
    audit::audit,
    child::{self, End, Ended, Interruption, Task},
    render::{Rendered, bound},
    store::{self, ActionRun, On, Outcome, Proposal, Status},
};
use crate::{
    auth::{OrganizationId, audit::Actor},
    clock, db,
    error::{Error, Result},
    jobs,
};

/// How often a running action looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);
/// How often it says that it lives.
const BEAT: Duration = Duration::from_secs(5);
/// After how long without a sign of life a run counts as lost.
const LOST: TimeDelta = TimeDelta::seconds(60);
/// How long a run may go on after Lux was asked to end.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How often the end of a run is tried to be noted, a second apart.
const TRIES: u32 = 60;

/// What became of the wish to run something.
pub(super) enum Started {
    /// It runs now; the handle gives its end.
    Running(ActionRun, JoinHandle<Result<ActionRun>>),
    /// It was run, or can no longer be: this is what became of it.
    Past(ActionRun),
}

impl Actions {
    /// Runs what is approved, exactly once, and waits for its end. What was run already,
    /// runs now, or can no longer run (rejected, expired) is given as it is.
    ///
    /// [`Error::Conflict`] says why it may not run now (nobody has approved it, cooldown,
    /// runs a day used up, actions are stopped); it may be tried again later. Dropping the
    /// future does not end the action.
    pub async fn execute(
        &self,
        organization: OrganizationId,
        id: i64,
        by: impl Into<Actor<'_>>,
    ) -> Result<ActionRun> {
        match self.begin(organization, id, by.into()).await? {
            Started::Past(run) => Ok(run),
            Started::Running(_, end) => end.await.map_err(|error| Error::Internal(error.into()))?,
        }
    }

    pub(super) async fn begin(
        &self,
        organization: OrganizationId,
        id: i64,
        by: Actor<'_>,
    ) -> Result<Started> {
        if self.app.shutdown.is_cancelled() {
            return Err(Error::Unavailable("Lux is shutting down; run it again later".to_owned()));
        }
        let Some((run, task)) = self.intend(organization, id, by).await? else {
            return Ok(Started::Past(self.find(organization, id).await?));
        };
        let (actions, begun) = (self.clone(), run.clone());
        // Not a part of the caller's task: nothing that happens to that may end it.
        let end =
            self.app.tasks.spawn(async move { actions.carry_out(organization, begun, task).await });
        Ok(Started::Running(run, end))
    }

    /// Commits to running it, if it may run; `None` if its time is past.
    async fn intend(
        &self,
        organization: OrganizationId,
        id: i64,
        by: Actor<'_>,
    ) -> Result<Option<(ActionRun, Task)>> {
        let mut tx = self.app.db.begin().await?;
        let now = clock::now();
        let found = store::find(On::Tx(&mut tx), organization, id, now).await?;
        let found = found.ok_or(Error::NotFound("action"))?;
        store::take_turn(&mut tx, &found.action, now).await?;
        // Again: it may have begun while its turn was waited for.
        let now = clock::now();
        let found = store::find(On::Tx(&mut tx), organization, id, now).await?;
        let run = found.ok_or(Error::NotFound("action"))?;
        match run.status {
            Status::Approved => {}
            Status::Proposed => {
                return Err(Error::Conflict(format!(
                    "action {id} waits for an approval: POST /api/auto-repair/actions/{id}/approve"
                )));
            }
            _ => return Ok(None),
        }
        let rendered = match self.as_configured(organization, &run) {
            Ok(rendered) => rendered,
            Err(why) => {
                store::void(&mut tx, id, &why).await?;
                audit(&mut tx, organization, by, "action.void", id, &json!({ "why": why })).await?;
                tx.commit().await?;
                return Ok(None);
            }
        };
        let blocked = match rendered.blocked.clone() {
            Some(why) => Some(why),
            None => self.hindrance(&mut On::Tx(&mut tx), &rendered, now).await?,
        };
        if let Some(why) = blocked {
            return Err(Error::Conflict(why));
        }
        match store::start(&mut tx, id, by.name, &self.owner, now).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if db::is_duplicate(&error) => {
                return Err(Error::Conflict(
                    "the same command runs right now; wait for its end".to_owned(),
                ));
            }
            Err(error) => return Err(error.into()),
        }
        let detail = json!({ "argv": rendered.argv, "hash": run.hash, "user": rendered.user });
        audit(&mut tx, organization, by, "action.run", id, &detail).await?;
        let begun = store::find(On::Tx(&mut tx), organization, id, now).await?;
        let begun = begun.ok_or(Error::NotFound("action"))?;
        tx.commit().await?;
        let env = self.catalogue.action(&rendered.action).map(|action| action.env.clone());
        let task = Task { argv: rendered.argv, env: env.unwrap_or_default(), user: rendered.user };
        Ok(Some((begun, task)))
    }

    /// What would run according to the configuration of now; an error if that is not what
    /// was decided.
    pub(super) fn as_configured(
        &self,
        organization: OrganizationId,
        run: &ActionRun,
    ) -> Result<Rendered, String> {
        let rendered = self.catalogue.render(&run.action, &run.cause, &run.params)?;
        let hash = bound(&rendered.hash, organization, run.run_id, run.cause_id, run.undo_of);
        if hash == run.hash && rendered.policy == run.policy {
            return Ok(rendered);
        }
        Err(format!("the configuration of {} has changed since it was proposed", run.action))
    }

    /// Why it may not run at this moment, although the configuration allows it.
    pub(super) async fn hindrance(
        &self,
        on: &mut On<'_>,
        rendered: &Rendered,
        now: DateTime<Utc>,
    ) -> Result<Option<String>> {
        if let Some(why) = self.stopped(on).await? {
            return Ok(Some(why));
        }
        let name = &rendered.action;
        let Some(action) = self.catalogue.action(name) else {
            return Ok(Some(format!("there is no action {name} in lux.toml")));
        };
        if let Some(id) = store::running_on(on, &rendered.argv).await? {
            return Ok(Some(format!("the same command runs right now (action {id})")));
        }
        let (last, today) = store::begun(on, name, now - TimeDelta::days(1)).await?;
        let cooldown = TimeDelta::from_std(action.cooldown).unwrap_or(TimeDelta::MAX);
        if let Some(last) = last
            && now - last < cooldown
        {
            let again = last + cooldown;
            return Ok(Some(format!("{name} ran at {last}; its cooldown lasts until {again}")));
        }
        if today >= i64::from(action.max_per_day) {
            return Ok(Some(format!(
                "{name} ran {today} times in 24 hours, and max_per_day is {}",
                action.max_per_day
            )));
        }
        Ok(None)
    }

    async fn carry_out(
        &self,
        organization: OrganizationId,
        run: ActionRun,
        task: Task,
    ) -> Result<ActionRun> {
        let limit = Duration::from_millis(u64::try_from(run.timeout_ms).unwrap_or(0));
        let ended = child::run(&task, self.interruption(run.id, limit)).await;
        let outcome = judge(ended, limit, &task.argv);
        tracing::info!(id = run.id, action = run.action, status = ?outcome.status, outcome.detail, "an action ended");
        let mut tries = 0;
        loop {
            match self.note(organization, &run, &outcome).await {
                Ok(()) => return self.find(organization, run.id).await,
                Err(error) if tries >= TRIES || self.app.shutdown.is_cancelled() => {
                    // Nobody says that it lives any more, so it will be found unknown.
                    tracing::error!(%error, id = run.id, "the end of an action was not noted");
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, id = run.id, "the end of an action is not noted yet");
                    tries += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn note(
        &self,
        organization: OrganizationId,
        run: &ActionRun,
        outcome: &Outcome,
    ) -> Result<()> {
        let mut tx = self.app.db.begin().await?;
        if store::finish(&mut tx, run.id, &self.owner, outcome, clock::now()).await? {
            if run.undo_of.is_some() && outcome.status == Status::Succeeded {
                store::undone(&mut tx, run.id).await?;
            }
            let detail = json!({
                "status": outcome.status,
                "exit_code": outcome.exit_code,
                "signal": outcome.signal,
            });
            let by = run.started_by.as_deref().unwrap_or_default();
            audit(&mut tx, organization, by, "action.end", run.id, &detail).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Completes when a running action is to be ended; says meanwhile that it lives.
    async fn interruption(&self, id: i64, limit: Duration) -> Interruption {
        let shutdown = async {
            self.app.shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN).await;
        };
        let alive = async {
            loop {
                tokio::time::sleep(BEAT).await;
                if let Err(error) = store::beat(&self.app.db, id, clock::now()).await {
                    tracing::warn!(%error, id, "an action's sign of life was not noted");
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(limit) => Interruption::TimedOut,
            why = self.stop_is_wanted() => Interruption::Stopped(why),
            () = shutdown => Interruption::Shutdown,
            () = alive => Interruption::Shutdown,
        }
    }

    async fn stop_is_wanted(&self) -> String {
        // Each looks by itself: a database that hangs must not hide the file.
        let by_file = async {
            loop {
                if let Some(why) = super::switch::stopped_by_file(&self.app.config) {
                    return why;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let by_database = async {
            loop {
                if let Ok(Some(why)) = self.stopped(&mut On::Db(&self.app.db)).await {
                    return why;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            why = by_file => why,
            why = by_database => why,
        }
    }

    /// Notes what nobody decided or ran in time, and gives up runs whose process is gone:
    /// they are [`Status::Unknown`] and never run again by themselves.
    pub async fn settle(&self) -> Result<()> {
        let now = clock::now();
        store::expire(&self.app.db, now).await?;
        for open in store::running(&self.app.db).await? {
            let gone = open.owner.as_deref().is_none_or(jobs::is_dead);
            let silent = open.heartbeat_at.is_none_or(|at| now - at > LOST);
            if !gone && !silent {
                continue;
            }
            let why = "Lux ended while it ran: look at what it did; it is not run again by itself";
            let mut tx = self.app.db.begin().await?;
            if store::give_up(&mut tx, &open, why, now).await? {
                let detail = json!({ "status": Status::Unknown });
                audit(&mut tx, open.organization_id, "lux", "action.end", open.id, &detail).await?;
                tracing::warn!(id = open.id, "an action was interrupted; what it did is unknown");
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Takes an action back by the action that its `undo` names, once: a second call gives
    /// what became of the first, or tries again what could not begin. Approving an action approves its undo, whose argv is a
    /// part of what was approved; cooldown and runs a day hold for it as for any other.
    ///
    /// [`Error::Conflict`] if there is nothing to take back, or it may not run now.
    pub async fn undo(
        &self,
        organization: OrganizationId,
        id: i64,
        by: impl Into<Actor<'_>>,
    ) -> Result<ActionRun> {
        let by = by.into();
        let undo = self.prepare_undo(organization, id, by).await?;
        self.execute(organization, undo, by).await
    }

    /// The id of the action that takes another back, approved.
    pub(super) async fn prepare_undo(
        &self,
        organization: OrganizationId,
        id: i64,
        by: Actor<'_>,
    ) -> Result<i64> {
        let mut tx = self.app.db.begin().await?;
        let now = clock::now();
        let original = store::find(On::Tx(&mut tx), organization, id, now).await?;
        let original = original.ok_or(Error::NotFound("action"))?;
        if let Some(undo) = store::undo_of(&mut tx, id).await? {
            // It may have waited for a cooldown or the kill switch, longer than it may.
            store::ask_again(&mut tx, undo, by.name, now, self.expiry(now)).await?;
            tx.commit().await?;
            return Ok(undo);
        }
        if !original.status.was_run() {
            return Err(Error::Conflict(format!("action {id} was not run: nothing to take back")));
        }
        let rendered = self.render_undo(&original).map_err(Error::Conflict)?;
        let proposal = Proposal {
            organization,
            run: original.run_id,
            cause: original.cause_id,
            by: by.name,
            at: now,
            expires_at: self.expiry(now),
            undo_of: Some(id),
            decided: Some((by.name, "undo")),
        };
        let (undo, _) = store::propose(&mut tx, &rendered, &proposal).await?;
        audit(&mut tx, organization, by, "action.undo", undo, &json!({ "of": id })).await?;
        tx.commit().await?;
        Ok(undo)
    }

    fn render_undo(&self, original: &ActionRun) -> Result<Rendered, String> {
        let name = &original.action;
        let action = self.catalogue.action(name);
        let undo = action.and_then(|action| action.undo.as_deref());
        let undo = undo.ok_or_else(|| format!("{name} names no undo in lux.toml"))?;
        let params: BTreeMap<_, _> = self.catalogue.fill_undo(undo, &original.params)?;
        let rendered = self.catalogue.render(undo, &original.cause, &params)?;
        if let Some(why) = rendered.blocked.clone() {
            return Err(why);
        }
        if original.undo.as_deref() != Some(&rendered.argv) {
            return Err(format!("the undo of {name} was changed in lux.toml since it ran"));
        }
        Ok(rendered)
    }
}

/// What the end of a process means.
fn judge(ended: Ended, limit: Duration, argv: &[String]) -> Outcome {
    let (exit_code, signal) = (ended.end.code(), ended.end.signal());
    let (status, detail) = match (&ended.interruption, &ended.end) {
        (_, End::NotStarted(error)) => {
            let program = argv.first().map_or("", String::as_str);
            (Status::Failed, format!("{program} could not be started: {error}"))
        }
        (_, End::Stuck) => (
            Status::Unknown,
            "not even SIGKILL ended it: it hangs in the kernel; look at the host".to_owned(),
        ),
        (Some(Interruption::TimedOut), _) => {
            let limit = humantime::format_duration(limit);
            (Status::TimedOut, format!("it was ended because it took longer than {limit}"))
        }
        (Some(Interruption::Stopped(why)), _) => (Status::Failed, format!("it was ended: {why}")),
        (Some(Interruption::Shutdown), _) => (
            Status::Unknown,
            "it was ended because Lux was stopped: look at what it did; it is not run again by \
             itself"
                .to_owned(),
        ),
        (None, End::Status(status)) if status.success() => {
            (Status::Succeeded, "it ended well (exit code 0)".to_owned())
        }
        (None, End::Status(status)) => (Status::Failed, format!("it failed: {status}")),
    };
    Outcome { status, exit_code, signal, detail, output: ended.output, dropped: ended.dropped }
}
