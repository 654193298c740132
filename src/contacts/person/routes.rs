//! Everything about one person, and forgetting them, over HTTP.

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
    OpenApiRouter::new().routes(routes!(export_person)).routes(routes!(erase_contact))
}

/// Everything that Lux has about a person: the contact, its history, consent, mails, requests of
/// the webhook, refused rows of files.
#[utoipa::path(
    post, path = "/api/contacts/{id}/export",
    params(("id" = i64, Path, description = "the contact's id")),
    responses(
        (status = 200, description = "one JSON document", content_type = "application/json"),
        (status = 404, description = "no such contact"),
    )
)]
async fn export_person(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let document = everything(&app, &who.caller, id).await?;
    Ok(JsonFile(format!("contact-{id}.json"), document).into_response())
}

/// Forgets a person for good: the contact, its history and what else their address stands in.
#[utoipa::path(
    post, path = "/api/contacts/{id}/erase",
    params(("id" = i64, Path, description = "the contact's id")), request_body = Erase,
    responses(
        (status = 204, description = "it is done"),
        (status = 400, body = Problem, description = "confirm is not the id"),
        (status = 404, description = "no such contact"),
    )
)]
async fn erase_contact(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(wish): Json<Erase>,
) -> Result<StatusCode> {
    erase(&app, &who.caller, id, wish).await?;
    Ok(StatusCode::NO_CONTENT)
}
