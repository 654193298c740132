//! Finding errors again: full text and fields, series, affected users, endpoints, export.
//!
//! A search is a list of [`Term`]s. An index (FTS5 on SQLite, GIN on PostgreSQL) names the
//! rows that may match, [`Text`] and [`Term::matches`] say which do: so both databases give
//! the same answers, and rows that are not indexed yet are found as well.

mod export;
mod index;
mod query;
pub mod routes;
mod spread;
mod words;

pub use index::start;
pub use query::{Field, Query, Subject, Term, Value, What, expression, facets, forms};
pub use spread::{Affected, Tag, TagValue, Tags, tags, users};
pub use words::{Text, facet, words};

pub use routes::router;
