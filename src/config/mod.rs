//! One typed configuration: defaults < `lux.toml` < environment < flags, checked whole
//! at the start. Why not a ready-made layering crate: those stop at the first mistake
//! and forget where a value came from, and an operator needs both at once.

mod actions;
mod apps;
mod capture;
pub mod contacts;
mod error_sources;
mod grouping;
mod hooks;
mod integrations;
mod load;
mod mail;
mod model;
mod notify;
mod parameter;
mod parse;
mod probes;
mod providers;
mod repair;
mod sign_in;
mod sources;
mod trust;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use load::{Loader, key};
use parse::{
    at_least_one, duration, filter, flag, http_url, log_format, networks, number, path_patterns,
    socket_address, text, zone,
};

pub use actions::{Action, Policy, Risk, placeholder};
pub use apps::AppEntry;
pub use capture::Capture;
pub use contacts::Contacts;
pub use error_sources::ErrorSource;
pub use grouping::{Glob, GroupingRule, Piece, Template, Trait};
pub use hooks::Hooks;
pub use integrations::Client;
pub use load::{Mistake, Origin, Overrides, Setting};
pub use mail::{Mail, MailTls};
pub use model::{Model, ModelUse};
pub use notify::Notify;
pub use parameter::{Param, Rule};
pub use parse::LogFormat;
pub use probes::{Expect, Probe, ProbeKind};
pub use providers::{Provider, REPLIT, is_private};
pub use repair::{Cron, Repair, Schedule};
pub use sign_in::{SignIn, Signup, ascii_domain};
pub use sources::{Place, Source, SourceKind};

/// Where the master keys stand, the first of these that there is.
#[derive(Clone, Debug)]
pub enum KeyOrigin {
    /// A credential of systemd, readable by the unit alone.
    Credential(PathBuf),
    /// A file that the operator looks after.
    Given(PathBuf),
    /// The environment, which other programs of this user can read.
    Environment(SecretString),
    /// A file of Lux's own: made at the first start, and longer after a rotation.
    Own(PathBuf),
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// How people reach Lux from outside; links are made with it.
    pub public_url: Option<url::Url>,
    /// Everything Lux writes is in here.
    pub data_dir: PathBuf,
    pub database_url: SecretString,
    pub database_connections: u32,
    pub log_format: LogFormat,
    /// A `tracing` filter: "info", "lux=debug,warn".
    pub log_filter: String,
    pub http: Http,
    pub mail: Mail,
    pub model: Model,
    /// The keys that secrets are sealed with in the database, where they stand in the
    /// environment.
    pub master_key: Option<SecretString>,
    /// The file that they stand in, where it is not Lux's own.
    pub master_key_file: Option<PathBuf>,
    /// Where systemd puts the credentials of the unit.
    pub credentials_dir: Option<PathBuf>,
    /// Who signs people in: Replit's first, where `REPL_ID` names the application.
    pub providers: Vec<Provider>,
    /// Playbooks in this folder replace the built-in ones of the same id.
    pub playbooks_dir: Option<PathBuf>,
    /// Bound of the window of recent records, in bytes, over all sources.
    pub window_bytes: usize,
    pub capture: Capture,
    pub contacts: Contacts,
    pub hooks: Hooks,
    pub notify: Notify,
    /// The services of others that Lux is registered with.
    pub integrations: Vec<Client>,
    pub apps: Vec<AppEntry>,
    pub sources: Vec<Source>,
    pub error_sources: Vec<ErrorSource>,
    pub grouping: Vec<GroupingRule>,
    pub probes: Vec<Probe>,
    /// What the variables hold that probes take secrets from.
    pub probe_variables: BTreeMap<String, SecretString>,
    pub actions: Vec<Action>,
    /// Why actions stay off although they are switched on: others could have written
    /// the file that lists them.
    pub actions_refused: Option<String>,
    pub repair: Repair,
    pub schedule: Schedule,
    pub sign_in: SignIn,
    /// Each scalar setting with its value (secrets hidden) and origin.
    pub settings: Vec<Setting>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
}

/// `[http]`: limits of the server.
#[derive(Clone, Debug)]
pub struct Http {
    pub max_body_bytes: usize,
    /// For everything but streams.
    pub request_timeout: Duration,
    /// How long requests in flight may take to end after SIGTERM.
    pub drain_timeout: Duration,
    /// Requests a minute that one caller (token, else address) may make.
    pub requests_per_minute: u32,
    /// Error events a minute that one caller may send.
    pub events_per_minute: u32,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long a connection may lie between requests, and an answer untaken.
    pub idle_timeout: Duration,
    pub max_connections: usize,
    /// Of one address that is no trusted proxy.
    pub max_connections_per_address: usize,
    /// Wrong tokens and keys a minute that one address may try.
    pub guesses_per_minute: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Serve on a public address although there is no TLS here.
    pub allow_public: bool,
}

/// All mistakes of a configuration, at once.
#[derive(Debug)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "the configuration has a mistake:")?,
            n => writeln!(f, "the configuration has {n} mistakes:")?,
        }
        for mistake in &self.0 {
            writeln!(f, "  - {mistake}")?;
        }
        f.write_str("`lux doctor` shows every setting and where it comes from")
    }
}

impl std::error::Error for Mistakes {}

impl Config {
    /// Reads and checks the whole configuration.
    pub fn load(overrides: Overrides) -> Result<Self, Mistakes> {
        let (config, mistakes) = Self::load_leniently(overrides);
        if mistakes.is_empty() { Ok(config) } else { Err(Mistakes(mistakes)) }
    }

    /// The same for `lux doctor`: what is wrong has its default, and is told.
    pub fn load_leniently(overrides: Overrides) -> (Self, Vec<Mistake>) {
        let mut from = Loader::new(overrides);
        let port = from.value(&key("port", &["PORT"]), "5000", number::<u16>);
        let listen = from.value(
            &key("listen", &["LUX_LISTEN"]).flag("--listen"),
            &format!("127.0.0.1:{port}"),
            socket_address,
        );
        // systemd sets the first for `StateDirectory=`, the second for every service.
        let service = from
            .environment("STATE_DIRECTORY")
            .map(str::to_owned)
            .or_else(|| from.environment("INVOCATION_ID").map(|_| "/var/lib/lux".to_owned()));
        let data_dir = from.value(
            &key("data_dir", &["LUX_DATA_DIR"]).flag("--data-dir"),
            service.as_deref().unwrap_or("./.lux"),
            text,
        );
        let data_dir = PathBuf::from(data_dir);
        let database_url = from.value(
            &key("database_url", &["DATABASE_URL"]).flag("--database-url").secret(),
            &format!("sqlite:{}", data_dir.join("lux.db").display()),
            parse::database_url,
        );
        let config = Self {
            listen,
            public_url: from.optional(&key("public_url", &["LUX_PUBLIC_URL"]), http_url),
            data_dir,
            database_url: database_url.into(),
            database_connections: from.value(
                &key("database_connections", &["LUX_DATABASE_CONNECTIONS"]),
                "8",
                at_least_one,
            ),
            log_format: from.value(
                &key("log.format", &["LUX_LOG_FORMAT"]).flag("--log-format"),
                "text",
                log_format,
            ),
            log_filter: from.value(&key("log.filter", &["LUX_LOG"]), "info", filter),
            http: http(&mut from),
            mail: mail::read(&mut from),
            model: model::read(&mut from),
            master_key: from
                .optional(&key("master_key", &["LUX_MASTER_KEY"]).secret(), text)
                .map(Into::into),
            master_key_file: from
                .optional(&key("master_key_file", &["LUX_MASTER_KEY_FILE"]), text)
                .map(PathBuf::from),
            credentials_dir: from.environment("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            providers: providers(&mut from),
            playbooks_dir: from
                .optional(&key("playbooks_dir", &["LUX_PLAYBOOKS_DIR"]), text)
                .map(PathBuf::from),
            window_bytes: from.value(
                &key("window_bytes", &["LUX_WINDOW_BYTES"]),
                "67108864",
                number::<usize>,
            ),
            capture: Capture {
                quota: from.value(
                    &key("capture.quota", &["LUX_CAPTURE_QUOTA"]),
                    "60000",
                    at_least_one,
                ),
                keep_first: from.value(
                    &key("capture.keep_first", &["LUX_CAPTURE_KEEP_FIRST"]),
                    "1000",
                    number::<u64>,
                ),
                keep: from.value(&key("capture.keep", &[]), "90d", capture::keep),
                max_events: from.value(&key("capture.max_events", &[]), "500000", capture::most),
                max_group_events: from.value(
                    &key("capture.max_group_events", &[]),
                    "10000",
                    capture::most,
                ),
                retain_every: from.value(&key("capture.retain_every", &[]), "10m", capture::pace),
                storm: from.value(&key("capture.storm", &[]), "100", at_least_one),
                storm_calm: from.value(&key("capture.storm_calm", &[]), "2m", capture::pace),
            },
            contacts: Contacts {
                phone_region: from.optional(
                    &key("contacts.phone_region", &["LUX_PHONE_REGION"]),
                    contacts::region,
                ),
                double_opt_in: from.value(&key("contacts.double_opt_in", &[]), "true", flag),
                webhook_username: from
                    .optional(&key("contacts.webhook_username", &["ZAPIER_USERNAME"]), text),
                webhook_password: from.optional(
                    &key("contacts.webhook_password", &["ZAPIER_PASSWORD"]).secret(),
                    contacts::password,
                ),
            },
            hooks: Hooks { allowed: from.value(&key("hooks.allowed", &[]), "", hooks::origins) },
            notify: Notify {
                grace: from.value(
                    &key("notify.grace", &["LUX_NOTIFY_GRACE"]),
                    "30s",
                    notify::grace,
                ),
                settle: from.value(
                    &key("notify.settle", &["LUX_NOTIFY_SETTLE"]),
                    "1m",
                    notify::grace,
                ),
                poll: from.value(&key("notify.poll", &["LUX_NOTIFY_POLL"]), "1s", notify::poll),
            },
            integrations: integrations::read(&mut from),
            apps: from.list("apps", |written: AppEntry, entry| {
                written.check(entry);
                Some(written)
            }),
            sources: from.list("sources", Source::check),
            error_sources: from.list("error_sources", ErrorSource::check),
            grouping: from.list("grouping", GroupingRule::check),
            probes: from.list("probes", |written: Probe, entry| {
                written.check(entry);
                Some(written)
            }),
            actions: from.list("actions", |written, entry| Some(Action::check(written, entry))),
            actions_refused: None,
            repair: Repair {
                passes: from.value(&key("repair.passes", &[]), "3", at_least_one),
                spacing: from.value(&key("repair.spacing", &[]), "2s", duration),
                try_failing: from.value(&key("repair.try_failing", &[]), "true", flag),
                probes_per_second: from.value(
                    &key("repair.probes_per_second", &[]),
                    "40",
                    at_least_one,
                ),
                never_probe: from.value(
                    &key("repair.never_probe", &[]),
                    repair::NEVER_PROBE,
                    path_patterns,
                ),
                systemctl: from.value(&key("repair.systemctl", &[]), "systemctl", text),
                actions: from.value(&key("repair.actions", &[]), "false", flag),
                approval_expires: from.value(
                    &key("repair.approval_expires", &[]),
                    "30m",
                    parse::approval_time,
                ),
                keep: from.value(&key("repair.keep", &[]), "90d", repair::keep),
            },
            schedule: Schedule {
                repair: from.value(&key("schedule.repair", &[]), "0 */6 * * *", repair::cron),
                clear: from.value(&key("schedule.clear", &[]), "0 2 * * *", repair::cron),
                clear_older_than: from.value(
                    &key("schedule.clear_older_than", &[]),
                    "48h",
                    repair::clear_age,
                ),
                timezone: from.value(&key("schedule.timezone", &[]), "UTC", zone),
            },
            sign_in: SignIn {
                signup: from.value(&key("sign_in.signup", &[]), "invited", sign_in::signup),
                domains: from.value(&key("sign_in.domains", &[]), "", sign_in::domains),
                idle: from.value(&key("sign_in.idle", &[]), "12h", sign_in::idle),
                absolute: from.value(&key("sign_in.absolute", &[]), "7days", sign_in::absolute),
            },
            probe_variables: BTreeMap::new(),
            settings: Vec::new(),
            file: from.path.clone(),
        };
        config.finish(from)
    }

    /// The checks that need more than one setting.
    fn finish(mut self, mut from: Loader) -> (Self, Vec<Mistake>) {
        from.unique("apps", self.apps.iter().map(|app| app.name.as_str()));
        from.unique("sources", self.sources.iter().map(|source| source.name.as_str()));
        let names = self.error_sources.iter().map(|source| source.name.as_str());
        from.unique("error_sources", names);
        let names = self.providers.iter().map(|provider| provider.name.as_str());
        from.unique("sign_in.providers", names);
        from.unique("probes", self.probes.iter().map(|probe| probe.name.as_str()));
        from.unique("actions", self.actions.iter().map(|action| action.name.as_str()));
        if let Some(problem) = GroupingRule::number(&mut self.grouping) {
            from.mistake("grouping", from.file_origin(), problem);
        }
        self.check_probes(&mut from);
        for action in &self.actions {
            for problem in action.missing(&self.actions, &self.probes) {
                from.mistake(&format!("actions \"{}\"", action.name), from.file_origin(), problem);
            }
        }
        if self.repair.actions
            && let Some(file) = &self.file
        {
            self.actions_refused = trust::check(file).err();
        }
        if self.sources.is_empty() {
            self.sources = Source::usual();
        }
        if !self.listen.ip().is_loopback() && !self.http.allow_public {
            let text = self.listen.to_string();
            from.mistakes.push(Mistake {
                key: "listen".to_owned(),
                origin: origin_of(&from.settings, "listen"),
                problem: format!(
                    "{text} can be reached from other machines, and Lux itself has no TLS; listen \
                     on 127.0.0.1 behind nginx, or set http.allow_public = true \
                     (LUX_ALLOW_PUBLIC=true) if something else protects it"
                ),
            });
        }
        if self.sign_in.idle > self.sign_in.absolute {
            let shown = |time| humantime::format_duration(time).to_string();
            from.mistakes.push(Mistake {
                key: "sign_in.idle".to_owned(),
                origin: origin_of(&from.settings, "sign_in.idle"),
                problem: format!(
                    "{} is longer than sign_in.absolute ({}), after which every session ends; \
                     make it shorter",
                    shown(self.sign_in.idle),
                    shown(self.sign_in.absolute)
                ),
            });
        }
        from.refuse_unknown(&["LUX_CONFIG", "LUX_URL", "LUX_TOKEN"]);
        self.settings = std::mem::take(&mut from.settings);
        (self, from.mistakes)
    }

    /// Probes name applications, and variables of this environment.
    fn check_probes(&mut self, from: &mut Loader) {
        let apps: Vec<&str> = self.apps.iter().map(|app| app.name.as_str()).collect();
        for probe in &self.probes {
            let problem = match &probe.app {
                Some(app) if !apps.contains(&app.as_str()) => {
                    format!("app = \"{app}\" is none of [[apps]]; add it there with its base_url")
                }
                None if probe.kind == ProbeKind::Http && apps.len() != 1 => {
                    "an http probe needs app: the [[apps]] entry whose base_url it asks".to_owned()
                }
                _ => continue,
            };
            from.mistakes.push(Mistake {
                key: format!("probes \"{}\"", probe.name),
                origin: from.file_origin().to_string(),
                problem,
            });
        }
        for name in self.probes.iter().flat_map(Probe::variables_of_lux) {
            if let Some(value) = from.environment(name) {
                self.probe_variables.insert(name.to_owned(), value.to_owned().into());
            }
        }
    }

    /// Whether `[[apps]]` or a log source names the application.
    pub fn names_app(&self, name: &str) -> bool {
        self.apps.iter().any(|app| app.name == name)
            || self.sources.iter().any(|source| source.app.as_deref() == Some(name))
    }

    /// Every secret that Lux was given: none of them may leave it in a text. Of a URL the
    /// password is one by itself.
    pub fn secrets(&self) -> Vec<&str> {
        let model = self.model.key.iter().chain(self.model.headers.iter().map(|(_, value)| value));
        let urls = self.error_sources.iter().map(|source| &source.url);
        let clients = self.providers.iter().filter_map(|provider| provider.client_secret.as_ref());
        let all = model.chain(self.probe_variables.values()).chain(urls);
        let all = all.chain(&self.master_key).chain(clients).chain(&self.mail.password);
        let all = all.chain(self.integrations.iter().map(|client| &client.secret));
        let mut secrets: Vec<&str> = all.map(ExposeSecret::expose_secret).collect();
        secrets.push(self.database_url.expose_secret());
        secrets
    }

    /// Where the keys stand that secrets are sealed with.
    pub fn key_origin(&self) -> KeyOrigin {
        let credential = self.credentials_dir.as_ref().map(|folder| folder.join("master-key"));
        if let Some(path) = credential.filter(|path| path.exists()) {
            return KeyOrigin::Credential(path);
        }
        if let Some(path) = &self.master_key_file {
            return KeyOrigin::Given(path.clone());
        }
        if let Some(text) = &self.master_key {
            return KeyOrigin::Environment(text.clone());
        }
        KeyOrigin::Own(self.data_dir.join("master.key"))
    }

    /// Where the CLI reaches a server that runs on this data directory.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.listen)
    }
}

impl Http {
    /// Whether a connection's address is a proxy that may say for whom it speaks.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

fn providers(from: &mut Loader) -> Vec<Provider> {
    let repl_id = from.optional(&key("repl_id", &["REPL_ID"]), text);
    let issuer = &key("issuer_url", &["ISSUER_URL"]);
    let issuer = from.value(issuer, providers::REPLIT_ISSUER, providers::issuer);
    let offline = from.value(&key("sign_in.offline_access", &[]), "true", flag);
    let replit = repl_id.map(|repl_id| Provider::replit(&repl_id, &issuer, offline));
    let listed = from.list("sign_in.providers", Provider::check);
    replit.into_iter().chain(listed).collect()
}

fn http(from: &mut Loader) -> Http {
    Http {
        max_body_bytes: from.value(
            &key("http.max_body_bytes", &["LUX_MAX_BODY_BYTES"]),
            "2097152",
            number::<usize>,
        ),
        request_timeout: from.value(&key("http.request_timeout", &[]), "30s", duration),
        drain_timeout: from.value(&key("http.drain_timeout", &[]), "10s", duration),
        requests_per_minute: from.value(
            &key("http.requests_per_minute", &["LUX_REQUESTS_PER_MINUTE"]),
            "1200",
            at_least_one,
        ),
        events_per_minute: from.value(
            &key("http.events_per_minute", &["LUX_EVENTS_PER_MINUTE"]),
            "6000000",
            at_least_one,
        ),
        head_timeout: from.value(&key("http.head_timeout", &[]), "10s", duration),
        idle_timeout: from.value(&key("http.idle_timeout", &[]), "60s", duration),
        max_connections: from.value(&key("http.max_connections", &[]), "2048", number::<usize>),
        max_connections_per_address: from.value(
            &key("http.max_connections_per_address", &[]),
            "50",
            number::<usize>,
        ),
        guesses_per_minute: from.value(
            &key("http.guesses_per_minute", &["LUX_GUESSES_PER_MINUTE"]),
            "60",
            at_least_one,
        ),
        trusted_proxies: from.value(
            &key("http.trusted_proxies", &["LUX_TRUSTED_PROXIES"]),
            "127.0.0.1, ::1",
            networks,
        ),
        allow_public: from.value(&key("http.allow_public", &["LUX_ALLOW_PUBLIC"]), "false", flag),
    }
}

fn origin_of(settings: &[Setting], name: &str) -> String {
    settings
        .iter()
        .find(|setting| setting.key == name)
        .map_or_else(|| "default".to_owned(), |setting| setting.origin.to_string())
}

#[cfg(test)]
mod tests;
