//! Who is calling and what they may: roles, API tokens, the audit log.

pub mod audit;
pub mod token;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The tenant.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct OrganizationId(pub i64);

impl OrganizationId {
    /// The organization that the first migration makes.
    pub const FIRST: Self = Self(1);
}

/// What a caller may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// Everything, tokens included.
    Admin,
    /// Reads, chats, changes groups, reports errors.
    Operator,
    /// Reports errors, nothing else: safe to put into an application.
    Ingest,
    /// Reads.
    Read,
}

impl Role {
    pub const fn may_read(self) -> bool {
        !matches!(self, Self::Ingest)
    }

    pub const fn may_operate(self) -> bool {
        matches!(self, Self::Admin | Self::Operator)
    }

    pub const fn may_administer(self) -> bool {
        matches!(self, Self::Admin)
    }

    pub const fn may_report(self) -> bool {
        !matches!(self, Self::Read)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Ingest => "ingest",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Admin, Self::Operator, Self::Ingest, Self::Read]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                Error::Invalid(format!(
                    "\"{text}\" is no role; use admin, operator, ingest or read"
                ))
            })
    }
}

/// Who made a request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub organization: OrganizationId,
    pub role: Role,
    pub token_id: i64,
    /// The token's name, shown as the author of what it does.
    pub name: String,
}
