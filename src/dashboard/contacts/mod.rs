//! Contacts: the list with what can be done about many, one contact, duplicates, and tables on
//! their way in.

mod bulk;
mod duplicates;
mod edit;
mod import;
mod list;
mod query;
mod show;

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
        .route("/contacts", get(list::page).post(edit::add))
        .route("/contacts/bulk", post(bulk::change))
        .route("/contacts/duplicates", get(duplicates::page).post(duplicates::merge))
        .route("/contacts/import", get(import::list))
        .route("/contacts/import/{id}", get(import::show).post(import::change))
        .route("/contacts/import/{id}/progress", get(import::progress))
        .route("/contacts/{id}", get(show::page).post(edit::change))
        .route("/contacts/{id}/note", post(edit::note))
        .route("/contacts/{id}/consent", post(edit::consent))
        .route("/contacts/{id}/ask", post(edit::ask))
        .route("/contacts/{id}/remove", post(edit::remove))
        .route("/contacts/{id}/export", post(edit::export))
        .route("/contacts/{id}/erase", post(edit::erase))
}

/// The route that takes files, which has bounds of its own.
pub(super) fn upload_router() -> Router<App> {
    Router::new().route("/contacts/import/file", post(import::upload))
}

/// What was done, or in words why not.
fn told<T>(done: Done<T>, words: impl FnOnce(T) -> String) -> Result<Told> {
    Ok(match done {
        Ok(value) => Told::done(words(value)),
        Err(Error::Invalid(why) | Error::Conflict(why) | Error::Unavailable(why)) => Told::bad(why),
        Err(error) => return Err(error.into()),
    })
}

/// "1 contact", "12 contacts".
fn count(number: usize) -> String {
    if number == 1 { "1 contact".to_owned() } else { format!("{number} contacts") }
}

/// Consent as people say it, and how it looks.
fn consent_words(status: crate::contacts::Status) -> (&'static str, &'static str) {
    use crate::contacts::Status;
    match status {
        Status::None => ("Nobody asked", ""),
        Status::Pending => ("Asked", "warn"),
        Status::Confirmed => ("Agreed", "ok"),
        Status::Withdrawn => ("Said no", "bad"),
    }
}
