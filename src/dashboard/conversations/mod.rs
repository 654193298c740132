//! What is said with customers: all conversations and calls with their numbers, and one
//! conversation, for both sides of it.

mod calls;
mod deeds;
mod list;
mod show;

use axum::{
    Router,
    routing::{get, post},
};

use super::{
    Form, Page, Shell, Told, chart::Bars, customers::standing, filters, html, is_fragment,
    see_other,
};
use crate::{
    app::App,
    error::{Error, Result as Done},
    http::Result,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/interactions", get(list::page))
        .route("/interactions/calls", get(calls::page))
        .route("/interactions/calls/{id}", get(calls::show))
        .route("/conversations", post(deeds::begin))
        .route("/conversations/{id}", get(show::page))
        .route("/conversations/{id}/messages", post(deeds::send))
        .route("/conversations/{id}/hand-over", post(deeds::hand_over))
        .route("/conversations/{id}/close", post(deeds::close))
        .route("/conversations/{id}/reopen", post(deeds::reopen))
}

/// What was done, or in words why not.
fn told<T>(done: Done<T>, words: impl FnOnce(T) -> String) -> Result<Told> {
    Ok(match done {
        Ok(value) => Told::done(words(value)),
        Err(Error::Invalid(why) | Error::Conflict(why) | Error::Unavailable(why)) => Told::bad(why),
        Err(error) => return Err(error.into()),
    })
}
