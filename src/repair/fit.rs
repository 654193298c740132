//! Whether a probe looks at the very thing that an error names. Then it may be tied to the
//! error's cause without anybody having said so.
//!
//! The rule is narrow on purpose: a probe that is tied and turns green resolves errors. It
//! has to be of a kind that the cause's playbook names (`verified_by`), and the error's *own*
//! text has to name the cause and the probe's target: another database, mount, port or unit
//! proves nothing, and neither does one that only the logs of that time name. Where the
//! error names nothing, an operator says what a probe is for (`causes`, `covers`).

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use crate::{
    diagnose::Captured,
    probe::{Check, Probe, Server},
};

/// An error, as far as probes can be compared with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    /// A configured application, if it is one.
    pub(super) app: Option<&'a str>,
    /// Method and path of the request that failed.
    pub(super) request: Option<(&'a str, &'a str)>,
    /// What the error's own text names.
    pub(super) own: &'a Captured,
    /// What the logs name of the same cause.
    pub(super) logs: &'a Captured,
}

/// What probe and error share, in words for the plan; `None` if the probe is not about it.
pub(super) fn shared(
    named: &Named<'_>,
    probe: &Probe,
    database: Option<&Server>,
) -> Option<String> {
    match (&probe.app, named.app) {
        (Some(of), Some(app)) if of == app => {}
        // What belongs to the host may belong to no application; what belongs to one may not.
        (None, _) if !matches!(probe.check, Check::Http { .. } | Check::Config { .. }) => {}
        _ => return None,
    }
    match &probe.check {
        Check::Http { method, path, .. } => {
            let (failed, endpoint) = named.request?;
            (method.eq_ignore_ascii_case(failed) && path == endpoint)
                .then(|| "the request that failed".to_owned())
        }
        Check::Tcp { target } => {
            let target = Address::of(target)?;
            (only_address(named.own)? == target).then(|| target.to_string())
        }
        Check::Port { port, address, process } => {
            // Whatever else listens there would make it green.
            process.as_ref()?;
            let named = only_address(named.own)?;
            let here = match address {
                Some(address) => {
                    host(&address.to_string()) == named.host || address.is_unspecified()
                }
                None => named.is_here(),
            };
            (here && named.port == *port).then(|| named.to_string())
        }
        Check::Database { .. } => {
            let server = database?;
            let target = Address { host: host(&server.host), port: server.port };
            let same = only_address(named.own)? == target;
            let database = match named.own.get("database") {
                Some(named) => only(named)? == server.database,
                None => true,
            };
            (same && database).then(|| target.to_string())
        }
        Check::Tls { target, name, .. } => {
            let target = Address::of(target)?;
            let port = match named.own.get("port") {
                Some(ports) => only(ports)?.parse().ok()?,
                None => 443,
            };
            let wanted = host(only(named.own.get("host")?)?);
            let asked = name.as_deref().map_or_else(|| target.host.clone(), host);
            (wanted == asked && target.port == port).then(|| format!("{wanted} port {port}"))
        }
        Check::Dns { name } => {
            let wanted = only(named.own.get("host")?)?;
            wanted.eq_ignore_ascii_case(name).then(|| name.clone())
        }
        Check::Config { variables, .. } => {
            let wanted = only(named.own.get("variable")?)?;
            variables.iter().any(|name| name == wanted).then(|| wanted.to_owned())
        }
        Check::Disk { path } => {
            let file = only(named.own.get("file")?)?;
            same_file_system(path, Path::new(file)).then(|| format!("the disk of {file}"))
        }
        Check::Unit { unit } => {
            // systemd speaks of units of this host: the error has to mean a server here.
            let failed = only(named.logs.get("failed_unit")?)?;
            (only_address(named.own)?.is_here() && failed == unit).then(|| unit.clone())
        }
        // Lux holds a copy of the key: that it is good says nothing of the application's.
        Check::ApiKey { .. } => None,
    }
}

fn only(values: &[String]) -> Option<&str> {
    match values {
        [only] => Some(only),
        _ => None,
    }
}

/// A server by host and port. Names of this host are one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
}

/// What stands for all names of this host.
const HERE: &str = "localhost";

/// The one server that all captured addresses mean.
fn only_address(captured: &Captured) -> Option<Address> {
    let mut addresses = captured.get("address")?.iter().map(|text| Address::of(text));
    let first = addresses.next()??;
    addresses.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

impl Address {
    /// Of "127.0.0.1:6379", `[::1]:80`, "('127.0.0.1', 8000)", `"db" (10.0.0.5), port 5432`.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches(['.', ',', ';']);
        let (name, port) = match text.split_once(", port ") {
            Some((name, port)) => (name.split(" (").next()?, port),
            None => match text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
                Some(pair) => pair.split_once(',')?,
                None => text.rsplit_once(':')?,
            },
        };
        let name = name.trim().trim_matches(['"', '\'']);
        // An IPv6 address without brackets has no port that one could tell from it.
        let bare = name.contains(':') && !name.starts_with('[') && name.parse::<IpAddr>().is_err();
        let plain = !name.is_empty() && !name.contains(['/', '@', ' ']) && !bare;
        Some(Self { host: plain.then(|| host(name))?, port: port.trim().parse().ok()? })
    }

    fn is_here(&self) -> bool {
        let all = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        self.host == HERE || all
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {}", self.host, self.port)
    }
}

fn host(name: &str) -> String {
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback { HERE.to_owned() } else { name.to_ascii_lowercase() }
}

/// Whether a file that an error names lies on the file system of a path. It may be gone:
/// then the folder counts that is there. Asks the file system, which may hang.
fn same_file_system(path: &Path, file: &Path) -> bool {
    let plain = file.components().all(|part| !matches!(part, Component::ParentDir));
    if !file.is_absolute() || !plain {
        return false;
    }
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let of_file = file.ancestors().map(PathBuf::from).find_map(|path| device(&path));
    of_file.is_some() && of_file == device(path)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::probe::{Expect, Origin, Secret, Service};

    fn captured(pairs: &[(&str, &str)]) -> Captured {
        let mut all = Captured::new();
        for (name, value) in pairs {
            all.entry((*name).to_owned()).or_default().push((*value).to_owned());
        }
        all
    }

    fn fits(app: Option<&str>, check: Check, own: &[(&str, &str)], logs: &[(&str, &str)]) -> bool {
        let probe = Probe {
            name: "it".into(),
            app: app.map(str::to_owned),
            check,
            expect: Expect::default(),
            covers: Vec::new(),
            causes: Vec::new(),
            timeout: Duration::from_secs(1),
            origin: Origin::Config,
        };
        let named = Named {
            app: Some("shop"),
            request: Some(("POST", "/checkout")),
            own: &captured(own),
            logs: &captured(logs),
        };
        let server = Server { host: "127.0.0.1".into(), port: 5432, database: "shop".into() };
        shared(&named, &probe, Some(&server)).is_some()
    }

    fn tcp(target: &str) -> Check {
        Check::Tcp { target: target.into() }
    }

    #[test]
    fn a_server_is_the_same_by_host_and_port() {
        for (target, address, same) in [
            ("127.0.0.1:5432", "\"127.0.0.1\", port 5432", true),
            ("localhost:5432", "\"127.0.0.1\", port 5432", true),
            ("127.0.0.1:5432", "\"localhost\" (::1), port 5432", true),
            ("db.local:5432", "\"DB.local\" (10.0.0.5), port 5432", true),
            ("127.0.0.1:6379", "localhost:6379", true),
            ("127.0.0.1:8000", "('127.0.0.1', 8000)", true),
            ("[::1]:8000", "[::1]:8000", true),
            ("127.0.0.1:5433", "\"127.0.0.1\", port 5432", false),
            ("db.local:5432", "\"other.local\", port 5432", false),
            ("127.0.0.1:5432", "\"db.local\" (127.0.0.1), port 5432", false),
            ("127.0.0.1:5432", "/var/run/postgresql/.s.PGSQL.5432", false),
            ("127.0.0.1:5432", "evil@127.0.0.1:5432", false),
            ("127.0.0.1:5432", "", false),
            ("127.0.0.1:5432", "127.0.0.1:99999", false),
        ] {
            assert_eq!(
                fits(None, tcp(target), &[("address", address)], &[]),
                same,
                "{target} {address}"
            );
        }
        assert!(!fits(None, tcp("127.0.0.1:5432"), &[], &[("address", "127.0.0.1:5432")]));
        let two = [("address", "127.0.0.1:5432"), ("address", "10.0.0.5:5432")];
        assert!(!fits(None, tcp("127.0.0.1:5432"), &two, &[]), "it names two");
        let one = [("address", "127.0.0.1:5432"), ("address", "[::1]:5432")];
        assert!(fits(None, tcp("127.0.0.1:5432"), &one, &[]), "both are this host");
    }

    #[test]
    fn what_is_of_another_application_is_not_tied() {
        let own = [("address", "127.0.0.1:5432")];
        assert!(fits(Some("shop"), tcp("127.0.0.1:5432"), &own, &[]));
        assert!(!fits(Some("blog"), tcp("127.0.0.1:5432"), &own, &[]));
    }

    #[test]
    fn each_kind_asks_for_its_own_target() {
        let address = ("address", "127.0.0.1:5432");
        let port = |process: Option<&str>, address: Option<&str>| Check::Port {
            port: 5432,
            address: address.map(|it| it.parse().unwrap()),
            process: process.map(str::to_owned),
        };
        assert!(fits(None, port(Some("postgres"), None), &[address], &[]));
        assert!(fits(None, port(Some("postgres"), Some("0.0.0.0")), &[address], &[]));
        assert!(!fits(None, port(None, None), &[address], &[]), "anything may listen");
        assert!(!fits(None, port(Some("postgres"), None), &[("address", "10.0.0.5:5432")], &[]));
        let database =
            || Check::Database { url: Secret::Text(String::new()), query: None, tables: vec![] };
        assert!(fits(None, database(), &[address], &[]));
        assert!(fits(None, database(), &[address, ("database", "shop")], &[]));
        assert!(!fits(None, database(), &[address, ("database", "blog")], &[]));
        assert!(!fits(None, database(), &[("database", "shop")], &[]), "on which server?");
        let unit = || Check::Unit { unit: "redis.service".into() };
        let failed = ("failed_unit", "redis.service");
        assert!(fits(None, unit(), &[address], &[failed]));
        assert!(!fits(None, unit(), &[("address", "10.0.0.5:6379")], &[failed]), "another host");
        assert!(!fits(None, unit(), &[], &[failed]));
        assert!(!fits(None, unit(), &[address], &[("failed_unit", "nginx.service")]));
        assert!(!fits(None, unit(), &[address], &[failed, ("failed_unit", "nginx.service")]));
        assert!(!fits(None, unit(), &[address], &[("unit", "redis.service")]), "who says so?");
        let config = || Check::Config {
            service: Service::Pid(1),
            variables: vec!["SHOP_KEY".into(), "OTHER".into()],
        };
        assert!(fits(Some("shop"), config(), &[("variable", "SHOP_KEY")], &[]));
        assert!(!fits(None, config(), &[("variable", "SHOP_KEY")], &[]), "of which service?");
        assert!(!fits(Some("shop"), config(), &[("variable", "THIRD")], &[]));
        let dns = || Check::Dns { name: "api.example".into() };
        assert!(fits(None, dns(), &[("host", "API.example")], &[]));
        assert!(!fits(None, dns(), &[("host", "example")], &[]));
        let tls = |target: &str, name: Option<&str>| Check::Tls {
            target: target.into(),
            name: name.map(str::to_owned),
            ca_file: None,
        };
        let host = ("host", "api.example");
        assert!(fits(None, tls("api.example:443", None), &[host], &[]));
        assert!(fits(None, tls("10.0.0.5:443", Some("api.example")), &[host], &[]));
        assert!(!fits(None, tls("api.example:8443", None), &[host], &[]));
        assert!(fits(None, tls("api.example:8443", None), &[host, ("port", "8443")], &[]));
        assert!(!fits(None, tls("api.example:443", None), &[host, ("port", "8443")], &[]));
        assert!(!fits(None, tls("api.example:443", Some("other.example")), &[host], &[]));
        let http = |method: &str, path: &str| Check::Http {
            method: method.into(),
            path: path.into(),
            headers: BTreeMap::new(),
            body: None,
        };
        assert!(fits(Some("shop"), http("POST", "/checkout"), &[], &[]));
        assert!(!fits(Some("shop"), http("GET", "/checkout"), &[], &[]));
        assert!(!fits(Some("shop"), http("POST", "/checkout/2"), &[], &[]));
        let key = Check::ApiKey {
            base_url: "https://api.openai.com/v1".into(),
            key: Secret::Variable("KEY".into()),
        };
        assert!(!fits(Some("shop"), key, &[("host", "api.openai.com")], &[]));
    }

    #[test]
    fn a_disk_is_the_same_by_its_file_system() {
        let disk = |path: &str| Check::Disk { path: path.into() };
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("not/yet/there").display().to_string();
        let named = [("file", file.as_str())];
        assert!(fits(None, disk(&here.path().display().to_string()), &named, &[]));
        // Every Linux has it, as a file system of its own.
        assert!(!fits(None, disk("/proc"), &named, &[]));
        for odd in ["not/absolute", "/proc/../tmp/x", ""] {
            assert!(!fits(None, disk("/tmp"), &[("file", odd)], &[]), "{odd}");
        }
    }
}
