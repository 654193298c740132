//! Fetching calls, and taking contacts there, over HTTP, also at the addresses of the first
//! versions.

use axum::{Extension, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    contact::Taken,
    store::{self, SyncStatus},
};
use crate::{
    app::App,
    auth::Caller,
    clock,
    error::{Error, Result as Deed},
    http::{Json, Operator, Path, Problem, Reader, Result},
    integrations::{Card, Duty, Integrations, Trouble},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sync_calls))
        .routes(routes!(sync_calls_of_old))
        .routes(routes!(refresh_of_old))
        .routes(routes!(test_of_old))
        .routes(routes!(list_sync_statuses))
        .routes(routes!(take_contact))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallSync)]
struct Synced {
    /// False while it is under way, too.
    success: bool,
    /// What came of it, in words.
    message: String,
    /// Calls that were new or had changed.
    records: i64,
    /// It takes longer than anybody waits; `GET /api/integrations/sync-status` tells the end.
    under_way: bool,
    status: SyncStatus,
}

async fn sync(integrations: &Integrations, caller: &Caller) -> Result<(StatusCode, Json<Synced>)> {
    let asked = integrations.calls_now(caller.organization, &caller.author()).await?;
    let status = asked.status;
    let under_way = asked.is_under_way;
    let is_done = status.last_sync_status.as_deref() == Some("success");
    let synced = Synced {
        success: is_done && !under_way,
        message: if under_way {
            "the calls are being fetched".to_owned()
        } else {
            status.last_sync_message.clone()
        },
        records: if under_way { 0 } else { status.records_synced },
        under_way,
        status,
    };
    Ok((if under_way { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(synced)))
}

/// Fetches the calls now, and waits up to 20 seconds for them. Whether it went well stands in
/// the answer.
#[utoipa::path(
    post, path = "/api/integrations/highlevel/sync",
    responses(
        (status = 200, body = Synced),
        (status = 202, body = Synced, description = "it is under way"),
        (status = 409, body = Problem, description = "nothing serves calls"),
    )
)]
async fn sync_calls(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
) -> Result<(StatusCode, Json<Synced>)> {
    sync(&integrations, &who.caller).await
}

/// The same, at the address of the first versions.
#[utoipa::path(
    post, path = "/functions/v1/sync-highlevel-calls",
    responses(
        (status = 200, body = Synced),
        (status = 202, body = Synced, description = "it is under way"),
        (status = 409, body = Problem, description = "nothing serves calls"),
    )
)]
async fn sync_calls_of_old(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
) -> Result<(StatusCode, Json<Synced>)> {
    sync(&integrations, &who.caller).await
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = HighLevelToken)]
struct Renewed {
    success: bool,
    message: String,
    /// When the token ends; Lux renews it before.
    expires_at: Option<DateTime<Utc>>,
}

/// The card of what serves calls.
async fn serving(integrations: &Integrations, caller: &Caller) -> Deed<Card> {
    let served = integrations.serving(caller.organization, Duty::Calls).await?;
    let (connection, _) = served.ok_or(Trouble::NotConnected("HighLevel"))?;
    let organization = caller.organization;
    let (account, kind) = (connection.account(), connection.kind());
    crate::integrations::status::one(integrations, organization, account, kind).await
}

/// Renews the token of the HighLevel connection that serves calls.
#[utoipa::path(
    post, path = "/functions/v1/oauth-refresh",
    responses(
        (status = 200, body = Renewed),
        (status = 409, body = Problem, description = "it is not connected, or has to be again"),
        (status = 503, body = Problem, description = "HighLevel does not answer"),
    )
)]
async fn refresh_of_old(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
) -> Result<Json<Renewed>> {
    let served = integrations.serving(who.caller.organization, Duty::Calls).await?;
    let (connection, _) = served.ok_or(Trouble::NotConnected("HighLevel"))?;
    connection.renew().await?;
    let card = serving(&integrations, &who.caller).await?;
    let message = "the token was renewed".to_owned();
    Ok(Json(Renewed { success: true, message, expires_at: card.token_expiry }))
}

/// Asks HighLevel whether the connection that serves calls works.
#[utoipa::path(
    post, path = "/functions/v1/oauth-test",
    responses(
        (status = 200, body = Renewed),
        (status = 409, body = Problem, description = "it is not connected, or has to be again"),
        (status = 503, body = Problem, description = "HighLevel does not answer"),
    )
)]
async fn test_of_old(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
) -> Result<Json<Renewed>> {
    let served = integrations.serving(who.caller.organization, Duty::Calls).await?;
    let (connection, _) = served.ok_or(Trouble::NotConnected("HighLevel"))?;
    let identity = connection.identify().await?;
    let card = serving(&integrations, &who.caller).await?;
    let place = card.place.map(|it| it.name).or(identity.name);
    let message = match place {
        Some(name) => format!("HighLevel answers for {name}"),
        None => "HighLevel answers".to_owned(),
    };
    Ok(Json(Renewed { success: true, message, expires_at: card.token_expiry }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SyncStatuses {
    services: Vec<SyncStatus>,
    /// When this was read.
    at: DateTime<Utc>,
}

/// How fetching from services went last.
#[utoipa::path(
    get, path = "/api/integrations/sync-status",
    responses((status = 200, body = SyncStatuses))
)]
async fn list_sync_statuses(who: Reader, State(app): State<App>) -> Result<Json<SyncStatuses>> {
    let services = store::statuses(&app.db, who.caller.organization).await.map_err(Error::from)?;
    Ok(Json(SyncStatuses { services, at: clock::now() }))
}

/// Makes the contact in HighLevel, or brings it up to date there.
#[utoipa::path(
    post, path = "/api/contacts/{id}/highlevel",
    params(("id" = i64, Path, description = "the contact's id")),
    responses(
        (status = 200, body = Taken), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "HighLevel is not connected"),
        (status = 503, body = Problem, description = "HighLevel does not answer"),
    )
)]
async fn take_contact(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
    Path(id): Path<i64>,
) -> Result<Json<Taken>> {
    Ok(Json(integrations.take_contact(&who.caller, id).await?))
}
