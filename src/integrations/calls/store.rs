//! Calls and how fetching them went, in rows.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::payload::Heard;
use crate::{
    auth::OrganizationId,
    contacts::activity,
    db::{Db, Result, Tx},
};

/// What stands in the place of a hash where a person was forgotten.
const ERASED: &str = "erased";

/// A call, as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = CallLog)]
pub struct Call {
    pub id: i64,
    /// "highlevel".
    pub source: String,
    pub provider_call_id: String,
    /// The contact who called, if one is known by the number or address.
    pub contact_id: Option<i64>,
    pub agent_id: Option<String>,
    pub from_number: String,
    pub started_at: DateTime<Utc>,
    pub duration_seconds: i64,
    pub is_trial: bool,
    pub summary: String,
    /// Names of what was done during the call.
    #[schema(value_type = Vec<String>)]
    pub actions: Value,
    /// What was gathered from the caller.
    #[schema(value_type = Object)]
    pub extracted: Value,
    /// Only where one call is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    source: String,
    provider_call_id: String,
    contact_id: Option<i64>,
    agent_id: Option<String>,
    from_number: String,
    started_at: DateTime<Utc>,
    duration_seconds: i64,
    is_trial: bool,
    summary: String,
    actions: String,
    extracted: String,
    transcript: Option<String>,
}

impl From<Row> for Call {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            source: row.source,
            provider_call_id: row.provider_call_id,
            contact_id: row.contact_id,
            agent_id: row.agent_id,
            from_number: row.from_number,
            started_at: row.started_at,
            duration_seconds: row.duration_seconds,
            is_trial: row.is_trial,
            summary: row.summary,
            actions: serde_json::from_str(&row.actions).unwrap_or_default(),
            extracted: serde_json::from_str(&row.extracted).unwrap_or_default(),
            transcript: row.transcript,
        }
    }
}

/// After which call a list goes on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Position {
    pub at: DateTime<Utc>,
    pub id: i64,
}

/// Which calls; what is left out does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub source: Option<&'static str>,
    pub contact: Option<i64>,
    pub after: Option<Position>,
}

/// Calls, newest first.
pub async fn page(
    db: &Db,
    organization: OrganizationId,
    wanted: Wanted,
    limit: i64,
) -> Result<Vec<Call>> {
    // Further ahead than any clock.
    let top = DateTime::from_timestamp(32_503_680_000, 0).unwrap_or_default();
    let after = wanted.after.unwrap_or(Position { at: top, id: i64::MAX });
    let rows: Vec<Row> = db
        .query(
            "select id, source, provider_call_id, contact_id, agent_id, from_number, started_at,
                 duration_seconds, is_trial, summary, actions, extracted,
                 cast(null as text) as transcript
             from call_log
             where organization_id = $1 and (started_at, id) < ($2, $3)
               and (cast($4 as bigint) is null or contact_id = $4)
               and (cast($5 as text) is null or source = $5)
             order by started_at desc, id desc limit $6",
        )
        .bind(organization)
        .bind(after.at)
        .bind(after.id)
        .bind(wanted.contact)
        .bind(wanted.source)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Call::from).collect())
}

/// One call with its transcript; of one source, if it is named.
pub async fn find(
    db: &Db,
    organization: OrganizationId,
    source: Option<&str>,
    id: i64,
) -> Result<Option<Call>> {
    let row: Option<Row> = db
        .query(
            "select id, source, provider_call_id, contact_id, agent_id, from_number, started_at,
                 duration_seconds, is_trial, summary, actions, extracted, transcript
             from call_log where organization_id = $1 and id = $2
               and (cast($3 as text) is null or source = $3)",
        )
        .bind(organization)
        .bind(id)
        .bind(source)
        .optional()
        .await?;
    Ok(row.map(Call::from))
}

/// Stores a call; whether it was new or had changed.
pub(super) async fn put(
    tx: &mut Tx,
    organization: OrganizationId,
    source: &str,
    heard: &Heard,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = tx
        .query(
            "insert into call_log (organization_id, source, provider_call_id,
                 provider_contact_id, agent_id, from_number, from_email, started_at,
                 duration_seconds, is_trial, summary, transcript, actions, extracted,
                 content_hash, synced_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             on conflict (organization_id, source, provider_call_id) do update
             set provider_contact_id = excluded.provider_contact_id,
                 agent_id = excluded.agent_id, from_number = excluded.from_number,
                 from_email = excluded.from_email, started_at = excluded.started_at,
                 duration_seconds = excluded.duration_seconds, is_trial = excluded.is_trial,
                 summary = excluded.summary, transcript = excluded.transcript,
                 actions = excluded.actions, extracted = excluded.extracted,
                 content_hash = excluded.content_hash, synced_at = excluded.synced_at
             where call_log.content_hash not in (excluded.content_hash, $17)",
        )
        .bind(organization)
        .bind(source)
        .bind(heard.id.as_str())
        .bind(heard.contact.as_deref())
        .bind(heard.agent.as_deref())
        .bind(heard.number.as_str())
        .bind(heard.email.as_str())
        .bind(heard.started_at)
        .bind(heard.seconds)
        .bind(heard.is_trial)
        .bind(heard.summary.as_str())
        .bind(heard.transcript.as_str())
        .bind(heard.actions.as_str())
        .bind(heard.extracted.as_str())
        .bind(heard.hash.as_str())
        .bind(now)
        .bind(ERASED)
        .run()
        .await?;
    Ok(changed > 0)
}

/// The id of a call that is here.
pub(super) async fn known(
    tx: &mut Tx,
    organization: OrganizationId,
    source: &str,
    provider_call_id: &str,
) -> Result<i64> {
    tx.query(
        "select id from call_log
         where organization_id = $1 and source = $2 and provider_call_id = $3",
    )
    .bind(organization)
    .bind(source)
    .bind(provider_call_id)
    .scalar()
    .await
}

/// A call whose contact was found.
#[derive(sqlx::FromRow)]
struct Match {
    id: i64,
    contact_id: i64,
    started_at: DateTime<Utc>,
    duration_seconds: i64,
    summary: String,
}

/// Ties calls to contacts: by whom the service knows, by number, by address. Where several
/// contacts share one, nobody is guessed. Gives how many were tied, at most `limit` a kind.
pub(super) async fn tie(
    tx: &mut Tx,
    organization: OrganizationId,
    by: &str,
    limit: i64,
) -> Result<usize> {
    let mut tied = 0;
    for way in 0..3 {
        let query = match way {
            0 => tx.query(
                "select c.id, min(e.contact_id) as contact_id, c.started_at, c.duration_seconds,
                     c.summary
                 from call_log c join contact_elsewhere e on e.organization_id = c.organization_id
                     and e.service = c.source and e.external_id = c.provider_contact_id
                 where c.organization_id = $1 and c.contact_id is null
                 group by c.id, c.started_at, c.duration_seconds, c.summary
                 order by c.id limit $2",
            ),
            1 => tx.query(
                "select c.id, min(k.id) as contact_id, c.started_at, c.duration_seconds, c.summary
                 from call_log c join contact k on k.organization_id = c.organization_id
                     and k.phone = c.from_number
                 where c.organization_id = $1 and c.contact_id is null and c.from_number <> ''
                 group by c.id, c.started_at, c.duration_seconds, c.summary
                 having count(k.id) = 1 order by c.id limit $2",
            ),
            _ => tx.query(
                "select c.id, min(k.id) as contact_id, c.started_at, c.duration_seconds, c.summary
                 from call_log c join contact k on k.organization_id = c.organization_id
                     and k.email_key = c.from_email
                 where c.organization_id = $1 and c.contact_id is null and c.from_email <> ''
                 group by c.id, c.started_at, c.duration_seconds, c.summary
                 having count(k.id) = 1 order by c.id limit $2",
            ),
        };
        let found: Vec<Match> = query.bind(organization).bind(limit).all().await?;
        tied += found.len();
        for one in found {
            tx.query("update call_log set contact_id = $2 where id = $1")
                .bind(one.id)
                .bind(one.contact_id)
                .run()
                .await?;
            let summary: String = one.summary.chars().take(300).collect();
            let detail =
                json!({"call": one.id, "seconds": one.duration_seconds, "summary": summary});
            let at = one.started_at;
            activity::note(tx, organization, one.contact_id, "called", by, &detail, at).await?;
        }
    }
    Ok(tied)
}

/// As whom a contact is known there from now on.
pub(super) async fn know_as(
    tx: &mut Tx,
    organization: OrganizationId,
    service: &str,
    external: &str,
    contact: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into contact_elsewhere (organization_id, service, external_id, contact_id, at)
         values ($1, $2, $3, $4, $5)
         on conflict (organization_id, service, external_id) do update
         set contact_id = excluded.contact_id, at = excluded.at",
    )
    .bind(organization)
    .bind(service)
    .bind(external)
    .bind(contact)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// How fetching from a service went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct SyncStatus {
    /// "highlevel".
    pub service: String,
    /// When it ended last.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// "success" or "failure"; `null` before the first has ended.
    pub last_sync_status: Option<String>,
    /// In words, also of what went wrong.
    #[sqlx(rename = "last_sync_message")]
    pub last_sync_message: String,
    /// Rows that were new or had changed, of the last time.
    pub records_synced: i64,
    pub last_success_at: Option<DateTime<Utc>>,
    /// Failures in a row.
    pub failures: i64,
    pub asked_at: DateTime<Utc>,
    pub asked_by: String,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) job_id: Option<i64>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) cursor_ms: Option<i64>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) place: Option<String>,
}

/// All services that something was fetched from.
pub async fn statuses(db: &Db, organization: OrganizationId) -> Result<Vec<SyncStatus>> {
    db.query(
        "select service, last_sync_at, last_sync_status, last_sync_message, records_synced,
             last_success_at, failures, asked_at, asked_by, job_id, cursor_ms, place
         from sync_status where organization_id = $1 order by service limit 50",
    )
    .bind(organization)
    .all()
    .await
}

/// The status of a service.
pub(super) async fn status(
    db: &Db,
    organization: OrganizationId,
    service: &str,
) -> Result<Option<SyncStatus>> {
    let all = statuses(db, organization).await?;
    Ok(all.into_iter().find(|status| status.service == service))
}

/// Takes the row of a service, which is made if there is none, so that of two who ask one makes
/// the job. Gives the job that is still to end, if there is one.
pub(super) async fn hold(
    tx: &mut Tx,
    organization: OrganizationId,
    service: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Option<i64>> {
    tx.query(
        "insert into sync_status (organization_id, service, asked_at, asked_by)
         values ($1, $2, $3, $4) on conflict (organization_id, service) do nothing",
    )
    .bind(organization)
    .bind(service)
    .bind(now)
    .bind(by)
    .run()
    .await?;
    let sql = tx.dialect(
        "select job_id from sync_status where organization_id = $1 and service = $2 for update",
        "select job_id from sync_status where organization_id = $1 and service = $2",
    );
    let (job,): (Option<i64>,) = tx.query(sql).bind(organization).bind(service).one().await?;
    let Some(job) = job else { return Ok(None) };
    let open: Option<(i64,)> = tx
        .query("select id from job where id = $1 and status in ('waiting', 'running')")
        .bind(job)
        .optional()
        .await?;
    Ok(open.map(|(id,)| id))
}

/// Notes the job that fetches.
pub(super) async fn begin(
    tx: &mut Tx,
    organization: OrganizationId,
    service: &str,
    job: Option<i64>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "update sync_status set job_id = $3, asked_at = $4, asked_by = $5
         where organization_id = $1 and service = $2",
    )
    .bind(organization)
    .bind(service)
    .bind(job)
    .bind(now)
    .bind(by)
    .run()
    .await
    .map(drop)
}

/// Whether a job is still to end.
pub(super) async fn is_open(db: &Db, job: i64) -> Result<bool> {
    let open: Option<(i64,)> = db
        .query("select id from job where id = $1 and status in ('waiting', 'running')")
        .bind(job)
        .optional()
        .await?;
    Ok(open.is_some())
}

/// Notes up to when all is here.
pub(super) async fn advance(
    tx: &mut Tx,
    organization: OrganizationId,
    service: &str,
    place: &str,
    cursor_ms: i64,
) -> Result<()> {
    tx.query(
        "update sync_status set cursor_ms = $4, place = $3
         where organization_id = $1 and service = $2",
    )
    .bind(organization)
    .bind(service)
    .bind(place)
    .bind(cursor_ms)
    .run()
    .await
    .map(drop)
}

/// Notes how it ended.
pub(super) async fn end(
    tx: &mut Tx,
    organization: OrganizationId,
    service: &str,
    is_success: bool,
    message: &str,
    records: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "update sync_status set last_sync_at = $3, last_sync_status = $4,
             last_sync_message = $5, records_synced = $6,
             last_success_at = case when $4 = 'success' then $3 else last_success_at end,
             failures = case when $4 = 'success' then 0 else failures + 1 end
         where organization_id = $1 and service = $2",
    )
    .bind(organization)
    .bind(service)
    .bind(now)
    .bind(if is_success { "success" } else { "failure" })
    .bind(message)
    .bind(records)
    .run()
    .await
    .map(drop)
}

/// The organizations whose calls are fetched by themselves.
pub(super) async fn automatic(db: &Db) -> Result<Vec<OrganizationId>> {
    let rows: Vec<(OrganizationId,)> = db
        .query(
            "select organization_id from integration_duty
             where duty = 'calls' and is_automatic order by organization_id",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Services that fetching from has failed last, of all organizations, with what was said.
pub async fn failing(db: &Db) -> Result<Vec<(String, String)>> {
    db.query(
        "select service, last_sync_message from sync_status
         where last_sync_status = 'failure' order by service, organization_id limit 20",
    )
    .all()
    .await
}
