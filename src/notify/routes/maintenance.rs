//! Maintenance windows over HTTP.

use axum::Extension;
use http::StatusCode;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    http::{Json, Operator, Path, Problem, Reader, Result},
    notify::{
        Notify,
        maintenance::{Window, Wish, create, end, list, remove},
    },
};

/// Windows that are listed.
const LISTED: i64 = 200;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_maintenance, announce_maintenance))
        .routes(routes!(end_maintenance))
        .routes(routes!(remove_maintenance))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MaintenanceWindows)]
struct Windows {
    windows: Vec<Window>,
}

/// Maintenance windows, those that end last first; at most 200.
#[utoipa::path(
    get, path = "/api/notifications/maintenance", responses((status = 200, body = Windows))
)]
async fn list_maintenance(
    who: Reader,
    Extension(notify): Extension<Notify>,
) -> Result<Json<Windows>> {
    let windows = list(&notify.app().db, who.caller.organization, LISTED).await?;
    Ok(Json(Windows { windows }))
}

/// Announces a window: what happens in it is recorded, and told in one summary after its end.
#[utoipa::path(
    post, path = "/api/notifications/maintenance", request_body = Wish,
    responses(
        (status = 201, body = Window), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "there are too many"),
    )
)]
async fn announce_maintenance(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Window>)> {
    Ok((StatusCode::CREATED, Json(create(&notify, &who.caller, &wish).await?)))
}

/// Ends a window now.
#[utoipa::path(
    post, path = "/api/notifications/maintenance/{id}/end",
    params(("id" = i64, Path, description = "the window's id")),
    responses(
        (status = 200, body = Window), (status = 404, description = "no such window"),
        (status = 409, body = Problem, description = "it is over already"),
    )
)]
async fn end_maintenance(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Json<Window>> {
    Ok(Json(end(&notify, &who.caller, id).await?))
}

/// Removes a window. What it holds is told in a summary now.
#[utoipa::path(
    delete, path = "/api/notifications/maintenance/{id}",
    params(("id" = i64, Path, description = "the window's id")),
    responses((status = 204), (status = 404, description = "no such window"))
)]
async fn remove_maintenance(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    remove(&notify, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
