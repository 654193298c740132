//! Why a way back from a provider was not taken.

use super::super::Trouble;
use crate::error::Error;

/// What the page says.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("This way to the provider was used already, was begun elsewhere, or is too old")]
    UnknownState,
    #[error("The provider sent you back without saying what for")]
    NoState,
    #[error("It took longer than ten minutes")]
    TooLate,
    #[error("This way to the provider was begun by somebody else, or in another browser")]
    OtherPerson,
    #[error("The answer came from another provider than the one you went to")]
    OtherProvider,
    #[error("You did not allow it")]
    Denied,
    #[error("The provider refused: {0}")]
    Provider(String),
    #[error("The provider sent an answer that cannot be read")]
    Garbled,
    /// The account there has no site or location to work in.
    #[error("There is no site that this account may work in")]
    NoPlace,
    #[error("{0}")]
    Trouble(#[from] Trouble),
}

impl Refused {
    /// For programs, and in addresses.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownState => "unknown_state",
            Self::NoState => "no_state",
            Self::TooLate => "too_late",
            Self::OtherPerson => "other_person",
            Self::OtherProvider => "other_provider",
            Self::Denied => "denied",
            Self::Provider(_) => "provider_refused",
            Self::Garbled => "garbled",
            Self::NoPlace => "no_place",
            Self::Trouble(trouble) => trouble.code(),
        }
    }

    /// What to do, for people.
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::Denied => "Nothing was connected. Connect it again whenever you want to.",
            Self::NoState => {
                "If you installed Lux from the provider's own pages, press Connect here to finish."
            }
            Self::Trouble(Trouble::Client { .. }) => {
                "Nothing was connected. An administrator has to correct what Lux is registered with."
            }
            _ => "Nothing was connected. Press Connect to begin again.",
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<crate::db::Error> for Refused {
    fn from(error: crate::db::Error) -> Self {
        Self::Trouble(error.into())
    }
}
