//! `[sign_in]`: who may make themselves an account, and how long sessions last.

use std::time::Duration;

/// `[sign_in]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    pub signup: Signup,
    /// Who has a verified address in one of these domains needs no invitation. In the form of
    /// [`ascii_domain`].
    pub domains: Vec<String>,
    /// A session that is not used for so long ends.
    pub idle: Duration,
    /// A session ends so long after it began.
    pub absolute: Duration,
}

/// Who may have an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signup {
    /// Who was invited.
    Invited,
    /// Everybody whom a provider or a letter to their address vouches for, as a customer.
    Open,
}

pub(super) fn signup(text: &str) -> Result<Signup, String> {
    match text.trim() {
        "invited" => Ok(Signup::Invited),
        "open" => Ok(Signup::Open),
        _ => Err(format!("\"{text}\" is neither \"invited\" nor \"open\"")),
    }
}

pub(super) fn domains(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            ascii_domain(part).filter(|domain| domain.contains('.')).ok_or_else(|| {
                format!("\"{part}\" is no domain of addresses; write one like example.com")
            })
        })
        .collect()
}

pub(super) fn idle(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_hours(7 * 24), "7days")
}

pub(super) fn absolute(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_hours(30 * 24), "30days")
}

fn between(text: &str, most: Duration, name: &str) -> Result<Duration, String> {
    match super::parse::duration(text)? {
        time if (Duration::from_mins(5)..=most).contains(&time) => Ok(time),
        _ => Err(format!("\"{text}\" is not between 5m and {name}")),
    }
}

/// A domain as it is compared: in the ASCII form of IDNA, in lower case. `None` for what is no
/// domain, addresses of hosts included.
pub fn ascii_domain(text: &str) -> Option<String> {
    // The parser is one for URLs, and would decode these.
    if text.contains('%') || text.ends_with('.') {
        return None;
    }
    match url::Host::parse(text).ok()? {
        url::Host::Domain(domain) => Some(domain.to_ascii_lowercase()),
        _ => None,
    }
}
