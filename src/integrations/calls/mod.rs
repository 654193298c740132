//! Calls that an assistant of HighLevel took on the telephone: fetched by and by, matched to
//! contacts. Calls that other programs post. And contacts, taken to HighLevel.

mod contact;
mod listed;
mod payload;
mod posted;
mod routes;
mod store;
mod sync;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub use store::{Call, Position, SyncStatus, Wanted, failing, find, page, statuses};

/// The name of the service in rows.
const SERVICE: &str = "highlevel";

/// The version of the API that calls are asked in; contacts have another.
const VERSION: &str = "2021-04-15";

pub(super) fn router() -> OpenApiRouter<App> {
    routes::router().merge(listed::router()).merge(posted::router())
}
