//! An agent: what it is for, what it reads and when, what its runs found, and its drafts.

mod deeds;
mod shown;

use askama::Template;
use axum::{
    Extension, Router,
    response::Response,
    routing::{get, post},
};
use http::HeaderMap;
use serde::Deserialize;

use super::{Form, Page, Shell, Told, filters, html, is_fragment, see_other, when};
use crate::{
    app::App,
    error::Error,
    http::{Path, Query, Reader, Result, paging},
    marketing::agent::{Agent, Agents, Key, Standing, store::Run},
};
use shown::Shown;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/agents/pause", post(deeds::pause))
        .route("/agents/resume", post(deeds::resume))
        .route("/agents/{key}", get(show))
        .route("/agents/{key}/run", post(deeds::run))
        .route("/agents/{key}/set", post(deeds::set))
        .route("/agents/runs/{id}", get(show_run))
        .route("/agents/runs/{id}/take", post(deeds::take))
}

/// Runs on one page.
const LIMIT: i64 = 15;

#[derive(Deserialize)]
struct Wanted {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "agents/agent.html", blocks = ["live"])]
struct Show {
    shell: Shell,
    agent: &'static Agent,
    standing: Standing,
    /// The newest, or the one that was asked for.
    shown: Option<Shown>,
    runs: Vec<Run>,
    next: Option<String>,
    /// It is the page of one run.
    is_run: bool,
}

impl Show {
    /// Where this page is, for what refreshes it.
    fn here(&self) -> String {
        match &self.shown {
            Some(shown) if self.is_run => format!("/agents/runs/{}", shown.run.id),
            _ => format!("/agents/{}", self.agent.key.as_str()),
        }
    }

    fn is_going(&self) -> bool {
        self.shown.iter().any(|shown| !shown.run.status.is_settled())
            || self.runs.iter().any(|run| !run.status.is_settled())
    }

    fn fetches(&self) -> bool {
        self.agent.key == Key::ContentSeo
    }

    /// Its schedule is the scheduled repair of the configuration.
    fn is_repair(&self) -> bool {
        self.agent.key == Key::AppIntelligence
    }
}

/// "3 tables, 27 rows".
fn read(run: &Run) -> String {
    let rows: i64 = run.inputs.iter().map(|input| input.rows).sum();
    match run.inputs.len() {
        0 => String::new(),
        tables => format!("{tables} tables, {rows} rows"),
    }
}

fn took(run: &Run) -> String {
    match (run.started_at, run.finished_at) {
        (Some(from), Some(to)) => when::span(to - from),
        _ => String::new(),
    }
}

fn known(key: &str) -> Result<Key> {
    Ok(key.parse().map_err(|()| Error::NotFound("agent"))?)
}

async fn show(
    page: Page<Reader>,
    Extension(agents): Extension<Agents>,
    Path(key): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response> {
    let key = known(&key)?;
    let before = wanted.cursor.as_deref().map(paging::position).transpose()?;
    answer(page, &agents, key, None, before, &headers).await
}

async fn show_run(
    page: Page<Reader>,
    Extension(agents): Extension<Agents>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Response> {
    let run = agents.run(page.caller.organization, id).await?;
    answer(page, &agents, run.agent, Some(run), None, &headers).await
}

async fn answer(
    page: Page<Reader>,
    agents: &Agents,
    key: Key,
    run: Option<Run>,
    before: Option<i64>,
    headers: &HeaderMap,
) -> Result<Response> {
    let organization = page.caller.organization;
    let is_run = run.is_some();
    let runs = if is_run {
        Vec::new()
    } else {
        agents.runs(organization, key, before.unwrap_or(i64::MAX), LIMIT).await?
    };
    let next = paging::after(&runs, LIMIT, |run| run.id)?;
    let shown = run.or_else(|| runs.first().filter(|_| before.is_none()).cloned());
    let show = Show {
        agent: key.agent(),
        standing: agents.standing(organization, key).await?,
        shown: shown.map(Shown::new),
        runs,
        next,
        is_run,
        shell: page.shell,
    };
    if is_fragment(headers) {
        return html(&show.as_live());
    }
    html(&show)
}
