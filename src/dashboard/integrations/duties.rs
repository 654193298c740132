//! What connections do for the whole organization: a form for each duty.

use std::collections::BTreeMap;

use axum::{Extension, extract::State, response::Response};
use serde::Deserialize;
use serde_json::Value;

use super::super::{Form, Page, Told, see_other};
use crate::{
    app::App,
    error::Error,
    http::{Operator, Path, Result},
    integrations::{self, Card, Duty, Integrations, Kind, Served, serve, stop_serving},
};

/// One duty with what could serve it.
pub(super) struct Row {
    pub(super) duty: Duty,
    pub(super) name: &'static str,
    /// What happens by itself where that is switched on.
    pub(super) promise: &'static str,
    /// What says where: its key in the target, its label, an example.
    pub(super) place: Option<(&'static str, &'static str, &'static str)>,
    pub(super) served: Option<Served>,
    pub(super) choices: Vec<Choice>,
}

/// A connection that could serve.
pub(super) struct Choice {
    pub(super) id: i64,
    /// "Jira of Ada (Shop)"
    pub(super) name: String,
}

impl Row {
    pub(super) fn is_chosen(&self, choice: &Choice) -> bool {
        self.served.as_ref().is_some_and(|served| served.integration_id == choice.id)
    }

    /// What was said of where, to be shown again.
    pub(super) fn target(&self) -> String {
        let (Some((key, ..)), Some(served)) = (self.place, &self.served) else {
            return String::new();
        };
        match &served.target[key] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    /// The connection that serves it is gone: somebody disconnected it.
    pub(super) fn is_lost(&self) -> bool {
        self.served.is_some() && !self.choices.iter().any(|choice| self.is_chosen(choice))
    }

    pub(super) fn is_automatic(&self) -> bool {
        self.served.as_ref().is_none_or(|served| served.automatic)
    }
}

type Words = (&'static str, &'static str, Option<(&'static str, &'static str, &'static str)>);

const fn words(duty: Duty) -> Words {
    match duty {
        Duty::Tickets => (
            "Tickets",
            "Open one ticket for an error that a repair leaves unresolved, and close it with the evidence.",
            Some((
                "project",
                "Project",
                "owner/name (GitHub), OPS (Jira), a project's or board's number",
            )),
        ),
        Duty::Messages => (
            "Messages",
            "Tell the channel of a storm, once, and of finished repairs, unless a notification channel for Slack does.",
            Some(("channel", "Channel", "C0123ABCD or #incidents")),
        ),
        Duty::Reports => (
            "Weekly report",
            "Put the report into the folder each Monday at 07:00.",
            Some(("folder", "Folder (optional)", "where Lux may write")),
        ),
        Duty::Meetings => (
            "Meetings",
            "Nothing happens by itself: meetings are made when somebody asks for one.",
            Some(("calendar", "Calendar (optional)", "primary")),
        ),
        Duty::Calls => ("Call logs", "Fetch the call logs every hour.", None),
    }
}

/// The duties, each with the connections of all people that could serve it.
pub(super) async fn rows(
    integrations: &Integrations,
    page: &Page<crate::http::Reader>,
) -> Result<Vec<Row>> {
    let organization = page.caller.organization;
    let app = integrations.app();
    let people = integrations::people(integrations, organization).await?;
    let mut served: BTreeMap<Duty, Served> = integrations::served(&app.db, organization)
        .await?
        .into_iter()
        .map(|served| (served.duty, served))
        .collect();
    let connected: Vec<(&str, &Card)> = people
        .iter()
        .flat_map(|person| person.integrations.values().map(|card| (person.name.as_str(), card)))
        .filter(|(_, card)| card.connected)
        .collect();
    let rows = Duty::ALL.into_iter().map(|duty| {
        let (name, promise, place) = words(duty);
        let can =
            |card: &Card| Kind::find(card.provider).is_some_and(|kind| kind.duties.contains(&duty));
        let choices = connected.iter().filter(|(_, card)| can(card)).filter_map(|(who, card)| {
            let place = card.place.as_ref().map(|place| format!(" ({})", place.name));
            let name = format!("{} of {who}{}", card.label, place.unwrap_or_default());
            Some(Choice { id: card.id?, name })
        });
        Row { duty, name, promise, place, served: served.remove(&duty), choices: choices.collect() }
    });
    Ok(rows.collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wish {
    integration: String,
    target: String,
    automatic: Option<String>,
}

fn duty(name: &str) -> Result<Duty> {
    let found = Duty::ALL.into_iter().find(|duty| duty.as_str() == name);
    Ok(found.ok_or(Error::NotFound("duty"))?)
}

pub(super) async fn set(
    page: Page<Operator>,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(wish): Form<Wish>,
) -> Result<Response> {
    let duty = duty(&name)?;
    let (label, _, place) = words(duty);
    let Ok(integration) = wish.integration.trim().parse::<i64>() else {
        let told = Told::bad(format!("Choose what {} go to", label.to_lowercase()));
        return Ok(see_other("/integrations#duties", &told));
    };
    let mut target = BTreeMap::new();
    if let Some((key, ..)) = place
        && !wish.target.trim().is_empty()
    {
        target.insert(key.to_owned(), wish.target.trim().to_owned());
    }
    let automatic = wish.automatic.is_some();
    let done = serve(&app.db, &page.caller, duty, integration, &target, automatic).await;
    let told = match done {
        Ok(()) => Told::done(format!("{label}: saved")),
        Err(Error::Invalid(why) | Error::Conflict(why)) => Told::bad(why),
        Err(other) => return Err(other.into()),
    };
    Ok(see_other("/integrations#duties", &told))
}

pub(super) async fn end(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Path(name): Path<String>,
) -> Result<Response> {
    let duty = duty(&name)?;
    stop_serving(&integrations.app().db, &page.caller, duty).await?;
    let told = Told::done(format!("{}: nothing serves them any more", words(duty).0));
    Ok(see_other("/integrations#duties", &told))
}
