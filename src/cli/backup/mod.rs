//! `lux backup` and `lux restore`: the whole database as one file. The master keys are not in
//! it: who finds the file must not be able to open what is sealed in it.

mod postgres;
mod sqlite;

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::{
    auth::{OrganizationId, audit},
    config::{Config, KeyOrigin},
    db::{self, Db},
    seal, serve,
};

/// Write the whole database to a file, while Lux runs or not
///
/// The master keys are not in it: back them up apart from it.
#[derive(clap::Args)]
pub(super) struct Backup {
    /// The file to make; must not be there yet
    file: PathBuf,
}

/// Bring a backup back; Lux must not run
#[derive(clap::Args)]
pub(super) struct Restore {
    /// What `lux backup` made
    file: PathBuf,
    /// Replace the database that is there
    #[arg(long)]
    force: bool,
}

/// What a backup file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    fn of_database(config: &Config) -> Self {
        let url = config.database_url.expose_secret();
        if url.starts_with("sqlite:") { Self::Sqlite } else { Self::Postgres }
    }

    /// By the file's first bytes.
    fn of_file(file: &Path) -> anyhow::Result<Self> {
        let mut start = Vec::new();
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        opened.take(16).read_to_end(&mut start)?;
        if start.starts_with(b"SQLite format 3\0") {
            return Ok(Self::Sqlite);
        }
        ensure!(start.starts_with(b"PGDMP"), "{} is no backup of Lux", file.display());
        Ok(Self::Postgres)
    }
}

pub(super) async fn make(args: Backup, config: &Config) -> anyhow::Result<()> {
    let file = args.file;
    let shown = file.display();
    ensure!(!file.exists(), "{shown} is there already; name another file, or remove it");
    let part = beside(&file, ".part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot write {}", part.display()));
        }
        _ => {}
    }
    let made = match Kind::of_database(config) {
        Kind::Sqlite => sqlite::make(config, &part).await,
        Kind::Postgres => postgres::make(config, &part).await,
    };
    if let Err(error) = made {
        // Half a backup is none.
        if let Err(error) = fs::remove_file(&part) {
            tracing::debug!(%error, "nothing was left behind");
        }
        return Err(error);
    }
    let written = File::open(&part)?;
    written.sync_all()?;
    let bytes = written.metadata()?.len();
    fs::rename(&part, &file)?;
    sync_folder(&file)?;
    let mut out = super::out();
    writeln!(out, "{shown}: {bytes} bytes")?;
    let keys = match config.key_origin() {
        KeyOrigin::Environment(_) => "LUX_MASTER_KEY".to_owned(),
        KeyOrigin::Own(path) | KeyOrigin::Given(path) | KeyOrigin::Credential(path) => {
            path.display().to_string()
        }
    };
    writeln!(
        out,
        "the master key is not in it: back up {keys} apart from this file; without it the \
         secrets in the backup stay sealed"
    )?;
    Ok(())
}

pub(super) async fn restore(args: Restore, config: &Config) -> anyhow::Result<()> {
    let kind = Kind::of_file(&args.file)?;
    let shown = args.file.display();
    match (kind, Kind::of_database(config)) {
        (Kind::Sqlite, Kind::Postgres) => {
            bail!("{shown} is a backup of SQLite, and DATABASE_URL is of PostgreSQL")
        }
        (Kind::Postgres, Kind::Sqlite) => {
            bail!("{shown} is a backup of PostgreSQL: set DATABASE_URL to the database for it")
        }
        _ => {}
    }
    serve::make_private_folder(&config.data_dir)?;
    let _alone = serve::hold_alone(&config.data_dir)?;
    match kind {
        Kind::Sqlite => sqlite::restore(config, &args.file, args.force).await?,
        Kind::Postgres => postgres::restore(config, &args.file, args.force).await?,
    }
    // Brings it up to date, if it is of an older Lux.
    let db = serve::open_database(config).await?;
    let mut out = super::out();
    writeln!(out, "{shown} is restored")?;
    if let Err(error) = seal::look(Some(&db), config.key_origin()).await {
        writeln!(out, "before Lux can start: {error}")?;
    }
    let detail = json!({ "file": args.file });
    let organization = OrganizationId::FIRST;
    audit::write(&db, organization, super::ACTOR, "backup.restore", "database", &detail).await?;
    db.close().await;
    Ok(())
}

/// Refuses what this Lux cannot read; `version` is the newest migration of a backup.
fn known_version(version: Option<i64>, file: &Path) -> anyhow::Result<i64> {
    let shown = file.display();
    let version = version.with_context(|| format!("{shown} is no backup of Lux"))?;
    let newest = db::newest_migration();
    ensure!(
        version <= newest,
        "{shown} was made by a newer Lux (its tables are of version {version}, this one knows \
         {newest}): install that one"
    );
    Ok(version)
}

/// Notes a backup in the log of the database that it is of.
async fn note(db: &Db, config: &Config) -> anyhow::Result<()> {
    // The tables of an older Lux are left alone: it is backed up before it is brought up to date.
    if db.pending_migrations().await? > 0 {
        return Ok(());
    }
    let detail = json!({ "data_dir": config.data_dir });
    let organization = OrganizationId::FIRST;
    audit::write(db, organization, super::ACTOR, "backup.make", "database", &detail).await?;
    Ok(())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Lets a renamed file survive a power cut.
fn sync_folder(file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
