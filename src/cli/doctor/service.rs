//! What Lux talks to: the database and the model's server.

use std::{path::Path, time::Duration};

use http::Method;
use secrecy::ExposeSecret;

use super::Check;
use crate::{
    clock,
    config::Config,
    db::Db,
    jobs::{Scheduled, next_runs},
    outbound::Outbound,
    repair::action::{Catalogue, switch},
};

/// Connects as the service would. A missing database file is made by the first start,
/// so it is looked at without making one.
pub(super) async fn database(config: &Config) -> Check {
    let name = "database";
    let url = config.database_url.expose_secret();
    if let Some(path) = file_of(url).filter(|path| !path.exists()) {
        return Check::ok(name, format!("{} will be made at the first start", path.display()));
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

/// Whether what is listed in `[[actions]]` may run, and if not, why.
pub(super) async fn actions(config: &Config) -> Check {
    let name = "actions";
    if !config.repair.actions {
        let listed = config.actions.len();
        return Check::ok(
            name,
            format!("off; {listed} are listed (actions = true in [repair] switches them on)"),
        );
    }
    let catalogue = Catalogue::new(config);
    if let Some(why) = catalogue.off() {
        let remedy = "until then no action runs; restart Lux afterwards";
        return Check::fail(name, format!("off although switched on: {why}"), remedy);
    }
    if let Some((action, why)) = catalogue.broken().first() {
        let remedy = "mend its argv in [[actions]], or what it names";
        return Check::fail(name, format!("{action} cannot run: {why}"), remedy);
    }
    match stopped(config).await {
        Some(why) => Check::warn(name, why, "nothing to do if that is meant"),
        None => Check::ok(name, format!("{} may run", catalogue.len())),
    }
}

/// Why actions are stopped, if they are. A database that cannot be asked has a check of
/// its own.
async fn stopped(config: &Config) -> Option<String> {
    if let Some(why) = switch::stopped_by_file(config) {
        return Some(why);
    }
    let url = config.database_url.expose_secret();
    if file_of(url).is_some_and(|path| !path.exists()) {
        return None;
    }
    let asking = async {
        let db = Db::open(url, 1).await.ok()?;
        let why = switch::stopped_by_database(&db).await.ok().flatten();
        db.close().await;
        why
    };
    tokio::time::timeout(Duration::from_secs(15), asking).await.ok().flatten()
}

/// The file of an SQLite database.
fn file_of(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    path.split('?').next().map(Path::new)
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
