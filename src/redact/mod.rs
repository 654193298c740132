//! Striking out secrets where text leaves: in answers, in logs, towards a model.
//!
//! [`secrets`] is for good. [`Redactor`] also hides persons' data, gives equal values
//! equal placeholders, and can put back what is not a secret.

mod known;
mod rules;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{LazyLock, OnceLock},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;

pub use known::Known;
pub use rules::Kind;
use rules::{CARDS, PERSONAL, RULES, Rule};

/// The rules with their patterns, and one automaton that finds all their marks.
struct Compiled {
    marks: AhoCorasick,
    /// The rules of each mark.
    rules_of: Vec<usize>,
    rules: Vec<Ready>,
    /// Rules without a mark.
    always: u64,
    personal: u64,
}

/// A rule, whose pattern is compiled when its mark is first met: most hosts meet few of them,
/// and all together would hold some megabytes.
struct Ready {
    rule: &'static Rule,
    pattern: OnceLock<Regex>,
}

impl Ready {
    fn pattern(&self) -> &Regex {
        // The table is constant: a test sees to it that all of it compiles.
        self.pattern.get_or_init(|| match Regex::new(self.rule.pattern) {
            Ok(pattern) => pattern,
            Err(error) => unreachable!("{error}"),
        })
    }
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let all: Vec<&'static Rule> =
        RULES.iter().chain(PERSONAL).chain(std::iter::once(&CARDS)).collect();
    let (mut marks, mut rules_of, mut always, mut personal) = (Vec::new(), Vec::new(), 0, 0);
    for (index, rule) in all.iter().enumerate() {
        for mark in rule.marks {
            marks.push(*mark);
            rules_of.push(index);
        }
        if rule.marks.is_empty() {
            always |= 1 << index;
        }
        if !matches!(rule.kind, Kind::Secret | Kind::Card) {
            personal |= 1 << index;
        }
    }
    // Every text that is stored or sent goes through it: a table of some kilobytes is well spent.
    let marks = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .ascii_case_insensitive(true)
        .build(marks);
    Compiled {
        marks: marks.unwrap_or_else(|error| unreachable!("{error}")),
        rules_of,
        rules: all.into_iter().map(|rule| Ready { rule, pattern: OnceLock::new() }).collect(),
        always,
        personal,
    }
});

/// What is to be struck out, in order, without overlaps.
fn find(text: &str, personal: bool) -> Vec<(Range<usize>, Kind)> {
    let compiled = &*COMPILED;
    // A card has at least thirteen digits; what else has no mark is a person's.
    let digits = if personal { 1 } else { 13 };
    let has_digits = text.bytes().filter(u8::is_ascii_digit).nth(digits - 1).is_some();
    let mut wanted = if has_digits { compiled.always } else { 0 };
    for found in compiled.marks.find_overlapping_iter(text) {
        wanted |= 1 << compiled.rules_of[found.pattern().as_usize()];
    }
    if !personal {
        wanted &= !compiled.personal;
    }
    let mut spans: Vec<(Range<usize>, Kind)> = Vec::new();
    for (index, ready) in compiled.rules.iter().enumerate() {
        if wanted & (1 << index) == 0 {
            continue;
        }
        let rule = ready.rule;
        for captures in ready.pattern().captures_iter(text) {
            let Some(found) = captures.name("secret").or_else(|| captures.get(0)) else { continue };
            if (rule.check)(found.as_str()) {
                spans.push((found.range(), rule.kind));
            }
        }
    }
    spans.sort_by_key(|(span, kind)| (span.start, std::cmp::Reverse(span.end), *kind));
    let mut apart: Vec<(Range<usize>, Kind)> = Vec::with_capacity(spans.len());
    for (span, kind) in spans {
        match apart.last_mut() {
            Some((last, _)) if span.start < last.end => last.end = last.end.max(span.end),
            _ => apart.push((span, kind)),
        }
    }
    apart
}

/// The text with every secret replaced by `[redacted]`; borrowed if there is none.
pub fn secrets(text: &str) -> Cow<'_, str> {
    let spans = find(text, false);
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(replace(text, spans, |_, _| "[redacted]".to_owned()))
}

/// The same, and e-mail addresses as well.
pub fn secrets_and_emails(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return secrets(text);
    }
    let mut spans = find(text, true);
    spans.retain(|(_, kind)| matches!(kind, Kind::Secret | Kind::Card | Kind::Email));
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(replace(text, spans, |_, _| "[redacted]".to_owned()))
}

fn replace(
    text: &str,
    spans: Vec<(Range<usize>, Kind)>,
    mut with: impl FnMut(&str, Kind) -> String,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (span, kind) in spans {
        out.push_str(&text[from..span.start]);
        out.push_str(&with(&text[span.clone()], kind));
        from = span.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Most values that one [`Redactor`] tells apart; later ones share a placeholder.
const MAX_VALUES: usize = 10_000;

/// Hides secrets and persons' data behind placeholders (`‹email-3›`): equal values get
/// equal ones, so that a reader can still tell "the same user". For one conversation.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    placeholders: HashMap<(Kind, String), String>,
    /// What may be put back.
    values: HashMap<String, String>,
    counts: HashMap<Kind, usize>,
}

impl Redactor {
    /// The text with placeholders.
    pub fn hide(&mut self, text: &str) -> String {
        self.hide_counting(text, &mut BTreeMap::new())
    }

    /// The same, adding to `counts` how often something of each kind was hidden.
    pub fn hide_counting(&mut self, text: &str, counts: &mut BTreeMap<Kind, usize>) -> String {
        replace(text, find(text, true), |value, kind| {
            // What was hidden before comes back in answers and in history.
            if is_placeholder(value) {
                return value.to_owned();
            }
            *counts.entry(kind).or_default() += 1;
            self.placeholder(value, kind)
        })
    }

    /// Puts back what this redactor hid, except secrets.
    pub fn reveal(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('‹') {
            out.push_str(&rest[..open]);
            rest = &rest[open..];
            let end = rest.find('›').map_or(rest.len(), |at| at + '›'.len_utf8());
            let value = self.values.get(&rest[..end]);
            out.push_str(value.map_or(&rest[..end], String::as_str));
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }

    /// How many different values of each kind were hidden.
    pub fn counts(&self) -> &HashMap<Kind, usize> {
        &self.counts
    }

    fn placeholder(&mut self, value: &str, kind: Kind) -> String {
        if let Some(known) = self.placeholders.get(&(kind, value.to_owned())) {
            return known.clone();
        }
        if self.placeholders.len() >= MAX_VALUES {
            return format!("‹{}›", kind.as_str());
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let placeholder = format!("‹{}-{count}›", kind.as_str());
        self.placeholders.insert((kind, value.to_owned()), placeholder.clone());
        if kind != Kind::Secret {
            self.values.insert(placeholder.clone(), value.to_owned());
        }
        placeholder
    }
}

/// `‹email-3›`, or `‹secret›`.
fn is_placeholder(text: &str) -> bool {
    let inner = text.strip_prefix('‹').and_then(|rest| rest.strip_suffix('›'));
    inner.is_some_and(|inner| {
        let (kind, number) = inner.split_once('-').unwrap_or((inner, "0"));
        number.bytes().all(|byte| byte.is_ascii_digit())
            && ["secret", "email", "card", "phone", "iban"].contains(&kind)
    })
}

#[cfg(test)]
mod tests;
