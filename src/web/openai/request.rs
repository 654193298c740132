//! Reading a request for a completion: what is taken, what is without effect, and what is
//! refused because leaving it out would give another answer than was asked for.

use serde::Deserialize;
use serde_json::Value;

use super::{MODEL, Refusal};
use crate::chat::{MAX_MESSAGE, Said};

/// Messages of one request.
const MOST_MESSAGES: usize = 2048;

/// Bytes of earlier messages that are read, from the newest on.
const MOST_EARLIER: usize = 256 << 10;

/// A request. Fields that are not named here are without effect.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct NewCompletion {
    /// `lux`
    model: String,
    /// The conversation; the last message of the user is the question.
    messages: Vec<NewMessage>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// Only 1.
    n: Option<u32>,
    /// Only `{"type": "text"}`.
    #[schema(value_type = Option<Object>)]
    response_format: Option<Value>,
    /// Only `none` and `auto`: Lux uses its own tools.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    /// Only `["text"]`.
    modalities: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct StreamOptions {
    /// The last event tells what the answer took.
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = NewCompletionMessage)]
struct NewMessage {
    /// `user`, `assistant`, `system` or `developer`; what tools of the client said (`tool`,
    /// `function`) is left out.
    role: String,
    content: Option<Content>,
}

/// Text, or parts of which each is text.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged, expecting = "content must be a text or a list of parts with a type")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = MessagePart)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// What was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub question: String,
    /// Oldest first.
    pub earlier: Vec<Said>,
    pub stream: bool,
    pub include_usage: bool,
}

impl NewCompletion {
    pub(super) fn read(self) -> Result<Asked, Refusal> {
        if self.model != MODEL {
            return Err(Refusal::no_such_model(&self.model));
        }
        self.check()?;
        let stream = self.stream.unwrap_or(false);
        let include_usage = self.stream_options.is_some_and(|options| options.include_usage);
        let (question, earlier) = conversation(self.messages)?;
        Ok(Asked { question, earlier, stream, include_usage })
    }

    /// Refuses what would have to be given and is not.
    fn check(&self) -> Result<(), Refusal> {
        let unsupported =
            |message: &str, param: &str| Err(Refusal::invalid(message, param, "unsupported_value"));
        if self.stream_options.is_some() && self.stream != Some(true) {
            let message = "'stream_options' is only allowed when 'stream' is true.";
            return Err(Refusal::invalid(message, "stream_options", "invalid_value"));
        }
        if self.n.is_some_and(|n| n != 1) {
            return unsupported("Lux gives one answer; leave 'n' out.", "n");
        }
        if self.response_format.as_ref().is_some_and(|format| format["type"] != "text") {
            let message = "Lux answers in text; leave 'response_format' out.";
            return unsupported(message, "response_format");
        }
        let free = |choice: &Value| choice.is_null() || choice == "none" || choice == "auto";
        if self.tool_choice.as_ref().is_some_and(|choice| !free(choice)) {
            let message = "Lux uses its own tools and cannot be made to call others; leave \
                           'tool_choice' out.";
            return unsupported(message, "tool_choice");
        }
        if self.modalities.iter().flatten().any(|modality| modality != "text") {
            return unsupported("Lux answers in text; leave 'modalities' out.", "modalities");
        }
        if self.messages.len() > MOST_MESSAGES {
            let message = format!(
                "'messages' has {} entries; at most {MOST_MESSAGES} are read. Leave old ones out.",
                self.messages.len()
            );
            return Err(Refusal::invalid(&message, "messages", "array_above_max_length"));
        }
        Ok(())
    }
}

/// The question, and what was said before it.
fn conversation(messages: Vec<NewMessage>) -> Result<(String, Vec<Said>), Refusal> {
    let Some(asked) = messages.iter().rposition(|message| message.role == "user") else {
        let message = "there is no message of the role 'user'; its text is the question.";
        return Err(Refusal::invalid(message, "messages", "invalid_value"));
    };
    let mut question = String::new();
    let mut wishes = Vec::new();
    let mut earlier = Vec::new();
    for (number, NewMessage { role, content }) in messages.into_iter().enumerate() {
        let text = text(number, content)?;
        match role.as_str() {
            "user" if number == asked => question = text,
            "user" => earlier.push(Said { by_operator: true, text }),
            "assistant" => earlier.push(Said { by_operator: false, text }),
            // Whoever writes them has the operator's token: they are wishes, as any message.
            "system" | "developer" => wishes.push(text),
            // What tools of the client said is nothing that Lux knows the worth of.
            "tool" | "function" => {}
            other => {
                let other: String = other.chars().take(40).collect();
                let param = format!("messages[{number}].role");
                let message = format!(
                    "'{other}' is no role; there are 'system', 'developer', 'user', 'assistant', \
                     'tool' and 'function'."
                );
                return Err(Refusal::invalid(&message, &param, "invalid_value"));
            }
        }
    }
    let param = format!("messages[{asked}].content");
    if question.trim().is_empty() {
        let message = "the last message of the user is empty; its text is the question.";
        return Err(Refusal::invalid(message, &param, "invalid_value"));
    }
    if question.len() > MAX_MESSAGE {
        let message = format!(
            "the last message has {} bytes; at most {MAX_MESSAGE} are read. Ask with less.",
            question.len()
        );
        return Err(Refusal::invalid(&message, &param, "string_above_max_length"));
    }
    // Newest of all, so that they are the last to be left out.
    earlier.extend(wishes.into_iter().map(|text| Said { by_operator: true, text }));
    Ok((question, newest(earlier)))
}

fn text(number: usize, content: Option<Content>) -> Result<String, Refusal> {
    let parts = match content {
        None => return Ok(String::new()),
        Some(Content::Text(text)) => return Ok(text),
        Some(Content::Parts(parts)) => parts,
    };
    let mut whole = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        match (part.kind.as_str(), part.text) {
            ("text" | "refusal", text) => whole.push_str(&text.unwrap_or_default()),
            (kind, _) => {
                let kind: String = kind.chars().take(40).collect();
                let param = format!("messages[{number}].content[{index}]");
                let message = format!("Lux reads text only, and this part is of type '{kind}'.");
                return Err(Refusal::invalid(&message, &param, "unsupported_value"));
            }
        }
    }
    Ok(whole)
}

/// The newest that have room.
fn newest(mut said: Vec<Said>) -> Vec<Said> {
    said.retain(|said| !said.text.trim().is_empty());
    let mut room = MOST_EARLIER;
    let kept = said.iter().rev().take_while(|said| {
        let fits = said.text.len() <= room;
        room = room.saturating_sub(said.text.len());
        fits
    });
    let left_out = said.len() - kept.count();
    said.drain(..left_out);
    said
}
