//! The whole demonstration, lived through in a browser: with a mouse alone, with keys alone.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::play;
use crate::support::{PATIENCE, lux};

#[tokio::test]
async fn by_mouse() {
    live_through("demo_by_mouse").await;
}

#[tokio::test]
async fn by_keys() {
    live_through("demo_by_keys").await;
}

/// Starts the demonstration and hands its link to the story.
async fn live_through(story: &str) {
    let folder = tempfile::Builder::new().prefix("lux-it").tempdir().unwrap();
    let mut command = Command::from(lux(folder.path()));
    command.args(["demo", "--hands-on", "--pace", "5000", "--listen", "127.0.0.1:0"]);
    let mut demo = command
        .env_remove("LUX_DATA_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let (mut base, mut link) = (String::new(), String::new());
    while link.is_empty() {
        let line = tokio::time::timeout(PATIENCE * 2, lines.next_line()).await;
        let line = line.expect("the demonstration hangs").unwrap().expect("it ended");
        if let Some(address) = line.strip_prefix("listening on ") {
            address.clone_into(&mut base);
        }
        if line.contains("/auth/link/") {
            line.trim().clone_into(&mut link);
        }
    }
    let told = play(&base, folder.path(), "-", story, async |ask: &str, _| {
        assert_eq!(ask, "link");
        Value::from(link.as_str())
    });
    told.await.unwrap_or_else(|failed| panic!("{failed}"));
    // Its folder goes with it.
    let id = demo.id().and_then(|id| i32::try_from(id).ok()).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, demo.wait()).await;
    assert!(ended.expect("it does not end").unwrap().success());
}
