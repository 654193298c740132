//! The rows of events: inserting them with their details and the counts by hour.

use std::collections::BTreeMap;

use serde::Serialize;

use super::write::{Item, json, text};
use crate::{
    db::{Result, Tx},
    errors::event::Origin,
    logs::Severity,
};

#[derive(Serialize)]
pub(super) struct EventRow<'a> {
    id: Option<i64>,
    /// Its place among those that are inserted.
    pub(super) n: usize,
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
pub(super) struct DetailRow {
    /// The event's place among the inserted ones.
    pub(super) n: usize,
    /// How many were inserted after it.
    pub(super) after: usize,
    /// The first byte's place, from 1.
    pub(super) first: usize,
    pub(super) length: usize,
}

#[derive(Serialize)]
struct Count<K: Serialize> {
    #[serde(flatten)]
    key: K,
    count: i64,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BucketKey {
    pub(super) group: i64,
    pub(super) hour: String,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HourKey {
    pub(super) organization: i64,
    pub(super) hour: String,
    pub(super) severity: &'static str,
}

pub(super) fn event_row(item: &Item, group: i64, n: usize) -> Result<EventRow<'_>> {
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

/// Inserts the events and counts them by hour, in one round trip: that costs more than
/// the rows do. Gives the ids in the order of the events.
pub(super) async fn insert_events(
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
pub(super) async fn adopt_events(tx: &mut Tx, rows: &[EventRow<'_>]) -> Result<()> {
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
