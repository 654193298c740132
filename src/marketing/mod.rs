//! Marketing: eleven agents that draft, analyse and propose, and campaigns that go out by mail.

pub mod agent;
pub mod brand;
pub mod campaign;
pub mod sending;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The routes of brand and campaigns; those of [`sending`] reach what sends.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(brand::router()).merge(campaign::router())
}
