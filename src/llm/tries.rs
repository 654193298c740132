//! The tries of one call: what is read of each, what is tried again, and what is not.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use backon::BackoffBuilder;
use futures_util::StreamExt;
use serde_json::{Value, value::RawValue};

use super::{
    Call, Finish, Llm, Trouble,
    answer::Answer,
    breaker::Pass,
    entry::Entry,
    estimate,
    request::{self, Quirks, Shape},
    wire::{Asked, Seen},
};
use crate::config::ModelUse;

/// How long a server may take to say what an answer cost after it has ended.
const AFTER_END: Duration = Duration::from_secs(1);

/// Who is told the text as it comes.
pub(super) type OnText<'a> = &'a mut (dyn FnMut(&str) + Send);

/// What the tries of one call have in common.
pub(super) struct Tries<'a> {
    pub llm: &'a Llm,
    pub call: &'a Call<'a>,
    pub limits: &'a ModelUse,
    pub host: &'a str,
    pub max_output: u32,
    pub quirks: Quirks,
    pub form: Option<String>,
    /// What is sent, made anew where the server does not take all of it.
    pub body: Box<RawValue>,
    pub entry: &'a Entry,
    pub attempts: u32,
    pub bytes_in: u64,
    /// Of tries that failed after the server had begun.
    pub wasted: (u64, u64),
    /// Some of an answer was handed over.
    pub shown: bool,
}

/// What a try gave.
pub(super) struct Given {
    pub answer: Answer,
    pub finish: Finish,
}

impl Tries<'_> {
    /// Tries until there is an answer, or a failure that another try would not mend.
    pub(super) async fn all(
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
                self.body = request::body(self.call, &self.shape(on_text.is_some()))?;
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

    fn shape(&self, stream: bool) -> Shape<'_> {
        Shape {
            model: &self.limits.name,
            max_output: self.max_output,
            stream,
            openai: is_openai(self.host),
            quirks: self.quirks,
            form: self.form.as_deref(),
        }
    }

    async fn once(&mut self, on_text: Option<OnText<'_>>) -> Result<Given, Trouble> {
        let body = self.body.clone();
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
