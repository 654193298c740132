//! `[[error_sources]]`: tables of captured errors in the applications' own databases.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{load::Entry, parse};

/// A table that is read, and never changed.
#[derive(Clone, Debug)]
pub struct ErrorSource {
    /// Unique; the key of how far it has been read.
    pub name: String,
    /// `postgres://…`
    pub url: SecretString,
    /// "error_log", or with its schema "public.error_log".
    pub table: String,
    /// The monitored application that its events belong to; "" is the unnamed one.
    pub app: String,
    /// How often to look.
    pub poll: Duration,
}

/// The entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    url: SecretString,
    #[serde(default = "error_log")]
    table: String,
    #[serde(default)]
    app: String,
    poll: Option<String>,
}

fn error_log() -> String {
    "error_log".to_owned()
}

impl ErrorSource {
    pub(super) fn check(written: Written, entry: &mut Entry<'_>) -> Option<Self> {
        let Written { name, url, table, app, poll } = written;
        if name.trim().is_empty() || name.len() > 100 {
            entry.mistake("name is empty or too long; give the table a short unique name");
        }
        let scheme = url.expose_secret().split_once(':').map_or("", |(scheme, _)| scheme);
        if !matches!(scheme, "postgres" | "postgresql") {
            entry.mistake("url must begin with postgres://; it names the application's database");
            return None;
        }
        let parts: Vec<&str> = table.split('.').collect();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.len() > 63) {
            entry.mistake(format!("table = \"{table}\" is no table; write TABLE or SCHEMA.TABLE"));
            return None;
        }
        let poll = match poll.as_deref().map(parse::duration) {
            None => Duration::from_secs(2),
            Some(Ok(poll))
                if (Duration::from_millis(200)..=Duration::from_hours(24)).contains(&poll) =>
            {
                poll
            }
            Some(Ok(_)) => {
                entry.mistake("poll is too short or too long; write a time from 200ms to 24h");
                return None;
            }
            Some(Err(why)) => {
                entry.mistake(format!("poll {why}"));
                return None;
            }
        };
        Some(Self { name, url, table, app, poll })
    }
}
