//! What goes on between runs: failing requests are tried while their errors are live, so
//! that a later pass means something; resolutions are watched; runs whose proposals were all
//! decided (or expired) go on.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures_util::{StreamExt, stream};

use super::{
    Repair,
    checks::{Chooser, Wanted},
    store::{
        attempts::{self, Untried},
        recipes, runs, watches,
    },
    verdict::Relation,
};
use crate::{
    auth::OrganizationId,
    clock,
    error::Result,
    errors::store::open,
    probe::{Context, Failing, Outcome, Phase},
};

/// How often it is looked whether something is to be done.
const TICK: Duration = Duration::from_secs(1);

/// An error is live for so long after its newest event.
const LIVE: TimeDelta = TimeDelta::seconds(60);

/// Groups that are tried in one tick.
const SOME: i64 = 20;

/// How often a failing request is tried, and after how many failures in a row that is
/// enough.
const TRIES: u32 = 5;
const ENOUGH: u32 = 3;

/// Watches that end in one tick.
const MOST_WATCHES: i64 = 200;

impl Repair {
    /// Starts the work between runs.
    pub(super) fn watch(&self) {
        let repair = self.clone();
        let shutdown = self.app.shutdown.clone();
        self.app.tasks.spawn(async move {
            let mut timer = tokio::time::interval(TICK);
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                if shutdown.run_until_cancelled(timer.tick()).await.is_none() {
                    return;
                }
                if let Err(error) = repair.tick().await {
                    tracing::debug!(%error, "the work between repair runs waits");
                }
            }
        });
    }

    async fn tick(&self) -> Result<()> {
        self.end_watches().await?;
        for (run, since) in runs::undecided(&self.app.db).await? {
            self.resume(run, since).await?;
        }
        if self.app.config.repair.try_failing {
            self.try_failing().await?;
        }
        Ok(())
    }

    async fn end_watches(&self) -> Result<()> {
        let broken = watches::broken(&self.app.db, MOST_WATCHES).await?;
        let over = watches::over(&self.app.db, clock::now(), MOST_WATCHES).await?;
        let ended = broken.iter().map(|watch| (watch, false));
        for (watch, held) in ended.chain(over.iter().map(|watch| (watch, true))) {
            if !held {
                self.unmark(watch).await?;
            }
            let mut tx = self.app.db.begin().await?;
            if watches::end(&mut tx, watch, held).await? {
                let (organization, cause) = (watch.organization_id, &watch.cause);
                recipes::count(&mut tx, organization, cause, &watch.recipe, held).await?;
                tx.commit().await?;
                tracing::info!(
                    group = watch.group_id,
                    attempt = watch.attempt_id,
                    held,
                    "a resolution was watched to its end"
                );
            }
        }
        Ok(())
    }

    /// A resolution that broke under watch was none: the events that were marked by it are
    /// open again, before the watch ends, so that a crash in between changes nothing.
    async fn unmark(&self, watch: &watches::Watch) -> Result<()> {
        let mut after = (DateTime::UNIX_EPOCH, 0);
        let (group, attempt) = (watch.group_id, watch.attempt_id);
        while let Some(last) = attempts::unmark_events(&self.app.db, group, attempt, after).await? {
            after = last;
        }
        Ok(())
    }

    async fn try_failing(&self) -> Result<()> {
        let since = clock::now() - LIVE;
        let untried = attempts::untried(&self.app.db, since, SOME).await?;
        if untried.is_empty() {
            return Ok(());
        }
        stream::iter(untried)
            .for_each_concurrent(4, |group| async move {
                if let Err(error) = self.try_group(&group).await {
                    tracing::debug!(%error, group = group.group_id, "a failing request was not tried");
                }
            })
            .await;
        Ok(())
    }

    /// Runs all checks of a group some times, and stores what they say.
    async fn try_group(&self, group: &Untried) -> Result<()> {
        let now = clock::now();
        if !attempts::try_now(&self.app.db, group.group_id, now).await? {
            return Ok(());
        }
        let organization = OrganizationId(group.organization_id);
        let events = open::these(&self.app.db, organization, &[group.group_id]).await?;
        let Some(event) = events.first() else { return Ok(()) };
        let finding =
            self.diagnoser.explain(vec![event.clone()]).await?.into_iter().flatten().next();
        let chooser = Chooser::new(&self.app, &self.probes, &self.diagnoser, organization).await?;
        let captured = finding.as_ref().map(|own| own.captured.clone()).unwrap_or_default();
        let wanted = Wanted {
            app: &group.app,
            method: group.method.as_deref(),
            endpoint: group.endpoint.as_deref(),
            requested: event.endpoint.as_deref(),
            cause: finding.as_ref().map_or("unknown", |finding| &finding.cause),
            own: finding.as_ref(),
            captured: &captured,
        };
        let checks = chooser.choose(&wanted).await;
        let failing = Failing {
            error_type: event.error_type.clone(),
            message: event.error_message.clone(),
            ..Failing::default()
        };
        let context =
            Context { organization, attempt: None, phase: Phase::Confirm, failing: Some(&failing) };
        let pause = self.app.config.repair.spacing.min(Duration::from_millis(500));
        for (relation, probe) in &checks.probes {
            // Another group of the same request has asked just now.
            let lately = now - TimeDelta::seconds(10);
            if !self.probes.history(organization, &probe.key(), lately, 1).await?.is_empty() {
                continue;
            }
            let tries = if *relation == Relation::Cause { 1 } else { TRIES };
            let mut failures = 0;
            for number in 0..tries {
                let sample = self.probes.run(probe, &context).await?;
                match sample.outcome {
                    Outcome::Fail => failures += 1,
                    Outcome::Pass => failures = 0,
                    Outcome::Unclear => break,
                }
                if failures == ENOUGH || number + 1 == tries {
                    break;
                }
                let shutdown = &self.app.shutdown;
                if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
