//! Captured errors: the ways in, fingerprints, groups, and reading them again.
//!
//! An event comes in over HTTP, from a log record, or as a row that another program
//! wrote; it is checked and fingerprinted ([`Event`], [`Fingerprint`]) and stored with
//! its group's counters in one transaction ([`Capture`]).

pub mod capture;
pub mod clear;
pub mod event;
pub mod find;
pub mod fingerprint;
pub mod intake;
pub mod retain;
pub mod routes;
pub mod store;
pub mod storm;
pub mod traceback;

pub use capture::Capture;
pub use event::{Event, NewEvent};
pub use fingerprint::Fingerprint;
pub use intake::Intake;
pub use routes::router;
