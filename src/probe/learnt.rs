//! Probes that repeat the request that failed. The error's method and endpoint are text
//! that anyone can write, so little of it is believed.

use std::{collections::BTreeMap, fmt, time::Duration};

use url::Url;

use super::{Check, Expect, Origin, Probe, check::is_safe_method};
use crate::{
    config::{AppEntry, Config},
    outbound::{Target, target},
};

/// How long a learnt probe may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why an error's request is not repeated: one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

pub(super) fn learn(
    config: &Config,
    apps: &[AppEntry],
    app: &str,
    method: Option<&str>,
    endpoint: &str,
) -> Result<Probe, Refused> {
    let app = find_app(apps, app)?;
    let told = method.map(str::trim).filter(|method| !method.is_empty());
    let told = told.map(str::to_ascii_uppercase);
    let method = told.clone().unwrap_or_else(|| "GET".to_owned());
    let shown = shown(endpoint);
    if !is_safe_method(&method) {
        return Err(Refused(format!(
            "{method} {shown} changes data: give Lux a probe for it, or confirm by hand"
        )));
    }
    if is_pattern(endpoint) {
        return Err(Refused(format!(
            "{shown} is the pattern of a route, not a path: report the path that failed, or give \
             Lux a probe for it"
        )));
    }
    let target = Target::new(&app.base_url)
        .map_err(|why| Refused(format!("the base_url of {} is not asked: {why}", app.name)))?;
    let url = target.untrusted(endpoint).map_err(|why| {
        Refused(format!("{shown} is not asked, because {why}: give Lux a probe for it"))
    })?;
    may_ask(&config.repair.never_probe, &url)
        .map_err(|why| Refused(format!("{why}: give Lux a probe for it, or confirm by hand")))?;
    // Without its query, or with a guessed method, it is not surely the same request.
    let is_same = told.is_some() && !endpoint.contains('?');
    let path = endpoint.split('?').next().unwrap_or_default();
    Ok(Probe {
        name: format!("{method} {}", self::shown(path)),
        app: Some(app.name.clone()),
        covers: if is_same { vec![format!("{method} {path}")] } else { Vec::new() },
        causes: Vec::new(),
        check: Check::Http { method, path: path.to_owned(), headers: BTreeMap::new(), body: None },
        expect: Expect::default(),
        timeout: TIMEOUT,
        origin: Origin::Learnt,
    })
}

/// An event without an application belongs to the only one there is.
fn find_app<'a>(apps: &'a [AppEntry], app: &str) -> Result<&'a AppEntry, Refused> {
    let found = match apps {
        [only] if app.is_empty() => Some(only),
        apps => apps.iter().find(|entry| entry.name == app),
    };
    found.ok_or_else(|| {
        Refused(if apps.is_empty() {
            "Lux does not know where the application is: add [[apps]] with name and base_url to \
             lux.toml, or use `lux apps add`"
                .to_owned()
        } else if app.is_empty() {
            "the error names no application, and there are several: report errors with app"
                .to_owned()
        } else {
            format!(
                "Lux knows no address of \"{}\": add it with its base_url to [[apps]], or use \
                 `lux apps add`",
                shown(app)
            )
        })
    })
}

/// Whether a URL may be asked for because an error (or a redirect) leads to it.
pub(super) fn may_ask(never: &[String], url: &Url) -> Result<(), String> {
    let path = target::plain(url.path());
    match never.iter().find(|pattern| matches(pattern, &path)) {
        Some(pattern) => Err(format!(
            "{} may change something when it is asked for ({pattern} in repair.never_probe)",
            shown(url.path())
        )),
        None => Ok(()),
    }
}

/// `/logout` is found wherever a part of the path begins with it; with `*` the pattern is
/// for the whole path.
fn matches(pattern: &str, path: &str) -> bool {
    if !pattern.contains('*') {
        return path.contains(pattern);
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let mut last = "";
    for part in parts {
        last = part;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    last.is_empty() || path.ends_with(last)
}

/// `/user/<id>`, `/user/{id}`, `/user/:id`
fn is_pattern(endpoint: &str) -> bool {
    let path = endpoint.split('?').next().unwrap_or_default();
    path.contains(['<', '>', '{', '}'])
        || path.split('/').any(|part| {
            part.strip_prefix(':').is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic()))
        })
}

/// One bounded line.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(200).collect();
    text.replace(char::is_control, " ")
}
