//! Who did what to an action, and when.

use serde_json::Value;

use crate::{
    auth::OrganizationId,
    db::{Result, Tx},
};

/// Notes a deed in the transaction that does it. The one place that knows where.
pub(super) async fn audit(
    _tx: &mut Tx,
    organization: OrganizationId,
    who: &str,
    what: &'static str,
    id: i64,
    detail: &Value,
) -> Result<()> {
    tracing::info!(organization = organization.0, who, what, id, %detail, "audit");
    Ok(())
}
