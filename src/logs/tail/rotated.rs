//! Files that were rotated away: while nobody read, or between two looks.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};

use super::{
    files::{Files, MAX_FILES, new_tag},
    reader::{Reader, born},
    tracked::Tracked,
};
use crate::{
    clock,
    logs::checkpoint::{Checkpoint, FileId},
};

/// For how long after a rotation files are looked for that came and went unseen.
const UNSEEN: Duration = Duration::from_secs(5);

/// How often a folder is listed that changes meanwhile.
const LISTINGS: usize = 10;

/// How much older than it is a file may seem to be: file systems use a coarse clock.
pub(super) const CLOCK_GRAIN: Duration = Duration::from_millis(20);

impl Files {
    /// At the start: files that were rotated away while nobody read.
    pub(super) fn find_rotated(&mut self, present: &HashSet<FileId>) {
        let mut oldest: HashMap<PathBuf, Option<SystemTime>> = HashMap::new();
        for at in std::mem::take(&mut self.known) {
            if at.cursor.is_some() || present.contains(&at.id) {
                continue;
            }
            let path = PathBuf::from(&at.path);
            let Some(reader) = self.find_again(&path, &at) else {
                tracing::info!(path = at.path, "a log that was being read is gone");
                self.ended.push(at.id);
                continue;
            };
            let born = reader.born;
            self.adopt(reader, &path);
            let first = oldest.entry(path).or_insert(born);
            *first = (*first).min(born);
        }
        // Files end in the order in which they were made, so whatever is younger than one
        // that has not ended, and is not known, was never read.
        for (path, born) in oldest {
            self.adopt_younger(&path, born, present);
        }
    }

    /// At the start: copies of logs that were cut while nobody read. Of a log of which nothing
    /// had been read, at the given time, no bytes are known by which the cut would show; but
    /// whatever was copied of it since then is new.
    pub(super) fn find_copies(
        &mut self,
        unread: &[(PathBuf, DateTime<Utc>)],
        present: &HashSet<FileId>,
    ) {
        for (path, since) in unread {
            self.adopt_younger(path, Some((*since).into()), present);
        }
    }

    /// Looks for a file under another name. Names move while a log is rotated, so
    /// what was not found is looked for again.
    fn find_again(&self, path: &Path, at: &Checkpoint) -> Option<Reader> {
        (0..LISTINGS).find_map(|_| {
            let home = siblings(path);
            let (name, _) = home.iter().find(|(_, found)| FileId::of(found) == at.id)?;
            let tag = new_tag(self.plan.source, at.id);
            let reader = Reader::resume(name, at, self.plan.again, tag).ok()?;
            (reader.tag == at.tag).then_some(reader)
        })
    }

    /// While running: files that came and were rotated away since the last look, at
    /// `before`. A folder that changes may not show a file, so it is looked for some
    /// time long.
    pub(super) fn find_unseen(
        &mut self,
        replaced: Vec<PathBuf>,
        before: SystemTime,
        present: &HashSet<FileId>,
    ) {
        let at = clock::instant();
        self.rotated.retain(|_, (last, _)| at.saturating_duration_since(*last) < UNSEEN);
        for path in replaced {
            if self.tracked.iter().any(|t| t.gone.is_some() && t.reader.path == path) {
                self.rotated.entry(path).or_insert((at, before)).0 = at;
            }
        }
        let rotated: Vec<_> =
            self.rotated.iter().map(|(path, (_, since))| (path.clone(), *since)).collect();
        for (path, since) in rotated {
            self.adopt_younger(&path, Some(since), present);
        }
    }

    /// At the first look, of logs that the database does not know: files that came and were
    /// rotated away since reading was asked for, at `since`. Each folder is listed once, for there may be thousands of names.
    pub(super) fn find_unseen_at_first(
        &mut self,
        paths: &[PathBuf],
        since: SystemTime,
        present: &HashSet<FileId>,
    ) {
        let at = clock::instant();
        let from = since.checked_sub(CLOCK_GRAIN);
        let mut young: HashMap<&Path, Vec<OsString>> = HashMap::new();
        for path in paths {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let young = young.entry(folder).or_insert_with(|| {
                siblings(path)
                    .into_iter()
                    .filter(|(_, found)| {
                        born(found) >= from && !present.contains(&FileId::of(found))
                    })
                    .filter_map(|(sibling, _)| Some(sibling.file_name()?.to_owned()))
                    .collect()
            });
            if young.iter().any(|other| is_longer(other, name)) {
                self.rotated.insert(path.clone(), (at, since));
                self.adopt_younger(path, Some(since), present);
            }
        }
    }

    /// Reads the rotated files of `path` that were made after `since` and are not known.
    fn adopt_younger(&mut self, path: &Path, since: Option<SystemTime>, present: &HashSet<FileId>) {
        let name = path.file_name().unwrap_or_default();
        let since = since.and_then(|since| since.checked_sub(CLOCK_GRAIN));
        for _ in 0..LISTINGS {
            let mut unseen = siblings(path);
            unseen.retain(|(sibling, found)| {
                let id = FileId::of(found);
                is_longer(sibling.file_name().unwrap_or_default(), name)
                    && !is_packed(sibling)
                    && born(found) >= since
                    && !present.contains(&id)
                    && !self.done.contains(&(id, born(found)))
                    && !self.tracked.iter().any(|t| t.reader.id == id)
                    && !self.tracked.iter().any(|t| t.reader.begins_like(sibling))
            });
            unseen.sort_by_key(|(_, found)| born(found));
            let mut moved = false;
            for (sibling, found) in unseen {
                let id = FileId::of(&found);
                match Reader::first(&sibling, new_tag(self.plan.source, id)) {
                    Ok(reader) if reader.id == id => self.adopt(reader, path),
                    // It was renamed since it was listed.
                    _ => moved = true,
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Takes up a file that was rotated away from `path`. It goes on under that name, so
    /// that it is finished before its successor, and its own siblings are known by it.
    fn adopt(&mut self, mut reader: Reader, path: &Path) {
        path.clone_into(&mut reader.path);
        self.tracked.push(Tracked::new(reader, Some(clock::instant())));
    }
}

/// The regular files beside `path`. A folder that changes while it is listed may not
/// show all of them, so it is listed until it twice shows the same.
pub(super) fn siblings(path: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let list = || {
        let Some(Ok(entries)) = path.parent().map(fs::read_dir) else { return Vec::new() };
        let mut files: Vec<_> = entries
            .filter_map(Result::ok)
            .take(MAX_FILES)
            .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
            .filter(|(_, found)| found.is_file())
            .collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    };
    let mut files = list();
    for _ in 0..LISTINGS {
        let again = list();
        let same = |((a, x), (b, y)): (&(PathBuf, fs::Metadata), &(PathBuf, fs::Metadata))| {
            a == b && FileId::of(x) == FileId::of(y)
        };
        let settled = files.len() == again.len() && files.iter().zip(&again).all(same);
        files = again;
        if settled {
            break;
        }
    }
    files
}

/// Whether a name is another one with something behind it, as those of rotated files are.
fn is_longer(other: &OsStr, name: &OsStr) -> bool {
    let (other, name) = (other.as_encoded_bytes(), name.as_encoded_bytes());
    other.len() > name.len() && other.starts_with(name)
}

pub(super) fn is_packed(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["gz", "xz", "bz2", "zst", "lz4"].iter().any(|packed| extension == *packed)
}
