//! Subscribing over HTTP, as Zapier's REST hooks do.

use aws_lc_rs::digest;
use axum::extract::State;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Event,
    deliver::{secret_field, target_field},
    payload,
    store::{self, Hook, New},
};
use crate::{
    app::App,
    auth::{Caller, audit, secret},
    clock, config,
    db::{Tx, is_duplicate},
    error::{self, Error},
    http::{Json, Operator, Path, Problem, Query, Reader, Result},
};

/// Subscriptions of an organization.
const MAX: i64 = 200;
const MAX_URL: usize = 2000;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_hooks, subscribe, unsubscribe_address))
        .routes(routes!(unsubscribe))
        .routes(routes!(read_samples))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Hooks {
    hooks: Vec<Hook>,
}

/// The subscriptions.
#[utoipa::path(get, path = "/api/hooks", responses((status = 200, body = Hooks)))]
async fn list_hooks(who: Reader, State(app): State<App>) -> Result<Json<Hooks>> {
    Ok(Json(Hooks { hooks: store::list(&app.db, who.caller.organization).await? }))
}

/// Who wants to hear of what, where.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Subscription {
    /// `https://hooks.zapier.com/…`, or an address of an origin that `[hooks] allowed` names.
    target_url: String,
    #[schema(inline)]
    event: Event,
    /// When the subscription ends by itself.
    expiration_date: Option<DateTime<Utc>>,
}

/// A subscription with the key of its signatures, which is not told again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Subscribed {
    id: i64,
    /// Deliveries carry `X-Lux-Signature: t=SECONDS,v1=HEX`, an HMAC-SHA256 under this key over
    /// "SECONDS.BODY".
    secret: String,
}

/// Subscribes: deliveries are posted as JSON, each with an `id` that stays when it is sent again.
#[utoipa::path(
    post, path = "/api/hooks", request_body = Subscription,
    responses(
        (status = 201, body = Subscribed), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "subscribed already, or too many"),
    )
)]
async fn subscribe(
    who: Operator,
    State(app): State<App>,
    Json(wish): Json<Subscription>,
) -> Result<(StatusCode, Json<Subscribed>)> {
    let url = target(&app.config.hooks, &wish.target_url)?;
    let now = clock::now();
    if wish.expiration_date.is_some_and(|at| at <= now) {
        return Err(Error::invalid("expiration_date: this time is over already").into());
    }
    let organization = who.caller.organization;
    let row_name = uuid::Uuid::now_v7().to_string();
    let secret = secret::random()?;
    let new = New {
        row_name: &row_name,
        event: wish.event,
        target_sealed: &app.sealer.seal(target_field(&row_name), url.as_str())?,
        target_shown: &shown(&url),
        target_hash: &hash(&url),
        secret_sealed: &app.sealer.seal(secret_field(&row_name), &secret)?,
        made_by: &who.caller.author(),
        expires_at: wish.expiration_date,
        now,
    };
    let mut tx = app.db.begin().await?;
    if store::count(&mut tx, organization).await? >= MAX {
        let full = format!("there are {MAX} subscriptions; remove one first");
        return Err(Error::Conflict(full).into());
    }
    let id = store::insert(&mut tx, organization, &new).await.map_err(|error| {
        if is_duplicate(&error) {
            let again = "this address is subscribed to this event already";
            Error::Conflict(again.to_owned())
        } else {
            error.into()
        }
    })?;
    let detail = json!({"event": wish.event, "target": new.target_shown});
    let subject = format!("hook {id}");
    audit::write(&mut tx, organization, &who.caller, "hook.subscribed", &subject, &detail).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(Subscribed { id, secret })))
}

/// What an address is known by.
fn hash(url: &Url) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, url.as_str().as_bytes()))
}

/// An address that may be posted to.
fn target(config: &config::Hooks, text: &str) -> Result<Url> {
    Ok(allowed(config, text).map_err(|why| Error::invalid(format!("target_url: {why}")))?)
}

/// Reads an address that deliveries may go to; the error says what is wrong with it.
pub fn allowed(config: &config::Hooks, text: &str) -> std::result::Result<Url, &'static str> {
    if text.len() > MAX_URL {
        return Err("is longer than 2000 bytes");
    }
    let url = Url::parse(text).map_err(|_| "is no address")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name; leave it out");
    }
    let is_zapier = url.scheme() == "https"
        && url.host_str() == Some("hooks.zapier.com")
        && url.port().is_none();
    if !is_zapier && !config.allowed.contains(&url.origin()) {
        return Err(
            "only https://hooks.zapier.com is allowed by itself; an administrator allows others in lux.toml: [hooks] allowed = [\"https://hooks.example.com\"]",
        );
    }
    Ok(url)
}

/// Host and the last characters: enough to tell one from another, too little to post to it.
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let end: Vec<char> = url.path().chars().rev().filter(|c| *c != '/').take(4).collect();
    format!("{host}/…{}", end.into_iter().rev().collect::<String>())
}

/// What is not to be told any more.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Unsubscription {
    /// As it was subscribed.
    target_url: String,
    /// Of this event only; without one, of all.
    #[serde(default)]
    #[schema(inline)]
    event: Option<Event>,
}

/// Ends the subscriptions of an address, for programs that keep no ids: they send what they
/// subscribed with.
#[utoipa::path(
    delete, path = "/api/hooks", request_body = Unsubscription,
    responses(
        (status = 204), (status = 400, body = Problem),
        (status = 404, description = "this address is not subscribed"),
    )
)]
async fn unsubscribe_address(
    who: Operator,
    State(app): State<App>,
    Json(wish): Json<Unsubscription>,
) -> Result<StatusCode> {
    let url = Url::parse(&wish.target_url)
        .map_err(|_| Error::invalid("target_url: is no address; send that of the subscription"))?;
    let organization = who.caller.organization;
    let mut tx = app.db.begin().await?;
    let gone = store::remove_address(&mut tx, organization, &hash(&url), wish.event).await?;
    if gone.is_empty() {
        return Err(Error::NotFound("hook").into());
    }
    for id in gone {
        removed(&mut tx, &who.caller, id).await?;
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a subscription.
pub async fn remove(app: &App, caller: &Caller, id: i64) -> error::Result<()> {
    let mut tx = app.db.begin().await?;
    if !store::remove(&mut tx, caller.organization, id).await? {
        return Err(Error::NotFound("hook"));
    }
    removed(&mut tx, caller, id).await?;
    Ok(tx.commit().await?)
}

async fn removed(tx: &mut Tx, caller: &Caller, id: i64) -> error::Result<()> {
    let (subject, nothing) = (format!("hook {id}"), json!({}));
    audit::write(tx, caller.organization, caller, "hook.removed", &subject, &nothing).await?;
    Ok(())
}

/// Ends a subscription.
#[utoipa::path(
    delete, path = "/api/hooks/{id}", params(("id" = i64, Path, description = "the hook's id")),
    responses((status = 204), (status = 404, description = "no such hook"))
)]
async fn unsubscribe(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    remove(&app, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct SampleQuery {
    #[param(inline)]
    event: Event,
}

/// What deliveries of an event look like: the newest that there are, else an example.
#[utoipa::path(
    get, path = "/api/hooks/samples", params(SampleQuery),
    responses((status = 200, body = Vec<Value>), (status = 400, body = Problem))
)]
async fn read_samples(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<SampleQuery>,
) -> Result<Json<Vec<Value>>> {
    let organization = who.caller.organization;
    let mut samples = Vec::new();
    for id in payload::newest(&app.db, organization, query.event).await? {
        samples.extend(payload::of(&app.db, organization, query.event, id).await?);
    }
    let now = clock::now();
    if samples.is_empty() {
        samples.push(payload::example(query.event, now));
    }
    for (place, sample) in samples.iter_mut().enumerate() {
        sample["id"] = json!(format!("sample-{place}"));
        sample["event"] = json!(query.event);
        sample["at"] = json!(now);
    }
    Ok(Json(samples))
}
