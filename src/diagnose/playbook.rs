//! Playbooks: data files that say how one cause is recognised, explained and mended.

use std::{collections::HashSet, path::Path};

use serde::Deserialize;

use super::family::Family;
use crate::{
    config::ProbeKind,
    error::{Error, Result},
    logs::Severity,
};

#[derive(rust_embed::RustEmbed)]
#[folder = "prompts/playbooks"]
struct Embedded;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Names for lists of ids that several playbooks explain, used as `@name`.
    #[serde(default)]
    groups: std::collections::HashMap<String, Vec<String>>,
    #[serde(default)]
    playbook: Vec<Playbook>,
    /// Further signals of playbooks that stand in other files.
    #[serde(default)]
    also: Vec<Also>,
}

/// How programs of one language, or of one client library, show the case of a playbook that
/// is not theirs alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Also {
    id: String,
    signals: Vec<Signal>,
}

/// What a playbook stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Something that can be mended: it becomes a finding.
    #[default]
    Cause,
    /// What a cause leads to: never a finding, told under the cause.
    Effect,
    /// Background that rules ask for ("the server listens at").
    Fact,
}

/// How much one matching record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Hint,
    Strong,
    Proof,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    pub id: String,
    #[serde(default)]
    pub role: Role,
    pub title: String,
    #[serde(default)]
    pub component: String,
    #[serde(default = "error")]
    pub severity: Severity,
    /// May hold `{name}` or `{name|what to say when nothing was captured}`.
    #[serde(default)]
    pub explanation: String,
    #[serde(default)]
    pub fix: Vec<String>,
    #[serde(default)]
    pub docs: Vec<String>,
    /// Playbooks whose matches are told under this one when both are present.
    #[serde(default)]
    pub explains: Vec<String>,
    /// Its signals count only on records that no more specific playbook claims:
    /// 0 specific, 1 general, 2 the last resort.
    #[serde(default)]
    pub generality: u8,
    /// Work that no request waits for: that no request fails does not speak against it.
    #[serde(default)]
    pub background: bool,
    /// Statuses below 500 with which its requests fail: where they are answered, users
    /// are hit although no 5xx is.
    #[serde(default)]
    pub answers: Vec<u16>,
    /// Found by a rule in the code (traffic, upstreams), not (only) by signals.
    #[serde(default)]
    pub by_rule: bool,
    /// The kinds of an operator's probes that can tell whether the cause is gone. Such a
    /// probe is tied to an error of this cause if the error's own text names what it looks at
    /// (captured as `address`, `host` and `port`, `file`, `variable`, `database`); of http,
    /// if it is the same request. Not named: what can be green while the cause stays, such as
    /// an api-key probe, which tries Lux's copy of the key.
    #[serde(default)]
    pub verified_by: Vec<ProbeKind>,
    #[serde(default)]
    pub signals: Vec<Signal>,
}

fn error() -> Severity {
    Severity::Error
}

/// One way in which a record shows the playbook's case. All conditions given must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub grade: Grade,
    /// Which programs' records count; empty: all but access logs.
    #[serde(default)]
    pub on: Vec<Family>,
    /// Literals, one of which the record must hold.
    #[serde(default)]
    pub any: Vec<String>,
    /// Literals that must all be in the record.
    #[serde(default)]
    pub all: Vec<String>,
    /// Literals that must not be in the record.
    #[serde(default)]
    pub none: Vec<String>,
    /// Must match the line that holds the literal; its named groups are captures.
    pub regex: Option<String>,
    /// Named groups are captures where it matches the line; it need not match.
    pub capture: Option<String>,
    /// Must match somewhere in the record.
    pub record: Option<String>,
    /// Types (last part of the name) of the exception that was raised first or last.
    #[serde(default)]
    pub exception: Vec<String>,
    /// The lowest severity that counts fully. Without it records of the application
    /// below `error` count one grade less, and below `warning` not at all.
    pub min: Option<Severity>,
    /// Another playbook that must have matched near this record.
    pub near: Option<String>,
    /// Another playbook that must not have matched near this record.
    pub unless: Option<String>,
    /// What `near` and `unless` must share: "pid", "unit", "upstream".
    pub same: Option<Key>,
    /// With fewer matches in all, they are hints only; default 1.
    #[serde(default)]
    pub at_least: u64,
    /// Seconds between this record and that of `near` or `unless`; default 30.
    pub within: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    Pid,
    Unit,
    Upstream,
}

/// All playbooks: those of the program, or those of `folder` over them (by id).
///
/// # Errors
/// Says which file and playbook is wrong, and what about it.
pub(crate) fn load(folder: Option<&Path>) -> Result<Vec<Playbook>> {
    let (mut playbooks, mut also) = (Vec::new(), Vec::new());
    let mut groups = std::collections::HashMap::new();
    let mut names: Vec<_> = Embedded::iter().collect();
    names.sort();
    for name in names {
        let file = Embedded::get(&name).map(|file| file.data).unwrap_or_default();
        let file = parse(&name, &String::from_utf8_lossy(&file))?;
        groups.extend(file.groups);
        playbooks.extend(file.playbook);
        also.extend(file.also);
    }
    add(&mut playbooks, also)?;
    if let Some(folder) = folder {
        let (mut own, mut also) = (Vec::new(), Vec::new());
        let mut paths = std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        for path in paths {
            let file = parse(&path.display().to_string(), &std::fs::read_to_string(&path)?)?;
            groups.extend(file.groups);
            own.extend(file.playbook);
            also.extend(file.also);
        }
        for Playbook { id, signals, .. } in &own {
            check_patterns(id, signals)?;
        }
        for Also { id, signals } in &also {
            check_patterns(id, signals)?;
        }
        playbooks.retain(|old| own.iter().all(|new| new.id != old.id));
        playbooks.extend(own);
        add(&mut playbooks, also)?;
    }
    for playbook in &mut playbooks {
        let named = std::mem::take(&mut playbook.explains);
        for name in named {
            match name.strip_prefix('@') {
                None => playbook.explains.push(name),
                Some(group) => playbook.explains.extend(
                    groups
                        .get(group)
                        .ok_or_else(|| {
                            Error::Invalid(format!(
                                "playbook \"{}\" explains \"@{group}\", which is no group",
                                playbook.id
                            ))
                        })?
                        .iter()
                        .filter(|id| **id != playbook.id)
                        .cloned(),
                ),
            }
        }
    }
    check(&playbooks)?;
    Ok(playbooks)
}

/// Gives playbooks their further signals.
fn add(playbooks: &mut [Playbook], also: Vec<Also>) -> Result<()> {
    for Also { id, signals } in also {
        let Some(playbook) = playbooks.iter_mut().find(|playbook| playbook.id == id) else {
            return Err(Error::Invalid(format!("[[also]] names \"{id}\", which is no playbook")));
        };
        playbook.signals.extend(signals);
    }
    Ok(())
}

fn parse(name: &str, text: &str) -> Result<File> {
    toml::from_str::<File>(text)
        .map_err(|error| Error::Invalid(format!("playbook file {name}: {error}")))
}

/// What a parser cannot see: names that must be known, signals that cost too much.
fn check(playbooks: &[Playbook]) -> Result<()> {
    let mut ids = HashSet::new();
    let wrong = |playbook: &Playbook, what: String| {
        Err(Error::Invalid(format!("playbook \"{}\": {what}", playbook.id)))
    };
    for playbook in playbooks {
        if playbook.id.is_empty()
            || !playbook
                .id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            return wrong(playbook, "an id is lower-case letters, digits and _".into());
        }
        if !ids.insert(playbook.id.as_str()) {
            return wrong(playbook, "is there twice".into());
        }
    }
    for playbook in playbooks {
        for name in &playbook.explains {
            if !ids.contains(name.as_str()) {
                return wrong(playbook, format!("explains \"{name}\", which is no playbook"));
            }
        }
        if playbook.role == Role::Cause
            && (playbook.explanation.is_empty() || playbook.fix.is_empty())
        {
            return wrong(playbook, "a cause needs an explanation and a fix".into());
        }
        if playbook.signals.is_empty() && !playbook.by_rule {
            return wrong(playbook, "has no signals and is not by_rule".into());
        }
        for (index, signal) in playbook.signals.iter().enumerate() {
            let number = index + 1;
            if signal.any.is_empty() && signal.exception.is_empty() {
                return wrong(
                    playbook,
                    format!("signal {number} needs a literal in `any`, or an `exception`"),
                );
            }
            if let Some(short) = signal.any.iter().find(|literal| literal.trim().len() < 4) {
                return wrong(
                    playbook,
                    format!("signal {number}: the literal \"{short}\" is too short to search for"),
                );
            }
            for name in signal.near.iter().chain(&signal.unless) {
                if !ids.contains(name.as_str()) {
                    return wrong(
                        playbook,
                        format!("signal {number} names \"{name}\", which is no playbook"),
                    );
                }
            }
        }
    }
    Ok(())
}

/// Whether all expressions are valid. Compiling them all costs more than everything
/// else at the start, so those of the program are checked by a test, and only those of
/// a folder here.
fn check_patterns(id: &str, signals: &[Signal]) -> Result<()> {
    for (index, signal) in signals.iter().enumerate() {
        for pattern in signal.regex.iter().chain(&signal.record).chain(&signal.capture) {
            regex::Regex::new(pattern).map_err(|error| {
                Error::Invalid(format!("playbook \"{id}\": signal {}: {error}", index + 1))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_playbooks_are_sound_and_cover_the_vocabulary() {
        let playbooks = load(None).unwrap();
        for playbook in &playbooks {
            check_patterns(&playbook.id, &playbook.signals).unwrap();
        }
        let missing: Vec<_> = super::super::vocabulary::CAUSES
            .iter()
            .filter(|id| !playbooks.iter().any(|p| p.role == Role::Cause && p.id == **id))
            .collect();
        assert!(missing.is_empty(), "without a playbook: {missing:?}");
        let unknown: Vec<_> = playbooks
            .iter()
            .filter(|p| p.role == Role::Cause)
            .filter(|p| !super::super::vocabulary::CAUSES.contains(&p.id.as_str()))
            .map(|p| &p.id)
            .collect();
        assert!(unknown.is_empty(), "not in the vocabulary: {unknown:?}");
    }

    #[test]
    fn mistakes_are_named() {
        let head = "[[playbook]]\nid = \"x\"\ntitle = \"X\"\nexplanation = \"e\"\nfix = [\"f\"]\n";
        for (rest, says) in [
            ("colour = 1", "unknown field `colour`"),
            ("signals = [{ grade = \"proof\" }]", "needs a literal"),
            ("signals = [{ grade = \"proof\", any = [\"ab\"] }]", "too short"),
            ("signals = [{ grade = \"proof\", any = [\"abcd\"], regex = \"(\" }]", "unclosed"),
            ("signals = [{ grade = \"sure\", any = [\"abcd\"] }]", "unknown variant"),
            ("explains = [\"y\"]\nsignals = [{ grade = \"proof\", any = [\"abcd\"] }]", "\"y\""),
            ("", "no signals"),
        ] {
            let error = parse("x.toml", &format!("{head}{rest}"))
                .and_then(|file| {
                    check(&file.playbook)?;
                    file.playbook.iter().try_for_each(|it| check_patterns(&it.id, &it.signals))
                })
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn signals_are_added_to_playbooks_of_other_files() {
        let signal = r#"signals = [{ grade = "proof", any = ["no_such_text_anywhere"] }]"#;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("elixir.toml");
        std::fs::write(&file, format!("[[also]]\nid = \"dns_failure\"\n{signal}")).unwrap();
        let has = |playbooks: Vec<Playbook>| {
            let dns = playbooks.into_iter().find(|playbook| playbook.id == "dns_failure").unwrap();
            dns.signals.len() > 3
                && dns.signals.iter().any(|signal| signal.any == ["no_such_text_anywhere"])
        };
        assert!(has(load(Some(folder.path())).unwrap()), "beside the signals that it had");
        assert!(!has(load(None).unwrap()));

        std::fs::write(&file, format!("[[also]]\nid = \"dns\"\n{signal}")).unwrap();
        let error = load(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("[[also]] names \"dns\", which is no playbook"), "{error}");
    }
}
