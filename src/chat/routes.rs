//! The chat over HTTP: one answer as JSON, or the same as it comes as events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Chat, Question,
    answer::Citation,
    evidence::Evidence,
    going::Going,
    store::{self, Message, Owner, Session},
    talk::Usage,
    trail::Looked,
};
use crate::{
    app::App,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(send_message))
        .routes(routes!(list_sessions))
        .routes(routes!(read_session, rename_session, remove_session))
        .routes(routes!(follow_answer))
        .routes(routes!(stop_answer))
}

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 32 << 10;

/// What is asked for beside the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Answer the message.
    Message,
    /// Diagnose, whatever the message says.
    Diagnose,
    /// Start a repair (of `group_ids`, else of all open errors), whatever the message says.
    Repair,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct NewMessage {
    message: String,
    action: Option<Action>,
    /// Same as `action: "diagnose"`.
    #[serde(default)]
    diagnose: bool,
    /// Goes on with a session; without it a new one begins.
    session_id: Option<i64>,
    /// Asks about one monitored application.
    app: Option<String>,
    /// With `action: "repair"`: only these groups of errors.
    group_ids: Option<Vec<i64>>,
    /// The id of the session's last question: it and its answer are taken back, and this one
    /// comes in its place.
    replaces: Option<i64>,
}

/// An answer. The first five keys are those of the product's first version.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the contract")]
pub struct Reply {
    pub response: String,
    pub action: Action,
    /// Logs were read for this answer.
    pub has_logs: bool,
    pub auto_repair_triggered: bool,
    pub repair_results: Option<Value>,
    pub success: bool,
    pub session_id: i64,
    pub message_id: i64,
    /// As `lux diagnose --json` prints it.
    #[schema(value_type = Option<Value>)]
    pub diagnosis: Option<Value>,
    /// Actions that a person may start.
    pub proposals: Vec<Value>,
    pub citations: Vec<Citation>,
    /// Quotations of the model that were not found in what was read.
    pub unproven: Vec<String>,
    /// The answer as HTML that loads nothing.
    pub html: String,
    /// "advisor": the built-in one; or "model".
    pub engine: &'static str,
    /// The model's name, as its server gives it.
    pub model: Option<String>,
    /// What the model took.
    pub usage: Option<Usage>,
    /// What is missing from the answer, and why.
    pub notice: Option<String>,
    /// The repair run that was started, or found under way.
    pub run_id: Option<i64>,
    /// What was looked at for it, in order.
    pub trail: Vec<Looked>,
    /// The cited lines with those around them, as they stood then.
    pub evidence: Vec<Evidence>,
    /// From the question to the answer.
    pub milliseconds: u64,
    /// The operator stopped it; it is what was said by then.
    pub stopped: bool,
    /// How it ended: "stop", or "length" where it reached the longest that an answer may be.
    pub finish: &'static str,
}

/// Asks a question. With `Accept: text/event-stream` the answer comes as events:
/// `status`, `tool` (started and finished), `repair` (the steps of a run), `delta`, `done`
/// (the whole reply), or `problem`. A lost connection does not stop it.
#[utoipa::path(
    post,
    path = "/chatbot/send",
    request_body = NewMessage,
    responses((status = 200, body = Reply), (status = 400, body = Problem))
)]
async fn send_message(
    Operator { caller }: Operator,
    State(app): State<App>,
    Extension(chat): Extension<Chat>,
    headers: HeaderMap,
    Json(new): Json<NewMessage>,
) -> Result<Response> {
    let diagnose = new.diagnose || new.action == Some(Action::Diagnose);
    let repair = new.action == Some(Action::Repair);
    let wish = if repair { Some("Repair") } else { diagnose.then_some("Diagnose") };
    let question = Question {
        owner: Owner::of(&caller),
        role: caller.role,
        session: new.session_id,
        app: new.app,
        message: checked(new.message, wish)?,
        diagnose,
        repair,
        groups: new.group_ids,
        replaces: new.replaces,
    };
    let wants_events = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    if wants_events {
        // What does not exist is told before anything is streamed.
        return Ok(events(chat.ask(question, None).await?.going, 0));
    }
    // The answer has to leave before the server's own limit.
    let patience = app.config.http.request_timeout.saturating_sub(Duration::from_secs(2));
    let begun = chat.ask(question, Some(patience)).await?;
    let reply = begun.answer.await.map_err(|error| Error::Internal(error.into()))??;
    Ok(Json(reply).into_response())
}

/// A message as it is asked; an empty one is `wish`, if there is one.
pub fn checked(message: String, wish: Option<&str>) -> Result<String> {
    if message.len() > MAX_MESSAGE {
        let detail = format!("message has {} bytes; at most {MAX_MESSAGE} are read", message.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    match (message.trim(), wish) {
        ("", Some(wish)) => Ok(wish.to_owned()),
        ("", None) => {
            Err(Error::invalid("message is empty; ask something, like \"what is wrong?\"").into())
        }
        _ => Ok(message),
    }
}

/// The steps of an answer from one on, as they come; each has its number as `id`.
fn events(going: Arc<Going>, after: usize) -> Response {
    let steps = going.follow(after).map(|(number, step)| {
        let event = Event::default().id(number.to_string()).event(step.name);
        Ok::<_, Infallible>(event.data(step.data.to_string()))
    });
    Sse::new(steps).keep_alive(KeepAlive::default()).into_response()
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct After {
    /// The number of the last step that arrived; `Last-Event-ID` says the same.
    after: Option<usize>,
}

/// The answer that is being given in a session, from a step on: for who lost the
/// connection. Also for a minute after its end.
#[utoipa::path(
    get,
    path = "/api/chat/sessions/{id}/events",
    params(After),
    responses((status = 200, description = "the steps as they come", body = String, content_type = "text/event-stream"), (status = 404, body = Problem))
)]
async fn follow_answer(
    State(app): State<App>,
    Reader { caller }: Reader,
    Extension(chat): Extension<Chat>,
    Path(id): Path<i64>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Result<Response> {
    store::find(&app.db, &Owner::of(&caller), id).await?.ok_or(Error::NotFound("session"))?;
    let told = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let going = chat.answers.of(id).ok_or(Error::NotFound("answer under way"))?;
    Ok(events(going, after.after.or(told).unwrap_or(0)))
}

/// Stops the answer that is being given; what was said by then is kept.
#[utoipa::path(
    post,
    path = "/api/chat/sessions/{id}/stop",
    responses((status = 204), (status = 404, body = Problem))
)]
async fn stop_answer(
    State(app): State<App>,
    Operator { caller }: Operator,
    Extension(chat): Extension<Chat>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    store::find(&app.db, &Owner::of(&caller), id).await?.ok_or(Error::NotFound("session"))?;
    if !chat.stop(id) {
        return Err(Error::NotFound("answer under way").into());
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only those whose title or messages hold this text, in any case; of the latest 500.
    q: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Sessions {
    sessions: Vec<Session>,
    next: Option<String>,
}

/// The caller's sessions, the latest first, with their message counts.
#[utoipa::path(
    get,
    path = "/api/chat/sessions",
    params(Page),
    responses((status = 200, body = Sessions))
)]
async fn list_sessions(
    State(app): State<App>,
    Reader { caller }: Reader,
    Query(page): Query<Page>,
) -> Result<Json<Sessions>> {
    let limit = paging::limit(page.limit, 20);
    let (owner, cursor) = (Owner::of(&caller), page.cursor.as_deref());
    let (sessions, next) = match page.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        Some(q) => store::search(&app.db, &owner, q, limit, cursor).await?,
        None => store::list(&app.db, &owner, limit, cursor).await?,
    };
    Ok(Json(Sessions { sessions, next }))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Conversation {
    #[serde(flatten)]
    session: Session,
    messages: Vec<Message>,
}

/// One session with its latest 200 messages.
#[utoipa::path(
    get,
    path = "/api/chat/sessions/{id}",
    responses((status = 200, body = Conversation), (status = 404, body = Problem))
)]
async fn read_session(
    State(app): State<App>,
    Reader { caller }: Reader,
    Path(id): Path<i64>,
) -> Result<Json<Conversation>> {
    let session = store::find(&app.db, &Owner::of(&caller), id).await?;
    let session = session.ok_or(Error::NotFound("session"))?;
    let messages = store::messages(&app.db, id, paging::MAX_LIMIT).await?;
    Ok(Json(Conversation { session, messages }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTitle {
    title: String,
}

/// Gives a session another title.
#[utoipa::path(
    patch,
    path = "/api/chat/sessions/{id}",
    request_body = NewTitle,
    responses((status = 200, body = Session), (status = 404, body = Problem))
)]
async fn rename_session(
    State(app): State<App>,
    Operator { caller }: Operator,
    Path(id): Path<i64>,
    Json(new): Json<NewTitle>,
) -> Result<Json<Session>> {
    let owner = Owner::of(&caller);
    store::rename(&app.db, &owner, id, &new.title).await?;
    let session = store::find(&app.db, &owner, id).await?.ok_or(Error::NotFound("session"))?;
    Ok(Json(session))
}

/// Removes a session with its messages.
#[utoipa::path(
    delete,
    path = "/api/chat/sessions/{id}",
    responses((status = 204), (status = 404, body = Problem))
)]
async fn remove_session(
    State(app): State<App>,
    Operator { caller }: Operator,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    store::remove(&app.db, &Owner::of(&caller), id).await?;
    Ok(StatusCode::NO_CONTENT)
}
