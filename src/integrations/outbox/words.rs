//! The words of messages. What strangers wrote is made harmless where it is sent.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use super::store::{self, Run};
use crate::{
    app::App,
    auth::{OrganizationId, oidc},
    db::Result,
    errors::store::storms::Storm,
    integrations::message::Notice,
};

/// Errors of a run that are named.
const NAMED: i64 = 10;

/// A page of Lux, if it knows its own address.
pub(super) fn page(app: &App, path: &str) -> Option<String> {
    oidc::address(&app.config).map(|address| format!("{address}{path}"))
}

/// A text of somebody else within a sentence.
fn short(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut cut: String = line.chars().take(200).collect();
    if line.chars().nth(200).is_some() {
        cut.push('…');
    }
    cut
}

fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Of a storm, as it stands.
pub(super) fn storm(app: &App, storm: &Storm) -> Notice {
    let what = storm.title.as_deref().map_or_else(|| "many errors".to_owned(), short);
    let place = if storm.app.is_empty() { String::new() } else { format!(" in {}", storm.app) };
    let mut text = match storm.ended_at {
        None => format!("{} events so far, ", storm.count),
        Some(at) => format!("It ended at {}: {} events, ", minute(at), storm.count),
    };
    let _ = write!(
        text,
        "{} a minute at most; {} a minute are usual. It began at {}.\n{what}",
        storm.peak,
        storm.usual,
        minute(storm.started_at)
    );
    let title = match storm.ended_at {
        None => format!("Storm of errors{place}"),
        Some(_) => format!("The storm of errors{place} is over"),
    };
    let path = storm.group_id.map_or("/errors".to_owned(), |id| format!("/errors/{id}"));
    Notice { title, text, url: page(app, &path) }
}

/// Of a run that ended; `None` if it has no news.
pub async fn repair(app: &App, organization: OrganizationId, id: i64) -> Result<Option<Notice>> {
    let Some(run) = store::run(&app.db, organization, id).await? else { return Ok(None) };
    // What runs by schedule finds the same again and again.
    let is_stale = run.trigger == "schedule"
        && run.status == "done"
        && store::is_as_before(&app.db, organization, id).await?;
    if (run.total == 0 && run.status == "done") || is_stale {
        return Ok(None);
    }
    let judged = store::judged(&app.db, organization, id, NAMED).await?;
    let mut text = summary(&run);
    for one in &judged {
        let verdict = match one.verdict.as_deref() {
            Some("resolved") => "resolved, proven by checks",
            Some("still_failing") => "still failing",
            Some("awaiting_approval") => "waits for an approval",
            _ => "not decided",
        };
        let _ = write!(text, "\n• {verdict}: {} (error {})", short(&one.title), one.group_id);
    }
    let named = i64::try_from(judged.len()).unwrap_or_default();
    if run.total > named {
        let _ = write!(text, "\n… and {} more", run.total - named);
    }
    let title = format!("Repair run {id}: {} of {} resolved", run.resolved, run.total);
    Ok(Some(Notice { title, text, url: page(app, &format!("/repairs/{id}")) }))
}

fn summary(run: &Run) -> String {
    let mut text = match run.status.as_str() {
        "failed" => "It stopped early".to_owned(),
        _ => "It ended".to_owned(),
    };
    if let Some(note) = run.note.as_deref().filter(|note| !note.is_empty()) {
        let _ = write!(text, ": {}", short(note));
    }
    let _ = write!(text, ". {} resolved, {} not.", run.resolved, run.unresolved);
    text
}
