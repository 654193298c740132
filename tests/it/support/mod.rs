//! The rig: the real program on a data directory of its own, on both databases.

mod browser;
mod cluster;
mod database;
mod disk;
mod host;
mod model;
mod process;
mod repairs;
mod server;
mod site;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) use browser::{Browser, form, link};
pub(crate) use cluster::Cluster;
pub(crate) use database::{Database, schema};
pub(crate) use disk::Disk;
pub(crate) use host::Host;
pub(crate) use model::{Asked, Model, Reply, Script};
pub(crate) use process::{Running, free_port, listens};
pub(crate) use repairs::{end_of_run, groups, repair, start_repair};
pub(crate) use server::{Answer, Role, Server, Setup};
pub(crate) use site::Site;

/// How long anything may take before the test gives up. Nothing is asserted about time.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Makes two tests of one body: on SQLite, and on PostgreSQL. Tasks run beside the body: while it
/// waits for a command, what works in this process must not stop in the middle of a transaction.
macro_rules! on_both {
    ($name:ident) => {
        mod $name {
            use crate::support::Database;

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn sqlite() {
                super::$name(Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn postgres() {
                if let Some(database) = Database::postgres().await {
                    super::$name(database.clone()).await;
                    database.drop().await;
                }
            }
        }
    };
}
pub(crate) use on_both;

/// A variable that `tests/run.sh` sets.
#[expect(clippy::disallowed_methods, reason = "the rig's own settings are no settings of Lux")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// For what a test needs and does not find: fails under `tests/run.sh`, else says that
/// the test is skipped.
pub(crate) fn skip(what: &str) {
    assert!(
        variable("LUX_TEST_REQUIRE").is_none(),
        "{what} is missing, although tests/run.sh should have brought it"
    );
    say(&format!("skipped: {what} is missing; `bash tests/run.sh` brings it"));
}

/// Chromium without a window, which costs less than the whole browser, and the modules of npm
/// below the folder that this variable names; `None` (or a failure, see [`skip`]) without one.
pub(crate) fn chromium(folder: &str) -> Option<(PathBuf, PathBuf)> {
    let program = PathBuf::from("/usr/bin/chromium-headless-shell");
    let modules = variable(folder).map(|it| PathBuf::from(it).join("node_modules"));
    let Some(modules) = modules.filter(|it| it.is_dir() && program.exists()) else {
        skip(&format!("chromium-headless-shell, or its driver from npm ({folder})"));
        return None;
    };
    Some((program, modules))
}

/// Tells the person who reads the test's output.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Awaits a condition; `check` gives `Some` once it holds.
pub(crate) async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A command of the program, in an empty environment.
pub(crate) fn lux(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lux"));
    command
        .env_clear()
        .env("PATH", variable("PATH").unwrap_or_default())
        .env("LUX_DATA_DIR", folder.join("data"))
        // Where tests/coverage.sh counts the lines that ran.
        .envs(variable("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)))
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("stdout is not JSON ({error}): {self:?}"))
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
