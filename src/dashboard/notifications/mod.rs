//! Notifications: channels, maintenance and what was told (Settings), and the inbox.

mod channels;
mod fields;
mod inbox;
mod windows;

use axum::{
    Router,
    routing::{get, post},
};

use super::{Form, Page, Shell, Told, filters, html, see_other};
use crate::{app::App, error::Error, http::Result};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/settings/notifications", get(channels::list).post(channels::make))
        .route("/settings/notifications/new", get(channels::blank))
        .route("/settings/notifications/{id}", get(channels::show).post(channels::change))
        .route("/settings/notifications/{id}/test", post(channels::test))
        .route("/settings/notifications/{id}/remove", post(channels::remove))
        .route("/settings/maintenance", post(windows::announce))
        .route("/settings/maintenance/{id}/end", post(windows::end))
        .route("/settings/maintenance/{id}/remove", post(windows::remove))
        .route("/notifications", get(inbox::show))
        .route("/notifications/read", post(inbox::read))
        .route("/notifications/events/{id}", get(inbox::event))
        .route("/notifications/events/{id}/acknowledge", post(inbox::acknowledge))
}

const HERE: &str = "/settings/notifications";

/// What is wrong with a form, to be said beside it; other errors go on.
fn wrong_or(error: Error) -> Result<String> {
    match error {
        Error::Invalid(why) | Error::Conflict(why) | Error::TooLarge(why) => Ok(why),
        other => Err(other.into()),
    }
}

/// What was done, or in words why not.
fn told<T>(done: crate::error::Result<T>, words: impl FnOnce(T) -> String) -> Result<Told> {
    Ok(match done {
        Ok(value) => Told::done(words(value)),
        Err(error) => Told::bad(wrong_or(error)?),
    })
}
