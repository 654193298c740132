//! Counting for groups that the writer knows.
//!
//! An upsert looks a group up by its fingerprint and writes every index that could have
//! changed: with a few events a transaction that cost more than all else. What most events
//! change is the count and the time, which no index holds; the rest changes at most once a
//! second. What is remembered here is a hint: the statement itself skips groups that have been
//! resolved, merged or split meanwhile, and those take the long way.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{counting::Group, second, weight};
use crate::{
    db::{Result, Tx},
    errors::Event,
    logs::Severity,
};

/// Groups that are remembered; at one more all are forgotten.
const MOST: usize = 20_000;
/// Users of groups that are remembered.
const MOST_USERS: usize = 100_000;

/// Organization, application and fingerprint of a group.
pub(super) type Key<'a> = (i64, &'a str, &'a str);

/// What the writer remembers of groups. One for each writer; to be dropped when a transaction
/// failed, since what it made may not exist.
#[derive(Debug, Default)]
pub struct Known {
    groups: HashMap<u64, Remembered>,
    /// Hashes of groups with their users.
    users: HashSet<u64>,
    /// The hour of a group's latest event and how many it has brought.
    hours: HashMap<i64, (i64, u64)>,
    /// Events of a group that are kept in an hour before only some are; 0: all are kept.
    keep_first: u64,
    hasher: foldhash::quality::RandomState,
}

#[derive(Clone, Debug)]
struct Remembered {
    id: i64,
    users: i64,
    count: i64,
    seen_at: DateTime<Utc>,
    first_seen: DateTime<Utc>,
    severity: Severity,
    has_endpoint: bool,
    has_method: bool,
    /// Of the last event that named one.
    release: Option<String>,
}

/// What the events of a batch add to one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition<'a> {
    pub(super) count: i64,
    pub(super) first_seen: DateTime<Utc>,
    pub(super) last_seen: DateTime<Utc>,
    pub(super) severity: Severity,
    pub(super) has_endpoint: bool,
    pub(super) has_method: bool,
    /// The one that all name.
    release: Option<&'a str>,
    /// They name several.
    mixed: bool,
}

impl<'a> Addition<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        Self {
            count: 1,
            first_seen: event.created_at,
            last_seen: event.created_at,
            severity: event.severity,
            has_endpoint: event.endpoint.is_some(),
            has_method: event.method.is_some(),
            release: event.release.as_deref(),
            mixed: false,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.severity = self.severity.max(other.severity);
        self.has_endpoint |= other.has_endpoint;
        self.has_method |= other.has_method;
        self.mixed |= self.release != other.release;
    }
}

/// A group as the database has it after an upsert.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) users: i64,
    pub(super) count: i64,
}

#[derive(Serialize)]
struct Row {
    id: i64,
    count: i64,
    last_seen: String,
}

impl Known {
    /// For a writer that keeps the first so many events of a group in an hour, then every
    /// tenth up to ten times as many, every hundredth up to a hundred times, and so on.
    pub fn sampling(keep_first: u64) -> Self {
        Self { keep_first, ..Self::default() }
    }

    /// Forgets all that an undone transaction may have taught.
    pub fn forget(&mut self) {
        self.groups.clear();
        self.users.clear();
    }

    /// Whether the next event of the group in this hour is kept.
    pub(super) fn keeps(&mut self, group: i64, hour: DateTime<Utc>) -> bool {
        if self.keep_first == 0 {
            return true;
        }
        if self.hours.len() >= MOST {
            self.hours.clear();
        }
        let hour = hour.timestamp();
        let (of, seen) = self.hours.entry(group).or_insert((hour, 0));
        if *of != hour {
            (*of, *seen) = (hour, 0);
        }
        *seen += 1;
        is_kept(*seen, self.keep_first)
    }

    fn hash(&self, key: impl std::hash::Hash) -> u64 {
        std::hash::BuildHasher::hash_one(&self.hasher, key)
    }

    /// Counts for those groups for which that is enough; the others are absent from the answer.
    pub(super) async fn count<'a>(
        &mut self,
        tx: &mut Tx,
        additions: &BTreeMap<Key<'a>, Addition<'_>>,
    ) -> Result<HashMap<Key<'a>, Group>> {
        let mut keys: HashMap<i64, (Key<'a>, u64)> = HashMap::new();
        let mut rows = Vec::new();
        for (key, addition) in additions {
            let hash = self.hash(key);
            let Some(known) = self.groups.get(&hash) else { continue };
            if known.takes(addition) {
                keys.insert(known.id, (*key, hash));
                rows.push(Row {
                    id: known.id,
                    count: addition.count,
                    last_seen: super::write::text(addition.last_seen),
                });
            }
        }
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        // Rows are locked in the order of their ids, so that two replicas wait for each other
        // instead of deadlocking.
        let sql = tx.dialect(
            "with wanted as materialized (
                 select g.id, r.count, r.last_seen
                 from json_to_recordset(cast($1 as json)) as r(id bigint, count bigint,
                     last_seen timestamptz)
                 join error_group as g on g.id = r.id
                 order by g.id for update of g
             )
             update error_group set count = error_group.count + w.count,
                 last_seen = greatest(error_group.last_seen, w.last_seen)
             from wanted as w
             where error_group.id = w.id and error_group.status <> 'resolved'
               and error_group.merged_into is null and error_group.split_by is null
             returning error_group.id, error_group.count, error_group.users",
            "update error_group set count = error_group.count + (r.value ->> 'count'),
                 last_seen = max(error_group.last_seen, r.value ->> 'last_seen')
             from json_each($1) as r
             where error_group.id = (r.value ->> 'id') and error_group.status <> 'resolved'
               and error_group.merged_into is null and error_group.split_by is null
             returning error_group.id, error_group.count, error_group.users",
        );
        let json = super::write::json(&rows)?;
        let counted: Vec<(i64, i64, i64)> = tx.query(sql).bind(json).all().await?;
        let mut groups = HashMap::with_capacity(counted.len());
        for (id, count, users) in counted {
            let Some((key, hash)) = keys.remove(&id) else { continue };
            if let Some(known) = self.groups.get_mut(&hash) {
                (known.count, known.users) = (count, users);
            }
            groups.insert(key, Group { id, users, came_as: None });
        }
        // What was not counted is no longer what it was.
        for (_, hash) in keys.into_values() {
            self.groups.remove(&hash);
        }
        Ok(groups)
    }

    /// Remembers a group after its upsert.
    pub(super) fn remember(&mut self, key: Key<'_>, addition: &Addition<'_>, stored: Stored) {
        if self.groups.len() >= MOST {
            self.groups.clear();
        }
        let hash = self.hash(key);
        let known = self.groups.entry(hash).or_insert(Remembered {
            id: stored.id,
            users: stored.users,
            count: stored.count,
            seen_at: second(addition.last_seen),
            first_seen: addition.first_seen,
            severity: addition.severity,
            has_endpoint: addition.has_endpoint,
            has_method: addition.has_method,
            release: None,
        });
        (known.id, known.users, known.count) = (stored.id, stored.users, stored.count);
        known.seen_at = known.seen_at.max(second(addition.last_seen));
        known.first_seen = known.first_seen.min(addition.first_seen);
        known.severity = known.severity.max(addition.severity);
        known.has_endpoint |= addition.has_endpoint;
        known.has_method |= addition.has_method;
        // Which of several came last is not known here: the next batch takes the long way.
        known.release = if addition.mixed { None } else { addition.release.map(str::to_owned) };
    }

    /// Whether this user of the group was not counted lately.
    pub(super) fn is_new_user(&mut self, group: i64, user: &str) -> bool {
        if self.users.len() >= MOST_USERS {
            self.users.clear();
        }
        let hash = self.hash((group, user));
        self.users.insert(hash)
    }
}

impl Remembered {
    /// Whether nothing changes but the count and the time of the last event.
    fn takes(&self, addition: &Addition<'_>) -> bool {
        second(addition.last_seen) <= self.seen_at
            && addition.first_seen >= self.first_seen
            && weight(self.count + addition.count) == weight(self.count)
            && addition.severity <= self.severity
            && (self.has_endpoint || !addition.has_endpoint)
            && (self.has_method || !addition.has_method)
            && !addition.mixed
            && (addition.release.is_none() || addition.release == self.release.as_deref())
    }
}

/// Whether the `n`th event is kept, counted from 1.
fn is_kept(n: u64, first: u64) -> bool {
    if n <= first {
        return true;
    }
    let step = 10_u64.saturating_pow((n / first).max(1).ilog10() + 1);
    n.is_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::is_kept;

    #[test]
    fn the_first_are_kept_and_then_ever_fewer() {
        let kept = |from: u64, to: u64| (from..=to).filter(|n| is_kept(*n, 100)).count();
        assert_eq!(kept(1, 100), 100);
        assert_eq!(kept(101, 999), 89);
        assert_eq!(kept(1000, 9999), 90);
        assert_eq!(kept(1, 1_000_000), 100 + 89 + 90 * 3 + 1);
    }
}
