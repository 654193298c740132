//! Actions over HTTP: looking at what would run, deciding about it, and the kill switch.

use axum::{Extension, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ActionRun, Actions, Decided, Edit, Standing, Status, Word};
use crate::{
    app::App,
    http::{Admin, Json, Operator, Path, Problem, Query, Reader, Result, paging},
    repair::Repair,
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_actions))
        .routes(routes!(read_action))
        .routes(routes!(approve_action))
        .routes(routes!(reject_action))
        .routes(routes!(edit_action))
        .routes(routes!(undo_action))
        .routes(routes!(stop_actions))
        .routes(routes!(let_actions_go))
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
    let actions = Actions::list(&app.db, caller.organization, query.status, before, limit).await?;
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
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    Json(word): Json<Word>,
) -> Result<Json<ActionRun>> {
    Ok(Json(repair.decide(&caller, id, Decided::Approved, word).await?))
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
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    Json(word): Json<Word>,
) -> Result<Json<ActionRun>> {
    Ok(Json(repair.decide(&caller, id, Decided::Rejected, word).await?))
}

/// Gives a proposal other values. They are a proposal of their own, which waits for an approval
/// in the place of this one.
#[utoipa::path(
    post, path = "/api/auto-repair/actions/{id}/edit", request_body = Edit,
    params(("id" = i64, Path, description = "the action's id")),
    responses(
        (status = 200, body = ActionRun, description = "what waits now"),
        (status = 400, body = Problem, description = "values that the action does not take"),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "another hash, expired, or decided already")
    )
)]
async fn edit_action(
    Operator { caller }: Operator,
    Extension(actions): Extension<Actions>,
    Path(id): Path<i64>,
    Json(edit): Json<Edit>,
) -> Result<Json<ActionRun>> {
    Ok(Json(actions.edit(&caller, id, edit).await?))
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
    let (began, run) = actions.take_back(&caller, id).await?;
    let status = if began { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(run)))
}

/// Stops all actions of all replicas at once; running ones are ended.
#[utoipa::path(post, path = "/api/auto-repair/stop", responses((status = 200, body = Standing)))]
async fn stop_actions(
    Admin { caller }: Admin,
    Extension(actions): Extension<Actions>,
) -> Result<Json<Standing>> {
    Ok(Json(actions.stop(&caller, None).await?))
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
    Ok(Json(actions.go(&caller, None).await?))
}
