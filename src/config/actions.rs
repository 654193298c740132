//! `[[actions]]`: the allow-list of commands. They are read and checked here;
//! `repair` owns their meaning.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::load::Entry;

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
