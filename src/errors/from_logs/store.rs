//! All SQL of events from logs.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::candidate::Candidate;
use crate::{
    auth::OrganizationId,
    db::{Db, Result},
};

/// Events that are compared with the records of some seconds.
const MAX_EVENTS: i64 = 20_000;
/// Runs of probes that are looked at for them.
const MAX_PROBES: i64 = 2000;
/// Sightings of one event that are shown.
const MAX_SIGHTINGS: i64 = 50;

#[derive(Serialize)]
struct HeldRow<'a> {
    id: &'a str,
    due: i64,
    probe: bool,
    body: String,
}

/// A held record, as it was put away.
#[derive(sqlx::FromRow)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) body: String,
}

/// A stored event, as far as records are compared with it.
#[derive(sqlx::FromRow)]
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) error_type: String,
    pub(super) message: String,
    pub(super) endpoint: Option<String>,
    pub(super) method: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) tags: Option<String>,
    pub(super) fingerprint: String,
    pub(super) cause_key: String,
}

/// A run of a probe that failed.
#[derive(sqlx::FromRow)]
pub(super) struct Ran {
    pub(super) id: i64,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) started_at: DateTime<Utc>,
    pub(super) finished_at: DateTime<Utc>,
}

/// A record that told of an event, on its way into the database.
#[derive(Serialize)]
pub(super) struct Seen<'a> {
    pub(super) event: i64,
    pub(super) source: &'a str,
    pub(super) place: &'a str,
    pub(super) record: &'a str,
    pub(super) line: i64,
    pub(super) at: String,
}

/// A record of a log in which an event was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Sighting {
    pub source: String,
    /// 1-based line of its file; of the journal a running number.
    pub line: i64,
    /// As `GET /api/diagnostics/logs` names it.
    pub record_id: String,
    pub at: DateTime<Utc>,
    /// The record, while it is among those of late.
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| crate::db::Error::Encode(error.into()))
}

/// Puts records away; one that is there already is left. Gives how many were new.
pub(super) async fn hold(db: &Db, host: &str, candidates: &[Candidate]) -> Result<u64> {
    let rows = candidates
        .iter()
        .map(|candidate| {
            let body = json(candidate)?;
            Ok(HeldRow { id: &candidate.id, due: candidate.due, probe: candidate.probe, body })
        })
        .collect::<Result<Vec<_>>>()?;
    let sql = db.dialect(
        "insert into error_held (id, host, due, probe, body)
         select r.id, $2, r.due, r.probe, r.body
         from json_to_recordset(cast($1 as json)) as r(id text, due bigint, probe boolean,
             body text)
         on conflict (id) do nothing",
        "insert into error_held (id, host, due, probe, body)
         select value ->> 'id', $2, value ->> 'due', value ->> 'probe', value ->> 'body'
         from json_each($1) where true
         on conflict (id) do nothing",
    );
    db.query(sql).bind(json(&rows)?).bind(host.to_owned()).run().await
}

/// How many records a host holds.
pub(super) async fn count(db: &Db, host: &str) -> Result<i64> {
    db.query("select count(*) from error_held where host = $1").bind(host.to_owned()).scalar().await
}

/// Records that are due at `now` (microseconds since 1970), the oldest first.
pub(super) async fn due(db: &Db, host: &str, now: i64, limit: i64) -> Result<Vec<Held>> {
    db.query(
        "select id, body from error_held where host = $1 and due <= $2
         order by due, id limit $3",
    )
    .bind(host.to_owned())
    .bind(now)
    .bind(limit)
    .all()
    .await
}

/// Answers to probes, due or not.
pub(super) async fn answers(db: &Db, host: &str) -> Result<Vec<Held>> {
    db.query("select id, body from error_held where host = $1 and probe order by due limit $2")
        .bind(host.to_owned())
        .bind(MAX_PROBES)
        .all()
        .await
}

/// Which of these records were told of an event before.
pub(super) async fn told(db: &Db, records: &[&str]) -> Result<Vec<(String,)>> {
    let sql = db.dialect(
        "select distinct record_id from error_sighting
         where record_id in (select json_array_elements_text(cast($1 as json)))",
        "select distinct record_id from error_sighting
         where record_id in (select value from json_each($1))",
    );
    db.query(sql).bind(json(records)?).all().await
}

/// Ids of events that have these ids of their reporters.
pub(super) async fn stored(
    db: &Db,
    organization: OrganizationId,
    ids: &[&str],
) -> Result<Vec<(String, i64)>> {
    let sql = db.dialect(
        "select event_id, id from error_log
         where event_id in (select json_array_elements_text(cast($1 as json)))
           and organization_id = $2",
        "select event_id, id from error_log
         where event_id in (select value from json_each($1)) and +organization_id = $2",
    );
    db.query(sql).bind(json(ids)?).bind(organization).all().await
}

macro_rules! select_events {
    ($where:literal) => {
        concat!(
            "select e.id, e.created_at, e.error_type, substr(e.error_message, 1, 2000) as message,
                 e.endpoint, e.method, e.request_id, e.tags, g.fingerprint, g.cause_key
             from error_log as e join error_group as g on g.id = e.group_id
             where e.organization_id = $1 and e.app = $2 and e.created_at >= $3
               and e.created_at <= $4 and ",
            $where
        )
    };
}

/// Events of an application in a span of time, the newest first.
pub(super) async fn events(
    db: &Db,
    organization: OrganizationId,
    app: &str,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Stored>> {
    db.query(select_events!("true order by e.created_at desc, e.id desc limit $5"))
        .bind(organization)
        .bind(app.to_owned())
        .bind(from)
        .bind(until)
        .bind(MAX_EVENTS)
        .all()
        .await
}

/// Events of these requests in a span of time.
pub(super) async fn events_of_requests(
    db: &Db,
    organization: OrganizationId,
    app: &str,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    requests: &[&str],
) -> Result<Vec<Stored>> {
    let sql = db.dialect(
        select_events!(
            "e.request_id in (select json_array_elements_text(cast($6 as json)))
             order by e.created_at desc, e.id desc limit $5"
        ),
        select_events!(
            "e.request_id in (select value from json_each($6))
             order by e.created_at desc, e.id desc limit $5"
        ),
    );
    db.query(sql)
        .bind(organization)
        .bind(app.to_owned())
        .bind(from)
        .bind(until)
        .bind(MAX_EVENTS)
        .bind(json(requests)?)
        .all()
        .await
}

/// Where these events were seen.
pub(super) async fn places(db: &Db, events: &[i64]) -> Result<Vec<(i64, String)>> {
    let sql = db.dialect(
        "select event_id, place from error_sighting where event_id in
             (select cast(value as bigint) from json_array_elements_text(cast($1 as json)))",
        "select event_id, place from error_sighting where event_id in
             (select value from json_each($1))",
    );
    db.query(sql).bind(json(events)?).all().await
}

/// Runs of probes in a span of time that did not pass, of an application or of none.
pub(super) async fn probes(
    db: &Db,
    organization: OrganizationId,
    app: &str,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Ran>> {
    db.query(
        "select id, method, path, started_at, finished_at from probe_result
         where finished_at >= $3 and started_at <= $4 and organization_id = $1
           and (app = $2 or app = '' or $2 = '') and path is not null
           and (status is null or status >= 500)
         order by finished_at limit $5",
    )
    .bind(organization)
    .bind(app.to_owned())
    .bind(from)
    .bind(until)
    .bind(MAX_PROBES)
    .all()
    .await
}

/// Notes what was seen where, and lets the records go that were decided on. Gives how many
/// went.
pub(super) async fn settle(db: &Db, seen: &[Seen<'_>], decided: &[&str]) -> Result<u64> {
    let mut tx = db.begin().await?;
    if !seen.is_empty() {
        let sql = tx.dialect(
            "insert into error_sighting (event_id, source, place, record_id, line, at)
             select r.event, r.source, r.place, r.record, r.line, r.at
             from json_to_recordset(cast($1 as json)) as r(event bigint, source text, place text,
                 record text, line bigint, at timestamptz)
             where exists (select 1 from error_log as e where e.id = r.event)
             on conflict (event_id, source, record_id) do nothing",
            "insert into error_sighting (event_id, source, place, record_id, line, at)
             select value ->> 'event', value ->> 'source', value ->> 'place', value ->> 'record',
                 value ->> 'line', value ->> 'at'
             from json_each($1)
             where exists (select 1 from error_log as e where e.id = value ->> 'event')
             on conflict (event_id, source, record_id) do nothing",
        );
        tx.query(sql).bind(json(seen)?).run().await?;
    }
    let sql = tx.dialect(
        "delete from error_held
         where id in (select json_array_elements_text(cast($1 as json)))",
        "delete from error_held where id in (select value from json_each($1))",
    );
    let gone = tx.query(sql).bind(json(decided)?).run().await?;
    tx.commit().await?;
    Ok(gone)
}

/// Where an event was seen, in the order of time.
pub async fn sightings(db: &Db, event: i64) -> Result<Vec<Sighting>> {
    db.query(
        "select source, line, record_id, at from error_sighting where event_id = $1
         order by at, source, line limit $2",
    )
    .bind(event)
    .bind(MAX_SIGHTINGS)
    .all()
    .await
}
