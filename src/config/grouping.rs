//! `[[grouping]]`: which events are one error, where an operator knows better than the
//! fingerprint. They are read and checked here; `errors::grouping` applies them.
//!
//! | key | what an event has to be |
//! | --- | --- |
//! | `app` | of this application |
//! | `type`, `message`, `endpoint` (or `path`), `function`, `file`, `release`, `environment`, `level` | like this; `*` stands for any text, case does not matter |
//! | `tags = { NAME = "…" }` | with a tag like this |

use std::collections::BTreeMap;

use serde::Deserialize;

use super::load::Entry;

/// Most rules: each event is held against all of its application's.
const MAX_RULES: usize = 200;
/// Longest text of a rule, in bytes.
const MAX_TEXT: usize = 200;
/// Most parts of a fingerprint, and tags of a rule.
const MAX_PARTS: usize = 20;

/// A rule: all of its patterns have to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupingRule {
    /// For people: its `name`, else "number 3".
    pub name: String,
    pub app: Option<String>,
    pub patterns: Vec<(Trait, Glob)>,
    /// Events with the same parts are one group.
    pub fingerprint: Vec<Template>,
    pub title: Option<Template>,
}

/// What of an event a pattern is held against, and a template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trait {
    /// Lux's own fingerprint; no pattern can name it.
    Default,
    Type,
    Message,
    Endpoint,
    /// Of the application's innermost frame.
    Function,
    File,
    Release,
    Environment,
    Level,
    App,
    Tag(String),
}

impl Trait {
    /// As it stands between `{{` and `}}`; the names of Sentry's rules are known as well.
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::Default,
            "type" | "error.type" => Self::Type,
            "message" | "error.value" => Self::Message,
            "endpoint" | "path" | "transaction" => Self::Endpoint,
            "function" | "stack.function" => Self::Function,
            "file" | "stack.abs_path" => Self::File,
            "release" => Self::Release,
            "environment" => Self::Environment,
            "level" => Self::Level,
            "app" => Self::App,
            other => {
                let tag = other.strip_prefix("tags.").or_else(|| other.strip_prefix("tag:"))?;
                return (!tag.is_empty()).then(|| Self::Tag(tag.to_owned()));
            }
        })
    }
}

/// A pattern in which `*` stands for any text; compared in lower case, in linear time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<String>);

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_lowercase().split('*').map(str::to_owned).collect())
    }

    /// Whether a text fits that is in lower case already.
    pub fn fits(&self, lower: &str) -> bool {
        let [first, middle @ .., last] = &self.0[..] else {
            return self.0.first().is_some_and(|whole| whole == lower);
        };
        let Some(mut rest) = lower.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

/// Text with `{{ name }}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Value(Trait),
}

impl Template {
    /// Reads a template; the error is the name that nothing has.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else { break };
            let value = Trait::parse(name.trim()).ok_or_else(|| name.trim().to_owned())?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Value(value));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

/// The entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Option<String>,
    app: Option<String>,
    #[serde(rename = "type")]
    error_type: Option<String>,
    message: Option<String>,
    #[serde(alias = "path")]
    endpoint: Option<String>,
    function: Option<String>,
    file: Option<String>,
    release: Option<String>,
    environment: Option<String>,
    level: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    fingerprint: Vec<String>,
    title: Option<String>,
}

impl GroupingRule {
    pub(super) fn check(written: Written, entry: &mut Entry<'_>) -> Option<Self> {
        let mut sound = true;
        let mut mistake = |problem: String| {
            entry.mistake(problem);
            sound = false;
        };
        if written.tags.len() > MAX_PARTS {
            mistake(format!("tags has more than {MAX_PARTS} names"));
        }
        let named = [
            ("type", Trait::Type, written.error_type),
            ("message", Trait::Message, written.message),
            ("endpoint", Trait::Endpoint, written.endpoint),
            ("function", Trait::Function, written.function),
            ("file", Trait::File, written.file),
            ("release", Trait::Release, written.release),
            ("environment", Trait::Environment, written.environment),
            ("level", Trait::Level, written.level),
        ];
        let tags = written.tags.into_iter().map(|(name, pattern)| {
            let key = Trait::Tag(name);
            ("tags", key, Some(pattern))
        });
        let mut patterns = Vec::new();
        for (key, of, pattern) in named.into_iter().chain(tags) {
            let Some(pattern) = pattern else { continue };
            if pattern.is_empty() || pattern.len() > MAX_TEXT {
                mistake(format!(
                    "{key} is empty or longer than {MAX_TEXT} bytes; write a pattern such as \
                     \"*deadlock*\""
                ));
                continue;
            }
            patterns.push((of, Glob::new(&pattern)));
        }
        if patterns.is_empty() {
            mistake(
                "nothing says which events it is for; give type, message, endpoint, function, \
                 file, release, environment, level or tags"
                    .to_owned(),
            );
        }
        if written.fingerprint.is_empty() || written.fingerprint.len() > MAX_PARTS {
            mistake(format!(
                "fingerprint lists 1 to {MAX_PARTS} texts; events with the same ones are one group"
            ));
        }
        let mut read = |key: &str, text: &str| {
            if text.len() > MAX_TEXT {
                mistake(format!("{key} is longer than {MAX_TEXT} bytes"));
                return None;
            }
            Template::parse(text)
                .map_err(|name| {
                    mistake(format!(
                        "{key} has {{{{ {name} }}}}; known are default, type, message, endpoint, \
                         function, file, release, environment, level, app and tags.NAME"
                    ));
                })
                .ok()
        };
        let fingerprint: Vec<Template> =
            written.fingerprint.iter().filter_map(|part| read("fingerprint", part)).collect();
        let title = written.title.as_deref().and_then(|title| read("title", title));
        let app = written.app;
        let name = written.name.unwrap_or_default();
        sound.then_some(Self { name, app, patterns, fingerprint, title })
    }

    /// Names those without a name, and says if there are too many.
    pub(super) fn number(rules: &mut [Self]) -> Option<String> {
        for (index, rule) in rules.iter_mut().enumerate() {
            if rule.name.is_empty() {
                rule.name = format!("number {}", index + 1);
            }
        }
        (rules.len() > MAX_RULES)
            .then(|| format!("there are {} rules; at most {MAX_RULES} are held", rules.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("psycopg2.*", "psycopg2.errors.deadlockdetected", true),
            ("psycopg2.*", "psycopg3.errors", false),
            ("*deadlock*", "error: deadlock detected", true),
            ("*DeadLock*", "error: deadlock detected", true),
            ("KeyError", "keyerror", true),
            ("KeyError", "keyerrors", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("*ß*ü*", "große tür", true),
        ] {
            assert_eq!(Glob::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn templates_name_what_they_need() {
        let pieces = Template::parse("Deadlock at {{ endpoint }} ({{tags.shop}})").unwrap().0;
        assert_eq!(
            pieces,
            [
                Piece::Text("Deadlock at ".into()),
                Piece::Value(Trait::Endpoint),
                Piece::Text(" (".into()),
                Piece::Value(Trait::Tag("shop".into())),
                Piece::Text(")".into()),
            ]
        );
        assert_eq!(Template::parse("{{ nothing }}").unwrap_err(), "nothing");
        assert_eq!(Template::parse("{{ open").unwrap().0, [Piece::Text("{{ open".into())]);
    }
}
