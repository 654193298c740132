//! `[[probes]]`: checks that an operator configured. They are read and checked here;
//! `probe` owns their meaning.

use std::collections::BTreeMap;

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
