//! What happened in a run, in order.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::db::{Db, Result};

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct RunEvent {
    /// 1, 2, 3 … within the run.
    pub seq: i64,
    pub at: DateTime<Utc>,
    /// "started", "diagnosed", "round", "action", "verdict", "finished".
    pub kind: String,
    pub data: Value,
}

/// Steps that are kept of one run.
pub const MOST: i64 = 5000;

pub async fn add(db: &Db, run: i64, kind: &str, data: Value, now: DateTime<Utc>) -> Result<()> {
    db.query(
        "insert into repair_event (run_id, seq, at, kind, data)
         select $1, next, $2, $3, $4
         from (select coalesce(max(seq), 0) + 1 as next from repair_event where run_id = $1) as n
         where next <= $5",
    )
    .bind(run)
    .bind(now)
    .bind(kind)
    .bind(data)
    .bind(MOST)
    .run()
    .await
    .map(drop)
}

pub async fn after(db: &Db, run: i64, seq: i64, limit: i64) -> Result<Vec<RunEvent>> {
    db.query(
        "select seq, at, kind, data from repair_event
         where run_id = $1 and seq > $2 order by seq limit $3",
    )
    .bind(run)
    .bind(seq)
    .bind(limit)
    .all()
    .await
}

/// The newest steps of a run, the newest first.
pub async fn newest(db: &Db, run: i64, limit: i64) -> Result<Vec<RunEvent>> {
    db.query(
        "select seq, at, kind, data from repair_event
         where run_id = $1 order by seq desc limit $2",
    )
    .bind(run)
    .bind(limit)
    .all()
    .await
}
