//! From open groups to cases: what is wrong, once for all groups it explains.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    auth::OrganizationId,
    clock,
    db::Db,
    diagnose::{Captured, Confidence, Diagnoser, Finding, Scope as Where},
    error::Result,
    errors::store::open::{self, Open},
};

use super::store::runs::Scope;

/// Groups that one run takes on, of each status; the next run takes the others.
const MOST: i64 = 1000;

/// How far apart an error and a finding of the logs may be and still belong together.
const NEAR: TimeDelta = TimeDelta::minutes(2);

/// One cause, and the groups it explains, those with the most events first.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) app: String,
    pub(super) finding: Option<Finding>,
    pub(super) title: String,
    pub(super) groups: Vec<Open>,
    /// What each of the groups says by itself.
    pub(super) own: Vec<Option<Finding>>,
}

impl Case {
    pub(super) fn cause(&self) -> &str {
        self.finding.as_ref().map_or("unknown", |finding| &finding.cause)
    }

    pub(super) fn captured(&self) -> Captured {
        self.finding.as_ref().map(|finding| finding.captured.clone()).unwrap_or_default()
    }

    pub(super) fn confidence(&self) -> &'static str {
        self.finding.as_ref().map_or("unknown", |finding| finding.confidence.as_str())
    }
}

/// The open groups of a scope, by cause; cases with the most events first.
pub(super) async fn collect(
    db: &Db,
    diagnoser: &Diagnoser,
    organization: OrganizationId,
    scope: &Scope,
) -> Result<Vec<Case>> {
    let app = scope.app.as_deref();
    let mut groups = match &scope.groups {
        Some(ids) => open::these(db, organization, ids).await?,
        None => open::latest(db, organization, app, DateTime::UNIX_EPOCH, MOST).await?,
    };
    groups.retain(|group| app.is_none_or(|app| group.app == app));
    groups.sort_by_key(|group| std::cmp::Reverse((group.count, group.group_id)));

    // What the logs say, once for each application; what each error says by itself.
    let mut by_app: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for group in &groups {
        if !by_app.contains_key(&group.app) {
            let app = (!group.app.is_empty()).then(|| group.app.clone());
            let diagnosis = diagnoser.diagnose(Where { organization, app }).await?;
            by_app.insert(group.app.clone(), diagnosis.findings);
        }
    }
    let own = diagnoser.explain(groups.clone()).await?;

    let mut cases: Vec<Case> = Vec::new();
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (group, own) in groups.into_iter().zip(own) {
        let logs = by_app.get(&group.app).map_or(&[][..], Vec::as_slice);
        let finding = attribute(&group, own.clone(), logs);
        let captured = finding.as_ref().map(|finding| finding.captured.clone());
        let title = finding.as_ref().map_or(&group.title, |finding| &finding.title).clone();
        // Errors that nothing explains are one case each.
        let name = match &finding {
            Some(finding) => finding.cause.clone(),
            None => format!("group {}", group.group_id),
        };
        let index = *known.entry((group.app.clone(), name)).or_insert(cases.len());
        if index == cases.len() {
            let (groups, own) = (Vec::new(), Vec::new());
            cases.push(Case { app: group.app.clone(), finding, title, groups, own });
        }
        if let (Some(known), Some(captured)) = (&mut cases[index].finding, captured) {
            join(&mut known.captured, captured);
        }
        cases[index].groups.push(group);
        cases[index].own.push(own);
    }
    Ok(cases)
}

/// What the errors of one cause name, together: where they do not agree, all of it, so that
/// nobody takes what one of them names for what all of them mean.
fn join(known: &mut Captured, more: Captured) {
    /// Values of a name from which on nobody chooses between them anyway.
    const MANY: usize = 8;
    for (name, values) in more {
        let known = known.entry(name).or_default();
        for value in values {
            if known.len() < MANY && !known.contains(&value) {
                known.push(value);
            }
        }
    }
}

/// The finding that explains a group: what its own text says (told with what the logs
/// know of the same cause), else the one thing that was certainly wrong at that time.
fn attribute(group: &Open, own: Option<Finding>, logs: &[Finding]) -> Option<Finding> {
    if let Some(own) = own.filter(|own| own.confidence > Confidence::Inconclusive) {
        let same = logs.iter().find(|finding| finding.cause == own.cause);
        return Some(same.map_or_else(
            || own.clone(),
            |same| {
                let mut same = same.clone();
                join(&mut same.captured, own.captured.clone());
                same
            },
        ));
    }
    let mut at_that_time = logs.iter().filter(|finding| {
        finding.confidence == Confidence::Confirmed && overlaps(finding, group.last_seen)
    });
    let only = at_that_time.next()?;
    if at_that_time.next().is_some() {
        return None;
    }
    // It is certain that this is wrong, not that the error comes from it.
    Some(Finding { confidence: Confidence::Likely, ..only.clone() })
}

fn overlaps(finding: &Finding, at: DateTime<Utc>) -> bool {
    let first = finding.first_seen.unwrap_or(at);
    let last = finding.last_seen.unwrap_or_else(clock::now);
    (first - NEAR..=last + NEAR).contains(&at)
}
