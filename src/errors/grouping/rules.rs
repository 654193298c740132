//! What an event is told apart by in the end: a rule of the configuration, else the wish of
//! the program that reported it, else Lux's own fingerprint.

use std::sync::Arc;

use crate::{
    config::{GroupingRule, Piece, Template, Trait},
    errors::{
        Event, Fingerprint,
        fingerprint::{MAX_TITLE, Seen, custom, mask},
    },
    logs::template,
    redact,
};

/// As much of a text as a pattern is held against, in bytes.
const LOOKED_AT: usize = 1024;

/// The rules, in the order of the file: the first that fits decides. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<[GroupingRule]>);

impl Rules {
    pub fn new(rules: &[GroupingRule]) -> Self {
        Self(rules.into())
    }

    /// The fingerprint of an event.
    pub fn fingerprint(&self, event: &Event) -> Fingerprint {
        self.explain(event).0
    }

    /// The fingerprint of an event, and the rule that made it so.
    pub fn explain(&self, event: &Event) -> (Fingerprint, Option<&GroupingRule>) {
        let seen = Seen::of(event);
        let mut fingerprint = Fingerprint::of_seen(&seen);
        if let Some(rule) = self.first(&seen) {
            fingerprint.value = value(&rule.fingerprint, &seen, &fingerprint.value);
            if let Some(title) = &rule.title {
                let title = expand(title, &seen, &fingerprint.value);
                let title = redact::secrets(title.trim());
                if !title.is_empty() {
                    title[..title.floor_char_boundary(MAX_TITLE)]
                        .clone_into(&mut fingerprint.title);
                }
            }
            return (fingerprint, Some(rule));
        }
        if !event.parts.is_empty() {
            // What is no template is text: a program may have put anything there.
            let parts: Vec<Template> = event
                .parts
                .iter()
                .map(|part| {
                    Template::parse(part)
                        .unwrap_or_else(|_| Template(vec![Piece::Text(part.clone())]))
                })
                .collect();
            fingerprint.value = value(&parts, &seen, &fingerprint.value);
        }
        (fingerprint, None)
    }

    fn first(&self, seen: &Seen<'_>) -> Option<&GroupingRule> {
        if self.0.is_empty() {
            return None;
        }
        // Each text is put into lower case once, when the first pattern asks for it.
        let mut lower: Vec<(&Trait, String)> = Vec::new();
        self.0.iter().find(|rule| {
            if rule.app.as_ref().is_some_and(|app| *app != seen.event.app) {
                return false;
            }
            rule.patterns.iter().all(|(of, glob)| {
                let known = lower.iter().position(|(known, _)| *known == of);
                let known = known.unwrap_or_else(|| {
                    let text = raw(of, seen);
                    let text = &text[..text.floor_char_boundary(LOOKED_AT)];
                    lower.push((of, text.to_lowercase()));
                    lower.len() - 1
                });
                glob.fits(&lower[known].1)
            })
        })
    }
}

/// The fingerprint by parts. The default alone is the default.
fn value(parts: &[Template], seen: &Seen<'_>, default: &str) -> String {
    if let [Template(pieces)] = parts
        && let [Piece::Value(Trait::Default)] = &pieces[..]
    {
        return default.to_owned();
    }
    let parts: Vec<String> = parts.iter().map(|part| expand(part, seen, default)).collect();
    custom(&parts)
}

fn expand(template: &Template, seen: &Seen<'_>, default: &str) -> String {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Value(Trait::Default) => text.push_str(default),
            // Without what varies in them, or each event would be a group.
            Piece::Value(Trait::Message) => {
                text.push_str(&mask(&redact::secrets(seen.said().1)));
            }
            Piece::Value(Trait::Endpoint) => {
                text.push_str(&template::path(seen.event.path().unwrap_or_default()));
            }
            Piece::Value(of) => text.push_str(raw(of, seen)),
        }
    }
    text
}

/// As the event has it.
fn raw<'a>(of: &Trait, seen: &'a Seen<'_>) -> &'a str {
    let event = seen.event;
    match of {
        Trait::Default => "",
        Trait::Type => &event.error_type,
        Trait::Message => &event.error_message,
        Trait::Endpoint => event.path().unwrap_or_default(),
        Trait::Function => seen.innermost().map_or("", |frame| &frame.function),
        Trait::File => seen.innermost().map_or("", |frame| &frame.file),
        Trait::Release => event.release.as_deref().unwrap_or_default(),
        Trait::Environment => event.environment.as_deref().unwrap_or_default(),
        Trait::Level => event.severity.as_str(),
        Trait::App => &event.app,
        Trait::Tag(name) => event.tags.get(name).map_or("", String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, errors::NewEvent};

    fn event(message: &str, parts: &[&str]) -> Event {
        NewEvent {
            error_type: "psycopg2.OperationalError".into(),
            error_message: message.into(),
            endpoint: Some("/orders/17?page=2".into()),
            fingerprint: parts.iter().map(|part| (*part).to_owned()).collect(),
            ..NewEvent::default()
        }
        .fit(clock::now())
    }

    #[test]
    fn a_program_says_what_its_events_are_told_apart_by() {
        let rules = Rules::default();
        let of = |message: &str, parts: &[&str]| rules.fingerprint(&event(message, parts)).value;
        let default = of("lost row 1", &[]);
        assert_eq!(of("lost row 2", &["{{ default }}"]), default);
        let own = of("lost row 1", &["orders"]);
        assert_eq!(own, of("something else", &["orders"]));
        assert_ne!(own, of("something else", &["orders", ""]));
        assert_ne!(own, default);
        let with = of("lost row 1", &["{{ default }}", "{{ endpoint }}"]);
        assert_eq!(with, of("lost row 2", &["{{default}}", "{{ transaction }}"]));
        assert_ne!(with, of("another text", &["{{ default }}", "{{ endpoint }}"]));
        assert_ne!(of("m", &["{{ unknown }}"]), of("m", &["{{ other }}"]), "no template is text");
    }
}
