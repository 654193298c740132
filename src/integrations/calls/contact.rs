//! A contact of Lux, taken to HighLevel: by request, with the least that names a person.

use serde::Serialize;
use serde_json::{Value, json};

use super::{SERVICE, store};
use crate::{
    auth::{Caller, audit},
    clock,
    contacts::{self, activity},
    error::{Error, Result},
    integrations::{Duty, Integrations, call::Call, provider::highlevel},
};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ContactElsewhere)]
pub(super) struct Taken {
    pub(super) success: bool,
    /// HighLevel's name for the contact.
    pub(super) highlevel_id: String,
    /// It was not there before.
    pub(super) is_new: bool,
}

impl Integrations {
    /// Makes the contact there, or brings it up to date; the same contact is one there too.
    pub(super) async fn take_contact(&self, caller: &Caller, id: i64) -> Result<Taken> {
        let (app, organization) = (self.app(), caller.organization);
        let contact = contacts::find(&app.db, organization, id).await?;
        if contact.email.is_none() && contact.phone.is_none() {
            return Err(Error::invalid(
                "HighLevel knows people by address or number, and the contact has neither",
            ));
        }
        let serving = self.serving(organization, Duty::Calls).await?;
        let (connection, _) = serving.ok_or_else(|| {
            Error::Conflict(
                "nothing serves calls and contacts; connect HighLevel, and let it serve them \
                 (PUT /api/integrations/duties/calls)"
                    .to_owned(),
            )
        })?;
        let mut body = json!({"locationId": connection.place()?, "source": "lux"});
        for (name, value) in [
            ("email", contact.email.as_deref().unwrap_or_default()),
            ("phone", contact.phone.as_deref().unwrap_or_default()),
            ("firstName", contact.first_name.as_str()),
            ("lastName", contact.last_name.as_str()),
            ("companyName", contact.company.as_str()),
        ] {
            if !value.is_empty() {
                body[name] = json!(value);
            }
        }
        let call =
            Call::post("/contacts/upsert", body).header("version", highlevel::VERSION).harmless();
        let answer = connection.json(call).await?;
        let found = answer.pointer("/contact/id").and_then(Value::as_str);
        let highlevel_id = found.ok_or_else(|| {
            Error::Unavailable("HighLevel did not say which contact it is there".to_owned())
        })?;
        let is_new = answer["new"].as_bool().unwrap_or_default();
        let now = clock::now();
        let mut tx = app.db.begin().await?;
        // The contact may have been forgotten meanwhile.
        store::know_as(&mut tx, organization, SERVICE, highlevel_id, id, now).await?;
        let detail = json!({"highlevel_id": highlevel_id, "new": is_new});
        let by = caller.author();
        activity::note(&mut tx, organization, id, "highlevel", &by, &detail, now).await?;
        let subject = format!("contact {id}");
        audit::write(&mut tx, organization, caller, "contact.highlevel", &subject, &detail).await?;
        tx.commit().await?;
        Ok(Taken { success: true, highlevel_id: highlevel_id.to_owned(), is_new })
    }
}
