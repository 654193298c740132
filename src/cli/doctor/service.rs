//! What Lux talks to: the database and the model's server.

use std::time::Duration;

use http::Method;
use secrecy::ExposeSecret;

use super::Check;
use crate::{
    clock,
    config::Config,
    db::Db,
    jobs::{Scheduled, next_runs},
    outbound::Outbound,
};

/// Connects as the service would. A missing database file is made by the first start,
/// so it is looked at without making one.
pub(super) async fn database(config: &Config) -> Check {
    let name = "database";
    let url = config.database_url.expose_secret();
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//").split('?').next().unwrap_or_default();
        if !std::path::Path::new(path).exists() {
            return Check::ok(name, format!("{path} will be made at the first start"));
        }
    }
    let opening = tokio::time::timeout(Duration::from_secs(15), Db::open(url, 1)).await;
    match opening {
        Ok(Ok(db)) => {
            let answer = match db.pending_migrations().await {
                Ok(0) => Check::ok(name, format!("{} is reachable and migrated", db.name())),
                Ok(n) => Check::warn(
                    name,
                    format!("{} is reachable; {n} migrations are still to come", db.name()),
                    "the next start applies them, or run `lux migrate` now",
                ),
                Err(error) => Check::fail(name, one_line(&error), "run `lux migrate`"),
            };
            db.close().await;
            answer
        }
        Ok(Err(error)) => Check::fail(
            name,
            one_line(&error),
            "check DATABASE_URL: server, port, user and password; is the server running?",
        ),
        Err(_) => Check::fail(
            name,
            "no answer within 15 s",
            "check the host and port in DATABASE_URL, and the firewall between",
        ),
    }
}

/// Asks the model's server for its list of models: the cheapest call that needs the key.
pub(super) async fn model(config: &Config) -> Check {
    let name = "model key";
    let model = &config.model;
    let Some(key) = &model.key else {
        return Check::ok(name, "not set: the built-in advisor answers alone");
    };
    let outbound = match Outbound::new() {
        Ok(outbound) => outbound,
        Err(error) => return Check::fail(name, error.to_string(), "install ca-certificates"),
    };
    let url = format!("{}/models", model.base_url.as_str().trim_end_matches('/'));
    let request = outbound.request(Method::GET, &url).bearer_auth(key.expose_secret());
    let host = model.base_url.host_str().unwrap_or_default();
    match outbound.send(request, Duration::from_secs(10), 4 << 20).await {
        Err(error) => Check::fail(
            name,
            error.to_string(),
            "check OPENAI_BASE_URL and the way out of this host; until then the advisor answers",
        ),
        Ok(answer) => match answer.status.as_u16() {
            200..300 => Check::ok(name, format!("accepted by {host}")),
            401 | 403 => Check::fail(
                name,
                format!("{host} refuses the key ({})", answer.status.as_u16()),
                "make a new key at the provider and set OPENAI_API_KEY",
            ),
            404 => Check::warn(
                name,
                format!("{host} is there, but has no list of models"),
                "OPENAI_BASE_URL usually ends in /v1",
            ),
            429 => Check::warn(
                name,
                format!("{host} accepts the key but limits it (429)"),
                "check quota and billing at the provider",
            ),
            status => Check::fail(
                name,
                format!("{host} answers {status}"),
                "check the provider's status page and OPENAI_BASE_URL",
            ),
        },
    }
}

/// What is done unasked, and when next.
pub(super) fn schedules(config: &Config) -> Check {
    let zone = config.schedule.timezone;
    let next: Vec<String> = next_runs(&Scheduled::of_config(&config.schedule), clock::now())
        .into_iter()
        .map(|(name, at)| format!("{name} at {}", at.with_timezone(&zone).format("%F %H:%M %Z")))
        .collect();
    let detail = if next.is_empty() { "none is on".to_owned() } else { next.join(", ") };
    Check::ok("schedules", detail)
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
