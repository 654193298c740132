//! The bytes of attachments: `attachments/<two letters>/<random name>` in the data directory,
//! readable for nobody else.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;

use super::store;
use crate::{
    app::App,
    error::{Error, Result},
};

/// A file that no row knows of is removed when it is so old: a younger one may be about to be.
const ORPHAN: Duration = Duration::from_hours(1);

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("attachments")
}

/// Where a file lies. Names are ours: 32 hexadecimal digits; for others there is no place.
fn place(data_dir: &Path, name: &str) -> Result<PathBuf> {
    let is_ours = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let two = name.get(30..).filter(|_| is_ours).ok_or_else(super::unknown)?;
    Ok(folder(data_dir).join(two).join(name))
}

/// A file on the disk, which goes away again unless it is kept.
pub(super) struct Written {
    name: String,
    path: PathBuf,
    kept: bool,
}

impl Written {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing is left to do where even that fails: the next sweep finds it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a file under a new name, whole or not at all.
pub(super) async fn write(app: &App, bytes: Bytes) -> Result<Written> {
    // The last digits of a v7 are random, the first the time.
    let name = uuid::Uuid::now_v7().simple().to_string();
    let path = place(&app.config.data_dir, &name)?;
    let write = move || {
        let beside = path.with_extension("part");
        let written = whole(&beside, &path, &bytes);
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.map(|()| Written { name, path, kept: false })
    };
    let written = tokio::task::spawn_blocking(write).await;
    written.map_err(|error| Error::Internal(error.into()))?.map_err(full)
}

fn whole(beside: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    // The name, too, is to survive a power cut.
    fs::File::open(folder)?.sync_all()
}

fn full(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return Error::Unavailable(
            "the disk is full; make room and send the file again".to_owned(),
        );
    }
    error.into()
}

/// The bytes of a file. They lie on the host that took them.
pub(super) async fn read(app: &App, name: &str) -> Result<Vec<u8>> {
    tokio::fs::read(place(&app.config.data_dir, name)?).await.map_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return error.into();
        }
        Error::Unavailable(
            "the file is not on this host: ask the one that took it, or have its data directory \
             restored"
                .to_owned(),
        )
    })
}

/// Removes a file; one that is gone already is fine.
pub(super) async fn remove(app: &App, name: &str) {
    let Ok(path) = place(&app.config.data_dir, name) else { return };
    if let Err(error) = tokio::fs::remove_file(&path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "an attachment was not removed");
    }
}

/// Removes files that no row knows of: of a transaction that did not commit, or a row that was
/// removed elsewhere.
pub async fn sweep(app: &App) -> Result<()> {
    let Ok(mut folders) = tokio::fs::read_dir(folder(&app.config.data_dir)).await else {
        return Ok(());
    };
    while let Some(folder) = folders.next_entry().await? {
        let Ok(mut entries) = tokio::fs::read_dir(folder.path()).await else { continue };
        while let Some(entry) = entries.next_entry().await? {
            let age = entry.metadata().await.ok().and_then(|it| it.modified().ok());
            if !age.is_some_and(|at| at.elapsed().is_ok_and(|it| it > ORPHAN)) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if !store::is_known(&app.db, &name).await?
                && let Err(error) = tokio::fs::remove_file(entry.path()).await
            {
                tracing::warn!(%error, name, "a file of no customer was not removed");
            }
        }
    }
    Ok(())
}
