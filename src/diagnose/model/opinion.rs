//! The model's diagnosis as it is shown, beside the advisor's.

use serde::{Deserialize, Serialize};

use super::Disagreement;
use crate::diagnose::{Confidence, Evidence};

/// What the model makes of it: everything in it was looked up, but its sentences are its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Opinion {
    /// The most certain first; empty where it finds none.
    pub causes: Vec<ModelCause>,
    /// Checks that would tell whether it is so, of those that there are.
    pub checks: Vec<Check>,
    /// What it would need to know.
    pub missing: Vec<String>,
    /// Where it and the advisor name different causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
    /// The advisor's causes that it speaks against.
    pub contradicts: Vec<Contradiction>,
    /// What it named or quoted and does not exist.
    pub dropped: Vec<Dropped>,
    /// As its server named it.
    pub model: String,
}

/// A cause that the model names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelCause {
    /// A playbook's id, or "other".
    pub cause: String,
    pub title: String,
    /// By rule, not by the model: as sure as the advisor is of the same cause; without it
    /// "likely" if the cited records match the cause's playbook, else "inconclusive".
    pub confidence: Confidence,
    /// The model's words, with `[n]` for records.
    pub explanation: String,
    pub evidence: Vec<Evidence>,
    /// The numbers of the records in the pack.
    pub cited: Vec<u32>,
    pub effects: Vec<String>,
    /// What its words quote and no record holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<String>,
}

/// A cause of the advisor that the model speaks against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Contradiction {
    pub cause: String,
    pub why: String,
    pub evidence: Vec<Evidence>,
}

/// An existing check that the model proposes. It runs only when somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Check {
    pub name: String,
    pub kind: String,
    pub why: String,
}

/// Something of the model's answer that was thrown away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Dropped {
    /// "cause", "citation", "quotation", "check" or "action".
    pub what: String,
    pub text: String,
}

impl Dropped {
    pub fn new(what: &'static str, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(300)];
        Self { what: what.to_owned(), text: text.to_owned() }
    }
}
