//! Consent and the suppression list over HTTP.

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Ask, Said, Suppressed, Word, ask, history, set, suppress, suppressed, unsuppress};
use crate::{
    app::App,
    contacts::Contact,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_consent, set_consent))
        .routes(routes!(ask_consent))
        .routes(routes!(list_suppressions, add_suppression))
        .routes(routes!(remove_suppression))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Consents {
    /// Newest first; at most 500.
    consents: Vec<Word>,
}

/// What somebody said about mail, each word with where it was given.
#[utoipa::path(
    get, path = "/api/contacts/{id}/consent",
    params(("id" = i64, Path, description = "the contact's id")),
    responses((status = 200, body = Consents), (status = 404, description = "no such contact"))
)]
async fn list_consent(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Consents>> {
    let consents = history(&app.db, who.caller.organization, id).await?;
    Ok(Json(Consents { consents }))
}

/// Notes what somebody said about mail, and where. A no puts the address on the suppression list.
#[utoipa::path(
    post, path = "/api/contacts/{id}/consent",
    params(("id" = i64, Path, description = "the contact's id")), request_body = Said,
    responses(
        (status = 200, body = Contact),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, description = "no such contact"),
        (status = 409, body = Problem, description = "the address is on the suppression list"),
    )
)]
async fn set_consent(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(said): Json<Said>,
) -> Result<Json<Contact>> {
    Ok(Json(set(&app, &who.caller, id, said).await?))
}

/// Asks the person by mail (double opt-in). The link works once, for 48 hours; until it is
/// followed, consent is pending.
#[utoipa::path(
    post, path = "/api/contacts/{id}/confirmation",
    params(("id" = i64, Path, description = "the contact's id")), request_body = Ask,
    responses(
        (status = 200, body = Contact, description = "the mail server took the question"),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, description = "no such contact"),
        (status = 409, body = Problem, description = "it agreed, said no, or was asked lately; \
                                                      or mail is not set up"),
        (status = 503, body = Problem, description = "the mail server did not take it"),
    )
)]
async fn ask_consent(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(question): Json<Ask>,
) -> Result<Json<Contact>> {
    Ok(Json(ask(&app, &who.caller, id, &question).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Default 50, at most 200.
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Suppressions {
    suppressions: Vec<Suppressed>,
    next: Option<String>,
}

/// Addresses that are never written to, the newest first: their keyed hashes, since the list
/// outlives the people on it.
#[utoipa::path(
    get, path = "/api/suppressions", params(ListQuery),
    responses((status = 200, body = Suppressions))
)]
async fn list_suppressions(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Suppressions>> {
    let below: Option<(DateTime<Utc>, String)> =
        query.cursor.as_deref().map(paging::position).transpose()?;
    let limit = paging::limit(query.limit, 50);
    let suppressions = suppressed(&app.db, who.caller.organization, below, limit).await?;
    let next = paging::after(&suppressions, limit, |last| (last.at, last.email_hash.clone()))?;
    Ok(Json(Suppressions { suppressions, next }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AddSuppression {
    email: String,
}

/// Puts an address on the list. Whoever has it counts as having said no.
#[utoipa::path(
    post, path = "/api/suppressions", request_body = AddSuppression,
    responses(
        (status = 204, description = "it is on the list"),
        (status = 400, body = Problem, description = "no address"),
    )
)]
async fn add_suppression(
    who: Operator,
    State(app): State<App>,
    Json(add): Json<AddSuppression>,
) -> Result<StatusCode> {
    suppress(&app, &who.caller, &add.email).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RemoveSuppression {
    email: String,
    /// Why: "asked for it by telephone". Not empty.
    reason: String,
}

/// Takes an address off the list. That makes nobody agree: note the new consent with where it was
/// given.
#[utoipa::path(
    post, path = "/api/suppressions/remove", request_body = RemoveSuppression,
    responses(
        (status = 204, description = "it is off the list"),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, description = "the address is not on the list"),
    )
)]
async fn remove_suppression(
    who: Operator,
    State(app): State<App>,
    Json(remove): Json<RemoveSuppression>,
) -> Result<StatusCode> {
    unsuppress(&app, &who.caller, &remove.email, &remove.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
