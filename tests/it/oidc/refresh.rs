//! Sessions are refreshed at their provider: once, by one of the replicas, and they end there.

use serde_json::json;

use super::{
    http::{first_admin, setup, sign_in, status},
    provider::{Browser, Provider},
};
use crate::support::{Database, Server, on_both, until};

/// Two servers on one database, with one master key.
async fn two(database: &Database, provider: &Provider) -> (Server, Server) {
    let one = setup(database, provider).start().await;
    let file = one.data().join("lux.db");
    let key = one.data().join("master.key");
    let mut other = setup(database, provider).env("LUX_MASTER_KEY_FILE", key.to_str().unwrap());
    if matches!(database, Database::Sqlite) {
        other = other.env("DATABASE_URL", &format!("sqlite:{}", file.display()));
    }
    (one, other.start().await)
}

async fn make_due(server: &Server) {
    let sql = "update session set refresh_at = '2020-01-01T00:00:00+00:00'";
    server.database().execute(&server.data(), sql).await;
}

async fn column(server: &Server, sql: &str) -> Vec<String> {
    server.database().column(&server.data(), sql).await
}

/// Waits until nothing is due and nobody sees to it.
async fn refreshed(server: &Server) {
    until("the session is refreshed", async || {
        let sql = "select cast(id as text) from session
                   where refresh_at < '2021-01-01T00:00:00+00:00' or lease_owner is not null";
        column(server, sql).await.is_empty().then_some(())
    })
    .await;
}

on_both!(one_of_two_servers_refreshes);
async fn one_of_two_servers_refreshes(database: Database) {
    let Some(provider) = Provider::start().await else { return };
    let (one, other) = two(&database, &provider).await;
    let mut browser = Browser::default();
    first_admin(&mut browser, &one).await;
    let mut before = column(&one, "select refresh_sealed from session").await;
    // So slow that both look while it is under way.
    provider.control("fault", &json!({ "path": "/token", "delay": 6000, "times": 1 })).await;
    for round in 1..=3 {
        make_due(&one).await;
        refreshed(&one).await;
        assert_eq!(provider.asked("refresh").await, round);
        let after = column(&one, "select refresh_sealed from session").await;
        assert!(after.len() == 1 && after != before && after[0].starts_with("lx1."));
        before = after;
    }
    assert_eq!(provider.asked("token_error").await, 0);
    assert_eq!(status(&mut browser, &one).await, 200);
    let elsewhere = browser.cookies[&one.base].clone();
    browser.cookies.insert(other.base.clone(), elsewhere);
    assert_eq!(status(&mut browser, &other).await, 200);
}

on_both!(a_session_lives_as_long_as_its_provider_says);
async fn a_session_lives_as_long_as_its_provider_says(database: Database) {
    let Some(provider) = Provider::start().await else { return };
    let server = setup(&database, &provider).start().await;
    let mut browser = Browser::default();
    first_admin(&mut browser, &server).await;

    // A provider that does not answer says nothing of the session.
    for (round, fault) in [json!({ "status": 503 }), json!({ "status": 429 })].iter().enumerate() {
        let mut fault = fault.clone();
        fault["path"] = json!("/token");
        fault["times"] = json!(1);
        let before = provider.asked("token").await;
        provider.control("fault", &fault).await;
        make_due(&server).await;
        refreshed(&server).await;
        let failures = "select cast(refresh_failures as text) from session";
        assert_eq!(column(&server, failures).await, [(round + 1).to_string()]);
        assert_eq!(provider.asked("token").await, before + 1);
    }
    make_due(&server).await;
    refreshed(&server).await;
    assert_eq!(column(&server, "select cast(refresh_failures as text) from session").await, ["0"]);
    assert_eq!(status(&mut browser, &server).await, 200);

    // Revoked there, it ends here.
    let ended = async |browser: &mut Browser, why: &str| {
        let before = provider.asked("token").await;
        make_due(&server).await;
        until("the session has ended", async || {
            (status(browser, &server).await == 401).then_some(())
        })
        .await;
        assert_eq!(provider.asked("token").await, before + 1, "{why}");
        let left = column(&server, "select cast(id as text) from session").await;
        assert!(left.is_empty(), "{why}: {left:?}");
        let told = server.get("/api/audit").await;
        let told = told["entries"].as_array().unwrap();
        let end = told.iter().find(|entry| entry["action"] == "session.end");
        assert_eq!(end.unwrap()["detail"]["why"], why, "{told:#?}");
    };
    provider.control("revoke", &json!({})).await;
    ended(&mut browser, "grant_ended").await;

    // Nor does it go on as somebody else's.
    let login = "/auth/replit_auth/login";
    sign_in(&mut browser, &server, login).await;
    let forgery = json!({ "mode": "claims", "claims": { "sub": "40000002" }, "times": 1 });
    provider.control("forge", &forgery).await;
    ended(&mut browser, "other_person").await;
    sign_in(&mut browser, &server, login).await;
    provider.forge("wrong_aud").await;
    ended(&mut browser, "wrong_audience").await;
}
