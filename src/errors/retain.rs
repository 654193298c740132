//! Retention: events go when they are older than `capture.keep`, and when there are more of
//! their group or application than are of use. Of those the first, the newest and the rarest
//! stay: of each release, environment, endpoint, tag value and wording at least one.
//!
//! Removed rows leave room that new ones take; SQLite's file does not get smaller by it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::BuildHasher,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::store::{
    clear::organizations,
    index::tags,
    retain::{self, Row, Stored},
    series::{self, Sampled},
};
use crate::{
    app::App,
    clock,
    error::{Error, Result},
    jobs::{Done, Lease, NewJob},
    logs::template,
};

/// The kind of the job.
const KIND: &str = "retain";
/// How often while the disk is nearly full.
const URGENT: Duration = Duration::from_mins(1);
/// Free space below which it comes more often, in bytes.
const LOW_DISK: u64 = 512 << 20;
/// Values of one name (a tag, the release) of which one event each is kept. A name with more
/// is an id, and nothing that makes an event rare.
const MAX_VALUES: usize = 100;

/// Lets jobs remove events, and makes such a job from time to time: one over all replicas.
/// To be called before jobs are started.
pub fn start(app: &App) {
    let own = app.clone();
    app.jobs.handle(KIND, 1, move |lease| {
        let app = own.clone();
        async move { work(&app, &lease).await }
    });
    let app = app.clone();
    app.tasks.clone().spawn(async move {
        let shutdown = app.shutdown.clone();
        shutdown.run_until_cancelled(ask(&app)).await;
    });
}

async fn ask(app: &App) {
    let every = app.config.capture.retain_every;
    loop {
        tokio::time::sleep(every.min(URGENT)).await;
        let pace = if is_disk_low(app) { every.min(URGENT) } else { every };
        let pace = i64::try_from(pace.as_secs()).unwrap_or(i64::MAX).max(1);
        // One job for each stretch of time, over all replicas.
        let slot = clock::now().timestamp() / pace;
        let job = NewJob::new(KIND, json!({})).dedupe(format!("{KIND}:{pace}:{slot}"));
        if let Err(error) = app.jobs.enqueue(job).await {
            tracing::debug!(%error, "no job to remove old events could be made");
        }
    }
}

fn is_disk_low(app: &App) -> bool {
    rustix::fs::statvfs(&app.config.data_dir)
        .is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < LOW_DISK)
}

async fn work(app: &App, lease: &Lease) -> Result<Done> {
    let keep = TimeDelta::from_std(app.config.capture.keep).unwrap_or(TimeDelta::MAX);
    let before = clock::now().checked_sub_signed(keep).unwrap_or(DateTime::UNIX_EPOCH);
    let mut aged = 0;
    for organization in organizations(&app.db).await? {
        loop {
            let mut tx = begin(app, lease).await?;
            let removed = retain::old(&mut tx, organization, before).await?;
            tx.commit().await?;
            aged += removed;
            if removed == 0 {
                break;
            }
        }
    }
    loop {
        let mut tx = begin(app, lease).await?;
        let removed = retain::old_counts(&mut tx, before).await?;
        tx.commit().await?;
        if removed == 0 {
            break;
        }
    }
    let mut surplus = 0;
    let (of_app, of_group) = (app.config.capture.max_events, app.config.capture.max_group_events);
    for (group, keep) in levels(&retain::stored(&app.db).await?, of_app, of_group) {
        surplus += trim(app, lease, group, keep).await?;
    }
    if aged + surplus > 0 {
        metrics::counter!("lux_events_retired_total").increment(aged + surplus);
        tracing::info!(aged, surplus, "events were removed: too old, and more than are kept");
    }
    Ok(Done::Finished)
}

async fn begin(app: &App, lease: &Lease) -> Result<crate::db::Tx> {
    if lease.lost.is_cancelled() {
        return Err(Error::Unavailable("removing events was interrupted".to_owned()));
    }
    let mut tx = app.db.begin().await?;
    lease.hold(&mut tx).await?;
    Ok(tx)
}

/// The groups that have to shrink, and to how many events: those above the bound of a group,
/// and where an application has too many, its fullest groups, all to the same level.
fn levels(stored: &[Stored], of_app: i64, of_group: i64) -> Vec<(Stored, i64)> {
    let mut apps: BTreeMap<(i64, &str), Vec<&Stored>> = BTreeMap::new();
    for group in stored {
        apps.entry((group.organization, &group.app)).or_default().push(group);
    }
    let mut found = Vec::new();
    for groups in apps.values() {
        let total = |level: i64| groups.iter().map(|group| group.events.min(level)).sum::<i64>();
        let mut level = of_group;
        if total(level) > of_app {
            // The highest level at which all fit.
            let (mut low, mut high) = (1, level);
            while low < high {
                let middle = low + (high - low + 1) / 2;
                if total(middle) <= of_app { low = middle } else { high = middle - 1 }
            }
            level = low;
        }
        let above = groups.iter().filter(|group| group.events > level);
        found.extend(above.map(|group| ((*group).clone(), level)));
    }
    found
}

/// Removes events of a group, the oldest first, until `keep` are left: but the first one and
/// those that are rare.
async fn trim(app: &App, lease: &Lease, group: Stored, keep: i64) -> Result<u64> {
    let mut surplus = group.events - keep;
    let ids = ids(&series::sample(&app.db, group.group).await?);
    let (seen, state) = (HashMap::new(), foldhash::quality::FixedState::default());
    let mut rare = Rare { ids, seen, kept: 0, most: keep / 4, state };
    let mut after = (DateTime::<Utc>::UNIX_EPOCH, 0);
    let (mut removed, mut first) = (0, true);
    while surplus > 0 {
        let rows = retain::oldest(&app.db, group.group, after).await?;
        let Some(last) = rows.last() else { break };
        after = (last.created_at, last.id);
        let mut ids = Vec::new();
        for row in &rows {
            if surplus == 0 {
                break;
            }
            let is_rare = rare.keeps(row);
            if std::mem::take(&mut first) || is_rare {
                continue;
            }
            surplus -= 1;
            ids.push(row.id);
        }
        if ids.is_empty() {
            continue;
        }
        let mut tx = begin(app, lease).await?;
        removed += retain::remove(&mut tx, group.group, &ids).await?;
        tx.commit().await?;
    }
    Ok(removed)
}

/// Names that are ids: nearly every event has a value of its own, which makes none rare.
fn ids(sample: &[Sampled]) -> HashSet<String> {
    let mut values: HashMap<String, (usize, HashSet<String>)> = HashMap::new();
    for (name, value) in sample.iter().flat_map(Sampled::values) {
        let entry = values.entry(name).or_default();
        entry.0 += 1;
        entry.1.insert(value);
    }
    let is_id = |events: usize, distinct: usize| distinct > 20 && distinct * 2 > events;
    let found = values.into_iter().filter(|(_, (events, seen))| is_id(*events, seen.len()));
    found.map(|(name, _)| name).collect()
}

/// What has been seen of a group's events, from the oldest on.
struct Rare {
    ids: HashSet<String>,
    seen: HashMap<String, HashSet<u64>>,
    kept: i64,
    most: i64,
    state: foldhash::quality::FixedState,
}

impl Rare {
    /// Whether the event is the first one with some value.
    fn keeps(&mut self, row: &Row) -> bool {
        let mut values: Vec<(String, String)> = tags(row.tags.as_deref()).into_iter().collect();
        let mut add = |name: &str, value: Option<String>| {
            values.extend(value.map(|value| (name.to_owned(), value)));
        };
        add("release", row.release.clone());
        add("environment", row.environment.clone());
        add("endpoint", row.endpoint.as_deref().map(template::path));
        add("message", Some(template::mask(&row.error_message)));
        let mut is_new = false;
        for (name, value) in values {
            if self.ids.contains(&name) {
                continue;
            }
            let seen = self.seen.entry(name).or_default();
            if seen.len() < MAX_VALUES && seen.insert(self.state.hash_one(value.as_str())) {
                is_new = true;
            }
        }
        let keeps = is_new && self.kept < self.most;
        self.kept += i64::from(keeps);
        keeps
    }
}

#[cfg(test)]
mod tests {
    use super::{Stored, levels};

    #[test]
    fn the_fullest_groups_shrink_first() {
        let stored: Vec<Stored> = [(1, "a", 900), (2, "a", 500), (3, "a", 20), (4, "b", 700)]
            .into_iter()
            .map(|(group, app, events)| Stored { group, organization: 1, app: app.into(), events })
            .collect();
        let found = |of_app, of_group| -> Vec<(i64, i64)> {
            levels(&stored, of_app, of_group).iter().map(|(one, to)| (one.group, *to)).collect()
        };
        assert_eq!(found(10_000, 10_000), []);
        assert_eq!(found(10_000, 800), [(1, 800)]);
        assert_eq!(found(1000, 800), [(1, 490), (2, 490)]);
        assert_eq!(found(700, 10_000), [(1, 340), (2, 340)]);
    }
}
