//! The running side of the logs: starts the readers, keeps what they read, answers.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    checkpoint::{self, Known},
    feed::Sink,
    follow::{self, Followed, Mark},
    journald::{self, Follow},
    ledger::Ledger,
    listen::Listener,
    record::{Kind, Record},
    search::{self, Entry, Page, Position, Query},
    status::SourceStatus,
    tail::{
        Tailer,
        files::{Files, Plan},
        notify::{self, Wake},
    },
    templates::{Counter, Template},
    time::Zone,
    volume::{self, Minute},
    window::Window,
};
use crate::{
    clock,
    config::{Place, Source, SourceKind},
    db::Db,
    error::{Error, Result},
};

/// Bytes before the old position that are read again after a restart, of one file …
const AGAIN: u64 = 256 << 10;
/// … and of all files together.
const AGAIN_ALL: u64 = 32 << 20;

/// How often positions are kept.
const COMMIT: Duration = Duration::from_secs(1);

/// The longest pause between tries while the database is away.
const RETRY_MOST: Duration = Duration::from_secs(5);

/// The live logs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sources: Vec<Source>,
    names: Vec<String>,
    sink: Arc<Sink>,
    ledger: Arc<Ledger>,
    /// Tells positions in answers of this process from those of another.
    epoch: i64,
    /// Since when the database has not taken positions.
    unsaved_since: Arc<Moment>,
    stopped: CancellationToken,
}

/// Ends the thread that reads, also when the runtime ends.
struct StopOnDrop(Arc<Wake>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.tell(|told| told.stop = true);
    }
}

/// A moment that is set and cleared.
#[derive(Debug, Default)]
struct Moment(std::sync::Mutex<Option<DateTime<Utc>>>);

impl Moment {
    fn set(&self, value: Option<DateTime<Utc>>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = value;
    }

    fn get(&self) -> Option<DateTime<Utc>> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What [`Live::for_each`] goes through.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of sources; empty means all.
    pub sources: Vec<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

/// How the readers find their programs; the default is right outside tests.
#[derive(Clone, Debug)]
pub struct Programs {
    pub journalctl: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { journalctl: PathBuf::from("journalctl") }
    }
}

impl Live {
    /// Starts reading the sources; returns at once. Ends when `shutdown` is cancelled;
    /// await [`Live::stopped`] then, before the database is closed.
    ///
    /// `host` names this machine: replicas on other hosts keep positions of their own.
    /// The window of recent records holds about `window_bytes`.
    pub fn start(
        db: Db,
        host: String,
        sources: Vec<Source>,
        window_bytes: usize,
        shutdown: CancellationToken,
    ) -> Self {
        Self::start_with(db, host, sources, window_bytes, shutdown, Programs::default())
    }

    /// [`Live::start`] with other programs.
    pub fn start_with(
        db: Db,
        host: String,
        sources: Vec<Source>,
        window_bytes: usize,
        shutdown: CancellationToken,
        programs: Programs,
    ) -> Self {
        Self::start_heard(db, host, sources, window_bytes, shutdown, programs, None)
    }

    /// [`Live::start_with`] somebody who is told of each record.
    pub fn start_heard(
        db: Db,
        host: String,
        sources: Vec<Source>,
        window_bytes: usize,
        shutdown: CancellationToken,
        programs: Programs,
        listener: Option<Arc<dyn Listener>>,
    ) -> Self {
        let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
        let window = Window::new(names.len(), window_bytes);
        let live = Self(Arc::new(Shared {
            sink: Arc::new(Sink { window, names: names.clone(), listener }),
            ledger: Arc::new(Ledger::new(names.iter().cloned())),
            epoch: clock::now().timestamp_micros(),
            unsaved_since: Arc::default(),
            stopped: CancellationToken::new(),
            sources,
            names,
        }));
        let running = live.clone();
        tokio::spawn(async move {
            running.run(&db, &host, shutdown, programs).await;
            running.0.stopped.cancel();
        });
        live
    }

    /// Reads, and carries the positions to the database, until `shutdown`.
    async fn run(&self, db: &Db, host: &str, shutdown: CancellationToken, programs: Programs) {
        let Some(known) = self.load(db, host, &shutdown).await else { return };
        let commit = Arc::new(Notify::new());
        let readers = TaskTracker::new();
        self.start_readers(known, &programs, &commit, &shutdown, &readers);
        readers.close();
        let mut timer = tokio::time::interval(COMMIT);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                _ = timer.tick(), if pause.is_zero() => {}
                () = commit.notified(), if pause.is_zero() => {}
                () = tokio::time::sleep(pause), if !pause.is_zero() => {}
                () = readers.wait() => break,
            }
            pause = if self.save(db, host).await {
                Duration::ZERO
            } else {
                (pause * 2).clamp(Duration::from_millis(200), RETRY_MOST)
            };
        }
        if !self.save(db, host).await {
            tracing::warn!("the last log positions were not kept; some lines will be read again");
        }
    }

    /// What the database knows, as soon as it answers. `None` if told to stop before.
    async fn load(&self, db: &Db, host: &str, shutdown: &CancellationToken) -> Option<Vec<Known>> {
        let mut known = Vec::new();
        let mut pause = Duration::from_millis(200);
        while let Some(name) = self.0.names.get(known.len()) {
            let loaded = shutdown.run_until_cancelled(checkpoint::load(db, host, name)).await?;
            match loaded {
                Ok(found) => {
                    self.0.ledger.restore(known.len(), &found);
                    known.push(found);
                }
                Err(error) => {
                    tracing::warn!(%error, "log positions cannot be read; waiting");
                    shutdown.run_until_cancelled(tokio::time::sleep(pause)).await?;
                    pause = (pause * 2).min(RETRY_MOST);
                }
            }
        }
        Some(known)
    }

    fn start_readers(
        &self,
        known: Vec<Known>,
        programs: &Programs,
        commit: &Arc<Notify>,
        shutdown: &CancellationToken,
        readers: &TaskTracker,
    ) {
        let files: usize = known.iter().map(|known| known.checkpoints.len()).sum();
        let again = AGAIN.min(AGAIN_ALL / (files.max(1) as u64));
        let mut tailed = Vec::new();
        for (index, (source, known)) in self.0.sources.iter().zip(known).enumerate() {
            let zone = source.timezone.map_or(Zone::Local, Zone::Named);
            if let Place::Path(pattern) = &source.place {
                let kind = kind(source.kind);
                let plan = Plan { source: index, pattern: pattern.clone(), kind, zone, again };
                tailed.push((index, Files::new(plan, known.checkpoints, self.since())));
            } else {
                let follow = Follow {
                    source: index,
                    place: source.place.clone(),
                    zone,
                    program: programs.journalctl.clone(),
                    sink: Arc::clone(&self.0.sink),
                    ledger: Arc::clone(&self.0.ledger),
                };
                readers.spawn(journald::run(follow, known, shutdown.clone()));
            }
        }
        let wake = Arc::new(Wake::default());
        let (watched, watching) = watch::channel(Vec::new());
        readers.spawn(notify::run(watching, Arc::clone(&wake), shutdown.clone()));
        let tailer = Tailer {
            sources: tailed,
            sink: Arc::clone(&self.0.sink),
            ledger: Arc::clone(&self.0.ledger),
            wake: Arc::clone(&wake),
            watched,
            commit: Arc::clone(commit),
        };
        // Not of the pool for short blocking work: it blocks as long as Lux runs.
        let ended = CancellationToken::new();
        let end = ended.clone().drop_guard();
        let thread = std::thread::Builder::new().name("lux-tail".to_owned());
        let spawned = thread.spawn(move || {
            let _end = end;
            tailer.run();
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for reading logs; they are not read");
            return;
        }
        let shutdown = shutdown.clone();
        let stop = StopOnDrop(wake);
        readers.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => drop(stop),
                () = ended.cancelled() => {
                    tracing::error!("the thread that reads logs ended by a fault");
                }
            }
            ended.cancelled().await;
        });
    }

    /// When reading was asked for. What is made later is read, however long it takes
    /// until the readers run.
    fn since(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.0.epoch.unsigned_abs())
    }

    /// Carries to the database what changed; false if it did not take it.
    async fn save(&self, db: &Db, host: &str) -> bool {
        let (changes, amounts) = self.0.ledger.take();
        if changes.is_empty() {
            return true;
        }
        // What was told of before these positions is put away before they are kept.
        let told = match &self.0.sink.listener {
            Some(listener) => listener.keep().await,
            None => Ok(()),
        };
        let saved = match told {
            Ok(()) => checkpoint::save(db, host, &changes).await,
            Err(error) => Err(error),
        };
        match saved {
            Ok(()) => {
                self.0.ledger.taken(&amounts);
                self.0.unsaved_since.set(None);
                true
            }
            Err(error) => {
                if self.0.unsaved_since.get().is_none() {
                    tracing::warn!(%error, "log positions cannot be kept; trying again");
                    self.0.unsaved_since.set(Some(clock::now()));
                }
                self.0.ledger.put_back(changes);
                false
            }
        }
    }

    /// Each source as it is now, in the order of the configuration.
    pub fn status(&self) -> Vec<SourceStatus> {
        let entries = self.0.ledger.lock();
        let describe = |(source, entry): (&Source, &super::ledger::Entry)| SourceStatus {
            name: source.name.clone(),
            app: source.app.clone(),
            path: match &source.place {
                Place::Path(path) => path.clone(),
                Place::Unit(unit) => unit.clone(),
                Place::Directory(path) => path.display().to_string(),
            },
            state: entry.state,
            files: entry.files,
            lines: entry.totals.lines,
            bytes: entry.totals.bytes,
            dropped: entry.totals.dropped_bytes,
            lost: entry.totals.lost,
            skipped: entry.skipped,
            position: entry.position,
            cursor: entry.cursor.clone(),
            lag: entry.lag,
            last_line_at: entry.totals.last_line_at,
            detail: entry.trouble.as_ref().map(|trouble| trouble.detail.clone()),
            remedy: entry.trouble.as_ref().and_then(|trouble| trouble.remedy.clone()),
        };
        self.0.sources.iter().zip(entries.iter()).map(describe).collect()
    }

    /// Since when the database has not taken the positions; `None` if all is well.
    pub fn unsaved_since(&self) -> Option<DateTime<Utc>> {
        self.0.unsaved_since.get()
    }

    /// Searches the window; at most [`search::MAX_LIMIT`] records.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown source or a cursor from before a restart.
    pub fn search(&self, query: &Query) -> Result<Page> {
        let limit = if query.limit == 0 { 50 } else { query.limit.min(search::MAX_LIMIT) };
        self.gather(query, limit)
    }

    /// [`Live::search`] for up to `most` records at once: for who takes them away as a file.
    pub fn gather(&self, query: &Query, most: usize) -> Result<Page> {
        let segments = |at| self.0.sink.window.segments(at);
        search::search(&self.0.names, segments, query, self.0.epoch, most)
    }

    /// Where a record stands in the order of answers: a search may go on from it.
    pub fn position(&self, entry: &Entry) -> Position {
        Position { at: entry.at.timestamp_micros(), seq: entry.seq, epoch: self.0.epoch }
    }

    /// Before the first record of a time.
    pub fn position_at(&self, at: DateTime<Utc>) -> Position {
        Position { at: at.timestamp_micros(), seq: 0, epoch: self.0.epoch }
    }

    /// Where who follows from now on begins.
    pub fn mark(&self) -> Mark {
        Mark::new(self.0.epoch, self.0.sink.window.newest())
    }

    /// What was said since a mark, oldest first: the newest `most` that the query wants.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown source.
    pub fn said_since(&self, mark: &Mark, query: &Query, most: usize) -> Result<Followed> {
        follow::since(&self.0.names, &self.0.sink.window, self.0.epoch, mark, query, most)
    }

    /// How much was said in each of `minutes` minutes from a time on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown source.
    pub fn volume(
        &self,
        query: &Query,
        from: DateTime<Utc>,
        minutes: usize,
    ) -> Result<Vec<Minute>> {
        let segments = |at| self.0.sink.window.segments(at);
        volume::volume(&self.0.names, segments, query, from, minutes)
    }

    /// When the oldest record was written that the window still holds of these sources; none
    /// named means all.
    pub fn oldest(&self, sources: &[String]) -> Option<DateTime<Utc>> {
        let chosen = search::choose(&self.0.names, sources).ok()?;
        let first = |at: usize| self.0.sink.window.segments(at).first()?.metas.first().copied();
        let at = chosen.into_iter().filter_map(first).map(|meta| meta.at).min()?;
        DateTime::from_timestamp_micros(at)
    }

    /// The record `id` with up to `each_side` records of its file before and after it,
    /// oldest first.
    pub fn around(&self, id: &str, each_side: usize) -> Result<Vec<Entry>> {
        search::around(&self.0.names, |at| self.0.sink.window.segments(at), id, each_side)
            .ok_or(Error::NotFound("log record"))
    }

    /// Goes through the window, source by source, oldest first; `each` is given the
    /// source's name and file. What is read meanwhile is not seen.
    pub fn for_each(
        &self,
        selection: &Selection,
        each: &mut dyn FnMut(&str, Option<&str>, &Record<'_>),
    ) -> Result<()> {
        let since = selection.since.map_or(i64::MIN, |since| since.timestamp_micros());
        let until = selection.until.map_or(i64::MAX, |until| until.timestamp_micros());
        for source in search::choose(&self.0.names, &selection.sources)? {
            let name = &self.0.names[source];
            for segment in self.0.sink.window.segments(source) {
                if segment.latest < since {
                    continue;
                }
                for (index, meta) in segment.metas.iter().enumerate() {
                    if (since..=until).contains(&meta.at)
                        && let Some(record) = segment.record(index)
                    {
                        let file = segment.stream(meta).and_then(|stream| stream.path.as_deref());
                        each(name, file, &record);
                    }
                }
            }
        }
        Ok(())
    }

    /// What is said how often, most frequent first.
    pub fn templates(&self, selection: &Selection, most: usize) -> Result<Vec<Template>> {
        let mut counter = Counter::default();
        self.for_each(selection, &mut |source, _, record| counter.add(source, record))?;
        Ok(counter.finish(most))
    }

    /// Whether the query could be answered.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown source.
    pub fn check(&self, query: &Query) -> Result<()> {
        search::choose(&self.0.names, &query.sources).map(drop)
    }

    /// How many records were written in each of the last minutes, the present one last; of what
    /// the window still holds.
    pub fn lines_by_minute(&self, now: DateTime<Utc>, minutes: usize) -> Vec<i64> {
        const MINUTE: i64 = 60_000_000;
        let mut counts = vec![0; minutes];
        let last = now.timestamp_micros().div_euclid(MINUTE);
        let first = last - i64::try_from(minutes).unwrap_or(i64::MAX) + 1;
        for source in 0..self.0.names.len() {
            for segment in self.0.sink.window.segments(source) {
                if segment.latest < first * MINUTE {
                    continue;
                }
                for meta in &segment.metas {
                    let slot = usize::try_from(meta.at.div_euclid(MINUTE) - first).ok();
                    if let Some(count) = slot.and_then(|slot| counts.get_mut(slot)) {
                        *count += 1;
                    }
                }
            }
        }
        counts
    }

    /// Bytes that the window holds.
    pub fn window_bytes(&self) -> usize {
        self.0.sink.window.bytes()
    }

    /// Returns when all readers have ended and the last positions are kept.
    pub async fn stopped(&self) {
        self.0.stopped.cancelled().await;
    }
}

fn kind(kind: SourceKind) -> Kind {
    match kind {
        SourceKind::Auto => Kind::Auto,
        SourceKind::NginxError => Kind::NginxError,
        SourceKind::NginxAccess => Kind::NginxAccess,
        SourceKind::Gunicorn => Kind::Gunicorn,
        SourceKind::Python => Kind::Python,
        SourceKind::Json => Kind::Json,
        SourceKind::Plain => Kind::Plain,
        SourceKind::Journal => Kind::Journal,
        SourceKind::Postgres => Kind::Postgres,
        SourceKind::Redis => Kind::Redis,
        SourceKind::Kernel => Kind::Kernel,
    }
}

/// This machine's name for its own log positions: the machine id, else the host name.
pub fn host_name() -> String {
    static NAME: OnceLock<String> = OnceLock::new();
    let find = || {
        ["/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/hostname"]
            .iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .map(|text| text.trim().to_owned())
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "localhost".to_owned())
    };
    NAME.get_or_init(find).clone()
}
