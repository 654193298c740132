//! The query language: words, "phrases", `field:value`, `tag.NAME:value`, `-negation`.

use super::words::{Text, facet, words};
use crate::error::{Error, Result};

/// Longest query, in bytes.
const MAX_QUERY: usize = 500;
/// Most terms of a query.
const MAX_TERMS: usize = 20;
/// Shorter beginnings of words are not asked of the index: too many words begin so.
const MIN_OPEN: usize = 3;

/// A field that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Type,
    Endpoint,
    Method,
    App,
    Release,
    Environment,
    User,
    Severity,
    Origin,
    RequestId,
    EventId,
    Tag(String),
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "type" => Self::Type,
            "endpoint" | "path" => Self::Endpoint,
            "method" => Self::Method,
            "app" => Self::App,
            "release" => Self::Release,
            "environment" | "env" => Self::Environment,
            "user" => Self::User,
            "severity" | "level" => Self::Severity,
            "origin" => Self::Origin,
            "request" | "request_id" => Self::RequestId,
            "event" | "event_id" => Self::EventId,
            _ => Self::Tag(name.strip_prefix("tag.").filter(|tag| !tag.is_empty())?.to_owned()),
        })
    }

    /// What it is called in the index.
    pub fn name(&self) -> &str {
        match self {
            Self::Type => "type",
            Self::Endpoint => "endpoint",
            Self::Method => "method",
            Self::App => "app",
            Self::Release => "release",
            Self::Environment => "environment",
            Self::User => "user",
            Self::Severity => "severity",
            Self::Origin => "origin",
            Self::RequestId => "request",
            Self::EventId => "event",
            Self::Tag(name) => name,
        }
    }

    /// Tags have a space of names of their own.
    fn facet(&self, value: &str) -> String {
        match self {
            Self::Tag(name) => facet(&format!("tag.{}", name.to_lowercase()), value),
            field => facet(field.name(), value),
        }
    }

    /// Whether a group says it by itself; its events are asked for the others.
    pub fn is_of_group(&self) -> bool {
        matches!(self, Self::Type | Self::App | Self::Severity)
    }
}

/// What a field is compared with, in any case; an `open` one is a beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// In lower case.
    pub text: String,
    /// As it was written.
    pub given: String,
    pub open: bool,
}

impl Value {
    pub fn exactly(text: &str) -> Self {
        Self { text: text.to_lowercase(), given: text.to_owned(), open: false }
    }

    fn parse(text: &str, quoted: bool) -> Self {
        match text.strip_suffix('*') {
            Some(text) if !quoted => Self { open: true, ..Self::exactly(text) },
            _ => Self::exactly(text),
        }
    }

    fn matches(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        if self.open { value.starts_with(&self.text) } else { value == self.text }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Words in a row; of an `open` one the last is a beginning.
    Words {
        words: Vec<String>,
        open: bool,
    },
    Field {
        field: Field,
        value: Value,
    },
    /// `name:value` where no field has that name: a tag, or a text with a colon.
    Either {
        tag: Field,
        value: Value,
        words: Vec<String>,
    },
}

/// One condition; all of a search have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub wanted: bool,
    pub what: What,
}

/// What a term is asked of: an event or a group.
pub trait Subject {
    fn text(&self) -> &Text;
    /// Whether one of the field's values (an event has one, or none) is accepted by `test`.
    fn any(&self, field: &Field, test: &mut dyn FnMut(&str) -> bool) -> bool;
}

impl Term {
    pub fn field(field: Field, value: &str) -> Self {
        Self { wanted: true, what: What::Field { field, value: Value::exactly(value) } }
    }

    pub fn matches(&self, subject: &dyn Subject) -> bool {
        let has = |field: &Field, value: &Value| subject.any(field, &mut |own| value.matches(own));
        let found = match &self.what {
            What::Words { words, open } => subject.text().has(words, *open),
            What::Field { field, value } => has(field, value),
            What::Either { tag, value, words } => {
                has(tag, value) || subject.text().has(words, false)
            }
        };
        found == self.wanted
    }

    /// What the index has to say of a row that matches: one of these, each word of it.
    /// Empty: nothing is known.
    fn indexed(&self) -> Vec<Vec<Word>> {
        if !self.wanted {
            return Vec::new();
        }
        let of_words = |words: &[String], open: bool| -> Vec<Word> {
            let last = words.len() - 1;
            let word =
                |(n, text): (usize, &String)| Word { text: text.clone(), open: open && n == last };
            let known = |word: &Word| !word.open || word.text.chars().count() >= MIN_OPEN;
            words.iter().enumerate().map(word).filter(known).collect()
        };
        let of_field = |field: &Field, value: &Value| -> Vec<Word> {
            if value.open {
                return Vec::new();
            }
            vec![Word { text: field.facet(&value.text), open: false }]
        };
        let ways = match &self.what {
            What::Words { words, open } => vec![of_words(words, *open)],
            What::Field { field, value } => vec![of_field(field, value)],
            What::Either { tag, value, words } => {
                vec![of_field(tag, value), of_words(words, false)]
            }
        };
        // A way of which nothing is known leaves everything open.
        if ways.iter().any(Vec::is_empty) { Vec::new() } else { ways }
    }
}

/// A word of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    text: String,
    open: bool,
}

/// The terms of a query text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(pub Vec<Term>);

impl Query {
    /// Reads a query. A mistake names the character (from 1) at which it is.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_QUERY || text.contains('\0') {
            return Err(Error::invalid(format!(
                "q is text of at most {MAX_QUERY} bytes without zero bytes"
            )));
        }
        let mut scanner = Scanner { rest: text, whole: text };
        let mut terms = Vec::new();
        while scanner.more() {
            terms.extend(scanner.term()?);
            if terms.len() > MAX_TERMS {
                return Err(
                    scanner.refused("", &format!("more than {MAX_TERMS} terms; leave some out"))
                );
            }
        }
        if terms.is_empty() && !text.trim().is_empty() {
            return Err(Error::invalid(
                "q has no word to look for; give letters or digits, or a field such as type:ValueError",
            ));
        }
        Ok(Self(terms))
    }
}

/// The terms as an expression of the full-text index, `None` if it cannot help.
pub fn expression(terms: &[Term], postgres: bool) -> Option<String> {
    let (and, or) = if postgres { (" & ", " | ") } else { (" AND ", " OR ") };
    // Nothing in a word needs to be escaped: letters and digits only.
    let word = |word: &Word| match (postgres, word.open) {
        (true, true) => format!("'{}':*", word.text),
        (true, false) => format!("'{}'", word.text),
        (false, true) => format!("\"{}\" *", word.text),
        (false, false) => format!("\"{}\"", word.text),
    };
    let all: Vec<String> = terms
        .iter()
        .map(Term::indexed)
        .filter(|ways| !ways.is_empty())
        .map(|ways| {
            let ways: Vec<String> = ways
                .iter()
                .map(|words| format!("({})", words.iter().map(word).collect::<Vec<_>>().join(and)))
                .collect();
            format!("({})", ways.join(or))
        })
        .collect();
    if all.is_empty() { None } else { Some(all.join(and)) }
}

/// Words by which the index knows the fields of an event.
pub fn facets(field: &Field, value: &str) -> Vec<String> {
    let value = value.to_lowercase();
    forms(field, &value).into_iter().map(|form| field.facet(form.as_ref())).collect()
}

/// Under which forms a value is found: a class also without its module, a path also with
/// masked ids and without its query.
pub fn forms(field: &Field, value: &str) -> Vec<String> {
    match field {
        Field::Type => {
            let last = value.rsplit(['.', ':', '\\']).next().unwrap_or_default();
            let short = (!last.is_empty() && last != value).then(|| last.to_owned());
            short.into_iter().chain([value.to_owned()]).collect()
        }
        Field::Endpoint => {
            let path = value.split(['?', '#']).next().unwrap_or_default();
            let template = crate::logs::template::path(value);
            let mut forms = vec![path.to_owned()];
            forms.extend((template != path).then_some(template));
            forms.extend((value != path).then(|| value.to_owned()));
            forms
        }
        _ => vec![value.to_owned()],
    }
}

struct Scanner<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl Scanner<'_> {
    fn refused(&self, at: &str, why: &str) -> Error {
        let at = if at.is_empty() { self.rest } else { at };
        let before = &self.whole[..self.whole.len() - at.len()];
        Error::invalid(format!("q, character {}: {why}", before.chars().count() + 1))
    }

    fn more(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        !self.rest.is_empty()
    }

    /// The next term; `None` if there is no word in it.
    fn term(&mut self) -> Result<Option<Term>> {
        let negated = self
            .rest
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with(char::is_whitespace) && !rest.is_empty());
        let begin = self.rest;
        self.rest = negated.unwrap_or(self.rest);
        let wanted = negated.is_none();
        if self.rest.starts_with('"') {
            let phrase = self.quoted()?;
            return Ok(text(&phrase, false).map(|what| Term { wanted, what }));
        }
        let end =
            self.rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let (name, value) = match word.split_once(':') {
            Some((name, value))
                if is_name(name) && !value.starts_with(':') && !value.starts_with("//") =>
            {
                (name, value)
            }
            _ => {
                self.rest = rest;
                let open = word.ends_with('*');
                return Ok(text(word, open).map(|what| Term { wanted, what }));
            }
        };
        self.rest = &self.rest[name.len() + 1..];
        let quoted = self.rest.starts_with('"');
        let value = if quoted {
            self.quoted()?
        } else {
            self.rest = rest;
            value.to_owned()
        };
        let field = Field::named(&name.to_ascii_lowercase());
        if value.is_empty() {
            if field.is_some() || quoted {
                return Err(
                    self.refused(begin, &format!("{name}: has no value; write {name}:value"))
                );
            }
            // "ValueError: …" is a text.
            return Ok(text(name, false).map(|what| Term { wanted, what }));
        }
        let value = Value::parse(&value, quoted);
        let what = if let Some(field) = field {
            What::Field { field, value }
        } else {
            let words = words(&format!("{name} {}", value.text));
            What::Either { tag: Field::Tag(name.to_owned()), value, words }
        };
        Ok(Some(Term { wanted, what }))
    }

    /// A text in double quotes; `\"` and `\\` stand for themselves.
    fn quoted(&mut self) -> Result<String> {
        let begin = self.rest;
        let mut text = String::new();
        let mut chars = begin.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &begin[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    Some((_, c)) => text.extend(['\\', c]),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(self.refused(begin, "the quote is not closed; add a \" at the end"))
    }
}

fn text(text: &str, open: bool) -> Option<What> {
    let words = words(text);
    if words.is_empty() { None } else { Some(What::Words { words, open }) }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    !name.is_empty() && name.len() <= 100 && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Field, Query, Term, Value, What, expression};

    fn parse(text: &str) -> Vec<Term> {
        Query::parse(text).unwrap().0
    }

    #[test]
    fn terms_are_read() {
        let words = |wanted, words: &[&str], open| Term {
            wanted,
            what: What::Words { words: words.iter().map(ToString::to_string).collect(), open },
        };
        assert_eq!(
            parse("Timeout -\"not found\" ord*"),
            [
                words(true, &["timeout"], false),
                words(false, &["not", "found"], false),
                words(true, &["ord"], true),
            ]
        );
        assert_eq!(
            parse("KeyError: http://x/y a::b - &"),
            [
                words(true, &["keyerror"], false),
                words(true, &["http", "x", "y"], false),
                words(true, &["a", "b"], false),
            ]
        );
        let field = |field, text: &str, open| Term {
            wanted: true,
            what: What::Field { field, value: Value { open, ..Value::exactly(text) } },
        };
        assert_eq!(
            parse("type:KeyError release:\"Shop 1.*\" tag.Plan:pro* env:x"),
            [
                field(Field::Type, "KeyError", false),
                field(Field::Release, "Shop 1.*", false),
                field(Field::Tag("plan".into()), "pro", true),
                field(Field::Environment, "x", false),
            ]
        );
        assert!(
            matches!(&parse("plan:pro")[0].what, What::Either { words, .. } if words.len() == 2)
        );
        assert_eq!(parse("  "), []);
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, place) in [
            ("ü \"open", "character 3"),
            ("a -type:", "character 3"),
            ("plan:\"\"", "character 1"),
            ("*** \"\"", "no word"),
            ("a\0", "zero"),
        ] {
            let error = Query::parse(text).unwrap_err().to_string();
            assert!(error.contains(place), "{text}: {error}");
        }
        assert!(Query::parse(&"a ".repeat(200)).unwrap_err().to_string().contains("20 terms"));
        assert!(Query::parse(&"a".repeat(10_000)).is_err());
    }

    #[test]
    fn expressions_hold_words_only() {
        let terms = parse("type:A \"b c\" -d e:f");
        let lite = expression(&terms, false).unwrap();
        assert!(
            lite.contains("(\"b\" AND \"c\")") && lite.contains(" OR (\"e\" AND \"f\")"),
            "{lite}"
        );
        assert!(!lite.contains("\"d\""));
        assert_eq!(expression(&parse("-a x* release:b*"), false), None);
        assert_eq!(expression(&parse("abc*"), true).unwrap(), "(('abc':*))");
    }

    proptest! {
        #[test]
        fn nothing_escapes(text in "\\PC{0,80}") {
            if let Ok(Query(terms)) = Query::parse(&text) {
                for postgres in [false, true] {
                    let made = expression(&terms, postgres).unwrap_or_default();
                    let quote = if postgres { '\'' } else { '"' };
                    for (n, inner) in made.split(quote).enumerate() {
                        let word = !inner.is_empty() && inner.chars().all(char::is_alphanumeric);
                        prop_assert!(n % 2 == 0 || word, "{made}");
                    }
                }
            }
        }
    }
}
