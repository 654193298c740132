//! The monitored applications: adding them, changing them, their keys and their usage.

use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    apps::{
        Address, Change, Scrub, Wish,
        store::{self, Added, Hour, Key, Listed},
    },
    auth::OrganizationId,
    clock,
    error::{self, Error},
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

/// An application.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ShownApp)]
struct Shown {
    id: i64,
    name: String,
    base_url: Option<String>,
    allowed_origins: Vec<String>,
    scrub: Scrub,
    /// What applies: its own quota, or `[capture] quota`.
    events_per_minute: i64,
    /// Whether `[[apps]]` of lux.toml lists it, and so says its base_url.
    configured: bool,
    created_at: DateTime<Utc>,
    archived_at: Option<DateTime<Utc>>,
    /// What its SDK is given: `http://KEY@HOST:PORT/ID` with the newest live key; null if
    /// there is none.
    dsn: Option<String>,
}

fn shown(app: &App, address: &Address, organization: OrganizationId, listed: Listed) -> Shown {
    let default = i64::from(app.apps.default_quota().events_per_minute);
    Shown {
        id: listed.id,
        configured: app.apps.is_configured(organization, &listed.name),
        dsn: listed.public_key.map(|key| address.dsn(listed.id, &key)),
        name: listed.name,
        base_url: listed.base_url,
        allowed_origins: listed.allowed_origins.0,
        scrub: listed.scrub.0,
        events_per_minute: listed.events_per_minute.unwrap_or(default),
        created_at: listed.created_at,
        archived_at: listed.archived_at,
    }
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
    let listed = store::list(&app.db, organization, query.archived).await.map_err(Error::from)?;
    let address = Address::of(&app.config);
    let apps = listed.into_iter().map(|listed| shown(&app, &address, organization, listed));
    Ok(Json(Apps { apps: apps.collect() }))
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
    let wish = wish.check()?;
    let organization = who.caller.organization;
    let id = match store::add(&app.db, organization, &who.caller, &wish).await? {
        Added::New(id) => id,
        Added::Known(id) => {
            let detail = format!("there is an application \"{}\" already: {id}", wish.name);
            return Err(Error::Conflict(detail).into());
        }
    };
    app.apps.changed(&app.db).await?;
    let found = find(&app, organization, id).await?;
    Ok((StatusCode::CREATED, Json(found)))
}

async fn find(app: &App, organization: OrganizationId, id: i64) -> error::Result<Shown> {
    let listed = store::find(&app.db, organization, id).await?.ok_or(Error::NotFound("app"))?;
    Ok(shown(app, &Address::of(&app.config), organization, listed))
}

/// One application.
#[utoipa::path(
    get, path = "/api/apps/{id}", params(("id" = i64, Path, description = "the app's id")),
    responses((status = 200, body = Shown), (status = 404, description = "no such app"))
)]
async fn read_app(who: Reader, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Shown>> {
    Ok(Json(find(&app, who.caller.organization, id).await?))
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
    let change = change.check()?;
    let organization = who.caller.organization;
    let before = find(&app, organization, id).await?;
    if before.configured && change.base_url.is_some() && change.base_url != before.base_url {
        let detail = "base_url is what [[apps]] of lux.toml says; change it there".to_owned();
        return Err(Error::Conflict(detail).into());
    }
    store::change(&app.db, organization, &who.caller, id, &change).await?;
    app.apps.changed(&app.db).await?;
    Ok(Json(find(&app, organization, id).await?))
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
    let organization = who.caller.organization;
    if find(&app, organization, id).await?.configured {
        let detail = "[[apps]] of lux.toml lists this application; remove it there, restart, then \
                      archive it";
        return Err(Error::Conflict(detail.to_owned()).into());
    }
    store::archive(&app.db, organization, &who.caller, id).await?;
    app.apps.changed(&app.db).await?;
    Ok(Json(find(&app, organization, id).await?))
}

/// A key with the DSN that holds it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ShownKey {
    #[serde(flatten)]
    key: Key,
    dsn: String,
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
    find(&app, who.caller.organization, id).await?;
    let keys = store::keys(&app.db, id).await.map_err(Error::from)?;
    let address = Address::of(&app.config);
    let keys = keys.into_iter().map(|key| with_dsn(&address, id, key)).collect();
    Ok(Json(Keys { keys }))
}

fn with_dsn(address: &Address, app: i64, key: Key) -> ShownKey {
    ShownKey { dsn: address.dsn(app, &key.public_key), key }
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
    let (organization, by) = (who.caller.organization, &who.caller);
    let key = store::make_key(&app.db, organization, by, id, &wish.name).await?;
    app.apps.changed(&app.db).await?;
    let key = with_dsn(&Address::of(&app.config), id, key);
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
    store::revoke_key(&app.db, who.caller.organization, &who.caller, id, key).await?;
    app.apps.changed(&app.db).await?;
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
    find(&app, who.caller.organization, id).await?;
    let since = clock::now() - TimeDelta::hours(hours);
    let usage = store::usage(&app.db, id, since).await.map_err(Error::from)?;
    Ok(Json(Usage { usage }))
}
