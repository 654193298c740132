//! The words for how an error stands: one vocabulary for the list and the page.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    errors::{
        shown::GroupWithBuckets,
        store::groups::{Group, Status},
    },
    logs::Severity,
    repair::store::attempts::UnderWay,
};

/// For so long an error is new.
const NEW: TimeDelta = TimeDelta::days(1);

/// A state, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) class: &'static str,
    pub(super) icon: &'static str,
    pub(super) text: String,
    /// When a mute ends, told after the text.
    pub(super) until: Option<DateTime<Utc>>,
}

impl Badge {
    fn new(class: &'static str, icon: &'static str, text: impl Into<String>) -> Self {
        Self { class, icon, text: text.into(), until: None }
    }

    /// Of a group, and of what a repair does about it now.
    pub(super) fn of(group: &Group, repair: Option<&UnderWay>, now: DateTime<Utc>) -> Self {
        match (group.status, repair) {
            (Status::Resolved, _) if group.resolution_kind.as_deref() == Some("probe") => {
                Self::new("ok", "shield-check", "Resolved, verified")
            }
            (Status::Resolved, _) => Self::new("", "check", "Resolved by hand"),
            (Status::Ignored, _) if group.split_by.is_some() => Self::new("", "share-2", "Split"),
            (Status::Ignored, _) => {
                let text = if group.muted_until.is_some() { "Muted until" } else { "Muted" };
                Self { until: group.muted_until, ..Self::new("", "volume-x", text) }
            }
            (_, Some(repair)) if repair.waits => {
                Self::new("warn", "hourglass", "Fix needs approval")
            }
            (_, Some(_)) => Self::new("live", "loader-circle", "Re-testing"),
            (Status::Regressed, _) => {
                let release = group.last_release.as_deref().map(|release| format!(" in {release}"));
                let text = format!("Regressed{}", release.unwrap_or_default());
                Self::new("bad", "history", text)
            }
            (Status::Unresolved, _) if now - group.first_seen < NEW => {
                Self::new("bad", "sparkles", "New")
            }
            (Status::Unresolved, _) => Self::new("", "", "Unresolved"),
        }
    }
}

/// How bad it is: a class, an icon and the word.
pub(super) fn severity(severity: Severity) -> (&'static str, &'static str, &'static str) {
    match severity {
        Severity::Critical => ("crit", "octagon-x", "Critical"),
        Severity::Error => ("err", "circle-alert", "Error"),
        Severity::Warning => ("wrn", "triangle-alert", "Warning"),
        Severity::Notice => ("", "info", "Notice"),
        Severity::Info => ("", "info", "Info"),
        Severity::Debug => ("", "info", "Debug"),
    }
}

/// The message without the type before it, with its module or without.
pub(super) fn message(group: &Group) -> &str {
    let class = group.error_type.rsplit(['.', ':', '\\']).next().unwrap_or_default();
    let rest = [group.error_type.as_str(), class].into_iter().find_map(|name| {
        let rest = group.title.strip_prefix(name)?;
        rest.strip_prefix(": ")
    });
    rest.unwrap_or(&group.title)
}

/// "POST /checkout", else where in the code.
pub(super) fn place(group: &Group) -> String {
    match (&group.method, &group.endpoint) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        (None, Some(path)) => path.clone(),
        (_, None) => group.culprit.clone().unwrap_or_default(),
    }
}

/// Whether it burns: open, and most of the day's events came in the last three hours.
pub(super) fn is_hot(shown: &GroupWithBuckets) -> bool {
    let open = matches!(shown.group.status, Status::Unresolved | Status::Regressed);
    let all: i64 = shown.buckets.iter().sum();
    let late: i64 = shown.buckets.iter().rev().take(3).sum();
    open && late * 2 > all
}
