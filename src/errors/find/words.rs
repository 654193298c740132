//! Words: the one way in which texts are cut, for the index as for the search.

use std::collections::BTreeSet;

/// So much of each field is searched, in bytes.
const MAX_FIELD: usize = 4096;
/// So many words of an event are searched.
const MAX_WORDS: usize = 400;
/// Longer words are cut, in bytes.
const MAX_WORD: usize = 64;
/// Stands between fields, so that no phrase goes from one into the next.
const BETWEEN: &str = " | ";

/// Runs of letters and digits in lower case. Scripts without blanks are cut into letters.
pub fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    each_word(text, |word| found.push(fold(word)));
    found.retain(|word| !word.is_empty());
    found
}

fn each_word<'a>(text: &'a str, mut found: impl FnMut(&'a str)) {
    let mut start = None;
    for (at, c) in text.char_indices() {
        let (letter, alone) = (c.is_alphanumeric(), is_ideograph(c));
        if letter && !alone {
            start.get_or_insert(at);
            continue;
        }
        if let Some(start) = start.take() {
            found(&text[start..at]);
        }
        if alone {
            found(&text[at..at + c.len_utf8()]);
        }
    }
    if let Some(start) = start {
        found(&text[start..]);
    }
}

const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn fold(word: &str) -> String {
    let word = &word[..word.floor_char_boundary(MAX_WORD)];
    // Some letters become several, of which one may be a mark.
    word.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect()
}

/// `ReadTimeoutError` → read, timeout, error.
fn parts(word: &str, mut found: impl FnMut(&str)) {
    let letters: Vec<(usize, char)> = word.char_indices().collect();
    let mut start = 0;
    for (n, window) in letters.windows(2).enumerate() {
        let ((_, one), (at, two)) = (window[0], window[1]);
        let next_is_lower = letters.get(n + 2).is_some_and(|(_, c)| c.is_lowercase());
        if two.is_uppercase() && (!one.is_uppercase() || next_is_lower) {
            found(&word[start..at]);
            start = at;
        }
    }
    if start > 0 {
        found(&word[start..]);
    }
}

/// A searchable text: the words of some fields.
#[derive(Debug)]
pub struct Text {
    /// `" valueerror | order 17 is odd "`
    line: String,
    /// `" value error "`: what names in camel case are made of.
    parts: String,
}

impl Text {
    /// Of the first `MAX_FIELD` bytes of each field.
    pub fn of<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut line, mut inner) = (String::from(" "), String::from(" "));
        let mut left = MAX_WORDS;
        for field in fields {
            let field = &field[..field.floor_char_boundary(MAX_FIELD)];
            each_word(field, |word| {
                if left == 0 {
                    return;
                }
                let folded = fold(word);
                if folded.is_empty() {
                    return;
                }
                left -= 1;
                line.push_str(&folded);
                line.push(' ');
                parts(word, |part| {
                    inner.push_str(&fold(part));
                    inner.push(' ');
                });
            });
            line.push_str(&BETWEEN[1..]);
        }
        Self { line, parts: inner }
    }

    /// Whether the words stand in it in a row; of an `open` phrase the last one is a beginning.
    pub fn has(&self, words: &[String], open: bool) -> bool {
        let mut wanted = format!(" {}", words.join(" "));
        if !open {
            wanted.push(' ');
        }
        self.line.contains(&wanted) || (words.len() == 1 && self.parts.contains(&wanted))
    }

    /// Each word once.
    pub fn terms(&self) -> BTreeSet<&str> {
        self.line
            .split_whitespace()
            .chain(self.parts.split_whitespace())
            .filter(|word| *word != "|")
            .collect()
    }
}

/// A field's value as a word of the index: a stable hash, since the index has no fields.
pub fn facet(field: &str, value: &str) -> String {
    // FNV-1a: it must be the same in every version that reads the index.
    let bytes = field.bytes().chain([0]).chain(value.to_lowercase().into_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("x{hash:016x}x")
}

#[cfg(test)]
mod tests {
    use super::{Text, facet, words};

    #[test]
    fn texts_are_cut_into_words() {
        assert_eq!(
            words("psycopg2.OperationalError: Über 'x'"),
            ["psycopg2", "operationalerror", "über", "x"]
        );
        assert_eq!(words("データ 12ab\0c"), ["デ", "ー", "タ", "12ab", "c"]);
        assert!(words("... -- \" ' \u{301}").is_empty());
        let text = Text::of(["ReadTimeoutError", "order 17 is odd", "/cart/HTTPServer"]);
        let has = |phrase: &str| text.has(&words(phrase), false);
        assert!(has("readtimeouterror") && has("Timeout") && has("http") && has("17 IS odd"));
        assert!(!has("order odd") && !has("odd cart") && !has("time") && !has("read timeout"));
        assert!(text.has(&words("ord"), true) && text.has(&words("order 1"), true));
        assert!(text.terms().contains("server") && !text.terms().contains("|"));
        assert!(Text::of(["İstanbul"]).has(&words("İSTANBUL"), false));
    }

    /// Of some letters nothing is left in lower case; an index refuses the empty word.
    #[test]
    fn no_word_is_empty() {
        for letter in ('\0'..=char::MAX).filter(|c| c.is_alphanumeric()) {
            let text = letter.to_string();
            assert!(words(&text).iter().all(|word| !word.is_empty()), "{letter:?}");
            assert!(!Text::of([text.as_str(), "x"]).line.contains("  "), "{letter:?}");
        }
    }

    #[test]
    fn facets_are_words() {
        assert_eq!(words(&facet("user", "A b")), [facet("user", "a B")]);
        assert_ne!(facet("user", "a"), facet("use", "ra"));
        assert_eq!(facet("release", "1"), "xefb583fd20f30f91x");
    }
}
