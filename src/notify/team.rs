//! What the product's first version called the business's notification e-mails and phone. The
//! e-mails are the recipients of the channel "Team"; the number is shown where something
//! escalates. Lux sends no SMS.

use serde_json::json;

use super::{
    Notify,
    channel::{Channel, Kind, addresses, text},
    event::Topic,
    quiet::Digest,
    store::{
        channels::{self as store, New},
        rest,
    },
};
use crate::{
    auth::{Caller, OrganizationId, audit},
    clock,
    contacts::e164,
    db::is_duplicate,
    error::{Error, Result},
    logs::Severity,
};

/// The channel's name.
pub const TEAM: &str = "Team";

/// The addresses that are told.
pub async fn emails(notify: &Notify, organization: OrganizationId) -> Result<Vec<String>> {
    let channels = store::list(&notify.app.db, organization).await?;
    let team = channels.into_iter().find(|row| row.name == TEAM && row.kind == Kind::Mail);
    Ok(team.map(|row| Channel::from(row).recipients).unwrap_or_default())
}

/// Saves the addresses; makes the channel if there is none. Gives them as they were saved.
pub async fn set_emails(notify: &Notify, caller: &Caller, given: &[String]) -> Result<Vec<String>> {
    let emails = addresses("emails", given)?;
    let organization = caller.organization;
    let recipients = text(&emails)?;
    let mut tx = notify.app.db.begin().await?;
    let id = match store::named(&mut tx, organization, TEAM).await? {
        Some(row) if row.kind != Kind::Mail => {
            let why = "the channel \"Team\" is not one for mail; give it another name first";
            return Err(Error::Conflict(why.to_owned()));
        }
        Some(row) => {
            store::set_recipients(&mut tx, row.id, &recipients).await?;
            row.id
        }
        None => {
            let events = text(&Topic::ALL.as_slice())?;
            let new = New {
                name: TEAM,
                kind: Kind::Mail,
                enabled: true,
                events: &events,
                least: Severity::Warning,
                app: "",
                recipients: &recipients,
                slack_channel: "",
                target_sealed: None,
                target_shown: None,
                secret_sealed: None,
                quiet: None,
                quiet_lets_critical: true,
                digest: Digest::Off,
                digest_at: "08:00",
                zone: "UTC",
                escalate_after_minutes: None,
                escalate_to: None,
            };
            let (row_name, by) = (uuid::Uuid::now_v7().to_string(), caller.author());
            let made =
                store::insert(&mut tx, organization, &row_name, &new, &by, clock::now()).await;
            made.map_err(|error| {
                if is_duplicate(&error) {
                    Error::Conflict("somebody saved at the same moment; save again".to_owned())
                } else {
                    error.into()
                }
            })?
        }
    };
    let subject = format!("channel {id}");
    let detail = json!({"recipients": emails.len()});
    audit::write(&mut tx, organization, caller, "notify.emails_set", &subject, &detail).await?;
    tx.commit().await?;
    Ok(emails)
}

/// The telephone number in E.164, if one was saved.
pub async fn phone(notify: &Notify, organization: OrganizationId) -> Result<Option<String>> {
    Ok(rest::phone(&notify.app.db, organization).await?)
}

/// Saves the number; an empty one takes it away. Gives it as it was saved.
pub async fn set_phone(notify: &Notify, caller: &Caller, given: &str) -> Result<Option<String>> {
    let given = given.trim();
    let region = notify.app.config.contacts.phone_region;
    let phone = if given.is_empty() {
        String::new()
    } else {
        e164(given, region).ok_or_else(|| {
            Error::invalid(
                "phone: is no telephone number; write it with its country: +442079460018",
            )
        })?
    };
    let mut tx = notify.app.db.begin().await?;
    let organization = caller.organization;
    rest::set_phone(&mut tx, organization, &phone, &caller.author(), clock::now()).await?;
    let detail = json!({"is_set": !phone.is_empty()});
    audit::write(&mut tx, organization, caller, "notify.phone_set", "phone", &detail).await?;
    tx.commit().await?;
    Ok(Some(phone).filter(|phone| !phone.is_empty()))
}
