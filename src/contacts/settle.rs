//! What follows of any change to a contact's row, in the same transaction.

use chrono::{DateTime, Utc};

use super::{
    Contact,
    segment::{Member, Rules},
    store::{ContactRow, write::unindexed},
};
use crate::{
    auth::OrganizationId,
    db::{Result, Tx},
};

/// Puts the contact into the segments whose rules it fits now, and has its words looked at again.
pub(super) async fn settle(
    tx: &mut Tx,
    rules: &Rules,
    organization: OrganizationId,
    id: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    let row: ContactRow = tx
        .query(
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at
             from contact where organization_id = $1 and id = $2",
        )
        .bind(organization)
        .bind(id)
        .one()
        .await?;
    let contact = Contact::from(row);
    rules.place(tx, &[Member { contact: &contact, is_new: false }], now).await?;
    unindexed(tx, &[id]).await
}

/// `settle` for who changed a contact's consent or bounces by statements of their own; the last
/// thing of the transaction that concerns the contact.
pub async fn place_anew(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    let rules = Rules::hold(tx, organization).await?;
    settle(tx, &rules, organization, id, now).await
}
