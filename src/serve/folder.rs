//! The data directory: private, and used by one at a time.

use std::{
    fs::{File, TryLockError},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use anyhow::Context;

/// Makes the data directory; only this user may look into it.
pub fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| {
        format!(
            "cannot make the data directory {}; choose another with --data-dir or LUX_DATA_DIR",
            path.display()
        )
    })?;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "other users may look into the data directory; chmod 700 it"
        );
    }
    Ok(())
}

/// Says to `lux restore` that a server runs on this data directory.
pub(super) fn hold(folder: &Path) -> anyhow::Result<File> {
    let lock = lock_of(folder)?;
    match lock.try_lock_shared() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "a backup is being restored into {}; start Lux when that is done",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Makes sure that no server runs on this data directory, as long as the file is held.
pub fn hold_alone(folder: &Path) -> anyhow::Result<File> {
    let lock = lock_of(folder)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("Lux runs on {}; stop it first (systemctl stop lux)", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn lock_of(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("running.lock");
    let opened = File::options().write(true).create(true).truncate(false).open(&path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}
