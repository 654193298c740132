//! What is free on a file system, for programs that are not root.

use std::{path::Path, time::Duration};

use super::Seen;
use crate::{
    outbound::visit::shown,
    probe::{Expect, Outcome},
};

/// Percent of space and of inodes that must be free where nothing else is said.
const LEAST: u8 = 5;

pub(super) async fn run(path: &Path, expect: &Expect, timeout: Duration) -> Seen {
    let request = format!("free space of {}", path.display());
    let owned = path.to_owned();
    // A network file system that is away hangs.
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&owned));
    let stat = match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(Ok(stat))) => stat,
        Ok(Ok(Err(error))) => {
            let why = format!("{} cannot be looked at: {error}", path.display());
            return Seen::new(Outcome::Fail, request, why);
        }
        Ok(Err(error)) => return Seen::new(Outcome::Unclear, request, error.to_string()),
        Err(_) => {
            let why = format!("its file system did not answer within {}", shown(timeout));
            return Seen::new(Outcome::Fail, request, why);
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let usable = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_add(stat.f_bavail);
    let percent = share(stat.f_bavail, usable);
    // Some file systems have no fixed number of inodes.
    let inodes = (stat.f_files > 0).then(|| share(stat.f_favail, stat.f_files));
    let mut short = Vec::new();
    if let Some(least) = expect.min_free_bytes
        && free < least
    {
        short.push(format!("{} are free, {} are expected", size(free), size(least)));
    }
    let silent = expect.min_free_bytes.is_none() && expect.min_free_percent.is_none();
    if let Some(least) = expect.min_free_percent.or_else(|| silent.then_some(LEAST))
        && percent < u64::from(least)
    {
        short.push(format!("{percent} % are free, {least} % are expected"));
    }
    let least = expect.min_free_inodes_percent.unwrap_or(LEAST);
    if let Some(inodes) = inodes
        && inodes < u64::from(least)
    {
        short.push(format!("{inodes} % of the inodes are free, {least} % are expected"));
    }
    if short.is_empty() {
        let inodes =
            inodes.map_or_else(String::new, |inodes| format!(", {inodes} % of the inodes"));
        let why = format!("{} ({percent} %) are free{inodes}", size(free));
        return Seen::new(Outcome::Pass, request, why);
    }
    Seen::new(Outcome::Fail, request, short.join("; "))
}

/// Whole percent, rounded down.
fn share(part: u64, of: u64) -> u64 {
    if of == 0 {
        return 0;
    }
    u64::try_from(u128::from(part) * 100 / u128::from(of)).unwrap_or(100)
}

/// "1.5 GiB"
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut unit = 0;
    // In tenths, so that no float is needed.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{share, size};

    #[test]
    fn sizes_and_shares() {
        assert_eq!(size(100), "100 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
        assert_eq!(share(0, 0), 0);
        assert_eq!(share(199, 1000), 19);
        assert_eq!(share(u64::MAX, u64::MAX), 100);
    }
}
