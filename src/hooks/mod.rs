//! Outgoing hooks: other programs subscribe to what happens here, as Zapier's REST hooks want it.
//!
//! Triggers note what there is to tell in the transaction in which it happens (`store`);
//! `deliver` tells it, signed, again and again until it was heard or given up.

mod deliver;
mod payload;
mod routes;
mod store;

pub use deliver::{signature, start};
pub use routes::{allowed, remove, router, shown};
pub use store::{Hook, list};

use serde::{Deserialize, Serialize};

/// What can be subscribed to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[sqlx(type_name = "text")]
#[schema(as = HookEvent)]
pub enum Event {
    #[serde(rename = "contact.created")]
    #[sqlx(rename = "contact.created")]
    ContactCreated,
    #[serde(rename = "error.opened")]
    #[sqlx(rename = "error.opened")]
    ErrorOpened,
    #[serde(rename = "error.resolved")]
    #[sqlx(rename = "error.resolved")]
    ErrorResolved,
    #[serde(rename = "error.regressed")]
    #[sqlx(rename = "error.regressed")]
    ErrorRegressed,
    #[serde(rename = "repair.finished")]
    #[sqlx(rename = "repair.finished")]
    RepairFinished,
}

impl Event {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContactCreated => "contact.created",
            Self::ErrorOpened => "error.opened",
            Self::ErrorResolved => "error.resolved",
            Self::ErrorRegressed => "error.regressed",
            Self::RepairFinished => "repair.finished",
        }
    }
}
