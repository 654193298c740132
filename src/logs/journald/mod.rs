//! Following the journal through `journalctl`.
//!
//! Two phases, because following (`-f`) sees only this boot: first everything after
//! the last known entry is read to the end, then the journal is followed from there.
//! An entry is asked for by `--cursor`, which includes it, and dropped; `--after-cursor`
//! skips entries where the cursor's own entry does not match.

mod child;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use self::child::{Child, Ended};
use super::{
    checkpoint::{Checkpoint, FileId, Known},
    feed::{Feed, Sink},
    format::Parser,
    ledger::{Ledger, Turn},
    record::Kind,
    status::{SourceState, Trouble},
    tail::{AHEAD, files::new_tag},
    time::Zone,
};
use crate::{clock, config::Place};

/// Lines of a journal stream belong together if no more time than this is between them.
const SILENCE: Duration = Duration::from_millis(300);

/// A follower that said nothing for so long is asked by a new catch-up.
const WATCHDOG: Duration = Duration::from_mins(10);

/// Entries of this host's journal that are read at first sight.
const FIRST_SIGHT: &str = "--lines=10000";

/// Entries before the last known one that are read again after a restart.
const AGAIN: &str = "--lines=1000";

/// Entries after which the ledger is told.
const BATCH: u64 = 200;

/// What is followed, and where its entries go.
pub(super) struct Follow {
    pub(super) source: usize,
    pub(super) place: Place,
    pub(super) zone: Zone,
    pub(super) program: PathBuf,
    pub(super) sink: Arc<Sink>,
    pub(super) ledger: Arc<Ledger>,
}

struct Follower {
    follow: Follow,
    feed: Feed,
    cursor: Option<String>,
    /// Number of the next entry.
    number: u64,
    /// The first entry of which nobody was told, as it was last handed to the ledger.
    told: u64,
    tag: i64,
    turn: Turn,
    shutdown: CancellationToken,
}

/// How entries are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Entries that were counted before a restart, newest first.
    Again,
    CatchUp,
    Live,
}

/// Follows until `shutdown`.
pub(super) async fn run(follow: Follow, known: Known, shutdown: CancellationToken) {
    let known = known.checkpoints.into_iter().find(|at| at.cursor.is_some());
    let source = follow.source;
    let tag = known.as_ref().map_or_else(|| new_tag(source, FileId::default()), |at| at.tag);
    let parser = Parser::new(Kind::Journal, follow.zone);
    let told = known.as_ref().map_or(0, |at| at.told.cast_unsigned());
    let mut follower = Follower {
        feed: Feed::new(source, None, tag, parser, told),
        told,
        number: known.as_ref().map_or(1, |at| at.line.cast_unsigned()),
        cursor: known.and_then(|at| at.cursor),
        follow,
        tag,
        turn: Turn::default(),
        shutdown: shutdown.clone(),
    };
    let mut pause = Duration::from_secs(1);
    let mut again = follower.cursor.is_some();
    while !shutdown.is_cancelled() {
        if again {
            follower.read_again().await;
            again = false;
        }
        let before = follower.number;
        let trouble = follower.follow_once().await;
        follower.deliver();
        if shutdown.is_cancelled() {
            break;
        }
        let Some((state, trouble)) = trouble else {
            pause = Duration::from_secs(1);
            continue;
        };
        follower.tell(state, Some(trouble));
        if follower.number > before {
            pause = Duration::from_secs(1);
        }
        shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
        pause = (pause * 2).min(Duration::from_mins(1));
    }
    follower.feed.flush(&follower.follow.sink);
    follower.deliver();
    follower.tell(SourceState::Stopped, None);
}

type Failure = Option<(SourceState, Trouble)>;

impl Follower {
    /// Both phases; `None` if they ended as they should.
    async fn follow_once(&mut self) -> Failure {
        let started = clock::now();
        for phase in [Phase::CatchUp, Phase::Live] {
            let mut since = None;
            if phase == Phase::Live && self.cursor.is_none() {
                // Nothing was there before: what comes from now on is new.
                since = Some(started.timestamp_micros());
            }
            let mut ended = self.read(phase, since).await;
            if let Ended::Failed(stderr) = &ended
                && stderr.contains("cursor")
                && let Some(at) = self.cursor.as_deref().and_then(time_of)
            {
                // The journal does not know the cursor; it holds the time it stands for.
                tracing::warn!(stderr, "the journal refuses the last cursor; going on by its time");
                ended = self.read(phase, Some(at + 1)).await;
            }
            match ended {
                Ended::Well | Ended::Silent => {}
                Ended::Missing(error) => return Some(missing(&error)),
                Ended::Failed(stderr) => return Some(failed(&stderr)),
            }
            self.tell(SourceState::Ok, None);
        }
        None
    }

    fn arguments(&self, phase: Phase, since: Option<i64>) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--quiet", "--no-pager", "--output=json", "--all"].map(str::to_owned).into();
        let mut add = |text: String| arguments.push(text);
        match (since, &self.cursor) {
            (Some(at), _) => add(format!("--since=@{}.{:06}", at / 1_000_000, at % 1_000_000)),
            (None, Some(cursor)) => add(format!("--cursor={cursor}")),
            (None, None) => {}
        }
        match phase {
            Phase::Again => {
                add("--reverse".to_owned());
                add(AGAIN.to_owned());
            }
            Phase::CatchUp => {
                // A journal that was copied here is read whole.
                if self.cursor.is_none() && matches!(self.follow.place, Place::Unit(_)) {
                    add(FIRST_SIGHT.to_owned());
                }
            }
            Phase::Live => {
                add("--follow".to_owned());
                add("--lines=all".to_owned());
            }
        }
        match &self.follow.place {
            Place::Directory(path) => add(format!("--directory={}", path.display())),
            Place::Unit(unit) if unit != "*" => {
                // `-u` misses what systemd says about a unit that could not be started.
                // Fields without `_` can be forged, so root must have written them.
                for alternative in [
                    format!("_SYSTEMD_UNIT={unit}"),
                    format!("+ UNIT={unit} _UID=0"),
                    format!("+ OBJECT_SYSTEMD_UNIT={unit} _UID=0"),
                    format!("+ COREDUMP_UNIT={unit} _UID=0"),
                ] {
                    alternative.split(' ').for_each(|part| add(part.to_owned()));
                }
            }
            Place::Unit(_) | Place::Path(_) => {}
        }
        arguments
    }

    async fn read(&mut self, phase: Phase, since: Option<i64>) -> Ended {
        let arguments = self.arguments(phase, since);
        let mut child = match Child::start(&self.follow.program, &arguments) {
            Ok(child) => child,
            Err(error) => return Ended::Missing(error),
        };
        if phase == Phase::Live {
            self.tell(SourceState::Ok, None);
        }
        let mut is_read = phase == Phase::Live;
        let mut quiet = Duration::ZERO;
        loop {
            if self.follow.ledger.uncommitted() >= AHEAD {
                // The pipe fills, journalctl waits, the journal keeps the entries.
                tokio::time::sleep(Duration::from_millis(50)).await;
                if self.shutdown.is_cancelled() {
                    break;
                }
                continue;
            }
            let wait = tokio::time::timeout(SILENCE, child.next_line());
            let Some(line) = self.shutdown.run_until_cancelled(wait).await else { break };
            match line {
                Ok(Ok(Some(line))) => {
                    quiet = Duration::ZERO;
                    // What is caught up with may be long: it is read from its first entry on.
                    if !is_read {
                        is_read = true;
                        self.tell(SourceState::Ok, None);
                    }
                    self.take(line.bytes, line.dropped);
                    if self.turn.lines >= BATCH || line.last {
                        self.deliver();
                    }
                }
                Ok(Ok(None) | Err(_)) => {
                    self.deliver();
                    return child.end().await;
                }
                Err(_) => {
                    self.feed.flush(&self.follow.sink);
                    self.deliver();
                    quiet += SILENCE;
                    if quiet >= WATCHDOG {
                        child.kill().await;
                        return Ended::Silent;
                    }
                }
            }
        }
        self.deliver();
        child.kill().await;
        Ended::Silent
    }

    /// Takes an entry, unless it is the last one of before.
    fn take(&mut self, line: &[u8], dropped: u64) {
        let cursor = field(line, b"\"__CURSOR\":\"");
        if cursor.is_some() && cursor == self.cursor {
            return;
        }
        self.turn.lines += 1;
        self.turn.bytes += line.len() as u64 + dropped + 1;
        self.turn.dropped += dropped;
        self.turn.lost += refused(line);
        if cursor.is_some() {
            self.cursor = cursor;
        }
        let number = self.number;
        self.number += 1;
        if dropped == 0 {
            let mut writer = self.follow.sink.window.write();
            self.feed.push(&self.follow.sink, &mut writer, line, number, false);
        }
    }

    /// After a restart: what was said before is found again, and not counted again.
    async fn read_again(&mut self) {
        let arguments = self.arguments(Phase::Again, None);
        let Ok(mut child) = Child::start(&self.follow.program, &arguments) else { return };
        let mut lines = Vec::new();
        let mut bytes = 0;
        while let Some(Ok(Some(line))) = self.shutdown.run_until_cancelled(child.next_line()).await
        {
            bytes += line.bytes.len();
            if bytes > 8 << 20 {
                break;
            }
            if line.dropped == 0 {
                lines.push(line.bytes.to_vec());
            }
        }
        child.kill().await;
        let first = self.number.saturating_sub(lines.len() as u64).max(1);
        let mut writer = self.follow.sink.window.write();
        for (number, line) in (first..).zip(lines.iter().rev()) {
            self.feed.push(&self.follow.sink, &mut writer, line, number, false);
        }
    }

    fn deliver(&mut self) {
        self.feed.pause(&mut self.follow.sink.window.write());
        let told = self.feed.told();
        if self.turn.is_empty() && (told == self.told || self.cursor.is_none()) {
            return;
        }
        self.told = told;
        let mut turn = std::mem::take(&mut self.turn);
        turn.moved.push(Checkpoint {
            tag: self.tag,
            line: self.number.cast_signed(),
            told: told.cast_signed(),
            cursor: self.cursor.clone(),
            updated_at: clock::now(),
            ..Checkpoint::default()
        });
        self.follow.ledger.with(self.follow.source, |entry| entry.apply(turn, clock::now()));
    }

    fn tell(&self, state: SourceState, trouble: Option<Trouble>) {
        self.follow.ledger.with(self.follow.source, |entry| {
            if entry.state != state {
                tracing::debug!(source = entry.source, ?state, ?trouble, "journal");
            }
            (entry.state, entry.trouble) = (state, trouble);
        });
    }
}

fn missing(error: &std::io::Error) -> (SourceState, Trouble) {
    let trouble = Trouble::new(
        format!("journalctl cannot be started: {error}"),
        "install systemd, or take the source out of the configuration",
    );
    (SourceState::Missing, trouble)
}

fn failed(stderr: &str) -> (SourceState, Trouble) {
    let said = stderr.lines().last().unwrap_or("it gave no reason");
    if stderr.contains("insufficient permissions") || stderr.contains("Permission denied") {
        let trouble = Trouble::new(
            format!("journalctl: {said}"),
            "usermod -aG systemd-journal with the user that runs Lux, then restart it",
        );
        return (SourceState::Denied, trouble);
    }
    (SourceState::Missing, Trouble { detail: format!("journalctl: {said}"), remedy: None })
}

/// The value of a field of plain text. Quotes inside of values are escaped, so the
/// key cannot occur in a value.
fn field(line: &[u8], key: &[u8]) -> Option<String> {
    let from = memchr::memmem::find(line, key)? + key.len();
    let len = memchr::memchr(b'"', &line[from..])?;
    String::from_utf8(line[from..from + len].to_vec()).ok()
}

/// How many messages journald says it refused; only journald itself is believed.
fn refused(line: &[u8]) -> u64 {
    let count = field(line, b"\"N_DROPPED\":\"").filter(|_| {
        field(line, b"\"_TRANSPORT\":\"").is_some_and(|transport| transport == "driver")
    });
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The time in a cursor ("s=…;t=5f0…;x=…"), in microseconds since 1970.
fn time_of(cursor: &str) -> Option<i64> {
    let time = cursor.split(';').find_map(|part| part.strip_prefix("t="))?;
    i64::from_str_radix(time, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{field, refused, time_of};

    #[test]
    fn fields_are_found() {
        let line =
            br#"{"MESSAGE":"\"__CURSOR\":\"x\"","__CURSOR":"s=1;t=5f0;x=2","N_DROPPED":"7"}"#;
        assert_eq!(field(line, b"\"__CURSOR\":\"").unwrap(), "s=1;t=5f0;x=2");
        assert_eq!(refused(line), 0);
        assert_eq!(refused(br#"{"_TRANSPORT":"driver","N_DROPPED":"7"}"#), 7);
        assert_eq!(time_of("s=1;t=5f0;x=2"), Some(0x5f0));
    }
}
