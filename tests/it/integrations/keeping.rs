//! Tokens are kept fresh by one of all, whatever happens in between.

use futures_util::future::join_all;
use serde_json::json;

use super::simulator::{Simulator, admin, begin, card, come_back, connect, deed, expire, works};
use crate::support::{Database, PATIENCE, Setup, on_both, until};

/// Providers that end all tokens when a refresh token comes twice.
const STRICT: [(&str, &str); 3] = [("github", "github"), ("slack", "slack"), ("monday", "monday")];

async fn strict(simulator: &Simulator) {
    for app in ["github", "slack"] {
        simulator.control(app, json!({ "token_life": 3600 })).await;
    }
    for (_, app) in STRICT {
        simulator.control(app, json!({ "rotation": "strict", "token_delay": 300 })).await;
    }
}

#[tokio::test]
async fn of_fifty_calls_at_two_replicas_one_renews() {
    let Some(database) = Database::postgres().await else { return };
    let Some(simulator) = Simulator::start().await else { return };
    strict(&simulator).await;
    let first = simulator.setup(&database).start().await;
    let second = simulator.registered(Setup::replica_of(&first)).start().await;
    let mut browser = admin(&first).await;
    for (kind, app) in STRICT {
        connect(&mut browser, &first, &simulator, kind).await;
        for round in 1..=2 {
            expire(&first, &simulator, app).await;
            let calls = (0..50).map(|number| {
                let (mut browser, server) = (browser.clone(), [&first, &second][number % 2]);
                async move { deed(&mut browser, server, kind, "test").await }
            });
            for answer in join_all(calls).await {
                let logs = (first.log(), second.log());
                assert_eq!(answer.status, 200, "{kind}: {answer:?}\n{}\n{}", logs.0, logs.1);
            }
            let stats = simulator.stats(app).await;
            assert_eq!(stats["refreshes"], round, "{kind}: {stats}");
            assert_eq!(stats["refreshes_refused"], 0, "{kind}: {stats}");
        }
        assert_eq!(card(&mut browser, &second, kind).await["status"], "active");
    }
    simulator.assert_content().await;
}

on_both!(of_fifty_calls_one_renews);
async fn of_fifty_calls_one_renews(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    strict(&simulator).await;
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "monday").await;
    expire(&server, &simulator, "monday").await;
    let calls = (0..50).map(|_| {
        let (mut browser, server) = (browser.clone(), &server);
        async move { deed(&mut browser, server, "monday", "test").await }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(simulator.count("monday", "refreshes").await, 1);
    // All were refused with a token that should still be good, too.
    simulator.control("monday", json!({ "expire": "access" })).await;
    let calls = (0..50).map(|_| {
        let (mut browser, server) = (browser.clone(), &server);
        async move { deed(&mut browser, server, "monday", "test").await }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let stats = simulator.stats("monday").await;
    assert_eq!((&stats["refreshes"], &stats["refreshes_refused"]), (&json!(2), &json!(0)));
    simulator.assert_content().await;
}

on_both!(who_is_killed_in_an_exchange_leaves_nothing_behind);
async fn who_is_killed_in_an_exchange_leaves_nothing_behind(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let mut server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    simulator.control("monday", json!({ "after_exchange_hold": true })).await;
    let url = begin(&mut browser, &server, "monday").await;
    let back = simulator.allow(&url).await;
    let path = back.as_str().strip_prefix(&server.base).unwrap();
    let request = browser.bare(&server, reqwest::Method::GET, path);
    let cookie = format!("lux-dev={}", browser.cookie());
    let waiting = tokio::spawn(request.header("cookie", cookie).send());
    simulator.holds("monday").await;
    server.kill().await;
    waiting.await.unwrap().unwrap_err();
    simulator.control("monday", json!({ "release": true, "after_exchange_hold": false })).await;
    server.start().await;
    let found = card(&mut browser, &server, "monday").await;
    assert_eq!(found["connected"], false, "{found}");
    assert_eq!(simulator.count("monday", "exchanges").await, 1);
    // The way was used up; a new one leads there.
    let again = format!("{}{path}", server.base).parse().unwrap();
    assert_eq!(come_back(&mut browser, &server, &again).await.status, 400);
    assert_eq!(simulator.count("monday", "exchanges").await, 1);
    connect(&mut browser, &server, &simulator, "monday").await;
    works(&mut browser, &server, "monday").await;
    simulator.assert_content().await;
}

on_both!(who_is_killed_in_a_refresh_is_followed);
async fn who_is_killed_in_a_refresh_is_followed(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    strict(&simulator).await;
    let mut server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    let all = [("monday", "monday"), ("jira", "atlassian"), ("dropbox", "dropbox")];
    for (kind, app) in all {
        connect(&mut browser, &server, &simulator, kind).await;
        simulator.control(app, json!({ "refresh_hold": true })).await;
        expire(&server, &simulator, app).await;
        let path = format!("/api/integrations/{kind}/test");
        let request = browser.request(&server, reqwest::Method::POST, &path);
        let cookie = format!("lux-dev={}", browser.cookie());
        tokio::spawn(request.header("cookie", cookie).send());
        simulator.holds(app).await;
    }
    server.kill().await;
    for (_, app) in all {
        simulator.control(app, json!({ "release": true, "refresh_hold": false })).await;
    }
    server.start().await;
    // Where the old one is still taken, nobody notices anything but a wait.
    for kind in ["jira", "dropbox"] {
        until("another goes on", async || {
            let answer = deed(&mut browser, &server, kind, "test").await;
            assert!([200, 503].contains(&answer.status.as_u16()), "{kind}: {answer:?}");
            (answer.status == 200).then_some(())
        })
        .await;
        assert_eq!(card(&mut browser, &server, kind).await["status"], "active");
    }
    // Where it is not, it is said what happened, and a person can mend it.
    let why = until("it is over", async || {
        let answer = deed(&mut browser, &server, "monday", "test").await;
        (answer.status != 503).then_some(answer)
    })
    .await
    .problem(409);
    assert!(why.contains("stopped in the middle of renewing"), "{why}");
    let found = card(&mut browser, &server, "monday").await;
    assert_eq!((&found["status"], &found["needsReauth"]), (&json!("expired"), &json!(true)));
    assert_eq!(found["connected"], true, "{found}");
    connect(&mut browser, &server, &simulator, "monday").await;
    works(&mut browser, &server, "monday").await;
    assert_eq!(card(&mut browser, &server, "monday").await["needsReauth"], false);
    simulator.assert_content().await;
}

on_both!(connecting_anew_wins_over_a_refresh_under_way);
async fn connecting_anew_wins_over_a_refresh_under_way(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    strict(&simulator).await;
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for fails in [false, true] {
        connect(&mut browser, &server, &simulator, "monday").await;
        expire(&server, &simulator, "monday").await;
        // The refresh waits: for its answer, or for a refusal.
        if fails {
            let slow = json!([{ "do": "slow", "ms": 1500, "where": "token" }]);
            simulator.control("monday", json!({ "revoke_all": true, "next": slow })).await;
        } else {
            simulator.control("monday", json!({ "refresh_hold": true })).await;
        }
        let path = "/api/integrations/monday/test";
        let request = browser.request(&server, reqwest::Method::POST, path);
        let cookie = format!("lux-dev={}", browser.cookie());
        let waiting = tokio::spawn(request.header("cookie", cookie).send());
        if fails {
            until("it is under way", async || {
                (simulator.count("monday", "failures").await == 0).then_some(())
            })
            .await;
        } else {
            simulator.holds("monday").await;
        }
        connect(&mut browser, &server, &simulator, "monday").await;
        let lasting = json!({ "release": true, "refresh_hold": false });
        simulator.control("monday", lasting).await;
        let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.status(), 200, "fails: {fails}\n{}", server.log());
        let found = card(&mut browser, &server, "monday").await;
        assert_eq!((&found["status"], &found["errorCount"]), (&json!("active"), &json!(0)));
        works(&mut browser, &server, "monday").await;
        let renewed = deed(&mut browser, &server, "monday", "refresh").await;
        assert_eq!(renewed.status, 200, "it holds the newer refresh token: {renewed:?}");
    }
    simulator.assert_content().await;
}

on_both!(tokens_are_renewed_before_they_end_though_nobody_asks);
async fn tokens_are_renewed_before_they_end_though_nobody_asks(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let mut server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for kind in ["jira", "google_drive", "asana"] {
        connect(&mut browser, &server, &simulator, kind).await;
    }
    assert_eq!(server.stop().await, Some(0));
    let soon = lux::clock::now() + chrono::TimeDelta::minutes(4);
    let sql =
        format!("update oauth_grant set expires_at = '{}'", soon.format("%Y-%m-%dT%H:%M:%S+00:00"));
    server.database().execute(&server.data(), &sql).await;
    server.start().await;
    for app in ["atlassian", "google", "asana"] {
        until("it was renewed", async || {
            (simulator.count(app, "refreshes").await == 1).then_some(())
        })
        .await;
    }
    let found = card(&mut browser, &server, "jira").await;
    assert!(found["lastRefreshAt"].is_string(), "{found}");
    simulator.assert_content().await;
}
