//! Channels: listing, making, changing, trying and removing them.

use axum::Extension;
use http::StatusCode;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    http::{Json, Operator, Path, Problem, Reader, Result},
    notify::{
        Channel, Notify, Tested, Wish,
        channel::{create, list, read, remove, replace},
        test::test,
    },
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_notify_channels, make_notify_channel))
        .routes(routes!(read_notify_channel, replace_notify_channel, remove_notify_channel))
        .routes(routes!(test_notify_channel))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotifyChannels)]
struct Channels {
    channels: Vec<Channel>,
}

/// All channels by which people and programs are told what happens; at most 50.
#[utoipa::path(get, path = "/api/notifications/channels", responses((status = 200, body = Channels)))]
async fn list_notify_channels(
    who: Reader,
    Extension(notify): Extension<Notify>,
) -> Result<Json<Channels>> {
    let channels = list(notify.app(), who.caller.organization).await?;
    Ok(Json(Channels { channels }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotifyChannelMade)]
struct Made {
    channel: Channel,
    /// Of a webhook, shown this once. Deliveries carry `X-Lux-Signature: t=SECONDS,v1=HEX`, an
    /// HMAC-SHA256 under this key over "SECONDS.BODY".
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Makes a channel. Where a webhook may post is a setting: `[hooks] allowed`.
#[utoipa::path(
    post, path = "/api/notifications/channels", request_body = Wish,
    responses(
        (status = 201, body = Made), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the name is taken, or there are too many"),
    )
)]
async fn make_notify_channel(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Made>)> {
    let (channel, secret) = create(notify.app(), &who.caller, &wish).await?;
    Ok((StatusCode::CREATED, Json(Made { channel, secret })))
}

/// A channel.
#[utoipa::path(
    get, path = "/api/notifications/channels/{id}",
    params(("id" = i64, Path, description = "the channel's id")),
    responses((status = 200, body = Channel), (status = 404, description = "no such channel"))
)]
async fn read_notify_channel(
    who: Reader,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Json<Channel>> {
    Ok(Json(read(notify.app(), who.caller.organization, id).await?))
}

/// Replaces a channel. A webhook whose `url` is left out keeps its address; its key stays.
#[utoipa::path(
    put, path = "/api/notifications/channels/{id}", request_body = Wish,
    params(("id" = i64, Path, description = "the channel's id")),
    responses(
        (status = 200, body = Channel), (status = 400, body = Problem),
        (status = 404, description = "no such channel"),
        (status = 409, body = Problem, description = "the name is taken"),
    )
)]
async fn replace_notify_channel(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
    Json(wish): Json<Wish>,
) -> Result<Json<Channel>> {
    Ok(Json(replace(notify.app(), &who.caller, id, &wish).await?))
}

/// Removes a channel with its log.
#[utoipa::path(
    delete, path = "/api/notifications/channels/{id}",
    params(("id" = i64, Path, description = "the channel's id")),
    responses((status = 204), (status = 404, description = "no such channel"))
)]
async fn remove_notify_channel(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    remove(notify.app(), &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells a channel something that means nothing, now, and says within 15 s what came of it.
#[utoipa::path(
    post, path = "/api/notifications/channels/{id}/test",
    params(("id" = i64, Path, description = "the channel's id")),
    responses(
        (status = 200, body = Tested), (status = 404, description = "no such channel"),
        (status = 409, body = Problem, description = "it has no recipients"),
    )
)]
async fn test_notify_channel(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Json<Tested>> {
    Ok(Json(test(&notify, &who.caller, id).await?))
}
