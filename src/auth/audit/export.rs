//! The whole log, oldest entry first, page by page.

use super::{Entry, OrganizationId};
use crate::db::{Db, Result};

/// Entries that are read at once.
const PAGE: i64 = 500;

/// The entries behind `after` (an entry's id; 0 for the first page), at most 500; an empty
/// page is the end.
pub async fn page(db: &Db, organization: OrganizationId, after: i64) -> Result<Vec<Entry>> {
    db.query(
        "select id, created_at as at, actor, action, subject, address, detail, number, hash
         from audit where organization_id = $1 and id > $2 order by id limit $3",
    )
    .bind(organization)
    .bind(after)
    .bind(PAGE)
    .all()
    .await
}
