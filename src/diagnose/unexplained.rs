//! Errors that no playbook knows: counted by their words, told honestly.

use std::collections::HashMap;

use crate::logs::template;

const KINDS: usize = 200;

/// Error messages (numbers masked) without a playbook.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unexplained {
    kinds: HashMap<String, Saying>,
    more: u64,
}

#[derive(Clone, Debug)]
struct Saying {
    count: u64,
    source: usize,
    line: u64,
    sample: String,
}

impl Unexplained {
    pub(crate) fn add(&mut self, source: usize, line: u64, message: &str) {
        let message = super::traffic::clip(message, 300);
        let key = template::mask(message);
        if let Some(saying) = self.kinds.get_mut(&key) {
            saying.count += 1;
        } else if self.kinds.len() < KINDS {
            let sample = message.to_owned();
            self.kinds.insert(key, Saying { count: 1, source, line, sample });
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn merge(&mut self, later: Self, sources: &[usize]) {
        self.more += later.more;
        for (key, mut saying) in later.kinds {
            saying.source = sources.get(saying.source).copied().unwrap_or(saying.source);
            if let Some(own) = self.kinds.get_mut(&key) {
                own.count += saying.count;
            } else if self.kinds.len() < KINDS {
                self.kinds.insert(key, saying);
            }
        }
    }

    /// The most frequent ones as sentences.
    pub(crate) fn notes(&self, name_of: impl Fn(usize) -> String) -> Vec<String> {
        let mut sayings: Vec<_> = self.kinds.values().collect();
        sayings.sort_by(|a, b| b.count.cmp(&a.count).then(a.line.cmp(&b.line)));
        let mut notes: Vec<String> = sayings
            .iter()
            .take(5)
            .map(|saying| {
                format!(
                    "No playbook knows this error ({} ×, first at {}:{}): {}",
                    saying.count,
                    name_of(saying.source),
                    saying.line,
                    saying.sample
                )
            })
            .collect();
        let rest = sayings.len().saturating_sub(5);
        if rest > 0 {
            notes.push(format!("{rest} more kinds of errors have no playbook."));
        }
        notes
    }
}
