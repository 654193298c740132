//! Marketing: eleven agents that draft, analyse and propose, and campaigns that go out by mail.

pub mod agent;
pub mod brand;
pub mod campaign;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The routes of all of it.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(brand::router()).merge(campaign::router())
}
