//! Files on their way in: written to the data directory as they come, readable for nobody else.

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;
use chrono::TimeDelta;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::{
    Import, Imports, Settings, mapping,
    read::{self, Utf8},
    store,
};
use crate::{
    auth::Caller,
    clock,
    error::{Error, Result},
    logs,
};

/// The largest file, in bytes.
pub const MAX_FILE: u64 = 1 << 30;
/// How long the next piece of a file may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a file waits for somebody to do something with it, and a rejected row to be looked at.
const UNUSED: TimeDelta = TimeDelta::days(7);
const REJECTED: TimeDelta = TimeDelta::days(30);

/// Where they are.
pub(super) fn of(data_dir: &Path) -> PathBuf {
    data_dir.join("imports")
}

/// Removes a file; one that is gone already is fine.
pub(super) async fn remove(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "an imported file was not removed");
    }
}

/// A file that goes away unless it is kept.
struct Written {
    path: PathBuf,
    kept: bool,
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing is left to do where even that fails: the next sweep finds it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Imports {
    /// Takes a file in, piece by piece, and looks at its begin.
    pub async fn take<E: std::fmt::Display>(
        &self,
        caller: &Caller,
        name: &str,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Import> {
        let _turn = self.uploads.try_acquire().map_err(|_| {
            Error::Unavailable("several files are being taken in; try again in a minute".to_owned())
        })?;
        let folder = of(&self.app.config.data_dir);
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
        let file = format!("{}.csv", uuid::Uuid::now_v7().simple());
        let mut written = Written { path: folder.join(&file), kept: false };
        let (size, begin, is_utf8) = write(&written.path, pieces).await?;
        if size == 0 {
            return Err(Error::invalid("the file is empty"));
        }
        let path = written.path.clone();
        let settings = tokio::task::spawn_blocking(move || look(&path, &begin, is_utf8));
        let settings = settings.await.map_err(|error| Error::Internal(error.into()))??;
        let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
        let name = if name.trim().is_empty() { "contacts.csv".to_owned() } else { name };
        let new = store::New {
            organization: caller.organization,
            name: &name,
            file: &file,
            host: &logs::host_name(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            settings: &settings,
            made_by: &caller.author(),
        };
        let id = store::insert(&self.app.db, new, clock::now()).await?;
        written.kept = true;
        self.find(caller.organization, id).await
    }

    /// Removes files that nobody did anything with, and rejected rows that are old.
    pub(super) async fn sweep(&self) -> Result<()> {
        let now = clock::now();
        store::give_up(&self.app.db, now - UNUSED, now).await?;
        store::forget_rejected(&self.app.db, now - REJECTED).await?;
        let folder = of(&self.app.config.data_dir);
        let Ok(mut entries) = tokio::fs::read_dir(&folder).await else { return Ok(()) };
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let age = entry.metadata().await.ok().and_then(|it| it.modified().ok());
            // One that is being written has no row yet.
            let old = age.is_some_and(|at| at.elapsed().is_ok_and(|it| it > PATIENCE * 120));
            if old && !store::is_wanted(&self.app.db, &name).await? {
                remove(&entry.path()).await;
            }
        }
        Ok(())
    }
}

/// Writes it down; gives its size, its begin and whether it is UTF-8.
async fn write<E: std::fmt::Display>(
    path: &Path,
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> Result<(u64, Vec<u8>, bool)> {
    let mut options = tokio::fs::OpenOptions::new();
    let file = options.create_new(true).write(true).mode(0o600).open(path).await?;
    let mut file = tokio::io::BufWriter::with_capacity(256 << 10, file);
    let (mut size, mut begin, mut utf8) = (0_u64, Vec::new(), Utf8::default());
    let mut pieces = std::pin::pin!(pieces);
    loop {
        let piece = tokio::time::timeout(PATIENCE, pieces.next()).await.map_err(|_| {
            Error::invalid("the file did not arrive whole: nothing came for 30 s; send it again")
        })?;
        let Some(piece) = piece else { break };
        let piece = piece.map_err(|error| {
            Error::invalid(format!("the file did not arrive whole: {error}; send it again"))
        })?;
        size += piece.len() as u64;
        if size > MAX_FILE {
            return Err(Error::TooLarge(
                "the file is larger than 1 GiB; bring it in parts".to_owned(),
            ));
        }
        utf8.add(&piece);
        if begin.len() < 4 {
            begin.extend(piece.iter().take(4));
        }
        file.write_all(&piece).await.map_err(full)?;
    }
    file.flush().await.map_err(full)?;
    Ok((size, begin, utf8.is_utf8()))
}

fn full(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return Error::Unavailable(
            "the disk is full; make room and send the file again".to_owned(),
        );
    }
    error.into()
}

/// What a file seems to be.
fn look(path: &Path, begin: &[u8], is_utf8: bool) -> Result<Settings> {
    let encoding = read::guess_encoding(begin, is_utf8);
    if !read::ENCODINGS.contains(&encoding) {
        return Err(Error::invalid(
            "the file is in an encoding that is not read; save it as UTF-8",
        ));
    }
    let delimiter = read::guess_delimiter(path, encoding);
    let first = read::first(path, encoding, delimiter, 1)?;
    let Some(first) = first.first() else {
        return Err(Error::invalid("the file has no rows"));
    };
    if first.iter().any(|cell| cell.contains('\0')) {
        return Err(Error::invalid(
            "the file is no table of text (CSV); save the spreadsheet as CSV and bring that",
        ));
    }
    let header = mapping::is_header(first);
    Ok(Settings {
        encoding: encoding.name().to_owned(),
        delimiter,
        header,
        columns: mapping::columns(first, header),
        tags: Vec::new(),
        source: String::new(),
        consent: None,
    })
}
