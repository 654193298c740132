//! What became of each mail, on this machine's disk: written before the database is told, so that
//! a kill -9 in between neither loses a mail nor sends it twice.
//!
//! One file a run, named by its claim, held by a lock as long as the run lives. Plain writes are
//! enough: what the kernel has taken of file and connection survives the process. A line:
//!
//! - `a 7`: the last bytes of mail 7 are about to be handed over,
//! - `h 7`: they were,
//! - `o 7 {…}`: how it ended.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::mail::Witness;

/// The folder in the data directory.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("mail")
}

/// How a mail ended, as far as this run is concerned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(super) enum Outcome {
    Sent {
        told: String,
    },
    /// For good; `hard`: there is no such mailbox.
    Refused {
        told: String,
        hard: bool,
    },
    /// To be tried again then.
    Later {
        told: String,
        due: chrono::DateTime<chrono::Utc>,
    },
    /// It may have been sent.
    Uncertain {
        told: String,
    },
    /// Not to be sent to this contact any more.
    Skipped {
        told: String,
    },
    /// It was not begun.
    Back,
}

/// The journal of a run.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    pub(super) fn begin(folder: &Path, claim: i64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{claim}.journal"));
        let beside = folder.join(format!("{claim}.new"));
        let file = File::options().append(true).create_new(true).open(&beside)?;
        file.lock()?;
        // Under its name it is never without its lock: an unlocked one is of a run that ended.
        fs::rename(&beside, &path)?;
        Ok(Self { file, path })
    }

    pub(super) fn ended(&self, mail: i64, outcome: &Outcome) {
        let text = serde_json::to_string(outcome).unwrap_or_default();
        if let Err(error) = self.line(&format!("o {mail} {text}\n")) {
            // The database is told as well; only a kill before that would leave a question.
            tracing::error!(%error, mail, "the journal of sent mails cannot be written");
        }
    }

    fn line(&self, text: &str) -> io::Result<()> {
        (&self.file).write_all(text.as_bytes())
    }

    /// Everything in it stands in the database.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

impl Witness for Journal {
    fn about_to(&self, mail: i64) -> io::Result<()> {
        self.line(&format!("a {mail}\n"))
    }

    fn handed_over(&self, mail: i64) {
        if let Err(error) = self.line(&format!("h {mail}\n")) {
            tracing::error!(%error, mail, "the journal of sent mails cannot be written");
        }
    }
}

/// A journal whose run has ended without clearing it away, held against others.
pub(super) struct Left {
    pub(super) claim: i64,
    pub(super) fates: BTreeMap<i64, Outcome>,
    path: PathBuf,
    _held: File,
}

impl Left {
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Whether the journal of a claim is here.
pub(super) fn is_here(folder: &Path, claim: i64) -> bool {
    folder.join(format!("{claim}.journal")).exists()
}

/// The claims of all journals that are here.
pub(super) fn claims(folder: &Path) -> Vec<i64> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let claim = |entry: fs::DirEntry| {
        entry.file_name().to_str()?.strip_suffix(".journal")?.parse::<i64>().ok()
    };
    entries.flatten().filter_map(claim).collect()
}

/// Reads the journal of a claim; `None` while its run lives, or where it has gone.
pub(super) fn open(folder: &Path, claim: i64) -> io::Result<Option<Left>> {
    let path = folder.join(format!("{claim}.journal"));
    let file = match File::options().read(true).append(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if !path.exists() {
        // Whoever held it has just cleared it away.
        return Ok(None);
    }
    let mut fates = BTreeMap::new();
    for line in BufReader::new(&file).split(b'\n') {
        let line = line?;
        let read = std::str::from_utf8(&line).ok().and_then(read);
        // A line that was cut short tells of something that was not done yet.
        if let Some((mail, outcome)) = read {
            fates.insert(mail, outcome);
        }
    }
    Ok(Some(Left { claim, fates, path, _held: file }))
}

fn read(line: &str) -> Option<(i64, Outcome)> {
    let (kind, rest) = line.split_once(' ')?;
    let (mail, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mail = mail.parse().ok()?;
    let outcome = match kind {
        "a" => Outcome::Uncertain {
            told: "Lux was ended in the moment of handing it over: whether it was sent is not \
                   known"
                .to_owned(),
        },
        "h" => Outcome::Sent { told: "handed over, the answer was not seen".to_owned() },
        "o" => serde_json::from_str(rest).ok()?,
        _ => return None,
    };
    Some((mail, outcome))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Journal, Outcome, claims, open};
    use crate::mail::Witness;

    #[test]
    fn what_a_killed_run_leaves_is_read_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::begin(folder.path(), 42).unwrap();
        let later = Outcome::Later { told: "450 busy".to_owned(), due: crate::clock::now() };
        for mail in 1..=4 {
            journal.about_to(mail).unwrap();
        }
        for mail in 2..=4 {
            journal.handed_over(mail);
        }
        journal.ended(3, &Outcome::Sent { told: "250 ok".to_owned() });
        journal.ended(4, &later);
        journal.file.try_clone().unwrap().write_all(b"o 2 {\"is\":\"ref").unwrap();
        assert_eq!(claims(folder.path()), [42]);
        assert!(open(folder.path(), 42).unwrap().is_none(), "its run lives");
        drop(journal);
        let left = open(folder.path(), 42).unwrap().unwrap();
        let fate = |mail| &left.fates[&mail];
        assert!(matches!(fate(1), Outcome::Uncertain { .. }));
        assert!(matches!(fate(2), Outcome::Sent { told } if told.contains("not seen")));
        assert_eq!(fate(3), &Outcome::Sent { told: "250 ok".to_owned() });
        assert_eq!(fate(4), &later);
        assert_eq!(left.fates.len(), 4);
        assert!(open(folder.path(), 42).unwrap().is_none(), "held by one");
        left.remove().unwrap();
        assert!(open(folder.path(), 42).unwrap().is_none());
    }
}
