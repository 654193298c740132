//! The one error type of the crate. It knows no HTTP: `http::Problem` maps it to a
//! status, the CLI to an exit code.

/// Why something could not be done.
///
/// The texts of all variants but [`Error::Internal`], [`Error::Database`] and
/// [`Error::Io`] are shown to the caller, so they say what was wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Names the kind of thing: "group", "session". Also the answer for things of
    /// another organization, whose existence is nobody's business.
    #[error("the {0} was not found")]
    NotFound(&'static str),
    /// The caller can mend it: one sentence with what to change.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
    /// Nobody is known to be calling: no token, or one that is not (or no longer) valid.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller is known and may not.
    #[error("{0}")]
    Denied(String),
    /// The sizes are bytes or items, as the text says.
    #[error("{0}")]
    TooLarge(String),
    /// More often than is allowed; with the seconds after which to try again.
    #[error("{0}; try again in {1} s")]
    TooMany(String, u64),
    /// Temporarily impossible (queue full, disk full, database away); worth a retry.
    #[error("{0}")]
    Unavailable(String),
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Never shown to a remote caller, who gets the request id instead.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

/// Result of everything in the crate that can fail for a caller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Invalid`] with its one sentence.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}
