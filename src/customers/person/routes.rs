//! Everything about one customer, and forgetting them, over HTTP.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Erase, erase, everything};
use crate::{
    app::App,
    http::{Admin, Json, JsonFile, Path, Problem, Result},
};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export_customer)).routes(routes!(erase_customer))
}

/// Everything that Lux has about a customer: profile, notes, files, conversations, sessions, and
/// what vouches for them.
#[utoipa::path(
    post, path = "/api/customers/{id}/export",
    params(("id" = i64, Path, description = "the account's id")),
    responses(
        (status = 200, description = "one JSON document", content_type = "application/json"),
        (status = 404, description = "no such customer"),
    )
)]
async fn export_customer(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let document = everything(&app, &who.caller, id).await?;
    Ok(JsonFile(format!("customer-{id}.json"), document).into_response())
}

/// Forgets a customer for good: the account, profile, notes, files, conversations and sessions.
#[utoipa::path(
    post, path = "/api/customers/{id}/erase",
    params(("id" = i64, Path, description = "the account's id")), request_body = Erase,
    responses(
        (status = 204, description = "it is done"),
        (status = 400, body = Problem, description = "confirm is not the id"),
        (status = 404, description = "no such customer"),
        (status = 409, body = Problem, description = "operators and admins are not erased"),
    )
)]
async fn erase_customer(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(wish): Json<Erase>,
) -> Result<StatusCode> {
    erase(&app, &who.caller, id, wish).await?;
    Ok(StatusCode::NO_CONTENT)
}
