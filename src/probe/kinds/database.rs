//! Whether a database can be read.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{Seen, secret};
use crate::{
    config::Config,
    db::{Server, said, server_of, visit},
    outbound::visit::shown,
    probe::{Outcome, Secret},
};

/// Where the database of a probe is, if its URL can be read and says so.
pub(in crate::probe) fn server(config: &Config, place: &Secret) -> Option<Server> {
    server_of(secret::read(config, place).ok()?.expose_secret())
}

pub(super) async fn run(
    config: &Config,
    place: &Secret,
    tables: &[String],
    query: Option<&str>,
    timeout: Duration,
) -> Seen {
    let request = format!("ask the database of {place}");
    let unclear = |why: String| Seen::new(Outcome::Unclear, request.clone(), why);
    let fail = |why: String| Seen::new(Outcome::Fail, request.clone(), why);
    let url = match secret::read(config, place) {
        Ok(url) => url,
        Err(why) => return unclear(why),
    };
    let scheme = url.expose_secret().split_once(':').map_or("", |(scheme, _)| scheme);
    if !matches!(scheme, "sqlite" | "postgres" | "postgresql") {
        return unclear(format!(
            "{place} holds no URL that begins with postgres: or sqlite:, the databases Lux knows"
        ));
    }
    let found = visit(url.expose_secret(), tables, query);
    let found = match tokio::time::timeout(timeout, found).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return fail(format!("the database says: {}", said(&error))),
        Err(_) => return fail(format!("the database did not answer within {}", shown(timeout))),
    };
    if !found.missing.is_empty() {
        return fail(format!(
            "it answers, but has no table {}; were all migrations run?",
            found.missing.join(", ")
        ));
    }
    if found.row == Some(false) {
        return fail("it answers, but the query gives no row".to_owned());
    }
    let what = match (tables.len(), found.row) {
        (0, None) => "it answers",
        (0, _) => "it answers, and the query gives a row",
        (_, None) => "it answers and has every table",
        _ => "it answers, has every table, and the query gives a row",
    };
    Seen::new(Outcome::Pass, request, what)
}
