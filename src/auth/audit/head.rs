//! The end of the chain. Lux tells it to its own log, which stands elsewhere: who cuts the
//! chain off, or makes it anew, cannot change what was told.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{OrganizationId, verify};
use crate::db::{Db, Result};

/// How often the heads are told.
const EVERY: Duration = Duration::from_hours(24);

/// Organizations whose heads are told.
const MOST: i64 = 1000;

/// The last entry of an organization's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Head {
    pub organization_id: i64,
    /// How many entries there are: the number of the last one.
    pub entries: i64,
    /// The last entry's hash.
    pub hash: String,
}

/// The heads of all organizations that have any entry.
pub async fn heads(db: &Db) -> Result<Vec<Head>> {
    db.query(
        "select organization_id, entries, hash from audit_head order by organization_id limit $1",
    )
    .bind(MOST)
    .all()
    .await
}

/// The head of one organization; none before its first entry.
pub(super) async fn of(db: &Db, organization: OrganizationId) -> Result<Option<Head>> {
    db.query("select organization_id, entries, hash from audit_head where organization_id = $1")
        .bind(organization)
        .optional()
        .await
}

/// Writes the heads to Lux's own log, as `lux audit verify --head` takes them.
pub async fn tell(db: &Db) {
    match heads(db).await {
        Ok(heads) => heads.iter().for_each(say),
        Err(error) => tracing::warn!(%error, "the audit log's head was not read"),
    }
}

fn say(head: &Head) {
    let (organization, shown) = (head.organization_id, format!("{}:{}", head.entries, head.hash));
    tracing::info!(organization, head = shown, "the audit log ends here");
}

/// Tells the heads now and once a day, and looks whether what was told last is still in the
/// chain.
pub fn watch(db: &Db, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (db, shutdown) = (db.clone(), shutdown.clone());
    tasks.spawn(async move {
        let mut told = BTreeMap::new();
        loop {
            if let Err(error) = round(&db, &mut told).await {
                tracing::warn!(%error, "the audit log's head was not read");
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    });
}

async fn round(db: &Db, told: &mut BTreeMap<i64, Head>) -> Result<()> {
    for (id, before) in told.iter() {
        if let Some(problem) = verify::misses(db, OrganizationId(*id), &before.into()).await? {
            tracing::error!(organization = id, "the audit log was changed: {}", problem.detail);
        }
    }
    let heads = heads(db).await?;
    heads.iter().for_each(say);
    *told = heads.into_iter().map(|head| (head.organization_id, head)).collect();
    Ok(())
}
