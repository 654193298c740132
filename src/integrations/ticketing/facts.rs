//! What a ticket has to tell: its group as it is now, what the newest runs found, and what of that
//! the ticket does not say yet.

use serde_json::Value;

use crate::{
    auth::OrganizationId,
    db::Db,
    error::{Error, Result},
    errors::store::{
        changes::{self, Change},
        groups::{self, Group, Status},
    },
    repair::{
        report,
        store::{
            attempts::{self, Attempt},
            runs::{self, Cause},
        },
        verdict::Verdict,
    },
};

/// Attempts that are looked back on.
const ATTEMPTS: i64 = 8;
/// The longest that is remembered of what was told, in characters.
const MAX_TOLD: usize = 2000;

/// A group with what became of it.
pub(super) struct Facts {
    pub(super) group: Group,
    /// The newest first.
    pub(super) attempts: Vec<Attempt>,
    /// What the newest attempt was about.
    pub(super) cause: Option<Cause>,
    pub(super) change: Option<Change>,
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Resolved,
    /// It came back by itself.
    Regressed,
    /// A person opened it again.
    Reopened,
    /// A run ended without resolving it.
    Unresolved,
}

impl Facts {
    pub(super) async fn read(db: &Db, organization: OrganizationId, group: i64) -> Result<Self> {
        let found = groups::find(db, organization, group).await?;
        let group = found.ok_or(Error::NotFound("error group"))?;
        let attempts = attempts::of_group(db, organization, group.id, ATTEMPTS).await?;
        let cause = match attempts.first() {
            Some(newest) => {
                let causes = runs::causes(db, newest.run_id).await?;
                causes.into_iter().find(|cause| cause.id == newest.cause_id)
            }
            None => None,
        };
        let change = changes::of_group(db, group.id, 1).await?.into_iter().next();
        Ok(Self { group, attempts, cause, change })
    }

    pub(super) fn is_resolved(&self) -> bool {
        self.group.status == Status::Resolved
    }

    /// The newest attempt that ended with a verdict of its own.
    pub(super) fn judged(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| {
            attempt.verdict.is_some_and(|verdict| verdict != Verdict::AwaitingApproval)
        })
    }

    /// What there is to tell now, and as which it is remembered.
    pub(super) fn news(&self) -> (Option<News>, Option<String>) {
        let change = self.change.as_ref().map_or(0, |change| change.id);
        // A verdict from before the group changed says nothing of it as it is.
        let fresh = self.judged().filter(|attempt| {
            let changed_at = self.change.as_ref().map(|change| change.at);
            attempt.finished_at.is_some_and(|at| changed_at.is_none_or(|changed| at >= changed))
        });
        let (news, what) = match (self.group.status, fresh) {
            (Status::Resolved, _) => (Some(News::Resolved), format!("resolved {change}")),
            (Status::Ignored, _) => (None, String::new()),
            (_, Some(attempt)) if attempt.verdict != Some(Verdict::Resolved) => {
                (Some(News::Unresolved), self.digest(attempt))
            }
            (Status::Regressed, _) => (Some(News::Regressed), format!("regressed {change}")),
            (Status::Unresolved, _) if self.was_resolved() => {
                (Some(News::Reopened), format!("reopened {change}"))
            }
            (Status::Unresolved, _) => (None, String::new()),
        };
        (news, (!what.is_empty()).then(|| what.chars().take(MAX_TOLD).collect()))
    }

    fn was_resolved(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.was == Status::Resolved)
    }

    /// A verdict with what it rests on, without what differs from run to run anyway.
    fn digest(&self, attempt: &Attempt) -> String {
        let cause = self.cause.as_ref().map_or("unknown", |cause| &cause.cause);
        let mut checks: Vec<String> = points(attempt)
            .map(|point| format!("{} {} {}", point["name"], point["outcome"], point["status_code"]))
            .collect();
        checks.sort_unstable();
        checks.dedup();
        let verdict = report::verdict_text(attempt.verdict);
        format!("{verdict}; {cause}; {}", checks.join(", "))
    }

    /// Each check of the newest verdict: its name, the last failure before and the last result.
    pub(super) fn checks(&self) -> Vec<(&str, Option<&Value>, Option<&Value>)> {
        let Some(newest) = self.judged() else { return Vec::new() };
        let mut found: Vec<(&str, Option<&Value>, Option<&Value>)> = Vec::new();
        for point in points(newest) {
            let Some(name) = point["name"].as_str() else { continue };
            let place = found.iter().position(|(known, ..)| *known == name);
            let place = place.unwrap_or_else(|| {
                found.push((name, None, None));
                found.len() - 1
            });
            let Some((_, before, after)) = found.get_mut(place) else { continue };
            if point["passed"] == true || point["when"] == "after" {
                *after = Some(point);
            } else {
                *before = Some(point);
            }
        }
        for (name, before, _) in &mut found {
            if before.is_none() {
                // What was mended outside failed in an earlier run.
                let earlier = self.attempts.iter().filter(|attempt| attempt.id < newest.id);
                *before = earlier
                    .flat_map(points)
                    .find(|point| point["name"] == *name && point["outcome"] == "fail");
            }
        }
        found
    }
}

fn points(attempt: &Attempt) -> impl Iterator<Item = &Value> {
    attempt.checks.as_ref().and_then(Value::as_array).into_iter().flatten()
}
