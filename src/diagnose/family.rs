//! Which program a record comes from, as far as playbooks care.

use serde::Deserialize;

use crate::logs::{Fields, Kind, Record};

/// The program that wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Nginx,
    /// The application and its server: gunicorn, uvicorn, Python, JSON, events.
    App,
    Postgres,
    /// A statement that PostgreSQL quotes: text of the application, not of the server.
    Statement,
    Redis,
    /// systemd itself, about units.
    Systemd,
    Kernel,
    /// Nothing is known: counts for all.
    Other,
}

impl Family {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Other as usize + 1;

    pub(crate) fn of(record: &Record<'_>) -> Self {
        match &record.fields {
            Fields::Journal(journal) => match (journal.inner, journal.identifier) {
                (_, Some("kernel")) | (Some(Kind::Kernel), _) => Self::Kernel,
                (_, Some("systemd" | "systemd-coredump" | "systemd-oomd")) => Self::Systemd,
                // "(gunicorn)": systemd's child just before it becomes the program
                (_, Some(name)) if name.starts_with('(') => Self::Systemd,
                (_, Some("nginx")) => Self::Nginx,
                (_, Some("postgres" | "postgresql")) => Self::Postgres,
                (Some(kind), _) => Self::of_kind(kind, record.message()),
                (None, _) if journal.unit.is_some_and(|unit| unit.contains("redis")) => Self::Redis,
                (None, _) => Self::App,
            },
            // nginx writes down what PHP says
            Fields::Nginx(_) if record.message().starts_with("FastCGI sent in stderr") => Self::App,
            _ => Self::of_kind(record.kind, record.message()),
        }
    }

    fn of_kind(kind: Kind, message: &str) -> Self {
        match kind {
            Kind::NginxError | Kind::NginxAccess => Self::Nginx,
            Kind::Gunicorn | Kind::Python | Kind::Json | Kind::Event => Self::App,
            Kind::Postgres => {
                if message.starts_with("STATEMENT:") || message.starts_with("QUERY:") {
                    Self::Statement
                } else {
                    Self::Postgres
                }
            }
            Kind::Redis => Self::Redis,
            Kind::Kernel => Self::Kernel,
            Kind::Journal => Self::Systemd,
            Kind::Auto | Kind::Plain => Self::Other,
        }
    }
}

/// The kind of the text itself: that of a line captured by journald is the line's own.
pub(crate) fn kind_of(record: &Record<'_>) -> Kind {
    match &record.fields {
        Fields::Journal(journal) => journal.inner.unwrap_or(Kind::Journal),
        _ => record.kind,
    }
}
