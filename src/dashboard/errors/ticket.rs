//! The ticket of an error in a tracker: asked for here, and shown with its link and state.

use axum::{Extension, response::Response};

use super::{Page, Told, see_other};
use crate::{
    auth::OrganizationId,
    error::{Error, Result},
    http::{Operator, Path, Result as Answer},
    integrations::ticketing::{Status, Ticket, Tickets},
};

/// The tickets of an error, and whether one could be opened.
pub(super) struct Ticketed {
    pub(super) tickets: Vec<Ticket>,
    pub(super) is_served: bool,
}

impl Ticketed {
    pub(super) async fn of(
        tickets: &Tickets,
        organization: OrganizationId,
        group: i64,
    ) -> Result<Self> {
        Ok(Self {
            tickets: tickets.of_group(organization, group).await?,
            is_served: tickets.is_served(organization).await?,
        })
    }

    /// There is none yet.
    pub(super) fn may_ask(&self) -> bool {
        self.tickets.is_empty()
    }

    /// It changes by itself within seconds.
    pub(super) fn is_moving(&self) -> bool {
        self.tickets
            .iter()
            .any(|ticket| ticket.status == Status::Opening && ticket.last_error.is_none())
    }

    /// Where people look at it: an address of the web, and nothing else that an answer may hold.
    #[expect(clippy::unused_self, reason = "templates call it so")]
    pub(super) fn link<'a>(&self, ticket: &'a Ticket) -> Option<&'a str> {
        link(ticket)
    }

    #[expect(clippy::unused_self, reason = "templates call it so")]
    pub(super) fn tone(&self, ticket: &Ticket) -> &'static str {
        match ticket.status {
            Status::Opening if ticket.last_error.is_some() => "warn",
            Status::Opening => "live",
            Status::Open => "",
            Status::Closed => "ok",
            Status::Failed => "bad",
        }
    }
}

/// The address of a ticket, if it is one of the web.
pub(in crate::dashboard) fn link(ticket: &Ticket) -> Option<&str> {
    let url = ticket.url.as_deref()?;
    (url.starts_with("https://") || url.starts_with("http://")).then_some(url)
}

/// Asks for the ticket of an error.
pub(super) async fn create(
    page: Page<Operator>,
    Extension(tickets): Extension<Tickets>,
    Path(id): Path<i64>,
) -> Answer<Response> {
    let caller = &page.caller;
    let asked = tickets.ask(caller.organization, &caller.author(), caller.into(), id).await;
    let told = match asked {
        Ok(ticket) => match (ticket.status, &ticket.key) {
            (Status::Open | Status::Closed, Some(key)) => {
                Told::done(format!("Its ticket is {key}"))
            }
            _ => Told::done(format!("A ticket is being opened in {}", ticket.label())),
        },
        Err(Error::Conflict(why) | Error::Invalid(why) | Error::Unavailable(why)) => Told::bad(why),
        Err(error) => return Err(error.into()),
    };
    Ok(see_other(&format!("/errors/{id}"), &told))
}
