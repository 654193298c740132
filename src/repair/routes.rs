//! The feature's HTTP: starting runs, following them, reading what became of them.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Repair,
    report::{self, Report},
    store::{
        attempts::{self, Attempt},
        events::RunEvent,
        recipes::{self, Recipe},
        runs::{self, Run, Trigger},
        watches::{self, Watched},
    },
};
use crate::{
    app::App,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(start_run))
        .routes(routes!(list_runs))
        .routes(routes!(read_run))
        .routes(routes!(follow_run))
        .routes(routes!(read_report))
        .routes(routes!(list_attempts))
        .routes(routes!(list_recipes))
        .routes(routes!(list_watches))
}

/// The longest that a call waits for a run, in seconds.
const MOST_WAIT: u64 = 120;

/// Which errors. Without any of these: all that are open.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = RepairWish)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// The group of this event.
    error_id: Option<i64>,
    group_ids: Option<Vec<i64>>,
    app: Option<String>,
    /// Tells what would happen, and does nothing.
    #[serde(default)]
    dry_run: bool,
    /// Who asks; "api" unless it is said.
    trigger: Option<Trigger>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// Seconds to wait for the report, at most 120; without it the answer comes at once.
    wait: Option<u64>,
}

/// A run that was started, or that was under way for the same errors.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Started {
    success: bool,
    run_id: i64,
    #[serde(flatten)]
    run: Run,
}

/// Tests open errors: diagnoses each cause once, does what is allowed about it, and marks
/// as resolved what is proven to be. 202 with the run; 200 with the report with `?wait=`
/// or for a dry run.
#[utoipa::path(
    post, path = "/api/auto-repair/start", params(Wait), request_body = Wish,
    responses(
        (status = 200, description = "the report", body = Report),
        (status = 202, description = "the run goes on", body = Started),
        (status = 400, body = Problem), (status = 404, body = Problem),
    )
)]
async fn start_run(
    Operator { caller }: Operator,
    State(app): State<App>,
    Extension(repair): Extension<Repair>,
    Query(wait): Query<Wait>,
    Json(wish): Json<Wish>,
) -> Result<Response> {
    let organization = caller.organization;
    app.apps.check(&app.config, wish.app.as_deref())?;
    let scope = repair.scope(organization, wish.error_id, wish.group_ids, wish.app).await?;
    if wish.dry_run {
        return Ok(Json(repair.preview(organization, &scope).await?).into_response());
    }
    let trigger = match wish.trigger {
        Some(Trigger::Cli) => Trigger::Cli,
        _ => Trigger::Api,
    };
    let by = caller.author();
    let run = repair.start(organization, trigger, &by, &scope).await?;
    if let Some(seconds) = wait.wait {
        let most = Duration::from_secs(seconds.min(MOST_WAIT));
        // The answer has to leave before the server's own limit.
        let most = most.min(app.config.http.request_timeout.saturating_sub(Duration::from_secs(1)));
        if repair.settled(organization, run.id, most).await? {
            return Ok(Json(repair.report(organization, run.id).await?).into_response());
        }
    }
    let run = runs::find(&app.db, organization, run.id)
        .await
        .map_err(Error::from)?
        .ok_or(Error::NotFound("run"))?;
    let started = Started { success: true, run_id: run.id, run };
    Ok((StatusCode::ACCEPTED, Json(started)).into_response())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Runs {
    runs: Vec<Run>,
    next: Option<String>,
}

/// Runs, the newest first.
#[utoipa::path(
    get, path = "/api/auto-repair/runs", params(Page),
    responses((status = 200, body = Runs), (status = 400, body = Problem))
)]
async fn list_runs(
    Reader { caller }: Reader,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Result<Json<Runs>> {
    let limit = paging::limit(page.limit, 20);
    let before = page.cursor.as_deref().map(paging::position).transpose()?.unwrap_or(i64::MAX);
    let runs =
        runs::list(&app.db, caller.organization, before, limit).await.map_err(Error::from)?;
    let next = paging::after(&runs, limit, |run| run.id)?;
    Ok(Json(Runs { runs, next }))
}

/// What became of a run so far. `Accept: text/markdown` gives it for people.
#[utoipa::path(
    get, path = "/api/auto-repair/runs/{id}",
    responses((status = 200, body = Report), (status = 404, body = Problem))
)]
async fn read_run(
    Reader { caller }: Reader,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Response> {
    let report = repair.report(caller.organization, id).await?;
    let wants_text = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/markdown"));
    Ok(if wants_text { as_markdown(&report) } else { Json(report).into_response() })
}

/// The report of a run as Markdown, to hand on.
#[utoipa::path(
    get, path = "/api/auto-repair/runs/{id}/report.md",
    responses((status = 200, body = String, content_type = "text/markdown"),
              (status = 404, body = Problem))
)]
async fn read_report(
    Reader { caller }: Reader,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
) -> Result<Response> {
    Ok(as_markdown(&repair.report(caller.organization, id).await?))
}

fn as_markdown(report: &Report) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
    (kind, report::markdown(report)).into_response()
}

/// The steps of a run as they happen: events `started`, `diagnosed`, `round`, `action`,
/// `verdict`, `finished`. Begins after `Last-Event-ID`, else with the first; ends when the
/// run has.
#[utoipa::path(
    get, path = "/api/auto-repair/runs/{id}/events",
    responses((status = 200, description = "what happens, as it does", body = RunEvent, content_type = "text/event-stream"),
              (status = 404, body = Problem))
)]
async fn follow_run(
    Reader { caller }: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>> + use<>>> {
    let run = runs::find(&app.db, caller.organization, id).await.map_err(Error::from)?;
    run.ok_or(Error::NotFound("run"))?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let steps = super::steps(app, id, last.unwrap_or(0)).map(|step| {
        let event = Event::default().id(step.seq.to_string()).event(step.kind);
        Ok(event.data(serde_json::json!({ "at": step.at, "data": step.data }).to_string()))
    });
    Ok(Sse::new(steps).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Attempts {
    attempts: Vec<AttemptOf>,
}

/// An attempt at a group.
#[derive(Serialize, utoipa::ToSchema)]
struct AttemptOf {
    id: i64,
    run_id: i64,
    error_id: i64,
    status: Option<super::verdict::Verdict>,
    why: Option<String>,
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    probes: Option<serde_json::Value>,
    evidence_id: Option<i64>,
    started_at: chrono::DateTime<chrono::Utc>,
    finished_at: Option<chrono::DateTime<chrono::Utc>>,
    /// False: the group came back within the watch.
    held: Option<bool>,
}

impl From<Attempt> for AttemptOf {
    fn from(attempt: Attempt) -> Self {
        Self {
            id: attempt.id,
            run_id: attempt.run_id,
            error_id: attempt.error_id,
            status: attempt.verdict,
            why: attempt.why,
            probes: attempt.checks,
            evidence_id: attempt.evidence_id,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            held: attempt.held,
        }
    }
}

/// What was tried about a group, the newest attempt first.
#[utoipa::path(
    get, path = "/api/diagnostics/groups/{id}/attempts",
    responses((status = 200, body = Attempts), (status = 404, body = Problem))
)]
async fn list_attempts(
    Reader { caller }: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Attempts>> {
    let organization = caller.organization;
    let group =
        crate::errors::store::groups::find(&app.db, organization, id).await.map_err(Error::from)?;
    let group = group.ok_or(Error::NotFound("group"))?;
    let found =
        attempts::of_group(&app.db, organization, group.id, 100).await.map_err(Error::from)?;
    Ok(Json(Attempts { attempts: found.into_iter().map(AttemptOf::from).collect() }))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Recipes {
    recipes: Vec<Recipe>,
}

/// What was done about causes, and how often it held.
#[utoipa::path(
    get, path = "/api/auto-repair/recipes",
    responses((status = 200, body = Recipes))
)]
async fn list_recipes(Reader { caller }: Reader, State(app): State<App>) -> Result<Json<Recipes>> {
    let recipes = recipes::list(&app.db, caller.organization).await.map_err(Error::from)?;
    Ok(Json(Recipes { recipes }))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Watches {
    watches: Vec<Watched>,
}

/// Resolutions that are watched, those that end first first.
#[utoipa::path(
    get, path = "/api/auto-repair/watches",
    responses((status = 200, body = Watches))
)]
async fn list_watches(Reader { caller }: Reader, State(app): State<App>) -> Result<Json<Watches>> {
    let watches = watches::open(&app.db, caller.organization, paging::MAX_LIMIT).await;
    let watches = watches.map_err(Error::from)?;
    Ok(Json(Watches { watches }))
}
