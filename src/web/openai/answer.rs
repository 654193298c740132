//! Lux's answer in OpenAI's form: whole, or as chunks.

use axum::response::sse::Event;
use serde::Serialize;
use serde_json::{Value, json};

use super::MODEL;
use crate::{
    chat::{Citation, Heard, Reply},
    clock,
    http::{Problem, openai},
};

/// A whole answer.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Completion {
    id: String,
    /// "chat.completion"
    object: &'static str,
    /// Seconds since 1970.
    created: i64,
    model: &'static str,
    choices: [Choice; 1],
    usage: Usage,
    lux: Extra,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Choice {
    index: u8,
    message: Message,
    /// Always null.
    logprobs: Option<bool>,
    /// "stop", or "length" for an answer that reached its limit.
    finish_reason: &'static str,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = CompletionMessage)]
struct Message {
    /// "assistant"
    role: &'static str,
    content: String,
    /// Always null.
    refusal: Option<String>,
}

/// What the model behind Lux took; nothing where the advisor answered.
#[derive(Clone, Copy, Default, Serialize, utoipa::ToSchema)]
#[schema(as = TokenUsage)]
#[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

/// What Lux says beyond the words.
#[derive(Serialize, utoipa::ToSchema)]
struct Extra {
    /// "advisor": the built-in one; or "model".
    engine: &'static str,
    /// The model behind Lux.
    model: Option<String>,
    /// The whole answer as it was checked, without the notice.
    text: String,
    citations: Vec<Citation>,
    /// Quotations that were not found in what was read.
    unproven: Vec<String>,
    /// Actions that a person may start.
    proposals: Vec<Value>,
    #[schema(value_type = Option<Object>)]
    diagnosis: Option<Value>,
    run_id: Option<i64>,
    #[schema(value_type = Option<Object>)]
    repair_results: Option<Value>,
    /// What is missing from the answer, and why; also the last paragraph of the text.
    notice: Option<String>,
}

impl Extra {
    fn of(reply: Reply) -> Self {
        Self {
            engine: reply.engine,
            model: reply.model,
            text: reply.response,
            citations: reply.citations,
            unproven: reply.unproven,
            proposals: reply.proposals,
            diagnosis: reply.diagnosis,
            run_id: reply.run_id,
            repair_results: reply.repair_results,
            notice: reply.notice,
        }
    }
}

fn usage(reply: &Reply) -> Usage {
    reply.usage.map_or_else(Usage::default, |used| Usage {
        prompt_tokens: used.tokens_in,
        completion_tokens: used.tokens_out,
        total_tokens: used.tokens_in + used.tokens_out,
    })
}

fn new_id() -> String {
    format!("chatcmpl-{}", uuid::Uuid::now_v7().simple())
}

impl Completion {
    pub(super) fn of(reply: Reply) -> Self {
        let (usage, finish_reason) = (usage(&reply), reply.finish);
        let extra = Extra::of(reply);
        // Most clients show nothing but the text.
        let content = match &extra.notice {
            Some(notice) => format!("{}\n\n{notice}", extra.text.trim_end()),
            None => extra.text.clone(),
        };
        let message = Message { role: "assistant", content, refusal: None };
        Self {
            id: new_id(),
            object: "chat.completion",
            created: clock::now().timestamp(),
            model: MODEL,
            choices: [Choice { index: 0, message, logprobs: None, finish_reason }],
            usage,
            lux: extra,
        }
    }
}

/// Writes an answer as it comes.
pub(super) struct Writer {
    id: String,
    created: i64,
    include_usage: bool,
    /// Words were written, and nothing since.
    in_text: bool,
    /// Words were written.
    spoke: bool,
}

impl Writer {
    pub(super) fn new(include_usage: bool) -> Self {
        let created = clock::now().timestamp();
        Self { id: new_id(), created, include_usage, in_text: false, spoke: false }
    }

    /// The first chunk.
    pub(super) fn begin(&self) -> Vec<Event> {
        vec![self.words(&json!({ "role": "assistant", "content": "" }))]
    }

    pub(super) fn write(&mut self, heard: Heard) -> Vec<Event> {
        match heard {
            Heard::Text(text) => {
                let text = if self.spoke && !self.in_text { format!("\n\n{text}") } else { text };
                (self.spoke, self.in_text) = (true, true);
                vec![self.words(&json!({ "content": text }))]
            }
            // Shows the client that something goes on.
            Heard::Busy(what) => {
                self.in_text = false;
                vec![Event::default().comment(what)]
            }
            Heard::Done(Ok(reply)) => self.end(*reply),
            Heard::Done(Err(problem)) => fail(&problem),
        }
    }

    fn end(&self, reply: Reply) -> Vec<Event> {
        let (usage, finish_reason) = (usage(&reply), reply.finish);
        let mut events = Vec::with_capacity(4);
        if let Some(notice) = self.notice(&reply) {
            events.push(self.words(&json!({ "content": notice })));
        }
        let choices = json!([{ "index": 0, "delta": {}, "finish_reason": finish_reason }]);
        let mut last = self.chunk(&choices);
        last["lux"] = serde_json::to_value(Extra::of(reply)).unwrap_or_default();
        events.push(data(&last));
        if self.include_usage {
            let mut chunk = self.chunk(&json!([]));
            chunk["usage"] = serde_json::to_value(usage).unwrap_or_default();
            events.push(data(&chunk));
        }
        events.push(Event::default().data("[DONE]"));
        events
    }

    /// What the words that were written cannot say any more.
    fn notice(&self, reply: &Reply) -> Option<String> {
        let mut notice = reply.notice.clone()?;
        for quote in &reply.unproven {
            notice.push_str("\n- \"");
            notice.push_str(quote);
            notice.push('"');
        }
        Some(if self.spoke { format!("\n\n{notice}") } else { notice })
    }

    fn words(&self, delta: &Value) -> Event {
        data(&self.chunk(&json!([{ "index": 0, "delta": delta, "finish_reason": null }])))
    }

    fn chunk(&self, choices: &Value) -> Value {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": MODEL,
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

/// As OpenAI tells of failures after the head has left.
fn fail(problem: &Problem) -> Vec<Event> {
    vec![data(&openai::error_of(problem)), Event::default().data("[DONE]")]
}

fn data(chunk: &Value) -> Event {
    Event::default().data(chunk.to_string())
}
