//! What is anybody's right: to be told everything that Lux has about them, and to be forgotten.

mod routes;
mod store;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Email, consent, find,
    segment::Rules,
    suppress::{self, Reason},
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit},
    clock,
    error::{Error, Result},
};

pub use routes::router;

/// Everything that Lux has about a contact, as one JSON document. That it was written out is
/// audited.
pub async fn everything(app: &App, caller: &Caller, id: i64) -> Result<Value> {
    let (db, organization) = (&app.db, caller.organization);
    let contact = find(db, organization, id).await?;
    let email = contact.email.as_deref().and_then(|email| Email::parse(email).ok());
    let (rejected, suppressed) = match &email {
        Some(email) => (
            store::rejected(db, organization, &email.key).await?,
            suppress::reason(db, app.lasting.keyed().await?, organization, &email.key).await?,
        ),
        None => (Vec::new(), None),
    };
    let document = json!({
        "written_at": clock::now(),
        "contact": contact,
        "segments": store::segments(db, id).await?,
        "activities": store::activities(db, id).await?,
        "consents": consent::history(db, organization, id).await?,
        "questions": store::questions(db, id).await?,
        "suppression": suppressed.map(|(reason, at)| json!({ "reason": reason, "at": at })),
        "mails": store::mails(db, id).await?,
        "webhook_requests": store::receipts(db, id).await?,
        "calls": store::calls(db, id).await?,
        "known_elsewhere": store::elsewhere(db, id).await?,
        "rejected_rows_of_files": rejected,
        "former_ids": store::former_ids(db, id).await?,
    });
    let subject = subject(id);
    audit::write(db, organization, caller, "contact.export_person", &subject, &json!({})).await?;
    Ok(document)
}

/// How somebody is forgotten.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EraseContact)]
pub struct Erase {
    /// The id once more, so that nobody is forgotten by a slip.
    pub confirm: i64,
    /// Keep a keyed hash of the address on the suppression list, so that a later file or form
    /// does not lead to mail again. Default: true.
    #[serde(default = "yes")]
    pub suppress: bool,
}

const fn yes() -> bool {
    true
}

/// Forgets somebody: the contact with all that hangs on it, and what else the address stands in.
/// A number and a time stay, and counts.
pub async fn erase(app: &App, caller: &Caller, id: i64, erase: Erase) -> Result<()> {
    let organization: OrganizationId = caller.organization;
    let (now, keyed) = (clock::now(), app.lasting.keyed().await?);
    let mut tx = app.db.begin().await?;
    let _rules = Rules::hold(&mut tx, organization).await?;
    let whom = store::whom(&mut tx, organization, id).await?;
    let (email, email_key) = whom.ok_or(Error::NotFound("contact"))?;
    if erase.confirm != id {
        return Err(Error::invalid("confirm is not the id of the contact; nothing was erased"));
    }
    if let Some(email_key) = &email_key {
        store::forget_address(&mut tx, organization, email_key).await?;
    }
    if let Some(email) = email.and_then(|email| Email::parse(&email).ok())
        && erase.suppress
    {
        suppress::add(&mut tx, keyed, organization, &email.key, Reason::Erased).await?;
    }
    store::forget(&mut tx, organization, id, &caller.author(), now).await?;
    let detail = json!({ "suppressed": erase.suppress && email_key.is_some() });
    audit::write(&mut tx, organization, caller, "contact.erase", &subject(id), &detail).await?;
    Ok(tx.commit().await?)
}

fn subject(id: i64) -> String {
    format!("contact {id}")
}
