//! Settings: who may do what, what is monitored, what a model is sent, what was done. Each part
//! is a page of its own; what only administrators may see is neither shown nor served to others.

mod about;
mod agents;
mod apps;
mod audit;
mod hooks;
mod ledger;
mod model;
mod people;
mod tokens;
mod webhook;
mod you;

use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use http::StatusCode;

use super::{Form, Page, Shell, Told, chart, filters, html, is_fragment, see_other};
use crate::{app::App, error::Error, http::Result};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/settings", get(you::show))
        .route("/settings/sessions/{id}/end", post(you::end))
        .route("/settings/people", get(people::show))
        .route("/settings/people/{id}", post(people::change))
        .route("/settings/invitations", post(people::invite))
        .route("/settings/invitations/{id}/withdraw", post(people::withdraw))
        .route("/settings/tokens", get(tokens::show).post(tokens::make))
        .route("/settings/tokens/{id}/revoke", post(tokens::revoke))
        .route("/settings/apps", get(apps::list).post(apps::add))
        .route("/settings/apps/{id}", get(apps::show).post(apps::change))
        .route("/settings/apps/{id}/archive", post(apps::archive))
        .route("/settings/apps/{id}/keys", post(apps::make_key))
        .route("/settings/apps/{id}/keys/{key}/revoke", post(apps::revoke_key))
        .route("/settings/model", get(model::show))
        .route("/settings/ledger", get(ledger::list))
        .route("/settings/ledger/{id}", get(ledger::show))
        .route("/settings/audit", get(audit::show))
        .route("/settings/audit/check", get(audit::check))
        .route("/settings/webhook", get(webhook::show).post(webhook::make))
        .route("/settings/webhook/{id}/revoke", post(webhook::revoke))
        .route("/settings/hooks", get(hooks::show))
        .route("/settings/hooks/{id}/remove", post(hooks::remove))
        .route("/settings/agents", get(agents::show))
        .route("/settings/about", get(about::show))
}

/// What is wrong with a form, to be said beside it; other errors go on.
fn wrong_or(error: Error) -> Result<String> {
    match error {
        Error::Invalid(why) | Error::Conflict(why) | Error::TooLarge(why) => Ok(why),
        other => Err(other.into()),
    }
}

/// The page of a form that was refused.
fn refused(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// What was done, or in words why not.
fn told<T>(done: crate::error::Result<T>, words: impl FnOnce(T) -> String) -> Result<Told> {
    Ok(match done {
        Ok(value) => Told::done(words(value)),
        Err(error) => Told::bad(wrong_or(error)?),
    })
}
