//! One run of `journalctl`, its lines bounded.

use std::{io, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{ChildStderr, ChildStdout, Command},
    task::JoinHandle,
};

/// A journal's line holds 48 KiB, in the form of numbers four bytes each.
const MAX_LINE: usize = 1 << 20;

/// Bytes of what it says on stderr.
const MAX_STDERR: u64 = 4096;

pub(super) struct Child {
    process: tokio::process::Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    line: Vec<u8>,
    dropped: u64,
    /// The line was handed over; the next one begins.
    done: bool,
}

pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) dropped: u64,
    /// Nothing more has arrived yet.
    pub(super) last: bool,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    Well,
    /// We ended it.
    Silent,
    Missing(io::Error),
    /// What it said.
    Failed(String),
}

impl Child {
    pub(super) fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .env("SYSTEMD_COLORS", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let stderr = process.stderr.take().map(|stderr| tokio::spawn(read_stderr(stderr)));
        Ok(Self {
            process,
            stdout: BufReader::with_capacity(64 << 10, stdout),
            stderr,
            line: Vec::new(),
            dropped: 0,
            done: false,
        })
    }

    /// The next line without its end; `None` at the end of output. May be cancelled
    /// and called again.
    pub(super) async fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        if std::mem::take(&mut self.done) {
            self.line.clear();
            self.line.shrink_to(64 << 10);
            self.dropped = 0;
        }
        loop {
            let available = self.stdout.fill_buf().await?;
            if available.is_empty() {
                // An unfinished line at the end was cut off in mid-entry: it comes again.
                return Ok(None);
            }
            let end = memchr::memchr(b'\n', available);
            let part = &available[..end.unwrap_or(available.len())];
            let room = MAX_LINE.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(&part[..room]);
            self.dropped += (part.len() - room) as u64;
            let used = part.len() + usize::from(end.is_some());
            self.stdout.consume(used);
            if end.is_some() {
                self.done = true;
                let last = self.stdout.buffer().is_empty();
                return Ok(Some(Line { bytes: &self.line, dropped: self.dropped, last }));
            }
        }
    }

    /// Waits for its end after its output has ended.
    pub(super) async fn end(mut self) -> Ended {
        let status = self.process.wait().await;
        let stderr = match self.stderr.take() {
            Some(stderr) => stderr.await.unwrap_or_default(),
            None => String::new(),
        };
        match status {
            Ok(status) if status.success() => Ended::Well,
            Ok(status) if stderr.trim().is_empty() => Ended::Failed(status.to_string()),
            Ok(_) => Ended::Failed(stderr),
            Err(error) => Ended::Failed(error.to_string()),
        }
    }

    pub(super) async fn kill(mut self) {
        if let Err(error) = self.process.kill().await {
            tracing::debug!(%error, "journalctl could not be ended");
        }
    }
}

async fn read_stderr(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    let mut head = (&mut stderr).take(MAX_STDERR);
    if head.read_to_end(&mut said).await.is_ok() {
        // The rest must not block the child.
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&said).trim().to_owned()
}
