//! Rows that other programs wrote: into Lux's own `error_log`, or into a table of the
//! application's database. Nothing in them can be relied on.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    known::Known,
    write::{Item, write},
};
use crate::{
    auth::OrganizationId,
    db::{self, Db, Foreign, Result, Tx},
    errors::{
        Event, NewEvent,
        event::{Origin, parse_time},
        grouping::Rules,
    },
};

/// How long a missing id is waited for: as long as a sane transaction can be open.
const GAP_LIFE: TimeDelta = TimeDelta::hours(1);
/// Missing ids that are remembered of one source, and of one step.
const MAX_GAPS: usize = 10_000;
const MAX_GAPS_A_STEP: i64 = 1000;

/// A row as another program wrote it, as bytes: on SQLite any column can hold anything.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Raw {
    pub id: i64,
    organization_id: i64,
    error_type: Option<Vec<u8>>,
    error_message: Option<Vec<u8>>,
    error_stack: Option<Vec<u8>>,
    endpoint: Option<Vec<u8>>,
    method: Option<Vec<u8>>,
    user_id: Option<Vec<u8>>,
    severity: Option<Vec<u8>>,
    created_at: Option<Vec<u8>>,
    app: Option<Vec<u8>>,
}

impl Raw {
    fn event(self, now: DateTime<Utc>) -> Event {
        let text = |bytes: Option<Vec<u8>>| {
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        NewEvent {
            error_type: text(self.error_type).unwrap_or_default(),
            error_message: text(self.error_message).unwrap_or_default(),
            error_stack: text(self.error_stack),
            endpoint: text(self.endpoint),
            method: text(self.method),
            user_id: text(self.user_id),
            severity: text(self.severity).and_then(|severity| severity.trim().parse().ok()),
            created_at: text(self.created_at).and_then(|at| parse_time(&at)),
            app: text(self.app),
            origin: Origin::Row,
            ..NewEvent::default()
        }
        .fit(now)
    }
}

/// Groups rows that lack a group; gives how many it found. One transaction; another
/// replica that does the same at the same time takes other rows.
pub async fn adopt(db: &Db, rules: &Rules, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let waiting: Option<(i64,)> = db
        .query("select id from error_log where group_id is null and refused is null limit 1")
        .optional()
        .await?;
    if waiting.is_none() {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    let rows = unclaimed(&mut tx, None, limit).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let count = rows.len();
    let items: Vec<Item> = rows.into_iter().map(|row| item(rules, row, now)).collect();
    write(&mut tx, &mut Known::default(), &items.iter().collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(count)
}

/// Like [`adopt`], row by row: a row that cannot be grouped is put aside with the reason.
pub async fn adopt_singly(db: &Db, rules: &Rules, limit: i64, now: DateTime<Utc>) -> Result<()> {
    let ids: Vec<(i64,)> = db
        .query(
            "select id from error_log where group_id is null and refused is null
             order by id limit $1",
        )
        .bind(limit)
        .all()
        .await?;
    for (id,) in ids {
        let Err(error) = adopt_one(db, rules, id, now).await else { continue };
        if db::failure(&error) != db::Failure::Statement {
            return Err(error);
        }
        tracing::warn!(id, %error, "a row of error_log cannot be grouped and is put aside");
        db.query("update error_log set refused = $2 where id = $1 and group_id is null")
            .bind(id)
            .bind(error.to_string())
            .run()
            .await?;
    }
    Ok(())
}

async fn adopt_one(db: &Db, rules: &Rules, id: i64, now: DateTime<Utc>) -> Result<()> {
    let mut tx = db.begin().await?;
    for row in unclaimed(&mut tx, Some(id), 1).await? {
        write(&mut tx, &mut Known::default(), &[&item(rules, row, now)]).await?;
    }
    tx.commit().await
}

fn item(rules: &Rules, row: Raw, now: DateTime<Utc>) -> Item {
    let (id, organization) = (row.id, OrganizationId(row.organization_id));
    let event = row.event(now);
    let fingerprint = rules.fingerprint(&event);
    Item { organization, event, fingerprint, row: Some(id) }
}

/// Locks rows without a group. Long values are cut here already; a row of an
/// organization that does not exist goes to the first one.
async fn unclaimed(tx: &mut Tx, only: Option<i64>, limit: i64) -> Result<Vec<Raw>> {
    let sql = tx.dialect(
        "select e.id, e.organization_id,
             convert_to(left(e.error_type, 1000), 'UTF8') as error_type,
             convert_to(left(e.error_message, 65536), 'UTF8') as error_message,
             convert_to(case when length(e.error_stack) > 262144
                 then left(e.error_stack, 131072) || chr(10) || right(e.error_stack, 131072)
                 else e.error_stack end, 'UTF8') as error_stack,
             convert_to(left(e.endpoint, 4000), 'UTF8') as endpoint,
             convert_to(left(e.method, 100), 'UTF8') as method,
             convert_to(left(e.user_id, 1000), 'UTF8') as user_id,
             convert_to(left(e.severity, 100), 'UTF8') as severity,
             convert_to(to_char(e.created_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.US'),
                 'UTF8') as created_at,
             convert_to(left(e.app, 1000), 'UTF8') as app
         from error_log as e
         where e.group_id is null and e.refused is null and (e.id = $1 or $1 is null)
         order by e.id limit $2 for update skip locked",
        "select e.id,
             coalesce((select o.id from organization as o where o.id = e.organization_id),
                 (select min(o.id) from organization as o)) as organization_id,
             substr(cast(e.error_type as blob), 1, 1000) as error_type,
             substr(cast(e.error_message as blob), 1, 65536) as error_message,
             cast(case when length(cast(e.error_stack as blob)) > 262144
                 then substr(cast(e.error_stack as blob), 1, 131072) || char(10)
                     || substr(cast(e.error_stack as blob), -131072)
                 else e.error_stack end as blob) as error_stack,
             substr(cast(e.endpoint as blob), 1, 4000) as endpoint,
             substr(cast(e.method as blob), 1, 100) as method,
             substr(cast(e.user_id as blob), 1, 1000) as user_id,
             substr(cast(e.severity as blob), 1, 100) as severity,
             substr(cast(e.created_at as blob), 1, 100) as created_at,
             substr(cast(e.app as blob), 1, 1000) as app
         from error_log as e
         where e.group_id is null and e.refused is null and (e.id = $1 or $1 is null)
         order by e.id limit $2",
    );
    tx.query(sql).bind(only).bind(limit).all().await
}

/// One step through a foreign table; gives how many rows it copied.
///
/// The position moves in the transaction that stores the copies. A row with a smaller
/// id that is committed late is not lost: ids that were missing when the position
/// passed them are remembered and asked for again, for an hour.
pub async fn copy(
    db: &Db,
    foreign: &Foreign,
    rules: &Rules,
    (source, app): (&str, &str),
    limit: i64,
    now: DateTime<Utc>,
) -> Result<usize> {
    let mut reading = foreign.read().await?;
    let position: Option<(i64,)> = db
        .query("select last_id from error_source where name = $1")
        .bind(source)
        .optional()
        .await?;
    let Some((position,)) = position else {
        // Of a table met for the first time the newest rows are history enough.
        let start: Vec<(i64,)> = reading
            .all(
                "select coalesce(min(id), 1)::bigint - 1 from (select id from {table}
                     where $2 = '' order by id desc limit $1) as newest",
                10_000,
                "",
            )
            .await?;
        db.query(
            "insert into error_source (name, last_id, updated_at) values ($1, $2, $3)
             on conflict (name) do nothing",
        )
        .bind(source)
        .bind(start.first().map_or(0, |(id,)| *id))
        .bind(now)
        .run()
        .await?;
        return Ok(0);
    };
    let gaps: Vec<(i64,)> = db
        .query("select row_id from error_source_gap where source = $1 order by row_id limit 10000")
        .bind(source)
        .all()
        .await?;
    let gaps: BTreeSet<i64> = gaps.into_iter().map(|(id,)| id).collect();

    let mut rows = rows_after(&mut reading, position, limit).await?;
    let last = rows.last().map(|row| row.id);
    let missing = last.map_or_else(BTreeSet::new, |last| missing(position, last, &rows));
    let late = if gaps.is_empty() { Vec::new() } else { rows_of(&mut reading, &gaps).await? };
    drop(reading);

    let mut tx = db.begin().await?;
    if let Some(last) = last {
        let moved = tx
            .query(
                "update error_source set last_id = $3, updated_at = $4
                 where name = $1 and last_id = $2",
            )
            .bind(source)
            .bind(position)
            .bind(last)
            .bind(now)
            .run()
            .await?;
        if moved == 0 {
            // Another replica was faster.
            return Ok(0);
        }
    }
    let filled: Vec<i64> = late.iter().map(|row| row.id).collect();
    if forget(&mut tx, source, &filled).await? != filled.len() as u64 {
        return Ok(0);
    }
    remember(&mut tx, source, &missing, now).await?;
    tx.query("delete from error_source_gap where source = $1 and seen_at < $2")
        .bind(source)
        .bind(now - GAP_LIFE)
        .run()
        .await?;
    let too_many = (gaps.len() + missing.len()).saturating_sub(MAX_GAPS + filled.len());
    let oldest: Vec<i64> = gaps.iter().copied().take(too_many).collect();
    forget(&mut tx, source, &oldest).await?;

    rows.extend(late);
    let items: Vec<Item> = rows
        .into_iter()
        .map(|row| {
            let organization = OrganizationId(row.organization_id);
            let mut event = row.event(now);
            app.clone_into(&mut event.app);
            let fingerprint = rules.fingerprint(&event);
            Item { organization, event, fingerprint, row: None }
        })
        .collect();
    write(&mut tx, &mut Known::default(), &items.iter().collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(items.len())
}

/// The ids between the old position and the new that no row has; of very many the greatest.
fn missing(position: i64, last: i64, rows: &[Raw]) -> BTreeSet<i64> {
    let present: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
    let from =
        position.max(last.saturating_sub(MAX_GAPS_A_STEP + i64::try_from(rows.len()).unwrap_or(0)));
    let absent = (from + 1..last).rev().filter(|id| !present.contains(id));
    absent.take(usize::try_from(MAX_GAPS_A_STEP).unwrap_or(0)).collect()
}

async fn remember(
    tx: &mut Tx,
    source: &str,
    ids: &BTreeSet<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "insert into error_source_gap (source, row_id, seen_at)
         select $1, cast(value as bigint), $3 from json_array_elements_text(cast($2 as json))
         on conflict (source, row_id) do nothing",
        "insert into error_source_gap (source, row_id, seen_at)
         select $1, value, $3 from json_each($2) where true
         on conflict (source, row_id) do nothing",
    );
    let ids: Vec<i64> = ids.iter().copied().collect();
    tx.query(sql).bind(source).bind(json_ids(&ids)).bind(now).run().await.map(drop)
}

async fn forget(tx: &mut Tx, source: &str, ids: &[i64]) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let sql = tx.dialect(
        "delete from error_source_gap where source = $1
           and row_id in (select cast(value as bigint)
                          from json_array_elements_text(cast($2 as json)))",
        "delete from error_source_gap where source = $1
           and row_id in (select value from json_each($2))",
    );
    tx.query(sql).bind(source).bind(json_ids(ids)).run().await
}

pub(super) fn json_ids(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", ids.join(","))
}

/// The row as JSON, so that columns may be missing or of any type.
macro_rules! foreign_rows {
    ($where:literal) => {
        concat!(
            "select t.id::bigint as id, 1::bigint as organization_id,
                 convert_to(left(r.j ->> 'error_type', 1000), 'UTF8') as error_type,
                 convert_to(left(r.j ->> 'error_message', 65536), 'UTF8') as error_message,
                 convert_to(case when length(r.j ->> 'error_stack') > 262144
                     then left(r.j ->> 'error_stack', 131072) || chr(10)
                         || right(r.j ->> 'error_stack', 131072)
                     else r.j ->> 'error_stack' end, 'UTF8') as error_stack,
                 convert_to(left(r.j ->> 'endpoint', 4000), 'UTF8') as endpoint,
                 convert_to(left(r.j ->> 'method', 100), 'UTF8') as method,
                 convert_to(left(r.j ->> 'user_id', 1000), 'UTF8') as user_id,
                 convert_to(left(r.j ->> 'severity', 100), 'UTF8') as severity,
                 convert_to(r.j ->> 'created_at', 'UTF8') as created_at,
                 null::bytea as app
             from {table} as t cross join lateral (select to_jsonb(t) as j offset 0) as r
             where ",
            $where
        )
    };
}

async fn rows_after(reading: &mut db::Reading, position: i64, limit: i64) -> Result<Vec<Raw>> {
    reading
        .all(
            foreign_rows!("t.id > $1 order by t.id limit $2::text::bigint"),
            position,
            &limit.to_string(),
        )
        .await
}

async fn rows_of(reading: &mut db::Reading, ids: &BTreeSet<i64>) -> Result<Vec<Raw>> {
    let ids: Vec<i64> = ids.iter().copied().collect();
    reading
        .all(
            foreign_rows!(
                "t.id in (select value::bigint from json_array_elements_text($2::text::json))
                 order by t.id limit $1"
            ),
            500,
            &json_ids(&ids),
        )
        .await
}
