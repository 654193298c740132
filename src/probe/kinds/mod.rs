//! One file for each way of looking; this one chooses, and bounds the time.

mod api_key;
pub(super) mod certificate;
mod database;
mod disk;
mod dns;
mod environment;
mod http;
mod port;
mod program;
mod secret;
mod tcp;
mod tls;
mod unit;

use std::time::Duration;

use url::Url;

pub(super) use database::server;

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
    let (visitor, timeout) = (app.outbound.visitor(), probe.timeout);
    let systemctl = &app.config.repair.systemctl;
    let mut seen = match &probe.check {
        Check::Http { .. } => http::run(app, probe, mark, memory).await,
        Check::Tcp { target } => tcp::run(visitor, target, timeout).await,
        Check::Tls { target, name, ca_file } => {
            let days = probe.expect.certificate_days;
            tls::run(visitor, target, name.as_deref(), ca_file.as_deref(), days, timeout).await
        }
        Check::Database { url, query, tables } => {
            database::run(&app.config, url, tables, query.as_deref(), timeout).await
        }
        Check::ApiKey { base_url, key } => api_key::run(app, base_url, key, mark, timeout).await,
        Check::Config { service, variables } => {
            environment::run(systemctl, service, variables, timeout).await
        }
        Check::Disk { path } => disk::run(path, &probe.expect, timeout).await,
        Check::Unit { unit } => {
            unit::run(systemctl, unit, probe.expect.state.as_deref(), timeout).await
        }
        Check::Port { port, address, process } => {
            let (port, address, process) = (*port, *address, process.clone());
            let looked =
                tokio::task::spawn_blocking(move || port::run(port, address, process.as_deref()));
            looked.await.unwrap_or_else(|error| {
                Seen::new(Outcome::Unclear, probe.check.to_string(), error.to_string())
            })
        }
        Check::Dns { name } => {
            dns::run(visitor.resolver(), name, &probe.expect.addresses, timeout).await
        }
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
