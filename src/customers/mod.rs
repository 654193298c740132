//! Customers: people from outside, who see what is their own and nothing of the system.

pub mod conversation;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The routes of customers.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(conversation::router())
}
