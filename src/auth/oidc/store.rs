//! The statements of sign-ins under way.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{clock, db::Db, error::Result};

/// How long a person may take at the provider.
pub(super) const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Rows that are removed at once.
const STEP: i64 = 500;

/// A sign-in under way. Of secrets it holds the hash, or what the sealer made of them.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Flow {
    pub(super) state_hash: String,
    pub(super) provider: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    pub(super) next: String,
    pub(super) browser_hash: String,
    pub(super) linking_account: Option<i64>,
    pub(super) link_token: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn insert(db: &Db, flow: &Flow) -> Result<()> {
    db.query(
        "insert into sign_in (state_hash, provider, nonce, verifier, next, browser_hash,
                              linking_account, link_token, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(flow.state_hash.as_str())
    .bind(flow.provider.as_str())
    .bind(flow.nonce.as_str())
    .bind(flow.verifier.as_str())
    .bind(flow.next.as_str())
    .bind(flow.browser_hash.as_str())
    .bind(flow.linking_account)
    .bind(flow.link_token.as_deref())
    .bind(flow.created_at)
    .run()
    .await?;
    Ok(())
}

/// Takes a sign-in away; of two that come back with one state, one gets it.
pub(super) async fn take(db: &Db, state_hash: &str) -> Result<Option<Flow>> {
    let taken = db
        .query(
            "delete from sign_in where state_hash = $1
             returning state_hash, provider, nonce, verifier, next, browser_hash,
                       linking_account, link_token, created_at",
        )
        .bind(state_hash)
        .optional()
        .await?;
    Ok(taken)
}

/// Removes sign-ins that nobody came back from; how many.
pub(super) async fn purge(db: &Db) -> Result<u64> {
    let gone = db
        .query(
            "delete from sign_in where state_hash in
                 (select state_hash from sign_in where created_at < $1 order by created_at limit $2)",
        )
        .bind(clock::now() - LIFETIME)
        .bind(STEP)
        .run()
        .await?;
    Ok(gone)
}
