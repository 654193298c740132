//! The monitored applications: adding them, changing them, their keys and their usage.

use axum::extract::State;
use chrono::TimeDelta;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    apps::{Change, Shown, ShownKey, Wish, store::Hour},
    clock,
    error::Error,
    http::{Admin, Json, Path, Problem, Query, Reader, Result},
};

/// The farthest that usage looks back, in hours.
const MAX_HOURS: i64 = 24 * 90;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_apps, add_app))
        .routes(routes!(read_app, change_app))
        .routes(routes!(archive_app))
        .routes(routes!(list_keys, make_key))
        .routes(routes!(revoke_key))
        .routes(routes!(read_usage))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Apps {
    apps: Vec<Shown>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Archived ones, too.
    #[serde(default)]
    archived: bool,
}

/// The applications by name, at most 1000.
#[utoipa::path(
    get, path = "/api/apps", params(ListQuery), responses((status = 200, body = Apps))
)]
async fn list_apps(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Apps>> {
    let organization = who.caller.organization;
    let apps = app.apps.listed(&app.db, &app.config, organization, query.archived).await?;
    Ok(Json(Apps { apps }))
}

/// Adds an application with its first key. One of the name that was archived comes back.
#[utoipa::path(
    post, path = "/api/apps", request_body = Wish,
    responses(
        (status = 201, body = Shown),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 409, body = Problem, description = "the name is taken"),
    )
)]
async fn add_app(
    who: Admin,
    State(app): State<App>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Shown>)> {
    let added = app.apps.add(&app.db, &app.config, &who.caller, wish).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

/// One application.
#[utoipa::path(
    get, path = "/api/apps/{id}", params(("id" = i64, Path, description = "the app's id")),
    responses((status = 200, body = Shown), (status = 404, description = "no such app"))
)]
async fn read_app(who: Reader, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Shown>> {
    Ok(Json(app.apps.find(&app.db, &app.config, who.caller.organization, id).await?))
}

/// Changes an application; what is left out stays as it is.
#[utoipa::path(
    patch, path = "/api/apps/{id}", params(("id" = i64, Path, description = "the app's id")),
    request_body = Change,
    responses(
        (status = 200, body = Shown),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, description = "no such app, or it is archived"),
        (status = 409, body = Problem, description = "lux.toml says its base_url"),
    )
)]
async fn change_app(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<Shown>> {
    Ok(Json(app.apps.change(&app.db, &app.config, &who.caller, id, change).await?))
}

/// Ends an application: its keys are revoked, its events stay.
#[utoipa::path(
    post, path = "/api/apps/{id}/archive",
    params(("id" = i64, Path, description = "the app's id")),
    responses(
        (status = 200, body = Shown),
        (status = 404, description = "no such app, or it is archived already"),
        (status = 409, body = Problem, description = "lux.toml lists it"),
    )
)]
async fn archive_app(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Shown>> {
    Ok(Json(app.apps.archive(&app.db, &app.config, &who.caller, id).await?))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Keys {
    keys: Vec<ShownKey>,
}

/// The keys of an application, the newest first, revoked ones included.
#[utoipa::path(
    get, path = "/api/apps/{id}/keys", params(("id" = i64, Path, description = "the app's id")),
    responses((status = 200, body = Keys), (status = 404, description = "no such app"))
)]
async fn list_keys(who: Reader, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Keys>> {
    let organization = who.caller.organization;
    Ok(Json(Keys { keys: app.apps.keys(&app.db, &app.config, organization, id).await? }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyWish {
    /// Who or what will use it: "mobile". 1 to 100 bytes.
    name: String,
}

/// Makes another key, so that one can be replaced without a gap.
#[utoipa::path(
    post, path = "/api/apps/{id}/keys", params(("id" = i64, Path, description = "the app's id")),
    request_body = KeyWish,
    responses(
        (status = 201, body = ShownKey),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, description = "no such app, or it is archived"),
        (status = 409, body = Problem, description = "it has too many keys"),
    )
)]
async fn make_key(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(wish): Json<KeyWish>,
) -> Result<(StatusCode, Json<ShownKey>)> {
    let key = app.apps.make_key(&app.db, &app.config, &who.caller, id, &wish.name).await?;
    Ok((StatusCode::CREATED, Json(key)))
}

/// Ends a key: this server refuses it at once, replicas within two seconds.
#[utoipa::path(
    delete, path = "/api/apps/{id}/keys/{key}",
    params(
        ("id" = i64, Path, description = "the app's id"),
        ("key" = i64, Path, description = "the key's id"),
    ),
    responses(
        (status = 204, description = "it is revoked"),
        (status = 404, description = "no such key, or it is revoked already"),
    )
)]
async fn revoke_key(
    who: Admin,
    State(app): State<App>,
    Path((id, key)): Path<(i64, i64)>,
) -> Result<StatusCode> {
    app.apps.revoke_key(&app.db, &who.caller, id, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct UsageQuery {
    /// How far to look back; default 24, at most 2160.
    hours: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AppUsage)]
struct Usage {
    /// Newest first; the present hour is counted with a delay of about a second.
    usage: Vec<Hour>,
}

/// What came from an application by hour: accepted, over its quota, not understood, or
/// caused by Lux's own probes.
#[utoipa::path(
    get, path = "/api/apps/{id}/usage",
    params(("id" = i64, Path, description = "the app's id"), UsageQuery),
    responses((status = 200, body = Usage), (status = 404, description = "no such app"))
)]
async fn read_usage(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Usage>> {
    let hours = query.hours.unwrap_or(24);
    if !(1..=MAX_HOURS).contains(&hours) {
        return Err(Error::invalid(format!("hours is a number from 1 to {MAX_HOURS}")).into());
    }
    app.apps.find(&app.db, &app.config, who.caller.organization, id).await?;
    let since = clock::now() - TimeDelta::hours(hours);
    let usage = app.apps.usage(&app.db, id, since).await?;
    Ok(Json(Usage { usage }))
}
