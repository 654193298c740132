//! What a session keeps of a provider, so that Lux notices when the sign-in ended there.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Claims, token::Tokens};

/// A refresh token, and whom it must stay with. Only its sealed form is kept.
pub struct Refresh {
    token: SecretString,
    subject: String,
    auth_time: Option<i64>,
    /// How long the access token beside it is valid, in seconds.
    lifetime: Option<u64>,
}

/// The text that is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    subject: String,
    auth_time: Option<i64>,
}

impl Refresh {
    pub(super) fn of(claims: &Claims, tokens: &Tokens) -> Option<Self> {
        Some(Self {
            token: tokens.refresh_token.clone()?,
            subject: claims.subject.clone(),
            auth_time: claims.auth_time,
            lifetime: tokens.lifetime,
        })
    }
}
