//! The pages where operators live: one folder a page, each with its handlers and its templates.
//! What they show and do is the features'; here it becomes HTML. All of it works without
//! scripts but for the chat and the live log, and is loaded from nowhere else.

mod approvals;
pub mod assets;
pub mod chart;
pub mod filters;
mod form;
mod home;
pub mod live;
mod page;
mod repairs;
mod reply;
mod settings;
pub mod shell;
mod told;
pub mod when;

use axum::{Router, middleware};

use crate::app::App;

pub use form::Form;
pub use page::Page;
pub use reply::{html, is_fragment, see_other};
pub use shell::Shell;
pub use told::Told;

/// All pages, with what renders their refusals. They are no part of the API's description,
/// because they are for browsers.
pub fn router(app: &App) -> Router<App> {
    Router::new()
        .merge(approvals::router())
        .merge(home::router())
        .merge(live::router())
        .merge(repairs::router())
        .merge(settings::router())
        .layer(axum::Extension(live::Live::new(app.clone())))
        .layer(middleware::from_fn(reply::refusals))
        .merge(assets::router())
}
