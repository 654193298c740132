//! `lux backup` and `lux restore`: the whole database in a file and back, with and without the
//! master key.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use futures_util::future::join_all;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::json;

use crate::support::{
    Answer, Database, Model, Reply, Role, Said, Server, Setup, lux, on_both, run, until,
};

/// What the model says: it is kept sealed.
const SAID: &str = "the basket was empty at noon";

async fn with_model(database: &Database) -> (Server, Model) {
    let model = Model::scripted().await;
    model.always(Reply::text(SAID));
    (Setup::new(database).model(&model).start().await, model)
}

async fn ask(server: &Server) {
    let answer = server.post("/chatbot/send", &json!({ "message": "what happened?" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    until("the ledger has it", async || {
        let lines = server.get("/api/model/ledger").await["requests"].as_array()?.clone();
        lines.iter().all(|line| line["result"] == "told").then_some(())
    })
    .await;
}

async fn sealed_text(server: &Server) -> String {
    let id = server.get("/api/model/ledger").await["requests"][0]["id"].as_i64().unwrap();
    server.get(&format!("/api/model/ledger/{id}")).await["answer"].to_string()
}

async fn report(server: &Server, kind: &str) {
    let event = json!({ "error_type": kind, "error_message": "m", "endpoint": "/buy" });
    let answer = server.post("/api/errors", &event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn backup(server: &Server, file: &Path) -> Said {
    run(server.command().arg("backup").arg(file))
}

fn restore(server: &Server, file: &Path, more: &[&str]) -> Said {
    run(server.command().arg("restore").arg(file).args(more))
}

fn well(said: &Said) {
    assert_eq!(said.code, Some(0), "{said:?}");
}

fn refused(said: &Said, why: &str) {
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains(why), "{said:?}");
}

async fn number(server: &Server, sql: &str) -> i64 {
    let found = server.database().column(&server.data(), sql).await;
    found[0].parse().unwrap()
}

const EVENTS: &str = "select cast(count(*) as text) from error_log";
const COUNTED: &str = "select cast(coalesce(sum(count), 0) as text) from error_group";

on_both!(a_backup_made_while_it_serves_is_whole);
async fn a_backup_made_while_it_serves_is_whole(database: Database) {
    let (mut server, _model) = with_model(&database).await;
    ask(&server).await;
    report(&server, "First").await;
    let file = server.folder().join("backup");
    // Others write all the time.
    let writers = join_all((0..4).map(async |writer: usize| {
        for at in 0..60 {
            report(&server, &format!("E{writer}_{}", at % 7)).await;
        }
    }));
    let (said, _) = tokio::join!(
        async {
            until("some are written", async || (number(&server, EVENTS).await > 20).then_some(()))
                .await;
            let mut command = server.command();
            command.arg("backup").arg(&file);
            tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
        },
        writers
    );
    well(&said);
    assert!(said.out.contains("the master key is not in it"), "{said:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(server.data().join("master.key")).unwrap();
    let bytes = fs::read(&file).unwrap();
    let key = key.lines().last().unwrap().as_bytes();
    assert!(memchr::memmem::find(&bytes, key).is_none());
    refused(&backup(&server, &file), "is there already");
    let all = number(&server, EVENTS).await;
    assert_eq!(all, 241);

    refused(&restore(&server, &file, &[]), "stop it first");
    refused(&restore(&server, &file, &["--force"]), "stop it first");
    server.stop().await;
    refused(&restore(&server, &file, &[]), "--force");
    assert_eq!(number(&server, EVENTS).await, all);
    server.database().lose(&server.data()).await;
    well(&restore(&server, &file, &[]));
    let restored = number(&server, EVENTS).await;
    assert!((21..all).contains(&restored), "{restored}");
    assert_eq!(number(&server, COUNTED).await, restored);
    server.start().await;
    assert!(sealed_text(&server).await.contains(SAID));
    // It goes on where it was.
    report(&server, "Last").await;
    assert_eq!(number(&server, EVENTS).await, restored + 1);
    let audit = server.deeds().await;
    let actions: Vec<_> = audit.iter().map(|it| &it["action"]).collect();
    assert_eq!(actions, ["backup.restore", "backup.make"]);
    well(&run(server.command().args(["audit", "verify"])));
}

on_both!(a_backup_has_the_files_of_customers);
async fn a_backup_has_the_files_of_customers(database: Database) {
    let mut server = Server::plain(&database).await;
    let ada = "insert into account (id, organization_id, name, role, created_at)
               values (4000, 1, 'Ada', 'customer', '2026-11-20T10:00:00+00:00')";
    database.execute(&server.data(), ada).await;
    let files = "/api/customers/4000/attachments";
    // Every byte that there is, and as many as there may be.
    let bytes: Vec<u8> = b"%PDF-".iter().copied().chain((0..=255).cycle()).take(10 << 20).collect();
    let request = server.request_as(Role::Operator, Method::POST, files);
    let request = request.header(CONTENT_TYPE, "application/pdf").body(bytes.clone());
    let kept = Answer::of(request).await;
    assert_eq!(kept.status, 201, "{kept:?}");
    let one = format!("{files}/{}", kept.json()["id"]);
    let file = server.folder().join("backup");
    well(&backup(&server, &file));
    server.stop().await;
    server.database().lose(&server.data()).await;
    well(&restore(&server, &file, &[]));
    server.start().await;
    let read = server.request_as(Role::Operator, Method::GET, &one).send().await.unwrap();
    assert_eq!(read.status(), 200);
    assert!(read.bytes().await.unwrap() == bytes, "it came back otherwise");
}

on_both!(a_backup_takes_the_place_of_what_is_there);
async fn a_backup_takes_the_place_of_what_is_there(database: Database) {
    let mut server = Server::plain(&database).await;
    report(&server, "Kept").await;
    let file = server.folder().join("backup");
    well(&backup(&server, &file));
    report(&server, "Later").await;
    server.kill().await;
    well(&restore(&server, &file, &["--force"]));
    assert_eq!(number(&server, EVENTS).await, 1);
    if matches!(database, Database::Sqlite) {
        // What was there is kept, with what only its journal held.
        let replaced = server.data().join("lux.db.replaced");
        let url = format!("sqlite:{}", replaced.display());
        let events = lux::db::Db::open(&url, 1).await.unwrap();
        let count: i64 = events.query("select count(*) from error_log").scalar().await.unwrap();
        events.close().await;
        assert_eq!(count, 2);
    }
    server.start().await;
    // Nothing is changed by what is no whole backup.
    server.stop().await;
    let whole = fs::read(&file).unwrap();
    let cut = server.folder().join("cut");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let said = restore(&server, &cut, &["--force"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    fs::write(&cut, "hello, this is a letter").unwrap();
    refused(&restore(&server, &cut, &["--force"]), "is no backup of Lux");
    refused(&restore(&server, &server.folder().join("nowhere"), &[]), "cannot read");
    assert_eq!(number(&server, EVENTS).await, 1);
    // One of a later Lux.
    let newer = "update _sqlx_migrations set version = 9000 where version = 1";
    database.execute(&server.data(), newer).await;
    let later = server.folder().join("later");
    well(&backup(&server, &later));
    database
        .execute(&server.data(), "update _sqlx_migrations set version = 1 where version = 9000")
        .await;
    refused(&restore(&server, &later, &["--force"]), "was made by a newer Lux");
    assert_eq!(number(&server, EVENTS).await, 1);
    server.start().await;
}

/// Beside another Lux in `public`, say.
#[tokio::test]
async fn a_schema_of_its_own_comes_back() {
    let Some(database) = Database::in_a_schema().await else { return };
    a_backup_takes_the_place_of_what_is_there(database.clone()).await;
    database.drop().await;
}

on_both!(without_the_key_the_rest_comes_back);
async fn without_the_key_the_rest_comes_back(database: Database) {
    let (mut server, _model) = with_model(&database).await;
    ask(&server).await;
    report(&server, "Kept").await;
    let file = server.folder().join("backup");
    well(&backup(&server, &file));
    server.stop().await;
    server.database().lose(&server.data()).await;
    fs::remove_file(server.data().join("master.key")).unwrap();
    let said = restore(&server, &file, &[]);
    well(&said);
    let id = said.out.split("lux keys forget ").nth(1).unwrap();
    let id: String = id.chars().take_while(char::is_ascii_hexdigit).collect();
    let start = run(server.command().args(["serve", "--listen", "127.0.0.1:0"]));
    assert!(start.code != Some(0) && start.err.contains("is missing"), "{start:?}");
    well(&run(server.command().args(["keys", "forget", &id])));
    server.start().await;
    assert_eq!(number(&server, EVENTS).await, 1);
    let text = sealed_text(&server).await;
    assert!(text.contains("is not among the master keys") && !text.contains(SAID), "{text}");
    // New secrets are sealed with the new key.
    ask(&server).await;
    assert!(sealed_text(&server).await.contains(SAID));
}

#[tokio::test]
async fn a_backup_is_for_its_own_kind_of_database() {
    let Some(postgres) = Database::postgres().await else { return };
    let files = [Database::sqlite(), postgres].map(async |database| {
        let mut server = Server::plain(&database).await;
        let file = server.folder().join("backup");
        well(&backup(&server, &file));
        server.stop().await;
        (server, file)
    });
    let [(lite, lite_file), (pg, pg_file)]: [(Server, PathBuf); 2] =
        join_all(files).await.try_into().unwrap_or_else(|_| unreachable!());
    refused(&restore(&lite, &pg_file, &["--force"]), "is a backup of PostgreSQL");
    refused(&restore(&pg, &lite_file, &["--force"]), "is a backup of SQLite");
    // Without PostgreSQL's tools.
    let empty = tempfile::tempdir().unwrap();
    let mut command: Command = pg.command();
    command.env("PATH", empty.path()).arg("backup").arg(pg.folder().join("other"));
    refused(&run(&mut command), "there is no pg_dump on this host: install PostgreSQL's client");
    let mut command: Command = pg.command();
    command.env("PATH", empty.path()).arg("restore").arg(&pg_file).arg("--force");
    refused(&run(&mut command), "there is no pg_restore on this host");
    // Another Lux on the same tables, from elsewhere.
    let replica = Setup::replica_of(&pg).start().await;
    refused(&restore(&pg, &pg_file, &["--force"]), "another Lux uses this database");
    drop(replica);
    // Before the first start there is nothing.
    let folder = tempfile::tempdir().unwrap();
    let said = run(lux(folder.path()).arg("backup").arg(folder.path().join("backup")));
    refused(&said, "there is no database");
    assert!(!folder.path().join("backup.part").exists());
}
