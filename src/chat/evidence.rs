//! The cited lines with what stands around them, as they were when the answer was given: logs
//! rotate, and an answer must still show what it rests on.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::answer::Citation;
use crate::{
    app::App, auth::OrganizationId, diagnose::ERRORS, error::Result, errors::store::events,
};

/// Citations whose surroundings are kept.
const MOST: usize = 24;
/// Lines on each side of the cited one.
const EACH_SIDE: usize = 2;
/// Characters of a line.
const LONGEST: usize = 400;

/// A cited line in its surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = ChatEvidence)]
pub struct Evidence {
    /// That of the citation.
    pub number: usize,
    /// A log source (or its file), "error_log", "probe" or "repair".
    pub source: String,
    /// The line; for errors the event's id, for probes the result's, for repairs the run's.
    pub line: u64,
    /// When it was written.
    pub at: Option<DateTime<Utc>>,
    /// The log record's id and its source's name, while the window of recent records held it.
    pub record: Option<String>,
    pub log: Option<String>,
    /// For errors: the group and its title.
    pub group: Option<i64>,
    pub title: Option<String>,
    /// In order; the cited one is marked.
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = ChatEvidenceLine)]
pub struct Line {
    /// `None` where lines have no numbers.
    pub number: Option<u64>,
    pub text: String,
    pub cited: bool,
}

/// Looks up what stands around the cited lines.
pub(super) async fn collect(
    app: &App,
    organization: OrganizationId,
    citations: &[Citation],
) -> Result<Vec<Evidence>> {
    let mut found = Vec::new();
    for citation in citations.iter().take(MOST) {
        found.push(match citation.source.as_str() {
            ERRORS => of_error(app, organization, citation).await?,
            "probe" | "repair" | "advisor" => bare(citation),
            _ => of_log(app, citation).await?,
        });
    }
    Ok(found)
}

/// The cited text alone.
fn bare(citation: &Citation) -> Evidence {
    let lines = citation.text.lines().take(2 * EACH_SIDE + 1).enumerate();
    let lines =
        lines.map(|(index, text)| Line { number: None, text: cut(text), cited: index == 0 });
    Evidence {
        number: citation.number,
        source: citation.source.clone(),
        line: citation.line,
        lines: lines.collect(),
        ..Evidence::default()
    }
}

async fn of_error(
    app: &App,
    organization: OrganizationId,
    citation: &Citation,
) -> Result<Evidence> {
    let id = i64::try_from(citation.line).unwrap_or_default();
    let Some(found) = events::find(&app.db, organization, id).await? else {
        return Ok(bare(citation));
    };
    let event = found.event;
    let title = format!("{}: {}", event.error_type, event.error_message);
    let stack = found.error_stack.unwrap_or_default();
    let all: Vec<&str> = stack.lines().filter(|line| !line.trim().is_empty()).collect();
    // Its end tells where it was raised and what.
    let shown = &all[all.len().saturating_sub(2 * EACH_SIDE)..];
    let mut lines: Vec<Line> = shown
        .iter()
        .map(|text| Line { number: None, text: cut(text), cited: title.contains(text.trim()) })
        .collect();
    if !lines.iter().any(|line| line.cited) {
        lines.push(Line { number: None, text: cut(&title), cited: true });
    }
    Ok(Evidence {
        at: Some(event.created_at),
        group: Some(event.group_id),
        title: Some(cut(&title)),
        lines,
        ..bare(citation)
    })
}

/// Looking through the window takes the processor, not the network.
async fn of_log(app: &App, citation: &Citation) -> Result<Evidence> {
    let (live, citation) = (app.live.clone(), citation.clone());
    let work = move || {
        let found = live.locate(&citation.source, citation.line);
        let around = found.and_then(|id| Some((live.around(&id, EACH_SIDE).ok()?, id)));
        let Some((records, id)) = around else { return bare(&citation) };
        let cited = records.iter().find(|record| record.id == id);
        let mut lines = Vec::new();
        for record in &records {
            for (number, text) in (record.line..).zip(record.text.lines()) {
                let cited = record.id == id && number == citation.line;
                lines.push(Line { number: Some(number), text: cut(text), cited });
            }
        }
        let Some(at) = lines.iter().position(|line| line.cited) else { return bare(&citation) };
        lines.truncate(at + EACH_SIDE + 1);
        lines.drain(..at.saturating_sub(EACH_SIDE));
        Evidence {
            at: cited.map(|record| record.at),
            log: cited.map(|record| record.source.clone()),
            record: Some(id),
            lines,
            ..bare(&citation)
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| anyhow::Error::from(error).into())
}

fn cut(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(LONGEST).map(shown).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
