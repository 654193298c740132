//! Campaigns: the list, the brief, and one campaign with its drafts, its preview as a contact, its
//! checklist, schedule and approval.

pub(super) mod card;
mod form;
mod list;
mod preview;
mod show;

use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use http::StatusCode;

use super::{Form, Page, Shell, Told, filters, html, is_fragment, see_other};
use crate::{app::App, error::Error, http::Result};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/campaigns", get(list::show).post(form::create))
        .route("/campaigns/new", get(form::new))
        .route("/campaigns/brand", get(form::brand).post(form::write_brand))
        .route("/campaigns/{id}", get(show::show))
        .route("/campaigns/{id}/edit", post(show::edit))
        .route("/campaigns/{id}/plan", post(show::plan))
        .route("/campaigns/{id}/do", post(show::deed))
        .route("/campaigns/{id}/approve", post(show::approve))
        .route("/campaigns/{id}/reject", post(show::reject))
        .route("/campaigns/{id}/restore", post(show::restore))
        .route("/campaigns/{id}/mail", get(preview::mail))
        .route("/errors/{id}/campaign", post(form::tell_who_met))
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
