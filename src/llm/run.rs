//! One call from beginning to end: checks, reservation, tries, what is noted of it.

use std::sync::PoisonError;

use serde_json::Value;

use super::{
    Call, Counts, Inputs, Llm, Message, Outgoing, Schema, Standing, Told, Trouble,
    entry::{self, Closing, Opening},
    estimate, outgoing,
    request::{self, Quirks, Shape},
    tries::{Given, OnText, Tries, is_openai},
};
use crate::{clock, redact};

impl Llm {
    pub(super) async fn run(
        &self,
        call: Call<'_>,
        on_text: Option<OnText<'_>>,
    ) -> Result<Told, Trouble> {
        let told = self.call(&call, on_text).await;
        let class = told.as_ref().map_or_else(Trouble::class, |_| "told");
        let purpose = call.purpose.as_str();
        metrics::counter!("lux_model_calls_total", "purpose" => purpose, "result" => class)
            .increment(1);
        if let Ok(told) = &told {
            metrics::histogram!("lux_model_seconds", "purpose" => purpose)
                .record(told.latency.as_secs_f64());
        }
        self.note(told.as_ref().map(drop));
        told
    }

    /// Remembers how it went, for health.
    pub(super) fn note(&self, how: Result<(), &Trouble>) {
        let at = clock::now();
        let standing = match how {
            Ok(()) => Standing::Well { at },
            // These say something of the call, or what is known already.
            Err(
                Trouble::TooLong { .. }
                | Trouble::Withheld { .. }
                | Trouble::Refused { .. }
                | Trouble::CircuitOpen { .. }
                | Trouble::NoKey
                | Trouble::NoLedger,
            ) => return,
            Err(trouble) => Standing::Ill { at, trouble: trouble.clone() },
        };
        *self.0.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    async fn call(&self, call: &Call<'_>, on_text: Option<OnText<'_>>) -> Result<Told, Trouble> {
        let config = &self.0.config;
        if !config.is_on() {
            return Err(Trouble::NoKey);
        }
        let limits = self.limits(call.purpose);
        let max_output =
            call.max_output.unwrap_or(limits.max_output_tokens).min(limits.max_output_tokens);
        let tokens_in = request::tokens(call);
        if tokens_in > u64::from(limits.max_input_tokens) {
            let limit = limits.max_input_tokens.into();
            return Err(Trouble::TooLong { tokens: tokens_in, limit });
        }
        let quirks = self.quirks(&limits.name);
        let form = match call.schema {
            None => None,
            Some(schema) => Some(self.form(&schema.schema)?),
        };
        let shape = Shape {
            model: &limits.name,
            max_output,
            stream: on_text.is_some(),
            openai: is_openai(config.host()),
            quirks,
            form: form.as_deref(),
        };
        let sent = request::body(call, &shape)?;
        self.guard(call, sent.get())?;
        let pass = self.0.breaker.enter()?;
        let redacted = redacted(call.messages);
        let opening = Opening {
            organization: call.organization,
            purpose: call.purpose,
            why: call.why,
            by: call.by,
            model: &limits.name,
            host: config.host(),
            sent: sent.get(),
            redacted: &redacted,
            tokens_in,
            max_output: max_output.into(),
        };
        let entry =
            entry::open(&self.0.db, config, &self.0.known, &self.0.sealer, &opening).await?;
        let started = clock::instant();
        let mut tries = Tries {
            llm: self,
            call,
            limits,
            host: config.host(),
            max_output,
            quirks,
            form,
            body: sent.clone(),
            entry: &entry,
            attempts: 0,
            bytes_in: 0,
            wasted: (0, 0),
            shown: false,
        };
        let given = tries.all(&pass, started, on_text).await;
        let (attempts, bytes_in, wasted) = (tries.attempts, tries.bytes_in, tries.wasted);
        let learnt = tries.quirks;
        let id = entry.id;
        let latency = started.elapsed();
        let mut closing = Closing {
            attempts,
            bytes_in,
            tokens_in: wasted.0,
            tokens_out: wasted.1,
            estimated: true,
            latency,
            ..Closing::default()
        };
        let told = match given {
            Err(trouble) => {
                closing.result = trouble.class();
                closing.detail = Some(trouble.to_string());
                Err(trouble)
            }
            Ok(Given { mut answer, finish }) => {
                if learnt != quirks {
                    self.learn(&limits.name, learnt);
                }
                let calls = answer.calls();
                let written = calls.iter().map(|it| estimate(&it.name) + estimate(&it.arguments));
                let written = written.sum::<u64>() + estimate(&answer.text);
                let (used_in, used_out) = answer.usage.unwrap_or((tokens_in, written));
                closing.result = "told";
                closing.tokens_in += used_in;
                closing.tokens_out += used_out;
                closing.estimated = answer.usage.is_none() || wasted != (0, 0);
                closing.answer = Some(shown(&answer.text, &calls));
                Ok(Told {
                    text: answer.text,
                    calls,
                    finish,
                    tokens_in: closing.tokens_in,
                    tokens_out: closing.tokens_out,
                    estimated: closing.estimated,
                    cost_micros: super::budget::cost(config, closing.tokens_in, closing.tokens_out),
                    model: answer.model.unwrap_or_else(|| limits.name.clone()),
                    ledger: id,
                    attempts,
                    latency,
                })
            }
        };
        entry.close(closing).await;
        told
    }

    /// The last look at what is about to leave: none of Lux's own secrets, and nothing that
    /// looks like one in what no desk has seen.
    fn guard(&self, call: &Call<'_>, sent: &str) -> Result<(), Trouble> {
        if self.0.known.is_in(sent) {
            let why = "the text holds one of Lux's own secrets".to_owned();
            return Err(Trouble::Withheld { why });
        }
        let withheld = |name: &str| {
            let why = format!("the definition of {name} holds what looks like a secret");
            Err(Trouble::Withheld { why })
        };
        if let Some(tool) = call.tools.iter().find(|tool| !tool.is_clean) {
            return withheld(tool.name());
        }
        if let Some(Schema { name, schema }) = call.schema {
            let text = format!("{name} {schema}");
            if redact::secrets(&text) != text {
                return withheld(name);
            }
        }
        Ok(())
    }

    /// The words that say the form of an answer.
    fn form(&self, schema: &Value) -> Result<String, Trouble> {
        let schema = Outgoing::rendered(schema.to_string(), Counts::new());
        let prompt = self.prompts().render("form", Inputs::new().text("schema", &schema));
        prompt
            .map(|prompt| prompt.text.as_str().to_owned())
            .map_err(|error| Trouble::Withheld { why: error.to_string() })
    }

    fn quirks(&self, model: &str) -> Quirks {
        let quirks = self.0.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        quirks.get(model).copied().unwrap_or_default()
    }

    fn learn(&self, model: &str, quirks: Quirks) {
        let mut known = self.0.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(model.to_owned(), quirks);
    }
}

fn redacted(messages: &[Message]) -> Counts {
    let mut all = Counts::new();
    for message in messages {
        match message {
            Message::System(text) | Message::User(text) => outgoing::add(&mut all, text.redacted()),
            Message::Tool { result, .. } => outgoing::add(&mut all, result.redacted()),
            Message::Assistant { text: Some(text), .. } => {
                outgoing::add(&mut all, text.redacted());
            }
            Message::Assistant { text: None, .. } => {}
        }
    }
    all
}

/// An answer as the ledger shows it.
fn shown(text: &str, calls: &[super::ToolCall]) -> String {
    let calls = calls.iter().map(|call| format!("[{}({})]", call.name(), call.arguments()));
    std::iter::once(text.to_owned())
        .filter(|text| !text.is_empty())
        .chain(calls)
        .collect::<Vec<_>>()
        .join("\n")
}
