//! Finding events again, against the real program: rows are found at once, before and after
//! they are indexed, and both databases give the same answers.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use lux::clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Database, PATIENCE, Role, Server, Setup, on_both, until};

on_both!(every_operator_finds_what_it_names);
on_both!(events_are_found_at_once_and_deleted_ones_are_not);
on_both!(hostile_queries_are_texts);
on_both!(pages_hold_each_event_once);
on_both!(indexing_survives_kill);
on_both!(series_follow_days_of_a_zone);
on_both!(users_endpoints_and_tags_are_counted);
on_both!(exports_stream);
on_both!(organizations_see_their_own);

/// `/path?a=b` with its values encoded.
fn path(path: &str, query: &[(&str, &str)]) -> String {
    let mut encoded = url::form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(query);
    format!("{path}?{}", encoded.finish())
}

async fn found(server: &Server, query: &[(&str, &str)]) -> Vec<String> {
    let mut all = vec![("limit", "200")];
    all.extend_from_slice(query);
    let page = server.get(&path("/api/diagnostics/errors", &all)).await;
    assert_eq!(page["next"], Value::Null, "{query:?}");
    let messages = page["errors"].as_array().unwrap().iter();
    messages.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

async fn groups(server: &Server, query: &[(&str, &str)]) -> Vec<String> {
    let page = server.get(&path("/api/diagnostics/groups", query)).await;
    assert_eq!(page["next"], Value::Null, "{query:?}");
    let found = page["groups"].as_array().unwrap().iter();
    found.map(|group| group["error_type"].as_str().unwrap().to_owned()).collect()
}

async fn send(server: &Server, events: &Value) -> Vec<i64> {
    let answer = server.post("/api/errors", events).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

/// Waits until nothing is left to be indexed.
async fn indexed(server: &Server) {
    until("all is indexed", async || {
        let answer = server.get("/api/diagnostics/errors/endpoints").await;
        (answer["behind"] == 0).then_some(())
    })
    .await;
}

async fn sql(server: &Server, text: &str) {
    server.database().execute(&server.data(), text).await;
}

async fn column(server: &Server, text: &str) -> Vec<String> {
    server.database().column(&server.data(), text).await
}

fn events() -> Value {
    json!([
        { "error_type": "psycopg2.OperationalError", "error_message": "one: connection to server refused",
          "endpoint": "/user/42?x=1", "method": "GET", "user_id": "ann", "release": "shop@1.0",
          "environment": "production", "app": "shop", "tags": { "Plan": "Pro", "browser": "Firefox 128" },
          "request_id": "req-1", "event_id": "0123456789abcdef0123456789abcdef" },
        { "error_type": "ReadTimeoutError", "error_message": "two: the server's answer took too long",
          "endpoint": "/cart", "method": "POST", "user_id": "bob", "release": "shop@1.1",
          "environment": "staging", "app": "shop", "severity": "critical", "tags": { "plan": "free" } },
        { "error_type": "KeyError", "error_message": "three: 'GBP' with \"quotes\" und Übermut データ",
          "endpoint": "/cart", "method": "GET", "user_id": "ann", "release": "shop@1.1",
          "environment": "production", "app": "blog" },
    ])
}

async fn every_operator_finds_what_it_names(database: Database) {
    let server = Server::plain(&database).await;
    send(&server, &events()).await;
    let number = |names: Vec<String>| -> String {
        let mut digits: Vec<&str> = names
            .iter()
            .map(|name| match name.split(':').next().unwrap() {
                "one" | "psycopg2.OperationalError" => "1",
                "two" | "ReadTimeoutError" => "2",
                "three" | "KeyError" => "3",
                other => panic!("{other}"),
            })
            .collect();
        digits.sort_unstable();
        digits.concat()
    };
    // Before the indexer has come by, and after.
    for round in 0..2 {
        for (q, wanted) in [
            ("server", "12"),
            ("SERVER refused", "1"),
            ("\"server refused\"", "1"),
            ("\"refused server\"", ""),
            ("serv*", "12"),
            ("timeout", "2"),
            ("OperationalError", "1"),
            ("psycopg2.OperationalError", "1"),
            ("-server", "3"),
            ("server -type:readtimeouterror", "1"),
            ("type:OperationalError", "1"),
            ("type:psycopg2.operationalerror", "1"),
            ("type:Operational", ""),
            ("type:Read*", "2"),
            ("endpoint:/cart", "23"),
            ("endpoint:/user/42", "1"),
            ("endpoint:\"/user/<n>\"", "1"),
            ("endpoint:/us*", "1"),
            ("method:post", "2"),
            ("release:shop@1.1", "23"),
            ("release:shop@1*", "123"),
            ("-release:shop@1.1", "1"),
            ("environment:staging", "2"),
            ("env:production user:ann", "13"),
            ("user:ann -app:blog", "1"),
            ("level:critical", "2"),
            ("origin:json", "123"),
            ("tag.plan:pro", "1"),
            ("tag.Plan:f*", "2"),
            ("-tag.plan:pro", "23"),
            ("plan:free", "2"),
            ("browser:\"Firefox 128\"", "1"),
            ("browser:Firefox", ""),
            ("firefox", "1"),
            ("request:req-1", "1"),
            ("event:0123456789ABCDEF0123456789abcdef", "1"),
            ("\"GBP with quotes\"", "3"),
            ("übermut", "3"),
            ("\"データ\"", "3"),
            ("one: connection", "1"),
            ("", "123"),
        ] {
            assert_eq!(number(found(&server, &[("q", q)]).await), wanted, "{q} ({round})");
        }
        for (name, value, wanted) in [
            ("release", "shop@1.1", "23"),
            ("environment", "staging", "2"),
            ("user", "ann", "13"),
            ("tag", "plan:pro", "1"),
            ("origin", "json", "123"),
            ("origin", "log", ""),
            ("request_id", "req-1", "1"),
            ("event_id", "0123456789abcdef0123456789abcdef", "1"),
            ("endpoint", "/cart", "23"),
            ("severity", "critical", "2"),
            ("app", "shop", "12"),
            ("since", "1h", "123"),
            ("until", "1h", ""),
            ("since", "2999-01-01T00:00:00Z", ""),
            ("resolved", "false", "123"),
            ("resolved", "true", ""),
        ] {
            assert_eq!(number(found(&server, &[(name, value)]).await), wanted, "{name}={value}");
        }
        for (name, value, wanted) in [
            ("q", "type:KeyError", "3"),
            ("q", "timeout", "2"),
            ("q", "server -took", "1"),
            ("q", "-server", "3"),
            ("q", "release:shop@1.1", "23"),
            ("q", "release:shop@1.1 environment:production", "3"),
            ("q", "-release:shop@1.1", "1"),
            ("q", "plan:pro", "1"),
            ("q", "-plan:pro", "23"),
            ("release", "shop@1.1", "23"),
            ("environment", "production", "13"),
            ("user", "ann", "13"),
            ("tag", "plan:free", "2"),
            ("request_id", "req-1", "1"),
            ("origin", "json", "123"),
            ("endpoint", "/cart", "23"),
            ("app", "blog", "3"),
            ("since", "1h", "123"),
            ("until", "1h", ""),
        ] {
            for sort in ["last_seen", "first_seen", "count"] {
                let names = groups(&server, &[(name, value), ("sort", sort)]).await;
                assert_eq!(number(names), wanted, "groups {name}={value} ({round})");
            }
        }
        indexed(&server).await;
    }
    let refused = server.request_as(
        Role::Read,
        Method::GET,
        &path("/api/diagnostics/groups", &[("q", "release:1*")]),
    );
    assert!(Answer::of(refused).await.problem(400).contains("whole value"));
}

async fn events_are_found_at_once_and_deleted_ones_are_not(database: Database) {
    let server = Server::plain(&database).await;
    for round in 0..20 {
        let message = format!("round r{round}r of many");
        send(&server, &json!({ "error_type": "E", "error_message": message })).await;
        assert_eq!(found(&server, &[("q", &format!("r{round}r"))]).await, [message]);
    }
    // Many others, so that the newest alone do not hold it.
    let crowd: Vec<Value> = (0..700)
        .map(|n| json!({ "error_type": "Crowd", "error_message": format!("crowd {n}") }))
        .collect();
    let ids = send(&server, &json!(crowd)).await;
    indexed(&server).await;
    assert_eq!(found(&server, &[("q", "r3r")]).await.len(), 1);
    sql(&server, "delete from error_log where error_message like '%r3r%'").await;
    assert!(found(&server, &[("q", "r3r")]).await.is_empty());
    assert_eq!(found(&server, &[("q", "r4r")]).await.len(), 1);
    let rows = column(
        &server,
        match server.database() {
            Database::Sqlite => {
                "select cast(count(*) as text) from error_term where error_term match 'r3r'"
            }
            Database::Postgres(_) => {
                "select cast(count(*) as text) from error_term where terms @@ 'r3r'"
            }
        },
    );
    assert_eq!(rows.await, ["0"], "the index lets go of them");
    // SQLite gives ids of removed newest rows again: what comes then is found, too.
    let newest = ids[350];
    sql(&server, &format!("delete from error_log where id > {newest}")).await;
    send(&server, &json!({ "error_type": "E", "error_message": "after the end" })).await;
    assert_eq!(found(&server, &[("q", "\"after the end\"")]).await.len(), 1);
    let more: Vec<Value> = (0..600)
        .map(|n| json!({ "error_type": "More", "error_message": format!("more {n}") }))
        .collect();
    send(&server, &json!(more)).await;
    indexed(&server).await;
    assert_eq!(found(&server, &[("q", "\"after the end\"")]).await.len(), 1);
    assert!(found(&server, &[("q", "\"crowd 600\"")]).await.is_empty());
    assert_eq!(found(&server, &[("q", "\"crowd 100\"")]).await.len(), 1);
}

async fn hostile_queries_are_texts(database: Database) {
    let server = Server::plain(&database).await;
    send(&server, &events()).await;
    let ask = async |q: &str| {
        let all = path("/api/diagnostics/errors", &[("q", q)]);
        let one = Answer::of(server.request_as(Role::Read, Method::GET, &all)).await;
        let all = path("/api/diagnostics/groups", &[("q", q)]);
        let two = Answer::of(server.request_as(Role::Read, Method::GET, &all)).await;
        assert!(
            one.status == StatusCode::OK || one.status == StatusCode::BAD_REQUEST,
            "{q}: {one:?}"
        );
        assert!(
            two.status == StatusCode::OK || two.status == StatusCode::BAD_REQUEST,
            "{q}: {two:?}"
        );
        one
    };
    for round in 0..2 {
        for q in [
            "' or 1=1 --",
            "server AND NOT x",
            "server OR",
            "NEAR(a b, 5)",
            "server*:",
            "^server",
            "{a b}: c",
            "terms:server",
            "a & !b | <-> 'c':*",
            "a\\",
            "\\\"",
            "(((",
            "%_%",
            "-",
            "--a",
            "*",
            "server:",
            ":server",
            "::",
            "tag.:x",
            "tag.a:b:c",
            "\u{202e}server\u{0}",
            "🦀",
            "İ",
            "ß*",
            "\u{301}\u{301}",
            "x'y\"z\"",
            "a:\"b\\\"c\"",
            "rowid:1",
            "error_term",
        ] {
            ask(q).await;
        }
        assert!(ask("server \"open").await.problem(400).contains("character 8"), "{round}");
        assert!(ask("type:").await.problem(400).contains("character 1"));
        assert!(ask("%00\0").await.problem(400).contains("zero"));
        assert!(ask(&"a".repeat(10_000)).await.problem(400).contains("500 bytes"));
        assert!(ask(&"(\"".repeat(99)).await.problem(400).contains("character"));
        indexed(&server).await;
    }
    for query in [
        "since=soon",
        "until=9e99d",
        "since=1h&hours=2",
        "hours=0",
        "tag=plan",
        "tag=:x",
        "origin=x",
        "severity=x",
        "cursor=x",
        "release=%00",
    ] {
        let path = format!("/api/diagnostics/errors?{query}");
        let answer = Answer::of(server.request_as(Role::Read, Method::GET, &path)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

async fn pages_hold_each_event_once(database: Database) {
    let server = Server::plain(&database).await;
    for batch in 0..4 {
        let crowd: Vec<Value> = (0..900)
            .map(|n| {
                let word = if n % 9 == 0 { "rare" } else { "common" };
                // Times that stand in no order, some equal.
                let at = clock::now() - TimeDelta::seconds(n * 7919 % 600);
                json!({ "error_type": "E", "error_message": format!("{word} text of {batch} {n}"),
                        "created_at": at.to_rfc3339(), "release": format!("r{}", n % 3) })
            })
            .collect();
        send(&server, &json!(crowd)).await;
    }
    for (q, wanted) in
        [("rare", 400), ("release:r1 text", 1200), ("-rare", 3200), ("\"of 2\"", 900)]
    {
        let (mut seen, mut last, mut cursor) = (BTreeSet::new(), None, None::<String>);
        loop {
            let mut query = vec![("q", q), ("limit", "170")];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = server.get(&path("/api/diagnostics/errors", &query)).await;
            for event in page["errors"].as_array().unwrap() {
                let at: DateTime<Utc> = event["created_at"].as_str().unwrap().parse().unwrap();
                let place = (at, event["id"].as_i64().unwrap());
                assert!(last.is_none_or(|last| place < last), "newest first");
                last = Some(place);
                assert!(seen.insert(place.1), "{q}: {} is listed twice", place.1);
            }
            let Some(next) = page["next"].as_str() else { break };
            cursor = Some(next.to_owned());
        }
        assert_eq!(seen.len(), wanted, "{q}");
    }
}

async fn indexing_survives_kill(database: Database) {
    let mut server = Server::plain(&database).await;
    let mut count = 0;
    for batch in 0..6 {
        let crowd: Vec<Value> = (0..700)
            .map(|n| {
                json!({ "error_type": "E", "error_message": format!("b{batch} n{n}n"),
                             "endpoint": "/x", "user_id": n % 10 })
            })
            .collect();
        send(&server, &json!(crowd)).await;
        count += 700;
        server.kill().await;
        server.start().await;
    }
    indexed(&server).await;
    assert_eq!(found(&server, &[("q", "n77n")]).await.len(), 6);
    let answer = server.get("/api/diagnostics/errors/endpoints").await;
    assert_eq!(answer["endpoints"][0]["count"], json!(count), "each event is counted once");
    assert_eq!(answer["endpoints"][0]["users"], json!(10));
    let rows = column(
        &server,
        match server.database() {
            Database::Sqlite => {
                "select cast(count(*) as text) from error_term where error_term match 'e'"
            }
            Database::Postgres(_) => "select cast(count(*) as text) from error_term",
        },
    );
    assert_eq!(rows.await, [count.to_string()]);
}

async fn series_follow_days_of_a_zone(database: Database) {
    let server = Server::plain(&database).await;
    send(&server, &events()).await;
    let hours = server.get("/api/diagnostics/errors/series?hours=48").await;
    let points = hours["points"].as_array().unwrap();
    assert_eq!((points.len(), &hours["total"]), (48, &json!(3)));
    let total = async |query: &str| {
        let answer = server.get(&format!("/api/diagnostics/errors/series?{query}")).await;
        assert_eq!(answer["complete"], json!(true), "{query}");
        answer["total"].as_i64().unwrap()
    };
    let groups = server.get("/api/diagnostics/groups?app=blog").await;
    let group = groups["groups"][0]["id"].as_i64().unwrap();
    for (query, wanted) in [
        ("hours=2&app=shop".to_owned(), 2),
        ("hours=2&severity=critical".to_owned(), 1),
        ("hours=2&severity=critical&app=blog".to_owned(), 0),
        (format!("hours=2&group={group}"), 1),
        (format!("hours=2&group={group}&app=shop"), 0),
        ("days=2&release=shop@1.1".to_owned(), 2),
        ("days=2&q=timeout".to_owned(), 1),
        ("hours=2&group=987654".to_owned(), 0),
    ] {
        assert_eq!(total(&query).await, wanted, "{query}");
    }
    // A year has both changes of the clocks: no day is missing or there twice.
    for zone in [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "America/Santiago",
        "Africa/Cairo",
        "UTC",
    ] {
        let path = path("/api/diagnostics/errors/series", &[("days", "366"), ("zone", zone)]);
        let answer = server.get(&path).await;
        let points = answer["points"].as_array().unwrap();
        assert_eq!((points.len(), &answer["total"]), (366, &json!(3)), "{zone}");
        let days: BTreeSet<&str> =
            points.iter().map(|point| point["day"].as_str().unwrap()).collect();
        assert_eq!(days.len(), 366, "{zone}");
        let begins: Vec<DateTime<Utc>> =
            points.iter().map(|point| point["at"].as_str().unwrap().parse().unwrap()).collect();
        let lengths: BTreeSet<i64> =
            begins.windows(2).map(|pair| (pair[1] - pair[0]).num_minutes()).collect();
        let changes = !matches!(zone, "UTC" | "Asia/Kolkata");
        assert!(lengths.contains(&1440) && (lengths.len() > 1) == changes, "{zone}: {lengths:?}");
    }
    for query in ["days=0", "days=367", "hours=1&days=1", "days=3&zone=Atlantis", "hours=9999"] {
        let path = format!("/api/diagnostics/errors/series?{query}");
        let answer = Answer::of(server.request_as(Role::Read, Method::GET, &path)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

async fn users_endpoints_and_tags_are_counted(database: Database) {
    let server = Server::plain(&database).await;
    let many: Vec<Value> = (0..120)
        .map(|n| {
            json!({ "error_type": "E", "error_message": "broken", "endpoint": format!("/user/{n}"),
                    "method": "GET", "user_id": format!("u{:03}", n % 30), "release": format!("r{}", n % 2),
                    "tags": { "browser": format!("b{}", n % 15) } })
        })
        .collect();
    send(&server, &json!(many)).await;
    let other =
        json!({ "error_type": "F", "error_message": "f", "endpoint": "/user/7", "method": "GET" });
    send(&server, &other).await;
    send(
        &server,
        &json!({ "error_type": "F", "error_message": "f", "endpoint": "/z", "app": "b" }),
    )
    .await;
    indexed(&server).await;
    let answer = server.get("/api/diagnostics/errors/endpoints?hours=2").await;
    let first = &answer["endpoints"][0];
    assert_eq!(
        (&first["endpoint"], &first["count"], &first["groups"], &first["users"]),
        (&json!("/user/<n>"), &json!(121), &json!(2), &json!(30)),
        "{answer}"
    );
    let answer = server.get("/api/diagnostics/errors/endpoints?app=b").await;
    assert_eq!(answer["endpoints"].as_array().unwrap().len(), 1);

    let groups = server.get("/api/diagnostics/groups?sort=count").await;
    let id = &groups["groups"][0]["id"];
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/diagnostics/groups/{id}/users?limit=7{cursor}")).await;
        assert_eq!((&page["count"], &page["sampled"]), (&json!(30), &json!(120)));
        for user in page["users"].as_array().unwrap() {
            assert_eq!(user["events"], json!(4));
            names.push(user["user"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names.len(), 30);
    assert!(names.is_sorted());
    let tags = server.get(&format!("/api/diagnostics/groups/{id}/tags")).await;
    assert_eq!((&tags["sampled"], &tags["count"]), (&json!(120), &json!(120)));
    let tag = |name: &str| {
        tags["tags"].as_array().unwrap().iter().find(|tag| tag["name"] == name).unwrap()
    };
    assert_eq!(
        (&tag("browser")["distinct"], tag("browser")["values"].as_array().unwrap().len()),
        (&json!(15), 10)
    );
    assert_eq!(tag("release")["values"][0], json!({ "value": "r0", "count": 60 }));
    for path in ["/api/diagnostics/groups/987654/users", "/api/diagnostics/groups/987654/tags"] {
        Answer::of(server.request_as(Role::Read, Method::GET, path)).await.problem(404);
    }
}

#[derive(serde::Deserialize)]
struct Id {
    id: i64,
}

async fn exports_stream(database: Database) {
    // On a slow machine Lux removes what it would not keep before all of it has been read.
    let toml = "[capture]\nmax_group_events = 200000\n";
    let server = Setup::new(&database).toml(toml).start().await;
    send(&server, &events()).await;
    let formula =
        json!({ "error_type": "E", "error_message": "=HYPERLINK(\"http://x\",\"y\")\nsecond" });
    send(&server, &formula).await;
    let csv = "/api/diagnostics/errors/export?format=csv";
    let text = server.request_as(Role::Read, Method::GET, csv).send().await.unwrap();
    assert!(text.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
    let text = text.text().await.unwrap();
    assert!(text.starts_with("id,created_at,app,"), "{text}");
    assert!(text.contains("\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\nsecond\""), "{text}");
    let one = "/api/diagnostics/errors/export?q=type:KeyError";
    let one =
        server.request_as(Role::Read, Method::GET, one).send().await.unwrap().text().await.unwrap();
    let one: Value = serde_json::from_str(one.trim()).unwrap();
    assert_eq!((&one["type"], &one["release"]), (&json!("KeyError"), &json!("shop@1.1")));
    let bad = server.request_as(Role::Read, Method::GET, &format!("{csv}&q=%22"));
    assert!(Answer::of(bad).await.problem(400).contains("character 1"));

    let mut command = server.command();
    command.args(["errors", "export", "--format", "csv", "--query", "type:KeyError"]);
    let said =
        tokio::task::spawn_blocking(move || crate::support::run(&mut command)).await.unwrap();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out.lines().count(), 2, "{said:?}");
    let mut command = server.command();
    command.args(["errors", "export", "--query", "\"open"]);
    let said =
        tokio::task::spawn_blocking(move || crate::support::run(&mut command)).await.unwrap();
    assert!(said.code != Some(0) && said.err.contains("character 1"), "{said:?}");

    // 100 000 more, 130 MB as JSON.
    let filler = match server.database() {
        Database::Sqlite => {
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
             insert into error_log (error_type, error_message, created_at, group_id)
             select 'Many', 'm' || i || ' ' || hex(zeroblob(500)), (select max(created_at) from error_log),
                 (select min(id) from error_group) from n"
        }
        Database::Postgres(_) => {
            "insert into error_log (error_type, error_message, created_at, group_id)
             select 'Many', 'm' || i || ' ' || repeat('0', 1000), (select max(created_at) from error_log),
                 (select min(id) from error_group) from generate_series(1, 100000) as i"
        }
    };
    sql(&server, filler).await;
    let before = server.peak_kib();
    let path = "/api/diagnostics/errors/export?hours=48";
    let patient =
        |path: &str| server.request_as(Role::Read, Method::GET, path).timeout(PATIENCE * 5);
    let mut response = patient(path).send().await.unwrap();
    let (mut lines, mut ids, mut rest) = (0, BTreeSet::new(), Vec::new());
    while let Some(chunk) = response.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        for line in rest[..end].split(|byte| *byte == b'\n') {
            let event: Id = serde_json::from_slice(line).unwrap();
            ids.insert(event.id);
            lines += 1;
        }
        rest.drain(..=end);
    }
    assert_eq!((lines, ids.len()), (100_004, 100_004));
    let grown = server.peak_kib().saturating_sub(before);
    // On SQLite most of it is the indexer's, which works on the same rows meanwhile.
    assert!(grown < 64 * 1024, "130 MB of events took {grown} KiB more");

    // A client that leaves in the middle: the server goes on, and so do others.
    let mut response = server.request_as(Role::Read, Method::GET, path).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    let page = server.get("/api/diagnostics/errors?limit=3").await;
    assert_eq!(page["errors"].as_array().unwrap().len(), 3);
    let limited = server.request_as(Role::Read, Method::GET, &format!("{path}&limit=777"));
    assert_eq!(limited.send().await.unwrap().text().await.unwrap().lines().count(), 777);
}

async fn organizations_see_their_own(database: Database) {
    let server = Server::plain(&database).await;
    let ids = send(&server, &events()).await;
    indexed(&server).await;
    sql(&server, "insert into organization (name) values ('other')").await;
    let change = format!("update error_log set organization_id = 2 where id = {}", ids[0]);
    sql(&server, &change).await;
    sql(&server, "update error_group set organization_id = 2 where error_type like 'psy%'").await;
    for query in
        [("q", "refused"), ("request_id", "req-1"), ("user", "ann"), ("q", "env:production")]
    {
        let events = found(&server, &[query]).await;
        assert!(!events.iter().any(|message| message.starts_with("one")), "{query:?}");
        let names = groups(&server, &[query]).await;
        assert!(!names.iter().any(|name| name.starts_with("psy")), "{query:?}");
    }
}
