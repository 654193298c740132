//! The state of a systemd unit.

use std::{collections::HashMap, time::Duration};

use super::{Seen, program};
use crate::probe::Outcome;

pub(super) async fn run(
    systemctl: &str,
    unit: &str,
    expected: Option<&str>,
    timeout: Duration,
) -> Seen {
    let request = format!("state of {unit}");
    let properties = "--property=LoadState,ActiveState,SubState,Result";
    let shown = match show(systemctl, unit, properties, timeout).await {
        Ok(shown) => shown,
        Err(why) => return Seen::new(Outcome::Unclear, request, why),
    };
    let get = |name: &str| shown.get(name).map_or("", String::as_str);
    if matches!(get("LoadState"), "not-found" | "masked") {
        let why = format!("systemd has no unit {unit} to run ({})", get("LoadState"));
        return Seen::new(Outcome::Fail, request, why);
    }
    let expected = expected.unwrap_or("active");
    let (active, sub, result) = (get("ActiveState"), get("SubState"), get("Result"));
    if active.is_empty() {
        let why = format!("{systemctl} says nothing about {unit}");
        return Seen::new(Outcome::Unclear, request, why);
    }
    let mut seen = Seen::new(Outcome::Pass, request, format!("{unit} is {active} ({sub})"));
    if active != expected {
        seen.outcome = Outcome::Fail;
        let ended = match result {
            "" | "success" => String::new(),
            result => format!(", its last run ended with {result}"),
        };
        seen.why = format!("{unit} is {active} ({sub}){ended}; {expected} is expected");
    }
    seen
}

/// Properties of a unit; the error says what to do.
pub(super) async fn show(
    systemctl: &str,
    unit: &str,
    properties: &str,
    timeout: Duration,
) -> Result<HashMap<String, String>, String> {
    let said = program::run(systemctl, &["show", properties, "--", unit], timeout).await;
    let said = said.map_err(|why| {
        format!("{why}; where systemd runs this host, repair.systemctl names the program")
    })?;
    if !said.success {
        return Err(format!("{systemctl} cannot tell: {}", said.err));
    }
    let pairs = said.out.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}
