//! How each agent is set: on or off, when it runs, which pages it may fetch; and the pause of all.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::{
    AGENTS, Agents, JOB, Key,
    store::{self, Setting},
};
use crate::{
    auth::{Caller, OrganizationId, audit},
    clock,
    config::{Config, Cron},
    error::{Error, Result},
    jobs::{Jobs, Scheduled},
    outbound::Target,
};

/// The name of the scheduled repair, which a pause of all covers as well.
const REPAIR: &str = "repair";

/// Pages that one agent may be told to fetch.
const MOST_PAGES: usize = 50;

/// How an agent stands.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = AgentStanding)]
pub struct Standing {
    #[serde(rename = "on")]
    pub is_on: bool,
    /// Five fields; `None` runs on demand only.
    pub schedule: Option<String>,
    pub timezone: String,
    /// When it runs next by itself; `None` while it is off or paused.
    pub next: Option<DateTime<Utc>>,
    /// Since when and by whom all schedules are paused.
    pub paused: Option<Paused>,
    /// What it may fetch, where it fetches.
    pub pages: Vec<String>,
    /// Who changed it last.
    pub changed_by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AgentsPaused)]
pub struct Paused {
    pub by: String,
    pub at: DateTime<Utc>,
}

/// What is to be another way; what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[schema(as = AgentChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub on: Option<bool>,
    /// Five fields ("0 7 * * *"); "off" for none, "default" for the agent's own.
    pub schedule: Option<String>,
    /// A zone of the IANA database ("Europe/Berlin").
    pub timezone: Option<String>,
    /// Addresses of pages or sitemaps of your own site; only `content_seo` fetches.
    pub pages: Option<Vec<String>>,
}

impl Change {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The expression that holds: set, or the agent's own. The configuration's for the repair.
fn cron(config: &Config, key: Key, setting: Option<&Setting>) -> Option<Cron> {
    if key == Key::AppIntelligence {
        return config.schedule.repair.clone();
    }
    let own = key.agent().cron;
    let text = setting.and_then(|it| it.schedule.as_deref()).or(own)?;
    text.parse().ok()
}

fn zone(config: &Config, setting: Option<&Setting>) -> Tz {
    let set = setting.and_then(|it| it.timezone.as_deref());
    set.and_then(|name| name.parse().ok()).unwrap_or(config.schedule.timezone)
}

fn is_on(key: Key, setting: Option<&Setting>) -> bool {
    setting.and_then(|it| it.is_on).unwrap_or(key.agent().is_on)
}

/// The schedules of all agents that are on, as the job queue knows them.
pub(super) fn schedules(config: &Config, settings: &BTreeMap<Key, Setting>) -> Vec<Scheduled> {
    let scheduled = |key: Key| {
        let setting = settings.get(&key);
        // The scheduled repair is the queue's own, by the configuration.
        if key == Key::AppIntelligence || !is_on(key, setting) {
            return None;
        }
        Some(Scheduled {
            name: key.agent().schedule,
            cron: cron(config, key, setting)?,
            zone: zone(config, setting),
            kind: JOB,
            payload: json!({ "agent": key }),
        })
    };
    AGENTS.iter().filter_map(|agent| scheduled(agent.key)).collect()
}

impl Agents {
    /// By whom all schedules are paused, if they are.
    pub async fn paused(&self) -> Result<Option<Paused>> {
        let held = self.app.jobs.held(REPAIR).await?;
        Ok(held.map(|held| Paused { by: held.held_by, at: held.held_at }))
    }

    /// How one agent stands.
    pub async fn standing(&self, organization: OrganizationId, key: Key) -> Result<Standing> {
        let mut all = self.standings(organization).await?;
        all.remove(&key).ok_or(Error::NotFound("agent"))
    }

    /// How all agents stand.
    pub async fn standings(&self, organization: OrganizationId) -> Result<BTreeMap<Key, Standing>> {
        let settings = store::settings(&self.app.db, organization).await?;
        let paused = self.paused().await?;
        let now = clock::now();
        let config = &self.app.config;
        let standing = |key: Key| {
            let setting = settings.get(&key);
            let (cron, zone) = (cron(config, key, setting), zone(config, setting));
            let is_on = is_on(key, setting);
            let next = cron.clone().filter(|_| is_on && paused.is_none()).and_then(|cron| {
                let name = key.agent().schedule;
                let payload = json!({});
                Scheduled { name, cron, zone, kind: JOB, payload }.next(now)
            });
            Standing {
                is_on,
                schedule: cron.map(|cron| cron.to_string()),
                timezone: zone.to_string(),
                next,
                paused: paused.clone(),
                pages: setting.map_or_else(Vec::new, |it| it.pages.clone()),
                changed_by: setting.map(|it| it.changed_by.clone()),
            }
        };
        Ok(AGENTS.iter().map(|agent| (agent.key, standing(agent.key))).collect())
    }

    /// Sets an agent, audited.
    pub async fn change(&self, caller: &Caller, key: Key, change: Change) -> Result<Standing> {
        let organization = caller.organization;
        let settings = store::settings(&self.app.db, organization).await?;
        let mut setting = settings.get(&key).cloned().unwrap_or_default();
        if key == Key::AppIntelligence
            && (change.on.is_some() || change.schedule.is_some() || change.timezone.is_some())
        {
            return Err(Error::invalid(
                "APP Intelligence runs as [schedule] repair says; set it there (\"off\" turns it off)",
            ));
        }
        if let Some(on) = change.on {
            setting.is_on = Some(on);
        }
        if let Some(text) = &change.schedule {
            setting.schedule = match text.trim() {
                "default" => None,
                "off" => Some("off".to_owned()),
                text => {
                    text.parse::<Cron>()
                        .map_err(|why| Error::Invalid(format!("schedule: {why}")))?;
                    Some(text.to_owned())
                }
            };
        }
        if let Some(name) = &change.timezone {
            let zone: Tz = name.trim().parse().map_err(|_| {
                Error::invalid("timezone: no zone of that name; use one like \"Europe/Berlin\"")
            })?;
            setting.timezone = Some(zone.to_string());
        }
        if let Some(pages) = &change.pages {
            setting.pages = checked(key, pages)?;
        }
        setting.changed_by = caller.author();
        setting.changed_at = clock::now();
        let mut tx = self.app.db.begin().await?;
        store::set(&mut tx, organization, key, &setting).await?;
        let detail = json!({
            "on": change.on, "schedule": change.schedule, "timezone": change.timezone,
            "pages": change.pages,
        });
        let subject = format!("agent {}", key.as_str());
        audit::write(&mut tx, organization, caller, "agents.set", &subject, &detail).await?;
        tx.commit().await?;
        // Here at once; other replicas see it within seconds.
        if organization == OrganizationId::FIRST {
            let settings = store::settings(&self.app.db, organization).await?;
            self.app.jobs.reschedule(JOB, schedules(&self.app.config, &settings));
        }
        self.standing(organization, key).await
    }

    /// Keeps every schedule of the agents and the scheduled repair from beginning anything, on
    /// all replicas, until [`Agents::resume`]. What runs goes on; by hand agents still run.
    pub async fn pause(&self, caller: &Caller) -> Result<Option<Paused>> {
        let mut tx = self.app.db.begin().await?;
        let mut is_new = Jobs::hold(&mut tx, REPAIR, &caller.name).await?;
        for agent in &AGENTS {
            is_new |= Jobs::hold(&mut tx, agent.schedule, &caller.name).await?;
        }
        if is_new {
            let detail = json!({});
            audit::write(&mut tx, caller.organization, caller, "agents.pause", "agents", &detail)
                .await?;
        }
        tx.commit().await?;
        self.paused().await
    }

    /// Lets all schedules go on, from their next tick on.
    pub async fn resume(&self, caller: &Caller) -> Result<()> {
        let mut tx = self.app.db.begin().await?;
        let mut was = Jobs::release(&mut tx, REPAIR).await?;
        for agent in &AGENTS {
            was |= Jobs::release(&mut tx, agent.schedule).await?;
        }
        if was {
            let detail = json!({});
            audit::write(&mut tx, caller.organization, caller, "agents.resume", "agents", &detail)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Addresses that may be fetched: http or https, no literal of a forbidden network, no password.
fn checked(key: Key, pages: &[String]) -> Result<Vec<String>> {
    if key != Key::ContentSeo && !pages.is_empty() {
        return Err(Error::invalid("pages: only content_seo fetches pages"));
    }
    if pages.len() > MOST_PAGES {
        return Err(Error::Invalid(format!(
            "pages: {} are too many; name at most {MOST_PAGES}, or a sitemap",
            pages.len()
        )));
    }
    let mut kept = Vec::new();
    for page in pages {
        let page = page.trim();
        let url = Url::parse(page).map_err(|_| {
            Error::invalid("pages: write whole addresses, like https://shop.example/")
        })?;
        Target::new(&url).map_err(|why| Error::Invalid(format!("pages: {why}")))?;
        if page.len() > crate::outbound::target::MAX_PATH {
            return Err(Error::invalid("pages: an address is too long"));
        }
        let url = url.to_string();
        if !kept.contains(&url) {
            kept.push(url);
        }
    }
    Ok(kept)
}
