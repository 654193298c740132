//! What browsers are told, and what is believed of them: headers, cookies, origins.

use reqwest::{
    Method,
    header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, ORIGIN},
};
use serde_json::Value;

use crate::{
    authority::person,
    contract::{operations, patient, state},
    support::{Answer, Database, Role, Server, Setup, on_both},
};

fn is(headers: &HeaderMap, name: &str, value: &str) {
    let found = headers.get(name).map(|found| found.to_str().unwrap());
    assert_eq!(found, Some(value), "{name}: {headers:#?}");
}

fn guarded(headers: &HeaderMap) {
    is(headers, "x-content-type-options", "nosniff");
    is(headers, "referrer-policy", "no-referrer");
    is(headers, "x-frame-options", "DENY");
    is(headers, "cross-origin-resource-policy", "same-origin");
    is(headers, "cache-control", "no-store");
    let policy = headers["content-security-policy"].to_str().unwrap();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.split("; ").any(|found| found == part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Pages of other origins read nothing, whatever they call themselves.
    let opened = headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(opened, None, "{headers:#?}");
    // Nothing tells what Lux is made of.
    assert!(!headers.contains_key("server") && !headers.contains_key("x-powered-by"));
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let server = patient(&Database::sqlite()).await;
    for operation in operations(&server).await {
        for role in [None, Some(Role::Admin)] {
            let path = operation.nowhere();
            let request = match role {
                Some(role) => server.request_as(role, operation.method.clone(), &path),
                None => server.request(operation.method.clone(), &path),
            };
            let request =
                request.header(ORIGIN, "https://evil.example").header(CONTENT_TYPE, "x/y");
            let response = request.send().await.unwrap();
            // A stream says for itself how it may be kept.
            if operation.is_stream() && response.status() == 200 {
                continue;
            }
            if operation.path != "/mcp" || role.is_none() {
                guarded(response.headers());
            }
            assert!(!response.headers().contains_key("strict-transport-security"));
        }
    }
    for path in ["/nothing", "/static/nothing.css", "/"] {
        guarded(&Answer::of(server.request(Method::GET, path)).await.headers);
    }
    let before =
        server.request(Method::OPTIONS, "/api/apps").header(ORIGIN, "https://evil.example");
    let before = before.header("access-control-request-method", "POST");
    guarded(&Answer::of(before).await.headers);
}

#[tokio::test]
async fn over_https_browsers_are_to_keep_to_it() {
    let setup = Setup::new(&Database::sqlite()).env("LUX_PUBLIC_URL", "https://lux.example.org");
    let server = setup.start().await;
    for path in ["/healthz", "/nothing", "/api/apps"] {
        let answer = Answer::of(server.request(Method::GET, path)).await;
        is(&answer.headers, "strict-transport-security", "max-age=31536000");
    }
}

/// Another site can make a browser send a form or a request, with the cookie. Nothing comes of it.
#[tokio::test]
async fn other_sites_change_nothing_in_ones_name() {
    let server = patient(&Database::sqlite()).await;
    let cookie = person(&server, "admin").await;
    let before = state(&server).await;
    let own = server.base.clone();
    let mut unsafe_ones = 0;
    for operation in operations(&server).await {
        let path = operation.nowhere();
        let ask = |headers: &[(&str, &str)]| {
            let mut request =
                server.request(operation.method.clone(), &path).header(COOKIE, &cookie);
            if operation.has_body {
                request = request.json(&operation.body());
            }
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        if operation.path == "/api/webhook/zapier-contact" {
            // A session is nothing there.
            continue;
        }
        let signs_up = ["/api/customers/signup", "/api/customers/verify-email"];
        if signs_up.contains(&operation.path.as_str()) {
            // Done in nobody's name. Whose browser asks is looked at where a session begins.
            if operation.path.ends_with("/verify-email") {
                let answer = Answer::of(ask(&[("sec-fetch-site", "cross-site")])).await;
                assert!(answer.problem(403).contains("a page of Lux itself"), "{answer:?}");
            }
            continue;
        }
        if operation.method == Method::GET {
            let request =
                ask(&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")]);
            let status = request.send().await.unwrap().status();
            assert!(status != 403, "{operation:?}: {status}");
            continue;
        }
        unsafe_ones += 1;
        let others: &[&[(&str, &str)]] = &[
            &[],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "https://127.0.0.1")],
            &[("referer", &own)],
        ];
        for headers in others {
            let answer = Answer::of(ask(headers)).await;
            assert_eq!(answer.status, 403, "{operation:?} {headers:?}: {answer:?}");
            assert!(answer.text.contains("a page of Lux itself"), "{answer:?}");
        }
        // A token is sent by no browser of its own accord, and then the cookie does not count.
        if operation.has_id() {
            let request = ask(others[1]).bearer_auth(server.token(Role::Admin));
            assert_eq!(Answer::of(request).await.status, 404, "{operation:?}");
            let request = ask(&[("origin", &own)]);
            assert_eq!(Answer::of(request).await.status, 404, "{operation:?}");
        }
    }
    assert!(unsafe_ones > 20, "{unsafe_ones}");
    assert_eq!(state(&server).await, before, "something has changed");
}

/// Over plain http a session is for this machine alone.
#[tokio::test]
async fn a_session_over_plain_http_does_not_leave_the_machine() {
    let server = patient(&Database::sqlite()).await;
    let cookie = person(&server, "admin").await;
    let ask = || server.request(Method::GET, "/api/apps").header(COOKIE, &cookie);
    assert_eq!(ask().send().await.unwrap().status(), 200);
    let proxied = ask().header("x-forwarded-for", "203.0.113.9");
    assert!(Answer::of(proxied).await.problem(403).contains("https"));
}

/// With a public_url that alone is ours, whatever Host says.
#[tokio::test]
async fn a_forged_host_is_no_origin_of_ours() {
    let setup = Setup::new(&Database::sqlite()).env("LUX_PUBLIC_URL", "https://lux.example.org");
    let server = setup.start().await;
    let cookie = person(&server, "admin").await.replace("lux-dev=", "__Host-lux=");
    let ask = |host: &str, origin: &str| {
        let request = server.request(Method::POST, "/api/auto-repair/go").header(COOKIE, &cookie);
        Answer::of(request.header(HOST, host).header(ORIGIN, origin))
    };
    assert_eq!(ask("lux.example.org", "https://lux.example.org").await.status, 200);
    assert_eq!(ask("10.0.0.7:5000", "https://lux.example.org").await.status, 200);
    ask("evil.example", "https://evil.example").await.problem(403);
    ask("evil.example", "http://evil.example").await.problem(403);
    ask("lux.example.org", "http://lux.example.org").await.problem(403);
}

/// Tables that move by themselves (what is indexed, read, due), or say when something was last used.
const MOVING: &[&str] = &[
    "job",
    "schedule",
    "log_checkpoint",
    "log_source",
    "error_index_mark",
    "deploy_watch",
    "session",
    "api_token",
    "_sqlx_migrations",
    "error_term",
    "error_endpoint",
    "failing_request",
    "probe_result",
    "error_endpoint_hour",
    "error_endpoint_user",
    "error_storm",
    "app_usage",
    "audit_head",
];

async fn dump(server: &Server) -> Vec<(String, Vec<String>)> {
    let data = server.data();
    let tables = match server.database() {
        Database::Sqlite => {
            "select name from sqlite_master where type = 'table'
             and name not like 'sqlite_%' and name not like 'error_term%' order by name"
        }
        Database::Postgres(_) => {
            "select table_name::text from information_schema.tables
             where table_schema = current_schema() and table_type = 'BASE TABLE' order by 1"
        }
    };
    let mut found = Vec::new();
    for table in server.database().column(&data, tables).await {
        if MOVING.contains(&table.as_str()) {
            continue;
        }
        let count = format!("select cast(count(*) as text) from {table}");
        found.push((table, server.database().column(&data, &count).await));
    }
    let rows = [
        "select status || title || cast(count as text) from error_group order by id",
        "select name || coalesce(base_url, '') || coalesce(cast(archived_at as text), '') from app order by id",
        "select cast(stopped as text) from action_switch",
        "select title from chat_session order by id",
        "select role || status from account order by id",
    ];
    for sql in rows {
        found.push((sql.to_owned(), server.database().column(&data, sql).await));
    }
    found
}

on_both!(reading_changes_nothing);
async fn reading_changes_nothing(database: Database) {
    let server = patient(&database).await;
    let event = serde_json::json!({ "error_type": "E", "error_message": "m", "endpoint": "/buy" });
    let created = server.post("/api/errors", &event).await.json();
    let group: Value = server.get("/api/diagnostics/groups").await["groups"][0]["id"].clone();
    assert!(group.is_number(), "{created}");
    server.post("/api/apps", &serde_json::json!({ "name": "shop" })).await;
    let before = dump(&server).await;
    assert!(before.len() > 30, "{before:#?}");
    for operation in operations(&server).await {
        // That somebody took all contacts away is noted.
        if operation.method != Method::GET || operation.path == "/api/contacts/export" {
            continue;
        }
        for id in ["1", "987654321"] {
            let path = format!("{}?hours=100", operation.with_id(id));
            for method in [Method::GET, Method::HEAD] {
                for path in [&path, &operation.with_id(id)] {
                    let request = server.request_as(Role::Admin, method.clone(), path);
                    // Of streams only the head.
                    drop(request.send().await.unwrap());
                }
            }
        }
    }
    assert_eq!(dump(&server).await, before);
}
