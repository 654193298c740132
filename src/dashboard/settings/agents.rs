//! The eleven agents at one look: which are on, when each runs, and how to change it.

use std::collections::BTreeMap;

use askama::Template;
use axum::{Extension, response::Response};

use super::{Page, Shell, filters, html};
use crate::{
    http::{Reader, Result},
    marketing::agent::{AGENTS, Agent, Agents, Key, Paused, Standing},
};

#[derive(Template)]
#[template(path = "settings/agents.html")]
struct All {
    shell: Shell,
    section: &'static str,
    standings: BTreeMap<Key, Standing>,
    paused: Option<Paused>,
}

impl All {
    fn agents(&self) -> Vec<(&'static Agent, &Standing)> {
        AGENTS.iter().filter_map(|agent| Some((agent, self.standings.get(&agent.key)?))).collect()
    }

    /// Its schedule is the scheduled repair of the configuration.
    fn is_set_elsewhere(agent: &Agent) -> bool {
        agent.key == Key::AppIntelligence
    }
}

pub(super) async fn show(
    page: Page<Reader>,
    Extension(agents): Extension<Agents>,
) -> Result<Response> {
    html(&All {
        section: "agents",
        standings: agents.standings(page.caller.organization).await?,
        paused: agents.paused().await?,
        shell: page.shell,
    })
}
