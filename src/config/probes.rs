//! `[[probes]]`: checks that an operator configured. They are read and checked here;
//! `probe` owns their meaning.
//!
//! | kind | keys | passes when |
//! | --- | --- | --- |
//! | `http` | `app`, `path`, `method`, `headers`, `body` | the answer is as `expect` says; without a status: 2xx |
//! | `tcp` | `target = "host:port"` | a connection is taken |
//! | `tls` | `target = "host:port"`, `server_name`, `ca_file` | the handshake succeeds, `expect.certificate_days` are left |
//! | `database` | one of `url`, `url_env`, `url_file`; `query`, `tables` | it connects, every table is there, the query gives a row |
//! | `api-key` | `target` (base URL), one of `key_env`, `key_file` | `GET {target}/models` accepts the key |
//! | `config` | `target` (unit, pid, or path of a pid file), `variables` | that process has each variable, not empty |
//! | `disk` | `target` (path) | as much is free as `expect.min_free_…` says; default 5 % of space and inodes |
//! | `unit` | `target = "shop.service"` | its state is `expect.state`; default "active" |
//! | `port` | `target = "8000"` or `"127.0.0.1:8000"`, `process` | something (that program) listens there on this host |
//! | `dns` | `target` (name) | it resolves, to `expect.addresses` if they are given |

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::load::Entry;

/// How long a probe may take that says nothing else.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest `timeout`: below what a request to Lux itself may take.
const MAX_TIMEOUT: Duration = Duration::from_secs(25);
/// Longest `path`, in bytes.
const MAX_PATH: usize = 2000;
/// Longest `body`, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Most `headers`, `variables`, `tables` and `covers`.
const MAX_ITEMS: usize = 50;
/// Longest other text, in bytes.
const MAX_TEXT: usize = 4000;

/// A check that an operator configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Unique, without control characters or `/`.
    pub name: String,
    pub app: Option<String>,
    pub kind: ProbeKind,
    /// http; default GET.
    pub method: Option<String>,
    /// http: begins with `/`; asked for on the application's `base_url`.
    pub path: Option<String>,
    pub body: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is checked, for kinds without a path: "127.0.0.1:6379", "shop.service".
    pub target: Option<String>,
    /// tls: the name that the certificate has to be for; default: the target's host.
    pub server_name: Option<String>,
    /// tls: a PEM file of authorities to trust instead of the system's.
    #[schema(value_type = Option<String>)]
    pub ca_file: Option<PathBuf>,
    /// database: `postgres://…` or `sqlite:…` without a password.
    pub url: Option<String>,
    /// database: the variable of Lux's own environment that holds the URL.
    pub url_env: Option<String>,
    /// database: the file that holds the URL.
    #[schema(value_type = Option<String>)]
    pub url_file: Option<PathBuf>,
    /// database: a statement that only reads; it must give a row.
    pub query: Option<String>,
    /// database: tables that must be there ("alembic_version", "shop.orders").
    #[serde(default)]
    pub tables: Vec<String>,
    /// api-key: the variable of Lux's own environment that holds the key.
    pub key_env: Option<String>,
    /// api-key: the file that holds the key.
    #[schema(value_type = Option<String>)]
    pub key_file: Option<PathBuf>,
    /// config: names of variables that the service's process must have.
    #[serde(default)]
    pub variables: Vec<String>,
    /// port: the program that must be the one that listens ("gunicorn").
    pub process: Option<String>,
    /// Default "10s", at most "25s".
    pub timeout: Option<String>,
    #[serde(default)]
    pub expect: Expect,
    /// The endpoints whose errors it can prove: "POST /checkout".
    #[serde(default)]
    pub covers: Vec<String>,
    /// The causes (playbooks' ids) whose end it can prove: "postgres_down".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    Http,
    Tcp,
    Tls,
    Database,
    ApiKey,
    Config,
    Disk,
    Unit,
    Dns,
    Port,
}

/// What a probe must see to pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// http: exactly this one.
    pub status: Option<u16>,
    /// http: the body holds this text.
    pub contains: Option<String>,
    /// http: the body matches this expression.
    pub regex: Option<String>,
    /// http: JSON pointer → expected value.
    #[serde(default)]
    pub json: BTreeMap<String, serde_json::Value>,
    /// All kinds: it takes at most so long.
    pub max_ms: Option<u64>,
    /// http, tls: the certificate is valid for at least so many days.
    pub certificate_days: Option<u32>,
    /// disk: bytes that an unprivileged program can still write.
    pub min_free_bytes: Option<u64>,
    /// disk: the same as a share, 1 to 99.
    pub min_free_percent: Option<u8>,
    /// disk: free inodes as a share, 1 to 99.
    pub min_free_inodes_percent: Option<u8>,
    /// unit: its active state ("active", "inactive").
    pub state: Option<String>,
    /// dns: addresses that must all be among the answers.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}

impl ProbeKind {
    /// As it is written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Database => "database",
            Self::ApiKey => "api-key",
            Self::Config => "config",
            Self::Disk => "disk",
            Self::Unit => "unit",
            Self::Dns => "dns",
            Self::Port => "port",
        }
    }
}

impl Probe {
    pub(super) fn check(&self, entry: &mut Entry<'_>) {
        for mistake in self.mistakes() {
            entry.mistake(mistake);
        }
        for name in self.variables_of_lux() {
            if entry.environment(name).is_none() {
                entry.mistake(format!(
                    "the variable {name} is not set for Lux; set it (Environment= or \
                     EnvironmentFile= of the unit), or name a file instead"
                ));
            }
        }
    }

    /// The variables of Lux's own environment that it takes secrets from.
    pub(super) fn variables_of_lux(&self) -> impl Iterator<Item = &str> {
        [&self.url_env, &self.key_env].into_iter().filter_map(|name| name.as_deref())
    }

    /// All that is wrong with it by itself, each with what to write instead. Whether its
    /// application exists is for the caller to see.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !is_name(&self.name) {
            found.push(
                "name is 1 to 100 characters without / and control characters, as it is part \
                 of addresses"
                    .to_owned(),
            );
        }
        self.stray_keys(&mut found);
        self.sizes(&mut found);
        match self.kind {
            ProbeKind::Http => self.http(&mut found),
            ProbeKind::Tcp | ProbeKind::Tls => self.host_and_port(&mut found),
            ProbeKind::Database => self.database(&mut found),
            ProbeKind::ApiKey => self.api_key(&mut found),
            ProbeKind::Config => {
                if self.target().is_empty() {
                    found.push(
                        "a config probe needs target: the unit (\"shop.service\"), a pid, or \
                         the path of a pid file"
                            .to_owned(),
                    );
                }
                if self.variables.is_empty() {
                    found.push("a config probe needs variables = [\"NAME\"]".to_owned());
                }
            }
            ProbeKind::Disk => {
                if !self.target().starts_with('/') {
                    found.push("a disk probe needs target: a path such as \"/var\"".to_owned());
                }
            }
            ProbeKind::Unit => {
                if !is_unit(self.target()) {
                    found.push(
                        "a unit probe needs target: a unit's full name such as \"shop.service\""
                            .to_owned(),
                    );
                }
            }
            ProbeKind::Port => {
                let target = self.target();
                if target.parse::<u16>().is_err() && target.parse::<SocketAddr>().is_err() {
                    found.push(
                        "a port probe needs target: \"8000\" or \"127.0.0.1:8000\"".to_owned(),
                    );
                }
            }
            ProbeKind::Dns => {
                let target = self.target();
                if target.is_empty() || target.contains(['/', ':', ' ']) {
                    found.push("a dns probe needs target: a name such as \"db.local\"".to_owned());
                }
            }
        }
        self.expectations(&mut found);
        found
    }

    fn target(&self) -> &str {
        self.target.as_deref().unwrap_or_default()
    }

    /// How long it may take.
    pub fn time(&self) -> Duration {
        let written = self.timeout.as_deref().and_then(|text| super::parse::duration(text).ok());
        written.unwrap_or(TIMEOUT).min(MAX_TIMEOUT)
    }

    /// Keys that mean nothing for the kind: most likely a misunderstanding.
    fn stray_keys(&self, found: &mut Vec<String>) {
        use ProbeKind::{ApiKey, Config, Database, Disk, Dns, Http, Port, Tls, Unit};
        let expect = &self.expect;
        let keys: [(&str, bool, &[ProbeKind]); 24] = [
            ("method", self.method.is_some(), &[Http]),
            ("path", self.path.is_some(), &[Http]),
            ("body", self.body.is_some(), &[Http]),
            ("headers", !self.headers.is_empty(), &[Http]),
            ("server_name", self.server_name.is_some(), &[Tls]),
            ("ca_file", self.ca_file.is_some(), &[Tls]),
            ("url", self.url.is_some(), &[Database]),
            ("url_env", self.url_env.is_some(), &[Database]),
            ("url_file", self.url_file.is_some(), &[Database]),
            ("query", self.query.is_some(), &[Database]),
            ("tables", !self.tables.is_empty(), &[Database]),
            ("key_env", self.key_env.is_some(), &[ApiKey]),
            ("key_file", self.key_file.is_some(), &[ApiKey]),
            ("variables", !self.variables.is_empty(), &[Config]),
            ("process", self.process.is_some(), &[Port]),
            ("expect.status", expect.status.is_some(), &[Http]),
            ("expect.contains", expect.contains.is_some(), &[Http]),
            ("expect.regex", expect.regex.is_some(), &[Http]),
            ("expect.json", !expect.json.is_empty(), &[Http]),
            ("expect.certificate_days", expect.certificate_days.is_some(), &[Http, Tls]),
            ("expect.min_free_bytes", expect.min_free_bytes.is_some(), &[Disk]),
            ("expect.min_free_percent", expect.min_free_percent.is_some(), &[Disk]),
            ("expect.state", expect.state.is_some(), &[Unit]),
            ("expect.addresses", !expect.addresses.is_empty(), &[Dns]),
        ];
        let inodes = expect.min_free_inodes_percent.is_some();
        let more: [(&str, bool, &[ProbeKind]); 1] =
            [("expect.min_free_inodes_percent", inodes, &[Disk])];
        for (key, given, kinds) in keys.iter().chain(&more) {
            if *given && !kinds.contains(&self.kind) {
                let kind = self.kind.as_str();
                found.push(format!("{key} means nothing for a probe of kind {kind}; remove it"));
            }
        }
        if self.target.is_some() && self.kind == Http {
            found.push(
                "an http probe has no target: it asks its app's base_url for path".to_owned(),
            );
        }
    }

    fn sizes(&self, found: &mut Vec<String>) {
        for (key, text) in [
            ("target", &self.target),
            ("server_name", &self.server_name),
            ("url", &self.url),
            ("query", &self.query),
            ("process", &self.process),
            ("expect.contains", &self.expect.contains),
            ("expect.regex", &self.expect.regex),
            ("expect.state", &self.expect.state),
        ] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT || text.contains('\0')) {
                found.push(format!("{key} is text of at most {MAX_TEXT} bytes"));
            }
        }
        if self.body.as_ref().is_some_and(|body| body.len() > MAX_BODY || body.contains('\0')) {
            found.push(format!("body is text of at most {MAX_BODY} bytes"));
        }
        for (key, count) in [
            ("headers", self.headers.len()),
            ("tables", self.tables.len()),
            ("variables", self.variables.len()),
            ("covers", self.covers.len()),
            ("expect.json", self.expect.json.len()),
            ("expect.addresses", self.expect.addresses.len()),
        ] {
            if count > MAX_ITEMS {
                found.push(format!("{key} has {count} entries; at most {MAX_ITEMS} are taken"));
            }
        }
        let long = |text: &String| text.len() > MAX_TEXT || text.contains('\0');
        if self.tables.iter().chain(&self.variables).chain(&self.covers).any(long) {
            found.push(format!(
                "an entry of tables, variables or covers is longer than {MAX_TEXT} bytes"
            ));
        }
        match self.timeout.as_deref().map(super::parse::duration) {
            Some(Err(problem)) => found.push(format!("timeout: {problem}")),
            Some(Ok(timeout)) if timeout.is_zero() || timeout > MAX_TIMEOUT => {
                found.push("timeout is more than nothing and at most \"25s\"".to_owned());
            }
            _ => {}
        }
    }

    fn http(&self, found: &mut Vec<String>) {
        let path = self.path.as_deref().unwrap_or_default();
        if !path.starts_with('/') {
            found.push("an http probe needs a path that begins with /".to_owned());
        } else if path.starts_with("//")
            || path.len() > MAX_PATH
            || path.contains(|c: char| c.is_control() || matches!(c, '\\' | '#'))
        {
            found.push(format!(
                "path is not a plain path of at most {MAX_PATH} bytes: it begins with // or holds \
                 \\, # or a control character"
            ));
        }
        if let Some(method) = &self.method
            && (method.is_empty()
                || method.len() > 20
                || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
                || matches!(method.as_str(), "CONNECT" | "TRACE"))
        {
            found.push("method is an HTTP method in capitals such as GET or POST".to_owned());
        }
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if OWN_HEADERS.contains(&lower.as_str()) {
                found.push(format!("headers: {name} is set by Lux itself; remove it"));
            } else if name.is_empty()
                || name.len() > 100
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.!~+'|^`*&%$#".contains(&b))
            {
                found.push("headers: a name holds what no header's name can".to_owned());
            } else if value.len() > MAX_TEXT
                || value.contains(|c: char| c.is_control() && c != '\t')
            {
                found.push(format!("headers: the value of {name} is too long or not one line"));
            }
        }
    }

    fn host_and_port(&self, found: &mut Vec<String>) {
        let (host, port) = self.target().rsplit_once(':').unwrap_or_default();
        let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty()
            || bare_v6
            || host.contains(['/', '@', ' ', '\\'])
            || !port.parse::<u16>().is_ok_and(|port| port != 0)
        {
            let kind = self.kind.as_str();
            found.push(format!(
                "a {kind} probe needs target: \"host:port\", an IPv6 address in brackets"
            ));
        }
    }

    fn database(&self, found: &mut Vec<String>) {
        let given = usize::from(self.url.is_some())
            + usize::from(self.url_env.is_some())
            + usize::from(self.url_file.is_some());
        if given != 1 {
            found.push(
                "a database probe needs one of url_file, url_env and (without a password) url"
                    .to_owned(),
            );
        }
        if self.target.is_some() {
            found.push("target means nothing for a probe of kind database; remove it".to_owned());
        }
        if let Some(url) = &self.url {
            if let Err(problem) = super::parse::database_url(url) {
                found.push(format!("url {problem}"));
            }
            let holds_password = url::Url::parse(url).is_ok_and(|url| {
                url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password")
            });
            if holds_password {
                found.push(
                    "url holds a password; put the URL into a file (url_file) or a variable \
                     (url_env)"
                        .to_owned(),
                );
            }
        }
        if let Some(query) = &self.query
            && !is_reading(query)
        {
            found.push("query is one statement that begins with select, with or show".to_owned());
        }
    }

    fn api_key(&self, found: &mut Vec<String>) {
        if super::parse::http_url(self.target()).is_err() {
            found.push(
                "an api-key probe needs target: the base URL, such as \
                 \"https://api.openai.com/v1\""
                    .to_owned(),
            );
        }
        if self.key_env.is_some() == self.key_file.is_some() {
            found.push("an api-key probe needs one of key_file and key_env".to_owned());
        }
    }

    fn expectations(&self, found: &mut Vec<String>) {
        let expect = &self.expect;
        if let Some(regex) = &expect.regex
            && let Err(error) = regex::Regex::new(regex)
        {
            found.push(format!("expect.regex is no valid expression: {error}"));
        }
        if expect.status.is_some_and(|status| !(100..600).contains(&status)) {
            found.push("expect.status is a status from 100 to 599".to_owned());
        }
        for pointer in expect.json.keys() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                found.push(format!(
                    "expect.json: \"{pointer}\" is no JSON pointer; it begins with / as in \
                     \"/status\""
                ));
            }
        }
        for (key, percent) in [
            ("expect.min_free_percent", expect.min_free_percent),
            ("expect.min_free_inodes_percent", expect.min_free_inodes_percent),
        ] {
            if percent.is_some_and(|percent| !(1..=99).contains(&percent)) {
                found.push(format!("{key} is a number from 1 to 99"));
            }
        }
    }
}

/// Headers that a probe's request has from Lux or from the connection.
const OWN_HEADERS: &[&str] = &[
    "host",
    "user-agent",
    "x-lux-probe",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "accept-encoding",
];

fn is_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.chars().count() <= 100
        && !name.contains(|c: char| c.is_control() || c == '/')
}

/// `shop.service`; nothing that `systemctl` could take for an option or a pattern.
fn is_unit(name: &str) -> bool {
    name.contains('.')
        && !name.starts_with(['-', '.'])
        && name.len() <= 255
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

/// The server itself is told to refuse writing; this catches the misunderstanding early.
fn is_reading(query: &str) -> bool {
    let query = query.trim().trim_end_matches(';');
    let first = query.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let first = first.to_ascii_lowercase();
    matches!(first.as_str(), "select" | "with" | "show") && !query.contains(';')
}
