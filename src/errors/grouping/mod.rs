//! Which group an event belongs to, beyond its fingerprint: merging and splitting by
//! operators ([`merge`], [`split`]), which what was kept follows ([`moving`]), and the order
//! of releases ([`version`]).

pub mod merge;
pub mod moving;
mod routes;
pub mod split;
pub mod version;

pub use moving::register;
pub use routes::router;
