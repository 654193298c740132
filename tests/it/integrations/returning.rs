//! The way back from a provider: whoever may not come this way gets no token exchanged.

use reqwest::Method;
use serde_json::json;
use url::Url;

use super::simulator::{Simulator, admin, begin, card, come_back, connect, try_connect, works};
use crate::support::{Answer, Browser, Database, Server, on_both};

/// The page says no, and why, in a word.
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{code}: {answer:?}");
    assert!(answer.text.contains(&format!(">{code}<")), "{code}: {}", answer.text);
    assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{answer:?}");
}

/// The address at another path, with other parameters added.
fn elsewhere(back: &Url, path: &str, more: &str) -> Url {
    let mut url = back.clone();
    url.set_path(path);
    let query = format!("{}{more}", url.query().unwrap());
    url.set_query(Some(&query));
    url
}

async fn nothing_was_exchanged(simulator: &Simulator, browser: &mut Browser, server: &Server) {
    for app in ["github", "slack"] {
        let stats = simulator.stats(app).await;
        assert_eq!((&stats["exchanges"], &stats["exchanges_refused"]), (&json!(0), &json!(0)));
    }
    for kind in ["github", "slack"] {
        assert_eq!(card(browser, server, kind).await["connected"], false);
    }
}

on_both!(a_state_is_good_once_for_its_session_and_provider);
async fn a_state_is_good_once_for_its_session_and_provider(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    let path = "/api/integrations/github/callback";
    let way = async |browser: &mut Browser| {
        let url = begin(browser, &server, "github").await;
        simulator.allow(&url).await
    };

    // Another provider's address, with what came for this one.
    let back = way(&mut browser).await;
    let other = elsewhere(&back, "/api/integrations/slack/callback", "");
    refused(&come_back(&mut browser, &server, &other).await, 400, "other_provider");
    // It was used up by that.
    refused(&come_back(&mut browser, &server, &back).await, 400, "unknown_state");

    // Another session of the same person, and another person.
    for args in [&["login-link"][..], &["invite", "--role", "operator"]] {
        let back = way(&mut browser).await;
        let mut other = Browser::signed_in(&server, args).await;
        refused(&come_back(&mut other, &server, &back).await, 400, "other_person");
        assert_eq!(card(&mut other, &server, "github").await["connected"], false);
        refused(&come_back(&mut browser, &server, &back).await, 400, "unknown_state");
    }
    // Nobody at all: it is still good after signing in.
    let back = way(&mut browser).await;
    let stranger = come_back(&mut Browser::new(), &server, &back).await;
    assert!(stranger.status == 401 || stranger.status.is_redirection(), "{stranger:?}");

    // Too late.
    let late = way(&mut browser).await;
    let past = "update integration_attempt set created_at = '2020-01-01T00:00:00+00:00'";
    server.database().execute(&server.data(), past).await;
    refused(&come_back(&mut browser, &server, &late).await, 400, "too_late");

    // Parameters twice, none, too many; a state that was never given.
    let back = way(&mut browser).await;
    for (url, code) in [
        (elsewhere(&back, path, "&code=other"), "garbled"),
        (elsewhere(&back, path, "&state=other"), "garbled"),
        (format!("{}{path}?code=abc", server.base).parse().unwrap(), "no_state"),
        (
            format!("{}{path}?installation_id=1&setup_action=install&code=abc", server.base)
                .parse()
                .unwrap(),
            "no_state",
        ),
        (
            format!("{}{path}?code=abc&state={}", server.base, "x".repeat(43)).parse().unwrap(),
            "unknown_state",
        ),
        (
            format!("{}{path}?state={}", server.base, "x".repeat(5000)).parse().unwrap(),
            "unknown_state",
        ),
    ] {
        refused(&come_back(&mut browser, &server, &url).await, 400, code);
    }
    nothing_was_exchanged(&simulator, &mut browser, &server).await;

    // And the right way, once.
    let back = way(&mut browser).await;
    assert_eq!(come_back(&mut browser, &server, &back).await.status, 303);
    refused(&come_back(&mut browser, &server, &back).await, 400, "unknown_state");
    assert_eq!(simulator.count("github", "exchanges").await, 1);
    works(&mut browser, &server, "github").await;
    simulator.assert_content().await;
}

on_both!(addresses_of_earlier_versions_lead_here);
async fn addresses_of_earlier_versions_lead_here(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for path in ["/api/integrations/callback", "/oauth/callback"] {
        let url = begin(&mut browser, &server, "slack").await;
        let back = simulator.allow(&url).await;
        let answer = come_back(&mut browser, &server, &elsewhere(&back, path, "")).await;
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        works(&mut browser, &server, "slack").await;
    }
    simulator.assert_content().await;
}

on_both!(who_says_no_is_heard);
async fn who_says_no_is_heard(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    let url = begin(&mut browser, &server, "github").await;
    let back = simulator.decide(&url, "deny").await;
    refused(&come_back(&mut browser, &server, &back).await, 400, "denied");
    refused(&come_back(&mut browser, &server, &back).await, 400, "unknown_state");
    // What a provider says is shown as a text, without markup and without secrets.
    let url = begin(&mut browser, &server, "github").await;
    let state = Url::parse(&url).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let said = format!(
        "{}/api/integrations/github/callback?state={state}&error=server_error\
         &error_description=%3Cscript%3Ealert(1)%3C/script%3E%20ghp_{}",
        server.base,
        "a1".repeat(18)
    );
    let answer = come_back(&mut browser, &server, &said.parse().unwrap()).await;
    refused(&answer, 400, "provider_refused");
    assert!(!answer.text.contains("<script>alert"), "{}", answer.text);
    assert!(!answer.text.contains("a1a1a1a1a1"), "{}", answer.text);
    nothing_was_exchanged(&simulator, &mut browser, &server).await;
}

on_both!(an_exchange_that_fails_leaves_nothing);
async fn an_exchange_that_fails_leaves_nothing(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (failure, status, code) in [
        (json!({ "do": 500 }), 503, "down"),
        (json!({ "do": 502 }), 503, "down"),
        (json!({ "do": "html", "status": 200 }), 503, "down"),
        (json!({ "do": "huge" }), 503, "down"),
        (json!({ "do": "drop" }), 503, "down"),
        (json!({ "do": 429, "retry_after": 1 }), 503, "down"),
        (json!({ "do": "redirect" }), 503, "down"),
        (json!({ "do": 400, "error": "invalid_grant" }), 400, "needs_reconnect"),
        (json!({ "do": 401, "error": "invalid_client" }), 400, "client_refused"),
    ] {
        let mut next = failure.clone();
        next["where"] = json!("token");
        simulator.control("dropbox", json!({ "next": next })).await;
        let answer = try_connect(&mut browser, &server, &simulator, "dropbox").await;
        assert_eq!(answer.status.as_u16(), status, "{failure}: {answer:?}");
        refused(&answer, status, code);
        assert_eq!(card(&mut browser, &server, "dropbox").await["connected"], false);
        assert_eq!(simulator.count("dropbox", "failures").await, 0, "it came to that");
    }
    // It is known by whom it was given, but not who it is.
    simulator.control("dropbox", json!({ "next": { "do": 500, "times": 9 } })).await;
    refused(&try_connect(&mut browser, &server, &simulator, "dropbox").await, 503, "down");
    assert_eq!(card(&mut browser, &server, "dropbox").await["connected"], false);
    simulator.control("reset", json!({})).await;
    connect(&mut browser, &server, &simulator, "dropbox").await;
    works(&mut browser, &server, "dropbox").await;
    simulator.assert_content().await;
}

on_both!(a_wrong_secret_is_the_administrators);
async fn a_wrong_secret_is_the_administrators(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let mut browser = admin(&server).await;
    for (kind, app) in super::simulator::KINDS {
        let client = json!({ "id": format!("{app}-client"), "secret": "another one" });
        simulator.control(app, json!({ "client": client })).await;
        let answer = try_connect(&mut browser, &server, &simulator, kind).await;
        refused(&answer, 400, "client_refused");
        assert!(answer.text.contains("client_secret"), "{answer:?}");
    }
    let request = browser.request(&server, Method::GET, "/api/integrations");
    let text = browser.send(request).await.text;
    assert!(!text.contains("s3cret"), "{text}");
}
