//! All SQL of the feature.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{Sample, judge::Memory, kinds::Asked};
use crate::{
    auth::OrganizationId,
    config,
    db::{Db, Result, is_duplicate},
    error::{self, Error},
};

/// Probes that operators may make.
const MAX_MADE: i64 = 500;
/// Answers that are known to be failing ones, for one key.
const MAX_HASHES: i64 = 20;
/// Spans of failed probes that are given at once.
const MAX_SPANS: i64 = 1000;

/// A probe that an operator made.
#[derive(Clone, Debug)]
pub struct Made {
    pub definition: config::Probe,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct MadeRow {
    definition: Json<config::Probe>,
    made_by: String,
    created_at: DateTime<Utc>,
}

impl From<MadeRow> for Made {
    fn from(row: MadeRow) -> Self {
        let Json(definition) = row.definition;
        Self { definition, made_by: row.made_by, created_at: row.created_at }
    }
}

/// The probes that operators made, by name.
pub async fn made(db: &Db, organization: OrganizationId) -> Result<Vec<Made>> {
    let rows: Vec<MadeRow> = db
        .query(
            "select definition, made_by, created_at from probe
             where organization_id = $1 order by name limit $2",
        )
        .bind(organization)
        .bind(MAX_MADE)
        .all()
        .await?;
    Ok(rows.into_iter().map(Made::from).collect())
}

pub async fn find_made(db: &Db, organization: OrganizationId, name: &str) -> Result<Option<Made>> {
    let row: Option<MadeRow> = db
        .query(
            "select definition, made_by, created_at from probe
             where organization_id = $1 and name = $2",
        )
        .bind(organization)
        .bind(name)
        .optional()
        .await?;
    Ok(row.map(Made::from))
}

/// Keeps a new probe. [`Error::Conflict`]: the name is taken, or there are too many.
pub async fn make(
    db: &Db,
    organization: OrganizationId,
    definition: &config::Probe,
    made_by: &str,
    now: DateTime<Utc>,
) -> error::Result<()> {
    let mut tx = db.begin().await?;
    let count: i64 = tx
        .query("select count(*) from probe where organization_id = $1")
        .bind(organization)
        .scalar()
        .await?;
    if count >= MAX_MADE {
        let text = format!("there are {MAX_MADE} probes already; delete some first");
        return Err(Error::Conflict(text));
    }
    let made = tx
        .query(
            "insert into probe (organization_id, name, definition, made_by, created_at)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(organization)
        .bind(definition.name.clone())
        .bind(Json(definition.clone()))
        .bind(made_by)
        .bind(now)
        .run()
        .await;
    match made {
        Ok(_) => Ok(tx.commit().await?),
        Err(error) if is_duplicate(&error) => {
            let name = &definition.name;
            Err(Error::Conflict(format!(
                "a probe named \"{name}\" exists; choose another name or delete it first"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether there was one of that name.
pub async fn unmake(db: &Db, organization: OrganizationId, name: &str) -> Result<bool> {
    let deleted = db
        .query("delete from probe where organization_id = $1 and name = $2")
        .bind(organization)
        .bind(name)
        .run()
        .await?;
    Ok(deleted > 0)
}

/// Stores a sample; its id is set in what comes back.
pub async fn insert(
    db: &Db,
    organization: OrganizationId,
    sample: Sample,
    asked: Option<&Asked>,
    has_content: bool,
) -> Result<Sample> {
    let id = db
        .query(
            "insert into probe_result (organization_id, probe, probe_key, kind, app, phase,
                 attempt_id, outcome, request, method, path, mark, status, latency_ms, body_hash,
                 has_content, excerpt, why, started_at, finished_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                 $18, $19, $20)
             returning id",
        )
        .bind(organization)
        .bind(sample.probe.clone())
        .bind(sample.key.clone())
        .bind(sample.kind.clone())
        .bind(sample.app.clone())
        .bind(sample.phase)
        .bind(sample.attempt_id)
        .bind(sample.outcome)
        .bind(sample.request.clone())
        .bind(asked.map(|asked| asked.method.clone()))
        .bind(asked.map(|asked| asked.path.clone()))
        .bind(sample.mark.clone())
        .bind(sample.status)
        .bind(sample.latency_ms)
        .bind(sample.body_hash.clone())
        .bind(has_content)
        .bind(sample.excerpt.clone())
        .bind(sample.why.clone())
        .bind(sample.started_at)
        .bind(sample.at)
        .scalar()
        .await?;
    Ok(Sample { id, ..sample })
}

/// The samples of a key, newest first.
pub async fn history(
    db: &Db,
    organization: OrganizationId,
    key: &str,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Sample>> {
    db.query(
        "select id, probe, probe_key as key, kind, app, phase, attempt_id, outcome, request, status,
             latency_ms, body_hash, excerpt, why, mark, started_at, finished_at as at
         from probe_result
         where organization_id = $1 and probe_key = $2 and finished_at >= $3
         order by finished_at desc, id desc limit $4",
    )
    .bind(organization)
    .bind(key)
    .bind(since)
    .bind(limit)
    .all()
    .await
}

/// A page of the samples of a probe by name, newest first, below a position.
pub async fn of_probe(
    db: &Db,
    organization: OrganizationId,
    probe: &str,
    limit: i64,
    below: (DateTime<Utc>, i64),
) -> Result<Vec<Sample>> {
    db.query(
        "select id, probe, probe_key as key, kind, app, phase, attempt_id, outcome, request, status,
             latency_ms, body_hash, excerpt, why, mark, started_at, finished_at as at
         from probe_result
         where organization_id = $1 and probe = $2 and (finished_at, id) < ($3, $4)
         order by finished_at desc, id desc limit $5",
    )
    .bind(organization)
    .bind(probe)
    .bind(below.0)
    .bind(below.1)
    .bind(limit)
    .all()
    .await
}

/// The newest sample of each probe of these names.
pub async fn newest<'a>(
    db: &Db,
    organization: OrganizationId,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<Sample>> {
    let names = serde_json::Value::from(names.collect::<Vec<_>>()).to_string();
    let sql = db.dialect(
        "select r.id, r.probe, r.probe_key as key, r.kind, r.app, r.phase, r.attempt_id, r.outcome,
             r.request, r.status, r.latency_ms, r.body_hash, r.excerpt, r.why, r.mark, r.started_at,
             r.finished_at as at
         from (select value as name from jsonb_array_elements_text($2::jsonb)) as n
         join probe_result as r on r.id =
             (select id from probe_result where organization_id = $1 and probe = n.name
              order by finished_at desc, id desc limit 1)",
        "select r.id, r.probe, r.probe_key as key, r.kind, r.app, r.phase, r.attempt_id, r.outcome,
             r.request, r.status, r.latency_ms, r.body_hash, r.excerpt, r.why, r.mark, r.started_at,
             r.finished_at as at
         from (select value as name from json_each($2)) as n
         join probe_result as r on r.id =
             (select id from probe_result where organization_id = $1 and probe = n.name
              order by finished_at desc, id desc limit 1)",
    );
    db.query(sql).bind(organization).bind(names).all().await
}

/// The newest `each` samples of each probe of these names, the newest first.
pub async fn lately<'a>(
    db: &Db,
    organization: OrganizationId,
    names: impl Iterator<Item = &'a str>,
    each: i64,
) -> Result<Vec<Sample>> {
    let names = serde_json::Value::from(names.collect::<Vec<_>>()).to_string();
    let sql = db.dialect(
        "select r.id, r.probe, r.probe_key as key, r.kind, r.app, r.phase, r.attempt_id, r.outcome,
             r.request, r.status, r.latency_ms, r.body_hash, r.excerpt, r.why, r.mark, r.started_at,
             r.finished_at as at
         from (select value as name from jsonb_array_elements_text($2::jsonb)) as n
         join probe_result as r on r.id in
             (select id from probe_result where organization_id = $1 and probe = n.name
              order by finished_at desc, id desc limit $3)
         order by r.finished_at desc, r.id desc",
        "select r.id, r.probe, r.probe_key as key, r.kind, r.app, r.phase, r.attempt_id, r.outcome,
             r.request, r.status, r.latency_ms, r.body_hash, r.excerpt, r.why, r.mark, r.started_at,
             r.finished_at as at
         from (select value as name from json_each($2)) as n
         join probe_result as r on r.id in
             (select id from probe_result where organization_id = $1 and probe = n.name
              order by finished_at desc, id desc limit $3)
         order by r.finished_at desc, r.id desc",
    );
    db.query(sql).bind(organization).bind(names).bind(each).all().await
}

/// The samples of a repair attempt, oldest first.
pub async fn of_attempt(
    db: &Db,
    organization: OrganizationId,
    attempt: i64,
    limit: i64,
) -> Result<Vec<Sample>> {
    db.query(
        "select id, probe, probe_key as key, kind, app, phase, attempt_id, outcome, request, status,
             latency_ms, body_hash, excerpt, why, mark, started_at, finished_at as at
         from probe_result
         where organization_id = $1 and attempt_id = $2
         order by id limit $3",
    )
    .bind(organization)
    .bind(attempt)
    .bind(limit)
    .all()
    .await
}

/// The newest samples of a repair attempt, oldest first.
pub async fn newest_of_attempt(
    db: &Db,
    organization: OrganizationId,
    attempt: i64,
    limit: i64,
) -> Result<Vec<Sample>> {
    let mut samples: Vec<Sample> = db
        .query(
            "select id, probe, probe_key as key, kind, app, phase, attempt_id, outcome, request,
                 status, latency_ms, body_hash, excerpt, why, mark, started_at, finished_at as at
             from probe_result
             where organization_id = $1 and attempt_id = $2
             order by id desc limit $3",
        )
        .bind(organization)
        .bind(attempt)
        .bind(limit)
        .all()
        .await?;
    samples.reverse();
    Ok(samples)
}

/// What earlier answers of a key looked like.
pub(super) async fn memory(db: &Db, organization: OrganizationId, key: &str) -> Result<Memory> {
    let hashes: Vec<(String,)> = db
        .query(
            "select body_hash from probe_result
             where organization_id = $1 and probe_key = $2 and outcome = 'fail'
               and has_content and body_hash is not null
             order by finished_at desc, id desc limit $3",
        )
        .bind(organization)
        .bind(key)
        .bind(MAX_HASHES)
        .all()
        .await?;
    let content: Option<(i64,)> = db
        .query(
            "select id from probe_result
             where organization_id = $1 and probe_key = $2 and outcome = 'pass' and has_content
             order by finished_at desc, id desc limit 1",
        )
        .bind(organization)
        .bind(key)
        .optional()
        .await?;
    Ok(Memory {
        failing: hashes.into_iter().map(|(hash,)| hash).collect(),
        had_content: content.is_some(),
        ..Memory::default()
    })
}

/// When probes asked for this and it failed, oldest first.
pub async fn failed(
    db: &Db,
    organization: OrganizationId,
    app: &str,
    method: Option<&str>,
    path: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
    db.query(
        "select started_at, finished_at from probe_result
         where organization_id = $1 and app = $2 and path = $3 and outcome = 'fail'
           and finished_at >= $4 and started_at <= $5 and (method = $6 or $6 is null)
         order by finished_at, id limit $7",
    )
    .bind(organization)
    .bind(app)
    .bind(path)
    .bind(from)
    .bind(to)
    .bind(method)
    .bind(MAX_SPANS)
    .all()
    .await
}
