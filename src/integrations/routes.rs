//! Connections over HTTP. The way back from a provider is a page's route, because it is a browser
//! that comes: `dashboard::integrations`.

use std::collections::BTreeMap;

use axum::{Extension, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Duty, Integrations, Kind, calls,
    connect::Disconnected,
    duty::{self, Served},
    meeting, outbox,
    status::{self, Card, Person},
    store,
};
use crate::{
    app::App,
    auth::{Caller, Who},
    clock,
    error::Error,
    http::{Admin, Json, Operator, Path, Problem, Query, Reader, Result},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_connections))
        .routes(routes!(list_people))
        .routes(routes!(connect))
        .routes(routes!(renew))
        .routes(routes!(test))
        .routes(routes!(choose_place))
        .routes(routes!(disconnect))
        .routes(routes!(set_duty, end_duty))
        .routes(routes!(read_all))
        .routes(routes!(read_status))
        .routes(routes!(read_status_of))
        .merge(calls::router())
        .merge(meeting::router())
        .merge(outbox::router())
}

/// A provider by its name in an address: `google_calendar`, also as `google-calendar`.
fn kind(name: &str) -> Result<&'static Kind> {
    let found = Kind::find(&name.replace('-', "_"));
    Ok(found.ok_or(Error::NotFound("provider"))?)
}

/// What is to be done with somebody's connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Look,
    Change,
}

/// Whose connections are meant: one's own; for administrators, and to look at for programs,
/// anybody's of the organization.
async fn account(app: &App, caller: &Caller, wanted: Option<i64>, deed: Deed) -> Result<i64> {
    let own = match caller.who {
        Who::Person { account, .. } => Some(account),
        Who::Token(_) => None,
    };
    let Some(wanted) = wanted else {
        let why = "user_id: a token has no connections of its own; say whose are meant";
        return Ok(own.ok_or(Error::invalid(why))?);
    };
    if Some(wanted) != own {
        let may = caller.role.may_administer()
            || deed == Deed::Look && matches!(caller.who, Who::Token(_));
        if !may || !store::has_account(&app.db, caller.organization, wanted).await? {
            return Err(Error::NotFound("user").into());
        }
    }
    Ok(wanted)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// Another person of the organization; only for administrators.
    user_id: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = IntegrationList)]
struct Connections {
    /// One's own; for a token everybody's that there are, with `userId`.
    integrations: Vec<Card>,
    /// What serves the organization.
    duties: Vec<Served>,
}

/// One's own connections, and what serves the organization.
#[utoipa::path(
    get, path = "/api/integrations",
    responses((status = 200, body = Connections))
)]
async fn list_connections(
    who: Reader,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
) -> Result<Json<Connections>> {
    let organization = who.caller.organization;
    let own = match who.caller.who {
        Who::Person { account, .. } => status::cards(&integrations, organization, account).await?,
        Who::Token(_) => status::all(&integrations, organization).await?,
    };
    let duties = duty::served(&app.db, organization).await?;
    Ok(Json(Connections { integrations: own, duties }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = IntegrationPeople)]
struct People {
    people: Vec<Person>,
    /// Connections that somebody has to see to.
    problematic: usize,
}

/// Everybody and what they connected.
#[utoipa::path(
    get, path = "/api/integrations/people",
    responses((status = 200, body = People))
)]
async fn list_people(
    who: Admin,
    Extension(integrations): Extension<Integrations>,
) -> Result<Json<People>> {
    let people = status::people(&integrations, who.caller.organization).await?;
    let now = clock::now();
    let cards = people.iter().flat_map(|person| person.integrations.values());
    let problematic = cards.filter(|card| card.is_problematic(now)).count();
    Ok(Json(People { people, problematic }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = IntegrationConnect)]
struct Onward {
    /// Where the browser is to go; good for ten minutes, for this session alone.
    #[schema(value_type = String)]
    url: Url,
}

/// Begins to connect a provider.
#[utoipa::path(
    post, path = "/api/integrations/{provider}/connect",
    params(("provider" = String, Path, description = "such as github or google_calendar")),
    responses(
        (status = 200, body = Onward), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Lux is not registered with the provider"),
    )
)]
async fn connect(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
) -> Result<Json<Onward>> {
    let url = integrations.begin(&who.caller, kind(&provider)?).await?;
    Ok(Json(Onward { url }))
}

/// Renews a connection's token now.
#[utoipa::path(
    post, path = "/api/integrations/{provider}/refresh",
    params(("provider" = String, Path, description = "such as github"), Whose),
    responses(
        (status = 200, body = Card), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it has to be connected again"),
    )
)]
async fn renew(
    who: Operator,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Json<Card>> {
    let kind = kind(&provider)?;
    let account = account(&app, &who.caller, whose.user_id, Deed::Look).await?;
    let organization = who.caller.organization;
    integrations.renew(organization, account, kind).await?;
    Ok(Json(status::one(&integrations, organization, account, kind).await?))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = IntegrationTest)]
struct Tested {
    success: bool,
    /// Whom the provider knows it as.
    username: Option<String>,
    name: Option<String>,
    /// How long the provider took, in milliseconds.
    took_ms: u64,
}

/// Asks the provider whom it knows the connection as.
#[utoipa::path(
    post, path = "/api/integrations/{provider}/test",
    params(("provider" = String, Path, description = "such as github"), Whose),
    responses(
        (status = 200, body = Tested), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 503, body = Problem, description = "the provider does not answer"),
    )
)]
async fn test(
    who: Operator,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Json<Tested>> {
    let kind = kind(&provider)?;
    let account = account(&app, &who.caller, whose.user_id, Deed::Look).await?;
    let began = clock::instant();
    let identity = integrations.test(who.caller.organization, account, kind).await?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (username, name) = (identity.username, identity.name);
    Ok(Json(Tested { success: true, username, name, took_ms }))
}

/// One of the places that a connection may work in.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IntegrationPlaceChoice)]
struct Choice {
    /// As it stands in `places` of the card.
    id: String,
}

/// Chooses the site or location that a connection works in.
#[utoipa::path(
    post, path = "/api/integrations/{provider}/place", request_body = Choice,
    params(("provider" = String, Path, description = "such as jira"), Whose),
    responses(
        (status = 200, body = Card), (status = 400, body = Problem), (status = 404, body = Problem),
    )
)]
async fn choose_place(
    who: Operator,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
    Query(whose): Query<Whose>,
    Json(choice): Json<Choice>,
) -> Result<Json<Card>> {
    let kind = kind(&provider)?;
    let account = account(&app, &who.caller, whose.user_id, Deed::Change).await?;
    integrations.choose_place(&who.caller, account, kind, &choice.id).await?;
    Ok(Json(status::one(&integrations, who.caller.organization, account, kind).await?))
}

/// Disconnects: the tokens are removed, the provider is told, the card stays.
#[utoipa::path(
    delete, path = "/api/integrations/{provider}",
    params(("provider" = String, Path, description = "such as github"), Whose),
    responses(
        (status = 200, body = Disconnected), (status = 400, body = Problem),
        (status = 404, body = Problem, description = "it is not connected"),
    )
)]
async fn disconnect(
    who: Operator,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Json<Disconnected>> {
    let kind = kind(&provider)?;
    let account = account(&app, &who.caller, whose.user_id, Deed::Change).await?;
    Ok(Json(integrations.disconnect(&who.caller, account, kind).await?))
}

/// What is to serve a duty, and where.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IntegrationDutyWish)]
struct Wish {
    integration_id: i64,
    /// `{"project": "OPS"}` for tickets (GitHub: `"owner/name"`, Asana: a project's gid, monday: a
    /// board's id), `{"channel": "C123"}` for messages, `{"folder": "…"}` for reports.
    #[serde(default)]
    target: BTreeMap<String, String>,
    /// Lux does it by itself when there is occasion.
    #[serde(default)]
    automatic: bool,
}

/// Lets a connection serve the organization.
#[utoipa::path(
    put, path = "/api/integrations/duties/{duty}", request_body = Wish,
    params(("duty" = inline(Duty), Path, description = "what it serves")),
    responses(
        (status = 204), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem),
    )
)]
async fn set_duty(
    who: Operator,
    State(app): State<App>,
    Path(duty): Path<Duty>,
    Json(wish): Json<Wish>,
) -> Result<StatusCode> {
    let Wish { integration_id, target, automatic } = wish;
    duty::serve(&app.db, &who.caller, duty, integration_id, &target, automatic).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets nothing serve a duty.
#[utoipa::path(
    delete, path = "/api/integrations/duties/{duty}",
    params(("duty" = inline(Duty), Path, description = "what is not to be served any more")),
    responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem))
)]
async fn end_duty(
    who: Operator,
    State(app): State<App>,
    Path(duty): Path<Duty>,
) -> Result<StatusCode> {
    duty::stop_serving(&app.db, &who.caller, duty).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IntegrationsOf)]
struct Integrated {
    success: bool,
    user_id: i64,
    /// By name: `github`, `googleCalendar`, …
    #[schema(value_type = std::collections::HashMap<String, Card>)]
    integrations: BTreeMap<&'static str, Card>,
}

/// All connections of a person.
#[utoipa::path(
    get, path = "/api/auth/integrations/{user_id}",
    params(("user_id" = i64, Path, description = "the account's id")),
    responses((status = 200, body = Integrated), (status = 404, body = Problem))
)]
async fn read_all(
    who: Reader,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
    Path(user_id): Path<i64>,
) -> Result<Json<Integrated>> {
    let user_id = account(&app, &who.caller, Some(user_id), Deed::Look).await?;
    let cards = status::cards(&integrations, who.caller.organization, user_id).await?;
    let named =
        cards.into_iter().filter_map(|card| Some((Kind::find(card.provider)?.answer_key, card)));
    Ok(Json(Integrated { success: true, user_id, integrations: named.collect() }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = IntegrationStatusOf)]
struct StatusOf {
    success: bool,
    #[serde(flatten)]
    card: Card,
}

/// One connection of a person.
#[utoipa::path(
    get, path = "/api/auth/{provider}/status/{user_id}",
    params(
        ("provider" = String, Path, description = "such as github"),
        ("user_id" = i64, Path, description = "the account's id"),
    ),
    responses((status = 200, body = StatusOf), (status = 404, body = Problem))
)]
async fn read_status(
    who: Reader,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
    Path((provider, user_id)): Path<(String, i64)>,
) -> Result<Json<StatusOf>> {
    status_of(&who.caller, &app, &integrations, &provider, user_id).await
}

/// The same, at the address that the first versions had for some.
#[utoipa::path(
    get, path = "/api/{provider}/status/{user_id}",
    params(
        ("provider" = String, Path, description = "such as google-calendar"),
        ("user_id" = i64, Path, description = "the account's id"),
    ),
    responses((status = 200, body = StatusOf), (status = 404, body = Problem))
)]
async fn read_status_of(
    who: Reader,
    State(app): State<App>,
    Extension(integrations): Extension<Integrations>,
    Path((provider, user_id)): Path<(String, i64)>,
) -> Result<Json<StatusOf>> {
    status_of(&who.caller, &app, &integrations, &provider, user_id).await
}

async fn status_of(
    caller: &Caller,
    app: &App,
    integrations: &Integrations,
    provider: &str,
    user_id: i64,
) -> Result<Json<StatusOf>> {
    let kind = kind(provider)?;
    let account = account(app, caller, Some(user_id), Deed::Look).await?;
    let card = status::one(integrations, caller.organization, account, kind).await?;
    Ok(Json(StatusOf { success: true, card }))
}
