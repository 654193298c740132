//! `[[sources]]`: where logs come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::load::Entry;

/// One log source, as `[[sources]]` describes it; checked (a name, and exactly one
/// of path, unit, directory) when the configuration is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Unique; shown in citations and used as the key of its checkpoint.
    pub name: String,
    /// The monitored application it belongs to.
    pub app: Option<String>,
    pub kind: SourceKind,
    pub place: Place,
    /// The zone of times that name none; `None` is the zone of this host.
    pub timezone: Option<chrono_tz::Tz>,
    /// Whether errors in it become events.
    pub capture: bool,
}

/// Where a source's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A file, or a glob of files that is looked at again and again.
    Path(String),
    /// A unit of this host's journal ("shop.service"); "*" is the whole journal.
    Unit(String),
    /// A directory of journal files (`journalctl --directory`).
    Directory(PathBuf),
}

/// The format, as `kind = "…"` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Found out from the first lines.
    #[default]
    Auto,
    NginxError,
    NginxAccess,
    Gunicorn,
    Python,
    Json,
    Plain,
    Journal,
    Postgres,
    Redis,
    Kernel,
}

/// The entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    app: Option<String>,
    #[serde(default)]
    kind: SourceKind,
    path: Option<String>,
    unit: Option<String>,
    directory: Option<PathBuf>,
    timezone: Option<chrono_tz::Tz>,
    capture: Option<bool>,
}

impl SourceKind {
    /// Whether errors in such a log become events where nothing is said: of a database's
    /// own log the application reports what concerns it.
    const fn is_captured(self) -> bool {
        !matches!(self, Self::Postgres | Self::Redis)
    }
}

impl Source {
    pub(super) fn check(written: Written, entry: &mut Entry<'_>) -> Option<Self> {
        let Written { name, app, kind, path, unit, directory, timezone, capture } = written;
        if name.trim().is_empty() {
            entry.mistake("name is empty; give the source a short unique name");
        }
        if let Some(path) = &path
            && let Err(error) = glob::Pattern::new(path)
        {
            entry.mistake(format!("path = \"{path}\" is no valid pattern: {error}"));
        }
        let place = match (path, unit, directory) {
            (Some(path), None, None) => Place::Path(path),
            (None, Some(unit), None) => Place::Unit(unit),
            (None, None, Some(directory)) => Place::Directory(directory),
            _ => {
                entry.mistake("needs exactly one of path, unit and directory");
                return None;
            }
        };
        let journal = !matches!(place, Place::Path(_));
        if journal && !matches!(kind, SourceKind::Auto | SourceKind::Journal) {
            entry.mistake("unit and directory are journals; leave kind out or write \"journal\"");
        }
        let kind = if journal { SourceKind::Journal } else { kind };
        let capture = capture.unwrap_or(kind.is_captured());
        Some(Self { name, app, kind, place, timezone, capture })
    }

    /// What is watched when no source is configured: the usual places on a Debian
    /// host. What is not there is reported as missing and picked up when it comes.
    pub(super) fn usual() -> Vec<Self> {
        let source = |name: &str, kind: SourceKind, place| Self {
            name: name.to_owned(),
            app: None,
            kind,
            place,
            timezone: None,
            capture: kind.is_captured(),
        };
        let path = |text: &str| Place::Path(text.to_owned());
        vec![
            source("nginx-error", SourceKind::NginxError, path("/var/log/nginx/*error.log")),
            source("nginx-access", SourceKind::NginxAccess, path("/var/log/nginx/*access.log")),
            source("gunicorn", SourceKind::Auto, path("/var/log/gunicorn/*.log")),
            source("postgresql", SourceKind::Postgres, path("/var/log/postgresql/*.log")),
            source("journal", SourceKind::Journal, Place::Unit("*".to_owned())),
        ]
    }
}
