//! What came of a run: findings with what they cite, and proposals that somebody may take up.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an agent has to say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AgentReport)]
pub struct Report {
    /// One or two sentences.
    pub summary: String,
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Beside a model's findings: what Lux's own rules found in the same numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Finding>,
    #[serde(default)]
    pub proposals: Vec<Proposal>,
    /// What is missing, and what to do about it; that a template spoke, and why.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A sentence with the inputs and rows that it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AgentFinding)]
pub struct Finding {
    pub text: String,
    /// Ids of inputs ("sources") and rows ("sources.2").
    pub citations: Vec<String>,
    /// Numbers of the text that stand in nothing that it cites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AgentProposalKind)]
pub enum Kind {
    /// Becomes a draft of a campaign.
    Campaign,
    /// Becomes a segment.
    Segment,
    /// A text for a ticket.
    Ticket,
    /// A text to copy.
    Text,
    /// Lines for a spreadsheet or an import.
    Csv,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::Segment => "segment",
            Self::Ticket => "ticket",
            Self::Text => "text",
            Self::Csv => "csv",
        }
    }
}

/// A draft. It has no effect until an operator takes it up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AgentProposal)]
pub struct Proposal {
    pub kind: Kind,
    pub title: String,
    pub body: String,
    /// What it is made with: the segment's rule, the campaign's brief and subjects.
    #[serde(default)]
    pub detail: Value,
    #[serde(default)]
    pub citations: Vec<String>,
    /// What became of it.
    #[serde(default)]
    pub taken: Option<Taken>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AgentProposalTaken)]
pub struct Taken {
    pub by: String,
    pub at: DateTime<Utc>,
    /// The page of what was made.
    pub href: String,
}

impl Report {
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }

    pub fn find<const N: usize>(&mut self, text: impl Into<String>, citations: [&str; N]) {
        let citations = citations.into_iter().map(str::to_owned).collect();
        self.findings.push(Finding { text: text.into(), citations, unproven: Vec::new() });
    }

    pub fn propose(&mut self, kind: Kind, title: impl Into<String>, body: impl Into<String>) {
        self.proposals.push(Proposal {
            kind,
            title: title.into(),
            body: body.into(),
            detail: Value::Null,
            citations: Vec::new(),
            taken: None,
        });
    }

    /// Says what the newest proposal is made with, and rests on.
    pub fn with<const N: usize>(&mut self, detail: Value, citations: [&str; N]) {
        if let Some(proposal) = self.proposals.last_mut() {
            proposal.detail = detail;
            proposal.citations = citations.into_iter().map(str::to_owned).collect();
        }
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Nothing was found and nothing is proposed: a normal outcome.
    pub fn is_idle(&self) -> bool {
        self.findings.is_empty() && self.proposals.is_empty()
    }
}

/// "1 contact", "2 contacts".
pub fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
