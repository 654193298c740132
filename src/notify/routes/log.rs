//! What happened, what was told of it, and that somebody looks at it.

use axum::{Extension, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
    notify::{
        Delivery, Event, Notify, State as Doing, Topic,
        escalate::acknowledge,
        store::{
            deliveries::{self, Filter},
            events,
        },
    },
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_notify_events))
        .routes(routes!(read_notify_event))
        .routes(routes!(acknowledge_notify_event))
        .routes(routes!(list_notify_deliveries))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Only these.
    #[param(inline)]
    kind: Option<Topic>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotifyEventPage)]
struct EventPage {
    events: Vec<Event>,
    next: Option<String>,
}

/// What happened while a channel wanted to hear of it, newest first; for 30 days.
#[utoipa::path(
    get, path = "/api/notifications/events", params(EventsQuery),
    responses((status = 200, body = EventPage), (status = 400, body = Problem))
)]
async fn list_notify_events(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<EventPage>> {
    let limit = paging::limit(query.limit, 50);
    let before: i64 =
        query.cursor.as_deref().map(paging::position).transpose()?.unwrap_or(i64::MAX);
    let organization = who.caller.organization;
    let events = events::list(&app.db, organization, query.kind, before, limit).await?;
    let next = paging::after(&events, limit, |event| event.id)?;
    Ok(Json(EventPage { events, next }))
}

/// Something that happened.
#[utoipa::path(
    get, path = "/api/notifications/events/{id}",
    params(("id" = i64, Path, description = "the event's id")),
    responses((status = 200, body = Event), (status = 404, description = "no such event"))
)]
async fn read_notify_event(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Event>> {
    let found = events::find(&app.db, who.caller.organization, id).await?;
    Ok(Json(found.ok_or(Error::NotFound("event"))?))
}

/// Says that somebody looks at it: it does not escalate.
#[utoipa::path(
    post, path = "/api/notifications/events/{id}/acknowledge",
    params(("id" = i64, Path, description = "the event's id")),
    responses((status = 204), (status = 404, description = "no such event"))
)]
async fn acknowledge_notify_event(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    acknowledge(&notify, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// A channel's id.
    channel: Option<i64>,
    /// An event's id.
    event: Option<i64>,
    /// Only these.
    #[param(inline)]
    state: Option<Doing>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotifyDeliveryPage)]
struct DeliveryPage {
    deliveries: Vec<Delivery>,
    next: Option<String>,
}

/// What was told to whom and what came of it, newest first; for 30 days.
#[utoipa::path(
    get, path = "/api/notifications/deliveries", params(DeliveriesQuery),
    responses((status = 200, body = DeliveryPage), (status = 400, body = Problem))
)]
async fn list_notify_deliveries(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<DeliveryPage>> {
    let limit = paging::limit(query.limit, 50);
    let before: i64 =
        query.cursor.as_deref().map(paging::position).transpose()?.unwrap_or(i64::MAX);
    let filter = Filter { channel: query.channel, event: query.event, state: query.state };
    let organization = who.caller.organization;
    let deliveries = deliveries::list(&app.db, organization, filter, before, limit).await?;
    let next = paging::after(&deliveries, limit, |one| one.id)?;
    Ok(Json(DeliveryPage { deliveries, next }))
}
