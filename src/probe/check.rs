//! What a probe does, typed by its kind.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    config::{self, ProbeKind},
    error::{Error, Result},
};

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Check {
    /// A request to the application's own origin.
    Http { method: String, path: String, headers: BTreeMap<String, String>, body: Option<String> },
    /// Connects to "host:port".
    Tcp { target: String },
    /// A handshake with "host:port".
    Tls { target: String, name: Option<String>, ca_file: Option<PathBuf> },
    /// Connects, looks for tables, runs a statement that reads.
    Database { url: Secret, query: Option<String>, tables: Vec<String> },
    /// `GET {base_url}/models`
    ApiKey { base_url: String, key: Secret },
    /// Looks at the environment of a running process.
    Config { service: Service, variables: Vec<String> },
    /// Free space and inodes of the file system that holds a path.
    Disk { path: PathBuf },
    /// The active state of a systemd unit.
    Unit { unit: String },
    /// Whether something listens on this host.
    Port { port: u16, address: Option<IpAddr>, process: Option<String> },
    /// Whether a name resolves.
    Dns { name: String },
}

/// Where a secret is; never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// No secret after all: a URL without a password.
    Text(String),
    /// A variable of Lux's own environment.
    Variable(String),
    File(PathBuf),
}

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The main process of a systemd unit.
    Unit(String),
    Pid(u32),
    /// The process whose number is in a file.
    PidFile(PathBuf),
}

impl Check {
    pub fn kind(&self) -> ProbeKind {
        match self {
            Self::Http { .. } => ProbeKind::Http,
            Self::Tcp { .. } => ProbeKind::Tcp,
            Self::Tls { .. } => ProbeKind::Tls,
            Self::Database { .. } => ProbeKind::Database,
            Self::ApiKey { .. } => ProbeKind::ApiKey,
            Self::Config { .. } => ProbeKind::Config,
            Self::Disk { .. } => ProbeKind::Disk,
            Self::Unit { .. } => ProbeKind::Unit,
            Self::Port { .. } => ProbeKind::Port,
            Self::Dns { .. } => ProbeKind::Dns,
        }
    }

    /// Whether running it can change nothing: everything but an http request with
    /// another method than GET, HEAD and OPTIONS.
    pub fn is_safe(&self) -> bool {
        match self {
            Self::Http { method, .. } => is_safe_method(method),
            _ => true,
        }
    }

    pub(super) fn from_definition(probe: &config::Probe) -> Result<Self> {
        if let Some(first) = probe.mistakes().into_iter().next() {
            return Err(Error::invalid(first));
        }
        let target = probe.target.clone().unwrap_or_default();
        Ok(match probe.kind {
            ProbeKind::Http => Self::Http {
                method: probe.method.clone().unwrap_or_else(|| "GET".to_owned()),
                path: probe.path.clone().unwrap_or_default(),
                headers: probe.headers.clone(),
                body: probe.body.clone(),
            },
            ProbeKind::Tcp => Self::Tcp { target },
            ProbeKind::Tls => Self::Tls {
                target,
                name: probe.server_name.clone(),
                ca_file: probe.ca_file.clone(),
            },
            ProbeKind::Database => Self::Database {
                url: Secret::one_of(
                    probe.url.as_ref(),
                    probe.url_env.as_ref(),
                    probe.url_file.as_ref(),
                ),
                query: probe.query.clone(),
                tables: probe.tables.clone(),
            },
            ProbeKind::ApiKey => Self::ApiKey {
                base_url: target.trim_end_matches('/').to_owned(),
                key: Secret::one_of(None, probe.key_env.as_ref(), probe.key_file.as_ref()),
            },
            ProbeKind::Config => {
                Self::Config { service: Service::of(target), variables: probe.variables.clone() }
            }
            ProbeKind::Disk => Self::Disk { path: PathBuf::from(target) },
            ProbeKind::Unit => Self::Unit { unit: target },
            ProbeKind::Port => {
                let address: Option<std::net::SocketAddr> = target.parse().ok();
                Self::Port {
                    port: address.map_or_else(|| target.parse().unwrap_or(0), |it| it.port()),
                    address: address.map(|it| it.ip()),
                    process: probe.process.clone(),
                }
            }
            ProbeKind::Dns => Self::Dns { name: target },
        })
    }
}

impl Check {
    /// What is looked at, without the application and how.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Http { path, .. } => path.clone(),
            Self::Tcp { target } | Self::Tls { target, .. } => target.clone(),
            Self::Database { url, .. } => url.to_string(),
            Self::ApiKey { base_url, .. } => base_url.clone(),
            Self::Config { service, .. } => service.to_string(),
            Self::Disk { path } => path.display().to_string(),
            Self::Unit { unit } => unit.clone(),
            Self::Port { port, address: Some(address), .. } => format!("{address} port {port}"),
            Self::Port { port, .. } => format!("port {port}"),
            Self::Dns { name } => name.clone(),
        }
    }
}

/// In one line, without any secret.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target();
        match self {
            Self::Http { method, .. } => write!(f, "{method} {target}"),
            Self::Tcp { .. } => write!(f, "connect to {target}"),
            Self::Tls { .. } => write!(f, "TLS handshake with {target}"),
            Self::Database { .. } => write!(f, "ask the database of {target}"),
            Self::ApiKey { .. } => write!(f, "GET {target}/models"),
            Self::Config { variables, .. } => write!(f, "{} of {target}", variables.join(", ")),
            Self::Disk { .. } => write!(f, "free space of {target}"),
            Self::Unit { .. } => write!(f, "state of {target}"),
            Self::Port { process: Some(process), .. } => write!(f, "{process} listens on {target}"),
            Self::Port { .. } => write!(f, "something listens on {target}"),
            Self::Dns { .. } => write!(f, "resolve {target}"),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit) => f.write_str(unit),
            Self::Pid(pid) => write!(f, "process {pid}"),
            Self::PidFile(path) => write!(f, "the process in {}", path.display()),
        }
    }
}

/// Methods that RFC 9110 calls safe, without TRACE.
pub(super) fn is_safe_method(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

impl Secret {
    fn one_of(text: Option<&String>, variable: Option<&String>, file: Option<&PathBuf>) -> Self {
        match (text, variable, file) {
            (Some(text), ..) => Self::Text(text.clone()),
            (_, Some(variable), _) => Self::Variable(variable.clone()),
            (_, _, file) => Self::File(file.cloned().unwrap_or_default()),
        }
    }
}

impl Service {
    /// "shop.service", "/run/shop.pid", "4711"
    fn of(target: String) -> Self {
        if target.starts_with('/') {
            Self::PidFile(PathBuf::from(target))
        } else if let Ok(pid) = target.parse() {
            Self::Pid(pid)
        } else {
            Self::Unit(target)
        }
    }
}
