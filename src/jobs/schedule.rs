//! Schedules: cron expressions in a time zone, each tick of which makes one job.
//!
//! Every replica enqueues each tick, under the name "SCHEDULE@TICK": one job is made.
//! The last tick is stored, so that a tick missed while Lux was down is made up for, once:
//! the latest one missed, if it is not older than a day. A schedule that is new (or
//! whose expression was changed) begins with its next tick; nothing runs merely because
//! Lux was installed or set up. One that is held lets its ticks pass.
//!
//! **Summer time**: a schedule at one fixed time of the day runs once on each day. On the day
//! that lacks this time it runs at the first moment after the gap, on the day that has
//! it twice at the first of the two. Expressions with steps or lists in the hour or minute
//! follow the clock on the wall: they leave out what the gap swallowed, and run in both of the
//! doubled hours.

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::{Jobs, NewJob, lock, store};
use crate::{
    config::{self, Cron},
    db,
};

/// How old a missed tick may be to be made up for.
const CATCH_UP: TimeDelta = TimeDelta::days(1);

/// How far a stored tick may lie ahead before it is held for a wrong clock's. Hosts of
/// one installation differ by less.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// When what is old is forgotten where nothing is cleared by schedule.
const FORGET: &str = "0 2 * * *";

/// A schedule, and the job it makes.
#[derive(Clone, Debug)]
pub struct Scheduled {
    pub name: &'static str,
    pub cron: Cron,
    pub zone: Tz,
    pub kind: &'static str,
    pub payload: Value,
}

impl Scheduled {
    /// The schedules of `[schedule]` that are on.
    pub fn of_config(schedule: &config::Schedule) -> Vec<Self> {
        let zone = schedule.timezone;
        let make = |name: &'static str, cron: &Option<Cron>| {
            let payload = json!({ "schedule": true });
            cron.clone().map(|cron| Self { name, cron, zone, kind: name, payload })
        };
        // Forgetting follows the clearing. Where resolved events are to stay, what is older
        // than `repair.keep` goes all the same, or it would grow for ever.
        let forget = match schedule.clear {
            None => make("forget", &FORGET.parse().ok()),
            Some(_) => None,
        };
        [make("repair", &schedule.repair), make("clear", &schedule.clear), forget]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The first tick after a time; `None` if none comes.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let found = self.cron.find_next_occurrence(&after.with_timezone(&self.zone), false);
        found.ok().map(|tick| tick.with_timezone(&Utc))
    }

    /// The last tick at or before a time; `None` if there was none.
    pub fn latest(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at = at.trunc_subsecs(0).with_timezone(&self.zone);
        let found = self.cron.find_previous_occurrence(&at, true);
        found.ok().map(|tick| tick.with_timezone(&Utc))
    }

    /// What the stored tick belongs to.
    fn expression(&self) -> String {
        format!("{} {}", self.cron, self.zone)
    }
}

/// Each schedule with its next tick, soonest first.
pub fn next_runs(schedules: &[Scheduled], now: DateTime<Utc>) -> Vec<(String, DateTime<Utc>)> {
    let mut next: Vec<_> = schedules
        .iter()
        .filter_map(|schedule| Some((schedule.name.to_owned(), schedule.next(now)?)))
        .collect();
    next.sort_by_key(|(_, at)| *at);
    next
}

/// What is to be done about a schedule at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Remember this tick, without a job for it.
    Begin(DateTime<Utc>),
    /// Make a job for this tick.
    Enqueue(DateTime<Utc>),
}

fn step(
    schedule: &Scheduled,
    known: Option<(String, DateTime<Utc>)>,
    latest: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Step {
    // Of one that never ticked yet any moment will do.
    let Some((expression, stored)) = known else {
        return Step::Begin(latest.unwrap_or(now));
    };
    if expression != schedule.expression() || stored > now + AHEAD {
        return Step::Begin(latest.unwrap_or(now));
    }
    match latest {
        Some(latest) if latest > stored && latest > now - CATCH_UP => Step::Enqueue(latest),
        Some(latest) if latest > stored => Step::Begin(latest),
        _ => Step::Nothing,
    }
}

/// The latest ticks this process has seen to: nothing is asked of the database between two.
#[derive(Debug, Default)]
pub(super) struct Ticked(HashMap<&'static str, (String, Option<DateTime<Utc>>)>);

/// Makes jobs of the ticks that have come.
pub(super) async fn enqueue_due(
    jobs: &Jobs,
    ticked: &mut Ticked,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let schedules = lock(&jobs.0.schedules).clone();
    for mut schedule in schedules {
        let latest = schedule.latest(now);
        // With the expression: it may be changed while Lux runs.
        let seen = (schedule.expression(), latest);
        if ticked.0.get(schedule.name) == Some(&seen) {
            continue;
        }
        let known = store::schedule(&jobs.0.db, schedule.name).await?;
        let next = match step(&schedule, known, latest, now) {
            Step::Enqueue(tick) if store::held(&jobs.0.db, schedule.name).await?.is_some() => {
                Step::Begin(tick)
            }
            next => next,
        };
        match next {
            Step::Nothing => {}
            Step::Begin(tick) => {
                store::set_schedule(&jobs.0.db, schedule.name, &schedule.expression(), tick)
                    .await?;
            }
            Step::Enqueue(tick) => {
                let name = format!("{}@{}", schedule.name, tick.format("%Y-%m-%dT%H:%MZ"));
                let payload = std::mem::take(&mut schedule.payload);
                let job = NewJob::new(schedule.kind, payload).dedupe(name.clone());
                let mut tx = jobs.0.db.begin().await?;
                if store::tick(&mut tx, schedule.name, tick).await?
                    && store::insert(&mut tx, job, now).await?.is_some()
                {
                    tracing::info!(tick = name, late = ?(now - tick).to_std(), "scheduled");
                }
                tx.commit().await?;
            }
        }
        ticked.0.insert(schedule.name, seen);
    }
    Ok(())
}
