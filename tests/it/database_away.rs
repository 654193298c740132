//! What Lux needs goes away and comes back: the database, the disk, the right time.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::atomic::Ordering,
};

use futures_util::{StreamExt, future::join_all, stream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    crash::{Reporters, everything_is_there},
    support::{Answer, Cluster, Database, Disk, Role, Server, Setup, run, skip, until},
};

async fn ready(server: &Server) -> Option<StatusCode> {
    let answer = Answer::try_of(server.request(Method::GET, "/readyz")).await;
    answer.ok().map(|answer| answer.status)
}

async fn becomes_ready(server: &Server, status: u16) {
    until(&format!("/readyz answers {status}"), async || {
        (ready(server).await?.as_u16() == status).then_some(())
    })
    .await;
}

fn append(path: &Path, lines: std::ops::Range<u32>) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    for n in lines {
        writeln!(file, "2026-11-21 10:00:00,000 INFO line n{n}n").unwrap();
    }
}

async fn lines_become(server: &Server, wanted: u64) {
    until(&format!("{wanted} lines are read"), async || {
        let lines = server.source("app").await?["lines"].as_u64()?;
        assert!(lines <= wanted, "{lines} lines are counted of {wanted}");
        (lines == wanted).then_some(())
    })
    .await;
}

/// A hundred times sixteen clients hang up as soon as the first byte is there, which is while the
/// rest of the answer is read from the database.
#[tokio::test]
async fn who_hangs_up_costs_no_connection() {
    let Some(database) = Database::postgres().await else { return };
    let server = Setup::new(&database).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    let deed = json!({ "app": "shop", "release": "r1" });
    assert_eq!(server.post("/api/deploys", &deed).await.status, 201);
    let many = "insert into audit (organization_id, created_at, actor, action, subject, detail)
                select organization_id, created_at, actor, 'noise.made', subject, detail
                from audit, generate_series(1, 2000) where action = 'deploy.mark'";
    database.execute(&server.data(), many).await;
    let backends = async || {
        let sql = "select pid::text from pg_stat_activity where datname = current_database()
                   and application_name like 'lux %' order by pid";
        database.column(&server.data(), sql).await
    };
    // As many are open as ever will be.
    let whole = || Answer::of(server.request_as(Role::Admin, Method::GET, "/api/audit/export"));
    for answer in join_all((0..64).map(|_| whole())).await {
        assert_eq!((answer.status.as_u16(), answer.text.lines().count() > 2000), (200, true));
    }
    let before = backends().await;
    let address = server.base.strip_prefix("http://").unwrap();
    let token = server.token(Role::Admin);
    let asked = format!(
        "GET /api/audit/export HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let hang_up = async |_| {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(asked.as_bytes()).await.unwrap();
        let mut first = [0];
        assert_eq!(connection.read(&mut first).await.unwrap(), 1, "there was no answer");
    };
    stream::iter(0..1600).for_each_concurrent(16, hang_up).await;
    let answer = whole().await;
    assert!(answer.text.lines().count() > 2000, "{answer:?}");
    assert_eq!(backends().await, before, "connections were closed, and others opened");
    drop(server);
    database.drop().await;
}

#[tokio::test]
async fn postgres_restarts_under_load() {
    let Some(cluster) = Cluster::start() else { return };
    let database = Database::of(&cluster).await;
    let setup = Setup::new(&database).env("LUX_REQUESTS_PER_MINUTE", "1000000");
    let log = setup.folder().join("app.log");
    append(&log, 0..100);
    let mut server = setup.start().await;
    assert_eq!(ready(&server).await, Some(StatusCode::OK));
    lines_become(&server, 100).await;

    let mut acknowledged = Vec::new();
    for (round, crash) in [true, false].into_iter().enumerate() {
        let reporters = Reporters::start(&server, round, true);
        let some_more = async || {
            let before = reporters.acknowledged.load(Ordering::Relaxed);
            until("more are acknowledged", async || {
                (reporters.acknowledged.load(Ordering::Relaxed) > before + 200).then_some(())
            })
            .await;
        };
        some_more().await;
        if crash {
            cluster.crash();
        } else {
            cluster.stop();
        }
        becomes_ready(&server, 503).await;
        Answer::of(server.request(Method::GET, "/readyz")).await.problem(503);
        assert!(server.is_up());
        assert_eq!(Answer::of(server.request(Method::GET, "/healthz")).await.status, 200);
        // Logs go on being written meanwhile.
        let from = 100 + 100 * u32::try_from(round).unwrap();
        append(&log, from..from + 100);
        cluster.start_again();
        becomes_ready(&server, 200).await;
        some_more().await;
        acknowledged.extend(reporters.finish().await);
        lines_become(&server, u64::from(from) + 100).await;
    }
    everything_is_there(&server, &acknowledged).await;
    // And it was not only in memory.
    server.kill().await;
    server.start().await;
    everything_is_there(&server, &acknowledged).await;
    lines_become(&server, 300).await;
}

#[tokio::test]
async fn it_starts_without_its_database_and_says_so() {
    let Some(cluster) = Cluster::start() else { return };
    let database = Database::of(&cluster).await;
    let mut server = Server::plain(&database).await;
    assert_eq!(server.stop().await, Some(0));
    let log = server.folder().join("app.log");
    append(&log, 0..10);
    cluster.stop();

    // It listens, is alive, and is told to end like any other.
    server.start().await;
    assert_eq!(ready(&server).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(server.stop().await, Some(0));

    server.start().await;
    assert_eq!(Answer::of(server.request(Method::GET, "/healthz")).await.status, 200);
    let event = json!({ "error_type": "E", "error_message": "m" });
    for path in ["/readyz", "/api/diagnostics/groups", "/", "/nowhere"] {
        let answer = Answer::of(server.request(Method::GET, path)).await;
        assert_eq!(answer.headers["retry-after"], "5", "{path}");
        answer.problem(503);
    }
    let told = server.post("/api/errors", &event).await.problem(503);
    assert!(told.contains("tries again by itself"), "{told}");
    let page = server.request(Method::GET, "/errors").header("accept", "text/html");
    let page = Answer::of(page).await;
    assert_eq!(page.status, 503);
    assert!(page.headers.contains_key("content-security-policy"), "{page:?}");
    let text = page.text;
    assert!(text.contains("tries again by itself") && text.contains("href=\"/errors\""), "{text}");
    let sheet = text.split('"').find(|part| part.starts_with("/assets/lux.css")).unwrap();
    assert_eq!(Answer::of(server.request(Method::GET, sheet)).await.status, 200);
    until("its log tells", async || server.log().contains("DATABASE_URL").then_some(())).await;
    assert!(server.is_up());

    cluster.start_again();
    becomes_ready(&server, 200).await;
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    lines_become(&server, 10).await;
}

#[tokio::test]
async fn what_waiting_does_not_mend_ends_it() {
    let Some(cluster) = Cluster::start() else { return };
    let mut server = Server::plain(&Database::of(&cluster).await).await;
    assert_eq!(server.stop().await, Some(0));
    let nowhere = cluster.url.replacen("/postgres?", "/nobody_made_this?", 1);
    assert_ne!(nowhere, cluster.url);
    let mut serve = server.command();
    serve.env("DATABASE_URL", nowhere).args(["serve", "--listen", "127.0.0.1:0"]);
    let said = run(&mut serve);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("DATABASE_URL"), "{said:?}");
    assert!(said.err.contains("nobody_made_this"), "{said:?}");
    assert_eq!(said.out, "");
    // A command does not wait either.
    cluster.stop();
    let said = run(server.command().args(["audit", "verify"]));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("DATABASE_URL"), "{said:?}");
}

async fn part(server: &Server, name: &str) -> Value {
    server.get("/api/diagnostics/health").await["health"]["parts"][name].clone()
}

#[tokio::test]
async fn the_disk_is_full_for_a_while() {
    let setup = Setup::new(&Database::sqlite()).env("LUX_REQUESTS_PER_MINUTE", "1000000");
    let log = setup.folder().join("app.log");
    append(&log, 0..100);
    let Some(disk) = Disk::mount(&setup.folder().join("data"), "512m") else { return };
    let mut server = setup.start().await;
    lines_become(&server, 100).await;

    let reporters = Reporters::start(&server, 0, true);
    until("some are acknowledged", async || {
        (reporters.acknowledged.load(Ordering::Relaxed) > 100).then_some(())
    })
    .await;
    disk.fill();
    let event =
        json!({ "error_type": "E", "error_message": "x".repeat(10_000), "user_id": "probe" });
    until("the full disk is felt", async || {
        let answer = server.post("/api/errors", &event).await;
        (answer.status != 201).then(|| answer.problem(503))
    })
    .await;
    assert_eq!(part(&server, "disk").await["state"], "down");
    assert_eq!(Answer::of(server.request(Method::GET, "/healthz")).await.status, 200);
    append(&log, 100..200);
    assert!(server.is_up());

    disk.free();
    until("it stores again", async || {
        (server.post("/api/errors", &event).await.status == 201).then_some(())
    })
    .await;
    let acknowledged = reporters.finish().await;
    server
        .database()
        .execute(&server.data(), "delete from error_log where user_id = 'probe'")
        .await;
    let stored = server.database().column(&server.data(), "select user_id from error_log").await;
    let stored: std::collections::BTreeSet<_> = stored.into_iter().collect();
    assert!(acknowledged.iter().all(|name| stored.contains(name)), "something was lost");
    assert_eq!(part(&server, "disk").await["state"], "ok");
    lines_become(&server, 200).await;
    server.kill().await;
    server.start().await;
    lines_become(&server, 200).await;
    assert_eq!(server.stop().await, Some(0));
    drop(server);
    drop(disk);
}

#[tokio::test]
async fn the_clock_jumps() {
    let setup = Setup::new(&Database::sqlite()).env("LUX_REQUESTS_PER_MINUTE", "1000000");
    let log = setup.folder().join("app.log");
    let clock = setup.folder().join("clock");
    fs::write(&clock, "+0").unwrap();
    let Some(setup) = setup.with_clock(&clock) else { return skip("libfaketime") };
    let mut server = setup.start().await;
    let event = json!({ "error_type": "E", "error_message": "m" });
    let mut sent = 0;
    for (lines, shift) in (1..).zip(["+0", "+400d", "-3d", "+0"]) {
        fs::write(&clock, shift).unwrap();
        for _ in 0..20 {
            let answer = server.post("/api/errors", &event).await;
            assert_eq!(answer.status, 201, "at {shift}: {answer:?}");
            sent += 1;
        }
        append(&log, lines * 10 - 10..lines * 10);
        lines_become(&server, u64::from(lines) * 10).await;
        assert_eq!(ready(&server).await, Some(StatusCode::OK), "at {shift}");
        let groups = server.get("/api/diagnostics/groups").await;
        assert_eq!(groups["groups"][0]["count"], sent, "at {shift}: {groups}");
        server.get("/api/diagnostics/health").await;
    }
    assert!(server.is_up());
    assert_eq!(server.stop().await, Some(0));
}
