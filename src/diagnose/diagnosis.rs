//! What the advisor says: the JSON that `lux diagnose --json` prints and the API returns.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Deployed, Opinion};
use crate::logs::Severity;

/// The form of this document; raised only when a reader of the old one would misread it.
pub const VERSION: u32 = 1;

/// Ranked causes with their evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diagnosis {
    pub version: u32,
    pub scanned: Scanned,
    /// No finding is confirmed or likely.
    pub healthy: bool,
    /// Causes, the most certain and most harmful first.
    pub findings: Vec<Finding>,
    /// What an operator should know and no finding says: errors without a known
    /// cause, unreadable files, trouble that is over.
    pub notes: Vec<String>,
    /// What a model makes of it, where one was asked and its answer could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Box<Opinion>>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Scanned {
    pub files: u64,
    pub lines: u64,
    pub bytes: u64,
}

/// How sure the advisor is; by rule, never by feeling.
///
/// *Confirmed*: a line that has hardly another reading (a proof) was written by the
/// program that knows, and a failing request or unit does not contradict it.
/// *Likely*: strong signs, or a proof by a program that only guesses. *Inconclusive*:
/// hints, or an error that was logged while no request failed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    Inconclusive,
    Likely,
    Confirmed,
}

impl Confidence {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inconclusive => "inconclusive",
            Self::Likely => "likely",
            Self::Confirmed => "confirmed",
        }
    }
}

/// Values by the names that playbooks give them.
pub type Captured = BTreeMap<String, Vec<String>>;

/// One cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// The id of its playbook.
    pub cause: String,
    pub title: String,
    pub component: String,
    pub confidence: Confidence,
    /// The harm it does.
    pub severity: Severity,
    pub explanation: String,
    pub first_seen: Option<DateTime<Utc>>,
    pub last_seen: Option<DateTime<Utc>>,
    /// How many records show the cause itself (effects are not counted).
    pub count: u64,
    pub evidence: Vec<Evidence>,
    /// What follows from it, in words: "nginx answers 502 (44 times)".
    pub effects: Vec<String>,
    pub fix: Vec<String>,
    pub probes: Vec<Probe>,
    /// Where to read more.
    pub docs: Vec<String>,
    /// What its records name: "unit" → `["shop.service"]`, "file", "address", "variable" and
    /// the other named groups of its playbook. Untrusted text, without secrets; what has more
    /// than three values is left out, as nobody could say which is meant.
    #[serde(default, skip_serializing_if = "Captured::is_empty")]
    pub captured: Captured,
    /// What was deployed shortly before its first sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Deployed>,
}

/// A quotation: `text` stands exactly so in line `line` of `source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Evidence {
    pub source: String,
    /// 1-based; for captured errors the id of the event.
    pub line: u64,
    pub text: String,
}

/// A request that fails while the fault is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SuggestedProbe)]
pub struct Probe {
    pub method: String,
    pub path: String,
    pub expect_status: u16,
}

impl Diagnosis {
    /// Drops quotations that `line_of` (source, line → its text) does not bear out,
    /// and says so. A source that cannot be read again is left as it is.
    pub fn verify(&mut self, line_of: &mut dyn FnMut(&str, u64) -> Option<String>) {
        let mut dropped = 0;
        for finding in &mut self.findings {
            finding.evidence.retain_mut(|quote| {
                let Some(line) = line_of(&quote.source, quote.line) else { return true };
                let held = held(&quote.text, &line);
                let keep = held.is_some();
                if let Some(held) = held {
                    quote.text.truncate(held.end);
                    quote.text.drain(..held.start);
                }
                dropped += usize::from(!keep);
                keep
            });
            if finding.evidence.is_empty() {
                finding.confidence = Confidence::Inconclusive;
                finding.captured.clear();
            }
        }
        if dropped > 0 {
            self.notes.push(format!(
                "{dropped} quotation(s) could not be found again in their files and were left out."
            ));
        }
        self.healthy =
            self.findings.iter().all(|finding| finding.confidence == Confidence::Inconclusive);
    }
}

/// The part of `text` that stands in `line`: all of it, or (colours are taken out when
/// logs are read) its longest beginning or end, if that still says something.
fn held(text: &str, line: &str) -> Option<std::ops::Range<usize>> {
    const LEAST: usize = 12;
    if line.contains(text) {
        return Some(0..text.len());
    }
    let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
    let beginning = places.partition_point(|&place| line.contains(&text[..place]));
    let end = places[beginning.saturating_sub(1)];
    let start = places
        [places.partition_point(|&place| !line.contains(&text[place..])).min(places.len() - 1)];
    let (first, last) = (0..end, start..text.len());
    let longest = if first.len() >= last.len() { first } else { last };
    (longest.len() >= LEAST && line.contains(&text[longest.clone()])).then_some(longest)
}
