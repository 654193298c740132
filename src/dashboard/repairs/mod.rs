//! Repairs: what runs, what ran, what became of it, and what is done unasked.

mod cause;
mod deeds;
mod list;
mod run;
mod timeline;
mod words;

use axum::{
    Router,
    routing::{get, post},
};

use super::{Form, Page, Shell, Told, filters, html, is_fragment, see_other};
use crate::app::App;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/repairs", get(list::show).post(deeds::start))
        .route("/repairs/preview", post(deeds::preview))
        .route("/repairs/stop", post(deeds::stop))
        .route("/repairs/go", post(deeds::go))
        .route("/repairs/cited", get(run::cited))
        .route("/repairs/{id}", get(run::show))
        .route("/repairs/{id}/again", post(deeds::again))
}
