//! The agents over HTTP: how they stand, what they found, and running them.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AGENTS, Agents, Change, Group, Key, Paused, Standing,
    store::{Run, Status, Trigger},
};
use crate::{
    app::App,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_agents))
        .routes(routes!(pause_agents))
        .routes(routes!(resume_agents))
        .routes(routes!(read_agent, change_agent))
        .routes(routes!(run_agent))
        .routes(routes!(read_run))
        .routes(routes!(take_proposal))
}

/// The longest that a call waits for a run, in seconds.
const MOST_WAIT: u64 = 120;

/// An agent, how it stands and what came of its newest run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Agent)]
struct Listed {
    #[schema(inline)]
    key: Key,
    name: &'static str,
    group: Group,
    purpose: &'static str,
    /// What it looks at in Lux.
    reads: &'static [&'static str],
    gives: &'static str,
    /// What it never does by itself.
    gate: &'static str,
    #[serde(flatten)]
    standing: Standing,
    last: Option<Last>,
}

/// A run in short.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AgentRunInShort)]
struct Last {
    id: i64,
    trigger: Trigger,
    requested_by: String,
    status: Status,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    /// "model" or "template".
    engine: Option<String>,
    outcome: String,
    error: Option<String>,
    /// What was read, with numbers of rows.
    inputs: Vec<Read>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AgentInputInShort)]
struct Read {
    id: String,
    name: String,
    rows: i64,
}

impl From<Run> for Last {
    fn from(run: Run) -> Self {
        let read = |it: super::input::Input| Read { id: it.id, name: it.name, rows: it.rows };
        Self {
            id: run.id,
            trigger: run.trigger,
            requested_by: run.requested_by,
            status: run.status,
            created_at: run.created_at,
            finished_at: run.finished_at,
            engine: run.engine,
            outcome: run.outcome,
            error: run.error,
            inputs: run.inputs.into_iter().map(read).collect(),
        }
    }
}

impl Listed {
    fn new(key: Key, standing: Standing, last: Option<Run>) -> Self {
        let agent = key.agent();
        Self {
            key,
            name: agent.name,
            group: agent.group,
            purpose: agent.purpose,
            reads: agent.reads,
            gives: agent.gives,
            gate: agent.gate,
            standing,
            last: last.map(Last::from),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Agents)]
struct List {
    agents: Vec<Listed>,
    /// By whom all schedules are paused, if they are.
    paused: Option<Paused>,
}

/// All eleven agents.
#[utoipa::path(get, path = "/api/agents", responses((status = 200, body = List)))]
async fn list_agents(
    Reader { caller }: Reader,
    Extension(agents): Extension<Agents>,
) -> Result<Json<List>> {
    let mut standings = agents.standings(caller.organization).await?;
    let mut newest = agents.newest(caller.organization).await?;
    let paused = agents.paused().await?;
    let listed = |key: Key| Some(Listed::new(key, standings.remove(&key)?, newest.remove(&key)));
    let agents = AGENTS.iter().map(|agent| agent.key).filter_map(listed).collect();
    Ok(Json(List { agents, paused }))
}

fn known(key: &str) -> Result<Key> {
    Ok(key.parse().map_err(|()| Error::NotFound("agent"))?)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Runs, 20 by default, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AgentWithRuns)]
struct WithRuns {
    #[serde(flatten)]
    agent: Listed,
    runs: Vec<Last>,
    next: Option<String>,
}

/// One agent with its runs, the newest first.
#[utoipa::path(
    get, path = "/api/agents/{key}", params(("key" = String, Path, description = "its key"), Page),
    responses((status = 200, body = WithRuns), (status = 404, body = Problem))
)]
async fn read_agent(
    Reader { caller }: Reader,
    Extension(agents): Extension<Agents>,
    Path(key): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<WithRuns>> {
    let (key, organization) = (known(&key)?, caller.organization);
    let limit = paging::limit(page.limit, 20);
    let before = page.cursor.as_deref().map(paging::position).transpose()?.unwrap_or(i64::MAX);
    let runs = agents.runs(organization, key, before, limit).await?;
    let next = paging::after(&runs, limit, |run| run.id)?;
    let standing = agents.standing(organization, key).await?;
    let newest = agents.newest(organization).await?.remove(&key);
    let agent = Listed::new(key, standing, newest);
    Ok(Json(WithRuns { agent, runs: runs.into_iter().map(Last::from).collect(), next }))
}

/// Switches an agent on or off, or sets when it runs and which pages it may fetch.
#[utoipa::path(
    patch, path = "/api/agents/{key}", request_body = Change,
    params(("key" = String, Path, description = "its key")),
    responses((status = 200, body = Standing), (status = 400, body = Problem),
              (status = 404, body = Problem))
)]
async fn change_agent(
    Operator { caller }: Operator,
    Extension(agents): Extension<Agents>,
    Path(key): Path<String>,
    Json(change): Json<Change>,
) -> Result<Json<Standing>> {
    if change.is_empty() {
        return Err(Error::invalid("say what is to change: on, schedule, timezone or pages").into());
    }
    Ok(Json(agents.change(&caller, known(&key)?, change).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// Seconds to wait for the run's end, at most 120; without it the answer comes at once.
    wait: Option<u64>,
}

/// Runs an agent now, or finds its run that is under way. 202 with the run; 200 if it is over.
#[utoipa::path(
    post, path = "/api/agents/{key}/runs",
    params(("key" = String, Path, description = "its key"), Wait),
    responses(
        (status = 200, description = "the run is over", body = Run),
        (status = 202, description = "the run goes on", body = Run),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the agent is off"),
    )
)]
async fn run_agent(
    Operator { caller }: Operator,
    State(app): State<App>,
    Extension(agents): Extension<Agents>,
    Path(key): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Response> {
    let key = known(&key)?;
    let organization = caller.organization;
    let by = caller.author();
    let mut run = agents.ask(organization, key, Trigger::Manual, &by).await?;
    if let Some(seconds) = wait.wait {
        let most = Duration::from_secs(seconds.min(MOST_WAIT));
        // The answer has to leave before the server's own limit.
        let most = most.min(app.config.http.request_timeout.saturating_sub(Duration::from_secs(1)));
        run = agents.settled(organization, run.id, most).await?;
    }
    let status = if run.status.is_settled() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(run)).into_response())
}

/// A run: what was read, what was found, and what is proposed.
#[utoipa::path(
    get, path = "/api/agents/runs/{id}", params(("id" = i64, Path, description = "the run's id")),
    responses((status = 200, body = Run), (status = 404, body = Problem))
)]
async fn read_run(
    Reader { caller }: Reader,
    Extension(agents): Extension<Agents>,
    Path(id): Path<i64>,
) -> Result<Json<Run>> {
    Ok(Json(agents.run(caller.organization, id).await?))
}

/// Makes what a proposal says: a draft of a campaign, or a segment. Nothing is sent.
#[utoipa::path(
    post, path = "/api/agents/runs/{id}/proposals/{number}",
    params(("id" = i64, Path, description = "the run's id"),
           ("number" = u32, Path, description = "which of its proposals, from 1")),
    responses((status = 200, body = Run), (status = 400, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn take_proposal(
    Operator { caller }: Operator,
    Extension(agents): Extension<Agents>,
    Path((id, number)): Path<(i64, u32)>,
) -> Result<Json<Run>> {
    let number = usize::try_from(number).map_err(anyhow::Error::from).map_err(Error::from)?;
    Ok(Json(agents.take(&caller, id, number).await?))
}

/// By whom all schedules are paused, if they are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AgentsPause)]
struct Pause {
    paused: Option<Paused>,
}

/// Pauses all schedules, the scheduled repair among them: none begins a run until they are
/// resumed. By hand agents still run.
#[utoipa::path(post, path = "/api/agents/pause", responses((status = 200, body = Pause)))]
async fn pause_agents(
    Operator { caller }: Operator,
    Extension(agents): Extension<Agents>,
) -> Result<Json<Pause>> {
    Ok(Json(Pause { paused: agents.pause(&caller).await? }))
}

/// Lets all schedules go on, from their next time on.
#[utoipa::path(post, path = "/api/agents/resume", responses((status = 200, body = Pause)))]
async fn resume_agents(
    Operator { caller }: Operator,
    Extension(agents): Extension<Agents>,
) -> Result<Json<Pause>> {
    agents.resume(&caller).await?;
    Ok(Json(Pause { paused: agents.paused().await? }))
}
