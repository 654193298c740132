//! Campaigns: from a brief to drafts, versions, a checklist, an approval, and letters.
//!
//! A campaign is made by [`deeds::create`] and changed by the other [`deeds`]; it is sent by who
//! takes the rows of `campaign_mail` that an approval makes, and turns them into letters with
//! [`render()`]. Nothing here sends anything.

mod audience;
pub mod brief;
pub mod check;
mod compile;
pub mod content;
pub mod deeds;
pub mod diff;
mod draft;
mod layout;
mod letters;
pub mod merge;
pub mod met;
mod render;
mod routes;
pub mod store;
mod template;
mod test_mail;

pub use audience::Audience;
pub use brief::Brief;
pub use compile::Compiled;
pub use content::{Ad, Content, Engine, Social};
pub use deeds::{Wish, create, create_for};
pub use letters::Drafted;
pub use render::{Letter, NOWHERE, Person, Recipient, compiled, render};
pub use routes::router;
pub use store::{Campaign, Statistics, Status};
