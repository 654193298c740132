//! `[[actions]]`: the allow-list of commands. They are read and checked here;
//! `repair` owns their meaning.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    load::Entry,
    parameter::{self, Param},
};

/// A command of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub name: String,
    /// What it does, for the person who approves it.
    pub title: Option<String>,
    /// Program and arguments; a whole argument `{param}` stands for a parameter, and
    /// there is never a shell in between.
    pub argv: Vec<String>,
    pub params: BTreeMap<String, Param>,
    pub policy: Policy,
    pub risk: Risk,
    /// Whose rights it runs with; `None`: Lux's own.
    pub user: Option<String>,
    /// All of its environment besides `PATH` and `LANG`.
    pub env: BTreeMap<String, String>,
    pub timeout: Duration,
    /// Between the beginnings of two runs, over all replicas.
    pub cooldown: Duration,
    /// Runs in any 24 hours, over all replicas.
    pub max_per_day: u32,
    /// Causes for which it may be proposed.
    pub fixes: Vec<String>,
    /// The action that takes it back.
    pub undo: Option<String>,
    /// The probes that show whether it helped.
    pub verify: Vec<String>,
}

/// Who decides that an action runs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Policy {
    /// The configuration: it runs unasked, within its limits.
    Auto,
    /// An operator, each time.
    Approve,
    /// Nobody: it is only shown as what a person could do.
    Never,
}

/// What an action can do to the application.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[sqlx(type_name = "text", rename_all = "kebab-case")]
pub enum Risk {
    /// Changes nothing.
    ReadOnly,
    /// What it changes can be taken back.
    Reversible,
    /// Somebody may notice.
    #[default]
    Disruptive,
}

/// The entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    title: Option<String>,
    argv: Vec<String>,
    #[serde(default)]
    params: BTreeMap<String, parameter::Written>,
    policy: Policy,
    #[serde(default)]
    risk: Risk,
    user: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    timeout: Option<String>,
    cooldown: Option<String>,
    max_per_day: Option<u32>,
    #[serde(default)]
    fixes: Vec<String>,
    undo: Option<String>,
    #[serde(default)]
    verify: Vec<String>,
}

const MAX_ARGUMENTS: usize = 64;
const MAX_ARGUMENT: usize = 4096;
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(1)];
const COOLDOWNS: [Duration; 2] = [Duration::ZERO, Duration::from_hours(24 * 7)];

impl Action {
    /// Tells every mistake of the entry.
    pub(super) fn check(written: Written, entry: &mut Entry<'_>) -> Self {
        if !is_name(&written.name) {
            entry.mistake("name must have 1 to 64 characters of a-z, A-Z, 0-9, - and _");
        }
        check_argv(&written, entry);
        check_env(&written.env, entry);
        if let Some(user) = &written.user
            && let Err(problem) = check_user(user)
        {
            entry.mistake(problem);
        }
        if written.undo.as_deref() == Some(&written.name) {
            entry.mistake("undo names the action itself; name the one that takes it back");
        }
        let max_per_day = written.max_per_day.unwrap_or(5);
        if !(1..=1000).contains(&max_per_day) {
            entry.mistake("max_per_day must be a number from 1 to 1000");
        }
        let timeout = duration("timeout", written.timeout.as_deref(), 60, TIMEOUTS, entry);
        let cooldown = duration("cooldown", written.cooldown.as_deref(), 600, COOLDOWNS, entry);
        let mut params = BTreeMap::new();
        for (name, param) in written.params {
            if !parameter::is_name(&name) {
                entry.mistake(format!(
                    "params.{name}: name it with 1 to 32 characters of a-z, 0-9 and _"
                ));
            }
            if let Some(param) = Param::check(&name, param, entry) {
                params.insert(name, param);
            }
        }
        Self {
            name: written.name,
            title: written.title,
            argv: written.argv,
            params,
            policy: written.policy,
            risk: written.risk,
            user: written.user,
            env: written.env,
            timeout,
            cooldown,
            max_per_day,
            fixes: written.fixes,
            undo: written.undo,
            verify: written.verify,
        }
    }

    /// The names of other entries that must exist.
    pub(super) fn missing(&self, actions: &[Self], probes: &[super::Probe]) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(undo) = &self.undo
            && !actions.iter().any(|other| other.name == *undo)
        {
            problems.push(format!("undo = \"{undo}\" names no action; define it in [[actions]]"));
        }
        for verify in &self.verify {
            if !probes.iter().any(|probe| probe.name == *verify) {
                problems.push(format!("verify names \"{verify}\"; define it in [[probes]]"));
            }
        }
        problems
    }
}

/// The parameter that a whole argument stands for.
pub fn placeholder(argument: &str) -> Option<&str> {
    let inner = argument.strip_prefix('{')?.strip_suffix('}')?;
    parameter::is_name(inner).then_some(inner)
}

fn check_argv(written: &Written, entry: &mut Entry<'_>) {
    let Some(program) = written.argv.first().filter(|program| !program.is_empty()) else {
        entry.mistake("argv is empty; name the program and its arguments");
        return;
    };
    if program.contains('{') {
        entry.mistake("argv: the program itself cannot be a parameter; write its path");
    }
    if program.contains('/') && !program.starts_with('/') {
        entry.mistake(format!(
            "argv: \"{program}\" depends on a folder; write the whole path, or the bare name"
        ));
    }
    let too_long = written.argv.iter().any(|argument| argument.len() > MAX_ARGUMENT);
    if too_long || written.argv.len() > MAX_ARGUMENTS {
        entry.mistake(format!(
            "argv may have {MAX_ARGUMENTS} arguments of {MAX_ARGUMENT} bytes each"
        ));
    }
    let shell = program.rsplit('/').next().is_some_and(|name| {
        ["sh", "bash", "dash", "zsh", "ksh", "fish", "busybox"].contains(&name)
    });
    for (index, argument) in written.argv.iter().enumerate() {
        if argument.contains(char::is_control) {
            entry.mistake(format!("argv: argument {index} holds a control character"));
        }
        let Some(name) = placeholder(argument) else {
            if let Some(name) = embedded(argument) {
                entry.mistake(format!(
                    "argv: \"{argument}\" has {{{name}}} inside; a parameter must be an \
                     argument of its own"
                ));
            }
            continue;
        };
        if !written.params.contains_key(name) {
            entry.mistake(format!("argv uses {{{name}}}, which params does not define"));
        }
        let before = index.checked_sub(1).and_then(|before| written.argv.get(before));
        if shell && before.is_some_and(|it| it.starts_with('-') && it.contains('c')) {
            entry.mistake(format!(
                "argv: {{{name}}} would be run as a script of the shell; call the program itself"
            ));
        }
    }
    for name in written.params.keys() {
        if !written.argv.iter().any(|argument| placeholder(argument) == Some(name)) {
            entry.mistake(format!("params.{name} is not used; write {{{name}}} in argv"));
        }
    }
}

/// A parameter's mark within an argument.
fn embedded(argument: &str) -> Option<&str> {
    argument.match_indices('{').find_map(|(at, _)| {
        let rest = &argument[at + 1..];
        let name = &rest[..rest.find('}')?];
        parameter::is_name(name).then_some(name)
    })
}

fn check_env(env: &BTreeMap<String, String>, entry: &mut Entry<'_>) {
    for (name, value) in env {
        let well_formed = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !well_formed {
            entry.mistake(format!("env: \"{name}\" is no name of a variable"));
        }
        if name == "PATH" {
            entry.mistake("env: PATH is fixed; write the program's whole path in argv");
        }
        if value.contains('\0') {
            entry.mistake(format!("env: {name} holds a NUL character"));
        }
    }
}

/// Only root can run something as somebody else.
fn check_user(user: &str) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err(format!(
            "user = \"{user}\" needs Lux to run as root; leave it out, and let polkit (deploy/\
             50-lux.rules) or sudoers give Lux's own user the right"
        ));
    }
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if known.lines().any(|line| line.split(':').next() == Some(user)) {
        return Ok(());
    }
    Err(format!("user = \"{user}\" is not in /etc/passwd; name a user of this host"))
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn duration(
    key: &str,
    text: Option<&str>,
    default: u64,
    [least, most]: [Duration; 2],
    entry: &mut Entry<'_>,
) -> Duration {
    let default = Duration::from_secs(default);
    match text.map(super::parse::duration) {
        None => default,
        Some(Ok(duration)) if (least..=most).contains(&duration) => duration,
        Some(Ok(_)) => {
            let (least, most) =
                (humantime::format_duration(least), humantime::format_duration(most));
            entry.mistake(format!("{key} must be a time from {least} to {most}"));
            default
        }
        Some(Err(problem)) => {
            entry.mistake(format!("{key} {problem}"));
            default
        }
    }
}
