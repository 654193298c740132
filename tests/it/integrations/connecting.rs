//! Each provider, from the consent to its end.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::simulator::{
    KINDS, Simulator, account, admin, begin, card, come_back, connect, deed, disconnect, works,
};
use crate::support::{Answer, Browser, Database, Role, Server, on_both, run, until};

/// GitHub as a GitHub App, and Slack with rotation: then their tokens end as others' do.
async fn expiring(simulator: &Simulator) {
    simulator.control("github", json!({ "token_life": 28800 })).await;
    simulator.control("slack", json!({ "token_life": 43200 })).await;
}

async fn connected_tokens(server: &Server) -> String {
    let sql = "select cast(count(*) as text) from oauth_grant
               where access_sealed is not null or refresh_sealed is not null";
    server.database().column(&server.data(), sql).await.remove(0)
}

on_both!(every_provider_is_connected_used_renewed_and_disconnected);
async fn every_provider_is_connected_used_renewed_and_disconnected(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    expiring(&simulator).await;
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, app) in KINDS {
        let before = card(&mut browser, &server, kind).await;
        assert_eq!((&before["configured"], &before["connected"]), (&json!(true), &json!(false)));
        let callback = format!("{}/api/integrations/{kind}/callback", server.base);
        assert_eq!(before["callbackUrl"], callback);
        connect(&mut browser, &server, &simulator, kind).await;
        let after = card(&mut browser, &server, kind).await;
        for (field, expected) in [
            ("connected", json!(true)),
            ("status", json!("active")),
            ("missingScopes", json!([])),
            ("needsReauth", json!(false)),
            ("places", json!([])),
            ("lastError", Value::Null),
        ] {
            assert_eq!(after[field], expected, "{kind} {field}: {after}");
        }
        for field in ["username", "connectedAt", "tokenExpiry"] {
            assert!(after[field].is_string(), "{kind} {field}: {after}");
        }
        let has_mail = !matches!(kind, "highlevel");
        assert_eq!(after["email"].is_string(), has_mail, "{kind}: {after}");
        assert_eq!(after["avatarUrl"].is_string(), has_mail, "{kind}: {after}");

        works(&mut browser, &server, kind).await;
        let renewals = simulator.count(app, "refreshes").await;
        let renewed = deed(&mut browser, &server, kind, "refresh").await;
        assert_eq!(renewed.status, 200, "{kind}: {renewed:?}");
        assert_eq!(renewed.json()["connected"], true, "{kind}: {renewed:?}");
        assert_eq!(simulator.count(app, "refreshes").await, renewals + 1, "{kind}");
        works(&mut browser, &server, kind).await;
        simulator.assert_content().await;
    }

    for (kind, app) in KINDS {
        let said = disconnect(&mut browser, &server, kind).await;
        // Of Google's three the last takes the consent along.
        let can_revoke = !matches!(kind, "jira" | "highlevel" | "google_calendar" | "google_meet");
        assert_eq!(said["revoking"], can_revoke, "{kind}: {said}");
        assert!(said["remove_at"].as_str().unwrap().starts_with("https://"), "{said}");
        if can_revoke {
            until("the provider has heard of it", async || {
                (simulator.count(app, "live").await == 0).then_some(())
            })
            .await;
        }
        let after = card(&mut browser, &server, kind).await;
        assert_eq!(after["connected"], false, "{kind}: {after}");
        assert!(after["username"].is_string() && after["disconnectedAt"].is_string(), "{after}");
        let answer = deed(&mut browser, &server, kind, "test").await;
        assert!(answer.problem(409).contains("not connected"), "{kind}: {answer:?}");
        let request =
            browser.request(&server, Method::DELETE, &format!("/api/integrations/{kind}"));
        browser.send(request).await.problem(404);
    }
    assert_eq!(connected_tokens(&server).await, "0");
    assert_eq!(simulator.count("google", "revokes").await, 1);
    // And back again.
    for (kind, _) in KINDS {
        connect(&mut browser, &server, &simulator, kind).await;
        works(&mut browser, &server, kind).await;
    }
    simulator.assert_content().await;
}

on_both!(what_lasts_is_not_renewed);
async fn what_lasts_is_not_renewed(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, app) in [("github", "github"), ("slack", "slack")] {
        connect(&mut browser, &server, &simulator, kind).await;
        assert_eq!(card(&mut browser, &server, kind).await["tokenExpiry"], Value::Null);
        works(&mut browser, &server, kind).await;
        let refused = deed(&mut browser, &server, kind, "refresh").await.problem(409);
        assert!(refused.contains("no token to renew"), "{refused}");
        works(&mut browser, &server, kind).await;
        // Withdrawn there: there is nothing to renew it with.
        simulator.control(app, json!({ "revoke_all": true })).await;
        deed(&mut browser, &server, kind, "test").await.problem(409);
        let after = card(&mut browser, &server, kind).await;
        assert_eq!((&after["status"], &after["needsReauth"]), (&json!("revoked"), &json!(true)));
        connect(&mut browser, &server, &simulator, kind).await;
        works(&mut browser, &server, kind).await;
    }
    simulator.assert_content().await;
}

on_both!(one_of_googles_three_leaves_the_others);
async fn one_of_googles_three_leaves_the_others(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for kind in ["google_calendar", "google_meet", "google_drive"] {
        connect(&mut browser, &server, &simulator, kind).await;
    }
    assert_eq!(connected_tokens(&server).await, "1", "it is one consent");
    // Each asked for its own, and the consent has grown.
    let scopes = card(&mut browser, &server, "google_drive").await["scopes"].to_string();
    for scope in ["calendar.events", "meetings.space.created", "drive.file"] {
        assert!(scopes.contains(scope), "{scopes}");
    }
    for (gone, left) in [
        ("google_meet", ["google_calendar", "google_drive"]),
        ("google_calendar", ["google_drive"; 2]),
    ] {
        let said = disconnect(&mut browser, &server, gone).await;
        assert_eq!(said["revoking"], false, "{said}");
        for kind in left {
            works(&mut browser, &server, kind).await;
            deed(&mut browser, &server, kind, "refresh").await;
            works(&mut browser, &server, kind).await;
        }
    }
    assert_eq!(simulator.count("google", "revokes").await, 0);
    disconnect(&mut browser, &server, "google_drive").await;
    until("Google has heard of it", async || {
        (simulator.count("google", "revokes").await == 1).then_some(())
    })
    .await;
    assert_eq!(connected_tokens(&server).await, "0");
    simulator.assert_content().await;
}

on_both!(answers_are_those_of_the_first_versions);
async fn answers_are_those_of_the_first_versions(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    let id = account(&mut browser, &server).await;
    for kind in ["github", "google_calendar", "jira"] {
        connect(&mut browser, &server, &simulator, kind).await;
    }
    let path = format!("/api/auth/integrations/{id}");
    let answer = browser.get(&server, &path).await.json();
    assert_eq!(answer["success"], true);
    let integrations = answer["integrations"].as_object().unwrap();
    let mut names: Vec<&str> = integrations.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "asana",
        "dropbox",
        "github",
        "googleCalendar",
        "googleDrive",
        "googleMeet",
        "highlevel",
        "jira",
        "monday",
        "slack",
    ];
    assert_eq!(names, expected);
    let github = &integrations["github"];
    assert_eq!(github["connected"], true);
    assert_eq!(github["username"], "octo");
    assert_eq!(github["email"], "octo@example.com", "the hidden address is looked up");
    assert_eq!(github["avatarUrl"], "https://avatars.example.com/u/583231");
    assert!(github["connectedAt"].is_string() && github["tokenExpiry"].is_null(), "{github}");
    assert!(integrations["googleCalendar"]["tokenExpiry"].is_string());
    assert_eq!(integrations["slack"]["connected"], false);
    for (path, key) in [
        (format!("/api/auth/github/status/{id}"), "github"),
        (format!("/api/google-calendar/status/{id}"), "googleCalendar"),
        (format!("/api/auth/google_calendar/status/{id}"), "googleCalendar"),
        (format!("/api/jira/status/{id}"), "jira"),
        (format!("/api/slack/status/{id}"), "slack"),
    ] {
        let one = browser.get(&server, &path).await.json();
        assert_eq!(one["success"], true, "{path}: {one}");
        for field in ["connected", "username", "email", "avatarUrl", "connectedAt", "tokenExpiry"] {
            assert_eq!(one[field], integrations[key][field], "{path} {field}");
        }
    }
    // Somebody else's are the administrators' alone.
    let mut bob = Browser::signed_in(&server, &["invite", "--role", "operator"]).await;
    bob.get(&server, &path).await.problem(404);
    bob.get(&server, "/api/integrations/people").await.problem(403);
    let hers = account(&mut bob, &server).await;
    let none = browser.get(&server, &format!("/api/auth/integrations/{hers}")).await.json();
    assert_eq!(none["integrations"]["github"]["connected"], false);
    browser.get(&server, "/api/auth/integrations/987654").await.problem(404);
    browser.get(&server, &format!("/api/auth/zoom/status/{id}")).await.problem(404);
    simulator.assert_content().await;
}

on_both!(users_and_cards_never_vanish);
async fn users_and_cards_never_vanish(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    let mut ada = Browser::signed_in(&server, &["invite", "--role", "operator"]).await;
    for kind in ["jira", "github", "asana"] {
        connect(&mut browser, &server, &simulator, kind).await;
        connect(&mut ada, &server, &simulator, kind).await;
    }
    disconnect(&mut ada, &server, "github").await;
    // One consent is withdrawn, and another one's row cannot be read by anybody.
    simulator.control("atlassian", json!({ "revoke_all": true })).await;
    deed(&mut browser, &server, "jira", "refresh").await.problem(409);
    let sql =
        "update oauth_grant set places = 'no json', details = 'nor here' where provider = 'asana'";
    server.database().execute(&server.data(), sql).await;
    let people = browser.get(&server, "/api/integrations/people").await.json();
    let rows = people["people"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{people}");
    for person in rows {
        assert_eq!(person["integrations"].as_object().unwrap().len(), KINDS.len(), "{person}");
        assert!(person["userId"].is_i64() && person["name"].is_string(), "{person}");
        assert_eq!(person["integrations"]["asana"]["connected"], true, "{person}");
    }
    // Ada's consent to Atlassian is another than the administrator's, and nobody tried it yet.
    assert_eq!(people["problematic"], 1, "{people}");
    let page = browser.get(&server, "/integrations").await;
    assert_eq!(page.status, 200, "{page:?}");
    for label in ["GitHub", "Slack", "Google Meet", "monday.com", "HighLevel"] {
        assert!(page.text.contains(label), "{label}");
    }
}

on_both!(a_person_walks_through_the_pages);
async fn a_person_walks_through_the_pages(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    let request = browser.request(&server, Method::POST, "/integrations/slack/connect");
    let onward = browser.send(request).await;
    assert_eq!(onward.status, 200, "{onward:?}");
    let way = onward.headers["refresh"].to_str().unwrap().strip_prefix("0; url=").unwrap();
    let back = simulator.allow(way).await;
    let answer = come_back(&mut browser, &server, &back).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.headers[header::REFERRER_POLICY], "no-referrer");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let next = answer.headers[header::LOCATION].to_str().unwrap().to_owned();
    let page = browser.get(&server, &next).await;
    assert!(page.text.contains("Slack is connected"), "{page:?}");
    // A button does it, nothing less.
    for path in ["/integrations/slack/connect", "/api/integrations/slack/connect"] {
        assert_eq!(browser.get(&server, path).await.status, 405);
        let forged = browser
            .bare(&server, Method::POST, path)
            .header("sec-fetch-site", "cross-site")
            .header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(browser.send(forged).await.status, 403);
    }
    // Nobody consents for a person but the person.
    for role in Role::ALL {
        let path = "/api/integrations/slack/connect";
        let answer = Answer::of(server.request_as(role, Method::POST, path)).await;
        answer.problem(403);
    }
    let mut reader = Browser::signed_in(&server, &["invite", "--role", "customer"]).await;
    let request = reader.request(&server, Method::POST, "/api/integrations/slack/connect");
    reader.send(request).await.problem(403);
    simulator.assert_content().await;
}

on_both!(who_is_not_registered_is_told_how);
async fn who_is_not_registered_is_told_how(database: Database) {
    let server = Server::plain(&database).await;
    let mut browser = admin(&server).await;
    let request = browser.request(&server, Method::POST, "/api/integrations/monday/connect");
    let why = browser.send(request).await.problem(409);
    assert!(why.contains("LUX_MONDAY_CLIENT_ID") && why.contains("https://monday.com"), "{why}");
    assert_eq!(card(&mut browser, &server, "monday").await["configured"], false);
}

on_both!(odd_answers_are_understood);
async fn odd_answers_are_understood(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, app, knobs, expires) in [
        ("github", "github", json!({ "form_answer": true }), false),
        ("asana", "asana", json!({ "expires_in": "string" }), true),
        ("dropbox", "dropbox", json!({ "expires_in": "absent" }), false),
        ("monday", "monday", json!({ "prefix": "bearer" }), true),
        ("slack", "slack", json!({ "user_only": true, "token_life": 43200 }), true),
        ("jira", "atlassian", json!({ "no_rotation_answer": true, "form_answer": false }), true),
        ("highlevel", "highlevel", json!({ "omit_location": true }), true),
    ] {
        simulator.control(app, knobs.clone()).await;
        connect(&mut browser, &server, &simulator, kind).await;
        let found = card(&mut browser, &server, kind).await;
        assert_eq!(found["tokenExpiry"].is_string(), expires, "{kind} {knobs}: {found}");
        if kind != "github" {
            let renewed = deed(&mut browser, &server, kind, "refresh").await;
            assert_eq!(renewed.status, 200, "{kind} {knobs}: {renewed:?}");
        }
        works(&mut browser, &server, kind).await;
        assert_eq!(card(&mut browser, &server, kind).await["place"], found["place"], "{kind}");
    }
    simulator.assert_content().await;
}

on_both!(a_place_is_chosen_where_there_are_several);
async fn a_place_is_chosen_where_there_are_several(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    simulator.control("atlassian", json!({ "sites": 3 })).await;
    simulator.control("highlevel", json!({ "company": true })).await;
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, places) in [("jira", 3), ("highlevel", 2)] {
        connect(&mut browser, &server, &simulator, kind).await;
        let found = card(&mut browser, &server, kind).await;
        assert_eq!(found["place"], Value::Null, "{found}");
        let all = found["places"].as_array().unwrap().clone();
        assert_eq!(all.len(), places, "{found}");
        let path = format!("/api/integrations/{kind}/place");
        let wrong = json!({ "id": "of somebody else" });
        browser.with_body(&server, Method::POST, &path, &wrong).await.problem(400);
        let choice = json!({ "id": all[1]["id"] });
        let chosen = browser.with_body(&server, Method::POST, &path, &choice).await;
        assert_eq!(chosen.status, 200, "{chosen:?}");
        assert_eq!(chosen.json()["place"]["id"], all[1]["id"], "{chosen:?}");
        works(&mut browser, &server, kind).await;
        // Whoever connects again does not choose again.
        connect(&mut browser, &server, &simulator, kind).await;
        assert_eq!(card(&mut browser, &server, kind).await["place"]["id"], all[1]["id"]);
    }
    // No site at all: nothing to be connected with.
    simulator.control("atlassian", json!({ "sites": 0 })).await;
    let mut ada = Browser::signed_in(&server, &["invite", "--role", "operator"]).await;
    let url = begin(&mut ada, &server, "jira").await;
    let back = simulator.allow(&url).await;
    let answer = come_back(&mut ada, &server, &back).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.text.contains("no_place"), "{answer:?}");
    assert_eq!(card(&mut ada, &server, "jira").await["connected"], false);
    simulator.assert_content().await;
}

on_both!(what_was_not_ticked_is_missing);
async fn what_was_not_ticked_is_missing(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let drive = "https://www.googleapis.com/auth/drive.file";
    simulator.control("google", json!({ "withhold": [drive] })).await;
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "google_drive").await;
    let found = card(&mut browser, &server, "google_drive").await;
    assert_eq!(found["missingScopes"], json!([drive]), "{found}");
    assert_eq!((&found["connected"], &found["needsReauth"]), (&json!(true), &json!(true)));
    simulator.control("google", json!({ "withhold": [] })).await;
    connect(&mut browser, &server, &simulator, "google_drive").await;
    let found = card(&mut browser, &server, "google_drive").await;
    assert_eq!((&found["missingScopes"], &found["needsReauth"]), (&json!([]), &json!(false)));
    simulator.assert_content().await;
}

on_both!(a_terminal_tells_how_connections_are);
async fn a_terminal_tells_how_connections_are(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let said = |args: &[&str]| run(server.command().arg("integrations").args(args));
    let nothing = said(&["test"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(nothing.err.contains("nothing is connected"), "{nothing:?}");
    let mut browser = admin(&server).await;
    connect(&mut browser, &server, &simulator, "github").await;
    connect(&mut browser, &server, &simulator, "jira").await;
    let list = said(&["list"]);
    assert!(list.code == Some(0) && list.out.contains("github"), "{list:?}");
    let test = said(&["test"]);
    assert!(test.code == Some(0) && test.out.contains("answers as"), "{test:?}");

    simulator.control("atlassian", json!({ "revoke_all": true })).await;
    deed(&mut browser, &server, "jira", "refresh").await.problem(409);
    let list = said(&["list"]);
    assert!(list.code == Some(1) && list.out.contains("expired"), "{list:?}");
    let test = said(&["test", "jira"]);
    assert!(test.code == Some(1) && test.out.contains("connected again"), "{test:?}");
    assert_eq!(said(&["test", "github"]).code, Some(0));
}
