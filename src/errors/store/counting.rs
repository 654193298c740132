//! Counting events for their groups, which are made where they do not exist: one statement for
//! all groups of a batch.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{
    known::{Addition, Key, Known, Stored},
    regroup, second, weight,
    write::{Item, json, text},
};
use crate::{
    db::{Result, Tx},
    logs::Severity,
};

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
pub(super) async fn count_groups(
    tx: &mut Tx,
    known: &mut Known,
    items: &[&Item],
) -> Result<Vec<Group>> {
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
