//! Deploy marks: when which release of an application went live. Told by whoever deploys
//! (`POST /api/deploys`), or noticed at configured paths ([`watch`]); read by diagnoses
//! ("first seen 4 minutes after deploy abc123") and by lists of groups.

mod git;
mod routes;
pub mod store;
pub mod watch;

pub use routes::router;
pub use store::Deploy;
