//! Splitting a group: by what of an event, and the fingerprints and titles of the parts.

use std::fmt;

use crate::{
    errors::{
        Event,
        fingerprint::{digest, mask},
    },
    logs::template,
    redact,
};

/// As much of a value as a title shows, in bytes.
const SHOWN: usize = 60;
/// Longest name of a tag, in bytes.
const MAX_TAG: usize = 100;

/// By what of its events a group is split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Without what varies in it.
    Message,
    /// The path, without what varies in it.
    Endpoint,
    Release,
    Environment,
    Tag(String),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Message => "message",
            Self::Endpoint => "endpoint",
            Self::Release => "release",
            Self::Environment => "environment",
            Self::Tag(name) => return write!(f, "tag:{name}"),
        })
    }
}

impl By {
    /// Reads what [`Display`](fmt::Display) writes: "message", "endpoint", "release",
    /// "environment" or "tag:NAME".
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "message" => Self::Message,
            "endpoint" => Self::Endpoint,
            "release" => Self::Release,
            "environment" => Self::Environment,
            other => {
                let name = other.strip_prefix("tag:")?;
                let fits = !name.is_empty()
                    && name.len() <= MAX_TAG
                    && !name.contains(char::is_control)
                    && name.trim() == name;
                return fits.then(|| Self::Tag(name.to_owned()));
            }
        })
    }

    /// Fingerprint and title of the part of a group that an event belongs to. An event
    /// that lacks what the group is split by belongs to a part of its own.
    pub fn part(&self, fingerprint: &str, title: &str, event: &Traits<'_>) -> (String, String) {
        let value = match self {
            Self::Message => mask(event.message.lines().next().unwrap_or_default()),
            Self::Endpoint => template::path(event.endpoint.unwrap_or_default()),
            Self::Release => event.release.unwrap_or_default().to_owned(),
            Self::Environment => event.environment.unwrap_or_default().to_owned(),
            Self::Tag(name) => (event.tag)(name).unwrap_or_default(),
        };
        let by = self.to_string();
        let name = by.strip_prefix("tag:").unwrap_or(&by);
        let title = if value.is_empty() {
            format!("{title} [no {name}]")
        } else {
            let value = redact::secrets(&value);
            let end = value.floor_char_boundary(SHOWN);
            let more = if end < value.len() { "…" } else { "" };
            format!("{title} [{name} {}{more}]", &value[..end])
        };
        (format!("{fingerprint}/{}", digest(&[&by, &value])), title)
    }
}

/// What of an event a group can be split by.
pub struct Traits<'a> {
    pub message: &'a str,
    /// Perhaps with a query.
    pub endpoint: Option<&'a str>,
    pub release: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub tag: &'a dyn Fn(&str) -> Option<String>,
}

impl By {
    /// [`By::part`] of an event that comes in.
    pub fn part_of(&self, fingerprint: &str, title: &str, event: &Event) -> (String, String) {
        let traits = Traits {
            message: &event.error_message,
            endpoint: event.endpoint.as_deref(),
            release: event.release.as_deref(),
            environment: event.environment.as_deref(),
            tag: &|name| event.tags.get(name).cloned(),
        };
        self.part(fingerprint, title, &traits)
    }
}
