//! `[[probes]]`, `[[actions]]`, `[repair]` and `[schedule]`: what may be checked and
//! run. They are read and checked here; the features that use them own their meaning.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::load::Entry;

/// A check that an operator configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub name: String,
    pub app: Option<String>,
    pub kind: ProbeKind,
    pub method: Option<String>,
    pub path: Option<String>,
    pub body: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is checked, for kinds without a path: "127.0.0.1:6379", "shop.service".
    pub target: Option<String>,
    #[serde(default)]
    pub expect: Expect,
    /// The endpoints whose errors it can prove: "POST /checkout".
    #[serde(default)]
    pub covers: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    Http,
    Tcp,
    Tls,
    Database,
    ApiKey,
    Config,
    Disk,
    Unit,
    Dns,
    Port,
}

/// What a probe must see to pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub status: Option<u16>,
    pub contains: Option<String>,
    pub regex: Option<String>,
    /// JSON pointer → expected value.
    #[serde(default)]
    pub json: BTreeMap<String, serde_json::Value>,
    pub max_ms: Option<u64>,
    pub certificate_days: Option<u32>,
}

/// A command of the allow-list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    pub name: String,
    /// Program and arguments; `{param}` stands for a parameter, never for a shell.
    pub argv: Vec<String>,
    #[serde(default)]
    pub params: BTreeMap<String, Param>,
    pub policy: Policy,
    #[serde(default = "minute", with = "humantime_text")]
    pub timeout: Duration,
    #[serde(default = "ten_minutes", with = "humantime_text")]
    pub cooldown: Duration,
    pub max_per_day: Option<u32>,
    /// Causes for which it may be proposed.
    #[serde(default)]
    pub fixes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    pub one_of: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    Auto,
    Approve,
    Never,
}

/// `[repair]`: how a repair is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Green checks in a row.
    pub passes: u32,
    pub spacing: Duration,
}

/// `[schedule]`: cron expressions, and the zone they are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    pub repair: Option<String>,
    pub clear: Option<String>,
    pub clear_older_than: Duration,
    pub timezone: chrono_tz::Tz,
}

impl Probe {
    pub(super) fn check(&self, entry: &mut Entry<'_>) {
        if self.kind == ProbeKind::Http && self.path.as_deref().is_none_or(|p| !p.starts_with('/'))
        {
            entry.mistake("an http probe needs a path that begins with /");
        }
        if let Some(regex) = &self.expect.regex
            && let Err(error) = regex::Regex::new(regex)
        {
            entry.mistake(format!("expect.regex is no valid expression: {error}"));
        }
    }
}

impl Action {
    pub(super) fn check(&self, entry: &mut Entry<'_>) {
        if self.argv.first().is_none_or(String::is_empty) {
            entry.mistake("argv is empty; name the program and its arguments");
        }
        for argument in &self.argv {
            let inner = argument.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            if let Some(param) = inner
                && !self.params.contains_key(param)
            {
                entry.mistake(format!("argv uses {{{param}}}, which params does not define"));
            }
        }
    }
}

fn minute() -> Duration {
    Duration::from_mins(1)
}

fn ten_minutes() -> Duration {
    Duration::from_mins(10)
}

/// Durations as people write them: "60s", "10m".
mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(|_| {
            D::Error::custom(format!(
                "\"{text}\" is no duration; write one like \"60s\" or \"10m\""
            ))
        })
    }

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }
}
