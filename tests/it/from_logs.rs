//! What stands in logs becomes events, once, whatever else tells of it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{Database, Host, Server, Setup, groups, on_both, repair, skip, until};

/// A log of the test, written as programs do.
#[derive(Clone)]
struct Log(PathBuf);

impl Log {
    fn write(&self, text: &str) {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        log.write_all(text.as_bytes()).unwrap();
    }
}

fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S,%3f").to_string()
}

fn traceback(kind: &str, message: &str) -> String {
    format!(
        "Traceback (most recent call last):\n  File \"/srv/shop/shop.py\", line 31, in price\n    \
         return PRICES[item]\n           ~~~~~~^^^^^^\n{kind}: {message}\n"
    )
}

/// What Flask logs of a request that failed.
fn flask(at: DateTime<Utc>, path: &str, kind: &str, message: &str) -> String {
    let trace = traceback(kind, message);
    format!("{} ERROR shop: Exception on {path} [GET]\n{trace}", stamp(at))
}

fn access(at: DateTime<Utc>, path: &str, status: u16, agent: &str) -> String {
    let at = at.format("%d/%b/%Y:%H:%M:%S +0000");
    format!("198.51.100.7 - - [{at}] \"GET {path} HTTP/1.1\" {status} 4 \"-\" \"{agent}\"\n")
}

/// Lux beside the logs `app.log` (Python, UTC) and `access.log`.
async fn watching(database: &Database) -> (Server, Log, Log) {
    let setup = Setup::new(database);
    let (app, access) = (setup.folder().join("app.log"), setup.folder().join("access.log"));
    let toml = format!(
        "[[sources]]\nname = \"app\"\napp = \"shop\"\ntimezone = \"UTC\"\npath = \"{}\"\n\
         [[sources]]\nname = \"access\"\napp = \"shop\"\npath = \"{}\"\n",
        app.display(),
        access.display()
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    (server, Log(app), Log(access))
}

async fn report(server: &Server, at: DateTime<Utc>, kind: &str, message: &str) -> i64 {
    let event = json!({
        "app": "shop", "error_type": kind, "error_message": message, "endpoint": "/price/pear",
        "method": "GET", "error_stack": traceback(kind, message), "created_at": at,
    });
    let answer = server.post("/api/errors", &event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["ids"][0].as_i64().unwrap()
}

fn count(groups: &[Value]) -> u64 {
    groups.iter().map(|group| group["count"].as_u64().unwrap()).sum()
}

/// Waits until so many events are counted, and nothing waits to be decided on.
async fn counted(server: &Server, events: u64) -> Vec<Value> {
    until(&format!("{events} events are counted"), async || {
        let found = groups(server, "").await;
        (count(&found) >= events).then_some(())
    })
    .await;
    all_is_decided(server).await;
    let found = groups(server, "").await;
    assert_eq!(count(&found), events, "{found:#?}");
    found
}

/// What health says of the capture from logs.
async fn doing(server: &Server) -> String {
    let health = server.get("/api/diagnostics/health").await;
    health["health"]["parts"]["from_logs"]["detail"].as_str().unwrap().to_owned()
}

/// Waits until all lines are read, all records complete, and decided on.
async fn all_is_decided(server: &Server) {
    let mut quiet = 0;
    until("nothing waits", async || {
        // A record is complete, and held, some time after its last line.
        let detail = doing(server).await;
        quiet = if detail.contains(" 0 wait,") { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(100)).await;
        (quiet > 30).then_some(())
    })
    .await;
}

/// The sources in which an event was seen, sorted.
async fn seen_in(server: &Server, event: i64) -> Vec<(String, u64)> {
    let answer = server.get(&format!("/api/diagnostics/errors/{event}")).await;
    let mut seen = Vec::new();
    for sighting in answer["seen_in"].as_array().unwrap() {
        let id = sighting["record_id"].as_str().unwrap();
        let around = server.get(&format!("/api/diagnostics/logs/{id}/around?n=1")).await;
        let mut records = around["records"].as_array().unwrap().iter();
        let record = records.find(|record| record["id"] == id).unwrap();
        assert_eq!(record["line"], sighting["line"], "{around:#}");
        assert_eq!(record["text"], sighting["text"], "{around:#}");
        let source = sighting["source"].as_str().unwrap().to_owned();
        seen.push((source, sighting["line"].as_u64().unwrap()));
    }
    seen.sort();
    seen
}

async fn only_event(server: &Server) -> i64 {
    let page = server.get("/api/diagnostics/errors?limit=200").await;
    let errors = page["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{page:#}");
    errors[0]["id"].as_i64().unwrap()
}

on_both!(an_error_in_three_places_counts_once);
async fn an_error_in_three_places_counts_once(database: Database) {
    // First the application's report, then what stands in the logs, …
    let (server, app, proxy) = watching(&database).await;
    let at = lux::clock::now();
    let first = report(&server, at, "KeyError", "'pear'").await;
    app.write(&flask(at, "/price/pear", "KeyError", "'pear'"));
    proxy.write(&access(at, "/price/pear", 500, "curl"));
    until("both logs are seen", async || (seen_in(&server, first).await.len() == 2).then_some(()))
        .await;
    let expected = [("access".to_owned(), 1), ("app".to_owned(), 1)];
    assert_eq!(seen_in(&server, first).await, expected);
    counted(&server, 1).await;
    assert_eq!(only_event(&server).await, first);

    // … then the logs, and the report three seconds later.
    let at = lux::clock::now();
    app.write(&flask(at, "/price/pear", "KeyError", "'pear'"));
    proxy.write(&access(at, "/price/pear", 500, "curl"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let second = report(&server, at, "KeyError", "'pear'").await;
    until("both logs are seen", async || (seen_in(&server, second).await.len() == 2).then_some(()))
        .await;
    let found = counted(&server, 2).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["title"], "KeyError: 'pear'");
    // A place tells an occurrence once.
    assert_eq!(seen_in(&server, first).await, expected);
}

on_both!(ten_are_ten);
async fn ten_are_ten(database: Database) {
    let (server, app, proxy) = watching(&database).await;
    let at = lux::clock::now();
    let mut lines = (String::new(), String::new());
    for number in 0..10 {
        let at = at + TimeDelta::milliseconds(number);
        lines.0.push_str(&flask(at, "/price/pear", "KeyError", "'pear'"));
        lines.1.push_str(&access(at, "/price/pear", 500, "curl"));
        if number % 2 == 0 {
            report(&server, at, "KeyError", "'pear'").await;
        }
    }
    app.write(&lines.0);
    proxy.write(&lines.1);
    for number in 0..5 {
        report(&server, at + TimeDelta::milliseconds(2 * number + 1), "KeyError", "'pear'").await;
    }
    // Ten reports, ten tracebacks, ten answers; and ten tracebacks that nobody reported.
    let found = counted(&server, 10).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    let page = server.get("/api/diagnostics/errors?limit=200").await;
    for error in page["errors"].as_array().unwrap() {
        assert_eq!(seen_in(&server, error["id"].as_i64().unwrap()).await.len(), 2);
    }
    let later = lux::clock::now() + TimeDelta::seconds(5);
    let unreported: String =
        (0..10).map(|_| flask(later, "/price/pear", "KeyError", "'pear'")).collect();
    app.write(&unreported);
    assert_eq!(counted(&server, 20).await.len(), 1);
}

on_both!(a_request_is_known_by_its_name);
async fn a_request_is_known_by_its_name(database: Database) {
    let (server, app, proxy) = watching(&database).await;
    let at = lux::clock::now();
    // As programs log JSON; the clock of one of them is half a minute off.
    let line = |id: &str, off: i64| {
        let record = json!({
            "timestamp": at + TimeDelta::seconds(off), "level": "ERROR", "message": "it broke",
            "exc_info": traceback("ValueError", "no"), "request_id": id, "path": "/pay",
        });
        format!("{record}\n")
    };
    app.write(&line("11111111111111111111111111111111", -30));
    app.write(&line("22222222222222222222222222222222", -30));
    proxy.write(&line("11111111111111111111111111111111", 0));
    let found = counted(&server, 2).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["title"], "ValueError: no");
    assert_eq!(found[0]["endpoint"], "/pay");
    let page = server.get("/api/diagnostics/errors?limit=200").await;
    let mut seen = Vec::new();
    for error in page["errors"].as_array().unwrap() {
        seen.push(seen_in(&server, error["id"].as_i64().unwrap()).await.len());
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
}

on_both!(nginx_and_gunicorn_and_flask);
async fn nginx_and_gunicorn_and_flask(database: Database) {
    let Some(mut host) = Host::start_on(&database).await else { return };
    assert_eq!(host.visit("/price/apple").await, 200);
    assert_eq!(host.upload(2 << 20).await, 413);
    assert_eq!(host.visit("/nowhere").await, 404);
    for _ in 0..10 {
        assert_eq!(host.visit("/price/pear?token=hidden").await, 500);
    }
    let found = counted(&host.server, 10).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["title"], "KeyError: 'pear'");
    assert_eq!(
        (&found[0]["endpoint"], &found[0]["method"]),
        (&json!("/price/pear"), &json!("GET"))
    );
    assert_eq!(found[0]["app"], "shop");
    let page = host.server.get("/api/diagnostics/errors?limit=200").await;
    for error in page["errors"].as_array().unwrap() {
        let seen = seen_in(&host.server, error["id"].as_i64().unwrap()).await;
        let names: Vec<&str> = seen.iter().map(|(source, _)| source.as_str()).collect();
        assert_eq!(names, ["gunicorn-access", "nginx-access", "shop"]);
    }

    host.stop_shop().await;
    for _ in 0..5 {
        assert_eq!(host.visit("/price/apple").await, 502);
    }
    let found = counted(&host.server, 15).await;
    let refused = found.iter().find(|group| group["count"] == 5).unwrap();
    let title = refused["title"].as_str().unwrap();
    assert!(title.starts_with("nginx upstream: connect() failed ("), "{title}");
    assert!(title.ends_with(": Connection refused)"), "{title}");
    assert_eq!((&refused["endpoint"], &refused["method"]), (&json!("/price/apple"), &json!("GET")));
    let group = refused["id"].as_i64().unwrap();
    let group = host.server.get(&format!("/api/diagnostics/groups/{group}")).await;
    for error in group["events"].as_array().unwrap() {
        let seen = seen_in(&host.server, error["id"].as_i64().unwrap()).await;
        let names: Vec<&str> = seen.iter().map(|(source, _)| source.as_str()).collect();
        assert_eq!(names, ["nginx-access", "nginx-error"]);
    }
}

/// Appends a journal file whose entries happened just now.
fn write_journal(folder: &Path, name: &str, entries: &[&str]) {
    let mut export = String::new();
    let now = lux::clock::now().timestamp_micros();
    for (number, entry) in entries.iter().enumerate() {
        write!(
            export,
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n\
             _BOOT_ID=0123456789abcdef0123456789abcdef\n\
             _MACHINE_ID=fedcba9876543210fedcba9876543210\n{entry}\n\n",
            now + i64::try_from(number).unwrap(),
            1_000_000 + number
        )
        .unwrap();
    }
    let mut child = Command::new("/lib/systemd/systemd-journal-remote")
        .arg("-o")
        .arg(folder.join(name))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

on_both!(the_journal_tells_of_failures);
async fn the_journal_tells_of_failures(database: Database) {
    if !Path::new("/lib/systemd/systemd-journal-remote").exists() {
        return skip("systemd-journal-remote");
    }
    let setup = Setup::new(&database);
    let folder = setup.folder().join("journal");
    fs::create_dir(&folder).unwrap();
    let manager = |message: &str, priority: u32| {
        format!(
            "_TRANSPORT=journal\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=systemd\n_PID=1\n_UID=0\n\
             _SYSTEMD_UNIT=init.scope\nUNIT=shop.service\nMESSAGE={message}"
        )
    };
    let printed = |message: &str| {
        format!(
            "_TRANSPORT=stdout\nPRIORITY=6\nSYSLOG_IDENTIFIER=gunicorn\n_PID=42\n_STREAM_ID=1\n\
             _UID=33\n_SYSTEMD_UNIT=shop.service\nMESSAGE={message}"
        )
    };
    let kernel = |message: &str| {
        format!("_TRANSPORT=kernel\nPRIORITY=6\nSYSLOG_IDENTIFIER=kernel\nMESSAGE={message}")
    };
    let mut entries = vec![
        manager("shop.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED", 5),
        manager("shop.service: Failed with result 'exit-code'.", 4),
        manager("shop.service: Scheduled restart job, restart counter is at 5.", 6),
        manager("shop.service: Start request repeated too quickly.", 4),
        manager("shop.service: Failed with result 'exit-code'.", 4),
        manager("Failed to start shop.service - The shop.", 3),
        kernel("oom-kill:constraint=CONSTRAINT_NONE,task=gunicorn,pid=42,uid=33"),
        kernel("Out of memory: Killed process 42 (gunicorn) total-vm:116345136kB"),
        manager("shop.service: Main process exited, code=killed, status=9/KILL", 5),
        manager("shop.service: Failed with result 'oom-kill'.", 4),
    ];
    entries.extend(traceback("KeyError", "'pear'").lines().map(printed));
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    write_journal(&folder, "a.journal", &entries);
    let toml = format!(
        "[[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:1\"\n\
         [[sources]]\nname = \"journal\"\ndirectory = \"{}\"\n",
        folder.display()
    );
    let server = setup.toml(&toml).start().await;
    let found = counted(&server, 4).await;
    let titles: Vec<&str> = found.iter().map(|group| group["title"].as_str().unwrap()).collect();
    let told = |begin: &str, part: &str| {
        let found = titles.iter().filter(|it| it.starts_with(begin) && it.contains(part));
        assert_eq!(found.count(), 1, "{begin} … {part}: {titles:?}");
    };
    told("KeyError: 'pear'", "");
    told("StartLimitHit: shop.service", "");
    told("UnitFailed: shop.service: main process exited, status=", "/NOTIMPLEMENTED (exit-code)");
    // The kernel or systemd, whoever is decided on first: it is one.
    let memory = titles
        .iter()
        .filter(|title| title.contains("killed gunicorn") || title.contains("(oom-kill)"));
    assert_eq!(memory.count(), 1, "{titles:?}");
    // The only application there is.
    assert!(found.iter().all(|group| group["app"] == "shop"), "{found:#?}");
}

on_both!(a_crash_loses_and_repeats_nothing);
async fn a_crash_loses_and_repeats_nothing(database: Database) {
    const MANY: usize = 1200;
    let (mut server, app, _) = watching(&database).await;
    let writer = std::thread::spawn(move || {
        for number in 0..MANY {
            let at = lux::clock::now();
            let text = flask(at, "/price/pear", "KeyError", &format!("'order-{number}-x'"));
            // Not all of a record is there when it is read.
            let (first, last) = text.split_at(text.len() / 2);
            app.write(first);
            app.write(last);
            if number % 20 == 0 {
                app.write(&format!("{} INFO shop: all is well\n", stamp(at)));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    for pause in [1200, 2500, 300] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.kill().await;
        server.start().await;
    }
    writer.join().unwrap();
    // … and while the last ones wait to be decided on.
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.kill().await;
    server.start().await;
    counted(&server, MANY as u64).await;
    let mut orders = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("/api/diagnostics/errors?limit=200{after}")).await;
        for error in page["errors"].as_array().unwrap() {
            assert!(orders.insert(error["message"].as_str().unwrap().to_owned()), "{error:#}");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&cursor={next}");
    }
    assert_eq!(orders.len(), MANY);
}

on_both!(rotated_logs_are_told_once);
async fn rotated_logs_are_told_once(database: Database) {
    let (mut server, app, _) = watching(&database).await;
    let say = |number: u32| {
        app.write(&flask(lux::clock::now(), "/price/pear", "KeyError", &format!("'{number}'")));
    };
    say(1);
    until("the log is read", async || {
        (server.source("app").await?["lines"].as_u64()? == 6).then_some(())
    })
    .await;
    say(2);
    fs::rename(&app.0, app.0.with_extension("log.1")).unwrap();
    say(3);
    until("both are read", async || {
        (server.source("app").await?["lines"].as_u64()? == 18).then_some(())
    })
    .await;
    server.kill().await;
    server.start().await;
    counted(&server, 3).await;
}

on_both!(what_was_cut_or_cleared_is_told_once);
async fn what_was_cut_or_cleared_is_told_once(database: Database) {
    let (mut server, app, _) = watching(&database).await;
    let say = |number: u32| {
        app.write(&flask(lux::clock::now(), "/price/pear", "KeyError", &format!("'{number}'")));
    };
    say(3);
    until("the log is read", async || {
        (server.source("app").await?["lines"].as_u64()? == 6).then_some(())
    })
    .await;
    // Copied and cut, while Lux is away.
    server.kill().await;
    say(4);
    fs::copy(&app.0, app.0.with_extension("log.2")).unwrap();
    File::options().write(true).open(&app.0).unwrap().set_len(0).unwrap();
    say(5);
    server.start().await;
    counted(&server, 3).await;
    // What was cleared does not come back with the next start.
    database.execute(&server.folder().join("data"), "delete from error_log").await;
    let page = server.get("/api/diagnostics/errors?limit=200").await;
    assert!(page["errors"].as_array().unwrap().is_empty(), "{page:#}");
    server.kill().await;
    server.start().await;
    say(6);
    until("the new one is counted", async || {
        let page = server.get("/api/diagnostics/errors?limit=200").await;
        (!page["errors"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    all_is_decided(&server).await;
    only_event(&server).await;
}

on_both!(what_was_cut_before_it_was_read_is_told);
async fn what_was_cut_before_it_was_read_is_told(database: Database) {
    let (mut server, app, _) = watching(&database).await;
    app.write("");
    let data = server.folder().join("data");
    let known = "select path from log_checkpoint";
    until("the empty log is known", async || {
        (!database.column(&data, known).await.is_empty()).then_some(())
    })
    .await;
    server.kill().await;
    let say = |number: u32| {
        app.write(&flask(lux::clock::now(), "/price/pear", "KeyError", &format!("'{number}'")));
    };
    say(1);
    fs::copy(&app.0, app.0.with_extension("log.1")).unwrap();
    File::options().write(true).open(&app.0).unwrap().set_len(0).unwrap();
    for _ in 0..2 {
        // Also when the log stays empty is the copy read once.
        server.start().await;
        counted(&server, 1).await;
        server.kill().await;
    }
    say(2);
    server.start().await;
    counted(&server, 2).await;
}

on_both!(noise_is_no_event);
async fn noise_is_no_event(database: Database) {
    let setup = Setup::new(&database);
    let log = Log(setup.folder().join("app.log"));
    let now = lux::clock::now();
    // What was there before Lux: old, or of unknown age.
    log.write(&flask(now - TimeDelta::days(30), "/old", "KeyError", "'old'"));
    log.write(&traceback("KeyError", "'undated'"));
    let off = Log(setup.folder().join("off.log"));
    off.write("");
    let toml = format!(
        "[[sources]]\nname = \"app\"\ntimezone = \"UTC\"\npath = \"{}\"\n\
         [[sources]]\nname = \"off\"\ntimezone = \"UTC\"\ncapture = false\npath = \"{}\"\n",
        log.0.display(),
        off.0.display()
    );
    let server = setup.toml(&toml).start().await;
    let (at, slashes) = (stamp(now), now.format("%Y/%m/%d %H:%M:%S"));
    let gunicorn = now.format("[%Y-%m-%d %H:%M:%S +0000]");
    let client = "client: 203.0.113.9, server: _, request: \"GET /x HTTP/1.1\", host: \"x\"";
    log.write(&format!(
        "{at} WARNING shop: the cache is cold\n\
         {at} INFO shop: user error count: 0\n    at last it did\n\
         {slashes} [error] 7#7: *1 open() \"/srv/www/favicon.ico\" failed (2: No such file or \
         directory), {client}\n\
         {slashes} [error] 7#7: *2 client intended to send too large body: 9 bytes, {client}\n\
         {slashes} [error] 7#7: *3 limiting requests, excess: 1.0 by zone \"a\", {client}\n\
         {slashes} [crit] 7#7: *4 SSL_do_handshake() failed (SSL: error:0A00006C) while SSL \
         handshaking, client: 203.0.113.9, server: 0.0.0.0:443\n\
         {slashes} [warn] 7#7: *5 upstream server temporarily disabled, {client}\n\
         {gunicorn} [7] [ERROR] Worker (pid:9) was sent SIGTERM!\n\
         {gunicorn} [7] [ERROR] Retrying in 1 second.\n\
         2026-11-21T22:17:44.123456Z ERROR lux::errors::capture: the disk is full\n\
         {{\"timestamp\":\"{}\",\"level\":\"ERROR\",\"message\":\"full\",\"target\":\"lux::errors\"}}\n",
        now.to_rfc3339()
    ));
    log.write(&access(now, "/x", 500, "curl"));
    off.write(&flask(now, "/off", "KeyError", "'off'"));
    log.write(&flask(now, "/real", "KeyError", "'real'"));
    let found = counted(&server, 1).await;
    assert_eq!(found[0]["title"], "KeyError: 'real'", "{found:#?}");
    assert!(doing(&server).await.starts_with("1 records became events"));
}

/// An application that logs what it does as Flask and nginx would, and fails until mended.
#[derive(Clone)]
struct Logging {
    folder: PathBuf,
    app: Log,
    access: Log,
}

impl Logging {
    async fn start(folder: &Path) -> (Self, String) {
        let app = Log(folder.join("app.log"));
        let access = Log(folder.join("access.log"));
        let site = Self { folder: folder.to_owned(), app, access };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(page).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (site, url)
    }
}

async fn page(
    State(site): State<Logging>,
    _: Method,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, &'static str) {
    let agent = headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or("-");
    let now = lux::clock::now();
    if site.folder.join("fixed").exists() {
        site.access.write(&access(now, uri.path(), 200, agent));
        return (StatusCode::OK, "<h1>Welcome</h1>");
    }
    site.app.write(&flask(now, uri.path(), "ModuleNotFoundError", "No module named 'shopkit'"));
    site.access.write(&access(now, uri.path(), 500, agent));
    (StatusCode::INTERNAL_SERVER_ERROR, "<h1>Internal Server Error</h1>")
}

async fn logging(database: &Database, more: &str) -> (Server, String) {
    let setup = Setup::new(database);
    let folder = setup.folder().to_owned();
    let (site, url) = Logging::start(&folder).await;
    let script = folder.join("mend");
    fs::write(&script, format!("#!/bin/sh\ncd '{}'\n>fixed\n", folder.display())).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let toml = format!(
        "[repair]\npasses = 2\nspacing = \"50ms\"\nactions = true\nprobes_per_second = 1000\n\
         {more}\n[schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"app\"\napp = \"shop\"\ntimezone = \"UTC\"\npath = \"{}\"\n\
         [[sources]]\nname = \"access\"\napp = \"shop\"\npath = \"{}\"\n\
         [[apps]]\nname = \"shop\"\nbase_url = \"{url}\"\n\
         [[probes]]\nname = \"cart\"\napp = \"shop\"\nkind = \"http\"\npath = \"/cart\"\n\
         [[actions]]\nname = \"mend\"\nargv = [\"{}\"]\npolicy = \"auto\"\ncooldown = \"0s\"\n\
         max_per_day = 100\nfixes = [\"missing_python_module\"]\n",
        site.app.0.display(),
        site.access.0.display(),
        script.display(),
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    (server, url)
}

async fn visit(url: &str) -> StatusCode {
    let client = reqwest::Client::builder().no_proxy().user_agent("Mozilla/5.0").build().unwrap();
    client.get(format!("{url}/cart")).send().await.unwrap().status()
}

on_both!(what_probes_cause_is_no_event);
async fn what_probes_cause_is_no_event(database: Database) {
    let (server, url) = logging(&database, "").await;
    for _ in 0..8 {
        let answer = server.post("/api/probes/cart/run", &json!({})).await;
        assert_eq!(answer.json()["status"], 500, "{answer:?}");
    }
    for _ in 0..3 {
        assert_eq!(visit(&url).await, 500);
    }
    let found = counted(&server, 3).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(doing(&server).await.contains(" 16 came from probes"), "{}", doing(&server).await);
}

on_both!(an_error_that_is_only_in_the_logs_is_repaired);
async fn an_error_that_is_only_in_the_logs_is_repaired(database: Database) {
    let (server, url) = logging(&database, "try_failing = false").await;
    for _ in 0..3 {
        assert_eq!(visit(&url).await, 500);
    }
    let found = counted(&server, 3).await;
    assert_eq!(found[0]["title"], "ModuleNotFoundError: No module named 'shopkit'");
    let results = repair(&server, &json!({})).await;
    assert_eq!(results["total_errors"], 1, "{results:#}");
    assert_eq!(results["details"][0]["status"], "resolved", "{results:#}");
    assert_eq!(visit(&url).await, 200);
    let found = groups(&server, "").await;
    assert_eq!((found.len(), &found[0]["status"]), (1, &json!("resolved")), "{found:#?}");
    // The probes that saw it fail are in the same log, and reopen nothing.
    all_is_decided(&server).await;
    let group = groups(&server, "").await.remove(0);
    assert_eq!((&group["status"], &group["count"]), (&json!("resolved"), &json!(3)), "{group:#}");
    let event = server.get("/api/diagnostics/errors?limit=1").await["errors"][0].clone();
    assert!(!event["resolution_notes"].as_str().unwrap().is_empty(), "{event:#}");
}
