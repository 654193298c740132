//! Whether a running process has variables: what counts is the service's environment,
//! not that of Lux. Values are looked at and never kept.

use std::{
    io::{self, Read},
    path::Path,
    time::Duration,
};

use super::{Seen, unit};
use crate::probe::{Outcome, Service};

/// Bytes of an environment that are read.
const MAX_ENVIRONMENT: u64 = 4 << 20;

pub(super) async fn run(
    systemctl: &str,
    service: &Service,
    variables: &[String],
    timeout: Duration,
) -> Seen {
    let request = format!("{} of {service}", variables.join(", "));
    let unclear = |why: String| Seen::new(Outcome::Unclear, request.clone(), why);
    let pid = match pid(systemctl, service, timeout).await {
        Ok(pid) => pid,
        Err(why) => return unclear(why),
    };
    let environment = match read(Path::new(&format!("/proc/{pid}/environ"))) {
        Ok(environment) => environment,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return unclear(format!("{service} is not running: there is no process {pid}"));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return unclear(format!(
                "Lux may not see the environment of process {pid}; let it run as the same user, \
                 or add AmbientCapabilities=CAP_SYS_PTRACE to its unit"
            ));
        }
        Err(error) => {
            return unclear(format!("the environment of process {pid} cannot be read: {error}"));
        }
    };
    let entries: Vec<&[u8]> = environment.split(|byte| *byte == 0).collect();
    let value_of = |name: &String| {
        let mut values = entries.iter().filter_map(|entry| {
            entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
        });
        values.next()
    };
    let missing: Vec<&str> =
        variables.iter().filter(|name| value_of(name).is_none()).map(String::as_str).collect();
    let empty: Vec<&str> = variables
        .iter()
        .filter(|name| value_of(name).is_some_and(<[u8]>::is_empty))
        .map(String::as_str)
        .collect();
    if missing.is_empty() && empty.is_empty() {
        return Seen::new(Outcome::Pass, request, format!("process {pid} has every variable"));
    }
    let mut said = Vec::new();
    if !missing.is_empty() {
        said.push(format!("process {pid} does not have {}", missing.join(", ")));
    }
    if !empty.is_empty() {
        said.push(format!("{} is there but empty", empty.join(", ")));
    }
    Seen::new(Outcome::Fail, request, said.join("; "))
}

async fn pid(systemctl: &str, service: &Service, timeout: Duration) -> Result<u32, String> {
    match service {
        Service::Pid(pid) => Ok(*pid),
        Service::PidFile(path) => {
            let mut text = String::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(64).read_to_string(&mut text))
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let first = text.split_whitespace().next().unwrap_or_default();
            first.parse().map_err(|_| format!("{} holds no process number", path.display()))
        }
        Service::Unit(name) => {
            let shown = unit::show(systemctl, name, "--property=MainPID", timeout).await?;
            match shown.get("MainPID").and_then(|pid| pid.parse().ok()) {
                None | Some(0) => Err(format!("{name} has no running main process")),
                Some(pid) => Ok(pid),
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_ENVIRONMENT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
