//! `[contacts]`: how what came about people is read, and who may bring it.

use phonenumber::country;
use secrecy::SecretString;

/// `[contacts]`
#[derive(Clone, Debug)]
pub struct Contacts {
    /// The country whose people write telephone numbers without a prefix; none: such numbers are
    /// kept as they came.
    pub phone_region: Option<country::Id>,
    /// Whether who agreed to mail has to follow a link before any is sent.
    pub double_opt_in: bool,
    /// Credentials of the webhook besides those of `lux webhook-credential create`.
    pub webhook_username: Option<String>,
    pub webhook_password: Option<SecretString>,
}

pub(super) fn region(text: &str) -> Result<country::Id, String> {
    text.trim().to_uppercase().parse().map_err(|_| {
        format!("\"{text}\" is no country; write its two letters (ISO 3166), such as \"GB\"")
    })
}

/// Less could be guessed.
pub(super) fn password(text: &str) -> Result<SecretString, String> {
    if text.len() < 16 {
        return Err("needs at least 16 characters; `openssl rand -base64 24` makes some".to_owned());
    }
    Ok(text.to_owned().into())
}
