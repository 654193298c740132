//! Secrets and tokens never leave: not in answers, pages, logs, nor as they are in the database.

use reqwest::Method;
use serde_json::json;

use super::simulator::{
    KINDS, Simulator, account, admin, begin, card, come_back, connect, deed, disconnect, works,
};
use crate::support::{Browser, Database, Server, on_both, run};

/// All that lies in the database, as text.
async fn stored(server: &Server) -> String {
    let (database, data) = (server.database(), server.data());
    match database {
        Database::Sqlite => {
            let mut all = Vec::new();
            for name in ["lux.db", "lux.db-wal"] {
                all.extend(std::fs::read(data.join(name)).unwrap_or_default());
            }
            String::from_utf8_lossy(&all).into_owned()
        }
        Database::Postgres(_) => {
            let tables = "select table_name::text from information_schema.tables
                          where table_schema = current_schema() and table_type = 'BASE TABLE'";
            let mut all = String::new();
            for table in database.column(&data, tables).await {
                let rows = format!("select t::text from \"{table}\" t");
                for row in database.column(&data, &rows).await {
                    all.push_str(&row);
                    all.push('\n');
                }
            }
            all
        }
    }
}

on_both!(no_secret_is_served_logged_or_stored_openly);
async fn no_secret_is_served_logged_or_stored_openly(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    for app in ["github", "slack"] {
        simulator.control(app, json!({ "token_life": 3600 })).await;
    }
    let setup = simulator.setup(&database).env("LUX_LOG", "debug");
    let mut server = setup.start().await;
    let mut browser = admin(&server).await;
    let mut served = Vec::new();
    for (kind, app) in KINDS {
        let url = begin(&mut browser, &server, kind).await;
        let back = simulator.allow(&url).await;
        served.push(come_back(&mut browser, &server, &back).await);
        works(&mut browser, &server, kind).await;
        served.push(deed(&mut browser, &server, kind, "refresh").await);
        // What was refused, and by whom.
        served.push(come_back(&mut browser, &server, &back).await);
        let refusal = json!({ "do": 401, "error": "invalid_client", "where": "token" });
        simulator.control(app, json!({ "next": refusal })).await;
        served.push(deed(&mut browser, &server, kind, "refresh").await);
        let set = "update oauth_grant set try_again_at = null";
        server.database().execute(&server.data(), set).await;
    }
    simulator.control("atlassian", json!({ "revoke_all": true })).await;
    served.push(deed(&mut browser, &server, "jira", "refresh").await);
    disconnect(&mut browser, &server, "dropbox").await;
    connect(&mut browser, &server, &simulator, "dropbox").await;
    assert_eq!(card(&mut browser, &server, "dropbox").await["connected"], true);

    // Everything that one can get at.
    let own = account(&mut browser, &server).await;
    let described = browser.get(&server, "/openapi.json").await;
    let mut paths: Vec<String> = described.json()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, operations)| operations.get("get").is_some())
        .map(|(path, _)| {
            path.replace("{user_id}", &own.to_string())
                .replace("{provider}", "github")
                .replace("{id}", "1")
        })
        .filter(|path| !path.contains('{') && !path.contains("stream"))
        .collect();
    assert!(paths.iter().any(|path| path.starts_with("/api/auth/integrations/")), "{paths:?}");
    for page in ["/", "/integrations", "/settings", "/audit", "/errors", "/health", "/metrics"] {
        paths.push(page.to_owned());
    }
    for path in &paths {
        let request = browser.request(&server, Method::GET, path);
        let request = request.timeout(std::time::Duration::from_secs(5));
        if let Ok(answer) = try_send(&browser, request).await {
            served.push(answer);
        }
    }
    assert!(served.len() > 60, "{}", served.len());
    let doctor = run(server.command().args(["doctor"]));
    let shown = run(server.command().args(["config"]));
    assert_eq!(server.stop().await, Some(0));

    let secrets = simulator.secrets().await;
    assert!(secrets.len() > 60, "{}", secrets.len());
    let (log, rows) = (server.log(), stored(&server).await);
    assert!(log.contains("integrations") && rows.contains("github"), "it was looked at");
    for (name, secret) in secrets {
        for answer in &served {
            let headers = format!("{:?}", answer.headers);
            // What is asked for in an address stands in no answer but in those.
            assert!(!answer.text.contains(&secret), "{name} was served: {answer:?}");
            assert!(!headers.contains(&secret), "{name} is in headers: {headers}");
        }
        assert!(!log.contains(&secret), "{name} is in the log: {}", around(&log, &secret));
        assert!(!rows.contains(&secret), "{name} is in the database");
        for said in [&doctor, &shown] {
            assert!(!said.out.contains(&secret) && !said.err.contains(&secret), "{name}: {said:?}");
        }
    }
}

async fn try_send(
    browser: &Browser,
    request: reqwest::RequestBuilder,
) -> reqwest::Result<crate::support::Answer> {
    let cookie = format!("lux-dev={}", browser.cookie());
    crate::support::Answer::try_of(request.header("cookie", cookie)).await
}

/// Where it stands, for whoever has to find out why.
fn around(text: &str, found: &str) -> String {
    let line = text.lines().find(|line| line.contains(found)).unwrap_or_default();
    line.chars().take(500).collect()
}
