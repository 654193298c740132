//! Whether something listens on this host, as the kernel's own table says. Unlike
//! connecting, this disturbs nobody, and can tell which program it is.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Seen;
use crate::probe::Outcome;

/// Processes that are looked at for the one that listens.
const MAX_PROCESSES: usize = 50_000;

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    port: u16,
    inode: u64,
}

pub(super) fn run(port: u16, address: Option<IpAddr>, process: Option<&str>) -> Seen {
    let place = address.map_or_else(|| format!("port {port}"), |it| format!("{it} port {port}"));
    let request = match process {
        Some(process) => format!("{process} listens on {place}"),
        None => format!("something listens on {place}"),
    };
    let listeners = match listeners() {
        Ok(listeners) => listeners,
        Err(error) => {
            let why = format!("the kernel's table of connections cannot be read: {error}");
            return Seen::new(Outcome::Unclear, request, why);
        }
    };
    let here: Vec<&Listener> = listeners
        .iter()
        .filter(|listener| listener.port == port)
        .filter(|listener| address.is_none_or(|address| serves(listener.address, address)))
        .collect();
    if here.is_empty() {
        return Seen::new(Outcome::Fail, request, format!("nothing listens on {place}"));
    }
    let at = here.iter().map(|it| it.address.to_string()).collect::<Vec<_>>().join(", ");
    let Some(wanted) = process else {
        return Seen::new(Outcome::Pass, request, format!("something listens at {at}"));
    };
    let inodes: Vec<u64> = here.iter().map(|listener| listener.inode).collect();
    let owners = owners(&inodes);
    if owners.is_empty() {
        let why = format!(
            "something listens at {at}, but Lux may not see which program; let it run as the same \
             user, or add AmbientCapabilities=CAP_SYS_PTRACE to its unit"
        );
        return Seen::new(Outcome::Unclear, request, why);
    }
    if owners.iter().any(|owner| owner.is(wanted)) {
        return Seen::new(Outcome::Pass, request, format!("{wanted} listens at {at}"));
    }
    let names: Vec<&str> = owners.iter().map(|owner| owner.name.as_str()).collect();
    let why = format!("{} listens at {at}; {wanted} is expected", names.join(", "));
    Seen::new(Outcome::Fail, request, why)
}

/// Whether a socket bound to one address is reached at another.
fn serves(bound: IpAddr, asked: IpAddr) -> bool {
    match bound {
        IpAddr::V4(address) if address.is_unspecified() => asked.is_ipv4(),
        IpAddr::V6(address) if address.is_unspecified() => true,
        IpAddr::V6(address) => {
            bound == asked || address.to_ipv4_mapped().map(IpAddr::V4) == Some(asked)
        }
        IpAddr::V4(_) => bound == asked,
    }
}

fn listeners() -> io::Result<Vec<Listener>> {
    let mut all: Vec<Listener> =
        fs::read_to_string("/proc/net/tcp")?.lines().filter_map(listener).collect();
    // A kernel without IPv6 has no such file.
    if let Ok(text) = fs::read_to_string("/proc/net/tcp6") {
        all.extend(text.lines().filter_map(listener));
    }
    Ok(all)
}

/// `   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 12345 …`
fn listener(line: &str) -> Option<Listener> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    if state != "0A" {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some(Listener {
        address: address_of(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode,
    })
}

/// Words of 32 bits in the byte order of this host.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for part in 0..4 {
                octets[part * 4..part * 4 + 4].copy_from_slice(&word(part * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

/// A process that holds one of the sockets.
struct Owner {
    name: String,
    /// Names of the program and of the script it runs.
    arguments: Vec<String>,
}

impl Owner {
    fn is(&self, wanted: &str) -> bool {
        // The kernel keeps 15 bytes of a name.
        let short = &wanted[..wanted.floor_char_boundary(15)];
        self.name == short || self.arguments.iter().any(|argument| argument == wanted)
    }
}

fn owners(inodes: &[u64]) -> Vec<Owner> {
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut owners = Vec::new();
    for process in processes.flatten().take(MAX_PROCESSES) {
        let is_process =
            process.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_process {
            continue;
        }
        let path = process.path();
        let Ok(open) = fs::read_dir(path.join("fd")) else { continue };
        let holds = open.flatten().any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| {
                link.to_str().is_some_and(|link| links.iter().any(|it| it == link))
            })
        });
        if !holds {
            continue;
        }
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned();
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let arguments = line
            .split(|byte| matches!(byte, 0 | b' ' | b':'))
            .filter(|argument| !argument.is_empty())
            .take(3)
            .map(|argument| {
                let argument = String::from_utf8_lossy(argument);
                argument.rsplit('/').next().unwrap_or_default().to_owned()
            })
            .collect();
        owners.push(Owner { name, arguments });
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernels_table() {
        let four = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 x";
        assert_eq!(
            listener(four),
            Some(Listener { address: "127.0.0.1".parse().unwrap(), port: 8000, inode: 12345 })
        );
        let six = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 x";
        assert_eq!(
            listener(six),
            Some(Listener { address: "::1".parse().unwrap(), port: 80, inode: 77 })
        );
        assert_eq!(listener(&four.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn which_addresses_a_socket_serves() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(serves(ip("0.0.0.0"), ip("127.0.0.1")) && serves(ip("::"), ip("127.0.0.1")));
        assert!(serves(ip("::ffff:127.0.0.1"), ip("127.0.0.1")));
        assert!(!serves(ip("127.0.0.1"), ip("127.0.0.2")) && !serves(ip("0.0.0.0"), ip("::1")));
    }
}
