//! Tools around contacts, campaigns and agents. Contacts go to a model by number and first name;
//! what makes anything is done only for who asked for it in their own words.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Found, Item, Tools, User};
use crate::{
    auth::audit::Actor,
    clock,
    contacts::segment,
    error::{Error, Result},
    marketing::{
        agent::{
            Key,
            input::Input,
            report::Report,
            store::{Run, Trigger},
        },
        campaign::{self, Brief, Wish},
    },
};

/// Days that are looked back if none are given, and the most.
const DAYS: u32 = 7;
const MOST_DAYS: u32 = 365;
/// Contacts that are named, and counted as found.
const NAMED: i64 = 20;
const FOUND: i64 = 50;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactsSummary {
    /// Days to look back; 7 if left out, at most 365.
    days: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FindContacts {
    /// A part of where they came from: "webinar".
    source: Option<String>,
    /// The segment's slug, from `list_segments`.
    segment: Option<String>,
    /// Only those who came within so many days.
    days: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentReport {
    /// Which agent.
    agent: Key,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunAgent {
    /// Which agent.
    agent: Key,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DraftCampaign {
    /// A short name for the campaign.
    name: String,
    /// What it is to reach, in the operator's words.
    goal: String,
    /// What is offered; only prices and dates that the operator named.
    offer: Option<String>,
    /// Whom it is for, in words.
    audience: Option<String>,
    /// The slug of the segment that gets it, from `list_segments`.
    segment: Option<String>,
}

fn days(wanted: Option<u32>) -> TimeDelta {
    TimeDelta::days(wanted.unwrap_or(DAYS).clamp(1, MOST_DAYS).into())
}

impl Tools {
    pub(super) async fn contacts_summary(
        &self,
        user: &User,
        wanted: &ContactsSummary,
    ) -> Result<Found> {
        let since = clock::now() - days(wanted.days);
        let inputs = self.agents.signups(user.organization, since).await?;
        let (now, before) = (inputs.get("signups").first(0), inputs.get("signups").first(1));
        let newest: Vec<(i64, String, String)> = self
            .app
            .db
            .query(
                "select id, first_name, source from contact
                 where organization_id = $1 and created_at >= $2
                 order by created_at desc, id desc limit $3",
            )
            .bind(user.organization)
            .bind(since)
            .bind(NAMED)
            .all()
            .await?;
        let mut items: Vec<Item> = inputs.0.iter().skip(1).map(table).collect();
        items.extend(newest.into_iter().map(|(id, name, source)| Item {
            source: "contacts".to_owned(),
            line: id.unsigned_abs(),
            about: format!("contact {id}, one of the newest"),
            text: format!("first name: {name}; came from: {source}"),
        }));
        Ok(Found {
            summary: format!(
                "{now} contacts since {}; {before} in as long a time before.",
                since.format("%F %H:%M UTC")
            ),
            items,
            ..Found::default()
        })
    }

    pub(super) async fn find_contacts(&self, user: &User, wanted: &FindContacts) -> Result<Found> {
        let segment = match &wanted.segment {
            Some(slug) => Some(self.segment(user, slug).await?.id),
            None => None,
        };
        let source = wanted.source.as_deref().unwrap_or_default().trim().to_lowercase();
        // What is looked for is a text, not a pattern.
        let pattern: String = source.chars().filter(|c| !matches!(c, '%' | '_' | '\\')).collect();
        let pattern = format!("%{pattern}%");
        let since = wanted.days.map(|_| clock::now() - days(wanted.days));
        let since = since.unwrap_or_default();
        let (all, agreed): (i64, i64) = self
            .app
            .db
            .query(
                "select count(*), count(case when c.consent = 'confirmed' then 1 end)
                 from contact c where c.organization_id = $1 and c.created_at >= $2
                   and lower(c.source) like $3
                   and ($4 = 0 or exists (select 1 from segment_contact s
                        where s.segment_id = $4 and s.contact_id = c.id))",
            )
            .bind(user.organization)
            .bind(since)
            .bind(&pattern)
            .bind(segment.unwrap_or(0))
            .one()
            .await?;
        let ids: Vec<(i64,)> = self
            .app
            .db
            .query(
                "select c.id from contact c where c.organization_id = $1 and c.created_at >= $2
                   and lower(c.source) like $3
                   and ($4 = 0 or exists (select 1 from segment_contact s
                        where s.segment_id = $4 and s.contact_id = c.id))
                 order by c.created_at desc, c.id desc limit $5",
            )
            .bind(user.organization)
            .bind(since)
            .bind(&pattern)
            .bind(segment.unwrap_or(0))
            .bind(FOUND)
            .all()
            .await?;
        let ids: Vec<String> = ids.into_iter().map(|(id,)| id.to_string()).collect();
        Ok(Found::of(format!(
            "{all} contacts, {agreed} of them agreed to mail. Ids of the newest: {}.",
            if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
        )))
    }

    pub(super) async fn list_segments(&self, user: &User) -> Result<Found> {
        let segments = segment::list(&self.app.db, user.organization).await?;
        let item = |it: segment::Segment| Item {
            source: "segments".to_owned(),
            line: it.id.unsigned_abs(),
            about: format!("{} members", it.members),
            text: format!("{} (slug {})", it.name, it.slug),
        };
        Ok(Found {
            summary: format!("{} segments.", segments.len()),
            items: segments.into_iter().map(item).collect(),
            ..Found::default()
        })
    }

    async fn segment(&self, user: &User, slug: &str) -> Result<segment::Segment> {
        let segments = segment::list(&self.app.db, user.organization).await?;
        let found = segments.into_iter().find(|segment| segment.slug == slug);
        found.ok_or_else(|| Error::invalid("there is no such segment; list_segments names them"))
    }

    pub(super) async fn agent_report(&self, user: &User, wanted: &AgentReport) -> Result<Found> {
        let newest = self.agents.newest(user.organization).await?;
        let name = wanted.agent.agent().name;
        let Some(run) = newest.get(&wanted.agent) else {
            return Ok(Found::of(format!("{name} has not run yet; run_agent runs it.")));
        };
        Ok(told(name, run))
    }

    pub(super) async fn run_agent(&self, user: &User, wanted: &RunAgent) -> Result<Found> {
        let (key, name) = (wanted.agent, wanted.agent.agent().name);
        if !user.wants_marketing {
            return Ok(Found {
                summary: format!(
                    "Nothing was run: the operator did not ask for it in this message. They have \
                     a button to the page of {name} now."
                ),
                proposals: vec![open(
                    &format!("Open {name}"),
                    &format!("/agents/{}", key.as_str()),
                )],
                ..Found::default()
            });
        }
        let run = self.agents.ask(user.organization, key, Trigger::Chat, &user.name).await?;
        let run = self
            .agents
            .settled(user.organization, run.id, std::time::Duration::from_secs(15))
            .await?;
        Ok(told(name, &run))
    }

    pub(super) async fn draft_campaign(&self, user: &User, wanted: DraftCampaign) -> Result<Found> {
        let segment = match &wanted.segment {
            Some(slug) => Some(self.segment(user, slug).await?),
            None => None,
        };
        let wish = Wish {
            name: wanted.name.trim().chars().take(120).collect(),
            brief: Brief {
                goal: wanted.goal,
                offer: wanted.offer.unwrap_or_default(),
                audience: wanted.audience.unwrap_or_default(),
                ..Brief::default()
            },
            segment_id: segment.map(|segment| segment.id),
            model: true,
        };
        wish.brief.check()?;
        if !user.wants_marketing {
            return Ok(Found {
                summary: "Nothing was made: the operator did not ask for a campaign in this \
                          message. They have a button to begin one now."
                    .to_owned(),
                proposals: vec![open("Begin a campaign", "/campaigns/new")],
                ..Found::default()
            });
        }
        let id = self.draft(user, &wish).await?;
        Ok(Found {
            summary: format!(
                "The campaign is a draft at /campaigns/{id}. Nothing is sent before an operator \
                 approves it."
            ),
            proposals: vec![open("Open the draft", &format!("/campaigns/{id}"))],
            ..Found::default()
        })
    }

    /// Makes a campaign's draft for who asked for it.
    pub(in crate::chat) async fn draft(&self, user: &User, wish: &Wish) -> Result<i64> {
        let actor = Actor { name: &user.name, address: None };
        let organization = user.organization;
        campaign::create_for(&self.app, organization, &user.name, wish, "chat", actor).await
    }

    /// The agents, for what the advisor answers by itself.
    pub(in crate::chat) fn agents(&self) -> &crate::marketing::agent::Agents {
        &self.agents
    }
}

/// A button that leads to a page of Lux.
pub(in crate::chat) fn open(title: &str, path: &str) -> serde_json::Value {
    json!({ "kind": "open", "title": title, "method": "GET", "path": path })
}

/// A table of an agent as an item.
fn table(input: &Input) -> Item {
    let rows = input.lines.iter().map(|line| {
        let cells = line.cells.iter().map(|cell| match cell.as_str() {
            Some(text) => text.to_owned(),
            None => cell.to_string(),
        });
        cells.collect::<Vec<_>>().join(" | ")
    });
    Item {
        source: "contacts".to_owned(),
        line: 0,
        about: format!("{}: {}", input.name, input.columns.join(" | ")),
        text: rows.collect::<Vec<_>>().join("\n"),
    }
}

/// What a run found. Its words rest on what strangers wrote, so they are items.
fn told(name: &str, run: &Run) -> Found {
    let empty = Report::default();
    let report = run.result.as_ref().unwrap_or(&empty);
    let mut text = run.outcome.clone();
    for finding in &report.findings {
        text.push_str("\n- ");
        text.push_str(&finding.text);
    }
    Found {
        summary: format!(
            "{name}, run {}, {}; {} findings, {} proposals. Its page: /agents/runs/{}.",
            run.id,
            if run.status.is_settled() { "over" } else { "under way" },
            report.findings.len(),
            report.proposals.len(),
            run.id
        ),
        items: vec![Item {
            source: "agent".to_owned(),
            line: run.id.unsigned_abs(),
            about: format!("the report of run {}", run.id),
            text,
        }],
        proposals: vec![open(&format!("Open run {}", run.id), &format!("/agents/runs/{}", run.id))],
        ..Found::default()
    }
}
