//! What is kept of an answer beside its words: what it rests on, what was looked at for it, and
//! what a person may do next.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{answer::Citation, evidence::Evidence, talk::Usage, trail::Looked};

/// The `detail` of an answer's message. What an older Lux did not keep is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// "advisor" or "model".
    pub engine: String,
    pub model: Option<String>,
    pub usage: Option<Usage>,
    /// What is missing from the answer, and why.
    pub notice: Option<String>,
    /// The question was about this application alone.
    pub app: Option<String>,
    pub citations: Vec<Citation>,
    /// The cited lines as they stood when the answer was given; logs rotate.
    pub evidence: Vec<Evidence>,
    pub unproven: Vec<String>,
    /// As `lux diagnose --json` prints it.
    pub diagnosis: Option<Value>,
    pub run_id: Option<i64>,
    /// Only where the answer is a run's report.
    pub repair_results: Option<Value>,
    pub proposals: Vec<Value>,
    /// What was looked at, in order.
    pub trail: Vec<Looked>,
    /// From the question to the answer.
    pub milliseconds: u64,
    /// The operator had heard enough.
    pub stopped: bool,
    /// It was asked to diagnose, by more than words.
    pub diagnosed: bool,
}
