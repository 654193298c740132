//! Addresses of contacts: as they were given, as they are compared, and what they resemble.

use crate::auth::account::email_key;

/// The longest part before the @, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL: usize = 64;

/// The address of a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// As it was given, without the space around it: what mail is sent to.
    pub given: String,
    /// As it is compared: [`email_key`].
    pub key: String,
    /// The address without what its provider ignores, where that is another one.
    pub like: Option<String>,
}

impl Email {
    /// Reads an address; the error says what is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let given = text.trim();
        if given.is_empty() {
            return Err("is empty");
        }
        let Some((local, _)) = given.rsplit_once('@') else {
            return Err("has no @");
        };
        if local.len() > MAX_LOCAL {
            return Err("is longer than 64 bytes before the @");
        }
        // Quoted local parts are legal, and nobody who has one signs up anywhere.
        if local.contains(|c: char| c.is_control() || "\"(),:;<>[\\]".contains(c))
            || local.starts_with('.')
            || local.ends_with('.')
            || local.contains("..")
        {
            return Err("holds a character that no address has there");
        }
        let key = email_key(given).ok_or("is not an address like name@example.com")?;
        let domain = key.rsplit_once('@').map_or("", |(_, domain)| domain);
        if !domain.contains('.') {
            return Err("has no domain like example.com after the @");
        }
        let like = folded(&key).filter(|like| *like != key);
        Ok(Self { given: given.to_owned(), key, like })
    }

    /// The domain, in the ASCII form of IDNA.
    pub fn domain(&self) -> &str {
        self.key.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// The address without dots and what follows a plus, for the one provider that says that it
/// ignores both (support.google.com/mail/answer/7436150). Elsewhere they count.
fn folded(key: &str) -> Option<String> {
    let (local, domain) = key.rsplit_once('@')?;
    if !matches!(domain, "gmail.com" | "googlemail.com") {
        return None;
    }
    let local = local.split('+').next().unwrap_or_default().replace('.', "");
    (!local.is_empty()).then(|| format!("{local}@gmail.com"))
}

#[cfg(test)]
mod tests {
    use super::Email;

    #[test]
    fn an_address_is_kept_as_given_and_compared_by_its_key() {
        let email = Email::parse(" Ada.L+shop@GMail.com ").unwrap();
        assert_eq!(email.given, "Ada.L+shop@GMail.com");
        assert_eq!(email.key, "ada.l+shop@gmail.com");
        assert_eq!(email.like.as_deref(), Some("adal@gmail.com"));
        assert_eq!(email.domain(), "gmail.com");
        assert_eq!(Email::parse("adal@gmail.com").unwrap().like, None);
        assert_eq!(Email::parse("a.b+c@example.com").unwrap().like, None);
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("  ", "is empty"),
            ("ada", "has no @"),
            ("ada@localhost", "has no domain like example.com after the @"),
            ("a..b@example.com", "holds a character that no address has there"),
            ("\"a b\"@example.com", "holds a character that no address has there"),
            ("ada@example.com, eve@example.com", "holds a character that no address has there"),
            ("a b@example.com", "is not an address like name@example.com"),
            ("ada@exa\nmple.com", "is not an address like name@example.com"),
            ("ada@127.0.0.1", "is not an address like name@example.com"),
        ] {
            assert_eq!(Email::parse(text), Err(why), "{text:?}");
        }
        assert!(Email::parse(&format!("{}@example.com", "x".repeat(65))).is_err());
    }
}
