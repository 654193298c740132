//! People who signed up somewhere: contacts, their segments, consent and history.
//!
//! Whatever comes about a person (webhook, file, API, page) becomes an [`Incoming`] and goes
//! through one writer ([`Contacts`]): contact, tags, activity, consent and membership in segments
//! commit in one transaction, many requests together.

mod contact;
mod email;
mod phone;
pub mod suppress;

pub use contact::{Agreed, Contact, Done, Incoming, Recorded, Status};
pub use email::Email;
pub use phone::e164;
