//! Noticing deploys where nobody tells of them: `deploy_paths` of an application. A path is
//!
//! - a checkout: the commit of its HEAD is the release;
//! - a symbolic link (`current` → `releases/20261121`): the name of its target is;
//! - a file (a lock file, a unit): a hash of its contents is;
//! - another folder: a hash of the lock files in it is.
//!
//! What is found first is where the watch begins, not a deploy. What was found last is
//! stored, so a change while Lux was down is noticed. All changes of one look are one
//! deploy, called by the commit if there is one; a file that changes shortly after belongs to
//! it. A release that was told of by the API, or seen by another host, is not marked twice.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::{
    git,
    store::{self, NewDeploy},
};
use crate::{app::App, auth::OrganizationId, clock, db, logs};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(10);

/// A file that changed this recently may still be being written.
const SETTLED: Duration = Duration::from_secs(1);

/// A file's change this soon after a deploy was seen is a part of it.
const PART_OF_IT: Duration = Duration::from_mins(2);

/// A release that was marked this recently is not marked again.
const KNOWN: TimeDelta = TimeDelta::hours(1);

/// Bytes of a file that count for its hash.
const MAX_FILE: u64 = 16 << 20;

/// What names the versions of an application's parts.
const LOCK_FILES: [&str; 12] = [
    "requirements.txt",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile.lock",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "Gemfile.lock",
    "composer.lock",
    "go.sum",
    "Cargo.lock",
];

/// Watches the paths of all applications until the shutdown.
pub fn start(app: &App) {
    let mut watched: Vec<Watched> = Vec::new();
    for entry in &app.config.apps {
        watched.extend(entry.deploy_paths.iter().map(|path| Watched {
            app: entry.name.clone(),
            path: path.clone(),
            look: Look::default(),
        }));
    }
    if watched.is_empty() {
        return;
    }
    let own = app.clone();
    app.tasks.spawn(async move {
        let mut latest = HashMap::new();
        let mut timer = tokio::time::interval(EVERY);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while own.shutdown.run_until_cancelled(timer.tick()).await.is_some() {
            let looked = tokio::task::spawn_blocking(move || look_at(watched)).await;
            let Ok((back, found)) = looked else {
                tracing::error!("watching for deploys ended by a fault");
                return;
            };
            watched = back;
            if let Err(error) = note(&own, &found, &mut latest).await {
                // What is not stored is found again by the next look.
                tracing::warn!(%error, "a look for deploys could not be stored");
            }
        }
    });
}

/// A configured path, and what is kept from look to look.
struct Watched {
    app: String,
    path: String,
    look: Look,
}

/// Files as they were, and the hash they had: an unchanged file is not read again.
#[derive(Default)]
struct Look {
    stamps: Vec<Stamp>,
    hash: Option<String>,
    /// Why nothing could be seen; said once.
    trouble: Option<String>,
}

/// A file by its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    identity: (u64, u64, u64, i64, i64),
    changed: Option<DateTime<Utc>>,
    modified: Option<SystemTime>,
}

/// What names a release; the first is the best name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Git,
    Link,
    File,
}

/// What a path holds.
#[derive(Clone, Debug)]
struct Held {
    sort: Sort,
    /// In full.
    release: String,
    changed: Option<DateTime<Utc>>,
}

/// What a path of an application holds.
#[derive(Clone, Debug)]
struct Found {
    app: String,
    path: String,
    held: Held,
}

impl Found {
    /// The release as people are shown it.
    fn short(&self) -> &str {
        let release = &self.held.release;
        match self.held.sort {
            Sort::Git => release.get(..git::SHORT).unwrap_or(release),
            Sort::Link | Sort::File => release,
        }
    }

    fn source(&self) -> String {
        let sort = match self.held.sort {
            Sort::Git => "git",
            Sort::Link => "link",
            Sort::File => "file",
        };
        format!("{sort} {}", self.path)
    }
}

fn look_at(mut watched: Vec<Watched>) -> (Vec<Watched>, Vec<Found>) {
    let mut found = Vec::new();
    for one in &mut watched {
        match one.look.at(Path::new(&one.path)) {
            Ok(None) => one.look.trouble = None,
            Ok(Some(held)) => {
                one.look.trouble = None;
                found.push(Found { app: one.app.clone(), path: one.path.clone(), held });
            }
            Err(error) => {
                let error = error.to_string();
                if one.look.trouble.as_ref() != Some(&error) {
                    tracing::warn!(path = one.path, error, "a deploy path cannot be read");
                    one.look.trouble = Some(error);
                }
            }
        }
    }
    (watched, found)
}

impl Look {
    /// What the path holds; `None` while that is not clear.
    fn at(&mut self, path: &Path) -> io::Result<Option<Held>> {
        let link = path.symlink_metadata()?;
        if path.is_dir() && git::is_checkout(path) {
            let commit = git::head(path);
            return Ok(commit.map(|commit| {
                let changed = commit.told_by.metadata().ok().as_ref().and_then(changed);
                Held { sort: Sort::Git, release: commit.id, changed }
            }));
        }
        if link.is_symlink() && path.is_dir() {
            let target = fs::read_link(path)?;
            let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
            let name =
                name.map(|name| name.chars().filter(|c| !c.is_control()).take(100).collect());
            let changed = changed(&link);
            return Ok(name.map(|release| Held { sort: Sort::Link, release, changed }));
        }
        let files: Vec<PathBuf> = if path.is_dir() {
            LOCK_FILES.iter().map(|name| path.join(name)).filter(|file| file.is_file()).collect()
        } else {
            vec![path.to_owned()]
        };
        let hash = self.hash(&files)?;
        let changed = self.stamps.iter().filter_map(|stamp| stamp.changed).max();
        Ok(hash.map(|release| Held { sort: Sort::File, release, changed }))
    }

    /// One hash over some files; read only if the metadata of one has changed.
    fn hash(&mut self, files: &[PathBuf]) -> io::Result<Option<String>> {
        if files.is_empty() {
            return Ok(None);
        }
        let stamps = files.iter().map(|file| Stamp::of(file)).collect::<io::Result<Vec<_>>>()?;
        if self.stamps == stamps {
            return Ok(self.hash.clone());
        }
        let young = |stamp: &Stamp| {
            let age = stamp.modified.and_then(|modified| modified.elapsed().ok());
            age.is_some_and(|age| age < SETTLED)
        };
        if stamps.iter().any(young) {
            return Ok(self.hash.clone());
        }
        let mut context = digest::Context::new(&digest::SHA256);
        for file in files {
            context.update(file.as_os_str().as_encoded_bytes());
            context.update(&[0]);
            let mut bytes = Vec::new();
            File::open(file)?.take(MAX_FILE).read_to_end(&mut bytes)?;
            context.update(&bytes);
        }
        let hex = context.finish().as_ref().iter().take(6).fold(String::new(), |mut hex, byte| {
            use std::fmt::Write;
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        self.stamps = stamps;
        self.hash = Some(hex.clone());
        Ok(Some(hex))
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = path.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is neither a file nor a folder"));
        }
        let identity = (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        let (path, modified) = (path.to_owned(), meta.modified().ok());
        Ok(Self { path, identity, changed: changed(&meta), modified })
    }
}

/// When a file came to be what and where it is. Unlike the time of modification it cannot
/// be carried over from another host.
fn changed(meta: &fs::Metadata) -> Option<DateTime<Utc>> {
    let nanos = u32::try_from(meta.ctime_nsec()).ok()?;
    DateTime::from_timestamp(meta.ctime(), nanos).map(|at| at.trunc_subsecs(6))
}

/// A path that holds something else than before.
struct Change<'a> {
    found: &'a Found,
    before: String,
    at: DateTime<Utc>,
}

/// Stores what has changed; the changes of one application are one deploy.
async fn note(app: &App, found: &[Found], latest: &mut HashMap<String, Instant>) -> db::Result<()> {
    let host = logs::host_name();
    let now = clock::now();
    let mut changed: HashMap<&str, Vec<Change<'_>>> = HashMap::new();
    for one in found {
        let known = store::watched(&app.db, &host, &one.app, &one.path).await?;
        let before = known.as_ref().map(|(release, _)| release.as_str());
        if before == Some(one.held.release.as_str()) {
            continue;
        }
        match known {
            None => {
                let mut tx = app.db.begin().await?;
                let key = (&*host, &*one.app, &*one.path);
                store::remember(&mut tx, key, None, &one.held.release, now).await?;
                tx.commit().await?;
            }
            Some((before, seen_at)) => {
                let at = changed_at(one.held.changed, seen_at, now);
                changed.entry(&one.app).or_default().push(Change { found: one, before, at });
            }
        }
    }
    for (name, mut changes) in changed {
        changes.sort_by_key(|change| change.found.held.sort);
        let Some(Change { found: best, at, .. }) = changes.first() else { continue };
        let known = marked(app, best, now).await?;
        let part = best.held.sort == Sort::File
            && latest.get(name).is_some_and(|last: &Instant| last.elapsed() < PART_OF_IT);
        let mut tx = app.db.begin().await?;
        let mut ours = false;
        for Change { found, before, .. } in &changes {
            let key = (&*host, name, &*found.path);
            ours |= store::remember(&mut tx, key, Some(before), &found.held.release, now).await?;
        }
        if ours && !known && !part {
            let others: Vec<String> =
                changes.iter().skip(1).map(|change| change.found.source()).collect();
            let also = format!("also changed: {}", others.join(", "));
            let note = (!others.is_empty()).then_some(also.as_str());
            let (release, source) = (best.short(), best.source());
            let new =
                NewDeploy { app: name, release, at: *at, note, source: &source, made_by: "watch" };
            store::add(&mut tx, OrganizationId::FIRST, &new, now).await?;
            tracing::info!(app = name, release, source, "a deploy was noticed");
        }
        tx.commit().await?;
        if !part {
            latest.insert(name.to_owned(), clock::instant());
        }
    }
    Ok(())
}

/// Whether that release is marked already: by the API, or by another host's watch.
async fn marked(app: &App, found: &Found, now: DateTime<Utc>) -> db::Result<bool> {
    let latest =
        store::latest_before(&app.db, OrganizationId::FIRST, &found.app, now + KNOWN).await?;
    Ok(latest.is_some_and(|latest| {
        let named = latest.release.as_str();
        let same = named == found.held.release
            || (named.len() >= git::SHORT && found.held.release.starts_with(named));
        same && latest.at > now - KNOWN
    }))
}

/// When it changed: the file says so, unless that cannot be.
fn changed_at(
    changed: Option<DateTime<Utc>>,
    seen_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    changed.filter(|at| *at > seen_at && *at <= now).unwrap_or(now)
}
