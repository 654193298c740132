//! Whether a request that changes something was meant by the person whose cookie it carries, or
//! was made up by another site (CSRF).

use http::{HeaderMap, Method, header, request::Parts};

use super::Problem;
use crate::{config::Config, error::Error};

/// Refuses what another site made a browser send. To be asked where a cookie counts.
pub fn check(parts: &Parts, config: &Config) -> Result<(), Problem> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
        || is_own(&parts.headers, config)
    {
        return Ok(());
    }
    let detail = "this request did not come from a page of Lux itself, so it is not done in the \
                  name of who is signed in; programs use a token";
    Err(Error::Denied(detail.to_owned()).into())
}

fn is_own(headers: &HeaderMap, config: &Config) -> bool {
    let single = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok();
        value.filter(|_| values.next().is_none())
    };
    if headers.contains_key("sec-fetch-site") {
        return matches!(single("sec-fetch-site"), Some("same-origin" | "none"));
    }
    let Some(origin) = single(header::ORIGIN.as_str()) else { return false };
    match &config.public_url {
        Some(url) => origin == url.origin().ascii_serialization(),
        None => single(header::HOST.as_str())
            .is_some_and(|host| origin.strip_prefix("http://") == Some(host)),
    }
}
