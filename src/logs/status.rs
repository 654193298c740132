//! How each source is doing, as `/api/diagnostics/logs/sources` tells it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Whether a source can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    Ok,
    /// There is nothing at its place yet; it is picked up when it comes.
    Missing,
    /// This user may not read it.
    Denied,
    /// Nobody reads it now: before the start, after the end, or while the database
    /// is away and enough was read ahead.
    #[default]
    Stopped,
}

/// One source at one moment.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SourceStatus {
    pub name: String,
    pub app: Option<String>,
    /// Path, glob, unit or directory, as configured.
    pub path: String,
    pub state: SourceState,
    /// Files that are being read.
    pub files: usize,
    /// Lines (of a journal: entries), each counted once over the source's life.
    pub lines: i64,
    pub bytes: i64,
    /// Bytes of lines longer than is kept.
    pub dropped: i64,
    /// Entries that journald refused because there were too many.
    pub lost: i64,
    /// Bytes that were passed over because the file was very long when first seen.
    pub skipped: u64,
    /// Byte offset up to which lines were read (summed over the files of a glob).
    pub position: u64,
    /// The journal's name of the last entry read.
    pub cursor: Option<String>,
    /// Bytes that wait to be read.
    pub lag: u64,
    pub last_line_at: Option<DateTime<Utc>>,
    /// What is wrong, and what to do about it.
    pub detail: Option<String>,
    pub remedy: Option<String>,
}

/// Why a source cannot be read, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) detail: String,
    pub(super) remedy: Option<String>,
}

impl Trouble {
    pub(super) fn new(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { detail: detail.into(), remedy: Some(remedy.into()) }
    }

    /// Of a file that could not be opened or looked at.
    pub(super) fn of(path: &Path, error: &io::Error) -> (SourceState, Self) {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (
                SourceState::Missing,
                Self::new(
                    format!("{} does not exist", path.display()),
                    "nothing, if the program has not logged yet; else correct the path",
                ),
            ),
            io::ErrorKind::PermissionDenied => (SourceState::Denied, Self::denied(path)),
            _ => (
                SourceState::Missing,
                Self { detail: format!("{}: {error}", path.display()), remedy: None },
            ),
        }
    }

    fn denied(path: &Path) -> Self {
        let user = name_of("/etc/passwd", rustix::process::geteuid().as_raw());
        // The first folder, or else the file, that keeps this user out.
        let obstacle = path
            .ancestors()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .find(|part| if part.is_dir() { fs::read_dir(part).is_err() } else { *part == path })
            .unwrap_or(path);
        let detail = format!("the user {user} may not read {}", obstacle.display());
        let remedy = match fs::metadata(obstacle) {
            Ok(found) if found.permissions().mode() & 0o040 != 0 && found.gid() != 0 => {
                let group = name_of("/etc/group", found.gid());
                format!("usermod -aG {group} {user}, then restart Lux")
            }
            _ => format!("setfacl -m u:{user}:rX {}", obstacle.display()),
        };
        Self::new(detail, remedy)
    }
}

/// The name of a user or group, else its number.
fn name_of(file: &str, id: u32) -> String {
    let id = id.to_string();
    let known = fs::read_to_string(file).unwrap_or_default();
    let line = known.lines().find(|line| line.split(':').nth(2) == Some(&id));
    line.and_then(|line| line.split(':').next()).map_or(id.clone(), str::to_owned)
}
