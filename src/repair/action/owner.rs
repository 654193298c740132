//! Which process runs an action, so that another can tell whether it still lives.

use std::fs;

/// This process: boot, process namespace, id, and when it began (ids are used again).
pub(super) fn this_process() -> String {
    let (host, pid) = (host(), std::process::id());
    format!("{host} {pid} {}", began(pid).unwrap_or_default())
}

/// Whether an owner is known to be gone. `false` also where that cannot be told: it ran
/// on another host, or in another container.
pub(super) fn is_gone(owner: &str) -> bool {
    let mut parts = owner.split(' ');
    let (Some(there), Some(pid), Some(since)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Ok(pid), Ok(since)) = (pid.parse(), since.parse::<u64>()) else { return false };
    there == host() && began(pid) != Some(since)
}

/// Equal for processes that can see each other.
fn host() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), namespace.display())
}

/// When a process began, in ticks since the boot; `None` if there is none, or only what
/// is left of one.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{is_gone, this_process};

    #[test]
    fn the_living_are_told_from_the_dead() {
        assert!(!is_gone(&this_process()));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let began = super::began(child.id()).unwrap();
        let owner = format!("{} {} {began}", super::host(), child.id());
        assert!(!is_gone(&owner));
        assert!(is_gone(&format!("{} {} {}", super::host(), child.id(), began + 1)));
        assert!(!is_gone(&format!("elsewhere/pid:[1] {} {}", child.id(), began + 1)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_gone(&owner));
        assert!(!is_gone("nonsense"));
    }
}
