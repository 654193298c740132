//! Random things that happen to logs, against a model of what must be read exactly once.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use lux::{
    config::{Place, Source, SourceKind},
    db::Db,
    logs::{Live, Selection, SourceStatus},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use tokio::runtime::{self, Runtime};
use tokio_util::sync::CancellationToken;

use crate::support::until;

/// What may happen next. Where the outcome would depend on whether Lux has looked
/// already (a copy that is cut before any of it was read), the model waits first.
#[derive(Clone, Debug)]
enum Action {
    Line,
    /// Some bytes of a line; what is written next ends it.
    Half,
    /// Longer than what is kept of a line.
    Long,
    /// Not UTF-8.
    Broken,
    /// In the log's own way. Renamed: so many lines are written until the program opens
    /// the new file. Copied and cut, as logrotate's copytruncate does: so many lines are in
    /// the copy alone, for all Lux knows.
    Rotate {
        late: u8,
    },
    Recreate,
    /// Stopped and started; with nothing left to read, or in the midst of it.
    Restart {
        settled: bool,
    },
    /// Ended without a chance to keep anything.
    Kill,
    Settle,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => Just(Action::Line),
        4 => Just(Action::Half),
        1 => Just(Action::Long),
        2 => Just(Action::Broken),
        6 => (0_u8..4).prop_map(|late| Action::Rotate { late }),
        1 => Just(Action::Recreate),
        2 => any::<bool>().prop_map(|settled| Action::Restart { settled }),
        2 => Just(Action::Kill),
        2 => Just(Action::Settle),
    ]
}

/// A program that writes a log.
#[derive(Default)]
struct Program {
    path: PathBuf,
    /// Rotated by copying and cutting it, not by renaming it.
    is_cut: bool,
    file: Option<File>,
    half: bool,
    /// Lux's database has been told of it, or of one that it has rotated away since.
    known: bool,
    /// So many lines of all logs were ended when it was cut last.
    cut_at: usize,
}

impl Program {
    fn write(&mut self, bytes: &[u8]) {
        let open = || File::options().create(true).append(true).open(&self.path).unwrap();
        self.file.get_or_insert_with(open).write_all(bytes).unwrap();
    }
}

/// Lux's reader with a runtime of its own, which can be torn down at any moment.
struct Reader {
    runtime: Runtime,
    db: Db,
    live: Live,
    stop: CancellationToken,
}

struct Model {
    /// First, so that it ends before its folder does.
    reader: Option<Reader>,
    folder: tempfile::TempDir,
    programs: Vec<Program>,
    /// Numbers given to lines, and lines that were ended.
    begun: usize,
    ended: usize,
    /// The first line of this life of the reader.
    first: usize,
    /// So many lines were ended when a log was removed, or was cut for the last time but
    /// one: the database must know of them before the reader is killed, for nobody could
    /// tell any more which of them were counted.
    removed: usize,
    /// Held, so that their inode numbers are not given again.
    removed_files: Vec<File>,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let program =
            |(name, is_cut)| Program { path: logs.join(name), is_cut, ..Program::default() };
        let programs = [("renamed.log", false), ("cut.log", true)].map(program).into();
        let mut model = Self {
            reader: None,
            folder,
            programs,
            begun: 0,
            ended: 0,
            first: 0,
            removed: 0,
            removed_files: Vec::new(),
        };
        model.start();
        model
    }

    fn start(&mut self) {
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let place = Place::Path(self.folder.path().join("logs/*.log").display().to_string());
        let kind = SourceKind::Plain;
        let sources = vec![Source {
            name: "app".into(),
            app: None,
            kind,
            place,
            timezone: None,
            capture: true,
        }];
        let url = format!("sqlite:{}", self.folder.path().join("lux.db").display());
        let stop = CancellationToken::new();
        let (db, live) = runtime.block_on(async {
            let db = Db::connect(&url, 4).await.unwrap();
            // What the one before had begun to commit ends before this begins.
            db.begin().await.unwrap().commit().await.unwrap();
            (db.clone(), Live::start(db, "test".into(), sources, 64 << 20, stop.clone()))
        });
        self.first = self.begun;
        self.reader = Some(Reader { runtime, db, live, stop });
    }

    fn status(&self) -> SourceStatus {
        self.reader.as_ref().unwrap().live.status().remove(0)
    }

    /// Waits until all lines are read, and sees that none is read twice.
    fn settle(&mut self) {
        let reader = self.reader.as_ref().unwrap();
        let all = i64::try_from(self.ended).unwrap();
        let what = format!("{all} lines are read");
        reader.runtime.block_on(until(&what, async || (self.status().lines >= all).then_some(())));
        let mut seen = BTreeMap::<usize, usize>::new();
        reader
            .live
            .for_each(&Selection::default(), &mut |_, _, record| {
                for text in record.text.lines() {
                    let number = text.strip_prefix("line ").and_then(|rest| rest.split(' ').next());
                    *seen.entry(number.unwrap().parse().unwrap()).or_default() += 1;
                }
            })
            .unwrap();
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "read more than once: {twice:?}");
        assert_eq!(self.status().lines, all);
        let open = self.begun - self.ended;
        let lost: Vec<_> =
            (self.first..self.begun).filter(|number| !seen.contains_key(number)).collect();
        assert!(lost.len() <= open, "of lines since {}: not read: {lost:?}", self.first);
    }

    /// Waits until the database knows of the log, if it never did: what was rotated away
    /// before Lux can have kept anything of it is history to the next start.
    fn acquaint(&mut self, at: usize) {
        let (program, reader) = (&mut self.programs[at], self.reader.as_ref().unwrap());
        if program.known {
            return;
        }
        let file = fs::metadata(&program.path).unwrap().ino().cast_signed();
        let known = async || {
            let sql = "select count(*) from log_checkpoint where ino = $1";
            let found: i64 = reader.db.query(sql).bind(file).scalar().await.unwrap();
            (found > 0).then_some(())
        };
        reader.runtime.block_on(until("the log is known", known));
        program.known = true;
    }

    /// Waits until the database counts the lines of logs that were removed.
    fn keep(&mut self) {
        let removed = i64::try_from(std::mem::take(&mut self.removed)).unwrap();
        let reader = self.reader.as_ref().unwrap();
        let kept = async || {
            let sql = "select coalesce(max(lines), 0) from log_source";
            let lines: i64 = reader.db.query(sql).scalar().await.unwrap();
            (lines >= removed).then_some(())
        };
        reader.runtime.block_on(until("the lines of removed logs are counted", kept));
    }

    fn end_half(&mut self, at: usize) {
        if std::mem::take(&mut self.programs[at].half) {
            self.programs[at].write(b" and its end\n");
            self.ended += 1;
        }
    }

    fn say(&mut self, at: usize, rest: &[u8]) {
        self.end_half(at);
        let number = self.begun;
        self.programs[at].write(&[format!("line {number} ").as_bytes(), rest].concat());
        self.begun += 1;
        if rest.ends_with(b"\n") {
            self.ended += 1;
        } else {
            self.programs[at].half = true;
        }
    }

    fn copy_and_cut(&mut self, at: usize, unread: u8) {
        self.say(at, b"before the copy\n");
        self.acquaint(at);
        self.settle();
        for _ in 0..unread {
            self.say(at, b"only in the copy\n");
        }
        let path = self.programs[at].path.clone();
        let first = PathBuf::from(format!("{}.1", path.display()));
        if first.exists() {
            shift(&first);
        }
        self.removed = self.removed.max(self.programs[at].cut_at);
        fs::copy(&path, first).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        if unread > 0 {
            self.settle();
        }
        self.say(at, b"first\n");
        self.settle();
        self.programs[at].cut_at = self.ended;
    }

    fn act(&mut self, at: usize, action: &Action) {
        match action {
            Action::Line => self.say(at, b"whole\n"),
            Action::Half => self.say(at, b"hal"),
            Action::Long => self.say(at, &[b"x".repeat(100_000).as_slice(), b"\n"].concat()),
            Action::Broken => self.say(at, b"\xff\xfe\0\r\n"),
            Action::Rotate { late: unread } if self.programs[at].is_cut => {
                self.copy_and_cut(at, *unread);
            }
            Action::Rotate { late } => {
                self.say(at, b"before the rotation\n");
                self.acquaint(at);
                shift(&self.programs[at].path);
                for _ in 0..*late {
                    self.say(at, b"after the rotation\n");
                }
                self.programs[at].file = None;
                self.say(at, b"first\n");
            }
            Action::Recreate => {
                self.end_half(at);
                self.settle();
                if let Some(file) = self.programs[at].file.take() {
                    self.removed_files.push(file);
                    fs::remove_file(&self.programs[at].path).unwrap();
                    self.removed = self.ended;
                    self.programs[at].known = false;
                }
            }
            Action::Restart { settled } => {
                if *settled {
                    self.settle();
                }
                let Reader { runtime, db, live, stop } = self.reader.take().unwrap();
                stop.cancel();
                runtime.block_on(live.stopped());
                drop((db, live));
                drop(runtime);
                self.start();
                if !settled {
                    self.settle();
                }
            }
            Action::Kill => {
                self.keep();
                let Reader { runtime, db, live, .. } = self.reader.take().unwrap();
                drop((db, live));
                drop(runtime);
                self.start();
                self.settle();
            }
            Action::Settle => self.settle(),
        }
    }
}

/// Shifts `app.log.1` to `app.log.2` and so on, as logrotate does.
fn shift(path: &Path) {
    let next = match path.extension().and_then(|last| last.to_str()?.parse::<u32>().ok()) {
        Some(number) => path.with_extension((number + 1).to_string()),
        None => PathBuf::from(format!("{}.1", path.display())),
    };
    if next.exists() {
        shift(&next);
    }
    fs::rename(path, next).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        max_shrink_time: 120_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/tail_model.txt",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_to_logs_each_line_is_read_once(
        steps in prop::collection::vec((0_usize..2, action()), 1..40),
    ) {
        let mut model = Model::new();
        for (at, action) in &steps {
            model.act(*at, action);
        }
        model.settle();
        model.act(0, &Action::Restart { settled: true });
        model.settle();
    }
}
