//! The numbers at the top: each from rows, each leading to them.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::{
    app::App,
    auth::OrganizationId,
    dashboard::{chart::Bars, when},
    error::Result,
    errors::store::{
        groups::{self, Summary},
        series,
    },
    logs::{Query, SourceState, SourceStatus},
    probe::{self, Outcome},
    repair::store::{
        runs::{self, Run},
        watches,
    },
};

/// Endpoints that are looked at for one number.
const MOST_ENDPOINTS: i64 = 200;
/// Minutes of the log sources' bars.
const MINUTES: usize = 18;

/// How everything stands.
pub(super) struct Status {
    pub(super) errors: Summary,
    /// Events of the last 24 hours, the oldest first.
    pub(super) by_hour: Vec<i64>,
    pub(super) last_run: Option<Run>,
    pub(super) next_sweep: Option<DateTime<Utc>>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) sources: Vec<SourceStatus>,
    /// Lines of the last minutes, the oldest first.
    pub(super) by_minute: Vec<i64>,
}

/// Something that is checked again and again.
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) fails: bool,
    pub(super) at: DateTime<Utc>,
}

pub(super) async fn look(
    app: &App,
    organization: OrganizationId,
    now: DateTime<Utc>,
) -> Result<Status> {
    let db = &app.db;
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let first = hour - TimeDelta::hours(23);
    let hours = series::by_hour(db, organization, None, first, now).await?;
    let mut by_hour = vec![0; 24];
    for (at, count) in hours {
        let index = usize::try_from((at - first).num_hours()).ok();
        if let Some(slot) = index.and_then(|index| by_hour.get_mut(index)) {
            *slot += count;
        }
    }
    let last_run = runs::list(db, organization, i64::MAX, 1).await?.into_iter().next();
    let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
    let first_minute = minute - TimeDelta::minutes(17);
    let next = app.jobs.next_runs().into_iter().find(|(name, _)| name == "repair");
    Ok(Status {
        errors: groups::summary(db, organization, now).await?,
        by_hour,
        last_run,
        next_sweep: next.map(|(_, at)| at),
        endpoints: endpoints(app, organization).await?,
        sources: app.live.status(),
        by_minute: app
            .live
            .volume(&Query::default(), first_minute, MINUTES)?
            .iter()
            .map(|it| it.records)
            .collect(),
    })
}

/// Endpoints under watch, and the probes that have been run, each as it was last.
async fn endpoints(app: &App, organization: OrganizationId) -> Result<Vec<Endpoint>> {
    let watched = watches::endpoints(&app.db, organization, MOST_ENDPOINTS).await?;
    let mut found: Vec<Endpoint> = watched
        .into_iter()
        .map(|it| Endpoint { fails: it.outcome == "fail", name: it.name, at: it.since })
        .collect();
    let made = probe::store::made(&app.db, organization).await?;
    let names = app.config.probes.iter().map(|probe| probe.name.as_str());
    let names = names.chain(made.iter().map(|probe| probe.definition.name.as_str()));
    for sample in probe::store::newest(&app.db, organization, names).await? {
        found.push(Endpoint {
            fails: sample.outcome == Outcome::Fail,
            name: sample.probe,
            at: sample.at,
        });
    }
    Ok(found)
}

impl Status {
    pub(super) fn open(&self) -> i64 {
        self.errors.unresolved + self.errors.regressed
    }

    pub(super) fn events_today(&self) -> i64 {
        self.by_hour.iter().sum()
    }

    pub(super) fn errors_note(&self) -> String {
        match (self.open(), self.errors.critical_last_day, self.events_today()) {
            (0, _, 0) => "No event in 24 h".to_owned(),
            (_, 0, events) => format!("{events} events in 24 h"),
            (_, critical, events) => format!("{critical} critical, {events} events in 24 h"),
        }
    }

    pub(super) fn errors_bars(&self) -> String {
        let label = format!("{} events in the last 24 hours, by hour", self.events_today());
        let tone = if self.open() > 0 { "hot" } else { "" };
        let bars =
            Bars { values: &self.by_hour, label: &label, width: 72, height: 18, wide: false, tone };
        bars.svg().0
    }

    pub(super) fn lines_bars(&self) -> String {
        let bars = Bars {
            values: &self.by_minute,
            label: "Lines per minute over the last 18 minutes",
            width: 72,
            height: 18,
            wide: false,
            tone: "live",
        };
        bars.svg().0
    }

    /// Lines of the last full minute.
    pub(super) fn lines_per_minute(&self) -> i64 {
        self.by_minute.iter().rev().nth(1).copied().unwrap_or(0)
    }

    pub(super) fn passing(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| !endpoint.fails).count()
    }

    pub(super) fn failing(&self) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.fails)
    }

    pub(super) fn endpoints_note(&self, now: &DateTime<Utc>) -> String {
        match self.failing() {
            Some(it) => format!("{} failing, {}", it.name, when::span(*now - it.at)),
            None if self.endpoints.is_empty() => "A repair or a probe checks one".to_owned(),
            None => "Each as it was last checked".to_owned(),
        }
    }

    pub(super) fn read(&self) -> usize {
        self.sources.iter().filter(|source| source.state == SourceState::Ok).count()
    }

    pub(super) fn denied(&self) -> usize {
        self.sources.iter().filter(|source| source.state == SourceState::Denied).count()
    }

    /// "5 of 7".
    pub(super) fn last_sweep(&self) -> Option<String> {
        let run = self.last_run.as_ref()?;
        Some(format!("{} of {}", run.resolved, run.total))
    }
}
