//! Storms: far more events of a group, or of an application, than usual.
//!
//! A storm begins when the last minute brought at least `capture.storm` events, ten times what
//! is usual (the mean of the last seven days) and twice what the busiest hour brought. It ends
//! when for `capture.storm_calm` less than half of that came, or after a day: then it is usual.
//! One storm is one row of `error_storm`; its beginning and its end are told once ([`tell`]).
//!
//! Every replica looks at the counters of groups with new events, every five seconds, and
//! remembers a minute of them. An application is in a storm if groups that are not in one
//! themselves bring that many events together.

mod routes;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::store::{
    clear::organizations,
    series,
    storms::{self, Active, New, Open, Storm},
};
use crate::{app::App, auth::OrganizationId, clock, db};

pub use routes::router;

/// How often the counters are looked at, at most.
const EVERY: Duration = Duration::from_secs(5);
/// Over which time events are counted.
const MINUTE: Duration = Duration::from_mins(1);
/// How far back the usual is looked for.
const HISTORY: TimeDelta = TimeDelta::days(7);
/// After so long it is usual.
const LONGEST: TimeDelta = TimeDelta::days(1);
/// Groups that are remembered.
const MAX_REMEMBERED: usize = 20_000;

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Begun,
    Ended,
}

/// Tells of a storm: at its beginning and at its end, once each over all replicas. Channels of
/// notification hook in here; `storm` holds its live counts.
pub fn tell(storm: &Storm, news: News) {
    let name = storm.title.as_deref().unwrap_or("many groups");
    let name = crate::redact::secrets(name);
    let (app, count, peak, usual) = (&storm.app, storm.count, storm.peak, storm.usual);
    match news {
        News::Begun => {
            metrics::counter!("lux_storms_total").increment(1);
            tracing::warn!(storm = storm.id, app, %name, peak, usual, "a storm of errors began");
        }
        News::Ended => {
            tracing::info!(storm = storm.id, app, %name, peak, count, "a storm of errors ended");
        }
    }
}

/// Watches until the shutdown.
pub fn start(app: &App) {
    let app = app.clone();
    app.tasks.clone().spawn(async move {
        let shutdown = app.shutdown.clone();
        let mut watch = Watch::new(app);
        shutdown.run_until_cancelled(watch.run()).await;
    });
}

/// What a group's counter stood at.
struct Course {
    organization: OrganizationId,
    app: String,
    at: VecDeque<(Instant, i64)>,
}

impl Course {
    fn counter(&self) -> i64 {
        self.at.back().map_or(0, |(_, count)| *count)
    }

    /// Events within a time up to now.
    fn within(&self, time: Duration, now: Instant) -> i64 {
        let inside = |(at, _): &&(Instant, i64)| now.duration_since(*at) <= time;
        let first = self.at.iter().find(inside).map_or_else(|| self.counter(), |(_, count)| *count);
        self.counter() - first
    }
}

struct Watch {
    app: App,
    courses: HashMap<i64, Course>,
    began: Instant,
    calm: Duration,
    least: i64,
}

impl Watch {
    fn new(app: App) -> Self {
        let (calm, least) = (app.config.capture.storm_calm, app.config.capture.storm);
        Self {
            app,
            courses: HashMap::new(),
            began: clock::instant(),
            calm,
            least: i64::from(least),
        }
    }

    async fn run(&mut self) {
        let mut failing = false;
        loop {
            match self.look().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "storms of errors cannot be looked for");
                    }
                    failing = true;
                }
            }
            tokio::time::sleep(EVERY.min(self.calm / 3)).await;
        }
    }

    async fn look(&mut self) -> db::Result<()> {
        let (now, instant) = (clock::now(), clock::instant());
        let since = now - TimeDelta::minutes(2);
        for organization in organizations(&self.app.db).await? {
            for group in storms::active(&self.app.db, organization, since).await? {
                self.remember(organization, group, now, instant).await?;
            }
        }
        let open = storms::open(&self.app.db).await?;
        // Those that went silent are still to be judged.
        let silent: Vec<i64> = open.iter().filter_map(|open| open.storm.group_id).collect();
        for (group, count) in storms::counters(&self.app.db, &silent).await? {
            if let Some(course) = self.courses.get_mut(&group)
                && course.at.back().is_none_or(|(at, _)| *at < instant)
            {
                course.at.push_back((instant, count));
            }
        }
        self.forget(instant, &silent);
        self.begin_storms(&open, now, instant).await?;
        self.go_on(open, now, instant).await
    }

    async fn remember(
        &mut self,
        organization: OrganizationId,
        group: Active,
        now: DateTime<Utc>,
        instant: Instant,
    ) -> db::Result<()> {
        if let Some(course) = self.courses.get_mut(&group.id) {
            course.at.push_back((instant, group.count));
            return Ok(());
        }
        if self.courses.len() >= MAX_REMEMBERED {
            return Ok(());
        }
        // What came before the first look: in a minute at most this.
        let minute = now - TimeDelta::minutes(1);
        let before = if group.count < self.least {
            if group.first_seen >= minute { 0 } else { group.count }
        } else if group.first_seen >= minute {
            0
        } else {
            let most = self.least.saturating_mul(20);
            group.count - storms::since(&self.app.db, group.id, minute, most).await?
        };
        let at = VecDeque::from([(instant, before), (instant, group.count)]);
        self.courses.insert(group.id, Course { organization, app: group.app, at });
        Ok(())
    }

    fn forget(&mut self, instant: Instant, keep: &[i64]) {
        let longest = MINUTE.max(self.calm) + EVERY;
        let keep: HashSet<i64> = keep.iter().copied().collect();
        for course in self.courses.values_mut() {
            while course.at.len() > 1
                && course.at.get(1).is_some_and(|(at, _)| instant.duration_since(*at) > longest)
            {
                course.at.pop_front();
            }
        }
        self.courses.retain(|id, course| {
            keep.contains(id)
                || course.at.back().is_some_and(|(at, _)| instant.duration_since(*at) <= longest)
        });
    }

    async fn begin_storms(
        &self,
        open: &[Open],
        now: DateTime<Utc>,
        instant: Instant,
    ) -> db::Result<()> {
        let mut stormy: HashSet<i64> = open.iter().filter_map(|open| open.storm.group_id).collect();
        for (id, course) in &self.courses {
            let rate = course.within(MINUTE, instant);
            let lately = course.within(self.calm, instant);
            // A storm that is over does not begin again for what was counted in it.
            if rate < self.least || lately < self.calm_below(0) || stormy.contains(id) {
                continue;
            }
            let (organization, app) = (course.organization, course.app.as_str());
            let usual = self.usual(organization, None, Some(*id), now).await?;
            if rate < usual.least(self.least) {
                continue;
            }
            let counter = course.counter();
            let new =
                New { organization, app, group: Some(*id), usual: usual.mean, peak: rate, counter };
            self.begin(&new, now).await?;
            stormy.insert(*id);
        }
        let mut apps: BTreeMap<(i64, &str), (i64, i64)> = BTreeMap::new();
        for (id, course) in &self.courses {
            if !stormy.contains(id) {
                let entry = apps.entry((course.organization.0, &course.app)).or_default();
                entry.0 += course.within(MINUTE, instant);
                entry.1 += course.within(self.calm, instant);
            }
        }
        for ((organization, app), (rate, lately)) in apps {
            let known = open.iter().any(|open| {
                let storm = &open.storm;
                storm.group_id.is_none()
                    && storm.organization_id == organization
                    && storm.app == app
            });
            if rate < self.least || lately < self.calm_below(0) || known {
                continue;
            }
            let organization = OrganizationId(organization);
            let usual = self.usual(organization, Some(app), None, now).await?;
            if rate < usual.least(self.least) {
                continue;
            }
            let counter = self.counter(organization, app, now, now).await?;
            let new =
                New { organization, app, group: None, usual: usual.mean, peak: rate, counter };
            self.begin(&new, now).await?;
        }
        Ok(())
    }

    /// With fewer events in the time of calm a storm is over: half of what begins one.
    fn calm_below(&self, usual: i64) -> i64 {
        let half = usual.saturating_mul(10).max(self.least) / 2;
        (seconds(self.calm).saturating_mul(half) / 60).max(1)
    }

    async fn begin(&self, new: &New<'_>, now: DateTime<Utc>) -> db::Result<()> {
        if let Some(id) = storms::begin(&self.app.db, new, now).await?
            && let Some(storm) = storms::find(&self.app.db, id).await?
        {
            tell(&storm, News::Begun);
        }
        Ok(())
    }

    async fn go_on(&self, open: Vec<Open>, now: DateTime<Utc>, instant: Instant) -> db::Result<()> {
        for Open { storm, calm_since } in open {
            let of = |course: &&Course| {
                course.organization.0 == storm.organization_id && course.app == storm.app
            };
            let courses: Vec<&Course> = match storm.group_id {
                Some(group) => self.courses.get(&group).into_iter().collect(),
                None => self.courses.values().filter(of).collect(),
            };
            let within = |time| courses.iter().map(|course| course.within(time, instant)).sum();
            let rate: i64 = within(MINUTE);
            let lately: i64 = within(self.calm);
            let counter = if storm.group_id.is_some() {
                courses.first().map_or(0, |course| course.counter())
            } else {
                let organization = OrganizationId(storm.organization_id);
                self.counter(organization, &storm.app, storm.started_at, now).await?
            };
            // Who started a moment ago has not seen enough.
            let seen = instant.duration_since(self.began) >= self.calm;
            let is_calm = seen && lately < self.calm_below(storm.usual);
            storms::go_on(&self.app.db, storm.id, counter, rate, is_calm, now).await?;
            let over = is_calm && calm_since.is_some() || now - storm.started_at > LONGEST;
            if over
                && storms::end(&self.app.db, storm.id, now).await?
                && let Some(storm) = storms::find(&self.app.db, storm.id).await?
            {
                tell(&storm, News::Ended);
            }
        }
        Ok(())
    }

    /// Events of an application since the hour in which a storm began.
    async fn counter(
        &self,
        organization: OrganizationId,
        app: &str,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> db::Result<i64> {
        let (from, to) = (began - TimeDelta::hours(1), now + TimeDelta::hours(1));
        let hours =
            series::by_hour_of(&self.app.db, organization, Some(app), None, from, to).await?;
        Ok(hours.into_iter().map(|(_, count)| count).sum())
    }

    /// What was usual before the present hour.
    async fn usual(
        &self,
        organization: OrganizationId,
        app: Option<&str>,
        group: Option<i64>,
        now: DateTime<Utc>,
    ) -> db::Result<Usual> {
        let (from, to) = (now - HISTORY, now - TimeDelta::hours(1));
        let hours = series::by_hour_of(&self.app.db, organization, app, group, from, to).await?;
        let total: i64 = hours.iter().map(|(_, count)| count).sum();
        let busiest = hours.iter().map(|(_, count)| *count).max().unwrap_or(0);
        Ok(Usual { mean: total / HISTORY.num_minutes(), busiest: busiest / 60 })
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Events a minute.
struct Usual {
    mean: i64,
    busiest: i64,
}

impl Usual {
    /// From how many events in a minute on it is a storm.
    fn least(&self, floor: i64) -> i64 {
        floor.max(self.mean.saturating_mul(10)).max(self.busiest.saturating_mul(2))
    }
}
