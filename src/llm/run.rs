//! One call from beginning to end: checks, reservation, tries, what is noted of it.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use backon::BackoffBuilder;
use futures_util::StreamExt;
use serde_json::Value;

use super::{
    Call, Counts, Finish, Inputs, Llm, Message, Outgoing, Standing, Told, Trouble,
    answer::Answer,
    breaker::Pass,
    estimate,
    ledger::{self, Closing, Entry, Opening},
    outgoing,
    request::{self, Quirks, Shape},
    wire::{Asked, Seen},
};
use crate::{clock, config::ModelUse, redact};

/// How long a server may take to say what an answer cost after it has ended.
const AFTER_END: Duration = Duration::from_secs(1);

/// Who is told the text as it comes.
pub(super) type OnText<'a> = &'a mut (dyn FnMut(&str) + Send);

/// What the tries of one call have in common.
struct Tries<'a> {
    llm: &'a Llm,
    call: &'a Call<'a>,
    limits: &'a ModelUse,
    host: &'a str,
    max_output: u32,
    quirks: Quirks,
    form: Option<String>,
    entry: &'a Entry,
    attempts: u32,
    bytes_in: u64,
    /// Of tries that failed after the server had begun.
    wasted: (u64, u64),
    /// Some of an answer was handed over.
    shown: bool,
}

/// What a try gave.
struct Given {
    answer: Answer,
    finish: Finish,
}

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
        let sent = request::body(call, &shape).to_string();
        self.guard(call, &sent)?;
        let pass = self.0.breaker.enter()?;
        let redacted = redacted(call.messages);
        let opening = Opening {
            organization: call.organization,
            purpose: call.purpose,
            why: call.why,
            by: call.by,
            model: &limits.name,
            host: config.host(),
            sent: &sent,
            redacted: &redacted,
            tokens_in,
            max_output: max_output.into(),
        };
        let entry = ledger::open(&self.0.db, config, &self.0.known, &opening).await?;
        let started = clock::instant();
        let mut tries = Tries {
            llm: self,
            call,
            limits,
            host: config.host(),
            max_output,
            quirks,
            form,
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
        let tools = call.tools.iter().map(|tool| (&tool.name, &tool.parameters));
        for (name, value) in tools.chain(call.schema.map(|schema| (&schema.name, &schema.schema))) {
            let text = value.to_string();
            if redact::secrets(&text) != text {
                let why = format!("the definition of {name} holds what looks like a secret");
                return Err(Trouble::Withheld { why });
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

impl Tries<'_> {
    /// Tries until there is an answer, or a failure that another try would not mend.
    async fn all(
        &mut self,
        pass: &Pass<'_>,
        started: Instant,
        mut on_text: Option<OnText<'_>>,
    ) -> Result<Given, Trouble> {
        let config = &self.llm.0.config;
        let mut delays = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(30))
            .with_max_times(usize::try_from(config.retries).unwrap_or(usize::MAX))
            .with_jitter()
            .build();
        loop {
            self.attempts += 1;
            let left = self.limits.timeout.saturating_sub(started.elapsed());
            let on_piece: Option<OnText<'_>> = match &mut on_text {
                Some(on_text) => Some(&mut **on_text),
                None => None,
            };
            let tried = tokio::time::timeout(left, self.once(on_piece)).await;
            let trouble = match tried {
                Ok(Ok(given)) => {
                    pass.answered();
                    return Ok(given);
                }
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::TimedOut {
                    host: self.host.to_owned(),
                    waiting_for: "a whole answer",
                    after: self.limits.timeout,
                },
            };
            tracing::debug!(class = trouble.class(), attempt = self.attempts, "the model failed");
            if trouble.is_the_servers() {
                pass.failed(&trouble);
            } else {
                pass.answered();
            }
            if let Trouble::Rejected { said, .. } = &trouble
                && self.quirks.learn(said, self.call.schema.is_some(), on_text.is_some())
            {
                continue;
            }
            if self.shown || !trouble.passes() {
                return Err(self.as_shown(trouble));
            }
            let Some(delay) = delays.next() else { return Err(trouble) };
            let wait = match &trouble {
                Trouble::RateLimited { retry_after: Some(wait), .. } => *wait,
                _ => delay,
            };
            let left = self.limits.timeout.saturating_sub(started.elapsed());
            if wait > left || wait > config.max_retry_after.max(delay) {
                return Err(trouble);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// What broke off after some of it was handed over says so.
    fn as_shown(&self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Cut { host, .. } => Trouble::Cut { host, shown: self.shown },
            other => other,
        }
    }

    async fn once(&mut self, on_text: Option<OnText<'_>>) -> Result<Given, Trouble> {
        let shape = Shape {
            model: &self.limits.name,
            max_output: self.max_output,
            stream: on_text.is_some(),
            openai: is_openai(self.host),
            quirks: self.quirks,
            form: self.form.as_deref(),
        };
        let body = request::body(self.call, &shape);
        let asked = Asked { body: &body, host: self.host, model: &self.limits.name };
        let seen = Arc::new(Seen::default());
        let mut answer = Answer::default();
        let finish = match on_text {
            None => match self.llm.0.wire.whole(&asked, &seen).await {
                Ok(whole) => {
                    answer.take(&whole);
                    check_form(&whole, self.host).and_then(|()| answer.finish(self.host, true))
                }
                Err(trouble) => Err(trouble),
            },
            Some(on_text) => self.read(&asked, &seen, &mut answer, on_text).await,
        };
        self.bytes_in += seen.bytes.load(Ordering::Relaxed);
        match finish {
            Ok(finish) => Ok(Given { answer, finish }),
            Err(trouble) => {
                self.waste(&answer, &trouble);
                Err(trouble)
            }
        }
    }

    async fn read(
        &mut self,
        asked: &Asked<'_>,
        seen: &Arc<Seen>,
        answer: &mut Answer,
        on_text: OnText<'_>,
    ) -> Result<Finish, Trouble> {
        let (config, wire) = (&self.llm.0.config, &self.llm.0.wire);
        let late = |waiting_for, after| Trouble::TimedOut {
            host: self.host.to_owned(),
            waiting_for,
            after,
        };
        let first = async {
            let mut chunks = wire.stream(asked, seen).await?;
            let chunk = chunks.next().await;
            Ok::<_, Trouble>((chunks, chunk))
        };
        let first = tokio::time::timeout(self.limits.first_token, first).await;
        let (mut chunks, mut chunk) =
            first.map_err(|_| late("a first word", self.limits.first_token))??;
        while let Some(read) = chunk {
            let piece = answer.take(&read?);
            if !piece.is_empty() {
                self.shown = true;
                on_text(&piece);
                if let Ok(mut so_far) = self.entry.so_far.lock() {
                    so_far.tokens_out = estimate(&answer.text);
                    so_far.attempts = self.attempts;
                }
            }
            let patience = if answer.is_finished() { AFTER_END } else { config.between_tokens };
            chunk = match tokio::time::timeout(patience, chunks.next()).await {
                Ok(chunk) => chunk,
                Err(_) if answer.is_finished() => None,
                Err(_) => return Err(late("the next word", config.between_tokens)),
            };
        }
        answer.finish(self.host, false)
    }

    /// Counts what a failed try has probably cost: nothing, if the server did not begin.
    fn waste(&mut self, answer: &Answer, trouble: &Trouble) {
        let begun = matches!(
            trouble,
            Trouble::TimedOut { .. }
                | Trouble::Cut { .. }
                | Trouble::Malformed { .. }
                | Trouble::TooLarge { .. }
                | Trouble::Refused { .. }
        );
        if begun || !answer.text.is_empty() {
            let (used_in, used_out) = answer
                .usage
                .unwrap_or_else(|| (request::tokens(self.call), estimate(&answer.text)));
            self.wasted.0 += used_in;
            self.wasted.1 += used_out;
        }
    }
}

/// A document that has none of what an answer has is none.
pub(super) fn check_form(whole: &Value, host: &str) -> Result<(), Trouble> {
    if whole.pointer("/choices/0").is_some() {
        return Ok(());
    }
    let why = "JSON without choices".to_owned();
    Err(Trouble::Malformed { host: host.to_owned(), why })
}

pub(super) fn is_openai(host: &str) -> bool {
    host == "api.openai.com" || host.ends_with(".openai.com")
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
