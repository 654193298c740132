//! The statements of the brand.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::Brand;
use crate::{
    auth::{Caller, OrganizationId, audit},
    clock,
    db::Db,
    error::{Error, Result},
};

/// The brand as it is kept.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = KeptBrand)]
pub struct Kept {
    pub brand: Brand,
    /// 0: nobody wrote one yet.
    pub version: i64,
    pub updated_by: Option<String>,
    pub updated_at: Option<DateTime<Utc>>,
}

/// The brand; an empty one where nobody wrote one yet.
pub async fn find(db: &Db, organization: OrganizationId) -> Result<Kept> {
    let row: Option<(String, i64, String, DateTime<Utc>)> = db
        .query(
            "select content, version, updated_by, updated_at from brand
             where organization_id = $1",
        )
        .bind(organization)
        .optional()
        .await?;
    let Some((content, version, by, at)) = row else { return Ok(Kept::default()) };
    let brand = serde_json::from_str(&content).map_err(|error| Error::Internal(error.into()))?;
    Ok(Kept { brand, version, updated_by: Some(by), updated_at: Some(at) })
}

/// Writes the whole brand.
pub async fn put(db: &Db, caller: &Caller, brand: &Brand) -> Result<()> {
    brand.check()?;
    let content = serde_json::to_string(brand).map_err(|error| Error::Internal(error.into()))?;
    let mut tx = db.begin().await?;
    tx.query(
        "insert into brand (organization_id, content, version, updated_by, updated_at)
         values ($1, $2, 1, $3, $4)
         on conflict (organization_id) do update set content = excluded.content,
             version = brand.version + 1, updated_by = excluded.updated_by,
             updated_at = excluded.updated_at",
    )
    .bind(caller.organization)
    .bind(content)
    .bind(caller.author())
    .bind(clock::now())
    .run()
    .await?;
    let detail = json!({ "name": brand.name });
    audit::write(&mut tx, caller.organization, caller, "brand.write", "brand", &detail).await?;
    tx.commit().await?;
    Ok(())
}
