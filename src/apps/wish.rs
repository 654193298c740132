//! What people ask for: a new application, a change. Refusals name the field.

use serde::Deserialize;
use url::Url;

use super::Scrub;
use crate::error::{Error, Result};

/// Longest name, in bytes: as long as an event's `app` may be.
const MAX_NAME: usize = 100;
/// Longest base_url, in bytes.
const MAX_URL: usize = 500;
const MAX_ORIGINS: usize = 100;
const MAX_ORIGIN: usize = 200;
/// Stands for the star while an origin is read; no host name has a label like this.
const STAR: &str = "any--subdomain";
const MAX_KEYS: usize = 200;
const MAX_KEY: usize = 100;

/// A new application.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = AppWish)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Unique, 1 to 100 bytes; events carry it, so it cannot be changed.
    pub name: String,
    /// Where it is: "http://127.0.0.1:8000"; the only origin its probes may reach.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Web pages that may report: `https://shop.example`, `https://*.example.com`, or "*" for
    /// all (the default).
    #[serde(default)]
    pub allowed_origins: Option<Vec<String>>,
    #[serde(default)]
    pub scrub: Option<Scrub>,
    /// Default: `[capture] quota`.
    #[serde(default)]
    pub events_per_minute: Option<i64>,
}

/// A change: what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = AppChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// "" takes it away.
    pub base_url: Option<String>,
    pub allowed_origins: Option<Vec<String>>,
    pub scrub: Option<Scrub>,
    /// 0: as `[capture] quota` says.
    pub events_per_minute: Option<i64>,
}

impl Wish {
    /// Trims the texts and checks everything.
    pub fn check(mut self) -> Result<Self> {
        self.name = name("name", &self.name)?;
        self.base_url = match self.base_url.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(base_url(text)?),
        };
        self.allowed_origins = self.allowed_origins.map(origins).transpose()?;
        self.scrub.as_ref().map(check_scrub).transpose()?;
        if let Some(quota) = self.events_per_minute {
            check_quota(quota, 1)?;
        }
        Ok(self)
    }
}

impl Change {
    /// Trims the texts and checks everything.
    pub fn check(mut self) -> Result<Self> {
        self.base_url = match self.base_url.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => Some(base_url(text)?),
            other => other.map(str::to_owned),
        };
        self.allowed_origins = self.allowed_origins.map(origins).transpose()?;
        self.scrub.as_ref().map(check_scrub).transpose()?;
        if let Some(quota) = self.events_per_minute {
            check_quota(quota, 0)?;
        }
        if self.base_url.is_none()
            && self.allowed_origins.is_none()
            && self.scrub.is_none()
            && self.events_per_minute.is_none()
        {
            return Err(Error::invalid(
                "nothing is changed; send base_url, allowed_origins, scrub or events_per_minute",
            ));
        }
        Ok(self)
    }
}

/// A name of an application or a key, trimmed.
pub(super) fn name(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(Error::Invalid(format!(
            "{field} is one line of 1 to {MAX_NAME} bytes without control characters"
        )));
    }
    Ok(text.to_owned())
}

fn base_url(text: &str) -> Result<String> {
    let wrong = || {
        Error::invalid(
            "base_url is the http:// or https:// address of the application, without user name \
             and password, like http://127.0.0.1:8000",
        )
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.username().is_empty() && url.password().is_none();
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !plain || !web || text.len() > MAX_URL {
        return Err(wrong());
    }
    Ok(url.to_string())
}

fn origins(origins: Vec<String>) -> Result<Vec<String>> {
    if origins.len() > MAX_ORIGINS {
        return Err(Error::Invalid(format!("allowed_origins lists more than {MAX_ORIGINS}")));
    }
    origins.into_iter().map(|text| origin(text.trim())).collect()
}

/// As browsers write it.
fn origin(text: &str) -> Result<String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let wrong = || {
        let shown: String = text.chars().take(MAX_ORIGIN).collect();
        Error::Invalid(format!(
            "allowed_origins: \"{shown}\" is no origin; write one like https://shop.example, \
             https://*.example.com or *"
        ))
    };
    let starred = text.contains("://*.");
    if text.len() > MAX_ORIGIN || text.matches('*').count() != usize::from(starred) {
        return Err(wrong());
    }
    let read = text.replacen("://*.", &format!("://{STAR}."), 1);
    let url = Url::parse(&read).map_err(|_| wrong())?;
    let origin = url.origin();
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !bare || !plain {
        return Err(wrong());
    }
    Ok(origin.ascii_serialization().replacen(&format!("://{STAR}."), "://*.", 1))
}

/// Whether an entry of `allowed_origins` means this `Origin` header.
pub(super) fn matches(allowed: &str, origin: &str) -> bool {
    if allowed == "*" || allowed.eq_ignore_ascii_case(origin) {
        return true;
    }
    let Some((scheme, domain)) = allowed.split_once("://*") else { return false };
    let origin = origin.to_ascii_lowercase();
    // `domain` begins with a dot, so that "evilexample.com" is not meant.
    origin
        .strip_prefix(scheme)
        .and_then(|rest| rest.strip_prefix("://"))
        .and_then(|host| host.strip_suffix(domain))
        .is_some_and(|sub| !sub.is_empty() && !sub.contains(['/', '@', ':']))
}

fn check_scrub(scrub: &Scrub) -> Result<()> {
    let fits = |key: &String| !key.trim().is_empty() && key.len() <= MAX_KEY && !key.contains('\0');
    if scrub.keys.len() > MAX_KEYS || !scrub.keys.iter().all(fits) {
        return Err(Error::Invalid(format!(
            "scrub.keys is a list of at most {MAX_KEYS} names of 1 to {MAX_KEY} bytes, none of them zero"
        )));
    }
    Ok(())
}

fn check_quota(quota: i64, least: i64) -> Result<()> {
    if quota < least || u32::try_from(quota).is_err() {
        let most = u32::MAX;
        return Err(Error::Invalid(format!(
            "events_per_minute is a number from {least} to {most}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_matched_as_browsers_send_them() {
        let given = |text: &str| origin(text).unwrap();
        assert_eq!(given("https://Shop.Example/"), "https://shop.example");
        assert_eq!(given("https://shop.example:443"), "https://shop.example");
        assert_eq!(given("http://127.0.0.1:8000"), "http://127.0.0.1:8000");
        let all = given("https://*.example.com");
        assert_eq!(all, "https://*.example.com");
        assert!(matches(&all, "https://a.example.com") && matches(&all, "https://a.b.example.com"));
        for other in [
            "https://example.com",
            "http://a.example.com",
            "https://evilexample.com",
            "https://a.example.com.evil.org",
            "https://a.example.com:8443",
            "https://evil.org/.example.com",
            "null",
            "",
        ] {
            assert!(!matches(&all, other), "{other}");
        }
        assert!(matches("*", "null"));
        for wrong in
            ["", "shop.example", "ftp://x", "https://x/path", "https://u@x", "https://*", "**"]
        {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
