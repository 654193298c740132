//! Storing events with the counters of their groups: few statements for many events.
//!
//! Rows travel as one JSON parameter, so a batch of a thousand costs as many round
//! trips as a batch of one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use super::{
    counting::count_groups,
    known::{Key, Known},
    regroup,
    rows::{BucketKey, DetailRow, HourKey, adopt_events, event_row, insert_events},
};
use crate::{
    auth::OrganizationId,
    db::{Result, Tx},
    errors::{Event, Fingerprint, event::Origin},
};

/// Distinct users that are told apart in one group; more are not counted.
const MAX_USERS: i64 = 10_000;

/// A fingerprinted event on its way into the database.
#[derive(Clone, Debug)]
pub struct Item {
    pub organization: OrganizationId,
    pub event: Event,
    pub fingerprint: Fingerprint,
    /// The row's id where another program has inserted it already.
    pub row: Option<i64>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct UserKey<'a> {
    group: i64,
    user: &'a str,
}

/// A time as SQLite holds it (and sqlx would bind it); PostgreSQL reads it as well.
pub(super) fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| crate::db::Error::Encode(error.into()))
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is stored under this id.
    Stored(i64),
    /// It was stored earlier, under this id: its reporter sent it again.
    Repeated(i64),
    /// It is counted and not kept: its group has enough like it in this hour.
    Counted,
}

impl Recorded {
    /// The event's row, if it has one.
    pub const fn id(self) -> Option<i64> {
        match self {
            Self::Stored(id) | Self::Repeated(id) => Some(id),
            Self::Counted => None,
        }
    }
}

/// Stores the items and counts them; says what became of each, in the same order.
///
/// Items with a `row` are that row, which gets its group; the others are inserted, unless
/// their `event_id` was stored before or their group has enough of them (`Known::keeps`).
/// `known` is the writer's own; after an error it must be dropped.
pub async fn write(tx: &mut Tx, known: &mut Known, items: &[&Item]) -> Result<Vec<Recorded>> {
    let repeated = repeats(tx, items).await?;
    let mut outcomes: Vec<Recorded> = Vec::with_capacity(items.len());
    let fresh: Vec<&Item> = items
        .iter()
        .zip(&repeated)
        .filter(|(_, repeat)| repeat.is_none())
        .map(|(item, _)| *item)
        .collect();
    let mut stored = store(tx, known, &fresh).await?.into_iter();
    for repeat in repeated {
        let outcome = match repeat {
            None => stored.next().ok_or(crate::db::Error::RowNotFound)?,
            Some(Repeat::Of(id)) => Recorded::Repeated(id),
            Some(Repeat::Within(earlier)) => match outcomes[earlier].id() {
                Some(id) => Recorded::Repeated(id),
                None => Recorded::Counted,
            },
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// What an item repeats.
enum Repeat {
    /// A stored event, by its id.
    Of(i64),
    /// An earlier item of the batch, by its place.
    Within(usize),
}

/// Which items repeat an event by its `event_id`; within one application only, since whoever
/// reports for another cannot know its ids.
async fn repeats(tx: &mut Tx, items: &[&Item]) -> Result<Vec<Option<Repeat>>> {
    let ids: BTreeSet<&str> =
        items.iter().filter_map(|item| item.event.event_id.as_deref()).collect();
    if ids.is_empty() {
        return Ok(items.iter().map(|_| None).collect());
    }
    let sql = tx.dialect(
        "select id, organization_id, app, event_id from error_log
         where event_id in (select value from json_array_elements_text(cast($1 as json)))",
        "select id, organization_id, app, event_id from error_log
         where event_id in (select value from json_each($1))",
    );
    let rows: Vec<(i64, i64, String, String)> = tx.query(sql).bind(json(&ids)?).all().await?;
    let stored: HashMap<Key<'_>, i64> = rows
        .iter()
        .map(|(id, organization, app, event)| ((*organization, &**app, &**event), *id))
        .collect();
    let mut seen: HashMap<Key<'_>, usize> = HashMap::new();
    let mut repeats = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let key = item
            .event
            .event_id
            .as_deref()
            .map(|event_id| (item.organization.0, item.event.app.as_str(), event_id));
        repeats.push(key.and_then(|key| match (stored.get(&key), seen.get(&key)) {
            (Some(id), _) => Some(Repeat::Of(*id)),
            (None, Some(earlier)) => Some(Repeat::Within(*earlier)),
            (None, None) => {
                seen.insert(key, place);
                None
            }
        }));
    }
    Ok(repeats)
}

/// Stores items that repeat nothing.
async fn store(tx: &mut Tx, known: &mut Known, items: &[&Item]) -> Result<Vec<Recorded>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let groups = count_groups(tx, known, items).await?;
    let mut new = Vec::new();
    let mut adopted = Vec::new();
    let mut kept = Vec::with_capacity(items.len());
    let mut sampled: BTreeMap<i64, i64> = BTreeMap::new();
    let (mut details, mut packed) = (Vec::new(), Vec::new());
    let mut buckets: BTreeMap<BucketKey, i64> = BTreeMap::new();
    let mut hours: BTreeMap<HourKey, i64> = BTreeMap::new();
    let mut users: BTreeSet<UserKey<'_>> = BTreeSet::new();
    for (item, group) in items.iter().zip(&groups) {
        let hour = item.event.created_at.duration_trunc(TimeDelta::hours(1));
        let hour = hour.unwrap_or(item.event.created_at);
        // A row that exists, and an event whose sender gets its id, is kept in any case.
        let sampling = matches!(item.event.origin, Origin::Sentry | Origin::Log | Origin::Lux);
        let keep = item.row.is_some() || !sampling || known.keeps(group.id, hour);
        kept.push(keep);
        if keep {
            let row = event_row(item, group.id, new.len())?;
            if item.row.is_some() {
                adopted.push(row);
            } else {
                if let Some(detail) = &item.event.detail {
                    let first = packed.len() + 1;
                    packed.extend_from_slice(detail);
                    details.push(DetailRow { n: row.n, after: 0, first, length: detail.len() });
                }
                new.push(row);
            }
        } else {
            *sampled.entry(group.id).or_default() += 1;
        }
        let hour = text(hour);
        *buckets.entry(BucketKey { group: group.id, hour: hour.clone() }).or_default() += 1;
        let organization = item.organization.0;
        let severity = item.event.severity.as_str();
        *hours.entry(HourKey { organization, hour, severity }).or_default() += 1;
        if let Some(user) = &item.event.user_id
            && group.users < MAX_USERS
            && known.is_new_user(group.id, user)
        {
            users.insert(UserKey { group: group.id, user });
        }
    }

    for detail in &mut details {
        detail.after = new.len() - 1 - detail.n;
    }
    let inserted = insert_events(tx, &new, buckets, hours, &details, packed).await?;
    let mut inserted = inserted.into_iter();
    adopt_events(tx, &adopted).await?;
    if !users.is_empty() {
        count_users(tx, users).await?;
    }
    for (group, count) in sampled {
        tx.query("update error_group set sampled = sampled + $2 where id = $1")
            .bind(group)
            .bind(count)
            .run()
            .await?;
    }
    let mut outcomes = Vec::with_capacity(items.len());
    let mut came = Vec::new();
    for ((item, group), keep) in items.iter().zip(&groups).zip(kept) {
        let id = match (keep, item.row) {
            (false, _) => None,
            (true, Some(id)) => Some(id),
            (true, None) => Some(inserted.next().ok_or(crate::db::Error::RowNotFound)?),
        };
        came.extend(id.zip(group.came_as));
        outcomes.push(id.map_or(Recorded::Counted, Recorded::Stored));
    }
    regroup::remember(tx, &came).await?;
    Ok(outcomes)
}

/// Remembers users not seen before in their group, and counts those.
async fn count_users(tx: &mut Tx, users: BTreeSet<UserKey<'_>>) -> Result<()> {
    let users: Vec<UserKey<'_>> = users.into_iter().collect();
    let sql = tx.dialect(
        "insert into error_group_user (group_id, user_id)
         select r.group, r.user
         from json_to_recordset(cast($1 as json)) as r(\"group\" bigint, \"user\" text)
         on conflict (group_id, user_id) do nothing
         returning group_id",
        "insert into error_group_user (group_id, user_id)
         select value ->> 'group', value ->> 'user' from jsonb_each($1) where true
         on conflict (group_id, user_id) do nothing
         returning group_id",
    );
    let added: Vec<(i64,)> = tx.query(sql).bind(json(&users)?).all().await?;
    let mut by_group: BTreeMap<i64, i64> = BTreeMap::new();
    for (group,) in added {
        *by_group.entry(group).or_default() += 1;
    }
    for (group, count) in by_group {
        tx.query("update error_group set users = users + $2 where id = $1")
            .bind(group)
            .bind(count)
            .run()
            .await?;
    }
    Ok(())
}
