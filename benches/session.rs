//! What it costs to know whose cookie a request carries: `cargo bench --bench session`, or with
//! `DATABASE_URL=postgres://…` in front. Most requests are answered from memory; once a second
//! for each session the database is asked.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not a product")]

use std::time::{Duration, Instant};

use lux::{
    auth::{
        OrganizationId, Remembered, link,
        session::{New, Sessions},
    },
    config::{Config, Overrides},
    db::Db,
};
use secrecy::ExposeSecret;

const CHECKS: usize = 20_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = Overrides::of_process();
    let url = overrides.environment.get("DATABASE_URL").cloned();
    let url = url.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("lux.db").display()));
    let config = Config::load_leniently(overrides).0.sign_in;
    let db = Db::connect(&url, 8).await.unwrap();
    let (made, _) = link::for_login(&db, OrganizationId::FIRST, None).await.unwrap();
    let new =
        New { config: &config, provider: None, user_agent: None, address: None, replaces: None };
    let started = link::take(&db, made.token.expose_secret(), None, new).await.unwrap();
    let cookie = started.cookie_value.expose_secret();
    let sessions = Sessions::default();

    let mut asked = Vec::with_capacity(CHECKS);
    for _ in 0..CHECKS {
        let began = Instant::now();
        assert!(sessions.recognise(&db, cookie, &config).await.unwrap().is_some());
        asked.push(began.elapsed());
    }
    tell("the database is asked", asked);

    let mut remembered = Vec::with_capacity(CHECKS);
    let mut last = Instant::now();
    while remembered.len() < CHECKS {
        if last.elapsed() > Duration::from_millis(500) {
            sessions.recognise(&db, cookie, &config).await.unwrap();
            last = Instant::now();
        }
        let began = Instant::now();
        let known = sessions.remembered(cookie);
        remembered.push(began.elapsed());
        assert!(matches!(known, Remembered::Caller(_)));
    }
    tell("from memory", remembered);
    db.close().await;
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 1000].as_secs_f64() * 1e6;
    println!("{what:>24}   p50 {:>7.1} µs   p99 {:>7.1} µs", at(500), at(990));
}
