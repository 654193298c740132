//! What is a customer's right: to be told everything that Lux has about them, and to be forgotten.

mod routes;
mod store;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Whose, attachment, find, note, store as customers, unknown};
use crate::{
    app::App,
    auth::{Caller, Role, account, audit, session},
    clock,
    error::{Error, Result},
};

pub use routes::router;

/// Everything that Lux has about a customer, as one JSON document; of files, what they are. That
/// it was written out is audited.
pub async fn everything(app: &App, caller: &Caller, id: i64) -> Result<Value> {
    let (db, organization) = (&app.db, caller.organization);
    let customer = find(db, caller, Whose::Of(id)).await?;
    let key = customer.email_key.as_deref();
    let document = json!({
        "written_at": clock::now(),
        "notes": customers::notes(db, organization, id, i64::MAX, note::MOST).await?,
        "files": attachment::list(db, caller, Whose::Of(id)).await?,
        "conversations": store::conversations(db, id).await?,
        "messages": store::messages(db, id).await?,
        "known_to_providers_as": store::identities(db, id).await?,
        "sessions": session::list(db, organization, id).await?,
        "sign_ups": store::sign_ups(db, organization, key).await?,
        "invitations": store::invitations(db, organization, id, key).await?,
        "customer": customer,
    });
    let subject = account::subject(id);
    audit::write(db, organization, caller, "customer.export_person", &subject, &json!({})).await?;
    Ok(document)
}

/// How somebody is forgotten.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EraseCustomer)]
pub struct Erase {
    /// The id once more, so that nobody is forgotten by a slip.
    pub confirm: i64,
}

/// Forgets a customer for good: the account with all that hangs on it. A contact of the same
/// address is another matter (`contacts::person`), as are captured errors, which name users as the
/// application does and go with their age. The audit log keeps who did what.
pub async fn erase(app: &App, caller: &Caller, id: i64, erase: Erase) -> Result<()> {
    let organization = caller.organization;
    let mut tx = app.db.begin().await?;
    // Nobody makes them an operator meanwhile.
    account::take_turn(&mut tx, organization).await?;
    let was = customers::get(&mut tx, organization, id).await?.ok_or_else(unknown)?;
    if erase.confirm != id {
        return Err(Error::invalid("confirm is not the id of the customer; nothing was erased"));
    }
    if was.role != Role::Customer {
        return Err(Error::Conflict(format!(
            "{} is {}: only customers are erased; make them a customer first",
            was.name, was.role
        )));
    }
    if store::connected(&mut tx, id).await? {
        return Err(Error::Conflict(format!(
            "{} connected services in a former role, and what was done by those connections is \
             kept; deactivate the account instead",
            was.name
        )));
    }
    store::forget(&mut tx, organization, id, was.email_key.as_deref()).await?;
    let subject = account::subject(id);
    audit::write(&mut tx, organization, caller, "customer.erase", &subject, &json!({})).await?;
    tx.commit().await?;
    app.sessions.forget_account(id);
    Ok(())
}
