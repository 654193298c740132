//! What the host must allow: files, groups, the journal, space, time.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use rustix::fs::Access;
use tokio::process::Command;

use super::Check;
use crate::{
    clock,
    config::{Config, Place},
    health::{self, Wellness},
};

/// Only looks: a directory made by the wrong user would be in the service's way.
pub(super) fn data_directory(config: &Config) -> Check {
    let name = "data directory";
    let path = &config.data_dir;
    let shown = path.display();
    let nearest = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let nearest = if nearest.as_os_str().is_empty() { Path::new(".") } else { nearest };
    let writable = rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK);
    match writable {
        Ok(()) if nearest == path => Check::ok(name, format!("{shown} is writable")),
        Ok(()) => Check::ok(name, format!("{shown} will be made at the first start")),
        Err(error) => Check::fail(
            name,
            format!("{}: {error}", nearest.display()),
            format!("give it to the user Lux runs as: chown -R lux {shown}"),
        ),
    }
}

pub(super) fn disk(config: &Config) -> Check {
    let (state, detail) = health::disk(&config.data_dir);
    match state {
        Wellness::Ok => Check::ok("disk space", detail),
        Wellness::Down => Check::fail("disk space", detail, "remove what is not needed"),
        _ => Check::warn("disk space", detail, "remove what is not needed"),
    }
}

/// Opens each log file as Lux would.
pub(super) fn sources(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for source in &config.sources {
        let Place::Path(pattern) = &source.place else { continue };
        let name = format!("source {}", source.name);
        let found: Vec<_> = glob::glob(pattern).into_iter().flatten().take(1000).collect();
        if found.is_empty() {
            checks.push(absent(&name, pattern));
        }
        for path in found {
            let path = path.unwrap_or_else(|error| error.path().to_owned());
            checks.push(readable(&name, &path));
        }
    }
    checks
}

/// Nothing matches: not there yet, or in a folder we may not look into.
fn absent(name: &str, pattern: &str) -> Check {
    let folder = Path::new(pattern).parent().unwrap_or(Path::new("/"));
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied(name, folder),
        _ => Check::warn(
            name,
            format!("{pattern} is not there"),
            "nothing to do if it will come; else mend the path in [[sources]]",
        ),
    }
}

fn readable(name: &str, path: &Path) -> Check {
    match File::open(path).and_then(|mut file| file.read(&mut [0; 1])) {
        Ok(_) => Check::ok(name, format!("{} is readable", path.display())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied(name, path),
        Err(error) => Check::fail(
            name,
            format!("{}: {error}", path.display()),
            "name a readable file in [[sources]]",
        ),
    }
}

/// Names the group whose members may read.
fn denied(name: &str, path: &Path) -> Check {
    let detail = format!("{} may not be read", path.display());
    let group = path.metadata().ok().filter(|meta| meta.mode() & 0o040 != 0).map(|meta| meta.gid());
    let remedy = match group.and_then(group_name) {
        Some(group) => {
            format!("it is open to the group {group}: usermod -aG {group} lux, then restart Lux")
        }
        None => format!("no group may read it: chgrp adm {0} && chmod g+r {0}", path.display()),
    };
    Check::fail(name, detail, remedy)
}

fn group_name(gid: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

/// Asks journalctl for one entry.
pub(super) async fn journal(config: &Config) -> Option<Check> {
    let name = "journal";
    let place = config.sources.iter().map(|source| &source.place);
    let place = place.into_iter().find(|place| !matches!(place, Place::Path(_)))?;
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--lines=1", "--output=cat"]).env("LANG", "C");
    if let Place::Directory(folder) = place {
        command.arg("--directory").arg(folder);
    }
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let join = "usermod -aG systemd-journal lux, then restart Lux";
    Some(match tokio::time::timeout(Duration::from_secs(10), command.output()).await {
        Err(_) => Check::fail(name, "journalctl did not answer within 10 s", "run it by hand"),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Check::warn(
            name,
            "there is no journalctl on this host",
            "nothing to do on a host without systemd; else install systemd",
        ),
        Ok(Err(error)) => Check::fail(name, format!("journalctl: {error}"), "run it by hand"),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or_default().to_owned();
            if output.status.success() && !output.stdout.is_empty() {
                Check::ok(name, "the journal is readable")
            } else if said.contains("ermission") {
                Check::fail(name, said, join)
            } else if output.status.success() || said.contains("No journal files") {
                Check::warn(name, "the journal is empty, or hidden from this user", join)
            } else {
                Check::fail(name, said, join)
            }
        }
    })
}

/// Whether the clock can be believed: kept by a time service, and not behind what Lux
/// has written itself.
pub(super) async fn clock(config: &Config) -> Check {
    let name = "clock";
    let now = clock::now();
    let database = config.data_dir.join("lux.db");
    let written = fs::metadata(database).and_then(|meta| meta.modified()).ok();
    if let Some(written) = written.map(chrono::DateTime::<chrono::Utc>::from)
        && written > now + chrono::TimeDelta::minutes(2)
    {
        return Check::fail(
            name,
            format!("it is {now}, but Lux wrote to its database at {written}"),
            "the clock went back: set it right (timedatectl set-ntp true)",
        );
    }
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(5), command.output()).await;
    match output {
        Ok(Ok(output)) if output.stdout.starts_with(b"no") => Check::warn(
            name,
            format!("{now}; no time service keeps it right"),
            "timedatectl set-ntp true",
        ),
        Ok(Ok(output)) if output.stdout.starts_with(b"yes") => {
            Check::ok(name, format!("{now}; kept right by a time service"))
        }
        _ => Check::ok(name, format!("{now}; whether a time service keeps it is not known here")),
    }
}
