//! Storms: one beginning and one end under a constant load, on both databases.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Database, Server, Setup, on_both, repository, until};

on_both!(a_storm_begins_once_and_ends_once);
on_both!(many_groups_are_a_storm_of_their_application);

async fn stormy(database: &Database) -> Server {
    let setup = Setup::new(database);
    let toml = format!(
        "[capture]\nstorm = 40\nstorm_calm = \"5s\"\n[[sources]]\nname = \"app\"\npath = \"{}\"\n",
        setup.folder().join("app.log").display()
    );
    setup.toml(&toml).start().await
}

async fn storms(server: &Server) -> Vec<Value> {
    server.get("/api/diagnostics/storms").await["storms"].as_array().unwrap().clone()
}

async fn a_storm_begins_once_and_ends_once(database: Database) {
    let server = stormy(&database).await;
    let quiet = json!({ "error_type": "Quiet", "error_message": "now and then" });
    let event = json!({ "error_type": "Stormy", "error_message": "again", "app": "shop" });
    server.post("/api/errors", &quiet).await;
    let mut sent = 0_i64;
    // It goes on for a while after it was noticed.
    let mut more = 10;
    until("a storm has been seen for a while", async || {
        server.post("/api/errors", &json!([event, event, event, event, event])).await;
        sent += 5;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !storms(&server).await.is_empty() {
            more -= 1;
        }
        (more == 0).then_some(())
    })
    .await;
    let open = storms(&server).await;
    assert_eq!(
        (open.len(), &open[0]["ended_at"], &open[0]["app"]),
        (1, &Value::Null, &json!("shop"))
    );
    let group = server.get(&format!("/api/diagnostics/groups/{}", open[0]["group_id"])).await;
    assert_eq!((&group["storm"]["id"], &group["error_type"]), (&open[0]["id"], &json!("Stormy")));
    let health = server.get("/api/diagnostics/health").await.to_string();
    assert!(health.contains("1 storms of errors"), "{health}");

    let ended = until("the storm has ended", async || {
        let storms = storms(&server).await;
        (!storms[0]["ended_at"].is_null()).then_some(storms)
    })
    .await;
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["count"], json!(sent), "every event of it is counted");
    assert!(ended[0]["peak"].as_i64().unwrap() >= 40);
    // It is logged once it is stored, so a moment after it shows.
    let log = until("the log tells of its end", async || {
        let log = server.log();
        log.contains("a storm of errors ended").then_some(log)
    })
    .await;
    assert_eq!(log.matches("a storm of errors began").count(), 1, "{log}");
    assert_eq!(log.matches("a storm of errors ended").count(), 1, "{log}");
    assert_eq!(storms(&server).await.len(), 1, "and none begins for what was counted in it");
}

async fn many_groups_are_a_storm_of_their_application(database: Database) {
    let server = stormy(&database).await;
    // Of each kind fewer than would be a storm of its own.
    let mut rounds = 0;
    let storm = until("a storm of the application", async || {
        let events: Vec<Value> = (0..20)
            .map(|n| {
                let kind = format!("Kind{}", char::from(b'a' + n));
                json!({ "error_type": kind, "error_message": "x", "app": "shop" })
            })
            .collect();
        if rounds < 20 {
            rounds += 1;
            server.post("/api/errors", &json!(events)).await;
        }
        storms(&server).await.first().cloned()
    })
    .await;
    assert_eq!((&storm["group_id"], &storm["app"]), (&Value::Null, &json!("shop")));
}

/// What the unit sets for the program.
fn of_the_unit() -> Vec<(String, String)> {
    let unit = fs::read_to_string(repository("deploy/lux.service")).unwrap();
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let pairs = set.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Half a million lines at once, a third of them errors, many like no other, and one of 30 MB.
#[tokio::test]
async fn a_storm_of_lines_stays_within_its_memory() {
    const LINES: u64 = 500_000;
    let mut setup = Setup::new(&Database::sqlite());
    let settings = of_the_unit();
    assert!(settings.iter().any(|(name, _)| name == "MALLOC_ARENA_MAX"), "{settings:?}");
    for (name, value) in settings {
        setup = setup.env(&name, &value);
    }
    let server = setup.start().await;
    let before = server.peak_kib();
    let mut log = BufWriter::new(File::create(server.folder().join("app.log")).unwrap());
    for n in 0..LINES {
        if n == LINES / 2 {
            log.write_all(&vec![b'x'; 30 << 20]).unwrap();
            writeln!(log).unwrap();
        }
        let (level, word) = if n % 3 == 0 { ("ERROR", "lost") } else { ("INFO", "kept") };
        // Letters are not masked, so that each of these is a template of its own.
        let name: String = match n % 8 {
            0 => n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect(),
            _ => n.to_string(),
        };
        let stamp = format!("2026-11-23 10:{:02}:{:02}", n / 60 % 60, n % 60);
        writeln!(log, "{stamp} {level} shop: order {name} was {word} by thread {name}").unwrap();
    }
    log.flush().unwrap();
    let source = until("all is read", async || {
        let source = server.source("app").await?;
        (source["lines"].as_u64()? > LINES).then_some(source)
    })
    .await;
    assert_eq!(source["lines"], LINES + 1, "{source:#}");
    // What could not wait is counted where somebody looks.
    until("it is said that some are dropped", async || {
        let health = server.get("/api/diagnostics/health").await.to_string();
        health.contains("more errors were logged at once than could be taken").then_some(())
    })
    .await;
    let grown = server.peak_kib() - before;
    assert!(grown < 160 << 10, "it took {grown} KiB more than at its start");
}
