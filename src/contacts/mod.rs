//! People who signed up somewhere: contacts, their segments, consent and history.
//!
//! Whatever comes about a person (webhook, file, API, page) becomes an [`Incoming`] and goes
//! through one writer ([`Contacts`]): contact, tags, activity, consent and membership in segments
//! commit in one transaction, many requests together.

pub mod activity;
mod change;
mod contact;
pub mod credential;
mod email;
mod merge;
mod payload;
mod phone;
pub mod receipt;
mod record;
mod routes;
pub mod segment;
pub mod store;
pub mod suppress;
mod webhook;
pub mod words;

pub use change::{Change, change, remove};
pub use contact::{Agreed, Contact, Done, Incoming, Recorded, Status};
pub use email::Email;
pub use phone::e164;
pub use record::{Contacts, MAX_ITEMS};
pub use routes::router;
pub use suppress::ContactKey;
