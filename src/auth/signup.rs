//! Accounts of people who sign themselves up: their mailbox vouches for them. Who asks, and the
//! letter, are the business of `customers`; whose account it becomes is decided here.

use serde_json::json;

use super::{
    OrganizationId, Role,
    account::{self, Account, Status},
    audit,
    session::{self, Started},
};
use crate::{db::Tx, error::Result};

/// Whom a letter to an address is for.
#[derive(Clone, Debug)]
pub(crate) enum Addressee {
    /// Nobody has an account with this address.
    Nobody,
    /// A customer, who may be signed in by a letter.
    Customer(Account),
    /// An operator or administrator, or a customer who was deactivated: no letter signs them in.
    Other,
}

/// Who has the address, in the form of [`account::email_key`].
pub(crate) async fn addressee(
    tx: &mut Tx,
    organization: OrganizationId,
    email_key: &str,
) -> Result<Addressee> {
    Ok(match account::with_email(tx, organization, email_key).await? {
        None => Addressee::Nobody,
        Some(account) if (account.role, account.status) == (Role::Customer, Status::Active) => {
            Addressee::Customer(account)
        }
        Some(_) => Addressee::Other,
    })
}

/// Makes the account of somebody who proved that the address is theirs. To be called after
/// [`account::take_turn`], with an address that is [`Addressee::Nobody`]'s.
pub(crate) async fn make(
    tx: &mut Tx,
    organization: OrganizationId,
    name: &str,
    email: &str,
) -> Result<Account> {
    let name = account::name(name).unwrap_or_else(|| email.to_owned());
    let new = account::New {
        name: &name,
        email: Some(email),
        vouched: true,
        picture: None,
        role: Role::Customer,
    };
    Ok(account::insert(tx, organization, &new).await?)
}

/// Begins a session by a letter's link: the last that its transaction does.
pub(crate) async fn begin(
    tx: &mut Tx,
    account: &Account,
    is_new: bool,
    new: session::New<'_>,
) -> Result<Started> {
    // The audit log's last entry is what others wait for: it comes after all else.
    let started = session::start_in(tx, account, new).await?;
    let who = audit::Actor { name: &account.name, address: new.address };
    let subject = account::subject(account.id);
    let detail =
        json!({ "name": account.name, "role": account.role, "why": "letter of a sign-up" });
    let action = if is_new { "account.create" } else { "link.use" };
    audit::write(tx, account.organization_id, who, action, &subject, &detail).await?;
    Ok(started)
}
