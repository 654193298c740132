//! Calls that an assistant of HighLevel took on the telephone: fetched by and by, matched to
//! contacts. Calls that other programs post. And contacts, taken to HighLevel.

mod contact;
mod payload;
mod posted;
mod routes;
mod store;
mod sync;

pub(super) use posted::router as posted_router;
pub(super) use routes::router;
pub use store::{Call, Position, SyncStatus, failing, find, page, statuses};

/// The name of the service in rows.
const SERVICE: &str = "highlevel";

/// The version of the API that calls are asked in; contacts have another.
const VERSION: &str = "2021-04-15";
