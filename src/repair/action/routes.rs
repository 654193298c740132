//! Actions over HTTP: looking at what would run, deciding about it, and the kill switch.

use axum::{Extension, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ActionRun, Actions, Standing, Status, execute::Started, store};
use crate::{
    app::App,
    auth::{Caller, audit::Actor},
    clock,
    error::Error,
    http::{Admin, Json, Operator, Path, Problem, Query, Reader, Result, paging},
    repair::Repair,
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_actions))
        .routes(routes!(read_action))
        .routes(routes!(approve_action))
        .routes(routes!(reject_action))
        .routes(routes!(undo_action))
        .routes(routes!(stop_actions))
        .routes(routes!(let_actions_go))
}

/// The longest reason, in bytes.
const MAX_REASON: usize = 4096;

/// The same name, with the address of the request.
fn by<'a>(name: &'a str, caller: &Caller) -> Actor<'a> {
    Actor { name, address: caller.address }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ActionsQuery {
    /// "proposed" for those that wait for a person.
    status: Option<Status>,
    /// Default 20, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ActionPage {
    actions: Vec<ActionRun>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// Actions, newest first, with exactly what each runs.
#[utoipa::path(
    get, path = "/api/auto-repair/actions", params(ActionsQuery),
    responses((status = 200, body = ActionPage))
)]
async fn list_actions(
    Reader { caller }: Reader,
    State(app): State<App>,
    Query(query): Query<ActionsQuery>,
) -> Result<Json<ActionPage>> {
    let limit = paging::limit(query.limit, 20);
    let before = query.cursor.as_deref().map(paging::position).transpose()?.unwrap_or(i64::MAX);
    let (organization, now) = (caller.organization, clock::now());
    let actions = store::list(&app.db, organization, query.status, before, limit, now)
        .await
        .map_err(Error::from)?;
    let next = paging::after(&actions, limit, |action| action.id)?;
    Ok(Json(ActionPage { actions, next }))
}

/// One action: what runs, for whom, and what became of it.
#[utoipa::path(
    get, path = "/api/auto-repair/actions/{id}",
    params(("id" = i64, Path, description = "the action's id")),
    responses((status = 200, body = ActionRun), (status = 404, body = Problem))
)]
async fn read_action(
    Reader { caller }: Reader,
    Extension(actions): Extension<Actions>,
    Path(id): Path<i64>,
) -> Result<Json<ActionRun>> {
    Ok(Json(actions.find(caller.organization, id).await?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Word {
    /// The `hash` of the action that was looked at.
    hash: String,
    reason: Option<String>,
}

impl Word {
    fn checked(self) -> Result<Self> {
        if self.reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON) {
            return Err(Error::invalid(format!("reason has at most {MAX_REASON} bytes")).into());
        }
        // Text of a database cannot hold it.
        let reason = self.reason.map(|reason| reason.replace('\0', "\u{fffd}"));
        Ok(Self { reason, hash: self.hash.replace('\0', "\u{fffd}") })
    }
}

/// Lets a proposal run, once. The answer does not wait for the run.
#[utoipa::path(
    post, path = "/api/auto-repair/actions/{id}/approve", request_body = Word,
    params(("id" = i64, Path, description = "the action's id")),
    responses(
        (status = 200, body = ActionRun),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "another hash, expired, or decided already")
    )
)]
async fn approve_action(
    Operator { caller }: Operator,
    Extension(actions): Extension<Actions>,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    Json(word): Json<Word>,
) -> Result<Json<ActionRun>> {
    let word = word.checked()?;
    let (organization, name) = (caller.organization, caller.author());
    let by = by(&name, &caller);
    let run = actions.approve(organization, id, &word.hash, by, word.reason.as_deref()).await?;
    repair.decided(organization, run.run_id).await?;
    Ok(Json(run))
}

/// Refuses a proposal, for good.
#[utoipa::path(
    post, path = "/api/auto-repair/actions/{id}/reject", request_body = Word,
    params(("id" = i64, Path, description = "the action's id")),
    responses(
        (status = 200, body = ActionRun),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "another hash, expired, or decided already")
    )
)]
async fn reject_action(
    Operator { caller }: Operator,
    Extension(actions): Extension<Actions>,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    Json(word): Json<Word>,
) -> Result<Json<ActionRun>> {
    let word = word.checked()?;
    let (organization, name) = (caller.organization, caller.author());
    let by = by(&name, &caller);
    let run = actions.reject(organization, id, &word.hash, by, word.reason.as_deref()).await?;
    repair.decided(organization, run.run_id).await?;
    Ok(Json(run))
}

/// Takes an action back by the action that its `undo` names. The answer does not wait for
/// the run; the same again gives what became of it.
#[utoipa::path(
    post, path = "/api/auto-repair/actions/{id}/undo",
    params(("id" = i64, Path, description = "the id of the action that is taken back")),
    responses(
        (status = 202, body = ActionRun, description = "the undoing action runs"),
        (status = 200, body = ActionRun, description = "it was run before"),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "nothing to take back, or not now")
    )
)]
async fn undo_action(
    Operator { caller }: Operator,
    Extension(actions): Extension<Actions>,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Json<ActionRun>)> {
    let (organization, name) = (caller.organization, caller.author());
    let by = by(&name, &caller);
    let undo = actions.prepare_undo(organization, id, by).await?;
    Ok(match actions.begin(organization, undo, by).await? {
        Started::Running(run, _) => (StatusCode::ACCEPTED, Json(run)),
        Started::Past(run) => (StatusCode::OK, Json(run)),
    })
}

/// Stops all actions of all replicas at once; running ones are ended.
#[utoipa::path(post, path = "/api/auto-repair/stop", responses((status = 200, body = Standing)))]
async fn stop_actions(
    Admin { caller }: Admin,
    Extension(actions): Extension<Actions>,
) -> Result<Json<Standing>> {
    let name = caller.author();
    Ok(Json(actions.stop(caller.organization, by(&name, &caller)).await?))
}

/// Lets actions run again. What was ended stays ended.
#[utoipa::path(
    post, path = "/api/auto-repair/go",
    responses(
        (status = 200, body = Standing),
        (status = 409, body = Problem, description = "the file stop-actions is there")
    )
)]
async fn let_actions_go(
    Admin { caller }: Admin,
    Extension(actions): Extension<Actions>,
) -> Result<Json<Standing>> {
    let name = caller.author();
    Ok(Json(actions.go(caller.organization, by(&name, &caller)).await?))
}
