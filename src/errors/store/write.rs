//! Storing events with the counters of their groups: few statements for many events.
//!
//! Rows travel as one JSON parameter, so a batch of a thousand costs as many round
//! trips as a batch of one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

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
}

/// A time as SQLite holds it (and sqlx would bind it); PostgreSQL reads it as well.
pub(super) fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| crate::db::Error::Encode(error.into()))
}

/// Stores the items and counts them; gives their ids in the same order.
///
/// Items with a `row` are that row, which gets its group; the others are inserted.
pub async fn write(tx: &mut Tx, items: &[&Item]) -> Result<Vec<i64>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let groups = upsert_groups(tx, items).await?;
    let mut new = Vec::new();
    let mut adopted = Vec::new();
    let (mut details, mut packed) = (Vec::new(), Vec::new());
    let mut buckets: BTreeMap<BucketKey, i64> = BTreeMap::new();
    let mut hours: BTreeMap<HourKey, i64> = BTreeMap::new();
    let mut users: BTreeSet<UserKey<'_>> = BTreeSet::new();
    for item in items {
        let group = groups.get(&key(item)).ok_or(crate::db::Error::RowNotFound)?;
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
        let hour = item.event.created_at.duration_trunc(TimeDelta::hours(1));
        let hour = text(hour.unwrap_or(item.event.created_at));
        *buckets.entry(BucketKey { group: group.id, hour: hour.clone() }).or_default() += 1;
        let organization = item.organization.0;
        let severity = item.event.severity.as_str();
        *hours.entry(HourKey { organization, hour, severity }).or_default() += 1;
        if let Some(user) = &item.event.user_id
            && group.users < MAX_USERS
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
    items
        .iter()
        .map(|item| item.row.or_else(|| inserted.next()).ok_or(crate::db::Error::RowNotFound))
        .collect()
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

type GroupKey<'a> = (i64, &'a str, &'a str);

fn key(item: &Item) -> GroupKey<'_> {
    (item.organization.0, &item.event.app, &item.fingerprint.value)
}

/// What the other tables need of a group.
#[derive(Clone, Copy)]
struct Group {
    id: i64,
    users: i64,
}

/// The latest moment the event can have happened: SQL's `current_timestamp` on SQLite
/// has no fraction, and must not seem older than a resolution of the same second.
fn latest(at: DateTime<Utc>) -> DateTime<Utc> {
    if at.timestamp_subsec_micros() == 0 { at + TimeDelta::microseconds(999_999) } else { at }
}

macro_rules! upsert_groups {
    ($rows:literal) => {
        concat!(
            "insert into error_group (organization_id, app, fingerprint, title, culprit,
                 error_type, cause_key, severity, endpoint, method, count, first_seen, last_seen,
                 status_at) ",
            $rows,
            " on conflict (organization_id, app, fingerprint) do update set
                 count = error_group.count + excluded.count,
                 first_seen = case when excluded.first_seen < error_group.first_seen
                     then excluded.first_seen else error_group.first_seen end,
                 last_seen = case when excluded.last_seen > error_group.last_seen
                     then excluded.last_seen else error_group.last_seen end,
                 severity = case
                     when 'critical' in (error_group.severity, excluded.severity) then 'critical'
                     when 'error' in (error_group.severity, excluded.severity) then 'error'
                     when 'warning' in (error_group.severity, excluded.severity) then 'warning'
                     else excluded.severity end,
                 endpoint = coalesce(error_group.endpoint, excluded.endpoint),
                 method = coalesce(error_group.method, excluded.method),
                 regressions = error_group.regressions + case
                     when error_group.status = 'resolved'
                         and excluded.status_at > error_group.status_at then 1 else 0 end,
                 status_at = case
                     when error_group.status = 'resolved'
                         and excluded.status_at > error_group.status_at
                     then excluded.status_at else error_group.status_at end,
                 status = case
                     when error_group.status = 'resolved'
                         and excluded.status_at > error_group.status_at
                     then 'regressed' else error_group.status end
             returning id, organization_id, app, fingerprint, users"
        )
    };
}

/// Adds up the batch by group and writes one row each, in the order of their keys:
/// two replicas that lock the same groups wait for each other instead of deadlocking.
async fn upsert_groups<'a>(
    tx: &mut Tx,
    items: &[&'a Item],
) -> Result<HashMap<GroupKey<'a>, Group>> {
    let mut rows: BTreeMap<GroupKey<'a>, GroupRow<'a>> = BTreeMap::new();
    for item in items {
        let (event, fingerprint) = (&item.event, &item.fingerprint);
        let at = event.created_at;
        let row = rows.entry(key(item)).or_insert_with(|| GroupRow {
            organization: item.organization.0,
            app: &event.app,
            fingerprint: &fingerprint.value,
            title: &fingerprint.title,
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
            seen: (at, at, latest(at)),
        });
        row.count += 1;
        row.severity = row.severity.max(event.severity);
        let (first, last, newest) = row.seen;
        row.seen = (first.min(at), last.max(at), newest.max(latest(at)));
    }
    for row in rows.values_mut() {
        let (first, last, newest) = row.seen;
        (row.first_seen, row.last_seen, row.latest) = (text(first), text(last), text(newest));
    }
    let by_key: Vec<&GroupRow<'_>> = rows.values().collect();
    let sql = tx.dialect(
        upsert_groups!(
            "select r.organization, r.app, r.fingerprint, r.title, r.culprit, r.error_type,
                 r.cause_key, r.severity, r.endpoint, r.method, r.count, r.first_seen, r.last_seen,
                 r.latest
             from json_to_recordset(cast($1 as json)) as r(organization bigint, app text,
                 fingerprint text, title text, culprit text, error_type text, cause_key text,
                 severity text, endpoint text, method text, count bigint, first_seen timestamptz,
                 last_seen timestamptz, latest timestamptz)"
        ),
        upsert_groups!(
            "select value ->> 'organization', value ->> 'app', value ->> 'fingerprint',
                 value ->> 'title', value ->> 'culprit', value ->> 'error_type',
                 value ->> 'cause_key', value ->> 'severity', value ->> 'endpoint',
                 value ->> 'method', value ->> 'count', value ->> 'first_seen',
                 value ->> 'last_seen', value ->> 'latest'
             from jsonb_each($1) where true"
        ),
    );
    let upserted: Vec<Upserted> = tx.query(sql).bind(json(&by_key)?).all().await?;
    let keys: Vec<GroupKey<'a>> = rows.keys().copied().collect();
    let mut groups = HashMap::with_capacity(upserted.len());
    for group in upserted {
        let key = (group.organization_id, group.app.as_str(), group.fingerprint.as_str());
        if let Ok(at) = keys.binary_search_by(|known| (*known).cmp(&key)) {
            groups.insert(keys[at], Group { id: group.id, users: group.users });
        }
    }
    Ok(groups)
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
