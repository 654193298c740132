//! What systemd and the kernel say of failures: a unit that failed, that is not started any
//! more, that was killed for its memory, that crashed.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

/// Units whose last words are remembered.
const MAX_UNITS: usize = 1000;
/// Lines about one failure of a unit are no further apart.
const TOGETHER: TimeDelta = TimeDelta::seconds(5);
/// Longest last words of a unit.
const MAX_WORDS: usize = 300;

/// A failure of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: &'static str,
    pub(super) message: String,
    pub(super) fault: Option<&'static str>,
    pub(super) tags: BTreeMap<String, String>,
}

/// What systemd said last of its units: of one failure it writes several lines.
#[derive(Debug, Default)]
pub(super) struct Units(VecDeque<(String, Unit)>);

#[derive(Clone, Debug, Default)]
struct Unit {
    /// "main process exited, status=3/NOTIMPLEMENTED"
    exit: Option<(DateTime<Utc>, String)>,
    /// "Start request repeated too quickly": the failure that is told next was told before.
    given_up: Option<DateTime<Utc>>,
}

impl Units {
    fn unit(&mut self, name: &str) -> &mut Unit {
        if let Some(at) = self.0.iter().position(|(known, _)| known == name)
            && let Some(found) = self.0.remove(at)
        {
            self.0.push_front(found);
        } else {
            self.0.truncate(MAX_UNITS - 1);
            self.0.push_front((name.to_owned(), Unit::default()));
        }
        &mut self.0[0].1
    }

    /// What a line of systemd tells, if it ends the story of a failure.
    ///
    /// "Failed to start …" and "Scheduled restart job" follow each failure and are none.
    pub(super) fn of_systemd(
        &mut self,
        unit: Option<&str>,
        text: &str,
        at: DateTime<Utc>,
    ) -> Option<Failure> {
        let (told, said) = text.split_once(": ")?;
        let name = unit.filter(|_| !told.contains('.')).unwrap_or(told);
        if !name.ends_with(".service") || is_of_the_system(name) {
            return None;
        }
        if let Some(exit) = said.strip_prefix("Main process exited, ") {
            let status = exit.strip_prefix("code=exited, ").unwrap_or(exit);
            self.remember(name, at, format!("main process exited, {status}"));
            return None;
        }
        if let Some(step) = said.strip_prefix("Failed at step ") {
            self.remember(name, at, format!("failed at step {step}"));
            return None;
        }
        if said.starts_with("Start request repeated too quickly") {
            self.unit(name).given_up = Some(at);
            return Some(Failure {
                class: "StartLimitHit",
                message: format!("{name}: started too often, systemd has given up"),
                tags: tag("unit", name),
                ..Failure::default()
            });
        }
        let result = said.strip_prefix("Failed with result '")?.split('\'').next()?;
        let known = self.unit(name);
        let near = |then: DateTime<Utc>| (at - then).abs() <= TOGETHER;
        if known.given_up.take_if(|then| near(*then)).is_some() {
            return None;
        }
        let exit = known.exit.take().filter(|(then, _)| near(*then)).map(|(_, exit)| exit);
        let crashed = exit.as_ref().is_some_and(|exit| exit.contains("/SEGV"));
        let message = match &exit {
            Some(exit) => format!("{name}: {exit} ({result})"),
            None => format!("{name}: failed with result '{result}'"),
        };
        let mut tags = tag("unit", name);
        tags.insert("result".to_owned(), result.to_owned());
        if let Some(status) =
            exit.as_deref().and_then(|exit| exit.split_once("status=")).map(|(_, status)| status)
        {
            tags.insert("exit".to_owned(), status.to_owned());
        }
        let fault = match result {
            "oom-kill" => Some("oom"),
            _ if crashed => Some("segv"),
            _ => None,
        };
        Some(Failure { class: "UnitFailed", message, fault, tags })
    }

    /// Why a unit could not be started, as systemd's child says itself ("(gunicorn)").
    pub(super) fn of_child(&mut self, unit: Option<&str>, text: &str, at: DateTime<Utc>) {
        let (told, said) = text.split_once(": ").unwrap_or(("", text));
        let name = if told.ends_with(".service") { told } else { unit.unwrap_or_default() };
        if name.ends_with(".service") {
            let said = said.trim().to_lowercase();
            self.remember(name, at, said);
        }
    }

    fn remember(&mut self, name: &str, at: DateTime<Utc>, mut words: String) {
        words.truncate(words.floor_char_boundary(MAX_WORDS));
        let unit = self.unit(name);
        // What its child said is more exact than the status that follows.
        let known = unit.exit.as_ref().is_some_and(|(then, known)| {
            (at - *then).abs() <= TOGETHER && known.contains("failed at step")
        });
        if !known {
            unit.exit = Some((at, words));
        }
    }
}

/// Units that a host's system brings along: what fails there is no error of an application.
fn is_of_the_system(name: &str) -> bool {
    ["systemd-", "user@", "user-", "apt-", "apt.", "snapd", "fwupd", "motd", "man-db", "lux"]
        .iter()
        .any(|begin| name.starts_with(begin))
}

/// What a line of the kernel tells: a process was killed for its memory, or crashed.
pub(super) fn of_kernel(text: &str) -> Option<Failure> {
    if let Some(at) = text.find("ut of memory: Kill") {
        // "Killed process 1483 (uvicorn) total-vm:…", before 5.x "Kill process 27438 (R) score"
        let name = text[at..].split_once(" (")?.1.split(')').next()?;
        return Some(Failure {
            class: "OutOfMemory",
            message: format!("the kernel killed {name}: out of memory"),
            fault: Some("oom"),
            tags: tag("process", name),
        });
    }
    let (before, rest) = text.split_once(" segfault at ").or_else(|| {
        let (before, rest) = text.split_once(" general protection")?;
        before.starts_with("traps: ").then_some((before, rest))
    })?;
    let process = before.trim_end_matches(':').rsplit(' ').next()?;
    let name = process.split('[').next()?;
    let library = rest.rsplit_once(" in ").and_then(|(_, library)| library.split('[').next());
    let message = match library {
        Some(library) => format!("{name} crashed in {library}"),
        None => format!("{name} crashed"),
    };
    Some(Failure { class: "Segfault", message, fault: Some("segv"), tags: tag("process", name) })
}

fn tag(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::{Units, of_kernel};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any time does")]
    fn one_failure_is_told_once() {
        let mut units = Units::default();
        let now = Utc::now();
        let mut say =
            |text: &str| units.of_systemd(Some("shop.service"), text, now).map(|it| it.message);
        assert_eq!(
            say("shop.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED"),
            None
        );
        let failed = say("shop.service: Failed with result 'exit-code'.");
        let whole = "shop.service: main process exited, status=3/NOTIMPLEMENTED (exit-code)";
        assert_eq!(failed.as_deref(), Some(whole));
        assert_eq!(say("shop.service: Scheduled restart job, restart counter is at 5."), None);
        assert!(say("shop.service: Start request repeated too quickly.").is_some());
        assert_eq!(say("shop.service: Failed with result 'exit-code'."), None);
        assert_eq!(say("Failed to start shop.service - The shop."), None);
        assert_eq!(say("systemd-resolved.service: Failed with result 'exit-code'."), None);
        let later = now + TimeDelta::minutes(1);
        let child = "shop.service: Failed at step EXEC spawning /srv/shop/run: No such file";
        units.of_child(None, child, later);
        let exit = "shop.service: Main process exited, code=exited, status=203/EXEC";
        assert_eq!(units.of_systemd(None, exit, later), None);
        let failed = units.of_systemd(None, "shop.service: Failed with result 'exit-code'.", later);
        assert!(failed.unwrap().message.contains("/srv/shop/run: no such file"));
    }

    #[test]
    fn the_kernel_names_processes() {
        let killed = "Memory cgroup out of memory: Killed process 32362 (gunicorn) total-vm:1kB";
        assert_eq!(of_kernel(killed).unwrap().message, "the kernel killed gunicorn: out of memory");
        let crashed =
            "gunicorn[664]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so.6[7f+15]";
        assert_eq!(of_kernel(crashed).unwrap().message, "gunicorn crashed in libc.so.6");
        assert_eq!(of_kernel("oom-kill:constraint=CONSTRAINT_NONE,task=gunicorn,pid=1"), None);
        assert_eq!(of_kernel("usb 1-1: device descriptor read/64, error -71"), None);
    }
}
