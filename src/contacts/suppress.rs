//! Addresses that are never written to again. Only a keyed hash is kept, so that the list outlives
//! the erasure of the person and tells nobody who is on it.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};

use super::Email;
use crate::{
    auth::OrganizationId,
    db::{self, Db, Tx},
    error::Result,
    seal::Sealer,
};

/// Why an address is not written to.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = SuppressionReason)]
pub enum Reason {
    Unsubscribed,
    Bounced,
    Complained,
    Erased,
    Manual,
}

/// Hashes addresses under a key of this Lux.
#[derive(Clone)]
pub struct Hasher(hmac::Key);

impl Hasher {
    pub fn new(sealer: &Sealer) -> Result<Self> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &sealer.derive("suppression")?)))
    }

    /// The hash of an address by [`Email::key`].
    pub fn hash(&self, key: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, key.as_bytes()))
    }
}

/// Puts an address on the list; the first reason stands.
pub async fn add(
    tx: &mut Tx,
    hasher: &Hasher,
    organization: OrganizationId,
    email: &Email,
    reason: Reason,
    at: DateTime<Utc>,
) -> db::Result<()> {
    tx.query(
        "insert into suppression (organization_id, email_hash, reason, at) values ($1, $2, $3, $4)
         on conflict (organization_id, email_hash) do nothing",
    )
    .bind(organization)
    .bind(hasher.hash(&email.key))
    .bind(reason)
    .bind(at)
    .run()
    .await
    .map(drop)
}

/// Takes an address from the list, since its owner said so; whether it was on it.
pub async fn remove(
    tx: &mut Tx,
    hasher: &Hasher,
    organization: OrganizationId,
    email: &Email,
) -> db::Result<bool> {
    let removed = tx
        .query("delete from suppression where organization_id = $1 and email_hash = $2")
        .bind(organization)
        .bind(hasher.hash(&email.key))
        .run()
        .await?;
    Ok(removed > 0)
}

/// Why and since when an address is on the list.
pub async fn find(
    db: &Db,
    hasher: &Hasher,
    organization: OrganizationId,
    email: &Email,
) -> db::Result<Option<(Reason, DateTime<Utc>)>> {
    db.query("select reason, at from suppression where organization_id = $1 and email_hash = $2")
        .bind(organization)
        .bind(hasher.hash(&email.key))
        .optional()
        .await
}
