//! What an organization sounds and looks like: one brief that all drafts are written by.

mod colour;
mod routes;
pub mod store;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Result};

pub use colour::{Colour, contrast};
pub use routes::router;

/// Longest of the texts, in bytes.
const MAX_TEXT: usize = 2000;
/// Longest name, label and colour.
const MAX_LINE: usize = 120;
/// Longest address of a link.
const MAX_URL: usize = 1000;
/// Links and words to avoid.
const MAX_ITEMS: usize = 30;

/// A link with what it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrandLink)]
pub struct Link {
    #[serde(default)]
    pub label: String,
    /// http or https.
    pub url: String,
}

/// Colours of mails, as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Colours {
    #[schema(value_type = String)]
    pub background: Colour,
    #[schema(value_type = String)]
    pub text: Colour,
    /// Of links and buttons.
    #[schema(value_type = String)]
    pub accent: Colour,
}

impl Default for Colours {
    fn default() -> Self {
        Self {
            background: Colour(0xff, 0xff, 0xff),
            text: Colour(0x1a, 0x1a, 0x24),
            accent: Colour(0x6b, 0x1f, 0xb8),
        }
    }
}

/// The brand. Nothing in it is markup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// What the sender is called.
    pub name: String,
    /// How it speaks.
    #[serde(default)]
    pub voice: String,
    /// What it offers.
    #[serde(default)]
    pub offer: String,
    /// Whom it is for.
    #[serde(default)]
    pub audience: String,
    /// What it wants to reach.
    #[serde(default)]
    pub goals: String,
    #[serde(default)]
    pub colours: Colours,
    /// A picture by https; empty: the name is written.
    #[serde(default)]
    pub logo_url: String,
    /// Stands below every mail: the law of many countries wants it.
    #[serde(default)]
    pub address: String,
    #[serde(default)]
    pub links: Vec<Link>,
    /// Words that no draft uses.
    #[serde(default)]
    pub avoid: Vec<String>,
}

impl Brand {
    /// Whether each field is within its bounds; the error names the field.
    pub fn check(&self) -> Result<()> {
        line("name", &self.name, 0, MAX_LINE)?;
        for (name, value) in [
            ("voice", &self.voice),
            ("offer", &self.offer),
            ("audience", &self.audience),
            ("goals", &self.goals),
            ("address", &self.address),
        ] {
            text(name, value, MAX_TEXT)?;
        }
        if !self.logo_url.is_empty() {
            web_address("logo_url", &self.logo_url)?;
            if !self.logo_url.starts_with("https://") {
                return Err(Error::invalid("logo_url begins with https://"));
            }
        }
        links("links", &self.links)?;
        if self.avoid.len() > MAX_ITEMS {
            return Err(Error::invalid(format!("avoid lists at most {MAX_ITEMS} words")));
        }
        self.avoid.iter().try_for_each(|word| line("avoid", word, 1, MAX_LINE))
    }
}

/// Checks links of a brand or brief.
pub(super) fn links(field: &str, links: &[Link]) -> Result<()> {
    if links.len() > MAX_ITEMS {
        return Err(Error::invalid(format!("{field} lists at most {MAX_ITEMS} links")));
    }
    for link in links {
        line(&format!("{field}.label"), &link.label, 0, MAX_LINE)?;
        web_address(&format!("{field}.url"), &link.url)?;
    }
    Ok(())
}

/// One line of `least` to `most` bytes.
pub(super) fn line(field: &str, value: &str, least: usize, most: usize) -> Result<()> {
    let length = value.trim().len();
    if length < least || value.len() > most || value.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "{field} is one line of {least} to {most} bytes without control characters"
        )));
    }
    Ok(())
}

/// A text of at most so many bytes.
pub(super) fn text(field: &str, value: &str, most: usize) -> Result<()> {
    if value.len() > most {
        return Err(Error::invalid(format!("{field} is longer than {most} bytes; shorten it")));
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Error::invalid(format!("{field} holds control characters; leave them out")));
    }
    Ok(())
}

/// An address that people elsewhere can open.
pub(super) fn web_address(field: &str, value: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::invalid(format!("{field} {why}")));
    if value.len() > MAX_URL {
        return wrong("is longer than 1000 bytes");
    }
    let Ok(url) = Url::parse(value) else {
        return wrong("is no web address; write it like https://example.com/page");
    };
    match trouble(&url) {
        Some(why) => wrong(why),
        None => Ok(()),
    }
}

/// What keeps people from opening an address, if anything.
pub(super) fn trouble(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some("begins with neither https:// nor http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds a user name or password; leave it out");
    }
    let private = match url.host() {
        None => return Some("names no host"),
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost") || !name.contains('.')
        }
        Some(url::Host::Ipv4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        Some(url::Host::Ipv6(ip)) => {
            ip.is_loopback() || ip.is_unspecified() || (ip.segments()[0] & 0xfe00) == 0xfc00
        }
    };
    private.then_some("leads to this host or network, which readers cannot reach")
}
