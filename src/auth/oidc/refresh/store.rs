//! The statements about refresh tokens in sessions. All times are the database's.

use chrono::TimeDelta;

use crate::{db::Db, error::Result};

/// Sessions that are looked at in one round.
const STEP: i64 = 100;

/// The right to redeem a session's refresh token.
#[derive(sqlx::FromRow)]
pub(super) struct Lease {
    pub(super) owner: String,
    pub(super) provider: String,
    pub(super) sealed: String,
    /// Attempts in a row that came to nothing.
    pub(super) failures: i64,
}

/// Sessions that are due and that nobody sees to.
pub(super) async fn due(db: &Db) -> Result<Vec<i64>> {
    let due: Vec<(i64,)> = db
        .query(
            "select s.id from session s cross join database_time t
             where s.refresh_at <= t.at and (s.lease_until is null or s.lease_until < t.at)
               and s.idle_ends_at > t.at and s.ends_at > t.at
             order by s.refresh_at limit $1",
        )
        .bind(STEP)
        .all()
        .await?;
    Ok(due.into_iter().map(|(id,)| id).collect())
}

/// Takes the lease, and reads the token only then: another may have replaced it meanwhile.
pub(super) async fn lease(db: &Db, session: i64, lasts: TimeDelta) -> Result<Option<Lease>> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    let lease = tx
        .query(
            "update session set lease_owner = $2, lease_until = $3
             where id = $1 and refresh_at <= $4 and provider is not null
               and refresh_sealed is not null and (lease_until is null or lease_until < $4)
             returning lease_owner as owner, provider, refresh_sealed as sealed,
                       refresh_failures as failures",
        )
        .bind(session)
        .bind(uuid::Uuid::now_v7().to_string())
        .bind(now + lasts)
        .bind(now)
        .optional()
        .await?;
    tx.commit().await?;
    Ok(lease)
}

/// Keeps the new token and gives the lease back.
pub(super) async fn refreshed(
    db: &Db,
    session: i64,
    owner: &str,
    sealed: &str,
    due: TimeDelta,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    tx.query(
        "update session
         set refresh_sealed = $3, refresh_at = $4, refresh_failures = 0, lease_owner = null,
             lease_until = null
         where id = $1 and lease_owner = $2",
    )
    .bind(session)
    .bind(owner)
    .bind(sealed)
    .bind(now + due)
    .run()
    .await?;
    Ok(tx.commit().await?)
}

/// Gives the lease back with everything as it was, for another attempt later.
pub(super) async fn postpone(db: &Db, session: i64, owner: &str, pause: TimeDelta) -> Result<()> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    tx.query(
        "update session
         set refresh_at = $3, refresh_failures = refresh_failures + 1, lease_owner = null,
             lease_until = null
         where id = $1 and lease_owner = $2",
    )
    .bind(session)
    .bind(owner)
    .bind(now + pause)
    .run()
    .await?;
    Ok(tx.commit().await?)
}
