//! What an answer of a provider means: for the token, for the connection, for whoever asked.

use serde_json::{Value, json};

use super::simulator::{Simulator, admin, card, connect, deed, expire, works};
use crate::support::{Database, on_both, until};

on_both!(a_refused_token_is_renewed_once_and_the_call_made_again);
async fn a_refused_token_is_renewed_once_and_the_call_made_again(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    simulator.control("github", json!({ "token_life": 28800 })).await;
    simulator.control("slack", json!({ "token_life": 43200 })).await;
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, app) in super::simulator::KINDS {
        connect(&mut browser, &server, &simulator, kind).await;
        let before = simulator.count(app, "refreshes").await;
        // The provider says so, whatever Lux knows of the token's life.
        simulator.control(app, json!({ "expire": "access" })).await;
        works(&mut browser, &server, kind).await;
        assert_eq!(simulator.count(app, "refreshes").await, before + 1, "{kind}");
        works(&mut browser, &server, kind).await;
        assert_eq!(simulator.count(app, "refreshes").await, before + 1, "{kind}");
        let found = card(&mut browser, &server, kind).await;
        assert_eq!((&found["status"], &found["errorCount"]), (&json!("active"), &json!(0)));
    }
    simulator.assert_content().await;
}

on_both!(who_never_accepts_a_token_is_not_asked_for_ever);
async fn who_never_accepts_a_token_is_not_asked_for_ever(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "asana").await;
    let before = simulator.calls("asana", "/users/me").await;
    simulator.control("asana", json!({ "next": { "do": 401, "times": 1000 } })).await;
    let answer = deed(&mut browser, &server, "asana", "test").await;
    assert!(answer.status.is_client_error() || answer.status == 503, "{answer:?}");
    assert_eq!(simulator.count("asana", "refreshes").await, 1);
    assert_eq!(simulator.calls("asana", "/users/me").await, before + 2);
    let found = card(&mut browser, &server, "asana").await;
    assert_eq!((&found["connected"], &found["errorCount"]), (&json!(true), &json!(1)), "{found}");
    assert!(found["lastError"].is_string(), "{found}");
    simulator.control("reset", json!({})).await;
}

// Atlassian's gateway says 403 or 404 of an expired token, and of what is not there.
on_both!(what_is_absent_renews_nothing_and_what_expired_renews_once);
async fn what_is_absent_renews_nothing_and_what_expired_renews_once(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "jira").await;
    for status in [403, 404] {
        let absent = json!({ "do": status, "times": 5, "path": "/myself" });
        simulator.control("atlassian", json!({ "next": absent })).await;
        for _ in 0..5 {
            let answer = deed(&mut browser, &server, "jira", "test").await;
            assert_eq!(answer.status, 400, "{status}: {answer:?}");
        }
        assert_eq!(simulator.count("atlassian", "failures").await, 0);
        assert_eq!(simulator.count("atlassian", "refreshes").await, 0, "{status}");
    }
    let mut renewed = 0;
    for status in [401, 403, 404] {
        simulator.control("atlassian", json!({ "expired_status": status })).await;
        expire(&server, &simulator, "atlassian").await;
        for _ in 0..4 {
            works(&mut browser, &server, "jira").await;
        }
        renewed += 1;
        assert_eq!(simulator.count("atlassian", "refreshes").await, renewed, "{status}");
    }
    simulator.assert_content().await;
}

on_both!(who_has_enough_is_waited_for);
async fn who_has_enough_is_waited_for(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, app, path) in [("asana", "asana", "/users/me"), ("github", "github", "/user")] {
        connect(&mut browser, &server, &simulator, kind).await;
        // For long: it is said at once, and until then nobody asks there.
        let enough = json!({ "do": 429, "retry_after": 600, "times": 1 });
        simulator.control(app, json!({ "next": enough })).await;
        let why = deed(&mut browser, &server, kind, "test").await.problem(503);
        assert!(why.contains("takes no more"), "{why}");
        let asked = simulator.calls(app, path).await;
        for _ in 0..3 {
            deed(&mut browser, &server, kind, "test").await.problem(503);
        }
        assert_eq!(simulator.calls(app, path).await, asked, "{kind} is left in peace");
        let found = card(&mut browser, &server, kind).await;
        assert_eq!((&found["errorCount"], &found["status"]), (&json!(0), &json!("active")));
        let stats = simulator.stats(app).await;
        assert_eq!((&stats["refreshes"], &stats["refreshes_refused"]), (&json!(0), &json!(0)));
    }
    // For a moment: it is waited for.
    for kind in ["dropbox", "monday"] {
        connect(&mut browser, &server, &simulator, kind).await;
        let moment = json!({ "do": 429, "retry_after": 1 });
        simulator.control(kind, json!({ "next": moment })).await;
        works(&mut browser, &server, kind).await;
        assert_eq!(simulator.count(kind, "failures").await, 0);
        assert_eq!(card(&mut browser, &server, kind).await["errorCount"], 0);
    }
    simulator.assert_content().await;
}

on_both!(what_nobody_answers_passes);
async fn what_nobody_answers_passes(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "jira").await;
    for failure in [
        json!({ "do": 500 }),
        json!({ "do": 502 }),
        json!({ "do": "html", "status": 200 }),
        json!({ "do": "drop" }),
        json!({ "do": "huge" }),
        json!({ "do": "redirect" }),
        json!({ "do": "redirect", "to": "http://169.254.169.254/latest/meta-data" }),
    ] {
        let mut next = failure.clone();
        next["times"] = json!(20);
        simulator.control("atlassian", json!({ "next": next })).await;
        let why = deed(&mut browser, &server, "jira", "test").await.problem(503);
        assert!(why.contains("does not answer"), "{failure}: {why}");
        let found = card(&mut browser, &server, "jira").await;
        assert_eq!(
            (&found["connected"], &found["status"]),
            (&json!(true), &json!("active")),
            "{failure}: {found}"
        );
        simulator.control("reset", json!({})).await;
        connect(&mut browser, &server, &simulator, "jira").await;
        works(&mut browser, &server, "jira").await;
        assert_eq!(card(&mut browser, &server, "jira").await["errorCount"], 0);
    }
    assert_eq!(simulator.stolen().await, json!([]));
}

on_both!(a_renewal_that_nobody_answers_is_tried_later);
async fn a_renewal_that_nobody_answers_is_tried_later(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "jira").await;
    // It ends soon, but not yet: the old one is used as long as it lasts.
    let soon = lux::clock::now() + chrono::TimeDelta::minutes(2);
    let soon = soon.format("%Y-%m-%dT%H:%M:%S+00:00");
    let set = async |text: &str| {
        server.database().execute(&server.data(), &format!("update oauth_grant set {text}")).await;
    };
    for failure in
        [json!({ "do": 502, "where": "token" }), json!({ "do": "drop", "where": "token" })]
    {
        set(&format!("expires_at = '{soon}', try_again_at = null")).await;
        simulator.control("atlassian", json!({ "next": failure })).await;
        works(&mut browser, &server, "jira").await;
        until("it came to that", async || {
            (simulator.count("atlassian", "failures").await == 0).then_some(())
        })
        .await;
        works(&mut browser, &server, "jira").await;
        let found = card(&mut browser, &server, "jira").await;
        assert_eq!(
            (&found["connected"], &found["status"]),
            (&json!(true), &json!("active")),
            "{found}"
        );
    }
    assert_eq!(simulator.count("atlassian", "refreshes").await, 0, "there is a pause");
    // After the pause.
    set("try_again_at = null").await;
    works(&mut browser, &server, "jira").await;
    assert_eq!(simulator.count("atlassian", "refreshes").await, 1);
    let found = card(&mut browser, &server, "jira").await;
    assert_eq!((&found["errorCount"], &found["lastError"]), (&json!(0), &Value::Null), "{found}");
    simulator.assert_content().await;
}

on_both!(a_withdrawn_consent_is_final);
async fn a_withdrawn_consent_is_final(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    simulator.control("github", json!({ "token_life": 28800 })).await;
    simulator.control("slack", json!({ "token_life": 43200 })).await;
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, app) in super::simulator::KINDS {
        if matches!(kind, "google_meet" | "google_drive") {
            continue;
        }
        connect(&mut browser, &server, &simulator, kind).await;
        simulator.control(app, json!({ "revoke_all": true })).await;
        let why = deed(&mut browser, &server, kind, "test").await.problem(409);
        assert!(why.contains("connected again"), "{kind}: {why}");
        let found = card(&mut browser, &server, kind).await;
        let status = found["status"].as_str().unwrap();
        assert!(["expired", "revoked"].contains(&status), "{kind}: {found}");
        assert_eq!((&found["connected"], &found["needsReauth"]), (&json!(true), &json!(true)));
        assert!(found["username"].is_string() && found["lastError"].is_string(), "{found}");
        // From now on nobody asks there.
        let asked = simulator.requests(app).await.len();
        for what in ["test", "refresh", "test"] {
            deed(&mut browser, &server, kind, what).await.problem(409);
        }
        assert_eq!(simulator.requests(app).await.len(), asked, "{kind}");
        connect(&mut browser, &server, &simulator, kind).await;
        works(&mut browser, &server, kind).await;
    }
    simulator.assert_content().await;
}

on_both!(a_client_that_is_not_known_any_more_is_no_end);
async fn a_client_that_is_not_known_any_more_is_no_end(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "asana").await;
    let refused = json!({ "do": 401, "error": "invalid_client", "where": "token" });
    simulator.control("asana", json!({ "next": refused })).await;
    deed(&mut browser, &server, "asana", "refresh").await;
    let found = card(&mut browser, &server, "asana").await;
    assert_eq!((&found["connected"], &found["status"]), (&json!(true), &json!("error")), "{found}");
    assert!(found["lastError"].as_str().unwrap().contains("client_secret"), "{found}");
    // Mended: all is well again, and nobody had to consent.
    let set = "update oauth_grant set try_again_at = null";
    server.database().execute(&server.data(), set).await;
    let renewed = deed(&mut browser, &server, "asana", "refresh").await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(renewed.json()["status"], "active", "{renewed:?}");
    simulator.assert_content().await;
}

on_both!(what_is_not_allowed_is_not_asked_for);
async fn what_is_not_allowed_is_not_asked_for(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "slack").await;
    let id = card(&mut browser, &server, "slack").await["id"].clone();
    let wish = json!({ "integration_id": id, "target": { "channel": "C0LUX" } });
    let path = "/api/integrations/duties/messages";
    let answer = browser.with_body(&server, reqwest::Method::PUT, path, &wish).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let refused = async |text: &str| {
        let wish = json!({ "text": text });
        let answer = server.post("/api/integrations/messages", &wish).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let path = format!("/api/integrations/deliveries/{}", answer.json()["id"]);
        until("it is given up", async || {
            let found = server.get(&path).await;
            (found["status"] == "failed").then(|| found["last_error"].to_string())
        })
        .await
    };
    // Taken away there: the provider says what is missing, and nothing is renewed for it.
    simulator.control("slack", json!({ "remove_scopes": ["chat:write"] })).await;
    let why = refused("taken away").await;
    assert!(why.contains("chat:write was not granted"), "{why}");
    assert_eq!(simulator.calls("slack", "chat.postMessage").await, 1);
    // Never given: it is known before anybody is asked.
    simulator.control("slack", json!({ "withhold": ["chat:write"] })).await;
    connect(&mut browser, &server, &simulator, "slack").await;
    let found = card(&mut browser, &server, "slack").await;
    assert_eq!(
        (&found["missingScopes"], &found["needsReauth"]),
        (&json!(["chat:write"]), &json!(true))
    );
    let why = refused("never given").await;
    assert!(why.contains("chat:write was not granted"), "{why}");
    assert_eq!(simulator.calls("slack", "chat.postMessage").await, 1);
    // Given: it goes.
    simulator.control("slack", json!({ "withhold": [] })).await;
    connect(&mut browser, &server, &simulator, "slack").await;
    let wish = json!({ "text": "allowed" });
    server.post("/api/integrations/messages", &wish).await;
    until("it is there", async || {
        (simulator.created("slack", "messages").await.len() == 1).then_some(())
    })
    .await;
    simulator.assert_content().await;
}
