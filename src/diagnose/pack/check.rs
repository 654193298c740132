//! Checking a free answer against what the model was shown: does each number exist, does
//! each quotation stand where it is said to stand.

use serde::{Deserialize, Serialize};

use super::{Cited, Pack};
use crate::diagnose::Evidence;

/// Characters from which quoted words are a claim about a record; shorter ones are names.
const CLAIM: usize = 12;
/// Claims that are looked at.
const MOST: usize = 200;

/// What is left of an answer's claims when they have been looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Answer {
    /// What the answer's numbers stand for, in the order of their first use.
    pub citations: Vec<Claim>,
    /// Quoted words that no record holds, and numbers that stand for nothing.
    pub unproven: Vec<String>,
}

/// A number that an answer cites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Claim {
    /// As in the answer's text: `[7]`.
    pub id: u32,
    pub evidence: Evidence,
    /// The answer quotes the record, and the words stand in it.
    pub quoted: bool,
}

impl Pack {
    /// Looks up each `[n]` and each quotation ("…", `…`, “…”, «…» or a line of a code
    /// block) of an answer. `reveal` puts back what was hidden.
    ///
    /// A quotation is proven if a record that its sentence cites holds it, or else any
    /// record does: that one is cited then.
    pub fn check(&self, answer: &str, reveal: &dyn Fn(&str) -> String) -> Answer {
        let mut checked = Answer::default();
        for sentence in sentences(answer) {
            let ids = numbers(sentence);
            for id in &ids {
                match self.evidence(*id) {
                    Some(evidence) => checked.cite(*id, evidence, false),
                    None => checked.doubt(format!("[{id}]")),
                }
            }
            for quote in quotations(sentence) {
                let cited = ids.iter().filter_map(|id| Some((*id, self.cited.get(id)?)));
                let others = self.citations().filter(|(id, _)| !ids.contains(id));
                let held = |(id, cited): (u32, &Cited)| {
                    cited.prove(quote, reveal).map(|evidence| (id, evidence))
                };
                match cited.chain(others).find_map(held) {
                    Some((id, evidence)) => checked.cite(id, evidence, true),
                    None => checked.doubt(reveal(quote)),
                }
            }
        }
        checked
    }
}

impl Answer {
    fn cite(&mut self, id: u32, evidence: Evidence, quoted: bool) {
        let claim = Claim { id, evidence, quoted };
        match self.citations.iter().position(|known| known.id == id) {
            Some(at) if quoted && !self.citations[at].quoted => self.citations[at] = claim,
            None if self.citations.len() < MOST => self.citations.push(claim),
            Some(_) | None => {}
        }
    }

    fn doubt(&mut self, what: String) {
        if self.unproven.len() < MOST && !self.unproven.contains(&what) {
            self.unproven.push(what);
        }
    }
}

/// Lines, and within them sentences: a number belongs to the quotations beside it.
fn sentences(answer: &str) -> impl Iterator<Item = &str> {
    // a full stop within a quotation (a path, a number) has no blank behind it; one that
    // has splits a sentence too early, which costs its number, not the proof
    answer.lines().flat_map(|line| {
        let mut rest = Some(line);
        std::iter::from_fn(move || {
            let text = rest.take()?;
            let end = ends(text).next();
            let Some(end) = end else { return Some(text) };
            rest = Some(&text[end..]);
            Some(&text[..end])
        })
    })
}

/// Where sentences end: at a full stop outside of quotation marks, before a capital.
fn ends(text: &str) -> impl Iterator<Item = usize> {
    let mut open = None;
    text.char_indices().filter_map(move |(at, c)| {
        match open {
            Some(mark) if c == mark => open = None,
            Some(_) => return None,
            None => open = closing(c),
        }
        let rest = &text[at + c.len_utf8()..];
        let ends = open.is_none()
            && matches!(c, '.' | '!' | '?')
            && rest.starts_with(' ')
            && rest.trim_start().starts_with(char::is_uppercase);
        ends.then_some(at + 1)
    })
}

fn closing(c: char) -> Option<char> {
    Some(match c {
        '"' => '"',
        '`' => '`',
        '“' | '„' => '”',
        '«' => '»',
        _ => return None,
    })
}

/// The numbers in `[7]`, `[7, 8]`, `[7][8]`.
pub fn numbers(text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    for rest in text.split('[').skip(1) {
        let Some((inside, _)) = rest.split_once(']') else { continue };
        if inside.len() > 60 {
            continue;
        }
        for part in inside.split([',', ' ', ';']).filter(|part| !part.is_empty()) {
            match part.parse() {
                Ok(id) if !ids.contains(&id) && ids.len() < MOST => ids.push(id),
                _ => {}
            }
        }
    }
    ids
}

/// Quoted words that are long enough to be a claim.
fn quotations(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((at, mark)) = rest.char_indices().find(|(_, c)| closing(*c).is_some()) {
        let inside = &rest[at + mark.len_utf8()..];
        let Some(end) = closing(mark).and_then(|mark| inside.find(mark)) else { break };
        let quote = &inside[..end];
        // "lux probe x" in backticks is a command, no quotation of a log
        if quote.chars().count() >= CLAIM
            && !(mark == '`' && is_command(quote))
            && found.len() < MOST
        {
            found.push(quote);
        }
        rest = &inside[end..];
        rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
    }
    found
}

/// What a person is told to type.
fn is_command(text: &str) -> bool {
    const PROGRAMS: &[&str] = &[
        "lux",
        "sudo",
        "systemctl",
        "journalctl",
        "nginx",
        "psql",
        "pip",
        "python",
        "python3",
        "gunicorn",
        "cat",
        "ls",
        "df",
        "tail",
        "grep",
        "curl",
        "redis-cli",
        "kill",
        "chmod",
        "chown",
        "ss",
        "free",
        "flask",
        "alembic",
        "service",
        "du",
        "ps",
        "dig",
        "openssl",
    ];
    text.split_whitespace().next().is_some_and(|first| PROGRAMS.contains(&first))
}
