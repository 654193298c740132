//! The eleven agents as data: what each is for, what it reads, when it runs, what it may not do.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which agent; the keys are those of the first version.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = AgentKey)]
pub enum Key {
    AppIntelligence,
    Operations,
    Analytics,
    BrandStrategy,
    ContentSeo,
    CreativeDesign,
    SocialMedia,
    EmailCrm,
    Advertising,
    SalesEnablement,
    Retention,
}

/// Where an agent stands on the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AgentGroup)]
pub enum Group {
    RunTheApp,
    Create,
    ConvertAndKeep,
}

impl Group {
    pub const ALL: [Self; 3] = [Self::RunTheApp, Self::Create, Self::ConvertAndKeep];

    pub const fn name(self) -> &'static str {
        match self {
            Self::RunTheApp => "Run the app",
            Self::Create => "Create",
            Self::ConvertAndKeep => "Convert and keep",
        }
    }
}

/// An agent as it comes.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    pub key: Key,
    pub name: &'static str,
    /// A symbol of `assets/icons.svg`.
    pub icon: &'static str,
    pub group: Group,
    /// One sentence.
    pub purpose: &'static str,
    /// What it looks at in Lux.
    pub reads: &'static [&'static str],
    /// What comes of it.
    pub gives: &'static str,
    /// What it never does by itself.
    pub gate: &'static str,
    /// Five fields; `None` runs on demand only.
    pub cron: Option<&'static str>,
    /// The name of its schedule in the job queue.
    pub schedule: &'static str,
    /// Whether it is on before anybody decided: what only reads is, what is to be sent is not.
    pub is_on: bool,
}

/// All of them, in the order of the first page.
pub const AGENTS: [Agent; 11] = [
    Agent {
        key: Key::AppIntelligence,
        name: "APP Intelligence",
        icon: "radio",
        group: Group::RunTheApp,
        purpose: "Finds, groups, diagnoses and re-tests errors.",
        reads: &["open errors", "repair runs", "logs", "checks"],
        gives: "Repair runs: each cause diagnosed with its lines, each error tested again.",
        gate: "An error is resolved only by passing checks; actions need an approval.",
        cron: None,
        schedule: "repair",
        is_on: true,
    },
    Agent {
        key: Key::Operations,
        name: "Operations & Integrations",
        icon: "workflow",
        group: Group::RunTheApp,
        purpose: "Keeps tokens, schedules, approvals and the disk healthy, and drafts tickets.",
        reads: &[
            "health of all parts",
            "schedules",
            "failed jobs",
            "waiting approvals",
            "access tokens",
            "connected services",
            "calls that are fetched",
            "hooks and messages that failed",
            "webhook answers",
            "repair runs",
        ],
        gives: "A report each morning, and drafts of tickets.",
        gate: "A ticket is a text until somebody files it.",
        cron: Some("0 6 * * *"),
        schedule: "agent:operations",
        is_on: true,
    },
    Agent {
        key: Key::Analytics,
        name: "Analytics & Optimization",
        icon: "chart-line",
        group: Group::RunTheApp,
        purpose: "Explains the numbers that Lux really has.",
        reads: &[
            "contacts by source, segment and day",
            "campaigns",
            "errors by day and endpoint",
            "access log",
        ],
        gives: "Numbers with the query behind each, and what is unlike last week.",
        gate: "Only reads.",
        cron: Some("0 7 * * *"),
        schedule: "agent:analytics",
        is_on: true,
    },
    Agent {
        key: Key::BrandStrategy,
        name: "Brand & Strategy",
        icon: "compass",
        group: Group::Create,
        purpose: "Keeps one brief of voice, offer and goals for all drafts, and checks them against it.",
        reads: &["brand settings", "campaigns of the last quarter", "drafts"],
        gives: "A check of each draft's voice, and a plan for the quarter.",
        gate: "Drafts only.",
        cron: Some("0 10 * * 1#1"),
        schedule: "agent:brand_strategy",
        is_on: true,
    },
    Agent {
        key: Key::ContentSeo,
        name: "Content & SEO",
        icon: "pen-line",
        group: Group::Create,
        purpose: "Audits the pages that you name, and drafts what is missing.",
        reads: &["pages of your site that you name", "access log (landing pages, 404)"],
        gives: "A list of what to mend on each page, and drafts of articles.",
        gate: "Publishes nothing; a draft is a text to copy.",
        cron: Some("0 8 * * 1"),
        schedule: "agent:content_seo",
        is_on: true,
    },
    Agent {
        key: Key::CreativeDesign,
        name: "Creative & Design",
        icon: "palette",
        group: Group::Create,
        purpose: "Checks how mails look: contrast, widths, texts for images.",
        reads: &["brand settings", "drafts of campaigns"],
        gives: "What to mend in each draft, and briefs for images.",
        gate: "Makes no images.",
        cron: None,
        schedule: "agent:creative_design",
        is_on: true,
    },
    Agent {
        key: Key::SocialMedia,
        name: "Social & Community",
        icon: "share-2",
        group: Group::Create,
        purpose: "Turns campaigns that you approved into posts of each network's length.",
        reads: &["approved campaigns", "brand settings"],
        gives: "Posts to copy.",
        gate: "Posts nothing: no account is connected. Off until you switch it on.",
        cron: Some("0 9 * * *"),
        schedule: "agent:social_media",
        is_on: false,
    },
    Agent {
        key: Key::EmailCrm,
        name: "Email & CRM",
        icon: "mail",
        group: Group::ConvertAndKeep,
        purpose: "Keeps the list clean, proposes segments, and drafts the newsletter.",
        reads: &[
            "contacts",
            "segments",
            "consent",
            "bounces and unsubscribes",
            "duplicates",
            "webhook answers",
        ],
        gives: "A report on the list, segment proposals, and a campaign draft.",
        gate: "Sending needs an approval, and goes only to who agreed to it.",
        cron: Some("0 10 * * 2"),
        schedule: "agent:email_crm",
        is_on: true,
    },
    Agent {
        key: Key::Advertising,
        name: "Advertising & Demand",
        icon: "target",
        group: Group::ConvertAndKeep,
        purpose: "Counts what came of which source, and writes variants of ads.",
        reads: &["contacts by campaign tag (UTM)", "access log (UTM)", "campaigns"],
        gives: "A report by source, and a CSV of variants within the networks' limits.",
        gate: "Spends nothing.",
        cron: Some("0 11 * * 3"),
        schedule: "agent:advertising",
        is_on: true,
    },
    Agent {
        key: Key::SalesEnablement,
        name: "Sales Enablement",
        icon: "handshake",
        group: Group::ConvertAndKeep,
        purpose: "Says whom to call, and why.",
        reads: &[
            "contacts",
            "clicks and replies",
            "segments",
            "calls (from HighLevel, if it is connected)",
        ],
        gives: "A list by points, each point with its rule, and a call brief.",
        gate: "Calls and writes to nobody.",
        cron: Some("0 10 * * 4"),
        schedule: "agent:sales_enablement",
        is_on: true,
    },
    Agent {
        key: Key::Retention,
        name: "Customer Retention",
        icon: "heart",
        group: Group::ConvertAndKeep,
        purpose: "Sees early who has gone quiet, and who met errors.",
        reads: &["contacts by last activity", "users whom errors hit", "unsubscribes"],
        gives: "Who is at risk and why, and a draft to win them back.",
        gate: "Drafts only.",
        cron: Some("0 14 1 * *"),
        schedule: "agent:retention",
        is_on: true,
    },
];

impl Key {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AppIntelligence => "app_intelligence",
            Self::Operations => "operations",
            Self::Analytics => "analytics",
            Self::BrandStrategy => "brand_strategy",
            Self::ContentSeo => "content_seo",
            Self::CreativeDesign => "creative_design",
            Self::SocialMedia => "social_media",
            Self::EmailCrm => "email_crm",
            Self::Advertising => "advertising",
            Self::SalesEnablement => "sales_enablement",
            Self::Retention => "retention",
        }
    }

    /// The agent of this key.
    pub fn agent(self) -> &'static Agent {
        // Every key has its row: a test counts them.
        AGENTS.iter().find(|agent| agent.key == self).unwrap_or(&AGENTS[0])
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        AGENTS.iter().map(|agent| agent.key).find(|key| key.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AGENTS, Key};
    use crate::config::Cron;

    #[test]
    fn every_agent_has_its_row() {
        for agent in &AGENTS {
            let key: Key = agent.key.as_str().parse().unwrap();
            assert_eq!(key.agent().key, agent.key);
            assert_eq!(serde_json::json!(key), agent.key.as_str());
            if let Some(cron) = agent.cron {
                cron.parse::<Cron>().unwrap();
                assert_eq!(agent.schedule, format!("agent:{}", key.as_str()));
            }
        }
        let mut keys: Vec<_> = AGENTS.iter().map(|agent| agent.key).collect();
        keys.dedup();
        assert_eq!(keys.len(), 11);
    }
}
