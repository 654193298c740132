//! What a campaign is to say, in the operator's words.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    marketing::brand::{self, Link},
};

/// Longest of the texts, in bytes.
const MAX_TEXT: usize = 4000;
const MAX_LINE: usize = 200;

/// The brief that drafts are made of. Only `goal` is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignBrief)]
pub struct Brief {
    /// What the campaign is to reach.
    pub goal: String,
    /// What is offered; prices, numbers and dates that drafts may name stand here.
    #[serde(default)]
    pub offer: String,
    /// Who is meant, in words; the segment says who gets it.
    #[serde(default)]
    pub audience: String,
    #[serde(default)]
    pub tone: String,
    /// As people call it: "English", "German".
    #[serde(default)]
    pub language: String,
    /// Addresses that drafts may lead to; the first is the call to action's.
    #[serde(default)]
    pub links: Vec<Link>,
    /// The words of the call to action.
    #[serde(default)]
    pub call_to_action: String,
    /// Until or on when, in words.
    #[serde(default)]
    pub date: String,
}

impl Brief {
    /// Whether each field is within its bounds; the error names the field.
    pub fn check(&self) -> Result<()> {
        if self.goal.trim().is_empty() {
            return Err(crate::error::Error::invalid(
                "brief.goal is empty; say what the campaign is to reach",
            ));
        }
        for (name, value) in [
            ("brief.goal", &self.goal),
            ("brief.offer", &self.offer),
            ("brief.audience", &self.audience),
        ] {
            brand::text(name, value, MAX_TEXT)?;
        }
        for (name, value) in [
            ("brief.tone", &self.tone),
            ("brief.language", &self.language),
            ("brief.call_to_action", &self.call_to_action),
            ("brief.date", &self.date),
        ] {
            brand::line(name, value, 0, MAX_LINE)?;
        }
        brand::links("brief.links", &self.links)
    }

    /// As a model is told.
    pub fn in_words(&self) -> String {
        let mut text = format!("Goal: {}\n", self.goal.trim());
        for (name, value) in [
            ("Offer", &self.offer),
            ("Audience", &self.audience),
            ("Tone", &self.tone),
            ("Language", &self.language),
            ("Call to action", &self.call_to_action),
            ("Date", &self.date),
        ] {
            if !value.trim().is_empty() {
                let _ = writeln!(text, "{name}: {}", value.trim());
            }
        }
        for link in &self.links {
            let _ = writeln!(text, "Link: {} {}", link.label.trim(), link.url);
        }
        text
    }
}
