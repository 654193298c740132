//! What every route shares: authority as extractor types, problem+json replies,
//! bodies and queries that reject in the house's form, limits, paging.

mod authority;
mod body;
pub mod connection;
pub mod edge;
mod headers;
pub mod limit;
pub mod openai;
pub mod paging;
mod problem;
mod shape;

pub use authority::{Admin, Ingest, Operator, Reader};
pub use body::{Json, Path, Query};
pub use problem::Problem;

/// What a handler returns.
pub type Result<T> = std::result::Result<T, Problem>;
