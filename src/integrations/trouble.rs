//! Why a service could not be used, told apart by what helps.

use std::time::Duration;

use crate::{error::Error, http::Problem};

/// What went wrong with a service that is, or should be, connected. The texts are shown: they
/// hold no token, and of the provider's words a bounded part with secrets struck out.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{0} is not connected; connect it under Settings, Connections")]
    NotConnected(&'static str),
    /// The consent ended or was withdrawn.
    #[error("{label} has to be connected again: {why}")]
    Ended { label: &'static str, why: String },
    #[error("{label} does not allow this: {scopes} was not granted; connect it again to grant it")]
    MissingScopes { label: &'static str, scopes: String },
    /// Several sites or locations, and none was chosen.
    #[error("{0} has several places to work in; choose one under Settings, Connections")]
    NoPlace(&'static str),
    #[error("{label} takes no more for the moment; try again in {} seconds", wait.as_secs().max(1))]
    TooMany { label: &'static str, wait: Duration },
    #[error("{label} does not know it: {why}")]
    NotFound { label: &'static str, why: String },
    /// The request was understood and is not done.
    #[error("{label} refused: {why}")]
    Refused { label: &'static str, why: String },
    /// Nobody answered, or not sensibly; it may have been done all the same.
    #[error("{label} does not answer: {why}")]
    Down { label: &'static str, why: String },
    /// No connection came about: nothing was sent.
    #[error("{label} cannot be reached: {why}")]
    Unreached { label: &'static str, why: String },
    /// Lux itself is not known there as it says.
    #[error("{label} does not accept Lux itself ({why}); check client_id and client_secret")]
    Client { label: &'static str, why: String },
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<crate::db::Error> for Trouble {
    fn from(error: crate::db::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Trouble {
    /// Whether the same may go well later without anybody's doing.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::TooMany { .. } | Self::Down { .. } | Self::Unreached { .. } => true,
            Self::Failed(error) => {
                matches!(error, Error::Unavailable(_) | Error::Database(_) | Error::Io(_))
            }
            _ => false,
        }
    }

    /// Whether the request is known not to have been done.
    pub fn is_undone(&self) -> bool {
        !matches!(self, Self::Down { .. } | Self::Failed(_))
    }

    /// A word for logs and programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "not_connected",
            Self::Ended { .. } => "needs_reconnect",
            Self::MissingScopes { .. } => "missing_scopes",
            Self::NoPlace(_) => "no_place",
            Self::TooMany { .. } => "rate_limited",
            Self::NotFound { .. } => "not_found",
            Self::Refused { .. } => "refused",
            Self::Down { .. } | Self::Unreached { .. } => "down",
            Self::Client { .. } => "client_refused",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let text = trouble.to_string();
        match trouble {
            Trouble::NotConnected(_)
            | Trouble::Ended { .. }
            | Trouble::MissingScopes { .. }
            | Trouble::NoPlace(_)
            | Trouble::Client { .. } => Self::Conflict(text),
            Trouble::NotFound { .. } | Trouble::Refused { .. } => Self::Invalid(text),
            Trouble::TooMany { .. } | Trouble::Down { .. } | Trouble::Unreached { .. } => {
                Self::Unavailable(text)
            }
            Trouble::Failed(error) => error,
        }
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        Error::from(trouble).into()
    }
}
