//! The body of a request, and how it is changed for servers that do not take all of it.

use serde_json::{Map, Value, json};

use super::{Call, Message, Tool, estimate};

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

pub(super) fn body(call: &Call<'_>, shape: &Shape<'_>) -> Value {
    let mut messages: Vec<Value> = call.messages.iter().map(message).collect();
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(shape.model));
    if let Some(schema) = call.schema {
        if shape.quirks.no_schema {
            messages.extend(shape.form.map(|form| json!({ "role": "system", "content": form })));
        } else {
            let name = name(&schema.name);
            let format = json!({ "name": name, "strict": true, "schema": schema.schema });
            let format = json!({ "type": "json_schema", "json_schema": format });
            body.insert("response_format".to_owned(), format);
        }
    }
    body.insert("messages".to_owned(), Value::Array(messages));
    if !call.tools.is_empty() {
        body.insert("tools".to_owned(), call.tools.iter().map(tool).collect());
    }
    let limit = if shape.openai == shape.quirks.other_limit {
        "max_tokens"
    } else {
        "max_completion_tokens"
    };
    body.insert(limit.to_owned(), json!(shape.max_output));
    body.insert("stream".to_owned(), json!(shape.stream));
    if shape.stream && !shape.quirks.no_stream_options {
        body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    }
    Value::Object(body)
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

fn tool(tool: &Tool) -> Value {
    let function = json!({
        "name": name(&tool.name),
        "description": tool.description,
        "parameters": tool.parameters,
    });
    json!({ "type": "function", "function": function })
}

/// Names and ids, which the model or a caller chose, are letters, digits, `_` and `-`, 64 at most.
fn name(name: &str) -> String {
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
    let tools = call.tools.iter().map(|it| estimate(&tool(it).to_string()));
    let schema = call.schema.map(|schema| estimate(&schema.schema.to_string()));
    messages.sum::<u64>() + tools.sum::<u64>() + schema.unwrap_or(0)
}
