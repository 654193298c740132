//! From an entry of the allow-list and values to exactly what would run. Values come from
//! logs: they fill whole arguments, and only if the operator described them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    config::{self, Config, Param, Policy, Risk, placeholder},
    diagnose::Captured,
};

/// Where a bare program name is looked for, and the `PATH` that actions get.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An action with all its parameters filled in: exactly what would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rendered {
    pub action: String,
    pub title: Option<String>,
    /// The cause it is for, by name.
    pub cause: String,
    pub params: BTreeMap<String, String>,
    /// The first is the program's whole path.
    pub argv: Vec<String>,
    /// Names of the variables it gets besides `PATH` and `LANG`.
    pub env: Vec<String>,
    /// Whose rights it runs with; `None`: Lux's own.
    pub user: Option<String>,
    pub timeout_ms: u64,
    pub policy: Policy,
    pub risk: Risk,
    /// The argv that would take it back.
    pub undo: Option<Vec<String>>,
    /// The probes that show whether it helped.
    pub verify: Vec<String>,
    /// SHA-256 (hex) of all that decides what would happen.
    pub hash: String,
    /// Whether the configuration lets it run at all; if not, it cannot be proposed.
    pub possible: bool,
    /// Why it may not run now: actions are off or stopped, cooldown, runs a day used up.
    pub blocked: Option<String>,
}

/// The allow-list as it was read at the start, with each program's path.
#[derive(Debug)]
pub struct Catalogue {
    entries: BTreeMap<String, Entry>,
    /// Why nothing of it may run.
    off: Option<String>,
}

#[derive(Debug)]
struct Entry {
    action: config::Action,
    /// The program, or why it cannot be run.
    program: Result<PathBuf, String>,
}

impl Catalogue {
    pub fn new(config: &Config) -> Self {
        let off = if config.repair.actions {
            config.actions_refused.clone()
        } else {
            Some("actions are off; set actions = true in [repair] of lux.toml".to_owned())
        };
        let entries = config.actions.iter().map(|action| {
            let program = action.argv.first().map_or(Err("argv is empty".to_owned()), find_program);
            (action.name.clone(), Entry { action: action.clone(), program })
        });
        Self { entries: entries.collect(), off }
    }

    /// Why nothing may run, if so.
    pub fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// How many actions there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Actions whose program is not there, with the reason.
    pub fn broken(&self) -> Vec<(&str, &str)> {
        let entries = self.entries.iter();
        entries.filter_map(|(name, it)| Some((&**name, &**it.program.as_ref().err()?))).collect()
    }

    pub(super) fn action(&self, name: &str) -> Option<&config::Action> {
        Some(&self.entries.get(name)?.action)
    }

    /// An action's parameters with their rules.
    pub fn params(&self, name: &str) -> impl Iterator<Item = (&str, &Param)> {
        let params = self.action(name).map(|action| &action.params);
        params.into_iter().flatten().map(|(name, param)| (name.as_str(), param))
    }

    /// Names of all actions.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Names of the actions that may be proposed for a cause.
    pub(super) fn fixing<'a>(&'a self, cause: &'a str) -> impl Iterator<Item = &'a str> {
        let entries = self.entries.values();
        entries
            .filter(move |it| it.action.fixes.iter().any(|fixed| fixed == cause))
            .map(|it| it.action.name.as_str())
    }

    /// The values of an action's parameters, from what the diagnosis captured: the one that
    /// the parameter's rule accepts. An error says which value is missing, not allowed, or
    /// not the only one: between two units nobody may guess.
    pub fn fill(&self, name: &str, known: &Captured) -> Result<BTreeMap<String, String>, String> {
        let entry = self.entry(name)?;
        let params = entry.action.params.iter();
        let filled = params.map(|(name, param)| {
            let value = match (&param.from, &param.default) {
                (Some(from), _) => captured(param, from, known)?,
                (None, Some(default)) => Some(default.as_str()),
                (None, None) => match param.only() {
                    Some(only) => Some(only),
                    None => captured(param, name, known)?,
                },
            };
            let value = value.ok_or_else(|| format!("the diagnosis gives no {name}"))?;
            Ok((name.clone(), value.to_owned()))
        });
        filled.collect()
    }

    /// What would run with these values; `cause` is the name of what it is for. Every
    /// parameter must have its value and no other may be named.
    pub fn render(
        &self,
        name: &str,
        cause: &str,
        params: &BTreeMap<String, String>,
    ) -> Result<Rendered, String> {
        let entry = self.entry(name)?;
        let action = &entry.action;
        let argv = entry.argv(params)?;
        let undo = action.undo.as_deref().map(|undo| self.undo(undo, params)).transpose()?;
        let possible = self.off.clone().or_else(|| entry.program.clone().err()).or_else(|| {
            (action.policy == Policy::Never)
                .then(|| format!("{name} has the policy \"never\": a person may run it by hand"))
        });
        let sealed = Sealed {
            version: 1,
            action: name,
            cause,
            params,
            argv: &argv,
            env: &action.env,
            user: action.user.as_deref(),
            timeout: action.timeout,
            undo: undo.as_deref(),
        };
        Ok(Rendered {
            hash: sha256(&serde_json::to_vec(&sealed).map_err(|error| error.to_string())?),
            action: name.to_owned(),
            title: action.title.clone(),
            cause: cause.to_owned(),
            params: params.clone(),
            env: action.env.keys().cloned().collect(),
            user: action.user.clone(),
            timeout_ms: u64::try_from(action.timeout.as_millis()).unwrap_or(u64::MAX),
            policy: action.policy,
            risk: action.risk,
            undo,
            verify: action.verify.clone(),
            argv,
            possible: possible.is_none(),
            blocked: possible,
        })
    }

    /// The argv that takes an action back: its parameters have the same values.
    fn undo(&self, name: &str, params: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        self.entry(name)?.argv(&self.fill_undo(name, params)?)
    }

    /// The values for an undoing action, from those of the action that it takes back.
    pub(super) fn fill_undo(
        &self,
        name: &str,
        params: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let entry = self.entry(name)?;
        let filled = entry.action.params.iter().map(|(param_name, param)| {
            let value = params.get(param_name).or(param.default.as_ref());
            let value = value.map(String::as_str).or_else(|| param.only());
            let value = value.ok_or_else(|| {
                format!("{name}, which takes it back, needs {param_name}; give it a default")
            })?;
            Ok((param_name.clone(), value.to_owned()))
        });
        filled.collect()
    }

    fn entry(&self, name: &str) -> Result<&Entry, String> {
        self.entries.get(name).ok_or_else(|| format!("there is no action {name} in lux.toml"))
    }
}

/// The only captured value of that name that the parameter takes; `None` if nothing was
/// captured.
fn captured<'a>(param: &Param, name: &str, known: &'a Captured) -> Result<Option<&'a str>, String> {
    let Some(values) = known.get(name).filter(|values| !values.is_empty()) else {
        return Ok(None);
    };
    let mut allowed = values.iter().filter(|value| param.accept(value).is_ok());
    match (allowed.next(), allowed.next()) {
        (Some(only), None) => Ok(Some(only)),
        (Some(_), Some(_)) => Err(format!("the diagnosis names more than one {name}")),
        (None, _) => Err(format!("no {name} that the diagnosis names is allowed")),
    }
}

impl Entry {
    fn argv(&self, params: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        let defined = &self.action.params;
        if let Some(stranger) = params.keys().find(|name| !defined.contains_key(*name)) {
            return Err(format!("{} has no parameter {stranger}", self.action.name));
        }
        for (name, param) in defined {
            let value = params.get(name).ok_or_else(|| format!("{name} has no value"))?;
            param.accept(value).map_err(|why| format!("the value of {name} {why}"))?;
        }
        let mut argv = self.action.argv.clone();
        for argument in argv.iter_mut().skip(1) {
            if let Some(value) = placeholder(argument).and_then(|name| params.get(name)) {
                value.clone_into(argument);
            }
        }
        if let (Ok(program), Some(first)) = (&self.program, argv.first_mut()) {
            *first = program.display().to_string();
        }
        Ok(argv)
    }
}

/// What the hash is made of. The order of fields is part of it.
#[derive(Serialize)]
struct Sealed<'a> {
    version: u8,
    action: &'a str,
    cause: &'a str,
    params: &'a BTreeMap<String, String>,
    argv: &'a [String],
    env: &'a BTreeMap<String, String>,
    user: Option<&'a str>,
    timeout: Duration,
    undo: Option<&'a [String]>,
}

/// The hash that a decision is about: the command, and the run and cause that it is for.
/// An undo is bound to what it takes back as well.
pub(super) fn bound(
    hash: &str,
    organization: OrganizationId,
    run: i64,
    cause: i64,
    undo_of: Option<i64>,
) -> String {
    let undo_of = undo_of.unwrap_or_default();
    sha256(format!("1 {hash} {} {run} {cause} {undo_of}", organization.0).as_bytes())
}

/// What names a target: of one argv, only one runs at a time.
pub(super) fn target(argv: &[String]) -> String {
    sha256(argv.join("\0").as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing into a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The whole path of a program that can be run, and that not just anybody could change.
fn find_program(name: &String) -> Result<PathBuf, String> {
    if name.starts_with('/') {
        return runnable(Path::new(name)).map(|()| PathBuf::from(name));
    }
    let places = PATH.split(':').map(|folder| Path::new(folder).join(name));
    let found = places.into_iter().find(|path| path.is_file());
    let found = found.ok_or_else(|| format!("{name} is not in {PATH}; install it"))?;
    runnable(&found)?;
    Ok(found)
}

fn runnable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let found = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    let mode = found.permissions().mode();
    if !found.is_file() || mode & 0o111 == 0 {
        return Err(format!("{shown} is no program; chmod +x it, or name another"));
    }
    if mode & 0o002 != 0 {
        return Err(format!("{shown} may be changed by everybody; chmod o-w {shown}"));
    }
    Ok(())
}
