//! Addresses that are never written to again. Only a keyed hash is kept, so that the list outlives
//! the erasure of the person and tells nobody who is on it.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::Email;
use crate::{
    auth::OrganizationId,
    clock,
    db::{self, Db, Tx},
    error::Result,
    seal::{Field, Sealer},
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

/// Hashes addresses, and signs the links in mails, under a key of this Lux. It is made once, kept
/// sealed in the database, and stays when master keys change: links in mails do not end.
#[derive(Clone)]
pub struct ContactKey(Arc<[u8; 32]>);

impl std::fmt::Debug for ContactKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContactKey")
    }
}

impl ContactKey {
    /// Reads the key, or makes it; all replicas have the same.
    pub async fn open(db: &Db, sealer: &Sealer) -> Result<Self> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random numbers"))?;
        let field = Field { table: "contact_key", column: "sealed", row: "1" };
        let sealed = sealer.seal(field, &URL_SAFE_NO_PAD.encode(bytes))?;
        db.query(
            "insert into contact_key (id, sealed, created_at) values (1, $1, $2)
             on conflict (id) do nothing",
        )
        .bind(sealed)
        .bind(clock::now())
        .run()
        .await?;
        let kept: String = db.query("select sealed from contact_key where id = 1").scalar().await?;
        let text = sealer.open(field, &kept)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.expose_secret()).map_err(anyhow::Error::from)?;
        let bytes = bytes.try_into().map_err(|_| anyhow::anyhow!("the key of contacts is cut"))?;
        Ok(Self(Arc::new(bytes)))
    }

    /// The keyed hash of a text for one purpose; 43 characters that may stand in an address.
    pub fn sign(&self, purpose: &str, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign())
    }

    /// The hash of an address by [`Email::key`], as the list keeps it.
    pub fn hash(&self, email_key: &str) -> String {
        self.sign("suppression", email_key)
    }
}

/// Puts an address on the list; the first reason stands.
pub async fn add(
    tx: &mut Tx,
    key: &ContactKey,
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
    .bind(key.hash(&email.key))
    .bind(reason)
    .bind(at)
    .run()
    .await
    .map(drop)
}

/// Takes an address from the list, since its owner said so; whether it was on it.
pub async fn remove(
    tx: &mut Tx,
    key: &ContactKey,
    organization: OrganizationId,
    email: &Email,
) -> db::Result<bool> {
    let removed = tx
        .query("delete from suppression where organization_id = $1 and email_hash = $2")
        .bind(organization)
        .bind(key.hash(&email.key))
        .run()
        .await?;
    Ok(removed > 0)
}

/// Why and since when an address is on the list.
pub async fn find(
    db: &Db,
    key: &ContactKey,
    organization: OrganizationId,
    email: &Email,
) -> db::Result<Option<(Reason, DateTime<Utc>)>> {
    db.query("select reason, at from suppression where organization_id = $1 and email_hash = $2")
        .bind(organization)
        .bind(key.hash(&email.key))
        .optional()
        .await
}
