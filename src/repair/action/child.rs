//! One command as a process: in a group of its own, with nothing of Lux's but a pipe for
//! what it prints; ended with all its children when its time is up.

use std::{
    collections::BTreeMap,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{output::Capture, render::PATH};

/// What is to be run.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) user: Option<String>,
}

/// Why a command is ended before it ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    TimedOut,
    /// By the kill switch; says whose.
    Stopped(String),
    /// Lux is shutting down.
    Shutdown,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) interruption: Option<Interruption>,
    pub(super) output: String,
    pub(super) dropped: u64,
}

#[derive(Debug)]
pub(super) enum End {
    /// It never began.
    NotStarted(io::Error),
    Status(ExitStatus),
    /// Not even SIGKILL ended it in time: it hangs in the kernel.
    Stuck,
}

impl End {
    pub(super) fn code(&self) -> Option<i32> {
        if let Self::Status(status) = self { status.code() } else { None }
    }

    pub(super) fn signal(&self) -> Option<i32> {
        if let Self::Status(status) = self { status.signal() } else { None }
    }
}

/// How long what a command leaves behind may still print after it ended.
const LINGER: Duration = Duration::from_secs(2);
/// How long SIGKILL may take.
const KILLED: Duration = Duration::from_secs(5);
/// How long what is left in the pipe may take to be read.
const REST: Duration = Duration::from_millis(200);

impl Interruption {
    /// Between SIGTERM and SIGKILL.
    fn grace(&self) -> Duration {
        match self {
            Self::TimedOut => Duration::from_secs(5),
            // All is to be over within a second.
            Self::Stopped(_) => Duration::from_millis(400),
            // All is to be over before the database is closed.
            Self::Shutdown => Duration::from_secs(2),
        }
    }
}

/// Runs a command to its end, or until `interrupted`.
pub(super) async fn run(task: &Task, interrupted: impl Future<Output = Interruption>) -> Ended {
    let not_started = |error| Ended {
        end: End::NotStarted(error),
        interruption: None,
        output: String::new(),
        dropped: 0,
    };
    let (running, output) = match Running::start(task) {
        Ok(started) => started,
        Err(error) => return not_started(error),
    };
    let capture = Arc::new(Mutex::new(Capture::default()));
    // Cancelled once nobody can print any more.
    let silent = CancellationToken::new();
    let reader = tokio::spawn(read(output, Arc::clone(&capture), silent.clone()));
    let mut interruption = None;
    let grace = tokio::select! {
        () = running.exited() => LINGER,
        why = interrupted => {
            running.signal(Signal::TERM);
            let grace = why.grace();
            interruption = Some(why);
            grace
        }
    };
    // Its children may still be ending, or hold the pipe open for as long as they like.
    // Both are given some time; that it runs out is no error.
    let _ = timeout(grace, async {
        running.exited().await;
        silent.cancelled().await;
    })
    .await;
    // The dead leader still holds the group's number: nobody else can have it yet.
    running.signal(Signal::KILL);
    let dead = timeout(KILLED, running.exited()).await.is_ok();
    let _ = timeout(REST, silent.cancelled()).await;
    reader.abort();
    let end = if dead { running.reap() } else { End::Stuck };
    let mut capture = capture.lock().unwrap_or_else(PoisonError::into_inner);
    let (output, dropped) = std::mem::take(&mut *capture).finish();
    Ended { end, interruption, output, dropped }
}

async fn read(mut output: Receiver, capture: Arc<Mutex<Capture>>, silent: CancellationToken) {
    let _at_the_end = silent.drop_guard();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        capture.lock().unwrap_or_else(PoisonError::into_inner).take(&buffer[..read]);
    }
}

/// A started command. It is reaped last, so that its number stays its own.
struct Running {
    child: Child,
    group: Pid,
    /// Cancelled once it is dead.
    dead: CancellationToken,
}

impl Running {
    fn start(task: &Task) -> io::Result<(Self, Receiver)> {
        let (reader, writer) = io::pipe()?;
        let output = Receiver::from_owned_fd(reader.into())?;
        let mut command = command(task)?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn()?;
        // Our ends of the pipe: without this it would never be at its end.
        drop(command);
        let group = Pid::from_child(&child);
        let dead = CancellationToken::new();
        let running = Self { child, group, dead: dead.clone() };
        let watcher = std::thread::Builder::new().name("action".to_owned());
        let watcher = watcher.spawn(move || {
            let _at_the_end = dead.drop_guard();
            // Waits without reaping. Not a thread of the runtime's: that would not end
            // before a command that hangs in the kernel.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(group), options), Err(Errno::INTR)) {}
        });
        if let Err(error) = watcher {
            running.signal(Signal::KILL);
            running.reap();
            return Err(error);
        }
        Ok((running, output))
    }

    async fn exited(&self) {
        self.dead.cancelled().await;
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(self.group, signal) {
            // Everybody in it may be gone already.
            tracing::debug!(%error, "an action's group was not signalled");
        }
    }

    fn reap(mut self) -> End {
        self.child.wait().map_or_else(End::NotStarted, End::Status)
    }
}

fn command(task: &Task) -> io::Result<Command> {
    let (program, arguments) =
        task.argv.split_first().ok_or_else(|| io::Error::other("argv is empty"))?;
    let mut command = match &task.user {
        None => Command::new(program),
        // It takes on the user with all its groups, which std cannot.
        Some(user) => {
            let mut command = Command::new("/usr/bin/setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={}", group_of(user)?));
            command.args(["--init-groups", "--", program]);
            command
        }
    };
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .envs(&task.env)
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0);
    Ok(command)
}

/// The number of a user's own group.
fn group_of(user: &str) -> io::Result<u32> {
    let known = std::fs::read_to_string("/etc/passwd")?;
    let line = known.lines().find(|line| line.split(':').next() == Some(user));
    line.and_then(|line| line.split(':').nth(3)?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{user} is not in /etc/passwd")))
}
