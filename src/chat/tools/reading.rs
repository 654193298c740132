//! Tools that look: errors, logs, health, the advisor.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Found, Item, Tools, User, blocking};
use crate::{
    diagnose::{Confidence, Diagnosis, Scope},
    error::{Error, Result},
    errors::store::{
        events,
        groups::{self, Filter, Group, Sort, Status},
    },
    logs::{self, Entry, Pattern, Severity},
};

/// Items that are shown if no number is asked for, and the most.
const SOME: u32 = 10;
const MOST: u32 = 50;

/// Records on each side of one.
const EACH_SIDE: u32 = 8;
const MOST_EACH_SIDE: u32 = 30;

/// Events of one group that are shown.
const EVENTS: i64 = 3;

/// Where captured errors are said to stand.
const ERRORS: &str = "error_log";

/// Findings of a diagnosis that are told in full.
const FINDINGS: usize = 5;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListErrors {
    /// Only groups of this status: unresolved, regressed, resolved or ignored.
    status: Option<String>,
    /// A part of the error's title or place in the code.
    text: Option<String>,
    /// Only this application.
    app: Option<String>,
    /// How many, at most 50.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetError {
    /// The group's id, from `list_errors`.
    group_id: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchLogs {
    /// Text in any case, or /a regular expression/.
    text: Option<String>,
    /// Names of sources, from `log_sources`; all if left out.
    #[serde(default)]
    sources: Vec<String>,
    /// At least this bad: debug, info, notice, warning, error or critical.
    severity: Option<String>,
    /// Not before this time (RFC 3339).
    since: Option<DateTime<Utc>>,
    /// Not after this time (RFC 3339).
    until: Option<DateTime<Utc>>,
    /// How many, at most 50.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadLogAround {
    /// A record's id, from `search_logs`.
    id: String,
    /// How many records on each side, at most 30.
    each_side: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Diagnose {
    /// Only this application.
    app: Option<String>,
}

impl Tools {
    pub(super) async fn list_errors(&self, user: &User, wanted: ListErrors) -> Result<Found> {
        let app = user.app.as_deref().or(wanted.app.as_deref());
        let filter = Filter {
            status: wanted.status.as_deref().map(status).transpose()?,
            open: false,
            app,
            q: wanted.text.as_deref(),
        };
        let limit = i64::from(wanted.limit.unwrap_or(SOME).clamp(1, MOST));
        let (db, organization) = (&self.app.db, user.organization);
        let (found, more) =
            groups::list(db, organization, &filter, Sort::LastSeen, limit, None).await?;
        let more = if more.is_some() { " There are more." } else { "" };
        Ok(Found {
            summary: format!("{} groups of errors.{more}", found.len()),
            items: found.iter().map(group_item).collect(),
            ..Found::default()
        })
    }

    pub(super) async fn get_error(&self, user: &User, wanted: &GetError) -> Result<Found> {
        let (db, organization) = (&self.app.db, user.organization);
        let found = groups::find(db, organization, wanted.group_id).await?;
        let group = found
            .filter(|group| user.app.as_ref().is_none_or(|app| group.app == *app))
            .ok_or_else(|| {
                Error::Invalid("there is no such group; list_errors names them".into())
            })?;
        let mut items = vec![group_item(&group)];
        for event in events::of_group(db, organization, group.id, EVENTS).await? {
            let Some(detail) = events::find(db, organization, event.id).await? else { continue };
            let text = format!(
                "{}: {}\n{}",
                detail.event.error_type,
                detail.event.error_message,
                detail.error_stack.as_deref().unwrap_or_default()
            );
            items.push(Item {
                source: ERRORS.to_owned(),
                line: event.id.unsigned_abs(),
                about: format!("event {} at {}", event.id, event.created_at.to_rfc3339()),
                text: text.trim_end().to_owned(),
            });
        }
        let resolution = if group.resolution.is_some() { ", proven to be resolved" } else { "" };
        Ok(Found {
            summary: format!("Group {} is {}{resolution}.", group.id, group.status),
            items,
            ..Found::default()
        })
    }

    pub(super) async fn search_logs(&self, user: &User, wanted: SearchLogs) -> Result<Found> {
        let text = wanted.text.filter(|text| !text.is_empty());
        let query = logs::Query {
            sources: self.sources_of(user, wanted.sources)?,
            since: wanted.since,
            until: wanted.until,
            severity: wanted.severity.map(|text| text.parse::<Severity>()).transpose()?,
            text: text.map(|text| Pattern::parse(&text)).transpose()?,
            limit: wanted.limit.unwrap_or(SOME).clamp(1, MOST) as usize,
            ..logs::Query::default()
        };
        let live = self.app.live.clone();
        let page = blocking(move || live.search(&query)).await?;
        let more = if page.next.is_some() { " There are older ones." } else { "" };
        Ok(Found {
            summary: format!("{} records, the newest first.{more}", page.records.len()),
            items: page.records.iter().map(record_item).collect(),
            ..Found::default()
        })
    }

    pub(super) async fn read_log_around(
        &self,
        user: &User,
        wanted: ReadLogAround,
    ) -> Result<Found> {
        let each_side = wanted.each_side.unwrap_or(EACH_SIDE).clamp(1, MOST_EACH_SIDE) as usize;
        let live = self.app.live.clone();
        let records = blocking(move || live.around(&wanted.id, each_side)).await?;
        let mine = self.sources_of(user, Vec::new())?;
        let visible = |entry: &&Entry| mine.is_empty() || mine.contains(&entry.source);
        let items: Vec<Item> = records.iter().filter(visible).map(record_item).collect();
        if items.is_empty() {
            return Err(Error::NotFound("log record"));
        }
        let summary = format!("{} records, the oldest first.", items.len());
        Ok(Found { summary, items, ..Found::default() })
    }

    pub(super) fn log_sources(&self, user: &User) -> Result<Found> {
        let mine = self.sources_of(user, Vec::new())?;
        let lines: Vec<String> = self
            .app
            .live
            .status()
            .into_iter()
            .filter(|source| mine.is_empty() || mine.contains(&source.name))
            .map(|source| {
                let remedy = source.remedy.or(source.detail).unwrap_or_default();
                let last = source.last_line_at.map(|at| format!(", last {}", at.to_rfc3339()));
                let (name, state, lines) = (&source.name, source.state, source.lines);
                let last = last.unwrap_or_default();
                format!("- {name}: {}, {lines} lines{last} {remedy}", word(state))
            })
            .collect();
        Ok(Found::of(format!("{} log sources:\n{}", lines.len(), lines.join("\n"))))
    }

    pub(super) async fn look_at_health(&self) -> Found {
        let snapshot = self.health.snapshot().await;
        let parts: Vec<String> = snapshot
            .parts
            .iter()
            .map(|(name, part)| format!("- {name}: {}: {}", word(part.state), part.detail))
            .collect();
        Found::of(format!("Lux is {}.\n{}", word(snapshot.status), parts.join("\n")))
    }

    pub(super) async fn run_diagnosis(&self, user: &User, wanted: Diagnose) -> Result<Found> {
        let app = user.app.clone().or(wanted.app);
        let scope = Scope { organization: user.organization, app };
        Ok(found_by_advisor(&self.diagnoser.diagnose(scope).await?))
    }

    /// The sources that are meant; those of the user's application if they look at one.
    fn sources_of(&self, user: &User, wanted: Vec<String>) -> Result<Vec<String>> {
        let Some(app) = &user.app else { return Ok(wanted) };
        let of_app =
            self.app.config.sources.iter().filter(|source| source.app.as_ref() == Some(app));
        let mine: Vec<String> = of_app.map(|source| source.name.clone()).collect();
        if let Some(other) = wanted.iter().find(|name| !mine.contains(name)) {
            return Err(Error::Invalid(format!("{other} is no log source of {app}")));
        }
        Ok(if wanted.is_empty() { mine } else { wanted })
    }
}

/// A diagnosis as a model is told of it.
fn found_by_advisor(diagnosis: &Diagnosis) -> Found {
    let mut summary = format!(
        "The advisor read {} lines of {} sources: {}.",
        diagnosis.scanned.lines,
        diagnosis.scanned.files,
        if diagnosis.healthy { "nothing is wrong" } else { "something is wrong" }
    );
    let mut items = Vec::new();
    for (index, finding) in diagnosis.findings.iter().take(FINDINGS).enumerate() {
        let sure = match finding.confidence {
            Confidence::Confirmed => "confirmed",
            Confidence::Likely => "likely",
            Confidence::Inconclusive => "not proven",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            summary,
            "\n{}. {} ({}, {sure}): {} times, {} lines of evidence below. What to do: {}",
            index + 1,
            finding.title,
            finding.cause,
            finding.count,
            finding.evidence.len(),
            finding.fix.join("; ")
        );
        // The explanation holds values from the logs.
        let about = format!("the advisor's explanation of {}", finding.cause);
        let first = finding.evidence.first();
        if let Some(first) = first {
            items.push(Item {
                source: first.source.clone(),
                line: first.line,
                about,
                text: finding.explanation.clone(),
            });
        }
        items.extend(finding.evidence.iter().map(|evidence| Item {
            source: evidence.source.clone(),
            line: evidence.line,
            about: format!("evidence of {}", finding.cause),
            text: evidence.text.clone(),
        }));
    }
    Found { summary, items, ..Found::default() }
}

/// The name that an enum has in JSON.
pub(super) fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn status(text: &str) -> Result<Status> {
    serde_json::from_value(text.into())
        .map_err(|_| Error::invalid("status is one of unresolved, regressed, resolved and ignored"))
}

fn group_item(group: &Group) -> Item {
    let place = group.endpoint.as_deref().unwrap_or_default();
    let method = group.method.as_deref().unwrap_or_default();
    let culprit = group.culprit.as_deref().unwrap_or_default();
    Item {
        source: ERRORS.to_owned(),
        line: group.id.unsigned_abs(),
        about: format!(
            "group {}: {}, {} times, {} users, from {} to {}",
            group.id,
            group.status,
            group.count,
            group.users,
            group.first_seen.to_rfc3339(),
            group.last_seen.to_rfc3339()
        ),
        text: format!("{} | {method} {place} | {culprit} | app {}", group.title, group.app),
    }
}

fn record_item(entry: &Entry) -> Item {
    Item {
        source: entry.source.clone(),
        line: entry.line,
        about: format!("id {}, {}, {}", entry.id, entry.severity, entry.at.to_rfc3339()),
        text: entry.text.clone(),
    }
}
