//! The form of a channel, as text and as the wish that it becomes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    logs::Severity,
    notify::{
        Channel, Topic, Wish,
        channel::Kind,
        quiet::{Digest, Quiet},
    },
};

/// The days of a week, as they are stored and as they are called.
pub(super) const DAYS: [(&str, &str); 7] = [
    ("mon", "Mon"),
    ("tue", "Tue"),
    ("wed", "Wed"),
    ("thu", "Thu"),
    ("fri", "Fri"),
    ("sat", "Sat"),
    ("sun", "Sun"),
];

/// What a form holds, by the names of its fields; "event:error.opened" and "day:mon" are ticks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Of a new channel.
    pub(super) fn new(kind: &str) -> Self {
        let mut fields = Self::default();
        for topic in Topic::ALL {
            fields.set(&format!("event:{}", topic.as_str()), "yes");
        }
        for (key, value) in [
            ("kind", kind),
            ("enabled", "yes"),
            ("least", "warning"),
            ("zone", "UTC"),
            ("digest", "off"),
            ("digest_at", "08:00"),
            ("quiet_lets_critical", "yes"),
        ] {
            fields.set(key, value);
        }
        fields
    }

    pub(super) fn of(channel: &Channel) -> Self {
        let mut fields = Self::default();
        for topic in &channel.events {
            fields.set(&format!("event:{}", topic.as_str()), "yes");
        }
        if let Some(quiet) = &channel.quiet {
            fields.set("quiet_from", &quiet.from);
            fields.set("quiet_to", &quiet.to);
            for day in &quiet.days {
                fields.set(&format!("day:{}", day.to_lowercase()), "yes");
            }
        }
        let zone = channel.quiet.as_ref().map_or(&channel.zone, |quiet| &quiet.zone);
        let minutes = channel.escalate_after_minutes.map(|it| it.to_string()).unwrap_or_default();
        let to = channel.escalate_to.map(|it| it.to_string()).unwrap_or_default();
        for (key, value) in [
            ("name", channel.name.as_str()),
            ("kind", channel.kind.as_str()),
            ("enabled", if channel.enabled { "yes" } else { "" }),
            ("least", channel.least.as_str()),
            ("app", &channel.app),
            ("recipients", &channel.recipients.join("\n")),
            ("slack_channel", &channel.slack_channel),
            ("zone", zone),
            ("digest", channel.digest.as_str()),
            ("digest_at", &channel.digest_at),
            ("quiet_lets_critical", if channel.quiet_lets_critical { "yes" } else { "" }),
            ("escalate_after_minutes", &minutes),
            ("escalate_to", &to),
        ] {
            fields.set(key, value);
        }
        fields
    }

    fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |text| text.trim())
    }

    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.text(key) == value
    }

    /// Whether something is ticked.
    pub(super) fn has(&self, key: &str) -> bool {
        !self.text(key).is_empty()
    }

    pub(super) fn wants(&self, topic: &str) -> bool {
        self.has(&format!("event:{topic}"))
    }

    pub(super) fn has_day(&self, day: &str) -> bool {
        self.has(&format!("day:{day}"))
    }

    fn number(&self, key: &str) -> Result<Option<i64>> {
        match self.text(key) {
            "" => Ok(None),
            text => {
                let number = text.parse();
                number.map(Some).map_err(|_| Error::invalid(format!("{key}: write a number")))
            }
        }
    }

    /// What is wished for.
    pub(super) fn wish(&self) -> Result<Wish> {
        let kind = match self.text("kind") {
            "mail" => Kind::Mail,
            "slack" => Kind::Slack,
            "webhook" => Kind::Webhook,
            "browser" => Kind::Browser,
            _ => return Err(Error::invalid("kind: choose how it tells")),
        };
        let quiet = match (self.text("quiet_from"), self.text("quiet_to")) {
            ("", "") => None,
            (from, to) => Some(Quiet {
                from: from.to_owned(),
                to: to.to_owned(),
                zone: self.text("zone").to_owned(),
                days: DAYS
                    .iter()
                    .filter(|(day, _)| self.has_day(day))
                    .map(|(day, _)| (*day).to_owned())
                    .collect(),
            }),
        };
        let minutes = self.number("escalate_after_minutes")?;
        // Without minutes nothing escalates, whatever is chosen beside them.
        let to = self.number("escalate_to")?.filter(|_| minutes.is_some());
        let recipients = self.text("recipients").split(['\n', ',', ';']).map(str::trim);
        Ok(Wish {
            name: self.text("name").to_owned(),
            kind,
            enabled: self.has("enabled"),
            events: Topic::ALL.into_iter().filter(|topic| self.wants(topic.as_str())).collect(),
            least: self.text("least").parse::<Severity>().unwrap_or_default(),
            app: self.text("app").to_owned(),
            recipients: recipients.filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            slack_channel: self.text("slack_channel").to_owned(),
            url: Some(self.text("url").to_owned()).filter(|url| !url.is_empty()),
            quiet,
            quiet_lets_critical: self.has("quiet_lets_critical"),
            digest: match self.text("digest") {
                "hourly" => Digest::Hourly,
                "daily" => Digest::Daily,
                _ => Digest::Off,
            },
            digest_at: match self.text("digest_at") {
                "" => "08:00".to_owned(),
                at => at.to_owned(),
            },
            zone: match self.text("zone") {
                "" => "UTC".to_owned(),
                zone => zone.to_owned(),
            },
            escalate_after_minutes: minutes,
            escalate_to: to,
        })
    }
}
