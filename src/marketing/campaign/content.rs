//! What a version of a campaign holds.

use serde::{Deserialize, Serialize};

use super::merge;
use crate::{
    error::{Error, Result},
    llm,
    marketing::brand,
};

/// Most subjects of a version: each recipient gets one of them.
const MAX_SUBJECTS: usize = 5;
const MAX_SUBJECT: usize = 200;
const MAX_PREVIEW: usize = 300;
const MAX_BODY: usize = 64 << 10;
const MAX_STRATEGY: usize = 16 << 10;
const MAX_ADS: usize = 10;

/// The longest advertisement, in characters.
pub const MAX_HEADLINE: usize = 30;
pub const MAX_DESCRIPTION: usize = 90;

/// Networks with the longest text that each takes, in characters.
pub const NETWORKS: &[(&str, usize)] =
    &[("x", 280), ("bluesky", 300), ("linkedin", 3000), ("facebook", 2000), ("instagram", 2200)];

/// A text for a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SocialText)]
pub struct Social {
    /// x, bluesky, linkedin, facebook or instagram.
    pub network: String,
    pub text: String,
}

/// An advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Advertisement)]
pub struct Ad {
    pub headline: String,
    pub description: String,
}

/// Texts of a campaign. Subjects, preview text and body may hold merge fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignContent)]
pub struct Content {
    /// One to five; with several, each recipient gets one of them.
    pub subjects: Vec<String>,
    #[serde(default)]
    pub preview_text: String,
    /// Markdown.
    pub body: String,
    #[serde(default)]
    pub social: Vec<Social>,
    #[serde(default)]
    pub ads: Vec<Ad>,
    /// Why it is as it is, in Markdown; nobody outside sees it.
    #[serde(default)]
    pub strategy: String,
}

/// Who wrote a version.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = DraftEngine)]
pub enum Engine {
    Model,
    /// A template of Lux, filled in from the brief.
    Template,
    Person,
}

impl Engine {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Template => "template",
            Self::Person => "person",
        }
    }
}

/// The texts beside the mail, as the column `variants` keeps them.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Variants {
    pub social: Vec<Social>,
    pub ads: Vec<Ad>,
}

impl Content {
    /// Tidies what people and models write: what nobody sees is taken off, empty subjects and
    /// texts are left out.
    #[must_use]
    pub fn tidied(mut self) -> Self {
        let line = |text: &str| llm::visible(text).split_whitespace().collect::<Vec<_>>().join(" ");
        self.subjects =
            self.subjects.iter().map(|it| line(it)).filter(|it| !it.is_empty()).collect();
        self.preview_text = line(&self.preview_text);
        self.body = llm::visible(self.body.trim());
        self.strategy = llm::visible(self.strategy.trim());
        for post in &mut self.social {
            post.network = post.network.trim().to_lowercase();
            post.text = llm::visible(post.text.trim());
        }
        self.social.retain(|post| !post.text.is_empty());
        for ad in &mut self.ads {
            ad.headline = line(&ad.headline);
            ad.description = line(&ad.description);
        }
        self.ads.retain(|ad| !ad.headline.is_empty() || !ad.description.is_empty());
        self
    }

    /// Whether it can be kept: bounds, networks' limits, merge fields. The error names the
    /// field.
    pub fn check(&self) -> Result<()> {
        if self.subjects.is_empty() || self.subjects.len() > MAX_SUBJECTS {
            return Err(Error::invalid(format!("subjects lists 1 to {MAX_SUBJECTS} subjects")));
        }
        let merged = |field: &str, text: &str| {
            merge::parse(text).map(drop).map_err(|why| Error::invalid(format!("{field}: {why}")))
        };
        for subject in &self.subjects {
            brand::line("subjects", subject, 1, MAX_SUBJECT)?;
            merged("subjects", subject)?;
        }
        brand::line("preview_text", &self.preview_text, 0, MAX_PREVIEW)?;
        merged("preview_text", &self.preview_text)?;
        if self.body.trim().is_empty() {
            return Err(Error::invalid("body is empty; write what the mail says"));
        }
        brand::text("body", &self.body, MAX_BODY)?;
        merged("body", &self.body)?;
        super::compile::check(&self.body).map_err(|why| Error::invalid(format!("body: {why}")))?;
        brand::text("strategy", &self.strategy, MAX_STRATEGY)?;
        let mut seen: Vec<&str> = Vec::new();
        for post in &self.social {
            let limit = NETWORKS.iter().find(|(name, _)| *name == post.network);
            let Some((name, limit)) = limit else {
                let known: Vec<&str> = NETWORKS.iter().map(|(name, _)| *name).collect();
                return Err(Error::invalid(format!(
                    "social.network {:?} is none of {}",
                    post.network,
                    known.join(", ")
                )));
            };
            if seen.contains(name) {
                return Err(Error::invalid(format!("social.network {name} stands there twice")));
            }
            seen.push(name);
            let length = post.text.chars().count();
            if length > *limit {
                return Err(Error::invalid(format!(
                    "social.text for {name} has {length} characters; it takes {limit}"
                )));
            }
        }
        if self.ads.len() > MAX_ADS {
            return Err(Error::invalid(format!("ads lists at most {MAX_ADS} advertisements")));
        }
        for ad in &self.ads {
            for (name, value, limit) in [
                ("ads.headline", &ad.headline, MAX_HEADLINE),
                ("ads.description", &ad.description, MAX_DESCRIPTION),
            ] {
                let length = value.chars().count();
                if length > limit {
                    return Err(Error::invalid(format!(
                        "{name} has {length} characters; it takes {limit}: {value:?}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// All texts that others get to see.
    pub fn told(&self) -> impl Iterator<Item = &str> {
        self.subjects
            .iter()
            .map(String::as_str)
            .chain([self.preview_text.as_str(), self.body.as_str()])
            .chain(self.social.iter().map(|post| post.text.as_str()))
            .chain(self.ads.iter().flat_map(|ad| [ad.headline.as_str(), ad.description.as_str()]))
    }
}
