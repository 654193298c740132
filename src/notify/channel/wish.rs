//! What somebody wants a channel to be, and what of it cannot be.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    contacts::Email,
    error::{Error, Result},
    logs::Severity,
    notify::{
        event::Topic,
        quiet::{Digest, Quiet, time_of, zone_of},
    },
};

/// Recipients of one channel for mail.
pub const MAX_RECIPIENTS: usize = 20;
const MAX_NAME: usize = 80;
/// A week.
const MAX_MINUTES: i64 = 7 * 24 * 60;

/// What a channel is to be. `PUT` replaces all of it; only `kind` stays as it was.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NotifyChannelWish)]
pub struct Wish {
    /// Unique, at most 80 characters.
    pub name: String,
    #[schema(inline)]
    pub kind: Kind,
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it wants to hear of.
    #[serde(default)]
    pub events: Vec<Topic>,
    /// Nothing less bad is told: info, warning, error, critical.
    #[serde(default)]
    #[schema(inline)]
    pub least: Severity,
    /// Of this application only; empty: of all. What is about no application is told always.
    #[serde(default)]
    pub app: String,
    /// For mail: at most 20 addresses.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// For Slack: a channel's id; empty for that of the duty.
    #[serde(default)]
    pub slack_channel: String,
    /// For a webhook: the address; left out, it stays as it is.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub quiet: Option<Quiet>,
    /// What is critical is told in quiet hours, too.
    #[serde(default = "yes")]
    pub quiet_lets_critical: bool,
    #[serde(default)]
    #[schema(inline)]
    pub digest: Digest,
    /// When the daily digest is due: "08:00" in `zone`.
    #[serde(default = "eight")]
    pub digest_at: String,
    #[serde(default = "utc")]
    pub zone: String,
    /// What is an error or worse, and nobody reacted to within so many minutes (1 to 10080), is
    /// told the channel `escalate_to` as well.
    #[serde(default)]
    pub escalate_after_minutes: Option<i64>,
    #[serde(default)]
    pub escalate_to: Option<i64>,
}

fn yes() -> bool {
    true
}

fn eight() -> String {
    "08:00".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Checks a list of addresses; what is wrong is told as `field[2]: …`.
pub(in crate::notify) fn addresses(field: &str, given: &[String]) -> Result<Vec<String>> {
    if given.len() > MAX_RECIPIENTS {
        return Err(Error::invalid(format!("{field}: at most {MAX_RECIPIENTS} addresses")));
    }
    let mut all: Vec<Email> = Vec::new();
    for (index, text) in given.iter().enumerate() {
        let email =
            Email::parse(text).map_err(|why| Error::invalid(format!("{field}[{index}]: {why}")))?;
        if all.iter().any(|known| known.key == email.key) {
            return Err(Error::invalid(format!("{field}[{index}]: stands there twice")));
        }
        all.push(email);
    }
    Ok(all.into_iter().map(|email| email.given).collect())
}

/// A line of a person, within bounds.
pub(in crate::notify) fn line(field: &str, text: &str, most: usize) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{field}: one line of at most {most} characters")));
    }
    Ok(text.to_owned())
}

/// A wish that was checked, as it is stored.
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) app: String,
    pub(super) events: String,
    pub(super) recipients: String,
    pub(super) slack_channel: String,
    pub(super) quiet: Option<String>,
}

/// As JSON.
pub(in crate::notify) fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.into()))
}

pub(super) fn check(wish: &Wish) -> Result<Checked> {
    let name = line("name", &wish.name, MAX_NAME)?;
    if name.is_empty() {
        return Err(Error::invalid("name: give it a name by which people know it"));
    }
    let app = line("app", &wish.app, 200)?;
    if wish.events.len() > Topic::ALL.len() {
        return Err(Error::invalid("events: name each once"));
    }
    let recipients = addresses("recipients", &wish.recipients)?;
    if wish.kind != Kind::Mail && !recipients.is_empty() {
        return Err(Error::invalid("recipients: only a channel of kind mail has some"));
    }
    if wish.kind == Kind::Mail && recipients.is_empty() && wish.enabled {
        return Err(Error::invalid(
            "recipients: name at least one address, or disable the channel",
        ));
    }
    let slack_channel = line("slack_channel", &wish.slack_channel, 80)?;
    if wish.kind != Kind::Slack && !slack_channel.is_empty() {
        return Err(Error::invalid("slack_channel: only a channel of kind slack has one"));
    }
    if wish.kind != Kind::Webhook && wish.url.is_some() {
        return Err(Error::invalid("url: only a channel of kind webhook has one"));
    }
    if let Some(quiet) = &wish.quiet {
        quiet.read()?;
        if quiet.days.len() > 7 {
            return Err(Error::invalid("quiet.days: name each day once"));
        }
    }
    time_of(&wish.digest_at, "digest_at")?;
    zone_of(&wish.zone, "zone")?;
    match (wish.escalate_after_minutes, wish.escalate_to) {
        (None, None) => {}
        (Some(minutes), Some(_)) if (1..=MAX_MINUTES).contains(&minutes) => {}
        (Some(_), Some(_)) => {
            return Err(Error::invalid("escalate_after_minutes: 1 to 10080, which is a week"));
        }
        (Some(_), None) => {
            return Err(Error::invalid("escalate_to: say which channel is told then"));
        }
        (None, Some(_)) => {
            return Err(Error::invalid("escalate_after_minutes: say after how many minutes"));
        }
    }
    Ok(Checked {
        name,
        app,
        events: text(&wish.events)?,
        recipients: text(&recipients)?,
        slack_channel,
        quiet: wish.quiet.as_ref().map(text).transpose()?,
    })
}
