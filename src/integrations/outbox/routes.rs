//! What is told, over HTTP.

use axum::{Extension, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Message, NO_CHANNEL, ReportWish,
    store::{self, Delivery, Kind},
};
use crate::{
    app::App,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
    integrations::{
        Duty, Integrations,
        message::{Channel, channels},
    },
};

pub(in crate::integrations) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_channels))
        .routes(routes!(send_message))
        .routes(routes!(make_report))
        .routes(routes!(list_deliveries))
        .routes(routes!(read_delivery))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MessageChannels)]
struct Channels {
    channels: Vec<Channel>,
}

/// The channels that messages may go to.
#[utoipa::path(
    get, path = "/api/integrations/channels",
    responses(
        (status = 200, body = Channels),
        (status = 409, body = Problem, description = "nothing serves messages"),
        (status = 503, body = Problem, description = "Slack does not answer"),
    )
)]
async fn list_channels(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
) -> Result<Json<Channels>> {
    let serving = integrations.serving(who.caller.organization, Duty::Messages).await?;
    let (connection, _) = serving.ok_or_else(|| Error::Conflict(NO_CHANNEL.to_owned()))?;
    Ok(Json(Channels { channels: channels(&connection).await? }))
}

/// Sends a message to a channel, within a second or two: `GET` of the delivery tells what came
/// of it. With a `key` it is sent once, however often it is asked for.
#[utoipa::path(
    post, path = "/api/integrations/messages", request_body = Message,
    responses(
        (status = 202, body = Delivery), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "nothing serves messages"),
    )
)]
async fn send_message(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
    Json(message): Json<Message>,
) -> Result<(StatusCode, Json<Delivery>)> {
    Ok((StatusCode::ACCEPTED, Json(integrations.say(&who.caller, message).await?)))
}

/// Writes a report of the last days and puts it into the drive.
#[utoipa::path(
    post, path = "/api/integrations/report", request_body = ReportWish,
    responses(
        (status = 202, body = Delivery), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "nothing keeps reports"),
    )
)]
async fn make_report(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
    Json(wish): Json<ReportWish>,
) -> Result<(StatusCode, Json<Delivery>)> {
    Ok((StatusCode::ACCEPTED, Json(integrations.report(&who.caller, wish).await?)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// Only these.
    #[param(inline)]
    kind: Option<Kind>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DeliveryPage {
    deliveries: Vec<Delivery>,
    next: Option<String>,
}

/// What was told or is to be, newest first: messages and reports, each with what came of it.
#[utoipa::path(
    get, path = "/api/integrations/deliveries", params(DeliveriesQuery),
    responses((status = 200, body = DeliveryPage), (status = 400, body = Problem))
)]
async fn list_deliveries(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<DeliveryPage>> {
    let limit = paging::limit(query.limit, 50);
    let before: Option<i64> = query.cursor.as_deref().map(paging::position).transpose()?;
    let before = before.unwrap_or(i64::MAX);
    let found = store::deliveries(&app.db, who.caller.organization, query.kind, before, limit);
    let deliveries = found.await.map_err(Error::from)?;
    let next = paging::after(&deliveries, limit, |one| one.id)?;
    Ok(Json(DeliveryPage { deliveries, next }))
}

/// One of them, with all that it says.
#[utoipa::path(
    get, path = "/api/integrations/deliveries/{id}",
    params(("id" = i64, Path, description = "the delivery's id")),
    responses((status = 200, body = Delivery), (status = 404, body = Problem))
)]
async fn read_delivery(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Delivery>> {
    let found = store::find(&app.db, who.caller.organization, id).await.map_err(Error::from)?;
    Ok(Json(found.ok_or(Error::NotFound("delivery"))?))
}
