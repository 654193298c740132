//! The errors: a list of groups with everything that can be done about many of them
//! ([`list`], [`bulk`]), and one group with what is known of it ([`show`]).

mod badge;
mod bulk;
mod list;
mod query;
mod request;
mod show;
mod ticket;
mod timeline;
mod traceback;

use axum::{
    Router,
    routing::{get, post},
};

pub(super) use ticket::link;

use super::{Page, Shell, Told, chart, filters, html, see_other, views, when};
use crate::app::App;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/errors", get(list::page))
        .route("/errors/rows", get(list::rows))
        .route("/errors/bulk", post(bulk::change))
        .route("/errors/undo", post(bulk::undo))
        .route("/errors/views", post(list::keep_view))
        .route("/errors/events/{id}", get(show::event))
        .route("/errors/{id}", get(show::page))
        .route("/errors/{id}/split", post(show::split))
        .route("/errors/{id}/ticket", post(ticket::create))
}

/// "1 error", "12 errors".
fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
