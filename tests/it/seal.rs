//! Secrets in the database: sealed for their field, under a key that stands elsewhere.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use lux::{
    config::KeyOrigin,
    seal::{Field, Sealer},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{Database, Model, Reply, Role, Server, Setup, on_both, run, until};

const FIELD: Field<'static> = Field { table: "grant", column: "access", row: "7" };

fn keys(folder: &Path) -> KeyOrigin {
    KeyOrigin::Own(folder.join("master.key"))
}

#[test]
fn a_text_opens_only_where_it_was_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Sealer::open_keys(keys(folder.path()), true).unwrap();
    for text in ["", "ya29.token", "ключ\n", &"x".repeat(100_000)] {
        let sealed = sealer.seal(FIELD, text).unwrap();
        assert!(text.is_empty() || !sealed.contains(text));
        assert_eq!(sealer.open(FIELD, &sealed).unwrap().expose_secret(), text);
        // Twice the same is not seen to be the same.
        assert_ne!(sealer.seal(FIELD, text).unwrap(), sealed);
    }
    let sealed = sealer.seal(FIELD, "ya29.token").unwrap();
    let refused = |field: Field<'_>, sealed: &str, why: &str| {
        let error = sealer.open(field, sealed).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("ya29"), "{error}");
    };
    let elsewhere = "belongs to another field";
    refused(Field { row: "8", ..FIELD }, &sealed, elsewhere);
    refused(Field { column: "refresh", ..FIELD }, &sealed, elsewhere);
    refused(Field { table: "session", ..FIELD }, &sealed, elsewhere);
    // Changed at any place.
    let (head, body) = sealed.rsplit_once('.').unwrap();
    for at in 0..body.len() {
        let mut changed: Vec<u8> = body.bytes().collect();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = format!("{head}.{}", String::from_utf8(changed).unwrap());
        assert!(sealer.open(FIELD, &changed).is_err(), "{at}");
    }
    refused(FIELD, "ya29.token", "it is not sealed");
    refused(FIELD, "lx1.zzzzzzzz.AAAA", "it is not sealed");
    refused(FIELD, "lx1.00000000.AAAA", "its key 00000000 is not among the master keys");
    refused(FIELD, &format!("{head}.AAAA"), "it is cut");
    let debug = format!("{sealer:?} {FIELD:?}");
    let key = fs::read_to_string(folder.path().join("master.key")).unwrap();
    assert!(!debug.contains(key.lines().last().unwrap()));
}

#[test]
fn another_key_opens_nothing() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sealed = Sealer::open_keys(keys(one.path()), true).unwrap().seal(FIELD, "text").unwrap();
    let other = Sealer::open_keys(keys(other.path()), true).unwrap();
    let error = other.open(FIELD, &sealed).unwrap_err().to_string();
    assert!(error.contains("is not among the master keys"), "{error}");
}

#[test]
fn the_file_of_the_keys_is_looked_after() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.key");
    let refused = |origin: KeyOrigin, why: &str| {
        let error = Sealer::open_keys(origin, false).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(keys(folder.path()), "is missing; put it back from its backup");
    assert!(!file.exists());
    refused(KeyOrigin::Given(file.clone()), "there is no file");
    Sealer::open_keys(keys(folder.path()), true).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    refused(keys(folder.path()), "chmod 600 it");
    // systemd's own credentials have rights of their own.
    Sealer::open_keys(KeyOrigin::Credential(file.clone()), false).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    for (text, why) in [
        ("# nothing\n\n".to_owned(), "there is no master key in"),
        (format!("{good}secret\n"), "line 3 of the master keys in"),
        (format!("{good}c2hvcnQ=\n"), "is no key: each is 32 bytes as base64"),
    ] {
        fs::write(&file, text).unwrap();
        refused(keys(folder.path()), why);
    }
    let line = good.lines().last().unwrap().to_owned();
    let shown = format!("{:?}", KeyOrigin::Environment(line.as_str().into()));
    assert!(!shown.contains(&line), "{shown}");
    Sealer::open_keys(KeyOrigin::Environment(line.into()), false).unwrap();
}

/// What the model is told and says, which the ledger and the transcript keep.
const SAID: &str = "the basket was empty at noon";

async fn asked(database: &Database) -> (Server, Model, i64) {
    let model = Model::scripted().await;
    let server = Setup::new(database).model(&model).start().await;
    model.always(Reply::text(SAID));
    let answer =
        server.post("/chatbot/send", &json!({ "message": "what happened at noon?" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let message = answer.json()["message_id"].as_i64().unwrap();
    until("the ledger has it", async || {
        let lines = server.get("/api/model/ledger").await;
        let lines = lines["requests"].as_array()?.clone();
        lines.iter().all(|line| line["result"] == "told").then_some(())
    })
    .await;
    (server, model, message)
}

/// All kept texts as the database has them.
async fn kept(server: &Server) -> Vec<String> {
    let mut texts = Vec::new();
    for sql in [
        "select coalesce(sent, '') from model_call",
        "select coalesce(answer, '') from model_call",
        "select coalesce(sealed, '') from chat_transcript",
        "select cast(body as text) from chat_transcript",
    ] {
        texts.extend(server.database().column(&server.data(), sql).await);
    }
    texts
}

/// What the API and `lux replay` show of them.
async fn shown(server: &Server, message: i64) -> String {
    let id = server.get("/api/model/ledger").await["requests"][0]["id"].as_i64().unwrap();
    let call = server.get(&format!("/api/model/ledger/{id}")).await;
    let replayed = run(server.command().args(["replay", "--json", &message.to_string()]));
    assert!(replayed.err.is_empty(), "{replayed:?}");
    format!("{} {} {}", call["sent"], call["answer"], replayed.out)
}

fn listed(server: &Server) -> Vec<Value> {
    let listed = run(server.command().args(["keys", "list", "--json"]));
    assert_eq!(listed.code, Some(0), "{listed:?}");
    listed.json().as_array().unwrap().clone()
}

on_both!(kept_texts_are_sealed_and_keys_are_rotated_while_it_serves);
async fn kept_texts_are_sealed_and_keys_are_rotated_while_it_serves(database: Database) {
    let (mut server, _model, message) = asked(&database).await;
    let texts = kept(&server).await;
    assert!(texts.iter().filter(|text| text.starts_with("lx1.")).count() >= 3, "{texts:?}");
    assert!(!texts.concat().contains("noon"), "{texts:?}");
    let before = shown(&server, message).await;
    assert!(before.contains("what happened at noon") && before.contains(SAID), "{before}");

    let old = listed(&server)[0]["key"].as_str().unwrap().to_owned();
    let refused = run(server.command().args(["keys", "remove", &old]));
    assert!(refused.err.contains("is the one that seals"), "{refused:?}");
    let done = run(server.command().args(["keys", "rotate"]));
    assert_eq!(done.code, Some(0), "{done:?}");
    let keys = listed(&server);
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_ne!(keys[0]["key"], old.as_str());
    assert_eq!((&keys[1]["key"], &keys[1]["texts"]), (&json!(old), &json!(0)), "{keys:?}");
    // The server goes on: it opens with the new key, and seals with it.
    assert_eq!(shown(&server, message).await, before);
    let sealed_before = keys[0]["texts"].as_i64().unwrap();
    assert!(sealed_before >= 3);
    let answer = server.post("/chatbot/send", &json!({ "message": "and after noon?" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    until("new texts are sealed with the new key", async || {
        let keys = listed(&server);
        assert_eq!(keys[1]["texts"], 0, "{keys:?}");
        (keys[0]["texts"].as_i64()? >= sealed_before + 3).then_some(())
    })
    .await;
    let gone = run(server.command().args(["keys", "remove", &old]));
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert_eq!(listed(&server).len(), 1);
    server.kill().await;
    server.start().await;
    assert!(shown(&server, message).await.contains(SAID));
}

on_both!(without_its_key_it_does_not_start);
async fn without_its_key_it_does_not_start(database: Database) {
    let (mut server, _model, message) = asked(&database).await;
    let key = listed(&server)[0]["key"].as_str().unwrap().to_owned();
    server.stop().await;
    let file = server.data().join("master.key");
    let right = fs::read(&file).unwrap();
    let refusal = |server: &Server| {
        let said = run(server.command().args(["serve", "--listen", "127.0.0.1:0"]));
        assert_ne!(said.code, Some(0), "{said:?}");
        said.err
    };
    fs::remove_file(&file).unwrap();
    let said = refusal(&server);
    assert!(said.contains("is missing; put it back from its backup"), "{said}");
    assert!(!file.exists());
    // One of another instance.
    let other = tempfile::tempdir().unwrap();
    Sealer::open_keys(keys(other.path()), true).unwrap();
    fs::copy(other.path().join("master.key"), &file).unwrap();
    let said = refusal(&server);
    assert!(said.contains(&format!("sealed with the master key {key}, which is not in")), "{said}");
    fs::write(&file, &right).unwrap();
    server.start().await;
    assert!(shown(&server, message).await.contains(SAID));
    server.stop().await;
    // Lost for good.
    fs::copy(other.path().join("master.key"), &file).unwrap();
    let said = run(server.command().args(["keys", "forget", &key]));
    assert_eq!(said.code, Some(0), "{said:?}");
    server.start().await;
    let id = server.get("/api/model/ledger").await["requests"][0]["id"].as_i64().unwrap();
    let call = server.get(&format!("/api/model/ledger/{id}")).await;
    assert!(call["answer"].as_str().unwrap().contains("is not among the master keys"), "{call:#}");
}

on_both!(a_text_of_another_row_is_not_opened);
async fn a_text_of_another_row_is_not_opened(database: Database) {
    let (server, _model, _) = asked(&database).await;
    let answer = server.post("/chatbot/send", &json!({ "message": "and after noon?" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = until("both are answered", async || {
        let lines = server.get("/api/model/ledger").await["requests"].as_array()?.clone();
        let told = lines.len() == 2 && lines.iter().all(|line| line["result"] == "told");
        told.then_some(lines)
    })
    .await;
    let (one, other) = (&lines[0]["id"], &lines[1]["id"]);
    let sql = format!(
        "update model_call set answer = (select answer from model_call where id = {other})
         where id = {one}"
    );
    database.execute(&server.data(), &sql).await;
    let call = server.get(&format!("/api/model/ledger/{one}")).await;
    let shown = call["answer"].as_str().unwrap();
    assert!(shown.contains("belongs to another field") && !shown.contains(SAID), "{call:#}");
    // The rest of the row is as it was.
    assert!(call["sent"].to_string().contains("noon"), "{call:#}");
}

/// Everything that the database keeps, as it stands on the disk or in a dump.
fn everything(server: &Server) -> Vec<u8> {
    match server.database() {
        Database::Sqlite => {
            let files = ["lux.db", "lux.db-wal"].map(|name| server.data().join(name));
            files.iter().flat_map(|file| fs::read(file).unwrap_or_default()).collect()
        }
        Database::Postgres(url) => {
            let said = run(std::process::Command::new("pg_dump").arg(url));
            assert_eq!(said.code, Some(0), "{said:?}");
            said.out.into_bytes()
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    assert!(!text.is_empty());
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

on_both!(no_secret_stands_in_the_database);
async fn no_secret_stands_in_the_database(database: Database) {
    let (mut server, model, message) = asked(&database).await;
    let key = fs::read_to_string(server.data().join("master.key")).unwrap();
    let system = model.asked()[0].body["messages"][0]["content"].as_str().unwrap().to_owned();
    let line = system.lines().find(|line| line.len() > 40).unwrap();
    let mut secrets = [key.lines().last().unwrap(), "sk-scripted", line].map(String::from).to_vec();
    secrets.extend(Role::ALL.map(|role| server.token(role).to_owned()));
    let look = |server: &Server| {
        let bytes = everything(server);
        // What is kept in the clear is found this way.
        assert!(holds(&bytes, "what happened at noon?"));
        for secret in &secrets {
            assert!(!holds(&bytes, secret), "{secret} stands in the database");
        }
    };
    look(&server);
    assert!(shown(&server, message).await.contains(line.trim_end_matches(['"', '\\'])));
    let log = server.log();
    let rotated = run(server.command().args(["keys", "rotate"]));
    look(&server);
    server.stop().await;
    look(&server);
    for secret in &secrets[..2] {
        assert!(!log.contains(secret.as_str()) && !rotated.out.contains(secret.as_str()));
    }
}

on_both!(what_is_written_is_for_this_user_alone);
async fn what_is_written_is_for_this_user_alone(database: Database) {
    let mut server = Server::plain(&database).await;
    assert_eq!(server.deeds().await, Vec::<Value>::new());
    run(server.command().args(["keys", "rotate"]));
    let look = |server: &Server| {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&server.data()), 0o700);
        for file in fs::read_dir(server.data()).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path) & 0o077, 0, "{} may be read by others", path.display());
        }
    };
    look(&server);
    server.stop().await;
    look(&server);
}

on_both!(the_doctor_looks_at_the_key);
async fn the_doctor_looks_at_the_key(database: Database) {
    let mut server = Server::plain(&database).await;
    let file = server.data().join("master.key");
    let line = fs::read_to_string(&file).unwrap().lines().last().unwrap().to_owned();
    let told = |variable: Option<(&str, &str)>| {
        let mut command = server.command();
        command.envs(variable).args(["doctor", "--json"]);
        let report = run(&mut command).json();
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "master key").unwrap();
        assert!(!report.to_string().contains(&line), "the key is shown");
        (check["outcome"].as_str().unwrap().to_owned(), check["detail"].to_string())
    };
    let (outcome, detail) = told(None);
    assert_eq!(outcome, "ok", "{detail}");
    assert!(detail.contains("one key, fits the database"), "{detail}");
    let (outcome, detail) = told(Some(("LUX_MASTER_KEY", &line)));
    assert_eq!(outcome, "warn", "{detail}");
    // The environment's warning stands in the log of the service as well.
    let started = Setup::new(&Database::sqlite()).env("LUX_MASTER_KEY", &line).start().await;
    assert!(started.log().contains("the master key stands in the environment"));
    assert!(!started.data().join("master.key").exists());
    let wrong = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let (outcome, detail) = told(Some(("LUX_MASTER_KEY", wrong)));
    assert!(outcome == "fail" && detail.contains("which is not in LUX_MASTER_KEY"), "{detail}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (outcome, detail) = told(None);
    assert!(outcome == "fail" && detail.contains("chmod 600"), "{detail}");
    fs::remove_file(&file).unwrap();
    let (outcome, detail) = told(None);
    assert!(outcome == "fail" && detail.contains("is missing"), "{detail}");
    assert!(!file.exists());
    fs::write(&file, &line).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    server.stop().await;
    server.start().await;
}
