//! Storing events with the counters of their groups: few statements for many events.
//!
//! Rows travel as one JSON parameter, so a batch of a thousand costs as many round
//! trips as a batch of one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use super::{
    known::{Addition, Key, Known, Stored},
    regroup, second, weight,
};
use crate::{
    auth::OrganizationId,
    db::{Result, Tx},
    errors::{Event, Fingerprint, event::Origin},
    logs::Severity,
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

/// An event and the fingerprint that it counts by, which may be another than its own (see
/// [`regroup`]).
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub item: &'a Item,
    pub fingerprint: &'a str,
    pub title: &'a str,
}

impl<'a> Place<'a> {
    fn of(item: &'a Item) -> Self {
        Self { item, fingerprint: &item.fingerprint.value, title: &item.fingerprint.title }
    }

    pub(super) fn key(&self) -> Key<'a> {
        (self.item.organization.0, &self.item.event.app, self.fingerprint)
    }
}

/// What all events of a batch add to one group.
#[derive(Serialize)]
struct GroupRow<'a> {
    organization: i64,
    app: &'a str,
    fingerprint: &'a str,
    title: &'a str,
    culprit: Option<&'a str>,
    error_type: &'a str,
    cause_key: &'a str,
    severity: Severity,
    endpoint: Option<&'a str>,
    method: Option<&'a str>,
    count: i64,
    first_seen: String,
    last_seen: String,
    latest: String,
    seen_at: String,
    weight: i64,
    first_release: Option<&'a str>,
    last_release: Option<&'a str>,
    #[serde(skip)]
    seen: (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>),
}

#[derive(Serialize)]
struct EventRow<'a> {
    id: Option<i64>,
    /// Its place among those that are inserted.
    n: usize,
    organization: i64,
    group: i64,
    app: &'a str,
    error_type: &'a str,
    message: &'a str,
    stack: Option<&'a str>,
    endpoint: Option<&'a str>,
    method: Option<&'a str>,
    user: Option<&'a str>,
    severity: Severity,
    at: String,
    origin: Origin,
    event_id: Option<&'a str>,
    release: Option<&'a str>,
    environment: Option<&'a str>,
    request: Option<&'a str>,
    /// A JSON object.
    tags: Option<String>,
}

/// Where an event's packed detail stands among those of all events of a batch.
#[derive(Serialize)]
struct DetailRow {
    /// The event's place among the inserted ones.
    n: usize,
    /// How many were inserted after it.
    after: usize,
    /// The first byte's place, from 1.
    first: usize,
    length: usize,
}

#[derive(Serialize)]
struct Count<K: Serialize> {
    #[serde(flatten)]
    key: K,
    count: i64,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct BucketKey {
    group: i64,
    hour: String,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct HourKey {
    organization: i64,
    hour: String,
    severity: &'static str,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct UserKey<'a> {
    group: i64,
    user: &'a str,
}

#[derive(sqlx::FromRow)]
struct Upserted {
    id: i64,
    organization_id: i64,
    app: String,
    fingerprint: String,
    users: i64,
    count: i64,
    weight: i64,
    merged_into: Option<i64>,
    /// An operator made the signpost, and may undo it.
    by_hand: bool,
    awaits: bool,
}

/// The class of a group's count, where it is another now.
#[derive(Serialize)]
struct Weight {
    id: i64,
    weight: i64,
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

fn event_row(item: &Item, group: i64, n: usize) -> Result<EventRow<'_>> {
    let event = &item.event;
    let tags = if event.tags.is_empty() { None } else { Some(json(&event.tags)?) };
    Ok(EventRow {
        id: item.row,
        n,
        organization: item.organization.0,
        group,
        app: &event.app,
        error_type: &event.error_type,
        message: &event.error_message,
        stack: event.error_stack.as_deref(),
        endpoint: event.endpoint.as_deref(),
        method: event.method.as_deref(),
        user: event.user_id.as_deref(),
        severity: event.severity,
        at: text(event.created_at),
        origin: event.origin,
        event_id: event.event_id.as_deref(),
        release: event.release.as_deref(),
        environment: event.environment.as_deref(),
        request: event.request_id.as_deref(),
        tags,
    })
}

/// What the other tables need of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub id: i64,
    pub users: i64,
    /// The signpost by which the event came, if that may be undone.
    pub came_as: Option<i64>,
}

/// A group as a batch met it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub id: i64,
    pub users: i64,
    pub count: i64,
    /// Nothing was there before.
    pub is_new: bool,
    /// It is a signpost: its events count for this group.
    pub merged_into: Option<i64>,
    pub by_hand: bool,
    /// Resolved from a release on: whether the events reopen it is still to be decided.
    pub awaits: bool,
}

/// The latest moment the event can have happened: SQL's `current_timestamp` on SQLite
/// has no fraction, and must not seem older than a resolution of the same second.
pub(super) fn latest(at: DateTime<Utc>) -> DateTime<Utc> {
    if at.timestamp_subsec_micros() == 0 { at + TimeDelta::microseconds(999_999) } else { at }
}

/// What a group becomes by further events that are `$new`; its status is left alone where
/// the release decides.
macro_rules! count_in {
    ($new:literal) => {
        concat!(
            "count = error_group.count + ",
            $new,
            ".count, first_release = case
                 when ",
            $new,
            ".first_seen < error_group.first_seen
                 then coalesce(",
            $new,
            ".first_release, error_group.first_release)
                 else coalesce(error_group.first_release, ",
            $new,
            ".first_release) end,
             last_release = case when ",
            $new,
            ".last_seen >= error_group.last_seen
                 then coalesce(",
            $new,
            ".last_release, error_group.last_release)
                 else coalesce(error_group.last_release, ",
            $new,
            ".last_release) end,
             first_seen = case when ",
            $new,
            ".first_seen < error_group.first_seen
                 then ",
            $new,
            ".first_seen else error_group.first_seen end,
             last_seen = case when ",
            $new,
            ".last_seen > error_group.last_seen
                 then ",
            $new,
            ".last_seen else error_group.last_seen end,
             seen_at = case when ",
            $new,
            ".seen_at > error_group.seen_at
                 then ",
            $new,
            ".seen_at else error_group.seen_at end,
             severity = case
                 when 'critical' in (error_group.severity, ",
            $new,
            ".severity) then 'critical'
                 when 'error' in (error_group.severity, ",
            $new,
            ".severity) then 'error'
                 when 'warning' in (error_group.severity, ",
            $new,
            ".severity) then 'warning'
                 else ",
            $new,
            ".severity end,
             endpoint = coalesce(error_group.endpoint, ",
            $new,
            ".endpoint),
             method = coalesce(error_group.method, ",
            $new,
            ".method),
             regressions = error_group.regressions + case
                 when error_group.status = 'resolved' and error_group.resolved_in is null
                     and error_group.resolved_after is null
                     and ",
            $new,
            ".status_at > error_group.status_at then 1 else 0 end,
             status_at = case
                 when error_group.status = 'resolved' and error_group.resolved_in is null
                     and error_group.resolved_after is null
                     and ",
            $new,
            ".status_at > error_group.status_at
                 then ",
            $new,
            ".status_at else error_group.status_at end,
             status = case
                 when error_group.status = 'resolved' and error_group.resolved_in is null
                     and error_group.resolved_after is null
                     and ",
            $new,
            ".status_at > error_group.status_at
                 then 'regressed' else error_group.status end"
        )
    };
}
/// A group that was split is locked and left as it is, and not returned.
macro_rules! upsert_groups {
    ($rows:literal) => {
        concat!(
            "insert into error_group (organization_id, app, fingerprint, title, culprit,
                 error_type, cause_key, severity, endpoint, method, count, first_seen, last_seen,
                 status_at, first_release, last_release, seen_at, weight) ",
            $rows,
            " on conflict (organization_id, app, fingerprint) do update set ",
            count_in!("excluded"),
            " where error_group.split_by is null
             returning id, organization_id, app, fingerprint, users, count, weight, merged_into,
                 (merged_by is not null) as by_hand,
                 (status = 'resolved' and coalesce(resolved_in, resolved_after) is not null)
                     as awaits"
        )
    };
}

/// Counts the items for their groups; gives the group of each, in their order.
async fn count_groups(tx: &mut Tx, known: &mut Known, items: &[&Item]) -> Result<Vec<Group>> {
    let mut additions: BTreeMap<Key<'_>, Addition<'_>> = BTreeMap::new();
    for item in items {
        let one = Addition::of(&item.event);
        let key = Place::of(item).key();
        additions.entry(key).and_modify(|addition| addition.add(&one)).or_insert(one);
    }
    let counted = known.count(tx, &additions).await?;
    let rest: Vec<Place<'_>> = items
        .iter()
        .map(|item| Place::of(item))
        .filter(|place| !counted.contains_key(&place.key()))
        .collect();
    let mut settled = Vec::new();
    if !rest.is_empty() {
        let met = upsert(tx, &rest).await?;
        for (place, met) in rest.iter().zip(&met) {
            let key = place.key();
            if let (Some(met), Some(addition)) = (met, additions.get(&key))
                && met.merged_into.is_none()
            {
                let stored = Stored { id: met.id, users: met.users, count: met.count };
                known.remember(key, addition, stored);
            }
        }
        settled = regroup::settle(tx, &rest, met).await?;
    }
    let mut settled = settled.into_iter();
    items
        .iter()
        .map(|item| match counted.get(&Place::of(item).key()) {
            Some(group) => Ok(*group),
            None => settled.next().ok_or(crate::db::Error::RowNotFound),
        })
        .collect()
}

/// Adds up the batch by group and writes one row each, in the order of their keys:
/// two replicas that lock the same groups wait for each other instead of deadlocking.
/// Gives the group of each place; `None` where it was split.
pub(super) async fn upsert(tx: &mut Tx, places: &[Place<'_>]) -> Result<Vec<Option<Met>>> {
    let mut rows: BTreeMap<Key<'_>, GroupRow<'_>> = BTreeMap::new();
    for place in places {
        add_up(&mut rows, place.key(), place);
    }
    let by_key: Vec<&GroupRow<'_>> = finish(&mut rows);
    let sql = tx.dialect(
        upsert_groups!(
            "select r.organization, r.app, r.fingerprint, r.title, r.culprit, r.error_type,
                 r.cause_key, r.severity, r.endpoint, r.method, r.count, r.first_seen, r.last_seen,
                 r.latest, r.first_release, r.last_release, r.seen_at, r.weight
             from json_to_recordset(cast($1 as json)) as r(organization bigint, app text,
                 fingerprint text, title text, culprit text, error_type text, cause_key text,
                 severity text, endpoint text, method text, count bigint, first_seen timestamptz,
                 last_seen timestamptz, latest timestamptz, first_release text,
                 last_release text, seen_at timestamptz, weight bigint)"
        ),
        upsert_groups!(
            "select value ->> 'organization', value ->> 'app', value ->> 'fingerprint',
                 value ->> 'title', value ->> 'culprit', value ->> 'error_type',
                 value ->> 'cause_key', value ->> 'severity', value ->> 'endpoint',
                 value ->> 'method', value ->> 'count', value ->> 'first_seen',
                 value ->> 'last_seen', value ->> 'latest', value ->> 'first_release',
                 value ->> 'last_release', value ->> 'seen_at', value ->> 'weight'
             from jsonb_each($1) where true"
        ),
    );
    let upserted: Vec<Upserted> = tx.query(sql).bind(json(&by_key)?).all().await?;
    let keys: Vec<(Key<'_>, i64)> = rows.iter().map(|(key, row)| (*key, row.count)).collect();
    let mut met: HashMap<Key<'_>, Met> = HashMap::with_capacity(upserted.len());
    let mut weights = Vec::new();
    for group in upserted {
        if group.weight != weight(group.count) {
            weights.push(Weight { id: group.id, weight: weight(group.count) });
        }
        let key = (group.organization_id, group.app.as_str(), group.fingerprint.as_str());
        if let Ok(at) = keys.binary_search_by(|(known, _)| (*known).cmp(&key)) {
            let (key, count) = keys[at];
            let is_new = group.count == count;
            let Upserted { id, users, count, merged_into, by_hand, awaits, .. } = group;
            met.insert(key, Met { id, users, count, is_new, merged_into, by_hand, awaits });
        }
    }
    weigh(tx, &weights).await?;
    Ok(places.iter().map(|place| met.get(&place.key()).copied()).collect())
}

macro_rules! count_for {
    ($rows:literal) => {
        concat!(
            "update error_group set ",
            count_in!("r"),
            " from (",
            $rows,
            ") as r
             where error_group.id = r.id and error_group.split_by is null
                 and error_group.merged_into is null
             returning error_group.id, error_group.users, error_group.count,
                 error_group.weight,
                 (error_group.status = 'resolved'
                     and coalesce(error_group.resolved_in, error_group.resolved_after) is not null)
                     as awaits"
        )
    };
}

/// Counts places for groups that are there, by id. Gives id, users and whether the release
/// decides on its status; groups that were split or merged meanwhile are left out.
pub(super) async fn count_for(
    tx: &mut Tx,
    places: &[(i64, Place<'_>)],
) -> Result<Vec<(i64, i64, bool)>> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: i64,
        #[serde(flatten)]
        row: &'a GroupRow<'a>,
    }
    let mut rows: BTreeMap<i64, GroupRow<'_>> = BTreeMap::new();
    for (id, place) in places {
        add_up(&mut rows, *id, place);
    }
    finish(&mut rows);
    let rows: Vec<Row<'_>> = rows.iter().map(|(id, row)| Row { id: *id, row }).collect();
    let sql = tx.dialect(
        count_for!(
            "select j.id, j.severity, j.endpoint, j.method, j.count, j.first_seen, j.last_seen,
                 j.latest as status_at, j.first_release, j.last_release, j.seen_at
             from json_to_recordset(cast($1 as json)) as j(id bigint, severity text,
                 endpoint text, method text, count bigint, first_seen timestamptz,
                 last_seen timestamptz, latest timestamptz, first_release text,
                 last_release text, seen_at timestamptz) order by j.id"
        ),
        count_for!(
            "select value ->> 'id' as id, value ->> 'severity' as severity,
                 value ->> 'endpoint' as endpoint, value ->> 'method' as method,
                 value ->> 'count' as count, value ->> 'first_seen' as first_seen,
                 value ->> 'last_seen' as last_seen, value ->> 'latest' as status_at,
                 value ->> 'first_release' as first_release, value ->> 'last_release' as last_release,
                 value ->> 'seen_at' as seen_at
             from jsonb_each($1)"
        ),
    );
    let counted: Vec<(i64, i64, i64, i64, bool)> = tx.query(sql).bind(json(&rows)?).all().await?;
    let weights: Vec<Weight> = counted
        .iter()
        .filter(|(_, _, count, stored, _)| weight(*count) != *stored)
        .map(|(id, _, count, ..)| Weight { id: *id, weight: weight(*count) })
        .collect();
    weigh(tx, &weights).await?;
    Ok(counted.into_iter().map(|(id, users, _, _, awaits)| (id, users, awaits)).collect())
}

fn add_up<'a, K: Ord>(rows: &mut BTreeMap<K, GroupRow<'a>>, key: K, place: &Place<'a>) {
    let (event, fingerprint) = (&place.item.event, &place.item.fingerprint);
    let at = event.created_at;
    let row = rows.entry(key).or_insert_with(|| GroupRow {
        organization: place.item.organization.0,
        app: &event.app,
        fingerprint: place.fingerprint,
        title: place.title,
        culprit: fingerprint.culprit.as_deref(),
        error_type: &event.error_type,
        cause_key: &fingerprint.cause_key,
        severity: event.severity,
        endpoint: event.path(),
        method: event.method.as_deref(),
        count: 0,
        first_seen: String::new(),
        last_seen: String::new(),
        latest: String::new(),
        seen_at: String::new(),
        weight: 0,
        first_release: None,
        last_release: None,
        seen: (at, at, latest(at)),
    });
    row.count += 1;
    row.severity = row.severity.max(event.severity);
    let (first, last, newest) = row.seen;
    if let Some(release) = event.release.as_deref() {
        if row.first_release.is_none() || at < first {
            row.first_release = Some(release);
        }
        if row.last_release.is_none() || at >= last {
            row.last_release = Some(release);
        }
    }
    row.seen = (first.min(at), last.max(at), newest.max(latest(at)));
}

/// Writes the times out.
fn finish<'r, 'a, K: Ord>(rows: &'r mut BTreeMap<K, GroupRow<'a>>) -> Vec<&'r GroupRow<'a>> {
    for row in rows.values_mut() {
        let (first, last, newest) = row.seen;
        (row.first_seen, row.last_seen, row.latest) = (text(first), text(last), text(newest));
        (row.seen_at, row.weight) = (text(second(last)), weight(row.count));
    }
    rows.values().collect()
}

async fn weigh(tx: &mut Tx, weights: &[Weight]) -> Result<()> {
    if weights.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "update error_group set weight = r.weight
         from json_to_recordset(cast($1 as json)) as r(id bigint, weight bigint)
         where error_group.id = r.id",
        "update error_group set weight = r.value ->> 'weight'
         from json_each($1) as r where error_group.id = r.value ->> 'id'",
    );
    tx.query(sql).bind(json(weights)?).run().await.map(drop)
}

/// Inserts the events and counts them by hour, in one round trip: that costs more than
/// the rows do. Gives the ids in the order of the events.
async fn insert_events(
    tx: &mut Tx,
    rows: &[EventRow<'_>],
    buckets: BTreeMap<BucketKey, i64>,
    hours: BTreeMap<HourKey, i64>,
    details: &[DetailRow],
    packed: Vec<u8>,
) -> Result<Vec<i64>> {
    let sql = tx.dialect(
        "with bucket as (
             insert into error_bucket (group_id, hour_at, count)
             select r.group, r.hour, r.count
             from json_to_recordset(cast($2 as json)) as r(\"group\" bigint, hour timestamptz,
                 count bigint)
             on conflict (group_id, hour_at)
                 do update set count = error_bucket.count + excluded.count
         ), by_hour as (
             insert into error_hour (organization_id, hour_at, severity, count)
             select r.organization, r.hour, r.severity, r.count
             from json_to_recordset(cast($3 as json)) as r(organization bigint, hour timestamptz,
                 severity text, count bigint)
             on conflict (organization_id, hour_at, severity)
                 do update set count = error_hour.count + excluded.count
         ), new as materialized (
             select nextval(pg_get_serial_sequence('error_log', 'id')) as id, r.n, r.error_type,
                 r.message, r.stack, r.endpoint, r.method, r.user, r.severity, r.at,
                 r.organization, r.app, r.group, r.origin, r.event_id, r.release, r.environment,
                 r.request, r.tags
             from json_to_recordset(cast($1 as json)) as r(n bigint, error_type text, message text,
                 stack text, endpoint text, method text, \"user\" text, severity text,
                 at timestamptz, organization bigint, app text, \"group\" bigint, origin text,
                 event_id text, release text, environment text, request text, tags text)
         ), event as (
             insert into error_log (id, error_type, error_message, error_stack, endpoint, method,
                 user_id, severity, created_at, organization_id, app, group_id, origin, event_id,
                 release, environment, request_id, tags)
             select id, error_type, message, stack, endpoint, method, \"user\", severity, at,
                 organization, app, \"group\", origin, event_id, release, environment, request, tags
             from new
         ), detail as (
             insert into error_detail (event_id, body)
             select new.id, substring(cast($5 as bytea) from r.first for r.length)
             from json_to_recordset(cast($4 as json)) as r(n bigint, first integer, length integer)
             join new on new.n = r.n
         )
         select id from new order by n",
        "insert into error_bucket (group_id, hour_at, count)
         select value ->> 'group', value ->> 'hour', value ->> 'count'
         from jsonb_each($2) where true
         on conflict (group_id, hour_at) do update set count = error_bucket.count + excluded.count;
         insert into error_hour (organization_id, hour_at, severity, count)
         select value ->> 'organization', value ->> 'hour', value ->> 'severity', value ->> 'count'
         from jsonb_each($3) where true
         on conflict (organization_id, hour_at, severity)
             do update set count = error_hour.count + excluded.count;
         insert into error_log (error_type, error_message, error_stack, endpoint, method, user_id,
             severity, created_at, organization_id, app, group_id, origin, event_id, release,
             environment, request_id, tags)
         select value ->> 'error_type', value ->> 'message', value ->> 'stack',
             value ->> 'endpoint', value ->> 'method', value ->> 'user', value ->> 'severity',
             value ->> 'at', value ->> 'organization', value ->> 'app', value ->> 'group',
             value ->> 'origin', value ->> 'event_id', value ->> 'release',
             value ->> 'environment', value ->> 'request', value ->> 'tags'
         from jsonb_each($1);
         insert into error_detail (event_id, body)
         select (select max(id) from error_log) - (value ->> 'after'),
             substr($5, value ->> 'first', value ->> 'length')
         from jsonb_each($4);
         select max(id) from error_log",
    );
    let ids: Vec<(i64,)> = tx
        .query(sql)
        .bind(json(rows)?)
        .bind(json(&counted(buckets))?)
        .bind(json(&counted(hours))?)
        .bind(json(details)?)
        .bind(packed)
        .all()
        .await?;
    let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    if let (Tx::Lite(..), &[last]) = (&*tx, &ids[..]) {
        // Nobody else writes meanwhile, so the ids have no gaps.
        return Ok((last + 1 - rows.len().cast_signed() as i64..=last).collect());
    }
    Ok(ids)
}

/// Gives rows of other programs what was made of them. Columns besides the first version's are
/// emptied: on SQLite they could hold anything.
async fn adopt_events(tx: &mut Tx, rows: &[EventRow<'_>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "update error_log set group_id = r.group, organization_id = r.organization, app = r.app,
             error_type = r.error_type, error_message = r.message, error_stack = r.stack,
             endpoint = r.endpoint, method = r.method, user_id = r.user, severity = r.severity,
             created_at = r.at, origin = 'row', event_id = null, release = null,
             environment = null, request_id = null, tags = null
         from json_to_recordset(cast($1 as json)) as r(id bigint, organization bigint, app text,
             error_type text, message text, stack text, endpoint text, method text,
             \"user\" text, severity text, at timestamptz, \"group\" bigint)
         where error_log.id = r.id",
        "update error_log set group_id = r.value ->> 'group',
             organization_id = r.value ->> 'organization', app = r.value ->> 'app',
             error_type = r.value ->> 'error_type', error_message = r.value ->> 'message',
             error_stack = r.value ->> 'stack', endpoint = r.value ->> 'endpoint',
             method = r.value ->> 'method', user_id = r.value ->> 'user',
             severity = r.value ->> 'severity', created_at = r.value ->> 'at', origin = 'row',
             event_id = null, release = null, environment = null, request_id = null, tags = null
         from jsonb_each($1) as r
         where error_log.id = r.value ->> 'id'",
    );
    tx.query(sql).bind(json(rows)?).run().await.map(drop)
}

fn counted<K: Serialize>(counts: BTreeMap<K, i64>) -> Vec<Count<K>> {
    counts.into_iter().map(|(key, count)| Count { key, count }).collect()
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
