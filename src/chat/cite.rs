//! What an answer rests on. Each text that was looked at has a number; an answer cites by
//! it, and what it quotes is looked up again. A quotation that is not there is marked.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::answer::Citation;
use crate::llm::Desk;

/// Texts that one answer may rest on; later ones have no number.
const MOST: usize = 400;

/// A stored text is cut at this many bytes.
const LONGEST: usize = 2 << 10;

/// Shorter words in quotation marks are no quotations.
const SHORTEST: usize = 12;

/// What was looked at for an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    items: Vec<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    #[serde(flatten)]
    citation: Citation,
    /// The text as a model has seen it: what it quotes is looked up here.
    seen: String,
}

/// An answer whose quotations were looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// With what is not proven marked.
    pub text: String,
    /// What is cited, in the order of the numbers.
    pub citations: Vec<Citation>,
    /// What could not be found: quotations, and numbers of nothing.
    pub unproven: Vec<String>,
}

impl Sources {
    /// Gives a text its number, the one it has if it is known. `None` when there are too
    /// many.
    pub(super) fn number(
        &mut self,
        source: &str,
        line: u64,
        text: &str,
        seen: &str,
    ) -> Option<usize> {
        let text = head(text);
        let known = self.items.iter().find(|Source { citation, .. }| {
            citation.source == source && citation.line == line && citation.text == text
        });
        if let Some(known) = known {
            return Some(known.citation.number);
        }
        if self.items.len() >= MOST {
            return None;
        }
        let number = self.items.len() + 1;
        let (source, text) = (source.to_owned(), text.to_owned());
        self.items.push(Source {
            citation: Citation { number, source, line, text },
            seen: head(seen).to_owned(),
        });
        Some(number)
    }

    /// The same with the texts as they were sent.
    pub(super) fn sent(&self, desk: &mut Desk) -> Self {
        let items = self.items.iter().map(|item| {
            let text = desk.plain(&item.citation.text).as_str().to_owned();
            let citation = Citation { text: text.clone(), ..item.citation.clone() };
            Source { citation, seen: text }
        });
        Self { items: items.collect() }
    }

    /// Looks up what an answer cites and quotes.
    pub(super) fn check(&self, answer: &str) -> Checked {
        let mut checked =
            Checked { text: String::new(), citations: Vec::new(), unproven: Vec::new() };
        let mut used = vec![false; self.items.len()];
        let mut in_code = false;
        for line in answer.split_inclusive('\n') {
            let start = line.trim_start();
            if start.starts_with("```") || start.starts_with("~~~") {
                in_code = !in_code;
                checked.text.push_str(line);
            } else if in_code {
                checked.text.push_str(line);
            } else {
                self.check_line(line, &mut checked, &mut used);
            }
        }
        let used = self.items.iter().zip(&used).filter(|(_, used)| **used);
        checked.citations = used.map(|(item, _)| item.citation.clone()).collect();
        checked
    }

    fn check_line(&self, line: &str, checked: &mut Checked, used: &mut [bool]) {
        let mut cited = Vec::new();
        let mut edits: Vec<(usize, usize, String)> = Vec::new();
        for found in REFERENCE.captures_iter(line) {
            let (Some(whole), Some(digits)) = (found.get(0), found.get(1)) else { continue };
            let number = digits.as_str().parse::<usize>().unwrap_or(0);
            if (1..=self.items.len()).contains(&number) {
                cited.push(number);
                used[number - 1] = true;
            } else {
                checked.unproven.push(whole.as_str().to_owned());
                edits.push((whole.start(), whole.end(), "[unproven]".to_owned()));
            }
        }
        let quotations = QUOTATION.captures_iter(line).filter_map(|found| {
            // A code span is a quotation where something is cited; else it may be a command.
            let code = found.get(1).filter(|_| !cited.is_empty());
            let quote = code.or_else(|| found.get(2)).or_else(|| found.get(3))?;
            Some((quote.as_str(), found.get(0)?.end()))
        });
        let block = line.trim_start().strip_prefix('>').map(|quote| (quote, line.trim_end().len()));
        for (quote, end) in quotations.chain(block) {
            let bare = normalised(&REFERENCE.replace_all(quote, ""));
            if bare.chars().count() < SHORTEST {
                continue;
            }
            let holds = |item: &&Source| normalised(&item.seen).contains(&bare);
            let mut in_cited = cited.iter().filter_map(|number| self.items.get(number - 1));
            if in_cited.any(|item| holds(&item)) {
                continue;
            }
            if let Some(item) = self.items.iter().find(holds) {
                let number = item.citation.number;
                used[number - 1] = true;
                edits.push((end, end, format!(" [{number}]")));
            } else {
                checked.unproven.push(bare);
                edits.push((end, end, " (unproven)".to_owned()));
            }
        }
        edits.sort_by_key(|(from, ..)| *from);
        let mut at = 0;
        for (from, to, with) in edits {
            if from < at {
                continue;
            }
            checked.text.push_str(&line[at..from]);
            checked.text.push_str(&with);
            at = to;
        }
        checked.text.push_str(&line[at..]);
    }
}

/// `[7]`, also in a row.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[(\d{1,4})\]"));

/// A code span, or text in quotation marks.
static QUOTATION: LazyLock<Regex> =
    LazyLock::new(|| pattern("`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”"));

#[expect(clippy::expect_used, reason = "the patterns are part of the program, and tested")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a valid pattern")
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// Blanks count once, and what was left out at the ends does not.
fn normalised(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let joined = words.join(" ");
    joined.trim_matches(|c: char| c == '…' || c == '.' || c == ' ').to_owned()
}

#[cfg(test)]
mod tests {
    use super::Sources;

    fn add(sources: &mut Sources, source: &str, line: u64, text: &str) -> Option<usize> {
        sources.number(source, line, text, text)
    }

    fn sources() -> Sources {
        let mut sources = Sources::default();
        add(
            &mut sources,
            "nginx-error",
            7,
            "connect() failed (111: Connection refused)  to upstream",
        );
        add(&mut sources, "app", 12, "KeyError: 'sku' in checkout");
        sources
    }

    #[test]
    fn the_same_text_has_one_number() {
        let mut sources = sources();
        assert_eq!(add(&mut sources, "app", 12, "KeyError: 'sku' in checkout"), Some(2));
        assert_eq!(add(&mut sources, "app", 13, "KeyError: 'sku' in checkout"), Some(3));
    }

    #[test]
    fn what_is_there_is_proven() {
        let checked = sources().check(
            "The upstream is away: `connect() failed (111: Connection refused) to upstream` [1].\n\
             Run `systemctl restart shop.service` then.\n",
        );
        assert_eq!(checked.unproven, [""; 0]);
        assert_eq!(checked.citations.len(), 1);
        assert!(checked.text.ends_with("shop.service` then.\n"), "{}", checked.text);
    }

    #[test]
    fn what_is_not_there_is_marked() {
        let checked = sources().check(
            "It says `disk is full on /var/lib` [1] and \"out of memory: killed\", see [9].\n\
             > a line that nobody wrote\n",
        );
        assert_eq!(
            checked.text,
            "It says `disk is full on /var/lib` (unproven) [1] and \"out of memory: killed\" \
             (unproven), see [unproven].\n> a line that nobody wrote (unproven)\n"
        );
        assert_eq!(checked.unproven.len(), 4);
    }

    #[test]
    fn a_quotation_of_another_line_gets_its_number() {
        let checked = sources().check("It says \"KeyError: 'sku' in checkout\" [1].");
        assert_eq!(checked.text, "It says \"KeyError: 'sku' in checkout\" [2] [1].");
        assert_eq!(checked.unproven, [""; 0]);
        assert_eq!(checked.citations.len(), 2);
    }

    #[test]
    fn code_is_not_looked_up() {
        let answer = "```sh\necho \"a long enough text here\" [5]\n```\n";
        assert_eq!(sources().check(answer).text, answer);
    }
}
