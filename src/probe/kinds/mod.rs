//! One file for each way of looking; this one chooses, and bounds the time.

mod http;
mod tcp;

use std::time::{Duration, Instant};

use url::Url;

use super::{Check, Outcome, Probe, judge::Memory};
use crate::{app::App, clock, outbound::Outbound};

/// What one run saw. Not yet free of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub outcome: Outcome,
    /// One sentence.
    pub why: String,
    /// What was asked, in one line.
    pub request: String,
    pub status: Option<u16>,
    pub took: Duration,
    pub body_hash: Option<String>,
    /// There was a body, and it was not empty.
    pub has_content: bool,
    pub excerpt: Option<String>,
    /// Of http: what an event of the application would name.
    pub asked: Option<Asked>,
}

/// The request as the application saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// Without the query.
    pub path: String,
}

impl Seen {
    fn new(outcome: Outcome, request: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            outcome,
            why: why.into(),
            request: request.into(),
            status: None,
            took: Duration::ZERO,
            body_hash: None,
            has_content: false,
            excerpt: None,
            asked: None,
        }
    }

    fn took(mut self, took: Duration) -> Self {
        self.took = took;
        self
    }
}

/// Runs a probe, whatever comes of it.
pub(super) async fn run(app: &App, probe: &Probe, mark: &str, memory: Option<&Memory>) -> Seen {
    let started = clock::instant();
    let mut seen = match &probe.check {
        Check::Http { .. } => http::run(app, probe, mark, memory).await,
        Check::Tcp { target } => tcp::run(app.outbound.visitor(), target, probe.timeout).await,
        _ => Seen::new(Outcome::Unclear, probe.check.kind().as_str(), "not there yet"),
    };
    if seen.took.is_zero() {
        seen.took = started.elapsed();
    }
    if let Some(most) = probe.expect.max_ms
        && seen.outcome == Outcome::Pass
        && seen.took > Duration::from_millis(most)
    {
        seen.outcome = Outcome::Fail;
        seen.why = format!("took {} ms; {most} ms are expected at most", seen.took.as_millis());
    }
    seen
}

/// Asks for a URL once, as `lux probe URL` does: the operator names the place, so only
/// what is always refused is refused.
pub async fn one_shot(outbound: &Outbound, url: &Url, timeout: Duration) -> Seen {
    http::one_shot(outbound, url, timeout).await
}

/// The time that is left of a span.
fn left(started: Instant, of: Duration) -> Duration {
    of.saturating_sub(started.elapsed())
}
