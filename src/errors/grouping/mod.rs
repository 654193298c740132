//! Which group an event belongs to, beyond Lux's own fingerprint: the rules of the
//! configuration and the wishes of programs ([`Rules`]), merging and splitting by
//! operators ([`merge`], [`split`]), which what was kept follows ([`moving`]), and the order
//! of releases ([`version`]).

pub mod merge;
pub mod moving;
mod routes;
pub mod rules;
pub mod split;
pub mod version;

pub use moving::register;
pub use routes::router;
pub use rules::Rules;
