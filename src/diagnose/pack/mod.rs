//! What a model sees of logs and errors: not the last lines, but a *pack*. The advisor's
//! findings, the open errors, requests and sayings with counts and how their numbers moved,
//! then records with their neighbours; under a budget of bytes, cut by relevance.
//!
//! Each record in it has a number to cite it by (`[7]`), and the pack remembers what that
//! number stands for: [`Pack::prove`] looks a quotation up, [`Pack::check`] all of an answer.
//! Nothing here reads or asks anything: the same records give the same pack.

mod check;
mod collect;
mod cut;
mod draft;
mod excerpt;
mod requests;
mod sayings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Evidence;

pub use check::{Answer, Claim, numbers};
pub use collect::Collector;

/// Bytes of a pack unless the caller wants another size: with the prompt about it, fewer
/// than 6000 tokens.
pub const PACK_BYTES: usize = 16 * 1024;

/// Records that one pack, and what is added to it later, may cite.
const MOST_CITED: usize = 2000;

/// See the module's first line. Serializes, so that answers can be checked later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Goes into a marked block of data; secrets and persons' data are placeholders.
    pub text: String,
    /// What was left out for room, in words; `None` if nothing was.
    pub left_out: Option<String>,
    cited: BTreeMap<u32, Cited>,
}

/// What a number of a pack stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cited {
    pub source: String,
    /// Number of its first line; of a captured error its id.
    pub line: u64,
    /// Of several lines the number of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<u64>,
    /// As it is stored; of a long record the beginning and the end.
    pub text: String,
    /// What the model may quote of it, where that is not the stored text: with
    /// placeholders, without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
}

/// Makes text fit to leave: strikes out what must not, and takes off what could be read as
/// anything but data (`llm::Desk::plain` does both). In one conversation always in one way.
pub type Hide<'a> = &'a mut dyn FnMut(&str) -> String;

impl Pack {
    /// What the number stands for.
    pub fn cited(&self, id: u32) -> Option<&Cited> {
        self.cited.get(&id)
    }

    /// All numbers with what they stand for.
    pub fn citations(&self) -> impl Iterator<Item = (u32, &Cited)> {
        self.cited.iter().map(|(id, cited)| (*id, cited))
    }

    /// Gives a number to a record that was read later (by a tool, say), and says how the
    /// model is to be shown it: `[8] app.log:12: text`. The same place keeps its number.
    /// `None` when there are too many.
    pub fn cite(&mut self, source: &str, line: u64, text: &str, hide: Hide<'_>) -> Option<String> {
        let shown = hide(text);
        let known = self
            .cited
            .iter()
            .find(|(_, cited)| cited.source == source && cited.line == line && cited.text == text);
        let id = match known {
            Some((id, _)) => *id,
            None if self.cited.len() >= MOST_CITED => return None,
            None => {
                let id = self.cited.last_key_value().map_or(1, |(last, _)| last + 1);
                let cited = Cited {
                    source: source.to_owned(),
                    line,
                    numbers: Vec::new(),
                    text: text.to_owned(),
                    shown: (shown != text).then(|| shown.clone()),
                };
                self.cited.insert(id, cited);
                id
            }
        };
        let source = hide(source).replace('\n', " ");
        Some(format!("[{id}] {source}:{line}: {}", shown.replace('\n', "\n    ")))
    }

    /// The same with each record as the model was shown it, without what was hidden.
    #[must_use]
    pub fn as_sent(&self) -> Self {
        let mut sent = self.clone();
        for cited in sent.cited.values_mut() {
            if let Some(shown) = cited.shown.take() {
                cited.text = shown;
            }
        }
        sent
    }

    /// The quotation as it stands in the stored record `id`, with its line; `None` if the
    /// record does not hold it. `reveal` puts back what was hidden.
    pub fn prove(&self, id: u32, quote: &str, reveal: &dyn Fn(&str) -> String) -> Option<Evidence> {
        self.cited.get(&id)?.prove(quote, reveal)
    }

    /// The record itself as evidence: its first line.
    pub fn evidence(&self, id: u32) -> Option<Evidence> {
        let cited = self.cited.get(&id)?;
        Some(cited.evidence_at(0, None))
    }
}

/// Bytes of a quotation that is shown.
const QUOTE: usize = 500;

impl Cited {
    /// What the model was shown of it, whole.
    pub fn shown(&self) -> &str {
        self.shown.as_deref().unwrap_or(&self.text)
    }

    fn prove(&self, quote: &str, reveal: &dyn Fn(&str) -> String) -> Option<Evidence> {
        let quote = quote.trim();
        // a quotation of nothing proves nothing
        if quote.chars().filter(|c| c.is_alphanumeric()).count() < 3 {
            return None;
        }
        if let Some(at) = self.text.find(quote) {
            return Some(self.evidence_at(lines_before(&self.text, at), Some(quote)));
        }
        let at = self.shown().find(quote)?;
        let revealed = reveal(quote);
        match self.text.find(first_line(&revealed)) {
            Some(at) => Some(self.evidence_at(lines_before(&self.text, at), Some(&revealed))),
            None if self.text.lines().count() == self.shown().lines().count() => {
                Some(self.evidence_at(lines_before(self.shown(), at), None))
            }
            None => Some(self.evidence_at(0, None)),
        }
    }

    /// Line `index` of the record; of it the part that is `quote`, if it stands there so.
    fn evidence_at(&self, index: usize, quote: Option<&str>) -> Evidence {
        let line = self.text.split('\n').nth(index).unwrap_or_default();
        // a quotation of several lines is told by its first
        let text = match quote.map(first_line) {
            Some(first) if line.contains(first) => first,
            _ => line.trim(),
        };
        let number = self.numbers.get(index).filter(|number| **number > 0);
        Evidence {
            source: self.source.clone(),
            line: number.copied().unwrap_or(self.line),
            text: text[..text.floor_char_boundary(QUOTE)].to_owned(),
        }
    }
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default().trim()
}

fn lines_before(text: &str, at: usize) -> usize {
    memchr::memchr_iter(b'\n', &text.as_bytes()[..at]).count()
}

#[cfg(test)]
mod tests;
