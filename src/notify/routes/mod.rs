//! Notifications over HTTP.

mod business;
mod channels;
mod inbox;
mod log;
mod maintenance;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(business::router())
        .merge(channels::router())
        .merge(inbox::router())
        .merge(log::router())
        .merge(maintenance::router())
}
