//! People who signed up somewhere: contacts, their segments, consent and history.
//!
//! Whatever comes about a person (webhook, file, API, page) becomes an [`Incoming`] and goes
//! through one writer ([`Contacts`]): contact, tags, activity, consent and membership in segments
//! commit in one transaction, many requests together.

pub mod activity;
pub mod bulk;
mod change;
pub mod consent;
mod contact;
pub mod credential;
pub mod duplicates;
mod email;
pub mod export;
pub mod import;
mod merge;
mod names;
mod payload;
pub mod person;
mod phone;
pub mod receipt;
mod record;
mod routes;
pub mod segment;
mod settle;
pub mod store;
pub mod suppress;
mod table;
mod webhook;
pub mod words;

pub use change::{Change, change, remove};
use contact::Arrival;
pub use contact::{Agreed, Contact, Done, Incoming, Recorded, Status};
pub use email::Email;
pub use phone::e164;
pub use record::{Contacts, MAX_ITEMS};
pub use routes::router;
pub use settle::place_anew;

use crate::{
    auth::OrganizationId,
    db::Db,
    error::{Error, Result},
};

/// One contact; one of another organization is none.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Contact> {
    let found = store::list::find(db, organization, id).await?;
    found.ok_or(Error::NotFound("contact"))
}
