//! What a ticket says: what is wrong, on what that rests, what to do, and later what became of it.
//! Nothing here is made harmless yet; `tracker::text` does it for all of it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use url::Url;

use super::facts::{Facts, News};
use crate::{
    errors::store::{groups::Group, open::Open},
    integrations::tracker::Block,
    repair::{
        plan::Plan,
        report::{self, CauseReport},
    },
};

/// Lines of the logs that are cited, checks that are told, and steps of a plan.
const LINES: usize = 8;
const CHECKS: usize = 8;
const STEPS: usize = 12;
/// Of a traceback, in characters: its end says most.
const STACK: usize = 5000;

/// `[Lux] KeyError: POST /buy`
pub(super) fn title(group: &Group) -> String {
    let place = match (&group.endpoint, &group.culprit) {
        (Some(endpoint), _) => match &group.method {
            Some(method) => format!("{method} {endpoint}"),
            None => endpoint.clone(),
        },
        (None, Some(culprit)) => culprit.clone(),
        (None, None) => group.title.clone(),
    };
    format!("[Lux] {}: {place}", group.error_type)
}

/// What is behind the group, as far as anybody knows.
pub(super) struct Behind {
    title: String,
    confidence: String,
    finding: Option<Value>,
    plan: Value,
}

impl Behind {
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        let cause = facts.cause.as_ref()?;
        Some(Self {
            title: cause.title.clone(),
            confidence: cause.confidence.clone(),
            finding: cause.finding.clone(),
            plan: cause.plan.clone(),
        })
    }
}

impl From<CauseReport> for Behind {
    fn from(cause: CauseReport) -> Self {
        let CauseReport { title, confidence, finding, fix_plan, .. } = cause;
        Self { title, confidence, finding, plan: fix_plan }
    }
}

/// The text of a new ticket.
pub(super) fn ticket(
    facts: &Facts,
    event: Option<&Open>,
    behind: Option<&Behind>,
    page: Option<Url>,
) -> Vec<Block> {
    let group = &facts.group;
    let mut blocks = Vec::new();
    let message = event.map_or(group.title.as_str(), |event| event.error_message.as_str());
    blocks.push(Block::text(format!("{}: {message}", group.error_type)));
    blocks.push(Block::List(figures(group)));
    if let Some(behind) = behind {
        cause(&mut blocks, behind);
    }
    if let Some(stack) = event.and_then(|event| event.error_stack.as_deref()) {
        let long = stack.chars().count().saturating_sub(STACK);
        blocks.push(Block::Heading("Traceback"));
        blocks.push(Block::Code(stack.chars().skip(long).collect()));
    }
    if let Some(behind) = behind {
        steps(&mut blocks, behind);
    }
    if let Some(attempt) = facts.judged() {
        blocks.push(Block::Heading("What Lux tried"));
        let verdict = report::verdict_text(attempt.verdict);
        let why = attempt.why.as_deref().unwrap_or_default();
        blocks.push(Block::text(format!("Run {}: {verdict}. {why}", attempt.run_id)));
        blocks.push(Block::List(checks(facts)));
    }
    blocks.push(Block::text(
        "Lux opened this. It tells here what changes, and closes it with the evidence once checks \
         prove that the error is gone.",
    ));
    link(&mut blocks, page);
    blocks
}

fn figures(group: &Group) -> Vec<String> {
    let mut told = Vec::new();
    if !group.app.is_empty() {
        told.push(format!("Application: {}", group.app));
    }
    if let Some(endpoint) = &group.endpoint {
        told.push(format!("Endpoint: {} {endpoint}", group.method.as_deref().unwrap_or_default()));
    }
    if let Some(culprit) = &group.culprit {
        told.push(format!("Where: {culprit}"));
    }
    told.push(format!("Events: {}, users: {}", group.count, group.users));
    told.push(format!("First seen: {}", at(group.first_seen)));
    told.push(format!("Last seen: {}", at(group.last_seen)));
    if let Some(release) = &group.last_release {
        told.push(format!("Release: {release}"));
    }
    told
}

fn cause(blocks: &mut Vec<Block>, behind: &Behind) {
    blocks.push(Block::Heading("Cause"));
    blocks.push(Block::text(format!("{} ({})", behind.title, behind.confidence)));
    let Some(finding) = &behind.finding else { return };
    if let Some(explanation) = finding["explanation"].as_str() {
        blocks.push(Block::text(explanation));
    }
    let lines = finding["evidence"].as_array().into_iter().flatten().take(LINES);
    let lines: Vec<String> = lines
        .filter_map(|line| {
            let (source, text) = (line["source"].as_str()?, line["text"].as_str()?);
            Some(format!("{source}:{}: {text}", line["line"]))
        })
        .collect();
    if !lines.is_empty() {
        blocks.push(Block::Heading("What the logs say"));
        blocks.push(Block::Code(lines.join("\n")));
    }
}

fn steps(blocks: &mut Vec<Block>, behind: &Behind) {
    let plan: Plan = serde_json::from_value(behind.plan.clone()).unwrap_or_default();
    if plan.steps.is_empty() {
        return;
    }
    blocks.push(Block::Heading("What to do"));
    let steps = plan.steps.iter().take(STEPS).map(report::step_text);
    blocks.push(Block::List(steps.collect()));
}

/// Each check before and after, with what it said and when.
fn checks(facts: &Facts) -> Vec<String> {
    let said = |point: Option<&Value>| {
        let Some(point) = point else { return "not measured".to_owned() };
        let passed = if point["passed"] == true { "passed" } else { "failed" };
        let status = point["status_code"].as_i64().map(|status| format!("{status}, "));
        let when = point["at"].as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
        let when = when.map(|when| format!(", at {}", at(when)));
        format!(
            "{passed} ({}{} ms{})",
            status.unwrap_or_default(),
            point["latency_ms"],
            when.unwrap_or_default()
        )
    };
    let checks = facts.checks().into_iter().take(CHECKS);
    checks
        .map(|(name, before, after)| {
            format!("{name}: before {}; after {}", said(before), said(after))
        })
        .collect()
}

/// What a comment says of what is new.
pub(super) fn news(facts: &Facts, news: News, page: Option<Url>) -> Vec<Block> {
    let group = &facts.group;
    let mut blocks = Vec::new();
    match news {
        News::Resolved => {
            blocks.push(Block::Heading("Resolved, with evidence"));
            let change = facts.change.as_ref();
            let when = change.map_or(group.status_at, |change| change.at);
            let by = match (group.resolution_kind.as_deref(), change) {
                (Some("operator"), Some(change)) => {
                    format!("by {}", change.made_by.as_deref().unwrap_or("an operator"))
                }
                (Some("operator"), None) => "by an operator".to_owned(),
                _ => "by checks".to_owned(),
            };
            let evidence = group.resolution.as_deref().unwrap_or_default();
            blocks.push(Block::text(format!("Verdict: resolved {by} at {}.", at(when))));
            blocks.push(Block::text(evidence));
            if group.resolution_kind.as_deref() != Some("operator") {
                blocks.push(Block::List(checks(facts)));
            }
            blocks.push(Block::List(vec![
                format!("Events: {}, the last at {}", group.count, at(group.last_seen)),
                format!("First seen: {}", at(group.first_seen)),
            ]));
        }
        News::Regressed => {
            blocks.push(Block::Heading("It came back"));
            blocks.push(Block::text(format!(
                "After it was resolved, it was seen again at {}. It has come back {} times, and \
                 has {} events by now.",
                at(group.last_seen),
                group.regressions,
                group.count
            )));
            if let Some(release) = &group.last_release {
                blocks.push(Block::text(format!("Release: {release}")));
            }
        }
        News::Reopened => {
            blocks.push(Block::Heading("Opened again"));
            let by = facts.change.as_ref().and_then(|change| change.made_by.as_deref());
            let by = by.unwrap_or("an operator");
            blocks.push(Block::text(format!("{by} says that it is not resolved.")));
        }
        News::Unresolved => {
            let attempt = facts.judged();
            blocks.push(Block::Heading("A repair did not resolve it"));
            let verdict = report::verdict_text(attempt.and_then(|attempt| attempt.verdict));
            let why = attempt.and_then(|attempt| attempt.why.as_deref()).unwrap_or_default();
            blocks.push(Block::text(format!("Verdict: {verdict}. {why}")));
            blocks.push(Block::List(checks(facts)));
            if let Some(cause) = &facts.cause {
                blocks.push(Block::text(format!("Cause: {} ({})", cause.title, cause.confidence)));
            }
            blocks.push(Block::List(vec![format!(
                "Events: {}, the last at {}",
                group.count,
                at(group.last_seen)
            )]));
        }
    }
    link(&mut blocks, page);
    blocks
}

fn link(blocks: &mut Vec<Block>, page: Option<Url>) {
    blocks.extend(page.map(|page| Block::Link("The error in Lux", page)));
}

fn at(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
