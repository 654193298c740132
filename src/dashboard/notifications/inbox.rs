//! The inbox, and the page that mails lead to.

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use serde::Deserialize;

use super::{Form, Page, Shell, Told, filters, html, see_other};
use crate::{
    app::App,
    error::Error,
    http::{Operator, Path, Query, Reader, Result},
    notify::{
        self, Delivery, Event, Notify,
        inbox::{self, Entry, Read},
        store::{
            deliveries::{self, Filter},
            events,
        },
    },
};

/// Entries of a page, and deliveries of an event.
const LISTED: i64 = 50;

#[derive(Template)]
#[template(path = "notifications/inbox.html")]
struct Inbox {
    shell: Shell,
    entries: Vec<Entry>,
    /// Below this it goes on.
    older: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    before: Option<i64>,
}

pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let (organization, reader) = (page.caller.organization, inbox::reader(&page.caller));
    let before = asked.before.unwrap_or(i64::MAX);
    let entries = inbox::list(&app.db, organization, &reader, false, before, LISTED).await?;
    let is_full = i64::try_from(entries.len()).is_ok_and(|count| count >= LISTED);
    let older = entries.last().filter(|_| is_full).map(|last| last.id);
    html(&Inbox { shell: page.shell, entries, older })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    up_to: String,
}

pub(super) async fn read(
    page: Page<Reader>,
    Extension(notify): Extension<Notify>,
    Form(seen): Form<Seen>,
) -> Result<Response> {
    let Ok(id) = seen.up_to.parse() else {
        return Err(Error::invalid("up_to: say up to which entry").into());
    };
    inbox::read(&notify, &page.caller, &Read::UpTo(id)).await?;
    Ok(see_other("/notifications", &Told::done("All of it is read")))
}

#[derive(Template)]
#[template(path = "notifications/event.html")]
struct Happened {
    shell: Shell,
    event: Event,
    deliveries: Vec<Delivery>,
}

impl Happened {
    fn tone(&self) -> &'static str {
        if self.event.severity >= crate::logs::Severity::Error { "bad" } else { "warn" }
    }

    fn more(&self) -> String {
        self.event.path()
    }
}

pub(super) async fn event(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let event = events::find(&app.db, organization, id).await?.ok_or(Error::NotFound("event"))?;
    let filter = Filter { event: Some(id), ..Filter::default() };
    let deliveries = deliveries::list(&app.db, organization, filter, i64::MAX, LISTED).await?;
    html(&Happened { shell: page.shell, event, deliveries })
}

pub(super) async fn acknowledge(
    page: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Response> {
    notify::acknowledge(&notify, &page.caller, id).await?;
    let told = Told::done("Noted: you look at it, and it does not escalate");
    Ok(see_other(&format!("/notifications/events/{id}"), &told))
}
