//! Customers: the list, one of them as the team sees them, and as they see themselves.

mod deeds;
mod list;
mod show;

pub(super) use show::standing;

use axum::{
    Router,
    routing::{get, post},
};

use super::{Form, Page, Shell, Told, filters, html, see_other};
use crate::{
    app::App,
    error::{Error, Result as Done},
    http::Result,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/customers", get(list::page))
        .route("/customers/{whose}", get(show::page).post(deeds::change))
        .route("/customers/{whose}/note", post(deeds::note))
        .route("/customers/{whose}/files/{file}/remove", post(deeds::remove_file))
        .route("/customers/{whose}/export", post(deeds::export))
        .route("/customers/{whose}/erase", post(deeds::erase))
}

/// The route that takes files, which has bounds of its own.
pub(super) fn upload_router() -> Router<App> {
    Router::new().route("/customers/{whose}/files", post(deeds::attach))
}

/// What was done, or in words why not.
fn told<T>(done: Done<T>, words: impl FnOnce(T) -> String) -> Result<Told> {
    Ok(match done {
        Ok(value) => Told::done(words(value)),
        Err(
            Error::Invalid(why)
            | Error::Conflict(why)
            | Error::TooLarge(why)
            | Error::Unavailable(why),
        ) => Told::bad(why),
        Err(error) => return Err(error.into()),
    })
}
