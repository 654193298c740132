//! Merge fields: `{{ first_name }}`, `{{ first_name|default("there") }}`.
//!
//! This is no template language: there are names and defaults, nothing can be computed, and what
//! is put in is never read again. So a contact who is called `{{ 7*7 }}` stays called so.

use std::collections::BTreeMap;

use crate::llm;

/// Longest value that is put in, in characters.
const MAX_VALUE: usize = 200;
/// Most fields of one text.
const MAX_FIELDS: usize = 200;
const MAX_NAME: usize = 60;

/// What a field stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    FirstName,
    LastName,
    Company,
    /// What came with the contact under this name.
    Attribute(String),
    /// Where the recipient ends it; only as the whole address of a link.
    Unsubscribe,
}

/// A field in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    pub field: Field,
    /// Put in where nothing is known.
    pub default: Option<String>,
}

/// A text is made of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Field(Merge),
}

/// What fields are filled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    pub first_name: String,
    pub last_name: String,
    pub company: String,
    pub attributes: BTreeMap<String, String>,
}

impl Field {
    /// As it is written.
    pub fn name(&self) -> String {
        match self {
            Self::FirstName => "first_name".to_owned(),
            Self::LastName => "last_name".to_owned(),
            Self::Company => "company".to_owned(),
            Self::Attribute(name) => format!("attributes.{name}"),
            Self::Unsubscribe => "unsubscribe_url".to_owned(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        Some(match name {
            "first_name" => Self::FirstName,
            "last_name" => Self::LastName,
            "company" => Self::Company,
            "unsubscribe_url" => Self::Unsubscribe,
            _ => {
                let name = name.strip_prefix("attributes.")?;
                let fits = !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(word);
                Self::Attribute(fits.then(|| name.to_owned())?)
            }
        })
    }
}

impl Merge {
    /// What stands in its place: one line of what can be seen. Never markup, until escaped.
    pub fn value(&self, values: &Values) -> String {
        let known = match &self.field {
            Field::FirstName => values.first_name.as_str(),
            Field::LastName => values.last_name.as_str(),
            Field::Company => values.company.as_str(),
            Field::Attribute(name) => values.attributes.get(name).map_or("", String::as_str),
            Field::Unsubscribe => "",
        };
        let known = llm::visible(known);
        let mut known = known.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = known.char_indices().nth(MAX_VALUE) {
            known.truncate(end);
        }
        if known.is_empty() { self.default.clone().unwrap_or_default() } else { known }
    }
}

/// The pieces of a text; the error says which field is none, and what there is.
pub fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    if text.contains("{%") || text.contains("{#") {
        return Err("{% … %} and {# … #} are not understood; there are only merge fields like \
                    {{ first_name|default(\"there\") }}"
            .to_owned());
    }
    while let Some((before, after)) = rest.split_once("{{") {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some((inside, after)) = after.split_once("}}") else {
            let shown: String = after.chars().take(40).collect();
            return Err(format!("{{{{{shown} is never closed; write }}}} behind the field"));
        };
        pieces.push(Piece::Field(field(inside)?));
        if pieces.len() > MAX_FIELDS * 2 {
            return Err(format!("there are more than {MAX_FIELDS} merge fields"));
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn field(inside: &str) -> Result<Merge, String> {
    let unknown = || {
        let shown: String = inside.trim().chars().take(60).collect();
        format!(
            "{{{{ {shown} }}}} is no merge field; there are first_name, last_name, company, \
             attributes.NAME and unsubscribe_url, each alone or with |default(\"words\")"
        )
    };
    let (name, default) = match inside.split_once('|') {
        None => (inside, None),
        Some((name, filter)) => (name, Some(words(filter).ok_or_else(unknown)?)),
    };
    let field = Field::parse(name.trim()).ok_or_else(unknown)?;
    Ok(Merge { field, default })
}

/// The words of `default("…")`.
fn words(filter: &str) -> Option<String> {
    let inner = filter.trim().strip_prefix("default")?.trim_start();
    let inner = inner.strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let words = inner.strip_prefix(quote)?.strip_suffix(quote)?;
    (!words.contains([quote, '\\', '{', '}']) && words.len() <= MAX_VALUE).then(|| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Field, Merge, Piece, Values, parse};

    #[test]
    fn fields_are_names_with_defaults() {
        let pieces = parse("Hi {{ first_name|default(\"there\") }}, {{attributes.plan}}!").unwrap();
        assert_eq!(
            pieces,
            [
                Piece::Text("Hi ".to_owned()),
                Piece::Field(Merge { field: Field::FirstName, default: Some("there".to_owned()) }),
                Piece::Text(", ".to_owned()),
                Piece::Field(Merge { field: Field::Attribute("plan".to_owned()), default: None }),
                Piece::Text("!".to_owned()),
            ]
        );
        assert!(parse("{{ company | default( 'you' ) }}").is_ok());
        assert_eq!(parse("a } b { c").unwrap(), [Piece::Text("a } b { c".to_owned())]);
    }

    #[test]
    fn nothing_else_is_understood() {
        for text in [
            "{{ 7*7 }}",
            "{{ email }}",
            "{{ firstname }}",
            "{{ first_name|upper }}",
            "{{ first_name|default(first_name) }}",
            "{{ first_name|default(\"a\")|safe }}",
            "{{ attributes.a b }}",
            "{{ attributes. }}",
            "{{ self }}",
            "{{",
            "{{ first_name",
            "{{ {{ first_name }} }}",
            "{% for x in y %}",
            "{# x #}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_one_line_and_never_read_again() {
        let field = Merge { field: Field::FirstName, default: Some("you".to_owned()) };
        let of =
            |name: &str| field.value(&Values { first_name: name.to_owned(), ..Values::default() });
        assert_eq!(of("{{ 7*7 }}"), "{{ 7*7 }}");
        assert_eq!(of("a\r\nBcc: b\u{202e}"), "a Bcc: b");
        assert_eq!(of(" \t"), "you");
        assert_eq!(of(&"x".repeat(5000)).len(), 200);
    }
}
