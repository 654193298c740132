//! What operators do, done in headless Chromium on a real server: one story a file of
//! `tests/browser/stories`, which says what its author sees; here is what happens on the host.

mod agents;
mod campaigns;
mod chat;
mod customers;
mod demo;
mod endless;
mod errors;
mod health;
mod home;
mod integrations;
mod logs;
mod notifications;
mod people;
mod repairs;
mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::{
    authority::person,
    support::{Database, PATIENCE, Server, chromium, repository},
};

/// Lives through a story as a person of a role ("-": not signed in). `host` does what the story
/// asks for, by name; its answer goes back to the story.
pub(crate) async fn story(
    server: &Server,
    role: &str,
    name: &str,
    host: impl AsyncFnMut(&str, Value) -> Value,
) {
    let cookie = if role == "-" { "-".to_owned() } else { person(server, role).await };
    // Pages do not depend on the database: pictures and accessibility are checked on one.
    let looks = if matches!(server.database(), Database::Sqlite) { "yes" } else { "no" };
    let told = live(&server.base, server.folder(), &cookie, name, looks, host).await;
    told.unwrap_or_else(|failed| panic!("{}\n{failed}", server.log()));
}

/// Lives through a story on any server, with this cookie ("-": none); why it failed, if it did.
pub(crate) async fn play(
    base: &str,
    folder: &Path,
    cookie: &str,
    name: &str,
    host: impl AsyncFnMut(&str, Value) -> Value,
) -> Result<(), String> {
    live(base, folder, cookie, name, "yes", host).await
}

async fn live(
    base: &str,
    folder: &Path,
    cookie: &str,
    name: &str,
    looks: &str,
    mut host: impl AsyncFnMut(&str, Value) -> Value,
) -> Result<(), String> {
    let Some((chromium, modules)) = chromium("LUX_TEST_BROWSER") else { return Ok(()) };
    let pictures = pictures(&modules);
    let mut child = Command::new("node")
        .arg(repository("tests/browser/run.cjs"))
        .arg(chromium)
        .arg(folder.join(format!("profile-{}", uuid::Uuid::now_v7().simple())))
        .args([base, cookie])
        .arg(repository(&format!("tests/browser/stories/{name}.cjs")))
        .arg(&pictures)
        .arg(looks)
        .env("NODE_PATH", &modules)
        .env("HOME", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        // Each step of a story has its own patience; this is for a browser that hangs.
        let line = tokio::time::timeout(PATIENCE * 2, lines.next_line()).await;
        let Ok(line) = line else { return Err(format!("{name}: the browser hangs")) };
        let Some(line) = line.unwrap() else { return Err(format!("{name}: the browser died")) };
        let told: Value = serde_json::from_str(&line).unwrap();
        if let Some(ask) = told["ask"].as_str() {
            let answer = host(ask, told["data"].clone()).await;
            input.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        } else if let Some(failed) = told["failed"].as_str() {
            return Err(format!("{name}: {failed}\npictures: {}", pictures.display()));
        } else {
            assert_eq!(told, json!({ "done": true }));
            break;
        }
    }
    assert!(child.wait().await.unwrap().success());
    Ok(())
}

/// Where pictures are kept, beside what the tests install.
fn pictures(modules: &Path) -> PathBuf {
    let folder = modules.parent().unwrap().with_file_name("test-pages");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// For stories that need nothing of the host.
pub(crate) async fn nothing(ask: &str, _: Value) -> Value {
    panic!("nobody is there to do {ask}")
}
