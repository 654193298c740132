//! The embedded database: a copy that SQLite itself makes, and that is one again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use secrecy::ExposeSecret;

use super::{beside, known_version, note, sync_folder};
use crate::{config::Config, db::Db};

/// The database's file and what SQLite keeps beside it.
const ENDINGS: [&str; 3] = ["", "-wal", "-shm"];

fn path(config: &Config) -> anyhow::Result<PathBuf> {
    let url = config.database_url.expose_secret();
    let path = url.strip_prefix("sqlite:").unwrap_or(url).trim_start_matches("//");
    let path = path.split('?').next().unwrap_or_default();
    ensure!(!path.is_empty() && path != ":memory:", "a database in memory has no file");
    Ok(path.into())
}

pub(super) async fn make(config: &Config, to: &Path) -> anyhow::Result<()> {
    let path = path(config)?;
    ensure!(path.exists(), "there is no database {} yet", path.display());
    let db = Db::open(config.database_url.expose_secret(), 1).await?;
    note(&db, config).await?;
    let copied = db.copy_to(to).await;
    db.close().await;
    copied.with_context(|| format!("cannot write {}", to.display()))?;
    check(to).await.map(drop)
}

/// The version of the tables of a whole database.
async fn check(file: &Path) -> anyhow::Result<Option<i64>> {
    let db = Db::open(&format!("sqlite:{}", file.display()), 1).await?;
    let checked = async {
        let faults = db.faults().await?;
        ensure!(faults.is_empty(), "it is damaged: {}", faults.join("; "));
        Ok(db.newest_applied().await?)
    };
    let checked = checked.await;
    db.close().await;
    checked
}

pub(super) async fn restore(config: &Config, from: &Path, force: bool) -> anyhow::Result<()> {
    let path = path(config)?;
    let shown = path.display();
    if path.exists() && !force {
        bail!(
            "there is a database {shown} already; with --force the backup takes its place, and it \
             is kept as {shown}.replaced"
        );
    }
    let new = beside(&path, ".restoring");
    remove(&new)?;
    let ready = async {
        fs::copy(from, &new).with_context(|| format!("cannot write {}", new.display()))?;
        let version =
            check(&new).await.with_context(|| format!("cannot use {}", from.display()))?;
        known_version(version, from)?;
        fs::File::open(&new)?.sync_all()?;
        anyhow::Ok(())
    };
    if let Err(error) = ready.await {
        remove(&new)?;
        return Err(error);
    }
    let old = beside(&path, ".replaced");
    remove(&old)?;
    for ending in ENDINGS {
        let file = beside(&path, ending);
        if file.exists() {
            fs::rename(file, beside(&old, ending))?;
        }
    }
    fs::rename(&new, &path)?;
    sync_folder(&path)?;
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    for ending in ENDINGS {
        let file = beside(path, ending);
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}
