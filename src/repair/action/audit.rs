//! Who did what to an action, and when.

use serde_json::Value;

use crate::{
    auth::{
        OrganizationId,
        audit::{self, Actor},
    },
    db::{Result, Tx},
};

/// Notes a deed in the transaction that does it.
pub(super) async fn audit(
    tx: &mut Tx,
    organization: OrganizationId,
    who: impl Into<Actor<'_>>,
    what: &'static str,
    id: i64,
    detail: &Value,
) -> Result<()> {
    audit::write(tx, organization, who, what, &format!("action {id}"), detail).await
}
