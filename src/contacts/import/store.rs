//! All SQL of imports.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::types::Json;

use super::{Counts, Import, Settings, Status, row::Refused};
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Refused rows that are kept of an import; the rest is counted.
pub(super) const MOST_REJECTED: i64 = 10_000;
/// Bytes of them; a row that does not fit is counted as well.
pub(super) const MOST_REJECTED_BYTES: usize = 32 << 20;

pub(super) struct New<'n> {
    pub(super) organization: OrganizationId,
    pub(super) name: &'n str,
    pub(super) file: &'n str,
    pub(super) host: &'n str,
    pub(super) size: i64,
    pub(super) settings: &'n Settings,
    pub(super) made_by: &'n str,
}

pub(super) async fn insert(db: &Db, new: New<'_>, now: DateTime<Utc>) -> Result<i64> {
    db.query(
        "insert into contact_import
             (organization_id, name, file, host, size, settings, made_by, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8) returning id",
    )
    .bind(new.organization)
    .bind(new.name)
    .bind(new.file)
    .bind(new.host)
    .bind(new.size)
    .bind(text(new.settings))
    .bind(new.made_by)
    .bind(now)
    .scalar()
    .await
}

fn text(settings: &Settings) -> String {
    json!(settings).to_string()
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    organization_id: OrganizationId,
    name: String,
    file: Option<String>,
    host: String,
    size: i64,
    status: Status,
    settings: String,
    done_rows: i64,
    done_bytes: i64,
    created_rows: i64,
    updated_rows: i64,
    unchanged_rows: i64,
    rejected_rows: i64,
    checked: Option<String>,
    note: String,
    made_by: String,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    rejected_kept: i64,
}

/// An import with what only Lux itself needs of it.
pub(super) struct Kept {
    pub(super) organization: OrganizationId,
    pub(super) import: Import,
    pub(super) file: Option<String>,
    pub(super) host: String,
    /// Rows up to which all is done, refused and empty ones included.
    pub(super) done_rows: i64,
}

impl Row {
    fn kept(self) -> Result<Kept> {
        let wrong = |error: serde_json::Error| sqlx::Error::Decode(error.into());
        let settings = serde_json::from_str(&self.settings).map_err(wrong)?;
        let checked = self.checked.as_deref().map(serde_json::from_str).transpose();
        let import = Import {
            id: self.id,
            name: self.name,
            status: self.status,
            size: self.size,
            settings,
            done_bytes: self.done_bytes,
            counts: Counts {
                created: self.created_rows,
                updated: self.updated_rows,
                unchanged: self.unchanged_rows,
                rejected: self.rejected_rows,
            },
            checked: checked.map_err(wrong)?,
            rejected_kept: self.rejected_kept,
            note: self.note,
            made_by: self.made_by,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            preview: Vec::new(),
        };
        Ok(Kept {
            organization: self.organization_id,
            import,
            file: self.file,
            host: self.host,
            done_rows: self.done_rows,
        })
    }
}

pub(super) async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Import>> {
    let rows: Vec<Row> = db
        .query(
            "select id, organization_id, name, file, host, size, status, settings, done_rows,
                 done_bytes, created_rows, updated_rows, unchanged_rows, rejected_rows, checked,
                 note, made_by, created_at, started_at, finished_at,
                 (select count(*) from contact_import_rejected r where r.import_id = i.id)
                     as rejected_kept
             from contact_import i where organization_id = $1 order by id desc limit 100",
        )
        .bind(organization)
        .all()
        .await?;
    rows.into_iter().map(|row| Ok(row.kept()?.import)).collect()
}

pub(super) async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Kept>> {
    let kept = any(db, id).await?;
    Ok(kept.filter(|kept| kept.organization == organization))
}

/// One of any organization, for the job that works on it.
pub(super) async fn any(db: &Db, id: i64) -> Result<Option<Kept>> {
    let row: Option<Row> = db
        .query(
            "select id, organization_id, name, file, host, size, status, settings, done_rows,
                 done_bytes, created_rows, updated_rows, unchanged_rows, rejected_rows, checked,
                 note, made_by, created_at, started_at, finished_at,
                 (select count(*) from contact_import_rejected r where r.import_id = i.id)
                     as rejected_kept
             from contact_import i where id = $1",
        )
        .bind(id)
        .optional()
        .await?;
    row.map(Row::kept).transpose()
}

/// False if it is not to be changed any more.
pub(super) async fn set_settings(
    db: &Db,
    id: i64,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<bool> {
    let mut tx = db.begin().await?;
    let changed = tx
        .query(
            "update contact_import set settings = $2, status = 'uploaded', checked = null,
                 note = '', updated_at = $3
             where id = $1 and status in ('uploaded', 'checked')",
        )
        .bind(id)
        .bind(text(settings))
        .bind(now)
        .run()
        .await?;
    if changed == 1 {
        clear_rejected(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(changed == 1)
}

async fn clear_rejected(tx: &mut Tx, id: i64) -> Result<()> {
    tx.query("delete from contact_import_rejected where import_id = $1")
        .bind(id)
        .run()
        .await
        .map(drop)
}

/// False if it is not to be begun.
pub(super) async fn begin(
    tx: &mut Tx,
    id: i64,
    status: Status,
    now: DateTime<Utc>,
) -> Result<bool> {
    let begun = tx
        .query(
            "update contact_import set status = $2, note = '', done_rows = 0, done_bytes = 0,
                 started_at = $3, updated_at = $3
             where id = $1 and status in ('uploaded', 'checked') and file is not null",
        )
        .bind(id)
        .bind(status)
        .bind(now)
        .run()
        .await?;
    if begun == 1 {
        clear_rejected(tx, id).await?;
    }
    Ok(begun == 1)
}

/// A dry run goes back to where it was; all else ends. False if it has ended before.
pub(super) async fn cancel(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<bool> {
    let cancelled = tx
        .query(
            "update contact_import set
                 status = case when status = 'checking' then 'uploaded' else 'cancelled' end,
                 finished_at = case when status = 'checking' then finished_at else $2 end,
                 done_bytes = case when status = 'checking' then 0 else done_bytes end,
                 updated_at = $2
             where id = $1 and status in ('uploaded', 'checking', 'checked', 'running')",
        )
        .bind(id)
        .bind(now)
        .run()
        .await?;
    Ok(cancelled == 1)
}

/// A refused row, to be downloaded.
pub(super) struct Rejected {
    pub(super) number: i64,
    pub(super) line: i64,
    pub(super) refused: Refused,
    pub(super) cells: Vec<String>,
}

pub(super) async fn reject(tx: &mut Tx, id: i64, rows: &[Rejected]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({ "n": row.number, "l": row.line, "p": plain(&row.refused.place),
                "r": plain(&row.refused.reason),
                "c": plain(&json!(row.cells).to_string().replace("\\u0000", "\u{fffd}")) })
        })
        .collect();
    let sql = tx.dialect(
        "insert into contact_import_rejected (import_id, number, line, place, reason, cells)
         select $1, (r->>'n')::bigint, (r->>'l')::bigint, r->>'p', r->>'r', r->>'c'
         from jsonb_array_elements($2) r",
        "insert into contact_import_rejected (import_id, number, line, place, reason, cells)
         select $1, r.value->>'n', r.value->>'l', r.value->>'p', r.value->>'r', r.value->>'c'
         from json_each($2) r",
    );
    tx.query(sql).bind(id).bind(Json(rows)).run().await.map(drop)
}

/// PostgreSQL's texts hold no NUL.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Bytes of the refused rows that are kept.
pub(super) async fn rejected_bytes(db: &Db, id: i64) -> Result<i64> {
    db.query(
        "select cast(coalesce(sum(length(cells)), 0) as bigint) from contact_import_rejected
         where import_id = $1",
    )
    .bind(id)
    .scalar()
    .await
}

/// How far a running import has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Rows up to which all is done.
    pub(super) rows: i64,
    pub(super) bytes: i64,
    /// Of this step.
    pub(super) counts: Counts,
}

/// Moves on; false if it was stopped, and then nothing of the step may be stored.
pub(super) async fn advance(tx: &mut Tx, id: i64, step: Step, now: DateTime<Utc>) -> Result<bool> {
    let moved = tx
        .query(
            "update contact_import set done_rows = $2, done_bytes = $3,
                 created_rows = created_rows + $4, updated_rows = updated_rows + $5,
                 unchanged_rows = unchanged_rows + $6, rejected_rows = rejected_rows + $7,
                 updated_at = $8
             where id = $1 and status = 'running'",
        )
        .bind(id)
        .bind(step.rows)
        .bind(step.bytes)
        .bind(step.counts.created)
        .bind(step.counts.updated)
        .bind(step.counts.unchanged)
        .bind(step.counts.rejected)
        .bind(now)
        .run()
        .await?;
    Ok(moved == 1)
}

/// Shows how far a dry run is; false if it was stopped.
pub(super) async fn show_check(
    tx: &mut Tx,
    id: i64,
    bytes: i64,
    now: DateTime<Utc>,
) -> Result<bool> {
    let moved = tx
        .query(
            "update contact_import set done_bytes = $2, updated_at = $3
             where id = $1 and status = 'checking'",
        )
        .bind(id)
        .bind(bytes)
        .bind(now)
        .run()
        .await?;
    Ok(moved == 1)
}

/// A dry run has counted all.
pub(super) async fn checked(
    tx: &mut Tx,
    id: i64,
    counts: Counts,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "update contact_import set status = 'checked', checked = $2, updated_at = $3
         where id = $1 and status = 'checking'",
    )
    .bind(id)
    .bind(json!(counts).to_string())
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// The end of what runs: done, or failed with its reason.
pub(super) async fn end(
    tx: &mut Tx,
    id: i64,
    status: Status,
    note: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "update contact_import set status = $2, note = $3, finished_at = $4, updated_at = $4
         where id = $1 and status in ('running', 'checking')",
    )
    .bind(id)
    .bind(status)
    .bind(plain(note))
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Lets go of the file of one that is over; gives its name.
pub(super) async fn forget_file(db: &Db, id: i64) -> Result<Option<String>> {
    let mut tx = db.begin().await?;
    let found: Option<(String,)> = tx
        .query(
            "select file from contact_import where id = $1 and file is not null
                 and status in ('done', 'cancelled', 'failed')",
        )
        .bind(id)
        .optional()
        .await?;
    tx.query(
        "update contact_import set file = null
         where id = $1 and status in ('done', 'cancelled', 'failed')",
    )
    .bind(id)
    .run()
    .await?;
    tx.commit().await?;
    Ok(found.map(|(file,)| file))
}

/// Ends what nobody did anything with.
pub(super) async fn give_up(db: &Db, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<()> {
    db.query(
        "update contact_import set status = 'cancelled', file = null, finished_at = $2,
             note = 'nobody began it within 7 days; its file is removed'
         where status in ('uploaded', 'checked') and updated_at < $1",
    )
    .bind(before)
    .bind(now)
    .run()
    .await
    .map(drop)
}

pub(super) async fn forget_rejected(db: &Db, before: DateTime<Utc>) -> Result<()> {
    db.query(
        "delete from contact_import_rejected where import_id in
             (select id from contact_import where finished_at < $1)",
    )
    .bind(before)
    .run()
    .await
    .map(drop)
}

/// Whether an import still needs the file.
pub(super) async fn is_wanted(db: &Db, file: &str) -> Result<bool> {
    let found: Option<(i64,)> = db
        .query("select id from contact_import where file = $1 limit 1")
        .bind(file)
        .optional()
        .await?;
    Ok(found.is_some())
}

#[derive(sqlx::FromRow)]
pub(super) struct Shown {
    pub(super) number: i64,
    pub(super) line: i64,
    pub(super) place: String,
    pub(super) reason: String,
    cells: String,
}

impl Shown {
    pub(super) fn cells(&self) -> Vec<String> {
        serde_json::from_str(&self.cells).unwrap_or_default()
    }
}

/// Refused rows after `number`.
pub(super) async fn rejected(db: &Db, id: i64, after: i64, limit: i64) -> Result<Vec<Shown>> {
    db.query(
        "select number, line, place, reason, cells from contact_import_rejected
         where import_id = $1 and number > $2 order by number limit $3",
    )
    .bind(id)
    .bind(after)
    .bind(limit)
    .all()
    .await
}
