//! Sentry's protocol, as far as errors go: an application that has a Sentry SDK reports to
//! Lux by another DSN.
//!
//! `POST /api/{app}/envelope/` and `/store/`. A body is read within bounds (`body`), taken
//! apart (`envelope`), each event scrubbed, shaped and rendered (`event`, `stack`) in
//! the request's own task, and stored like any other ([`super::Capture`]): what is answered
//! with 200 is committed. What an envelope holds besides errors is counted, not kept.

mod auth;
mod body;
mod envelope;
mod event;
mod origin;
mod refusal;
mod routes;
mod stack;

pub use routes::router;

#[cfg(test)]
mod tests;
