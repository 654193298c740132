//! Customers over HTTP.

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Change, Customer, Filter, Note, Page, Sort, Wanted, Whose, attachment, change, conversation,
    errors_met, find, find_by_email, list, note, notes, person,
    signup::{self, Wish},
};
use crate::{
    app::App,
    auth::{Role, account::Status, session},
    error::Error,
    errors::store::met::Met,
    http::{
        self as house, Json, Operator, Path, Query, Result, cookie,
        limit::{Limits, Peer},
        origin, paging,
    },
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_customers))
        .routes(routes!(sign_up))
        .routes(routes!(verify_email))
        .routes(routes!(read_customer_by_email))
        .routes(routes!(read_customer, change_customer))
        .routes(routes!(list_customer_notes, note_customer))
        .routes(routes!(list_customer_errors))
        .merge(attachment::router())
        .merge(conversation::router())
        .merge(person::router())
}

/// What has bounds of its own for bodies and time.
pub fn upload_router() -> OpenApiRouter<App> {
    attachment::upload_router()
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Words of name, company or address, each by its beginning.
    q: Option<String>,
    /// "admin", "operator" or "customer".
    #[param(inline)]
    role: Option<Role>,
    #[param(inline)]
    status: Option<Status>,
    /// Whether the address is proven.
    verified: Option<bool>,
    #[param(inline)]
    #[serde(default)]
    sort: Sort,
    /// At most 200; 50 if nothing is said.
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Everybody who has an account, deactivated or not, newest first if nothing else is said; searches
/// are always newest first. A customer finds themselves.
#[utoipa::path(
    get, path = "/api/customers", params(ListQuery), responses((status = 200, body = Page))
)]
async fn list_customers(
    who: house::Customer,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>> {
    if query.role.is_some_and(|role| matches!(role, Role::Read | Role::Ingest)) {
        let detail = "role: people are of role admin, operator or customer";
        return Err(Error::invalid(detail).into());
    }
    let wanted = Wanted {
        q: query.q.unwrap_or_default(),
        filter: Filter { role: query.role, status: query.status, verified: query.verified },
        sort: query.sort,
        limit: paging::limit(query.limit, 50),
        cursor: query.cursor,
    };
    Ok(Json(list(&app.db, &who.caller, &wanted).await?))
}

/// One customer. For a customer nobody else exists.
#[utoipa::path(
    get, path = "/api/customers/{id}",
    params(("id" = String, Path, description = "An account's id, or \"me\"")),
    responses((status = 200, body = Customer), (status = 404, description = "no such customer"))
)]
async fn read_customer(
    who: house::Customer,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Customer>> {
    Ok(Json(find(&app.db, &who.caller, Whose::read(&id)?).await?))
}

/// The customer with a proven address. For a customer there is one: their own.
#[utoipa::path(
    get, path = "/api/customers/email/{email}", params(("email" = String, Path)),
    responses((status = 200, body = Customer), (status = 404, description = "no such customer"))
)]
async fn read_customer_by_email(
    who: house::Customer,
    State(app): State<App>,
    Path(email): Path<String>,
) -> Result<Json<Customer>> {
    Ok(Json(find_by_email(&app.db, &who.caller, &email).await?))
}

/// Changes a customer: oneself, as an operator any customer, as an administrator anybody. What is
/// left out stays as it is. Role and status are an administrator's to write, and nobody's own.
#[utoipa::path(
    put, path = "/api/customers/{id}",
    params(("id" = String, Path, description = "An account's id, or \"me\"")),
    request_body = Change,
    responses(
        (status = 200, body = Customer),
        (status = 400, description = "a field is unknown, or holds what it cannot"),
        (status = 403, description = "a field is not the caller's to write"),
        (status = 404, description = "no such customer"),
        (status = 409, description = "it was changed meanwhile: read it again")
    )
)]
async fn change_customer(
    who: house::Customer,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(wish): Json<Change>,
) -> Result<Json<Customer>> {
    Ok(Json(change(&app, &who.caller, Whose::read(&id)?, &wish).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct NotesQuery {
    /// At most 200; 50 if nothing is said.
    limit: Option<i64>,
    cursor: Option<String>,
}

/// A page of notes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CustomerNotes)]
struct Notes {
    notes: Vec<Note>,
    next: Option<String>,
}

/// What was noted about a customer, newest first. Customers do not see it.
#[utoipa::path(
    get, path = "/api/customers/{id}/notes",
    params(("id" = String, Path, description = "An account's id, or \"me\""), NotesQuery),
    responses((status = 200, body = Notes), (status = 404, description = "no such customer"))
)]
async fn list_customer_notes(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<NotesQuery>,
) -> Result<Json<Notes>> {
    let limit = paging::limit(query.limit, 50);
    let below: Option<i64> = query.cursor.as_deref().map(paging::position).transpose()?;
    let notes = notes(&app.db, &who.caller, Whose::read(&id)?, below, limit).await?;
    let next = paging::after(&notes, limit, |last| last.id)?;
    Ok(Json(Notes { notes, next }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCustomerNote)]
struct NewNote {
    /// 1 to 5000 characters.
    text: String,
}

/// Notes something about a customer.
#[utoipa::path(
    post, path = "/api/customers/{id}/notes",
    params(("id" = String, Path, description = "An account's id, or \"me\"")),
    request_body = NewNote,
    responses((status = 201, body = Note), (status = 404, description = "no such customer"))
)]
async fn note_customer(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(new): Json<NewNote>,
) -> Result<(StatusCode, Json<Note>)> {
    let note = note(&app.db, &who.caller, Whose::read(&id)?, &new.text).await?;
    Ok((StatusCode::CREATED, Json(note)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ErrorsQuery {
    /// At most 200; 50 if nothing is said.
    limit: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CustomerErrors)]
struct Errors {
    errors: Vec<Met>,
}

/// The errors that a customer met, the last first: groups of whose events one names them by their
/// id or address. A customer is told those of their proven address, without what the system said.
#[utoipa::path(
    get, path = "/api/customers/{id}/errors",
    params(("id" = String, Path, description = "An account's id, or \"me\""), ErrorsQuery),
    responses((status = 200, body = Errors), (status = 404, description = "no such customer"))
)]
async fn list_customer_errors(
    who: house::Customer,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<ErrorsQuery>,
) -> Result<Json<Errors>> {
    let limit = paging::limit(query.limit, 50);
    let errors = errors_met(&app.db, &who.caller, Whose::read(&id)?, limit).await?;
    Ok(Json(Errors { errors }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SignedUp)]
struct Taken {
    /// What comes next; the same for every address.
    message: &'static str,
}

/// Asks for an account, or as a customer for a letter that signs in. The answer is the same whether
/// or not the address is known; a letter says more to whoever reads it.
#[utoipa::path(
    post, path = "/api/customers/signup", request_body = Wish, security(()),
    responses(
        (status = 202, body = Taken),
        (status = 403, description = "nobody signs themselves up here with such an address"),
        (status = 429, description = "too many from this network address"),
        (status = 503, description = "mail is not set up")
    )
)]
async fn sign_up(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Taken>)> {
    limits.check_sign_up(peer)?;
    signup::ask(&app, &wish, Some(peer.address)).await?;
    let message = "look into your mailbox: a letter is on its way, and its link works for 24 hours";
    Ok((StatusCode::ACCEPTED, Json(Taken { message })))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = VerifyEmail)]
struct Token {
    /// The last part of the letter's link.
    token: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EmailVerified)]
struct Proven {
    /// Always true: what cannot be verified is refused.
    verified: bool,
    customer: Customer,
}

/// Uses the link of a sign-up's letter, once: proves the address, makes the account if there is
/// none, and signs in with a cookie.
#[utoipa::path(
    post, path = "/api/customers/verify-email", request_body = Token, security(()),
    responses(
        (status = 200, body = Proven),
        (status = 403, description = "the link was used, is too old, or is none"),
        (status = 429, description = "too many from this network address")
    )
)]
async fn verify_email(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    parts: Parts,
    Json(token): Json<Token>,
) -> Result<Response> {
    cookie::may_sign_in(&app.config, Some(peer))?;
    // Else another site could sign its visitor in as somebody else. What is no browser tells
    // nothing of where it comes from, and no browser sends JSON elsewhere without asking.
    let told = [header::ORIGIN.as_str(), "sec-fetch-site"];
    if told.iter().any(|name| parts.headers.contains_key(*name)) {
        origin::check(&parts, &app.config)?;
    }
    limits.check_sign_in(peer)?;
    let before = cookie::read(&app.config, &parts.headers);
    let new = session::New {
        config: &app.config.sign_in,
        provider: None,
        user_agent: user_agent(&parts.headers),
        address: Some(peer.address),
        replaces: before,
    };
    let came = signup::verify(&app, &token.token, new).await?;
    if let Some(before) = before {
        app.sessions.forget_cookie(before);
    }
    let cookie = cookie::session_cookie(&app.config, came.started.cookie_value.expose_secret());
    let proven = Proven { verified: true, customer: came.customer };
    Ok(([(header::SET_COOKIE, cookie)], Json(proven)).into_response())
}

fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT)?.to_str().ok()
}
