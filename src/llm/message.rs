//! What a call is made of, and what it gives.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use super::{Outgoing, request};
use crate::{auth::OrganizationId, redact};

/// What a call is for. Model and limits are set for each: `[model.chat]` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    Chat,
    Diagnose,
    Plan,
    Campaign,
}

impl Purpose {
    pub const ALL: [Self; 4] = [Self::Chat, Self::Diagnose, Self::Plan, Self::Campaign];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Diagnose => "diagnose",
            Self::Plan => "plan",
            Self::Campaign => "campaign",
        }
    }
}

/// One call of the model.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub purpose: Purpose,
    /// For the ledger: "message 12 of session 4".
    pub why: &'a str,
    pub organization: OrganizationId,
    /// For whom: a caller's name, "schedule".
    pub by: &'a str,
    pub messages: &'a [Message],
    pub tools: &'a [Tool],
    /// The answer has to be JSON of this form. Servers that cannot force it are asked without:
    /// check what comes.
    pub schema: Option<&'a Schema>,
    /// Most tokens of the answer; at most what the purpose allows, which is the default.
    pub max_output: Option<u32>,
}

/// One message of a conversation.
#[derive(Clone, Debug)]
pub enum Message {
    System(Outgoing),
    User(Outgoing),
    /// An earlier answer of the model: its text, its calls of tools, or both.
    Assistant {
        text: Option<Outgoing>,
        calls: Vec<ToolCall>,
    },
    /// What a tool gave, for the call of this id.
    Tool {
        call: String,
        result: Outgoing,
    },
}

/// A tool that the model may call. The same few go with every request of a chat, so each is
/// written, measured and looked through once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tool {
    name: Arc<str>,
    /// As it is sent.
    pub(super) definition: Arc<RawValue>,
    tokens: u64,
    /// Nothing in it looks like a secret.
    pub(super) is_clean: bool,
}

impl Tool {
    /// `description` is our own words, no data; `parameters` the JSON Schema of an object.
    pub fn new(name: &str, description: &str, parameters: &Value) -> Self {
        let function = json!({
            "name": request::name(name),
            "description": description,
            "parameters": parameters,
        });
        let definition = json!({ "type": "function", "function": function }).to_string();
        Self {
            name: name.into(),
            tokens: estimate(&definition),
            is_clean: redact::secrets(&definition) == definition,
            // What a JSON value wrote is JSON.
            definition: RawValue::from_string(definition).unwrap_or_default().into(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// About how many tokens it takes in a request.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Letters, digits, `_` and `-`.
    pub name: Cow<'static, str>,
    /// As OpenAI's strict mode wants it: all fields required, `additionalProperties: false`.
    pub schema: Value,
}

/// A call of a tool. The model wrote it: nothing in it is to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl ToolCall {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// As written; to run a tool, reveal the placeholders in it first.
    pub fn arguments(&self) -> &str {
        &self.arguments
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was complete.
    Stop,
    /// It was as long as it may be; the rest is missing.
    Length,
    /// Tools are to be called.
    Tools,
    /// A word of the server's own.
    Other(String),
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Told {
    /// With placeholders; `Desk::reveal` is for the operator's screen.
    pub text: String,
    pub calls: Vec<ToolCall>,
    pub finish: Finish,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// The server did not count; the tokens are a guess.
    pub estimated: bool,
    /// Millionths of the prices' currency, if there are prices.
    pub cost_micros: Option<i64>,
    /// As the server named it.
    pub model: String,
    /// The request in the ledger.
    pub ledger: i64,
    pub attempts: u32,
    pub latency: Duration,
}

impl Told {
    /// The answer as JSON, with or without a Markdown fence around it. The error says what is
    /// wrong with it, for the model to mend.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        let text = self.text.trim();
        let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
        let inner = inner.map_or(text, |inner| {
            inner.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).trim()
        });
        serde_json::from_str(inner).map_err(|error| format!("the answer is not as asked: {error}"))
    }
}

/// About how many tokens a text is: logs have more of them than prose.
pub fn estimate(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let other = text.chars().filter(|c| !c.is_ascii()).count();
    u64::try_from((ascii * 2).div_ceil(7) + other).unwrap_or(u64::MAX)
}
