//! The body of a request, and how it is changed for servers that do not take all of it.

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{Call, Message, Tool, Trouble, estimate};

/// What a server was seen not to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quirks {
    pub no_schema: bool,
    pub no_stream_options: bool,
    /// The name of the limit is the other one than its host suggests.
    pub other_limit: bool,
}

impl Quirks {
    /// Learns from a refusal (400, 422); `false` where nothing is left to try.
    pub(super) fn learn(&mut self, said: &str, has_schema: bool, streams: bool) -> bool {
        let said = said.to_ascii_lowercase();
        let learnt = if said.contains("max_tokens") || said.contains("max_completion_tokens") {
            &mut self.other_limit
        } else if streams && said.contains("stream_options") {
            &mut self.no_stream_options
        } else if has_schema {
            &mut self.no_schema
        } else {
            return false;
        };
        !std::mem::replace(learnt, true)
    }
}

/// Everything the body depends on.
pub(super) struct Shape<'a> {
    pub model: &'a str,
    pub max_output: u32,
    pub stream: bool,
    /// OpenAI's own server names the limit otherwise than all others.
    pub openai: bool,
    pub quirks: Quirks,
    /// What says the form of the answer where the server cannot be told.
    pub form: Option<&'a str>,
}

/// As OpenAI's API names them.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
}

/// The text that is looked through, noted and sent.
pub(super) fn body(call: &Call<'_>, shape: &Shape<'_>) -> Result<Box<RawValue>, Trouble> {
    let quirks = shape.quirks;
    let mut messages: Vec<Value> = call.messages.iter().map(message).collect();
    let mut response_format = None;
    if let Some(schema) = call.schema {
        if quirks.no_schema {
            messages.extend(shape.form.map(|form| json!({ "role": "system", "content": form })));
        } else {
            let name = name(&schema.name);
            let format = json!({ "name": name, "strict": true, "schema": schema.schema });
            response_format = Some(json!({ "type": "json_schema", "json_schema": format }));
        }
    }
    let (max_tokens, max_completion_tokens) = if shape.openai == quirks.other_limit {
        (Some(shape.max_output), None)
    } else {
        (None, Some(shape.max_output))
    };
    let counts = shape.stream && !quirks.no_stream_options;
    let body = Body {
        model: shape.model,
        messages,
        tools: call.tools.iter().map(|tool| &*tool.definition).collect(),
        response_format,
        max_tokens,
        max_completion_tokens,
        stream: shape.stream,
        stream_options: counts.then(|| json!({ "include_usage": true })),
    };
    serde_json::value::to_raw_value(&body)
        .map_err(|error| Trouble::Withheld { why: error.to_string() })
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({ "role": "system", "content": text.as_str() }),
        Message::User(text) => json!({ "role": "user", "content": text.as_str() }),
        Message::Tool { call, result } => {
            json!({ "role": "tool", "tool_call_id": name(call), "content": result.as_str() })
        }
        Message::Assistant { text, calls } => {
            let content = text.as_ref().map(super::Outgoing::as_str);
            let mut message = json!({ "role": "assistant", "content": content });
            if !calls.is_empty() {
                let call = |call: &super::ToolCall| {
                    let function = json!({ "name": name(&call.name), "arguments": call.arguments });
                    json!({ "id": name(&call.id), "type": "function", "function": function })
                };
                message["tool_calls"] = calls.iter().map(call).collect();
            }
            message
        }
    }
}

/// Names and ids, which the model or a caller chose, are letters, digits, `_` and `-`, 64 at most.
pub(super) fn name(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(fit).take(64).collect()
}

/// About how many tokens a body is, without what only frames it.
pub(super) fn tokens(call: &Call<'_>) -> u64 {
    let text = |text: &super::Outgoing| estimate(text.as_str());
    let messages = call.messages.iter().map(|message| {
        4 + match message {
            Message::System(said) | Message::User(said) => text(said),
            Message::Tool { call, result } => estimate(call) + text(result),
            Message::Assistant { text: said, calls } => {
                let calls =
                    calls.iter().map(|call| estimate(&call.name) + estimate(&call.arguments));
                said.as_ref().map_or(0, text) + calls.sum::<u64>()
            }
        }
    });
    let tools = call.tools.iter().map(Tool::tokens);
    let schema = call.schema.map(|schema| estimate(&schema.schema.to_string()));
    messages.sum::<u64>() + tools.sum::<u64>() + schema.unwrap_or(0)
}
