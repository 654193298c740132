//! A cause on its way to become a finding.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Captured, Confidence, family::Family, tally::Hit};
use crate::redact;

/// Values that are kept of one name; as many may be only some of all.
pub(super) const MOST_VALUES: usize = 4;

/// The longest captured value that is of use, in bytes.
const LONGEST: usize = 256;

/// A cause that may become a finding.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub playbook: usize,
    pub confidence: Confidence,
    pub count: u64,
    pub first: Option<DateTime<Utc>>,
    pub last: Option<DateTime<Utc>>,
    pub quotes: Vec<Quote>,
    pub captures: BTreeMap<String, Vec<String>>,
    pub requests: Vec<(String, String)>,
    pub effects: Vec<String>,
    /// Only the application's and its database's logs speak for it.
    pub only_app: bool,
    /// The application logged it while it started, and did not start.
    pub at_start: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub source: usize,
    pub line: u64,
    pub text: String,
}

impl Candidate {
    /// Adds a record to the evidence, with what it says.
    pub(crate) fn take(&mut self, hit: &Hit) {
        self.first = [self.first, hit.at].into_iter().flatten().min();
        self.last = self.last.max(hit.at);
        self.quote(hit.source, hit.line, &hit.text);
        if let Some((line, text)) = &hit.raised {
            self.quote(hit.source, *line, text);
        }
        for (name, value) in &hit.captures {
            self.capture(name, value);
        }
        for (name, value) in
            [("frame", &hit.frame), ("upstream", &hit.upstream), ("unit", &hit.unit)]
        {
            if let Some(value) = value {
                self.capture(name, value);
            }
        }
        // systemd's own word about a unit, not just what a unit's program logged.
        if let (Family::Systemd, Some(unit)) = (hit.family, &hit.unit) {
            self.capture("failed_unit", unit);
        }
        if let Some((method, path)) = &hit.request {
            self.request(method, path);
        }
    }

    pub(crate) fn quote(&mut self, source: usize, line: u64, text: &str) {
        let quote = Quote { source, line, text: text.to_owned() };
        if !text.is_empty() && self.quotes.len() < 40 && !self.quotes.contains(&quote) {
            self.quotes.push(quote);
        }
    }

    pub(crate) fn capture(&mut self, name: &str, value: &str) {
        let values = self.captures.entry(name.to_owned()).or_default();
        if values.len() < MOST_VALUES && !values.iter().any(|other| other == value) {
            values.push(value.to_owned());
        }
    }

    pub(crate) fn request(&mut self, method: &str, path: &str) {
        let request = (method.to_owned(), path.to_owned());
        if self.requests.len() < 3
            && !super::traffic::is_unasked(path)
            && !self.requests.contains(&request)
        {
            self.capture("request", &format!("{method} {path}"));
            self.requests.push(request);
        }
    }
}

/// What may be handed on: values of which all are known, that fit somewhere and hold no
/// secret.
pub(crate) fn handed_on(captures: &BTreeMap<String, Vec<String>>) -> Captured {
    let fits = |value: &String| value.len() <= LONGEST && redact::secrets(value) == **value;
    captures
        .iter()
        .filter(|(_, values)| values.len() < MOST_VALUES)
        .map(|(name, values)| {
            (name.clone(), values.iter().filter(|it| fits(it)).cloned().collect())
        })
        .filter(|(_, values): &(String, Vec<String>)| !values.is_empty())
        .collect()
}

/// Replaces `{name|default}` by what was captured.
pub(crate) fn fill(text: &str, candidate: &Candidate) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((inside, after)) = after.split_once('}') else { break };
        filled.push_str(before);
        let (name, default) = inside.split_once('|').unwrap_or((inside, "?"));
        match candidate.captures.get(name) {
            Some(values) => filled.push_str(&told(values)),
            None if name == "count" => filled.push_str(&candidate.count.to_string()),
            None => filled.push_str(default),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Captured values within a sentence: not too many, not too long, without the marks
/// that would end the sentence.
fn told(values: &[String]) -> String {
    const MOST: usize = 120;
    let marks = |c: char| c.is_whitespace() || matches!(c, '.' | ',' | ':' | ';');
    let mut text = String::new();
    for value in values {
        let words: Vec<&str> = value.trim_end_matches(marks).split_whitespace().collect();
        let value = words.join(" ");
        let value = value.trim_start_matches([' ', ':', ',']);
        if text.is_empty() {
            text.push_str(value);
        } else if text.chars().count() + value.chars().count() < MOST {
            text.push_str(", ");
            text.push_str(value);
        } else {
            text.push_str(", …");
            break;
        }
    }
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text,
    }
}
