//! One request across the logs: what nginx, gunicorn, the application and the journal said of
//! it, in the order of time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    app::App,
    error::{Error, Result},
    errors::shown::Event,
    logs::{self, Severity},
    redact,
};

/// How far from the event is looked.
const BEFORE: TimeDelta = TimeDelta::minutes(2);
const AFTER: TimeDelta = TimeDelta::minutes(1);
/// Lines that are shown.
const LINES: usize = 50;
/// Longest text of a line, in characters.
const TEXT: usize = 400;

/// One thing that was said.
pub(super) struct Line {
    pub(super) at: DateTime<Utc>,
    pub(super) source: String,
    pub(super) text: String,
    /// Lines of it that are not shown.
    pub(super) more: usize,
    /// The record in the logs.
    pub(super) record: Option<String>,
    pub(super) severity: Option<Severity>,
    /// It is the event itself.
    pub(super) own: bool,
}

impl Line {
    pub(super) fn is_bad(&self) -> bool {
        self.severity.is_some_and(|severity| severity >= Severity::Error)
    }

    /// The line in the viewer of logs.
    pub(super) fn href(&self) -> Option<String> {
        let record = self.record.as_deref()?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("record", record);
        Some(format!("/logs?{}", query.finish()))
    }

    fn new(at: DateTime<Utc>, source: &str, text: &str) -> Self {
        let text = redact::secrets(text);
        let mut lines = text.lines();
        let first: String = lines.next().unwrap_or_default().chars().take(TEXT).collect();
        Self {
            at,
            source: source.to_owned(),
            text: first,
            more: lines.count(),
            record: None,
            severity: None,
            own: false,
        }
    }
}

/// What was said of an event's request; empty where no log tells of it.
pub(super) async fn of(app: &App, event: &Event) -> Result<Vec<Line>> {
    let at = event.error.event.created_at;
    let mut lines: Vec<Line> = Vec::new();
    // Between two slashes it would be an expression.
    let id = event.report.request_id.as_deref().filter(|id| id.len() >= 4 && !id.starts_with('/'));
    if let Some(id) = id {
        let query = logs::Query {
            since: Some(at - BEFORE),
            until: Some(at + AFTER),
            text: Some(logs::Pattern::parse(id)?),
            limit: LINES,
            ..logs::Query::default()
        };
        let live = app.live.clone();
        // Looking through the window takes the processor, not the network.
        let found = tokio::task::spawn_blocking(move || live.search(&query)).await;
        for entry in found.map_err(|error| Error::Internal(error.into()))??.records {
            let line = Line::new(entry.at, &entry.source, &entry.text);
            lines.push(Line { severity: Some(entry.severity), record: Some(entry.id), ..line });
        }
    }
    for sighting in &event.seen_in {
        if lines.iter().any(|line| line.record.as_ref() == Some(&sighting.record_id)) {
            continue;
        }
        let gone = format!("line {}, no longer among the latest lines", sighting.line);
        let text = sighting.text.as_deref().unwrap_or(&gone);
        let line = Line::new(sighting.at, &sighting.source, text);
        lines.push(Line { record: Some(sighting.record_id.clone()), ..line });
    }
    if lines.is_empty() {
        return Ok(lines);
    }
    let told = &event.error.event;
    let text = format!("{}: {}", told.error_type, told.error_message);
    let source = if told.app.is_empty() { "application" } else { &told.app };
    lines.push(Line { own: true, ..Line::new(at, source, &text) });
    lines.sort_by_key(|line| line.at);
    lines.truncate(LINES);
    Ok(lines)
}
