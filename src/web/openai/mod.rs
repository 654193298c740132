//! Lux as a model: OpenAI's chat completions, for the clients that people already use. Each
//! question is answered as in the chat; the conversation is the client's to keep.

mod answer;
mod request;

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    chat::{Chat, Owner, Question},
    error::Error,
    http::{Json, Operator, Path, Problem, Reader, openai},
};

use answer::{Completion, Writer};
use request::NewCompletion;

/// The one model that is served.
const MODEL: &str = "lux";

/// The longest that a streamed answer takes, and one that waits for a repair run.
const PATIENCE: Duration = Duration::from_secs(90);
const RUN: Duration = Duration::from_mins(10);

/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(complete))
        .routes(routes!(list_models))
        .routes(routes!(read_model))
}

/// What is answered instead of what was asked for; boxed, since it is rare.
struct Refusal(Box<Response>);

impl Refusal {
    /// `param` names the field that is to blame.
    fn new(status: StatusCode, message: &str, param: Option<&str>, code: &str) -> Self {
        let body = axum::Json(openai::error(status, message, param, code));
        Self(Box::new((status, body).into_response()))
    }

    fn invalid(message: &str, param: &str, code: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message, Some(param), code)
    }

    fn no_such_model(name: &str) -> Self {
        let name: String = name.chars().take(100).collect();
        let message = format!("The model `{name}` does not exist; the one that is here is `lux`.");
        Self::new(StatusCode::NOT_FOUND, &message, Some("model"), "model_not_found")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem.into_response()))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

/// A refusal, as OpenAI's clients read it.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what http::openai writes")]
struct OpenAiError {
    /// `message`, `type`, `param`, `code`.
    #[schema(value_type = Object)]
    error: Value,
}

/// Answers the last user message of a conversation, as OpenAI's chat completions do; with
/// `stream` as events. What Lux knows beyond the words (citations, diagnosis, proposals, run)
/// is under `lux`. Settings of sampling are without effect, and tools of the caller are never
/// called.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    request_body = NewCompletion,
    responses(
        (status = 200, body = Completion),
        (status = 400, body = OpenAiError),
        (status = 404, body = OpenAiError)
    )
)]
async fn complete(
    Operator { caller }: Operator,
    State(app): State<App>,
    Extension(chat): Extension<Chat>,
    Json(new): Json<NewCompletion>,
) -> Result<Response, Refusal> {
    let asked = new.read()?;
    let question = Question {
        repair: false,
        groups: None,
        replaces: None,
        owner: Owner::of(&caller),
        role: caller.role,
        session: None,
        app: None,
        message: asked.question,
        diagnose: false,
    };
    let what = chat.understand(&question);
    let run = chat.begin(&question, what).await?.map(|run| run.id);
    if !asked.stream {
        // The answer has to leave before the server's own limit.
        let patience = app.config.http.request_timeout.saturating_sub(Duration::from_secs(2));
        let answer = chat.ask_aside(question, asked.earlier, what, run, patience);
        return Ok(axum::Json(Completion::of(answer.reply().await?)).into_response());
    }
    let patience = if run.is_some() { RUN } else { PATIENCE };
    let answer = chat.ask_aside(question, asked.earlier, what, run, patience);
    let mut writer = Writer::new(asked.include_usage);
    let first = stream::iter(writer.begin());
    let rest = answer.listen().flat_map(move |heard| stream::iter(writer.write(heard)));
    let events = first.chain(rest).map(Ok::<Event, Infallible>);
    let alive = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

#[derive(Serialize, utoipa::ToSchema)]
struct Model {
    id: &'static str,
    /// "model"
    object: &'static str,
    /// Seconds since 1970: when this Lux started.
    created: i64,
    owned_by: &'static str,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Models {
    /// "list"
    object: &'static str,
    data: Vec<Model>,
}

fn model(app: &App) -> Model {
    Model { id: MODEL, object: "model", created: app.started_at.timestamp(), owned_by: "lux" }
}

/// The models that can be asked: `lux`.
#[utoipa::path(get, path = "/v1/models", responses((status = 200, body = Models)))]
async fn list_models(_: Reader, State(app): State<App>) -> Json<Models> {
    Json(Models { object: "list", data: vec![model(&app)] })
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    params(("model" = String, Path, description = "lux")),
    responses((status = 200, body = Model), (status = 404, body = OpenAiError))
)]
async fn read_model(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Model>, Refusal> {
    if name == MODEL { Ok(Json(model(&app))) } else { Err(Refusal::no_such_model(&name)) }
}
