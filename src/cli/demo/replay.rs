//! Recordings of real faults, written line by line as if they happened now.

use std::{fs, io::Write, path::Path, time::Duration};

use rust_embed::Embed;

#[derive(Embed)]
#[folder = "logs-fixtures/"]
#[include = "07/*.log"]
#[include = "07/gunicorn.*"]
#[include = "11/*.log"]
#[include = "11/gunicorn.*"]
#[include = "11/journal.txt"]
struct Recordings;

/// A recording and the application it is told of.
pub(super) struct Recording {
    pub(super) app: &'static str,
    folder: &'static str,
    /// What the operator notices; the cause is for Lux to find.
    pub(super) story: &'static str,
}

pub(super) const RECORDINGS: &[Recording] = &[
    Recording {
        app: "reports",
        folder: "07",
        story: "The reports page answers 502 now and then, and gunicorn speaks of memory",
    },
    Recording {
        app: "wiki",
        folder: "11",
        story: "After a deploy the wiki does not come up; its service restarts again and again",
    },
];

/// Lines that are written at once.
const TOGETHER: usize = 4;

/// The names of a recording's files.
pub(super) fn files(recording: &Recording) -> Vec<String> {
    let prefix = format!("{}/", recording.folder);
    let mut files: Vec<String> = Recordings::iter()
        .filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned))
        .collect();
    files.sort();
    files
}

/// Appends the recording's lines to its files, about `pace` lines a second; returns
/// how many there were.
pub(super) async fn replay(recording: &Recording, folder: &Path, pace: u32) -> anyhow::Result<u64> {
    let target = folder.join(recording.app);
    fs::create_dir_all(&target)?;
    let mut lines = 0;
    for name in files(recording) {
        let embedded = Recordings::get(&format!("{}/{name}", recording.folder));
        let data = embedded.map(|file| file.data).unwrap_or_default();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(target.join(&name))?;
        let all: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').collect();
        for some in all.chunks(TOGETHER) {
            file.write_all(&some.concat())?;
            lines += u64::try_from(some.len())?;
            tokio::time::sleep(Duration::from_secs_f64(4.0 / f64::from(pace))).await;
        }
    }
    Ok(lines)
}
