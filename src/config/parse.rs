//! From the text of a setting to its value; each error says what to write instead.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use serde::Serialize;
use url::Url;

/// How Lux writes its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

pub(super) fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("is empty; give it a value or leave it out".to_owned()),
        trimmed => Ok(trimmed.to_owned()),
    }
}

pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("\"{text}\" is not a whole number in range"))
}

pub(super) fn at_least_one(text: &str) -> Result<u32, String> {
    match number::<u32>(text)? {
        0 => Err("must be at least 1".to_owned()),
        n => Ok(n),
    }
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("\"{text}\" is neither true nor false")),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("\"{text}\" is no duration; write one like \"30s\" or \"48h\""))
}

/// How long an approval may be waited for: long enough to read it, not for ever.
pub(super) fn approval_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if (Duration::from_secs(1)..=Duration::from_hours(24 * 7)).contains(&time) => Ok(time),
        _ => Err("must be a time from 1s to 7days".to_owned()),
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("\"{text}\" is no address; write one like 127.0.0.1:5000"))
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("is no web address; write one like https://lux.example.com".to_owned()),
    }
}

/// A wrong scheme must not quietly become a new, empty database.
pub(super) fn database_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "sqlite" | "postgres" | "postgresql" => Ok(text.to_owned()),
        _ => Err(format!(
            "begins with \"{}:\"; write sqlite:PATH or postgres://USER@HOST/DATABASE",
            scheme.chars().take(20).collect::<String>()
        )),
    }
}

/// A key goes into an HTTP header: a stray newline or blank in it is a mistake.
pub(super) fn key_text(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() || !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("is no key: it is empty or holds blanks or control characters".to_owned());
    }
    Ok(trimmed.to_owned())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.trim() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("\"{text}\" is no format; write text or json")),
    }
}

pub(super) fn filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("is no log filter ({error}); write one like info or lux=debug"))
}

pub(super) fn zone(text: &str) -> Result<chrono_tz::Tz, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("\"{text}\" is no time zone; write one like UTC or Europe/Berlin"))
}

/// Patterns of paths, separated by commas; an empty text is an empty list.
pub(super) fn path_patterns(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match part {
            part if part.starts_with('/') || part.contains('*') => Ok(part.to_ascii_lowercase()),
            part => Err(format!("\"{part}\" neither begins with / nor holds a *")),
        })
        .collect()
}

/// Addresses separated by commas; an empty text is an empty list.
/// Addresses and networks: "127.0.0.1, 10.0.0.0/8".
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let network = |part: &str| {
        let alone = part.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        alone.or_else(|_| part.parse::<IpNet>().map(|network| network.trunc())).map_err(|_| {
            format!("\"{part}\" is neither an IP address nor a network like \"10.0.0.0/8\"")
        })
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect()
}
