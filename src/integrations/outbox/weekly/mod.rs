//! The report of a week: counted from rows, bounded, written as Markdown without a model. It
//! leaves Lux, so it names errors, endpoints and sources, and no people.

mod rows;

use std::fmt::Write;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::json;

use super::store::{self, Kind};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    error::Result,
    integrations::Integrations,
    jobs::{Done, Lease, Scheduled},
    llm, redact,
};

/// The job of the schedule: Monday at seven, in Lux's own time zone.
const JOB: &str = "report_due";
const EVERY: &str = "0 7 * * 1";

/// Registers the job; the schedule only where Lux is registered anywhere.
pub(in crate::integrations) fn schedule(integrations: &Integrations) {
    let app = integrations.app();
    let this = integrations.clone();
    app.jobs.handle(JOB, 1, move |_: Lease| {
        let this = this.clone();
        async move { all(&this).await }
    });
    let zone = app.config.schedule.timezone;
    if let Ok(cron) = EVERY.parse()
        && !app.config.integrations.is_empty()
    {
        let payload = json!({});
        app.jobs.schedule(vec![Scheduled { name: "report", cron, zone, kind: JOB, payload }]);
    }
}

/// Writes the report of each organization that has one written by itself, once a week.
async fn all(integrations: &Integrations) -> Result<Done> {
    let app = integrations.app();
    for organization in store::reporting(&app.db).await? {
        let now = clock::now();
        let week = now.with_timezone(&app.config.schedule.timezone).iso_week();
        let occasion = format!("week {}-W{:02}", week.year(), week.week());
        if store::of_occasion(&app.db, organization, &occasion).await?.is_some() {
            continue;
        }
        let (title, text) = write(app, organization, 7, now).await?;
        let new = store::New {
            organization,
            kind: Kind::Report,
            occasion: &occasion,
            title: &title,
            body: &text,
            target: "",
            made_by: "schedule",
            now,
        };
        let mut tx = app.db.begin().await?;
        store::insert(&mut tx, &new).await?;
        tx.commit().await?;
    }
    Ok(Done::Finished)
}

/// The title and the text of a report of the last days.
pub(super) async fn write(
    app: &App,
    organization: OrganizationId,
    days: u32,
    now: DateTime<Utc>,
) -> Result<(String, String)> {
    let zone = app.config.schedule.timezone;
    let from = now - TimeDelta::days(days.into());
    let span = rows::Span { organization, from, to: now };
    let day = |at: DateTime<Utc>| at.with_timezone(&zone).format("%Y-%m-%d").to_string();
    let title = format!("Lux report {}", day(now));
    let mut text = format!(
        "# Lux report\n\n{} to {} ({zone}), counted from Lux's own rows.\n",
        day(from),
        day(now)
    );
    errors(app, &span, &mut text).await?;
    resolved(app, &span, &mut text).await?;
    repairs(app, &span, &mut text).await?;
    endpoints(app, &span, &mut text).await?;
    contacts(app, &span, &mut text).await?;
    calls(app, &span, &mut text).await?;
    Ok((title, text))
}

async fn errors(app: &App, span: &rows::Span, text: &mut String) -> Result<()> {
    let totals = rows::totals(&app.db, span).await?;
    let all: i64 = totals.iter().map(|(_, count)| count).sum();
    let (new, open) = rows::groups(&app.db, span).await?;
    let _ = write!(
        text,
        "\n## Errors\n\n{all} events; {new} kinds of errors were new, {open} are open now.\n"
    );
    let by: Vec<String> =
        totals.iter().map(|(severity, count)| format!("{} {count}", cell(severity))).collect();
    if !by.is_empty() {
        let _ = writeln!(text, "By severity: {}.", by.join(", "));
    }
    let top = rows::top(&app.db, span).await?;
    if !top.is_empty() {
        text.push_str("\n| Error | Application | Status | Events |\n| --- | --- | --- | ---: |\n");
    }
    for (id, title, place, status, count) in top {
        let _ = writeln!(
            text,
            "| {} ({id}) | {} | {} | {count} |",
            cell(&title),
            cell(&place),
            cell(&status)
        );
    }
    Ok(())
}

async fn resolved(app: &App, span: &rows::Span, text: &mut String) -> Result<()> {
    let resolved = rows::resolved(&app.db, span).await?;
    text.push_str("\n## Resolved on evidence\n\n");
    if resolved.is_empty() {
        text.push_str("None in this time.\n");
    }
    for (id, title, at, evidence) in resolved {
        let at = at.format("%Y-%m-%d %H:%M UTC");
        let _ = writeln!(text, "- {} ({id}), {at}: {}", cell(&title), cell(&evidence));
    }
    Ok(())
}

async fn repairs(app: &App, span: &rows::Span, text: &mut String) -> Result<()> {
    let (runs, failed, resolved, unresolved) = rows::repairs(&app.db, span).await?;
    let _ = write!(
        text,
        "\n## Repairs\n\n{runs} runs, {failed} of them stopped early; {resolved} errors were \
         resolved, {unresolved} judgements left one open.\n"
    );
    Ok(())
}

async fn endpoints(app: &App, span: &rows::Span, text: &mut String) -> Result<()> {
    let endpoints = rows::endpoints(&app.db, span).await?;
    text.push_str("\n## Endpoints\n\n");
    if endpoints.is_empty() {
        text.push_str("No error named one.\n");
        return Ok(());
    }
    text.push_str("| Endpoint | Kinds of errors | Events |\n| --- | ---: | ---: |\n");
    for (method, endpoint, kinds, events) in endpoints {
        let method = method.unwrap_or_default();
        let name = format!("{method} {endpoint}");
        let _ = writeln!(text, "| {} | {kinds} | {events} |", cell(&name));
    }
    Ok(())
}

async fn contacts(app: &App, span: &rows::Span, text: &mut String) -> Result<()> {
    let (new, agreed, left) = rows::contacts(&app.db, span).await?;
    let _ = write!(
        text,
        "\n## Contacts\n\n{new} new, {agreed} of them agreed to mail; {left} said no to mail.\n"
    );
    for (source, count) in rows::sources(&app.db, span).await? {
        let source = if source.is_empty() { "an unknown source".to_owned() } else { cell(&source) };
        let _ = writeln!(text, "- from {source}: {count}");
    }
    Ok(())
}

async fn calls(app: &App, span: &rows::Span, text: &mut String) -> Result<()> {
    let (calls, seconds, known) = rows::calls(&app.db, span).await?;
    text.push_str("\n## Calls\n\n");
    if calls == 0 {
        text.push_str("None are known of this time.\n");
        return Ok(());
    }
    let _ = writeln!(
        text,
        "{calls} calls, {} minutes in all, {} seconds each; {known} from contacts that are known.",
        seconds / 60,
        seconds / calls
    );
    Ok(())
}

/// A text of somebody else within Markdown: one line, bounded, without secrets, addresses or
/// marks that mean something.
fn cell(text: &str) -> String {
    const LONGEST: usize = 160;
    let text = llm::visible(&redact::secrets_and_emails(text));
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::new();
    for c in line.chars().take(LONGEST) {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    if line.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_strangers_text_is_words_only() {
        let text = cell("a|b\n[x](javascript:1) <img src=x> ![y](z) ada@example.com");
        assert!(!text.contains('\n') && !text.contains("<img") && !text.contains("example.com"));
        assert!(text.starts_with("a\\|b \\[x\\](javascript:1) &lt;img"), "{text}");
        assert!(cell(&"x".repeat(5000)).chars().count() <= 161);
    }
}
