//! `[contacts]`: how what came about people is read, and who may bring it.

use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};
use secrecy::SecretString;

/// `[contacts]`
#[derive(Clone, Debug)]
pub struct Contacts {
    /// The country whose people write telephone numbers without a prefix; none: such numbers are
    /// kept as they came.
    pub phone_region: Option<Region>,
    /// Whether who agreed to mail has to follow a link before any is sent.
    pub double_opt_in: bool,
    /// Credentials of the webhook besides those of `lux webhook-credential create`.
    pub webhook_username: Option<String>,
    pub webhook_password: Option<SecretString>,
}

/// A country by its two letters (ISO 3166), if it has telephones.
pub fn region(text: &str) -> Result<Region, String> {
    // Any two letters are a region to the crate.
    let known = |region: &Region| PHONE_NUMBER_UTIL.get_supported_regions().any(|it| it == *region);
    text.trim().parse().ok().filter(known).ok_or_else(|| {
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
