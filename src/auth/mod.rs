//! Who is calling and what they may: roles, API tokens, people's accounts and the sessions of
//! their browsers, the audit log.

pub mod account;
pub mod audit;
pub mod invitation;
pub mod link;
pub mod oidc;
mod remembered;
pub(crate) mod secret;
pub mod session;
pub mod signup;
pub mod token;

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

pub use remembered::Remembered;

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
    /// A person from outside: sees their own things, nothing of the system.
    Customer,
}

impl Role {
    pub const fn may_read(self) -> bool {
        matches!(self, Self::Admin | Self::Operator | Self::Read)
    }

    pub const fn may_operate(self) -> bool {
        matches!(self, Self::Admin | Self::Operator)
    }

    pub const fn may_administer(self) -> bool {
        matches!(self, Self::Admin)
    }

    /// Has things of their own here: everybody who signs in, and tokens that stand for an operator.
    /// What may only read the system or report errors is nobody's own.
    pub const fn may_be_served(self) -> bool {
        matches!(self, Self::Admin | Self::Operator | Self::Customer)
    }

    pub const fn may_report(self) -> bool {
        matches!(self, Self::Admin | Self::Operator | Self::Ingest)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Customer => "customer",
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
        [Self::Admin, Self::Operator, Self::Ingest, Self::Read, Self::Customer]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                Error::Invalid(format!(
                    "\"{text}\" is no role; people are admin, operator or customer, \
                     tokens admin, operator, ingest or read"
                ))
            })
    }
}

/// Who made a request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub organization: OrganizationId,
    pub role: Role,
    pub who: Who,
    /// The token's or the person's name, shown as the author of what they do.
    pub name: String,
    /// Where the request came from; `None` for what did not come over the network.
    pub address: Option<IpAddr>,
}

impl Caller {
    /// The account of a person; a token has none.
    pub const fn account(&self) -> Option<i64> {
        match self.who {
            Who::Person { account, .. } => Some(account),
            Who::Token(_) => None,
        }
    }

    /// How what they do is signed: "token:deploys", "Ada (account 7)".
    pub fn author(&self) -> String {
        match self.who {
            Who::Token(_) => format!("token:{}", self.name),
            Who::Person { account, .. } => format!("{} (account {account})", self.name),
        }
    }
}

/// What vouches for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// An API token, by its row's id.
    Token(i64),
    /// A person who signed in, by their account and the session of their browser.
    Person { account: i64, session: i64 },
}
