//! What became of a group: its first event, deploys around it, what repairs tried and measured,
//! who decided what and why, and when it came back. The newest first.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::{
    app::App,
    auth::OrganizationId,
    deploys,
    error::Result,
    errors::{
        shown::GroupWithEvents,
        store::{
            changes::{self, Change},
            groups::Status,
        },
    },
    redact,
    repair::{
        store::{
            attempts::{self, Attempt},
            watches,
        },
        verdict::Verdict,
    },
};

/// Attempts, changes and deploys that are shown.
const MOST: i64 = 30;
const DEPLOYS: i64 = 10;
/// Checks of one attempt that are shown.
const CHECKS: usize = 8;
/// How long before the first event a deploy may have to do with it.
const BEFORE: TimeDelta = TimeDelta::hours(24);

/// One thing that happened.
pub(super) struct Item {
    pub(super) at: DateTime<Utc>,
    pub(super) icon: &'static str,
    /// "ok", "bad", "warn", "live", "ai" or "".
    pub(super) tone: &'static str,
    pub(super) title: String,
    pub(super) text: String,
    /// Words and address.
    pub(super) link: Option<(&'static str, String)>,
    pub(super) checks: Vec<Checked>,
}

/// A check before and after.
pub(super) struct Checked {
    pub(super) name: String,
    /// Before and after: what it said, and whether it passed.
    pub(super) cells: [Option<(String, bool)>; 2],
}

impl Item {
    fn new(
        at: DateTime<Utc>,
        icon: &'static str,
        tone: &'static str,
        title: impl Into<String>,
    ) -> Self {
        Self {
            at,
            icon,
            tone,
            title: title.into(),
            text: String::new(),
            link: None,
            checks: Vec::new(),
        }
    }

    fn text(self, text: impl AsRef<str>) -> Self {
        Self { text: redact::secrets(text.as_ref()).into_owned(), ..self }
    }
}

/// Everything that is known, the newest first.
pub(super) async fn of(
    app: &App,
    organization: OrganizationId,
    shown: &GroupWithEvents,
    now: DateTime<Utc>,
) -> Result<Vec<Item>> {
    let group = &shown.group.group;
    let mut items = Vec::new();
    let deploys = deploys::store::between(
        &app.db,
        organization,
        &group.app,
        group.first_seen - BEFORE,
        now,
        DEPLOYS,
    )
    .await?;
    let before = deploys.iter().filter(|it| it.at <= group.first_seen).max_by_key(|it| it.at);
    let after_deploy = before.map(|deploy| {
        let span = super::when::span(group.first_seen - deploy.at);
        format!("{span} after deploy {}.", deploy.release)
    });
    let release = group.first_release.as_ref().map(|release| format!("In release {release}."));
    let first = Item::new(group.first_seen, "bug", "", "First event");
    items.push(first.text(after_deploy.or(release).unwrap_or_default()));
    for deploy in &deploys {
        let item = Item::new(deploy.at, "rocket", "", format!("Deploy {}", deploy.release));
        let note = deploy.note.as_deref().unwrap_or_default();
        items.push(item.text(note));
    }
    let attempts = attempts::of_group(&app.db, organization, group.id, MOST).await?;
    for (place, attempt) in attempts.iter().enumerate() {
        let mut item = of_attempt(attempt);
        if attempt.verdict == Some(Verdict::Resolved) {
            complete(&mut item.checks, &attempts[place + 1..]);
        }
        items.push(item);
    }
    let changes = changes::of_group(&app.db, group.id, MOST).await?;
    items.extend(changes.iter().filter_map(of_change));
    if let Some((ends_at, status)) = watches::of_group(&app.db, group.id).await? {
        match status.as_str() {
            "watching" => {
                let item = Item::new(now, "eye", "live", "Watched");
                items.push(item.text(format!(
                    "Whether it holds is decided {}.",
                    ends_at.format("%Y-%m-%d %H:%M UTC")
                )));
            }
            "held" => {
                items.push(Item::new(ends_at, "shield-check", "ok", "The resolution held"));
            }
            _ => {}
        }
    }
    if let Some(storm) = &shown.storm {
        let text = format!("At most {} events a minute; {} are usual.", storm.peak, storm.usual);
        items.push(Item::new(storm.started_at, "zap", "bad", "A storm began").text(text));
        if let Some(at) = storm.ended_at {
            let text = format!("It brought {} events.", storm.count);
            items.push(Item::new(at, "zap", "", "The storm ended").text(text));
        }
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.at));
    Ok(items)
}

fn of_attempt(attempt: &Attempt) -> Item {
    let at = attempt.finished_at.unwrap_or(attempt.started_at);
    let (icon, tone, title) = match attempt.verdict {
        None => ("loader-circle", "live", "Re-testing"),
        Some(Verdict::Resolved) => ("shield-check", "ok", "Marked resolved"),
        Some(Verdict::StillFailing) => ("octagon-x", "bad", "Still failing"),
        Some(Verdict::Inconclusive) => ("circle-help", "warn", "Inconclusive"),
        Some(Verdict::AwaitingApproval) => ("hourglass", "warn", "A fix needs approval"),
    };
    let mut text = attempt.why.clone().unwrap_or_default();
    if attempt.held == Some(false) {
        text.push_str(" It did not hold.");
    }
    let item = Item::new(at, icon, tone, title).text(text.trim());
    let link = Some(("Open the repair", format!("/repairs/{}", attempt.run_id)));
    Item { link, checks: checks(attempt.checks.as_ref()), ..item }
}

/// Of each check the first result and the last.
fn checks(checks: Option<&Value>) -> Vec<Checked> {
    let mut shown: Vec<Checked> = Vec::new();
    for check in checks.and_then(Value::as_array).into_iter().flatten() {
        let name = check["name"].as_str().unwrap_or("check");
        let passed = check["passed"] == true;
        let said = match (check["status_code"].as_i64(), check["why"].as_str()) {
            (Some(status), _) => status.to_string(),
            (None, Some(why)) => redact::secrets(why).chars().take(60).collect(),
            (None, None) => if passed { "passed" } else { "failed" }.to_owned(),
        };
        let index = shown.iter().position(|it| it.name == name).unwrap_or_else(|| {
            shown.push(Checked { name: name.to_owned(), cells: [None, None] });
            shown.len() - 1
        });
        let row = &mut shown[index];
        if check["when"] == "before" {
            row.cells[0].get_or_insert((said, passed));
        } else {
            row.cells[1] = Some((said, passed));
        }
    }
    shown.truncate(CHECKS);
    shown
}

/// What proves a resolution failed before: if not in the same run, then in one of the earlier
/// ones (the newest first).
fn complete(rows: &mut [Checked], earlier: &[Attempt]) {
    let red = |cell: &Option<(String, bool)>| cell.as_ref().is_some_and(|(_, passed)| !passed);
    for row in rows {
        if row.cells.iter().any(red) {
            continue;
        }
        let before = earlier.iter().find_map(|attempt| {
            let mut rows = checks(attempt.checks.as_ref()).into_iter();
            let same = rows.find(|it| it.name == row.name)?;
            same.cells.into_iter().rev().find(red)?
        });
        if before.is_some() {
            let [first, last] = std::mem::take(&mut row.cells);
            row.cells = [before, last.or(first)];
        }
    }
}

/// `None` for what an attempt tells with more.
fn of_change(change: &Change) -> Option<Item> {
    let by = change.made_by.as_deref();
    let signed = |text: String| match by {
        Some(by) if text.is_empty() => format!("By {by}."),
        Some(by) => format!("{text} ({by})"),
        None => text,
    };
    Some(match change.status {
        Status::Resolved if change.evidence_kind.as_deref() == Some("probe") => return None,
        Status::Resolved => Item::new(change.at, "check", "", "Resolved by hand")
            .text(signed(change.evidence.clone().unwrap_or_default())),
        Status::Regressed => {
            let release = change.release.as_deref().map(|release| format!("In {release}."));
            Item::new(change.at, "history", "bad", "Came back").text(release.unwrap_or_default())
        }
        Status::Ignored => {
            let until = change.muted_until;
            let until = until.map(|at| format!("Until {}.", at.format("%Y-%m-%d %H:%M UTC")));
            Item::new(change.at, "volume-x", "", "Muted").text(signed(until.unwrap_or_default()))
        }
        Status::Unresolved if change.was == Status::Ignored && by.is_none() => {
            Item::new(change.at, "bell", "", "No longer muted").text("The time was over.")
        }
        Status::Unresolved => {
            Item::new(change.at, "rotate-ccw", "", "Reopened").text(signed(String::new()))
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::checks;

    #[test]
    fn checks_stand_before_and_after() {
        let probes = json!([
            { "when": "before", "name": "POST /checkout", "passed": false, "status_code": 500 },
            { "when": "after", "name": "POST /checkout", "passed": false, "status_code": 502 },
            { "when": "after", "name": "POST /checkout", "passed": true, "status_code": 200 },
            { "when": "after", "name": "connections", "passed": true, "why": "22 of 100" },
        ]);
        let shown = checks(Some(&probes));
        assert_eq!(shown.len(), 2);
        let cell = |text: &str, passed| Some((text.to_owned(), passed));
        assert_eq!(shown[0].cells, [cell("500", false), cell("200", true)]);
        assert_eq!(shown[1].cells, [None, cell("22 of 100", true)]);
        assert!(checks(None).is_empty());
    }
}
