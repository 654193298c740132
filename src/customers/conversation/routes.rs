//! Conversations over HTTP.

use std::time::Duration;

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Conversation, Filter, LogFilter, LogPage, Message, New, Page, Sent, Session, Status, Whole,
    answer, deeds, find, transcript,
};
use crate::{
    app::App,
    auth::Caller,
    error::{self, Error},
    http::{Customer, Json, Operator, Path, Problem, Query, Result},
};

/// How long a request waits for the assistant's answer, if it may take that long itself.
const WAIT: Duration = Duration::from_secs(20);
/// What is left of a request's time then.
const REST: Duration = Duration::from_secs(5);

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_conversations, begin_conversation))
        .routes(routes!(read_conversation))
        .routes(routes!(write_message))
        .routes(routes!(hand_over))
        .routes(routes!(close_conversation))
        .routes(routes!(reopen_conversation))
        .routes(routes!(list_sessions))
        .routes(routes!(read_chat_logs))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[param(inline)]
    status: Option<Status>,
    /// Those of one customer; customers see their own.
    customer_id: Option<i64>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Conversations, those with the newest message first: a customer's own, for the team all.
#[utoipa::path(
    get, path = "/api/conversations", params(ListQuery),
    responses((status = 200, body = Page), (status = 400, body = Problem))
)]
async fn list_conversations(
    who: Customer,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>> {
    let ListQuery { status, customer_id, limit, cursor } = query;
    let filter = Filter { status, customer_id, limit, cursor };
    Ok(Json(find::list(&app.db, &who.caller, &filter).await?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewConversation)]
struct Begin {
    /// With whom; customers begin their own and leave it out.
    customer_id: Option<i64>,
    /// One line of at most 200 bytes; without one, the beginning of the text.
    subject: Option<String>,
    /// The first message, at most 8192 bytes.
    text: Option<String>,
}

/// What came of a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConversationReply)]
struct Reply {
    conversation: Conversation,
    /// What was written; null where a conversation was begun without a message.
    message: Option<Message>,
    /// The assistant's answer; null where none is owed, or it has not come yet.
    answer: Option<Message>,
}

/// Waits for the answer that is owed. Whoever goes away meanwhile misses nothing: it is stored.
async fn reply(app: &App, caller: &Caller, sent: Sent) -> Result<(StatusCode, Json<Reply>)> {
    let mut answer = None;
    if let (true, Some(message)) = (sent.is_owed, &sent.message) {
        let wait = WAIT.min(app.config.http.request_timeout.saturating_sub(REST));
        answer = answer::answer_to(app, caller, sent.conversation, message.id, wait).await?;
    }
    let conversation = find::find(&app.db, caller, sent.conversation).await?;
    let is_late = sent.is_owed && answer.is_none() && conversation.status == Status::Open;
    let status = if is_late { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok((status, Json(Reply { conversation, message: sent.message, answer })))
}

/// Begins a conversation: a customer with the business, or the team with a customer. A customer's
/// first message is answered as others are.
#[utoipa::path(
    post, path = "/api/conversations", request_body = Begin,
    responses(
        (status = 201, body = Reply),
        (status = 202, body = Reply, description = "the answer has not come yet; GET shows it"),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "there is no such customer"),
        (status = 409, body = Problem, description = "too many conversations are open"),
        (status = 413, body = Problem), (status = 429, body = Problem),
    )
)]
async fn begin_conversation(
    who: Customer,
    State(app): State<App>,
    Json(begin): Json<Begin>,
) -> Result<(StatusCode, Json<Reply>)> {
    let Begin { customer_id, subject, text } = begin;
    let sent = deeds::begin(&app, &who.caller, &New { customer_id, subject, text }).await?;
    reply(&app, &who.caller, sent).await
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// At most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A conversation with the newest of its messages, oldest first; `next` leads to those before.
#[utoipa::path(
    get, path = "/api/conversations/{id}", params(("id" = i64, Path), PageQuery),
    responses(
        (status = 200, body = Whole), (status = 400, body = Problem), (status = 404, body = Problem),
    )
)]
async fn read_conversation(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Whole>> {
    let cursor = query.cursor.as_deref();
    Ok(Json(find::messages(&app.db, &who.caller, id, query.limit, cursor).await?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewConversationMessage)]
struct Write {
    /// Plain text of at most 8192 bytes.
    text: String,
}

/// Writes a message. While the conversation is open the assistant answers a customer's; one of
/// the team makes it a person's, and the assistant is silent from then on.
#[utoipa::path(
    post, path = "/api/conversations/{id}/messages", params(("id" = i64, Path)),
    request_body = Write,
    responses(
        (status = 201, body = Reply),
        (status = 202, body = Reply, description = "the answer has not come yet; GET shows it"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is closed, or has its 500 messages"),
        (status = 413, body = Problem),
        (status = 429, body = Problem, description = "20 messages within a minute"),
    )
)]
async fn write_message(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(write): Json<Write>,
) -> Result<(StatusCode, Json<Reply>)> {
    let sent = deeds::send(&app, &who.caller, id, &write.text).await?;
    reply(&app, &who.caller, sent).await
}

/// Asks for a person. Where one answers or is waited for already, nothing changes.
#[utoipa::path(
    post, path = "/api/conversations/{id}/hand-over", params(("id" = i64, Path)),
    responses(
        (status = 200, body = Conversation), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is closed"),
    )
)]
async fn hand_over(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Conversation>> {
    Ok(Json(deeds::hand_over(&app, &who.caller, id).await?))
}

/// Ends a conversation.
#[utoipa::path(
    post, path = "/api/conversations/{id}/close", params(("id" = i64, Path)),
    responses((status = 200, body = Conversation), (status = 404, body = Problem))
)]
async fn close_conversation(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Conversation>> {
    Ok(Json(deeds::close(&app, &who.caller, id).await?))
}

/// Takes up a closed conversation. Where a person had answered it is a person's again.
#[utoipa::path(
    post, path = "/api/conversations/{id}/reopen", params(("id" = i64, Path)),
    responses(
        (status = 200, body = Conversation), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "too many conversations are open"),
    )
)]
async fn reopen_conversation(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Conversation>> {
    Ok(Json(deeds::reopen(&app, &who.caller, id).await?))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CustomerSessions)]
struct Sessions {
    /// Those with the newest message first.
    sessions: Vec<Session>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// The conversations of a customer with the numbers of their messages; `me` is the caller.
/// Customers reach their own only.
#[utoipa::path(
    get, path = "/api/customers/{id}/sessions",
    params(("id" = String, Path, description = "the customer's number, or `me`"), PageQuery),
    responses(
        (status = 200, body = Sessions), (status = 400, body = Problem),
        (status = 404, body = Problem),
    )
)]
async fn list_sessions(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Sessions>> {
    let customer = customer_named(&who.caller, &id)?;
    let (limit, cursor) = (query.limit, query.cursor.as_deref());
    let (sessions, next) = find::sessions_of(&app.db, &who.caller, customer, limit, cursor).await?;
    Ok(Json(Sessions { sessions, next }))
}

/// The customer whom a part of a path names.
fn customer_named(caller: &Caller, id: &str) -> error::Result<i64> {
    let unknown = || Error::NotFound("customer");
    match id {
        "me" => caller.account().ok_or_else(unknown),
        id => id.parse().map_err(|_| unknown()),
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Those of one customer.
    customer_id: Option<i64>,
    /// Part of the text, at most 200 bytes.
    q: Option<String>,
    /// From this moment on.
    since: Option<DateTime<Utc>>,
    /// Before this moment.
    until: Option<DateTime<Utc>>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The messages of all conversations with customers, newest first.
#[utoipa::path(
    get, path = "/api/chat-logs", params(LogQuery),
    responses((status = 200, body = LogPage), (status = 400, body = Problem))
)]
async fn read_chat_logs(
    who: Operator,
    State(app): State<App>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogPage>> {
    let LogQuery { customer_id, q, since, until, limit, cursor } = query;
    let filter = LogFilter { customer_id, q, since, until, limit, cursor };
    Ok(Json(transcript::transcript(&app.db, &who.caller, &filter).await?))
}
