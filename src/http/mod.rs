//! What every route shares: authority as extractor types, problem+json replies,
//! bodies and queries that reject in the house's form, cookies, limits, paging.

mod authority;
mod body;
pub mod connection;
pub mod cookie;
pub mod edge;
mod headers;
pub mod limit;
mod next;
pub mod openai;
pub mod origin;
pub mod paging;
mod problem;
mod shape;

pub use authority::{Admin, Customer, Guess, Ingest, Known, Operator, Reader};
pub use body::{Json, JsonFile, Path, Query};
pub use next::safe_next;
pub use problem::{Problem, RenderedBy};
pub use shape::check as check_shape;

/// What a handler returns.
pub type Result<T> = std::result::Result<T, Problem>;
