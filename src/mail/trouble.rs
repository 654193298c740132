//! Why a mail did not go out, in sentences.

use std::{error::Error as _, fmt};

use lettre::transport::smtp;

/// What the server says is shown up to this many characters.
const MAX_SAID: usize = 300;

/// Why a mail did not go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    NotSetUp,
    /// The letter cannot be sent to anybody: says what is wrong with it.
    Letter(String),
    /// No connection, or one that broke before the mail was handed over.
    Unreachable(String),
    /// The server does not take our user and password, or none are set and it wants some.
    SignIn(String),
    /// The server put the mail off (4xx).
    Later {
        code: u16,
        said: String,
    },
    /// The server will not take the mail (5xx).
    Refused {
        code: u16,
        said: String,
        /// It was the recipient's address that it refused.
        recipient: bool,
    },
    /// The mail was handed over, and the answer did not come: whether it arrives is not known.
    Unknown(String),
}

impl Trouble {
    /// Whether the same again may go better later, and doubles nothing.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Later { .. })
    }

    /// Whether it is the server (or the way to it) and not this mail.
    pub fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::NotSetUp
                | Self::Unreachable(_)
                | Self::SignIn(_)
                // 421: it closes the connection, whatever was asked.
                | Self::Later { code: 421, .. }
        )
    }

    /// Whether the recipient's mailbox does not exist (RFC 3463: 5.1.x, 5.2.1 a disabled one).
    pub fn no_such_mailbox(&self) -> bool {
        let Self::Refused { code, said, recipient: true } = self else { return false };
        match enhanced(said) {
            Some([5, 1, detail]) => matches!(detail, 0..=3 | 6 | 10),
            Some([5, 2, 1]) => true,
            Some(_) => false,
            // Servers that give no such code mean the mailbox with these.
            None => matches!(code, 550 | 551 | 553),
        }
    }

    /// From an answer of the server, or what came in its place.
    pub(super) fn of(error: &smtp::Error, recipient: bool) -> Self {
        let said = match error.source() {
            Some(source) => shown(&source.to_string()),
            None => shown(&error.to_string()),
        };
        match error.status() {
            Some(code) => {
                let code: u16 = code.to_string().parse().unwrap_or_default();
                if error.is_transient() {
                    Self::Later { code, said }
                } else {
                    Self::Refused { code, said, recipient }
                }
            }
            None => Self::Unreachable(said),
        }
    }
}

/// The enhanced status code (RFC 3463) that a text begins with.
pub fn enhanced(said: &str) -> Option<[u16; 3]> {
    let word = said.split_whitespace().next()?;
    let mut parts = word.split('.').map(|part| part.parse::<u16>().ok());
    let code = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(code)
}

/// What another program said, on one line and cut.
pub fn shown(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let clean: String = clean.take(MAX_SAID).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSetUp => f.write_str(
                "mail is not set up; name the server with LUX_SMTP_URL \
                 (smtps://USER:PASSWORD@HOST:465) and the sender with LUX_MAIL_FROM, or in [mail] \
                 of lux.toml",
            ),
            Self::Letter(why) => write!(f, "the mail cannot be written: {why}"),
            Self::Unreachable(why) => write!(f, "the mail server cannot be reached: {why}"),
            Self::SignIn(said) => {
                write!(f, "the mail server refused the sign-in: {said}; check user and password")
            }
            Self::Later { code, said } => write!(f, "the mail server put it off: {code} {said}"),
            Self::Refused { code, said, .. } => {
                write!(f, "the mail server refused it: {code} {said}")
            }
            Self::Unknown(why) => write!(f, "whether it arrives is not known: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trouble;

    #[test]
    fn only_a_mailbox_that_is_not_there_is_one() {
        let refused = |code, said: &str, recipient| {
            Trouble::Refused { code, said: said.to_owned(), recipient }.no_such_mailbox()
        };
        assert!(refused(550, "5.1.1 <ada@example.com>: no such user", true));
        assert!(refused(550, "No such user here", true));
        assert!(refused(550, "5.1.10 null MX", true));
        assert!(!refused(550, "5.7.1 blocked for spam", true));
        assert!(!refused(552, "5.2.2 mailbox full", true));
        assert!(!refused(554, "policy", true));
        assert!(!refused(550, "5.1.1 content", false));
    }
}
