//! Putting an answer together from what servers send: whole or in pieces, with fields left
//! out, of other types, or with words of their own. Only what cannot be read is an error.

use serde_json::Value;

use super::{Finish, Trouble, message::ToolCall};

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub text: String,
    pub model: Option<String>,
    /// Tokens in and out, if the server counts.
    pub usage: Option<(u64, u64)>,
    refusal: String,
    finish: Option<String>,
    calls: Vec<Partial>,
}

#[derive(Debug, Default)]
struct Partial {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// More calls of tools in one answer are not read.
const MAX_CALLS: usize = 64;

impl Answer {
    /// Takes a chunk, or a whole answer. Gives the text that it adds.
    pub(super) fn take(&mut self, chunk: &Value) -> String {
        if let Some(model) = chunk.get("model").and_then(Value::as_str) {
            self.model.get_or_insert_with(|| model.chars().take(100).collect());
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            let count = |name: &str| usage.get(name).and_then(whole);
            if let (Some(sent), Some(written)) =
                (count("prompt_tokens"), count("completion_tokens"))
            {
                self.usage = Some((sent, written));
            }
        }
        let Some(choice) = chunk.pointer("/choices/0") else { return String::new() };
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str)
            && !finish.is_empty()
        {
            self.finish = Some(finish.chars().take(40).collect());
        }
        // Some servers stream whole messages, or send `message` beside an empty `delta`.
        let parts = ["delta", "message"].map(|name| choice.get(name).unwrap_or(&Value::Null));
        let mut added = String::new();
        for part in parts {
            added.push_str(&content(part.get("content")));
            self.refusal.push_str(part.get("refusal").and_then(Value::as_str).unwrap_or_default());
            for call in part.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                self.take_call(
                    call.get("index").and_then(whole),
                    call.get("id"),
                    call.get("function"),
                );
            }
            if let Some(function) = part.get("function_call").filter(|call| call.is_object()) {
                self.take_call(Some(0), None, Some(function));
            }
        }
        self.text.push_str(&added);
        added
    }

    fn take_call(&mut self, index: Option<u64>, id: Option<&Value>, function: Option<&Value>) {
        let id = id.and_then(Value::as_str).unwrap_or_default();
        let field = |name: &str| function.and_then(|function| function.get(name));
        let name = field("name").and_then(Value::as_str).unwrap_or_default();
        // A known index goes on, unless it comes with another id: some count each from 0.
        let goes_on = |call: &Partial| {
            (id.is_empty() || call.id.is_empty() || call.id == id)
                && match index {
                    Some(_) => call.index == index,
                    None => name.is_empty() || (!id.is_empty() && call.id == id),
                }
        };
        let known = self.calls.iter().rposition(goes_on);
        if known.is_none() {
            if self.calls.len() >= MAX_CALLS {
                return;
            }
            self.calls.push(Partial { index, ..Partial::default() });
        }
        let at = known.unwrap_or(self.calls.len() - 1);
        let Some(at) = self.calls.get_mut(at) else { return };
        if at.id.is_empty() {
            id.clone_into(&mut at.id);
        }
        if at.name.is_empty() {
            name.clone_into(&mut at.name);
        }
        match field("arguments") {
            Some(Value::String(piece)) => at.arguments.push_str(piece),
            Some(Value::Null) | None => {}
            Some(other) => at.arguments = other.to_string(),
        }
    }

    /// Whether the server said that it is done.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The calls, each with an id and arguments that are at least an empty object.
    pub(super) fn calls(&mut self) -> Vec<ToolCall> {
        let calls = std::mem::take(&mut self.calls).into_iter().enumerate();
        let calls = calls.filter(|(_, call)| !call.name.is_empty());
        calls
            .map(|(at, call)| ToolCall {
                id: if call.id.is_empty() { format!("call_{}", at + 1) } else { call.id },
                name: call.name,
                arguments: match call.arguments.trim() {
                    "" => "{}".to_owned(),
                    _ => call.arguments,
                },
            })
            .collect()
    }

    /// Why it ended; an error where that means that there is no answer. `whole`: it came as
    /// one document, which cannot have been cut off.
    pub(super) fn finish(&self, host: &str, whole: bool) -> Result<Finish, Trouble> {
        if !self.refusal.trim().is_empty() {
            return Err(Trouble::Refused { said: super::refusal::said(&self.refusal) });
        }
        let finish = match self.finish.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None if whole => Finish::Stop,
            None => {
                return Err(Trouble::Cut { host: host.to_owned(), shown: !self.text.is_empty() });
            }
            Some("stop" | "end_turn" | "eos" | "eos_token" | "stop_sequence" | "completed") => {
                Finish::Stop
            }
            Some("length" | "max_tokens" | "model_length") => Finish::Length,
            Some("tool_calls" | "function_call" | "tool_use") => Finish::Tools,
            Some("content_filter" | "safety" | "refusal") => {
                return Err(Trouble::Refused { said: "its content filter stopped it".to_owned() });
            }
            Some("error") => {
                let said = "it ended with an error".to_owned();
                return Err(Trouble::ServerError { host: host.to_owned(), status: 200, said });
            }
            Some(other) => Finish::Other(other.to_owned()),
        };
        if !self.calls.is_empty() && finish != Finish::Length {
            return Ok(Finish::Tools);
        }
        if self.text.trim().is_empty() && self.calls.is_empty() && finish != Finish::Length {
            let why = "an answer without any text".to_owned();
            return Err(Trouble::Malformed { host: host.to_owned(), why });
        }
        Ok(finish)
    }
}

/// A count, also where it is written as 12.0.
fn whole(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    let from_float = |count: f64| (0.0..1e15).contains(&count).then_some(count as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(from_float))
}

/// A text, or a list of parts of which some are text.
fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Answer;
    use crate::llm::{Finish, Trouble};

    fn of(chunks: &[Value]) -> Answer {
        let mut answer = Answer::default();
        for chunk in chunks {
            answer.take(chunk);
        }
        answer
    }

    fn delta(delta: &Value) -> Value {
        json!({ "choices": [{ "index": 0, "delta": delta }] })
    }

    fn call(value: &Value) -> Value {
        delta(&json!({ "tool_calls": [value] }))
    }

    fn calls(chunks: &[Value]) -> Vec<(String, String, String)> {
        let calls = of(chunks).calls();
        calls.into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
    }

    fn owned(calls: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        calls.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
    }

    #[test]
    fn calls_are_joined_however_they_come() {
        // As OpenAI sends them, two at once.
        let openai = calls(&[
            call(&json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "" } })),
            call(&json!({ "index": 0, "function": { "arguments": "{\"x\"" } })),
            call(&json!({ "index": 1, "id": "b", "function": { "name": "g", "arguments": "{}" } })),
            call(&json!({ "index": 0, "function": { "arguments": ":1}" } })),
        ]);
        assert_eq!(openai, owned(&[("a", "f", "{\"x\":1}"), ("b", "g", "{}")]));
        // Each whole with the same index, as Gemini's front does.
        let same = calls(&[
            call(&json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{}" } })),
            call(&json!({ "index": 0, "id": "b", "function": { "name": "f", "arguments": "{}" } })),
        ]);
        assert_eq!(same.len(), 2, "{same:?}");
        // Without index and id, with arguments as an object, or none.
        let bare = calls(&[
            call(&json!({ "function": { "name": "f", "arguments": { "x": 1 } } })),
            call(&json!({ "function": { "name": "g" } })),
        ]);
        assert_eq!(bare, owned(&[("call_1", "f", "{\"x\":1}"), ("call_2", "g", "{}")]));
        // Without index, in pieces.
        let pieces = calls(&[
            call(&json!({ "id": "a", "function": { "name": "f", "arguments": "{\"x\"" } })),
            call(&json!({ "function": { "arguments": ":1}" } })),
        ]);
        assert_eq!(pieces, owned(&[("a", "f", "{\"x\":1}")]));
        let old = calls(&[delta(&json!({ "function_call": { "name": "f", "arguments": "{}" } }))]);
        assert_eq!(old, owned(&[("call_1", "f", "{}")]));
    }

    #[test]
    fn ends_are_understood() {
        let end = |finish: Value, text: &str| {
            let delta = json!({ "content": text });
            let chunk = json!({ "choices": [{ "delta": delta, "finish_reason": finish }] });
            of(&[chunk]).finish("h", false)
        };
        assert_eq!(end(json!("stop"), "x"), Ok(Finish::Stop));
        assert_eq!(end(json!("STOP"), "x"), Ok(Finish::Stop));
        assert_eq!(end(json!("length"), ""), Ok(Finish::Length));
        assert_eq!(end(json!("odd"), "x"), Ok(Finish::Other("odd".to_owned())));
        assert_eq!(end(json!(null), "x"), Err(Trouble::Cut { host: "h".into(), shown: true }));
        assert_eq!(end(json!(""), ""), Err(Trouble::Cut { host: "h".into(), shown: false }));
        assert!(matches!(end(json!("content_filter"), "x"), Err(Trouble::Refused { .. })));
        assert!(matches!(end(json!("error"), "x"), Err(Trouble::ServerError { .. })));
        assert!(matches!(end(json!("stop"), " "), Err(Trouble::Malformed { .. })));
        let refusal = of(&[delta(&json!({ "refusal": "I will not" }))]);
        assert!(matches!(refusal.finish("h", true), Err(Trouble::Refused { .. })));
    }

    #[test]
    fn text_comes_in_several_forms() {
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "image" }, { "text": "b" }]);
        let whole = json!({ "model": "m", "choices": [{ "message": { "content": parts } }],
            "usage": { "prompt_tokens": 3.0, "completion_tokens": 1 } });
        let answer = of(&[whole, json!({ "choices": [] }), json!({}), json!(null), json!([1])]);
        assert_eq!((answer.text.as_str(), answer.usage), ("ab", Some((3, 1))));
        assert_eq!(answer.model.as_deref(), Some("m"));
    }
}
