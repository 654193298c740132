//! Names of processes by which others on the same host can tell whether they still run,
//! so that the work of a killed one is continued at once, not after its lease.

use std::{fs, path::Path, sync::OnceLock};

/// This process: "BOOT/NAMESPACE/PID/START". Boot and process-id namespace say for whom
/// the process id means anything; the start time tells it from a later process of that id.
pub fn this_process() -> String {
    let Some(Place { boot, namespace }) = Place::here() else {
        return format!("unknown/{}", uuid::Uuid::now_v7());
    };
    let pid = std::process::id();
    match start(pid) {
        Some(start) => format!("{boot}/{namespace}/{pid}/{start}"),
        None => format!("unknown/{}", uuid::Uuid::now_v7()),
    }
}

/// Whether an owner is known to have ended. Of one that cannot be seen from here
/// nothing is known: false.
pub fn is_dead(owner: &str) -> bool {
    let parts: Vec<&str> = owner.split('/').collect();
    let [boot, namespace, pid, started] = parts[..] else { return false };
    let Some(here) = Place::here() else { return false };
    if here.boot != boot || here.namespace != namespace {
        return false;
    }
    let Ok(pid) = pid.parse::<u32>() else { return false };
    match start(pid) {
        Some(now) => now != started,
        // Hidden from this user (hidepid), or gone: only /proc itself tells the two apart.
        None => start(std::process::id()).is_some() && is_gone(pid),
    }
}

struct Place {
    boot: String,
    namespace: String,
}

impl Place {
    fn here() -> Option<&'static Self> {
        static HERE: OnceLock<Option<Place>> = OnceLock::new();
        let find = || {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
            Some(Place {
                boot: boot.trim().to_owned(),
                namespace: namespace.to_string_lossy().replace('/', ""),
            })
        };
        HERE.get_or_init(find).as_ref()
    }
}

/// When a process started, in clock ticks since the boot. `None` if it does not run: a
/// zombie has ended, too.
fn start(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name in parentheses may hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // Field 22 of the line; the state was field 3.
    (!matches!(state, "Z" | "X")).then(|| fields.nth(18).map(str::to_owned))?
}

/// Whether no process of that id exists, asked of the kernel instead of /proc.
fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{is_dead, this_process};

    #[test]
    fn only_processes_that_have_ended_are_dead() {
        let me = this_process();
        assert!(!me.starts_with("unknown"), "{me}");
        assert!(!is_dead(&me));
        let (rest, start) = me.rsplit_once('/').unwrap();
        assert!(is_dead(&format!("{rest}/1{start}")), "an earlier process had this id");
        let (place, _) = rest.rsplit_once('/').unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let child_id = child.id();
        child.wait().unwrap();
        assert!(is_dead(&format!("{place}/{child_id}/{start}")));
        // Somebody else's process ids say nothing here.
        assert!(!is_dead(&format!("x{place}/{child_id}/{start}")));
        assert!(!is_dead("a/b/c/d"));
        assert!(!is_dead("worker 1"));
    }
}
