//! The parts Lux depends on, as people call them.

use std::collections::BTreeMap;

use crate::health::{Part, Wellness};

/// See the module's first line.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) icon: &'static str,
    pub(super) part: Part,
}

impl Shown {
    pub(super) fn word(&self) -> &'static str {
        match self.part.state {
            Wellness::Ok => "Well",
            Wellness::Unknown => "Not known",
            Wellness::Degraded => "Not well",
            Wellness::Down => "Down",
        }
    }

    /// The class of its badge, and the icon on it.
    pub(super) fn tone(&self) -> (&'static str, &'static str) {
        match self.part.state {
            Wellness::Ok => ("", "circle-check"),
            Wellness::Unknown => ("", "circle-help"),
            Wellness::Degraded => ("warn", "triangle-alert"),
            Wellness::Down => ("bad", "octagon-x"),
        }
    }
}

/// The worst first, else in the order in which one thinks of them.
pub(super) fn shown(parts: BTreeMap<String, Part>) -> Vec<Shown> {
    const KNOWN: [(&str, &str, &str); 8] = [
        ("database", "Database", "database"),
        ("disk", "Disk", "hard-drive"),
        ("capture", "Intake of errors", "bug"),
        ("logs", "Log sources", "scroll-text"),
        ("from_logs", "Errors out of logs", "list-filter"),
        ("model", "Model", "sparkles"),
        ("actions", "Actions", "zap"),
        ("storms", "Storms of errors", "activity"),
    ];
    let mut shown: Vec<(usize, Shown)> = parts
        .into_iter()
        .map(|(key, part)| {
            let known = KNOWN.iter().position(|known| known.0 == key);
            let (name, icon) = match known.and_then(|at| KNOWN.get(at)) {
                Some((_, name, icon)) => ((*name).to_owned(), *icon),
                None => (key.replace("error_source ", "Table of errors "), "database"),
            };
            (known.unwrap_or(KNOWN.len()), Shown { name, icon, part })
        })
        .collect();
    shown.sort_by_key(|(place, it)| (std::cmp::Reverse(it.part.state), *place));
    shown.into_iter().map(|(_, shown)| shown).collect()
}
