//! Parameters of an action: which values may stand in its argv. What they are filled
//! with comes from logs, so nothing passes that the operator did not describe.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::load::Entry;

/// A parameter of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    pub rule: Rule,
    pub default: Option<String>,
    /// The captured value of the diagnosis that fills it: "unit".
    pub from: Option<String>,
}

/// Which values a parameter may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    OneOf(Vec<String>),
    /// A whole number from the first to the second, both included.
    Int(u64, u64),
    /// An expression that fits the whole value, as written: `^[a-z]+$`.
    Matches(String),
}

/// The entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    one_of: Option<Vec<String>>,
    int: Option<[i64; 2]>,
    matches: Option<String>,
    default: Option<Default>,
    from: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Default {
    Text(String),
    Number(i64),
}

/// The longest value, in bytes.
const MAX_VALUE: usize = 256;

impl Param {
    pub(super) fn check(name: &str, written: Written, entry: &mut Entry<'_>) -> Option<Self> {
        let rule = match (written.one_of, written.int, written.matches) {
            (Some(values), None, None) => {
                if values.is_empty() {
                    entry.mistake(format!("params.{name}: one_of is empty; list the values"));
                }
                for value in &values {
                    if let Err(why) = harmless(value) {
                        entry.mistake(format!("params.{name}: one_of has a value that {why}"));
                    }
                }
                Rule::OneOf(values)
            }
            (None, Some([least, most]), None) => {
                let (Ok(from), Ok(to)) = (u64::try_from(least), u64::try_from(most)) else {
                    entry.mistake(format!(
                        "params.{name}: int cannot be negative: a value never begins with -"
                    ));
                    return None;
                };
                if from > to {
                    entry.mistake(format!("params.{name}: int = [{least}, {most}] is empty"));
                }
                Rule::Int(from, to)
            }
            (None, None, Some(pattern)) => {
                if let Err(problem) = anchored(&pattern) {
                    entry.mistake(format!("params.{name}: matches {problem}"));
                    return None;
                }
                Rule::Matches(pattern)
            }
            _ => {
                entry
                    .mistake(format!("params.{name} needs exactly one of one_of, int and matches"));
                return None;
            }
        };
        let default = written.default.map(|default| match default {
            Default::Text(text) => text,
            Default::Number(number) => number.to_string(),
        });
        let param = Self { rule, default, from: written.from };
        if param.default.is_some() && param.from.is_some() {
            entry.mistake(format!("params.{name}: default and from exclude each other"));
        }
        if let Some(from) = param.from.as_deref().filter(|from| !is_name(from)) {
            entry.mistake(format!("params.{name}: from = \"{from}\" is no captured value's name"));
        }
        if let Some(default) = &param.default
            && let Err(why) = param.accept(default)
        {
            entry.mistake(format!("params.{name}: the default {why}"));
        }
        Some(param)
    }

    /// Whether a value may stand in argv. An error completes "the value …".
    pub fn accept(&self, value: &str) -> Result<(), String> {
        harmless(value)?;
        let fits = match &self.rule {
            Rule::OneOf(values) => values.iter().any(|known| known == value),
            // Only the usual spelling: "007" and "+7" are other texts than "7".
            Rule::Int(least, most) => value.parse::<u64>().is_ok_and(|number| {
                (*least..=*most).contains(&number) && number.to_string() == value
            }),
            Rule::Matches(pattern) => {
                anchored(pattern).is_ok_and(|pattern| pattern.is_match(value))
            }
        };
        if fits { Ok(()) } else { Err(format!("is not {}", self.rule.describe())) }
    }

    /// The only value there can be.
    pub fn only(&self) -> Option<&str> {
        match &self.rule {
            Rule::OneOf(values) if values.len() == 1 => values.first().map(String::as_str),
            _ => None,
        }
    }
}

impl Rule {
    /// "one of a, b"
    pub fn describe(&self) -> String {
        match self {
            Self::OneOf(values) => format!("one of {}", values.join(", ")),
            Self::Int(least, most) => format!("a number from {least} to {most}"),
            Self::Matches(pattern) => format!("a text that matches {pattern}"),
        }
    }
}

/// What no rule can allow: options in disguise, and text that shows otherwise than it is.
fn harmless(value: &str) -> Result<(), &'static str> {
    if value.is_empty() {
        return Err("is empty");
    }
    if value.len() > MAX_VALUE {
        return Err("is longer than 256 bytes");
    }
    if value.starts_with('-') {
        return Err("begins with -, which a program would take for an option");
    }
    if value.contains(hides) {
        return Err("holds a control character");
    }
    Ok(())
}

/// Control characters, line separators, and those that turn the direction of text.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || c == '\u{feff}'
}

/// The expression between `^` and `$`, made to fit the whole value. It must be one by
/// itself, or `^a)|(b$` would slip out of the anchors.
fn anchored(pattern: &str) -> Result<Regex, String> {
    let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let inner = inner.filter(|inner| {
        let slashes = inner.bytes().rev().take_while(|byte| *byte == b'\\').count();
        slashes % 2 == 0
    });
    let Some(inner) = inner else {
        return Err(format!("= \"{pattern}\" must begin with ^ and end with $"));
    };
    let invalid = |error: regex::Error| format!("= \"{pattern}\" is no valid expression: {error}");
    Regex::new(inner).map_err(invalid)?;
    Regex::new(&format!(r"\A(?:{inner})\z")).map_err(invalid)
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
