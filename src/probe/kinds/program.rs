//! Asking a program of this host, with all its bounds.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::Command};

/// Bytes of its output that are read.
const MAX_OUTPUT: u64 = 64 * 1024;

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) out: String,
    /// Its first line.
    pub(super) err: String,
}

/// Runs a program to its end; the error says why that was not possible.
pub(super) async fn run(
    program: &str,
    arguments: &[&str],
    timeout: Duration,
) -> Result<Said, String> {
    let started = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|error| format!("{program} cannot be run: {error}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let (out, err) = tokio::join!(text(stdout), text(stderr));
        let status = child.wait().await.map_err(|error| format!("{program} broke off: {error}"))?;
        let err = err.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
        Ok(Said { success: status.success(), out, err })
    };
    tokio::time::timeout(timeout, all).await.map_err(|_| {
        format!("{program} did not end within {}", crate::outbound::visit::shown(timeout))
    })?
}

async fn text(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before it broke off is worth showing.
        let _ = stream.take(MAX_OUTPUT).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
