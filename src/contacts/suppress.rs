//! Addresses that are never written to again. They are kept as keyed hashes, so that the list
//! outlives the contact (an erased one must not come back by the next import) and tells nobody an
//! address.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    clock,
    db::{Db, Result, Tx},
    seal::Keyed,
};

const PURPOSE: &str = "suppression";

/// Why an address is never written to again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Unsubscribed,
    Bounced,
    Complained,
    Erased,
    Manual,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsubscribed => "unsubscribed",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Erased => "erased",
            Self::Manual => "manual",
        }
    }
}

/// What stands for an address (its key, see [`super::Email`]) in the list.
pub fn hash(keyed: &Keyed, email_key: &str) -> String {
    keyed.hash(PURPOSE, email_key)
}

/// Puts an address on the list. A graver reason takes the place of one that the person could
/// take back ("unsubscribed").
pub async fn add(
    tx: &mut Tx,
    keyed: &Keyed,
    organization: OrganizationId,
    email_key: &str,
    reason: Reason,
) -> Result<()> {
    tx.query(
        "insert into suppression (organization_id, email_hash, reason, at) values ($1, $2, $3, $4)
         on conflict (organization_id, email_hash)
         do update set reason = excluded.reason, at = excluded.at
         where suppression.reason = 'unsubscribed' and excluded.reason <> 'unsubscribed'",
    )
    .bind(organization)
    .bind(hash(keyed, email_key))
    .bind(reason.as_str())
    .bind(clock::now())
    .run()
    .await
    .map(drop)
}

/// Why an address is on the list, and since when; `None` if it is not.
pub async fn reason(
    db: &Db,
    keyed: &Keyed,
    organization: OrganizationId,
    email_key: &str,
) -> Result<Option<(String, DateTime<Utc>)>> {
    db.query("select reason, at from suppression where organization_id = $1 and email_hash = $2")
        .bind(organization)
        .bind(hash(keyed, email_key))
        .optional()
        .await
}

/// Whether an address may not be written to.
pub async fn is_suppressed(
    db: &Db,
    keyed: &Keyed,
    organization: OrganizationId,
    email_key: &str,
) -> Result<bool> {
    Ok(reason(db, keyed, organization, email_key).await?.is_some())
}

/// [`is_suppressed`] inside a transaction.
pub async fn is_suppressed_in(
    tx: &mut Tx,
    keyed: &Keyed,
    organization: OrganizationId,
    email_key: &str,
) -> Result<bool> {
    let found: Option<(String,)> = tx
        .query("select reason from suppression where organization_id = $1 and email_hash = $2")
        .bind(organization)
        .bind(hash(keyed, email_key))
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Which of these hashes are on the list.
pub async fn among(
    db: &Db,
    organization: OrganizationId,
    hashes: &[String],
) -> Result<BTreeSet<String>> {
    let sql = db.dialect(
        "select email_hash from suppression where organization_id = $1 and email_hash in
             (select value from json_array_elements_text(cast($2 as json)))",
        "select email_hash from suppression where organization_id = $1 and email_hash in
             (select value from json_each($2))",
    );
    let list = serde_json::Value::from(hashes).to_string();
    let found: Vec<(String,)> = db.query(sql).bind(organization).bind(list).all().await?;
    Ok(found.into_iter().map(|(hash,)| hash).collect())
}

/// Takes an address off the list, if it is there for this reason; whether it was.
pub async fn remove(
    tx: &mut Tx,
    keyed: &Keyed,
    organization: OrganizationId,
    email_key: &str,
    reason: Reason,
) -> Result<bool> {
    let removed = tx
        .query(
            "delete from suppression where organization_id = $1 and email_hash = $2
               and reason = $3",
        )
        .bind(organization)
        .bind(hash(keyed, email_key))
        .bind(reason.as_str())
        .run()
        .await?;
    Ok(removed > 0)
}
