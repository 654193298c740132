//! The evidence of one answer: each cited line with those around it.

use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use url::form_urlencoded::Serializer;

use super::filters;
use crate::chat::{Citation, Evidence, Kept, Line};

#[derive(Template)]
#[template(path = "chat/evidence.html")]
pub(super) struct Panel {
    message: i64,
    cards: Vec<Card>,
}

struct Card {
    number: usize,
    name: String,
    at: Option<DateTime<Utc>>,
    lines: Vec<Line>,
    /// What the link does, and where it leads.
    link: Option<(&'static str, String)>,
    place: String,
}

impl Panel {
    /// `None` for an answer that rests on nothing.
    pub(super) fn of(message: i64, kept: &Kept) -> Option<Self> {
        let cards: Vec<Card> = kept
            .citations
            .iter()
            .map(|cited| {
                let known = kept.evidence.iter().find(|it| it.number == cited.number);
                Card::of(cited, known)
            })
            .collect();
        (!cards.is_empty()).then_some(Self { message, cards })
    }

    pub(super) fn count(&self) -> usize {
        self.cards.len()
    }
}

impl Card {
    fn of(cited: &Citation, known: Option<&Evidence>) -> Self {
        let nothing = Evidence::default();
        let known = known.unwrap_or(&nothing);
        let mut lines = known.lines.clone();
        if lines.is_empty() {
            lines.push(Line { number: Some(cited.line), text: cited.text.clone(), cited: true });
        }
        let (name, link, place) = match cited.source.as_str() {
            "error_log" => (
                known.title.clone().unwrap_or_else(|| "Captured error".to_owned()),
                known.group.map(|group| ("Open error", format!("/errors/{group}"))),
                format!("event {}", cited.line),
            ),
            "probe" => (
                "Probe".to_owned(),
                Some(("Open health", "/health".to_owned())),
                format!("result {}", cited.line),
            ),
            "repair" => (
                format!("Repair {}", cited.line),
                Some(("Open repair", format!("/repairs/{}", cited.line))),
                String::new(),
            ),
            "advisor" => ("Built-in advisor".to_owned(), None, String::new()),
            // What stands in the database stands in no log.
            "contacts" if cited.line == 0 => (
                "Contacts".to_owned(),
                Some(("Open contacts", "/contacts".to_owned())),
                String::new(),
            ),
            "contacts" => (
                format!("Contact {}", cited.line),
                Some(("Open contact", format!("/contacts/{}", cited.line))),
                String::new(),
            ),
            "segments" => (
                "Segment".to_owned(),
                Some(("Open segment", format!("/segments/{}", cited.line))),
                String::new(),
            ),
            "agent" => (
                "Agent".to_owned(),
                Some(("Open run", format!("/agents/runs/{}", cited.line))),
                format!("run {}", cited.line),
            ),
            "calls" => ("Call".to_owned(), None, format!("call {}", cited.line)),
            "tracker" => ("Tickets".to_owned(), None, String::new()),
            file => (
                file.rsplit('/').next().unwrap_or(file).to_owned(),
                Some(("Open in logs", in_logs(known))),
                format!("line {}", cited.line),
            ),
        };
        Self { number: cited.number, name, at: known.at, lines, link, place }
    }
}

/// Where the logs show a line.
fn in_logs(known: &Evidence) -> String {
    let mut query = Serializer::new(String::new());
    if let Some(source) = &known.log {
        query.append_pair("source", source);
    }
    if let Some(at) = known.at {
        query.append_pair("at", &at.to_rfc3339_opts(SecondsFormat::Millis, true));
    }
    if let Some(record) = &known.record {
        query.append_pair("record", record);
    }
    let query = query.finish();
    if query.is_empty() { "/logs".to_owned() } else { format!("/logs?{query}") }
}
