//! A scripted server that speaks the protocol of OpenAI's chat completions, over real HTTP
//! and SSE. It records every request.
//!
//! ```ignore
//! let model = Model::scripted().await;                       // takes any key
//! let server = Setup::new(&database).model(&model).start().await;
//! model.push(Reply::tool("list_errors", json!({ "hours": 24 })));   // the first request
//! model.push(Reply::text("It was nginx [3]."));                    // the second
//! model.always(Reply::text("…"));                // when nothing is left; else a 500
//! model.by(|asked| Reply::text(asked.last()));   // or decide by what was asked
//! let asked = model.asked();                     // all of them: body, headers, streamed()
//! ```
//!
//! A reply comes as SSE where the request has `stream: true`, else as one document. How it
//! misbehaves is said in the same breath:
//!
//! * `Reply::text("grüße").split(1)`: the bytes of the answer in chunks of that many, so
//!   that they end inside of UTF-8 and JSON
//! * `Reply::status(429).retry_after("1")`, `Reply::status(404).body("text/plain", "…")`
//! * `Reply::hang()`: takes the request and never answers
//! * `Reply::text("…").hang_after(2)`, `.cut_after(2)`: after so many events
//! * `Reply::text("…").hold_after(2, &gate)`: goes on after so many events once the gate has a permit
//! * `Reply::raw("data: {broken\n\n")`: this body, whatever it is
//! * `Reply::text("…").without_usage()`, `.finish("eos")`, `.without_finish()`
//! * `Reply::huge(10 << 20)`: so many bytes of text
//! * `model.always(Reply::tool("health", json!({})))`: an endless loop of tools
//!
//! `GET /v1/models` lists `gpt-4o-mini` and `m`, or answers what `Script` says.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// How it treats every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Accepts this key only.
    Key(&'static str),
    /// Takes the request and never answers.
    Hang,
    Broken,
}

/// What one request is answered with.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    kind: Kind,
    split: Option<usize>,
    hang_after: Option<usize>,
    cut_after: Option<usize>,
    hold_after: Option<(usize, Arc<Semaphore>)>,
    usage: bool,
    finish: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Kind {
    Hang,
    Raw { kind: String, body: String },
    Answer { text: String, calls: Vec<(String, Value)>, refusal: Option<String> },
}

impl Reply {
    fn of(kind: Kind) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            kind,
            split: None,
            hang_after: None,
            cut_after: None,
            hold_after: None,
            usage: true,
            finish: Some("stop"),
        }
    }

    /// Text, streamed by words.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::of(Kind::Answer { text: text.into(), calls: Vec::new(), refusal: None })
    }

    /// JSON as text.
    pub(crate) fn json(value: &Value) -> Self {
        Self::text(value.to_string())
    }

    /// A call of a tool, whose arguments are streamed in pieces.
    pub(crate) fn tool(name: &str, arguments: Value) -> Self {
        Self::tools(&[(name, arguments)])
    }

    pub(crate) fn tools(calls: &[(&str, Value)]) -> Self {
        let calls = calls.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect();
        let answer = Kind::Answer { text: String::new(), calls, refusal: None };
        Self { finish: Some("tool_calls"), ..Self::of(answer) }
    }

    pub(crate) fn refusal(words: &str) -> Self {
        let refusal = Some(words.to_owned());
        Self::of(Kind::Answer { text: String::new(), calls: Vec::new(), refusal })
    }

    pub(crate) fn huge(bytes: usize) -> Self {
        Self::text("x".repeat(bytes))
    }

    pub(crate) fn hang() -> Self {
        Self::of(Kind::Hang)
    }

    /// An error in OpenAI's form.
    pub(crate) fn status(status: u16) -> Self {
        let body =
            json!({ "error": { "message": format!("scripted {status}"), "type": "scripted" } });
        let raw = Kind::Raw { kind: "application/json".to_owned(), body: body.to_string() };
        Self { status, ..Self::of(raw) }
    }

    /// An event stream or document as it is, with status 200.
    pub(crate) fn raw(body: impl Into<String>) -> Self {
        let body = body.into();
        let stream = body.starts_with("data:") || body.starts_with(':');
        let kind = if stream { "text/event-stream" } else { "application/json" };
        Self::of(Kind::Raw { kind: kind.to_owned(), body })
    }

    /// Another body for a status.
    #[must_use]
    pub(crate) fn body(mut self, kind: &str, body: impl Into<String>) -> Self {
        self.kind = Kind::Raw { kind: kind.to_owned(), body: body.into() };
        self
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, value: &str) -> Self {
        self.headers.push(("retry-after", value.to_owned()));
        self
    }

    #[must_use]
    pub(crate) fn split(mut self, bytes: usize) -> Self {
        self.split = Some(bytes);
        self
    }

    #[must_use]
    pub(crate) fn hang_after(mut self, events: usize) -> Self {
        self.hang_after = Some(events);
        self
    }

    #[must_use]
    pub(crate) fn cut_after(mut self, events: usize) -> Self {
        self.cut_after = Some(events);
        self
    }

    #[must_use]
    pub(crate) fn hold_after(mut self, events: usize, gate: &Arc<Semaphore>) -> Self {
        self.hold_after = Some((events, Arc::clone(gate)));
        self
    }

    #[must_use]
    pub(crate) fn without_usage(mut self) -> Self {
        self.usage = false;
        self
    }

    #[must_use]
    pub(crate) fn finish(mut self, reason: &'static str) -> Self {
        self.finish = Some(reason);
        self
    }

    #[must_use]
    pub(crate) fn without_finish(mut self) -> Self {
        self.finish = None;
        self
    }

    async fn answer(self, asked: &Asked) -> Response {
        let (kind, events) = match &self.kind {
            Kind::Hang => std::future::pending().await,
            Kind::Raw { kind, body } => (kind.clone(), vec![body.clone()]),
            Kind::Answer { text, calls, refusal } if asked.streamed() => {
                let refusal = refusal.as_deref();
                ("text/event-stream".to_owned(), self.events(asked, text, calls, refusal))
            }
            Kind::Answer { text, calls, refusal } => {
                let document = self.document(asked, text, calls, refusal.as_deref());
                ("application/json".to_owned(), vec![document.to_string()])
            }
        };
        let mut response =
            Response::builder().status(self.status).header(header::CONTENT_TYPE, kind);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let length = events.len();
        let kept = self.hang_after.or(self.cut_after).unwrap_or(length).min(length);
        let bytes: Vec<Bytes> = match self.split {
            // Each by itself, or what is written together is sent together.
            None => events.into_iter().take(kept).map(Bytes::from).collect(),
            Some(size) => {
                let all = events.into_iter().take(kept).collect::<String>().into_bytes();
                all.chunks(size.max(1)).map(Bytes::copy_from_slice).collect()
            }
        };
        let slow = self.split.is_some();
        let hold = self.hold_after;
        let sent = stream::iter(bytes).enumerate().then(move |(number, bytes)| {
            let gate = hold.as_ref().filter(|(after, _)| *after == number);
            let gate = gate.map(|(_, gate)| Arc::clone(gate));
            async move {
                if let Some(gate) = gate {
                    gate.acquire().await.unwrap().forget();
                }
                if slow {
                    tokio::task::yield_now().await;
                }
                Ok::<_, std::io::Error>(bytes)
            }
        });
        let body = if self.hang_after.is_some() {
            Body::from_stream(sent.chain(stream::once(std::future::pending())))
        } else if self.cut_after.is_some() {
            // An error in a body ends the connection in the midst of it, once what was
            // written has left.
            let cut = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("cut"))
            });
            Body::from_stream(sent.chain(cut))
        } else {
            Body::from_stream(sent)
        };
        response.body(body).unwrap()
    }

    fn usage(&self) -> Value {
        if self.usage {
            json!({ "prompt_tokens": 100, "completion_tokens": 20 })
        } else {
            Value::Null
        }
    }

    fn document(
        &self,
        asked: &Asked,
        text: &str,
        calls: &[(String, Value)],
        refusal: Option<&str>,
    ) -> Value {
        let call = |(at, (name, arguments)): (usize, &(String, Value))| {
            let function = json!({ "name": name, "arguments": arguments.to_string() });
            json!({ "id": format!("call_{at}"), "type": "function", "function": function })
        };
        let mut message = json!({ "role": "assistant", "content": text, "refusal": refusal });
        if !calls.is_empty() {
            message["tool_calls"] = calls.iter().enumerate().map(call).collect();
        }
        let choice = json!({ "index": 0, "message": message, "finish_reason": self.finish });
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked.model(),
            "service_tier": "on_demand", "choices": [choice], "usage": self.usage(),
        })
    }

    fn events(
        &self,
        asked: &Asked,
        text: &str,
        calls: &[(String, Value)],
        refusal: Option<&str>,
    ) -> Vec<String> {
        let event = |delta: &Value, finish: Option<&str>| {
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
            let chunk = json!({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                "model": asked.model(), "service_tier": "on_demand", "choices": [choice],
            });
            format!("data: {chunk}\n\n")
        };
        let mut events = vec![event(&json!({ "role": "assistant", "content": "" }), None)];
        for word in text.split_inclusive(' ') {
            events.push(event(&json!({ "content": word }), None));
        }
        if let Some(refusal) = refusal {
            events.push(event(&json!({ "refusal": refusal }), None));
        }
        for (at, (name, arguments)) in calls.iter().enumerate() {
            let head = json!({ "index": at, "id": format!("call_{at}"), "type": "function",
                "function": { "name": name, "arguments": "" } });
            events.push(event(&json!({ "tool_calls": [head] }), None));
            let arguments = arguments.to_string();
            let half = arguments.floor_char_boundary(arguments.len() / 2);
            for piece in [&arguments[..half], &arguments[half..]] {
                let part = json!({ "index": at, "function": { "arguments": piece } });
                events.push(event(&json!({ "tool_calls": [part] }), None));
            }
        }
        if self.finish.is_some() {
            events.push(event(&json!({}), self.finish));
        }
        if self.usage && asked.body["stream_options"]["include_usage"] == true {
            let usage = json!({ "id": "chatcmpl-1", "choices": [], "usage": self.usage() });
            events.push(format!("data: {usage}\n\n"));
        }
        events.push("data: [DONE]\n\n".to_owned());
        events
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn streamed(&self) -> bool {
        self.body["stream"] == true
    }

    pub(crate) fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The text of the last message.
    pub(crate) fn last(&self) -> &str {
        self.messages().last().and_then(|message| message["content"].as_str()).unwrap_or_default()
    }

    /// The names of the tools that were offered.
    pub(crate) fn tools(&self) -> Vec<&str> {
        let tools = self.body["tools"].as_array().into_iter().flatten();
        tools.filter_map(|tool| tool["function"]["name"].as_str()).collect()
    }
}

type By = Box<dyn Fn(&Asked) -> Reply + Send>;

#[derive(Default)]
struct Scripted {
    script: Option<Script>,
    replies: VecDeque<Reply>,
    always: Option<Reply>,
    by: Option<By>,
    asked: Vec<Asked>,
}

type Shared = Arc<Mutex<Scripted>>;

pub(crate) struct Model {
    /// With `/v1`.
    pub(crate) url: String,
    shared: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Model {
    /// One that treats all requests alike.
    pub(crate) async fn start(script: Script) -> Self {
        let model = Self::scripted().await;
        model.shared.lock().unwrap().script = Some(script);
        model.always(Reply::text("ready"));
        model
    }

    /// One that answers what it is told to.
    pub(crate) async fn scripted() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let shared = Shared::default();
        let router = Router::new()
            .route("/v1/models", get(list))
            .fallback(complete)
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// The answer to the next request that nothing is prepared for yet.
    pub(crate) fn push(&self, reply: Reply) {
        self.shared.lock().unwrap().replies.push_back(reply);
    }

    /// The answer to every request for which nothing else is prepared.
    pub(crate) fn always(&self, reply: Reply) {
        self.shared.lock().unwrap().always = Some(reply);
    }

    /// Decides by the request, after what was pushed.
    pub(crate) fn by(&self, answer: impl Fn(&Asked) -> Reply + Send + 'static) {
        self.shared.lock().unwrap().by = Some(Box::new(answer));
    }

    /// From now on it treats all requests like this; `None`: as scripted.
    pub(crate) fn script(&self, script: Option<Script>) {
        self.shared.lock().unwrap().script = script;
    }

    /// All requests for answers so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().asked.clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the script says to every request, if it does.
async fn treated(script: Option<Script>, headers: &HeaderMap) -> Option<Response> {
    match script? {
        Script::Hang => std::future::pending().await,
        Script::Broken => Some((StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response()),
        Script::Key(key) => {
            let sent = headers.get("authorization").and_then(|value| value.to_str().ok());
            if sent == Some(&format!("Bearer {key}")) {
                return None;
            }
            let body = r#"{"error":{"code":"invalid_api_key"}}"#;
            Some((StatusCode::UNAUTHORIZED, body).into_response())
        }
    }
}

async fn list(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let script = shared.lock().unwrap().script;
    if let Some(response) = treated(script, &headers).await {
        return response;
    }
    r#"{"object":"list","data":[{"id":"gpt-4o-mini"},{"id":"m"}]}"#.into_response()
}

async fn complete(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Infallible> {
    let asked = Asked { uri, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    let (script, reply) = {
        let mut shared = shared.lock().unwrap();
        shared.asked.push(asked.clone());
        let reply = if asked.uri.path().ends_with("/chat/completions") {
            let pushed =
                if shared.script == Some(Script::Hang) { None } else { shared.replies.pop_front() };
            let decided = pushed.or_else(|| shared.by.as_ref().map(|by| by(&asked)));
            decided.or_else(|| shared.always.clone()).unwrap_or_else(|| {
                Reply::status(500).body("text/plain", "the test has no answer prepared")
            })
        } else {
            Reply::status(404).body("text/plain", "404 page not found")
        };
        (shared.script, reply)
    };
    if let Some(response) = treated(script, &asked.headers).await {
        return Ok(response);
    }
    Ok(reply.answer(&asked).await)
}
