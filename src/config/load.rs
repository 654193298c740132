//! Layering: defaults < `lux.toml` < environment < flags. Every setting remembers
//! where its value came from, and all mistakes are collected before any is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// What was given from outside the file: the environment and the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub environment: BTreeMap<String, String>,
    /// Setting → value, for the settings that have a flag.
    pub flags: BTreeMap<&'static str, String>,
    /// `--config FILE`
    pub file: Option<PathBuf>,
}

impl Overrides {
    /// The environment of this process; variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { environment, ..Self::default() }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "from", content = "name")]
pub enum Origin {
    Default,
    File(String),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One setting with its effective value (secrets hidden) and origin, for `lux doctor`.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    pub key: String,
    pub value: String,
    #[serde(flatten)]
    pub origin: Origin,
}

/// One mistake: which setting, where it stands, what is wrong and what to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    pub key: String,
    pub origin: String,
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.problem)
    }
}

/// How one scalar setting is named and read.
pub(super) struct Key {
    /// Dotted, as in the file: "http.max_body_bytes".
    pub(super) name: &'static str,
    pub(super) env: &'static [&'static str],
    pub(super) flag: Option<&'static str>,
    pub(super) secret: bool,
}

pub(super) const fn key(name: &'static str, env: &'static [&'static str]) -> Key {
    Key { name, env, flag: None, secret: false }
}

impl Key {
    pub(super) const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

pub(super) struct Loader {
    overrides: Overrides,
    file: toml::Table,
    pub(super) path: Option<PathBuf>,
    visited: BTreeSet<String>,
    known_variables: BTreeSet<&'static str>,
    pub(super) settings: Vec<Setting>,
    pub(super) mistakes: Vec<Mistake>,
}

/// The largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

impl Loader {
    pub(super) fn new(overrides: Overrides) -> Self {
        let named = overrides
            .file
            .clone()
            .or_else(|| overrides.environment.get("LUX_CONFIG").map(PathBuf::from));
        let path = named.clone().or_else(|| {
            ["lux.toml", "/etc/lux/lux.toml"].map(PathBuf::from).into_iter().find(|p| p.exists())
        });
        let mut loader = Self {
            overrides,
            file: toml::Table::new(),
            path,
            visited: BTreeSet::new(),
            known_variables: BTreeSet::new(),
            settings: Vec::new(),
            mistakes: Vec::new(),
        };
        if let Some(path) = loader.path.clone() {
            match read_table(&path) {
                Ok(table) => loader.file = table,
                Err(problem) => loader.mistake(&path.display().to_string(), "file", problem),
            }
        }
        loader
    }

    pub(super) fn environment(&self, name: &str) -> Option<&str> {
        self.overrides.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn mistake(
        &mut self,
        key: &str,
        origin: impl fmt::Display,
        problem: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            key: key.to_owned(),
            origin: origin.to_string(),
            problem: problem.into(),
        });
    }

    /// The file as an origin.
    pub(super) fn file_origin(&self) -> Origin {
        Origin::File(self.path.as_deref().unwrap_or(Path::new("lux.toml")).display().to_string())
    }

    /// The text of a setting and where it came from, the strongest layer first.
    fn text(&mut self, key: &Key) -> Option<(String, Origin)> {
        self.visited.insert(key.name.to_owned());
        self.known_variables.extend(key.env);
        if let Some(flag) = key.flag
            && let Some(value) = self.overrides.flags.get(key.name)
        {
            return Some((value.clone(), Origin::Flag(flag.to_owned())));
        }
        for name in key.env {
            if let Some(value) = self.environment(name) {
                return Some((value.to_owned(), Origin::Environment((*name).to_owned())));
            }
            // Secrets may be handed over in a file, as systemd's LoadCredential does.
            let file_name = format!("{name}_FILE");
            if key.secret
                && let Some(path) = self.environment(&file_name).map(str::to_owned)
            {
                match fs::read_to_string(&path) {
                    Ok(text) => {
                        return Some((text.trim().to_owned(), Origin::Environment(file_name)));
                    }
                    Err(error) => self.mistake(
                        key.name,
                        format!("environment {file_name}"),
                        format!("{path} cannot be read: {error}"),
                    ),
                }
            }
        }
        match find(&self.file, key.name) {
            None => None,
            Some(toml::Value::String(text)) => Some((text.clone(), self.file_origin())),
            Some(
                value @ (toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_)),
            ) => Some((value.to_string(), self.file_origin())),
            // A list of texts is the text that an environment variable would hold.
            Some(toml::Value::Array(items)) if items.iter().all(toml::Value::is_str) => {
                let items: Vec<&str> = items.iter().filter_map(toml::Value::as_str).collect();
                Some((items.join(", "), self.file_origin()))
            }
            Some(value) => {
                let problem = format!("a {} where a single value belongs", value.type_str());
                let origin = self.file_origin();
                self.mistake(key.name, origin, problem);
                None
            }
        }
    }

    /// Reads a setting that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let before = self.settings.len();
        let given = self.given(key, parse);
        if self.settings.len() == before {
            self.settings.push(Setting {
                key: key.name.to_owned(),
                value: "(not set)".to_owned(),
                origin: Origin::Default,
            });
        }
        given
    }

    /// Reads a setting that is shown only where it was given.
    pub(super) fn given<T>(
        &mut self,
        key: &Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, origin) = self.text(key)?;
        let parsed = parse(&text);
        let value = if key.secret { hidden(&text) } else { text };
        self.settings.push(Setting { key: key.name.to_owned(), value, origin: origin.clone() });
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                self.mistake(key.name, origin, problem);
                None
            }
        }
    }

    /// Reads a setting with a default, which is also what it is after a mistake.
    pub(super) fn value<T>(
        &mut self,
        key: &Key,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let before = self.settings.len();
        if let Some(value) = self.optional(key, &parse) {
            return value;
        }
        if let Some(setting) = self.settings.get_mut(before)
            && setting.origin == Origin::Default
        {
            default.clone_into(&mut setting.value);
        }
        match parse(default) {
            Ok(value) => value,
            Err(problem) => unreachable!("the default of {} is wrong: {problem}", key.name),
        }
    }

    /// Reads `[[name]]` (dotted, as in `[[sign_in.providers]]`), each entry by itself so that every mistake is found.
    pub(super) fn list<W: DeserializeOwned, T>(
        &mut self,
        name: &'static str,
        check: impl Fn(W, &mut Entry<'_>) -> Option<T>,
    ) -> Vec<T> {
        self.visited.insert(name.to_owned());
        let origin = self.file_origin();
        let entries = match find(&self.file, name).cloned() {
            None => Vec::new(),
            Some(toml::Value::Array(entries)) => entries,
            Some(_) => {
                self.mistake(name, &origin, format!("write it as a list: [[{name}]]"));
                Vec::new()
            }
        };
        let mut read = Vec::new();
        for (index, value) in entries.into_iter().enumerate() {
            let label = match value.get("name").and_then(toml::Value::as_str) {
                Some(label) => format!("{name} \"{label}\""),
                None => format!("{name} number {}", index + 1),
            };
            match value.try_into::<W>() {
                Ok(written) => {
                    let mut entry = Entry { loader: self, label, origin: origin.clone() };
                    read.extend(check(written, &mut entry));
                }
                Err(error) => self.mistake(&label, &origin, one_line(error.message())),
            }
        }
        read
    }

    /// Tells of keys in the file, and `LUX_…` variables, that mean nothing.
    pub(super) fn refuse_unknown(&mut self, other_variables: &[&'static str]) {
        let mut unknown = Vec::new();
        unvisited(&self.file, "", &self.visited, &mut unknown);
        let known: Vec<String> = self.visited.iter().cloned().collect();
        let origin = self.file_origin();
        for key in unknown {
            let problem = match nearest(&key, known.iter().map(String::as_str)) {
                Some(near) => format!("there is no such setting; did you mean {near}?"),
                None => "there is no such setting; remove it".to_owned(),
            };
            self.mistake(&key, &origin, problem);
        }
        self.known_variables.extend(other_variables);
        let strangers: Vec<String> = self
            .overrides
            .environment
            .keys()
            .filter(|name| name.starts_with("LUX_") && !name.starts_with("LUX_TEST_"))
            .filter(|name| !self.known_variables.contains(name.trim_end_matches("_FILE")))
            .cloned()
            .collect();
        for name in strangers {
            let problem = match nearest(&name, self.known_variables.iter().copied()) {
                Some(near) => format!("there is no such variable; did you mean {near}?"),
                None => "there is no such variable; unset it".to_owned(),
            };
            self.mistake(&name, "environment", problem);
        }
    }

    pub(super) fn unique<'a>(&mut self, list: &'static str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                let origin = self.file_origin();
                self.mistake(
                    &format!("{list} \"{name}\""),
                    origin,
                    "the name is used twice; give each its own",
                );
            }
        }
    }
}

/// One entry of a list while it is checked.
pub(super) struct Entry<'a> {
    loader: &'a mut Loader,
    label: String,
    origin: Origin,
}

impl Entry<'_> {
    /// A variable of Lux's own environment; `None` where it is not set or empty.
    pub(super) fn environment(&self, name: &str) -> Option<&str> {
        self.loader.environment(name)
    }

    pub(super) fn mistake(&mut self, problem: impl Into<String>) {
        let (label, origin) = (self.label.clone(), self.origin.clone());
        self.loader.mistake(&label, origin, problem);
    }
}

fn read_table(path: &Path) -> Result<toml::Table, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > MAX_FILE {
        return Err(format!("is {size} bytes long; a configuration has at most {MAX_FILE}"));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    text.parse::<toml::Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line}: {}", one_line(error.message()))
    })
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn find<'a>(table: &'a toml::Table, dotted: &str) -> Option<&'a toml::Value> {
    match dotted.split_once('.') {
        None => table.get(dotted),
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
    }
}

fn unvisited(
    table: &toml::Table,
    prefix: &str,
    visited: &BTreeSet<String>,
    unknown: &mut Vec<String>,
) {
    for (key, value) in table {
        let dotted = format!("{prefix}{key}");
        if visited.contains(&dotted) {
            continue;
        }
        match value.as_table() {
            Some(inner) if !inner.is_empty() => {
                unvisited(inner, &format!("{dotted}."), visited, unknown);
            }
            Some(_) if visited.iter().any(|key| key.starts_with(&format!("{dotted}."))) => {}
            _ => unknown.push(dotted),
        }
    }
}

/// The known name that a misspelt one most resembles, if any does.
fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A secret as `lux doctor` may show it: a URL without its password, else only its length.
fn hidden(text: &str) -> String {
    if let Ok(mut url) = url::Url::parse(text)
        && (url.has_host() || url.scheme() == "sqlite")
    {
        if url.password().is_some() && url.set_password(Some("hidden")).is_err() {
            return "(set)".to_owned();
        }
        // Options can carry a password too: postgres://host/db?password=…
        let secret_option = url.query_pairs().any(|(name, _)| name.contains("pass"));
        if secret_option {
            url.set_query(Some("hidden"));
        }
        return url.to_string();
    }
    format!("(set, {} characters)", text.chars().count())
}
