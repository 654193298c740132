//! Captured errors: the ways in, fingerprints, groups, and reading them again.
//!
//! An event comes in over HTTP, from a log record, or as a row that another program
//! wrote; it is checked and fingerprinted ([`Event`], [`Fingerprint`]) and stored with
//! its group's counters in one transaction ([`Capture`]).

pub mod capture;
pub mod clear;
pub mod detail;
pub mod event;
pub mod find;
pub mod fingerprint;
pub mod from_logs;
pub mod grouping;
pub mod intake;
pub mod mute;
pub mod own;
pub mod retain;
pub mod routes;
pub mod scrub;
pub mod sentry;
pub mod shown;
pub mod store;
pub mod storm;
pub mod traceback;
pub mod tree;

pub use capture::Capture;
pub use event::{Event, NewEvent};
pub use fingerprint::Fingerprint;
pub use from_logs::FromLogs;
pub use intake::Intake;
pub use routes::router;
