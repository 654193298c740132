//! What a customer is, and which of them are asked for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::auth::{Role, account::Status};

/// A person with an account, with what is known of them. What is not known is empty.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Customer {
    /// The account's.
    pub id: i64,
    pub name: String,
    /// As it was written.
    pub email: Option<String>,
    /// As it is compared; null unless somebody vouched for the address.
    #[serde(skip)]
    pub email_key: Option<String>,
    pub role: Role,
    pub status: Status,
    /// Whether the address is proven: by a provider, an invitation, or a letter's link.
    pub verified: bool,
    /// When a letter's link proved it; null where something else did.
    pub verified_at: Option<DateTime<Utc>>,
    /// E.164: "+442079460018".
    pub phone: String,
    pub company: String,
    /// An https or http address.
    pub website: String,
    pub industry: String,
    /// People who work there: "1", "2-10", "11-50", "51-200", "201-1000" or "1001+".
    pub company_size: String,
    /// Two letters (ISO 3166): "DE".
    pub country: String,
    /// Of the time zone database: "Europe/Berlin".
    pub timezone: String,
    /// BCP 47: "de", "pt-BR".
    pub language: String,
    /// Whom they want to reach.
    pub audience: String,
    /// What they want to reach by it.
    pub goals: String,
    pub created_at: DateTime<Utc>,
    /// When a session of theirs last began.
    pub signed_in_at: Option<DateTime<Utc>>,
    /// When the profile was last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// Goes up with each change; to be sent along with the next one.
    pub version: i64,
}

/// Which customers; what is left out does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// "admin", "operator" or "customer".
    pub role: Option<Role>,
    pub status: Option<Status>,
    /// Whether the address is proven.
    pub verified: Option<bool>,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CustomerSort)]
pub enum Sort {
    /// Created last first.
    #[default]
    Newest,
    /// By name, as the database orders it.
    Name,
    /// Signed in last first; those who never did are at the end.
    Seen,
}
