//! All signals of all playbooks as one search: one automaton over the literals,
//! and the costlier conditions only where a literal was found.

use std::{collections::HashMap, sync::OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;

use super::{
    playbook::{Playbook, Signal},
    traceback::{self, Raised, Rank},
};
use crate::error::{Error, Result};

/// Bytes of a literal that the automaton knows. A state takes half a kilobyte: over whole literals
/// it would hold three times as many, hardly one of which is ever visited.
const BEGINNING: usize = 12;

/// The compiled signals.
pub(crate) struct Matcher {
    /// Finds the beginnings of literals.
    automaton: AhoCorasick,
    /// For each beginning the literals that have it.
    literals: Vec<Vec<Literal>>,
    pub signals: Vec<Compiled>,
    by_exception: HashMap<String, Vec<u32>>,
}

/// A text, and the signals that wait for it.
struct Literal {
    text: String,
    waiting: Vec<u32>,
}

/// One signal, ready to be tried.
pub(crate) struct Compiled {
    /// Index of its playbook.
    pub playbook: usize,
    pub rule: Signal,
    regex: Option<Pattern>,
    capture: Option<Pattern>,
    record: Option<Pattern>,
    /// Indices of the playbooks that `near` and `unless` name.
    pub near: Option<usize>,
    pub unless: Option<usize>,
}

/// An expression that is compiled when it is first needed: most playbooks wait for a
/// fault that this host will never have, and hundreds of compiled expressions would
/// cost more memory and time at the start than all the rest.
pub(crate) struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), compiled: OnceLock::new() }
    }

    /// `None` for what is no expression; playbooks are checked before they come here.
    fn get(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }
}

/// Where a signal matched in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub signal: u32,
    /// Byte offset of the literal (or exception) that was found.
    pub at: usize,
    /// A place in the line to quote, if that is another one.
    pub shown: Option<usize>,
    /// Found in the unescaped message of a JSON record, not in the record as written.
    pub clear: bool,
}

impl Found {
    fn new(signal: u32, at: usize, clear: bool) -> Self {
        Self { signal, at, shown: None, clear }
    }
}

impl Matcher {
    pub(crate) fn new(playbooks: &[Playbook]) -> Result<Self> {
        let index_of = |name: &String| playbooks.iter().position(|other| other.id == *name);
        let pattern = |text: &Option<String>| text.as_deref().map(Pattern::new);
        let mut beginnings: Vec<&[u8]> = Vec::new();
        let mut literals: Vec<Vec<Literal>> = Vec::new();
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut by_exception: HashMap<String, Vec<u32>> = HashMap::new();
        let mut signals = Vec::new();
        for (playbook, book) in playbooks.iter().enumerate() {
            for signal in &book.signals {
                let number = u32::try_from(signals.len()).unwrap_or(u32::MAX);
                for literal in &signal.any {
                    let beginning = &literal.as_bytes()[..literal.len().min(BEGINNING)];
                    let place = *places.entry(beginning).or_insert_with(|| {
                        beginnings.push(beginning);
                        literals.push(Vec::new());
                        literals.len() - 1
                    });
                    match literals[place].iter_mut().find(|known| known.text == *literal) {
                        Some(known) => known.waiting.push(number),
                        None => literals[place]
                            .push(Literal { text: literal.clone(), waiting: vec![number] }),
                    }
                }
                for name in &signal.exception {
                    by_exception.entry(name.clone()).or_default().push(number);
                }
                signals.push(Compiled {
                    playbook,
                    rule: signal.clone(),
                    regex: pattern(&signal.regex),
                    capture: pattern(&signal.capture),
                    record: pattern(&signal.record),
                    near: signal.near.as_ref().and_then(index_of),
                    unless: signal.unless.as_ref().and_then(index_of),
                });
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&beginnings)
            .map_err(|error| Error::invalid(format!("the playbooks' literals: {error}")))?;
        Ok(Self { automaton, literals, signals, by_exception })
    }

    /// The signals whose texts are in `text`; each is found once. Of a record with
    /// tracebacks (`chain`) the last line is taken that names an exception and matches,
    /// and lines of code only where nothing else does.
    pub(crate) fn search(
        &self,
        text: &str,
        clear: bool,
        chain: &[Raised<'_>],
        found: &mut Vec<Found>,
    ) {
        for hit in self.automaton.find_overlapping_iter(text) {
            let rest = &text.as_bytes()[hit.start()..];
            let literals = self.literals[hit.pattern().as_usize()].iter();
            let held = literals.filter(|literal| rest.starts_with(literal.text.as_bytes()));
            for &number in held.flat_map(|literal| &literal.waiting) {
                let known = found.iter().position(|other| other.signal == number);
                if let Some(known) = known {
                    let (old, new) = (found[known].at, hit.start());
                    let better = found[known].clear == clear && !chain.is_empty() && {
                        let new = traceback::rank(text, chain, new);
                        new > Rank::Message && new >= traceback::rank(text, chain, old)
                            || new > traceback::rank(text, chain, old)
                    };
                    if !better {
                        continue;
                    }
                }
                if self.signals[number as usize].holds(text, hit.start()) {
                    let new = Found::new(number, hit.start(), clear);
                    match known {
                        Some(known) => found[known] = new,
                        None => found.push(new),
                    }
                }
            }
        }
        let Some(last) = chain.last() else { return };
        for hit in found.iter_mut().filter(|hit| hit.clear == clear) {
            // a signal that looks at the whole record says little by its one line
            let whole = self.signals[hit.signal as usize].record.is_some();
            let rank = traceback::rank(text, chain, hit.at);
            if rank == Rank::Code || whole && rank == Rank::Message {
                hit.shown = Some(last.line.as_ptr() as usize - text.as_ptr() as usize);
            }
        }
    }

    /// The signals that wait for an exception of this type, whose line is at `at`.
    pub(crate) fn raised(
        &self,
        name: &str,
        text: &str,
        at: usize,
        clear: bool,
        found: &mut Vec<Found>,
    ) {
        for &number in self.by_exception.get(name).into_iter().flatten() {
            if found.iter().any(|other| other.signal == number) {
                continue;
            }
            if self.signals[number as usize].holds(text, at) {
                found.push(Found::new(number, at, clear));
            }
        }
    }
}

impl Compiled {
    /// Whether it depends on other records.
    pub(crate) fn is_conditional(&self) -> bool {
        self.near.is_some() || self.unless.is_some()
    }

    /// Whether the remaining conditions on the text hold.
    fn holds(&self, text: &str, at: usize) -> bool {
        self.rule.all.iter().all(|literal| text.contains(literal.as_str()))
            && !self.rule.none.iter().any(|literal| text.contains(literal.as_str()))
            && compiled(self.record.as_ref()).is_none_or(|record| record.is_match(text))
            && compiled(self.regex.as_ref())
                .is_none_or(|regex| regex.is_match(&text[line_of(text, at)]))
    }

    /// The named parts of the line that it matched; of a storm few are asked for.
    pub(crate) fn captures(&self, text: &str, at: usize) -> Vec<(String, String)> {
        let line = &text[line_of(text, at)];
        let mut values = Vec::new();
        for pattern in [&self.regex, &self.capture] {
            if let Some(regex) = compiled(pattern.as_ref())
                && let Some(captures) = regex.captures(line)
            {
                named(regex, &captures, &mut values);
            }
        }
        values
    }
}

fn compiled(pattern: Option<&Pattern>) -> Option<&Regex> {
    pattern.and_then(Pattern::get)
}

fn named(regex: &Regex, captures: &regex::Captures<'_>, into: &mut Vec<(String, String)>) {
    for name in regex.capture_names().flatten() {
        if let Some(value) = captures.name(name) {
            into.push((name.to_owned(), value.as_str().chars().take(200).collect()));
        }
    }
}

/// The range of the line that holds byte `at`.
pub(crate) fn line_of(text: &str, at: usize) -> std::ops::Range<usize> {
    let bytes = text.as_bytes();
    let start = memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |newline| newline + 1);
    let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |newline| at + newline);
    start..end
}
