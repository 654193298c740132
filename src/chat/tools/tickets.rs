//! Tools around the tracker that tickets go to.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Found, Item, Tools, User, market::open};
use crate::{
    auth::audit::Actor,
    error::{Error, Result},
    errors::store::groups,
    integrations::{
        ticketing::{Status, Ticket},
        tracker::{ProjectStatus, State},
    },
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTicket {
    /// The group of errors that the ticket is about, from `list_errors`.
    group_id: i64,
}

impl Tools {
    pub(super) async fn project_status(&self, user: &User) -> Result<Found> {
        // Being connected to nothing is an answer, not a mistake of the question.
        let status = match self.tickets.project_status(user.organization).await {
            Ok(status) => status,
            Err(Error::Conflict(why)) => return Ok(Found::of(format!("{why}."))),
            Err(error) => return Err(error),
        };
        Ok(told(&status))
    }

    pub(super) async fn create_ticket(&self, user: &User, wanted: &CreateTicket) -> Result<Found> {
        let group = groups::find(&self.app.db, user.organization, wanted.group_id).await?;
        let group = group
            .filter(|group| user.app.as_ref().is_none_or(|app| group.app == *app))
            .ok_or_else(|| Error::invalid("there is no such group; list_errors names them"))?;
        let known = self.tickets.of_group(user.organization, group.id).await?;
        if let Some(known) = known.iter().find(|ticket| ticket.status != Status::Failed) {
            return Ok(stands(known));
        }
        if !user.wants_ticket {
            return Ok(Found {
                summary: format!(
                    "Nothing was opened: the operator did not ask for a ticket in this message. \
                     They have a button for error {} now.",
                    group.id
                ),
                proposals: vec![ticket_button(group.id)],
                ..Found::default()
            });
        }
        Ok(stands(&self.ticket_for(user, group.id).await?))
    }

    /// Opens a ticket for who asked for it.
    pub(in crate::chat) async fn ticket_for(&self, user: &User, group: i64) -> Result<Ticket> {
        let actor = Actor { name: &user.name, address: None };
        self.tickets.ask(user.organization, &user.name, actor, group).await
    }
}

/// How a ticket stands, in Lux's own words: what the tracker names it is no text of others.
fn stands(ticket: &Ticket) -> Found {
    let key = ticket.key.as_deref().map(|key| format!(" {key}")).unwrap_or_default();
    let page = format!("/errors/{}", ticket.group_id);
    Found {
        summary: format!(
            "The ticket{key} of error {} in {}: {}. Its link is on {page}.",
            ticket.group_id,
            ticket.label(),
            ticket.word().to_lowercase()
        ),
        proposals: vec![open(&format!("Open error {}", ticket.group_id), &page)],
        ..Found::default()
    }
}

fn told(status: &ProjectStatus) -> Found {
    let done = status.done.map(|done| format!(", {done} done")).unwrap_or_default();
    let recent = status.recent.iter().map(|ticket| {
        let state = match ticket.state {
            State::Open => "open",
            State::InProgress => "in progress",
            State::Done => "done",
        };
        Item {
            source: "tracker".to_owned(),
            line: 0,
            about: format!("a ticket, {state}"),
            text: format!("{}: {}", ticket.key, ticket.title),
        }
    });
    let about = Item {
        source: "tracker".to_owned(),
        line: 0,
        about: "the project".to_owned(),
        text: match &status.health {
            Some(health) => format!("{} ({health})", status.name),
            None => status.name.clone(),
        },
    };
    Found {
        summary: format!(
            "{} tickets are open{done} in the project that tickets go to.",
            status.open
        ),
        items: std::iter::once(about).chain(recent).collect(),
        ..Found::default()
    }
}

/// "Create ticket", as a person may click it.
pub(in crate::chat) fn ticket_button(group: i64) -> Value {
    json!({
        "kind": "ticket",
        "title": format!("Create a ticket for error {group}"),
        "method": "POST",
        "path": "/api/integrations/tickets",
        "body": { "group_id": group },
    })
}
