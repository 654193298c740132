//! How states are called and shown: one vocabulary for runs and errors.

use chrono::{DateTime, Utc};

use crate::{
    dashboard::when,
    repair::{
        store::runs::{Run, Scope, Status, Trigger},
        verdict::Verdict,
    },
};

/// A state as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub text: String,
    /// The class of the badge.
    pub tone: &'static str,
    pub icon: &'static str,
}

impl State {
    fn new(text: impl Into<String>, tone: &'static str, icon: &'static str) -> Self {
        Self { text: text.into(), tone, icon }
    }
}

/// How many errors of a run ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub resolved: i64,
    pub failing: i64,
    pub skipped: i64,
    pub waiting: i64,
    pub open: i64,
}

impl Outcomes {
    pub(super) fn add(&mut self, verdict: Option<Verdict>, count: i64) {
        match verdict {
            Some(Verdict::Resolved) => self.resolved += count,
            Some(Verdict::StillFailing) => self.failing += count,
            Some(Verdict::Inconclusive) => self.skipped += count,
            Some(Verdict::AwaitingApproval) => self.waiting += count,
            None => self.open += count,
        }
    }

    pub(super) fn total(self) -> i64 {
        self.resolved + self.failing + self.skipped + self.waiting + self.open
    }

    /// Those with their words and classes, without the zeros.
    pub(super) fn parts(self) -> Vec<(i64, &'static str, &'static str)> {
        let all = [
            (self.resolved, "resolved", "ok-t"),
            (self.failing, "still failing", "bad-t"),
            (self.waiting, "waiting for you", "warn-t"),
            (self.skipped, "skipped", "dim"),
            (self.open, "not judged", "dim"),
        ];
        all.into_iter().filter(|(count, ..)| *count > 0).collect()
    }
}

/// How a run stands.
pub(super) fn of_run(run: &Run, outcomes: Outcomes) -> State {
    match run.status {
        Status::Queued => State::new("Queued", "", "circle-dashed"),
        Status::Running if outcomes.total() == 0 => State::new("Planning", "ai", "loader-circle"),
        Status::Running => {
            let judged = outcomes.total() - outcomes.open;
            let text = format!("Probing, {judged} of {} judged", outcomes.total());
            State::new(text, "live", "loader-circle")
        }
        Status::Waiting => State::new("Waiting for you", "warn", "circle-pause"),
        Status::Failed => State::new("Stopped", "bad", "octagon-x"),
        Status::Done if outcomes.total() == 0 => State::new("Nothing was open", "", "circle-check"),
        Status::Done if outcomes.failing > 0 => State::new("Still failing", "bad", "circle-x"),
        Status::Done if outcomes.resolved == outcomes.total() => {
            State::new("Resolved", "ok", "shield-check")
        }
        Status::Done if outcomes.resolved > 0 => {
            let text = format!("{} of {} resolved", outcomes.resolved, outcomes.total());
            State::new(text, "", "list-checks")
        }
        Status::Done => State::new("Skipped", "", "circle-help"),
    }
}

/// How an error of a run stands; `passes` of `needed` checks in a row passed so far.
pub(super) fn of_error(run: &Run, verdict: Option<Verdict>, passes: u32, needed: u32) -> State {
    match (verdict, run.status) {
        (Some(Verdict::Resolved), _) => State::new("Resolved", "ok", "shield-check"),
        (Some(Verdict::StillFailing), _) => State::new("Still failing", "bad", "circle-x"),
        (Some(Verdict::Inconclusive), _) => State::new("Skipped", "", "circle-help"),
        (Some(Verdict::AwaitingApproval), _) => {
            State::new("Waiting for you", "warn", "circle-pause")
        }
        (None, Status::Queued) => State::new("Queued", "", "circle-dashed"),
        (None, Status::Running) => {
            let text = format!("Probing {} of {needed}", passes.min(needed));
            State::new(text, "live", "loader-circle")
        }
        (None, _) => State::new("Stopped", "bad", "octagon-x"),
    }
}

/// Who asked, beside their name.
pub(super) fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Chat => "from the chat",
        Trigger::Api => "by hand",
        Trigger::Cli => "from the command line",
        Trigger::Schedule => "by schedule",
    }
}

pub(super) fn scope(scope: &Scope) -> String {
    let app = scope.app.as_ref().map(|app| format!(" of {app}")).unwrap_or_default();
    match &scope.groups {
        None => format!("All open errors{app}"),
        Some(groups) if groups.len() == 1 => format!("Error {}{app}", groups[0]),
        Some(groups) => format!("{} chosen errors{app}", groups.len()),
    }
}

/// How long a run took, or takes.
pub(super) fn took(run: &Run, now: DateTime<Utc>) -> String {
    match (run.started_at, run.finished_at) {
        (Some(from), Some(to)) => when::span(to - from),
        (Some(from), None) => when::span(now - from),
        (None, _) => "not begun".to_owned(),
    }
}

/// How sure a diagnosis is, as a badge's class.
pub(super) fn confidence(word: &str) -> &'static str {
    match word {
        "confirmed" => "live",
        "likely" => "ai",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn run(status: Status) -> Run {
        Run {
            id: 1,
            trigger: Trigger::Api,
            requested_by: "Ada".to_owned(),
            scope: json!({}),
            status,
            note: None,
            created_at: DateTime::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            total: 0,
            tested: 0,
            resolved: 0,
            unresolved: 0,
            organization_id: 1,
        }
    }

    #[test]
    fn green_is_for_what_was_proven() {
        let outcomes = |resolved, failing, skipped| Outcomes {
            resolved,
            failing,
            skipped,
            ..Outcomes::default()
        };
        for (outcomes, text, tone) in [
            (outcomes(0, 0, 0), "Nothing was open", ""),
            (outcomes(2, 0, 0), "Resolved", "ok"),
            (outcomes(2, 1, 0), "Still failing", "bad"),
            (outcomes(2, 0, 1), "2 of 3 resolved", ""),
            (outcomes(0, 0, 1), "Skipped", ""),
        ] {
            let state = of_run(&run(Status::Done), outcomes);
            assert_eq!((state.text.as_str(), state.tone), (text, tone));
        }
        assert_eq!(of_run(&run(Status::Failed), outcomes(1, 0, 0)).text, "Stopped");
        assert_eq!(of_error(&run(Status::Running), None, 5, 3).text, "Probing 3 of 3");
        assert_eq!(of_error(&run(Status::Failed), None, 3, 3).text, "Stopped");
    }
}
