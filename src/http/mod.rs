//! What every route shares: authority as extractor types, problem+json replies,
//! bodies and queries that reject in the house's form, cookies, limits, paging.

mod authority;
mod body;
pub mod cookie;
pub mod edge;
pub mod limit;
mod next;
pub mod openai;
pub mod origin;
pub mod paging;
mod problem;

pub use authority::{Admin, Ingest, Known, Operator, Reader};
pub use body::{Json, Path, Query};
pub use next::safe_next;
pub use problem::Problem;

/// What a handler returns.
pub type Result<T> = std::result::Result<T, Problem>;
