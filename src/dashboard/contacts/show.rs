//! One contact, with what is known of it and what happened to it.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::{Page, Shell, consent_words, filters, html, list::called};
use crate::{
    app::App,
    contacts::{
        Contact, Email,
        activity::{self, Activity},
        consent::{self, Word},
        duplicates,
        store::list,
        suppress,
    },
    error::{Error, Result as Done},
    http::{Path, Reader, Result},
};

/// Activities that are shown.
const ACTIVITIES: i64 = 50;

#[derive(Template)]
#[template(path = "contacts/show.html")]
pub(super) struct Show {
    shell: Shell,
    contact: Contact,
    called: String,
    /// Id and name.
    segments: Vec<(i64, String)>,
    words: Vec<Word>,
    activities: Vec<Activity>,
    /// Why the address is not written to.
    suppressed: Option<&'static str>,
    /// What is in the form, and what is wrong with it.
    form: BTreeMap<&'static str, String>,
    pub(super) wrong: Option<String>,
}

impl Show {
    fn consent(&self) -> (&'static str, &'static str) {
        consent_words(self.contact.consent)
    }

    fn said(word: &Word) -> (&'static str, &'static str) {
        consent_words(word.status)
    }

    fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    /// What happened, in words.
    fn told(activity: &Activity) -> String {
        let text = |name: &str| activity.detail[name].as_str().unwrap_or_default().to_owned();
        let fields = || {
            let fields = activity.detail["fields"].as_array().cloned().unwrap_or_default();
            let fields: Vec<&str> = fields.iter().filter_map(|it| it.as_str()).collect();
            fields.join(", ").replace('_', " ")
        };
        match activity.kind.as_str() {
            "created" if text("source").is_empty() => "Added".to_owned(),
            "created" => format!("Added, from {}", text("source")),
            "updated" if fields().is_empty() => "Updated".to_owned(),
            "updated" => format!("Updated: {}", fields()),
            "merged" => format!("Contact {} became part of this one", activity.detail["from"]),
            "note" => text("text"),
            "consent" => match text("status").as_str() {
                "confirmed" => format!("Agreed to mail: {}", text("source")),
                "withdrawn" => format!("Said no to mail: {}", text("source")),
                "pending" => format!("Asked whether mail is wanted: {}", text("source")),
                _ => format!("Consent cleared: {}", text("source")),
            },
            "called" => {
                let seconds = activity.detail["seconds"].as_i64().unwrap_or_default();
                let (minutes, rest) = (seconds / 60, seconds % 60);
                match text("summary").as_str() {
                    "" => format!("Called, {minutes}:{rest:02} min"),
                    summary => format!("Called, {minutes}:{rest:02} min: {summary}"),
                }
            }
            "highlevel" => "Taken to HighLevel".to_owned(),
            other => other.replace('_', " "),
        }
    }

    fn icon(activity: &Activity) -> &'static str {
        match activity.kind.as_str() {
            "created" => "plus",
            "updated" => "pencil",
            "merged" => "git-merge",
            "note" => "pen-line",
            "consent" => "handshake",
            "mailed" | "opened" | "clicked" => "mail",
            "bounced" | "unsubscribed" => "ban",
            "called" => "smartphone",
            _ => "activity",
        }
    }
}

fn reason(reason: &str) -> &'static str {
    match reason {
        "unsubscribed" => "the person said no",
        "bounced" => "mail to it came back",
        "complained" => "mail to it was reported as unwanted",
        "erased" => "somebody with this address was forgotten",
        _ => "an operator put it on the list",
    }
}

/// The page of a contact.
pub(super) async fn read(
    app: &App,
    shell: Shell,
    contact: Contact,
    organization: crate::auth::OrganizationId,
) -> Done<Show> {
    let id = contact.id;
    let segments = list::segments_of(&app.db, id).await?;
    let email = contact.email.as_deref().and_then(|email| Email::parse(email).ok());
    let suppressed = match &email {
        Some(email) => {
            suppress::reason(&app.db, app.lasting.keyed().await?, organization, &email.key).await?
        }
        None => None,
    };
    let attributes = contact.attributes.iter().map(|(name, value)| format!("{name}: {value}"));
    let form = [
        ("email", contact.email.clone().unwrap_or_default()),
        ("first_name", contact.first_name.clone()),
        ("last_name", contact.last_name.clone()),
        ("company", contact.company.clone()),
        ("phone", contact.phone_given.clone()),
        ("tags", contact.tags.iter().cloned().collect::<Vec<_>>().join(", ")),
        ("attributes", attributes.collect::<Vec<_>>().join("\n")),
        ("version", contact.version.to_string()),
    ];
    Ok(Show {
        called: called(&contact),
        segments: segments.into_iter().map(|(id, _, name)| (id, name)).collect(),
        words: consent::history(&app.db, organization, id).await?,
        activities: activity::list(&app.db, organization, id, None, ACTIVITIES).await?,
        suppressed: suppressed.map(|(why, _)| reason(&why)),
        form: form.into(),
        wrong: None,
        contact,
        shell,
    })
}

pub(super) async fn page(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let found = list::find(&app.db, organization, id).await.map_err(Error::from)?;
    let Some(contact) = found else {
        let into = duplicates::leads_to(&app.db, organization, id).await?;
        let into = into.ok_or(Error::NotFound("contact"))?;
        return Ok(Redirect::to(&format!("/contacts/{into}")).into_response());
    };
    html(&read(&app, page.shell, contact, organization).await?)
}
