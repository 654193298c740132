//! What a chat proposed to send or to schedule, done by the press of a button. The wish carries a
//! key, so a second press is the first.

use axum::{Extension, response::Response};
use serde::Deserialize;

use super::super::{Form, Page, Told, see_other};
use crate::{
    error::Error,
    http::{Operator, Result},
    integrations::{Integrations, meeting, outbox},
};

/// A proposal as its form sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Proposed {
    /// The wish, as JSON.
    wish: String,
    /// The conversation that it stood in.
    session: String,
}

impl Proposed {
    fn back(&self) -> String {
        match self.session.parse::<i64>() {
            Ok(session) => format!("/chat/{session}"),
            Err(_) => "/integrations".to_owned(),
        }
    }

    fn wish<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let why = "wish: what is to be done is needed, as the chat proposed it";
        Ok(serde_json::from_str(&self.wish).map_err(|_| Error::invalid(why))?)
    }
}

pub(super) async fn message(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Form(proposed): Form<Proposed>,
) -> Result<Response> {
    let wish: outbox::Message = proposed.wish()?;
    let told = match integrations.say(&page.caller, wish).await {
        Ok(delivery) => Told::done(match delivery.last_error {
            Some(why) => why,
            None => "The message is sent".to_owned(),
        }),
        Err(error) => bad(error)?,
    };
    Ok(see_other(&proposed.back(), &told))
}

pub(super) async fn meeting(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Form(proposed): Form<Proposed>,
) -> Result<Response> {
    let wish: meeting::Wish = proposed.wish()?;
    let told = match integrations.meet(&page.caller, &wish).await {
        Ok(meeting) => Told::done(match meeting.link {
            Some(link) => format!("The meeting is scheduled: {link}"),
            None => "The meeting is scheduled; its link is still being made".to_owned(),
        }),
        Err(error) => bad(error)?,
    };
    Ok(see_other(&proposed.back(), &told))
}

fn bad(error: Error) -> Result<Told> {
    match error {
        Error::Invalid(why) | Error::Conflict(why) | Error::Unavailable(why) => Ok(Told::bad(why)),
        error => Err(error.into()),
    }
}
