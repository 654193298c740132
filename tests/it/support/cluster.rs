//! A PostgreSQL cluster of a test's own, for tests that take it away.

use std::process::Command;

use super::{repository, run, skip, variable};

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    pub(crate) url: String,
}

impl Cluster {
    /// Makes and starts one; `None` where PostgreSQL is not installed.
    pub(crate) fn start() -> Option<Self> {
        if variable("LUX_TEST_POSTGRES").is_none() {
            skip("PostgreSQL (LUX_TEST_POSTGRES)");
            return None;
        }
        // A unix socket's path is short, so the folder is right below /tmp.
        let folder = tempfile::Builder::new().prefix("lux-pg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let mut cluster = Self { folder, url: String::new() };
        cluster.script("start").trim().clone_into(&mut cluster.url);
        Some(cluster)
    }

    /// Starts it again after [`Cluster::stop`] or [`Cluster::crash`].
    pub(crate) fn start_again(&self) {
        self.script("start");
    }

    pub(crate) fn stop(&self) {
        self.script("stop");
    }

    pub(crate) fn crash(&self) {
        self.script("crash");
    }

    fn script(&self, action: &str) -> String {
        let mut command = Command::new("sh");
        command.arg(repository("tests/postgres.sh")).arg(action).arg(self.folder.path().join("pg"));
        let said = run(&mut command);
        assert_eq!(said.code, Some(0), "postgres.sh {action}: {said:?}");
        said.out
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut command = Command::new("sh");
        command.arg(repository("tests/postgres.sh")).arg("crash");
        command.arg(self.folder.path().join("pg"));
        // It may be down already.
        let _ = command.output();
    }
}
