//! Calls as they are read over HTTP: all of them, or those that HighLevel took.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    SERVICE,
    store::{self, Call, Position, Wanted},
};
use crate::{
    app::App,
    auth::Caller,
    error::Error,
    http::{Json, Path, Problem, Query, Reader, Result, paging},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_calls))
        .routes(routes!(read_call))
        .routes(routes!(list_highlevel_calls))
        .routes(routes!(read_highlevel_call))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct CallsQuery {
    /// Only calls of this contact.
    contact_id: Option<i64>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallLogPage)]
struct Page {
    calls: Vec<Call>,
    next: Option<String>,
}

async fn list(
    app: &App,
    caller: &Caller,
    source: Option<&'static str>,
    query: &CallsQuery,
) -> Result<Json<Page>> {
    let limit = paging::limit(query.limit, 50);
    let after = query.cursor.as_deref().map(paging::position).transpose()?;
    let wanted = Wanted { source, contact: query.contact_id, after };
    let found = store::page(&app.db, caller.organization, wanted, limit).await;
    let calls = found.map_err(Error::from)?;
    let next = paging::after(&calls, limit, |call| Position { at: call.started_at, id: call.id })?;
    Ok(Json(Page { calls, next }))
}

async fn read(app: &App, caller: &Caller, source: Option<&str>, id: i64) -> Result<Json<Call>> {
    let found = store::find(&app.db, caller.organization, source, id).await.map_err(Error::from)?;
    Ok(Json(found.ok_or(Error::NotFound("call"))?))
}

/// All calls, wherever they come from, newest first, without their transcripts.
#[utoipa::path(
    get, path = "/api/call-logs", params(CallsQuery),
    responses((status = 200, body = Page), (status = 400, body = Problem))
)]
async fn list_calls(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<CallsQuery>,
) -> Result<Json<Page>> {
    list(&app, &who.caller, None, &query).await
}

/// One call with its transcript.
#[utoipa::path(
    get, path = "/api/call-logs/{id}",
    params(("id" = i64, Path, description = "the call's id")),
    responses((status = 200, body = Call), (status = 404, body = Problem))
)]
async fn read_call(who: Reader, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Call>> {
    read(&app, &who.caller, None, id).await
}

/// Calls that were fetched from HighLevel, newest first, without their transcripts.
#[utoipa::path(
    get, path = "/api/integrations/highlevel/calls", params(CallsQuery),
    responses((status = 200, body = Page), (status = 400, body = Problem))
)]
async fn list_highlevel_calls(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<CallsQuery>,
) -> Result<Json<Page>> {
    list(&app, &who.caller, Some(SERVICE), &query).await
}

/// One call that was fetched from HighLevel, with its transcript.
#[utoipa::path(
    get, path = "/api/integrations/highlevel/calls/{id}",
    params(("id" = i64, Path, description = "the call's id")),
    responses((status = 200, body = Call), (status = 404, body = Problem))
)]
async fn read_highlevel_call(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Call>> {
    read(&app, &who.caller, Some(SERVICE), id).await
}
