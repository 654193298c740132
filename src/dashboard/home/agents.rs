//! The eleven agents as tiles. What a tile says comes from rows: an agent whose data this Lux
//! does not keep is off and says what it needs.

use std::collections::BTreeMap;

use super::status::Status;
use crate::{
    dashboard::{Shell, when},
    health::{Part, Wellness},
    repair::{action::Standing, store::runs},
};

/// What an agent is doing, in the words that are used everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// On, with nothing to do just now; shown without a badge.
    Idle,
    Running,
    NeedsApproval,
    NeedsYou,
    Failed,
    Off,
}

/// One tile.
pub(super) struct Tile {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) icon: &'static str,
    pub(super) state: State,
    pub(super) text: String,
    /// What comes next, or what to do.
    pub(super) foot: String,
    /// Done and to do, while it runs.
    pub(super) progress: Option<(i64, i64)>,
    /// Where its work is seen; an agent that is off has no place.
    pub(super) href: Option<&'static str>,
}

impl Tile {
    pub(super) fn is_off(&self) -> bool {
        self.state == State::Off
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    pub(super) fn needs_somebody(&self) -> bool {
        matches!(self.state, State::NeedsApproval | State::NeedsYou | State::Failed)
    }

    /// The badge's word and its tone; idle agents wear none.
    pub(super) fn badge(&self) -> Option<(&'static str, &'static str)> {
        match self.state {
            State::Idle => None,
            State::Running => Some(("Running", "live")),
            State::NeedsApproval => Some(("Needs approval", "warn")),
            State::NeedsYou => Some(("Needs you", "bad")),
            State::Failed => Some(("Failed", "bad")),
            State::Off => Some(("Off", "off")),
        }
    }

    pub(super) fn class(&self) -> &'static str {
        match self.state {
            State::NeedsApproval => "tile appr",
            State::NeedsYou | State::Failed => "tile need",
            State::Off => "tile off",
            _ => "tile",
        }
    }
}

/// All tiles in their three groups.
pub(super) fn tiles(
    shell: &Shell,
    status: &Status,
    parts: &BTreeMap<String, Part>,
    standing: &Standing,
) -> Vec<(&'static str, Vec<Tile>)> {
    vec![
        (
            "Run the app",
            vec![intelligence(shell, status, standing), operations(parts), analytics(status)],
        ),
        (
            "Create",
            vec![
                off(
                    "brand_strategy",
                    "Brand & Strategy",
                    "compass",
                    "Keeps one brief of voice, offer and goals for all drafts.",
                    CAMPAIGNS,
                ),
                off(
                    "content_seo",
                    "Content & SEO",
                    "pen-line",
                    "Drafts pages and audits your own site.",
                    CAMPAIGNS,
                ),
                off(
                    "creative_design",
                    "Creative & Design",
                    "palette",
                    "Lays out mails and posts in your colours.",
                    CAMPAIGNS,
                ),
                off(
                    "social_media",
                    "Social & Community",
                    "share-2",
                    "Turns what you approved into posts.",
                    CAMPAIGNS,
                ),
            ],
        ),
        (
            "Convert and keep",
            vec![
                off(
                    "email_crm",
                    "Email & CRM",
                    "mail",
                    "Newsletters, segments and a clean list.",
                    CONTACTS,
                ),
                off(
                    "advertising",
                    "Advertising & Demand",
                    "target",
                    "Writes variants of ads and counts what came.",
                    CONTACTS,
                ),
                off(
                    "sales_enablement",
                    "Sales Enablement",
                    "handshake",
                    "Says whom to call, and why.",
                    CONTACTS,
                ),
                off(
                    "retention",
                    "Customer Retention",
                    "heart",
                    "Sees early who has gone quiet.",
                    CONTACTS,
                ),
            ],
        ),
    ]
}

const CAMPAIGNS: &str = "Needs campaigns, which this Lux does not keep";
const CONTACTS: &str = "Needs contacts, which this Lux does not keep";

fn off(key: &'static str, name: &'static str, icon: &'static str, text: &str, needs: &str) -> Tile {
    Tile {
        key,
        name,
        icon,
        state: State::Off,
        text: text.to_owned(),
        foot: needs.to_owned(),
        progress: None,
        href: None,
    }
}

/// Finds, groups, diagnoses and re-tests errors: the repair runs.
fn intelligence(shell: &Shell, status: &Status, standing: &Standing) -> Tile {
    let foot = match (standing.stopped, &status.next_sweep) {
        (true, _) => "Actions are stopped".to_owned(),
        (false, Some(at)) => format!("Next sweep in {}", when::span(*at - shell.now)),
        (false, None) => "No sweep is scheduled".to_owned(),
    };
    let mut tile = Tile {
        key: "app_intelligence",
        name: "APP Intelligence",
        icon: "radio",
        state: State::Idle,
        text: String::new(),
        foot,
        progress: None,
        href: Some("/repairs"),
    };
    match &status.last_run {
        None => "Has not run yet. It diagnoses errors and re-tests what failed."
            .clone_into(&mut tile.text),
        Some(run) if matches!(run.status, runs::Status::Queued | runs::Status::Running) => {
            tile.state = State::Running;
            tile.text = format!("Re-testing, {} of {} errors judged.", run.tested, run.total);
            tile.progress = Some((run.tested, run.total.max(1)));
        }
        Some(run) if run.status == runs::Status::Failed => {
            tile.state = State::Failed;
            let note = run.note.as_deref().unwrap_or("its log says why");
            tile.text = format!("The last run stopped early: {note}");
        }
        Some(run) => {
            let ago = when::span(shell.now - run.created_at);
            tile.text = match run.total {
                0 => format!("{ago} ago: nothing was open."),
                total => format!("{ago} ago: {} of {total} resolved with evidence.", run.resolved),
            };
        }
    }
    let count = shell.pulse.approvals - shell.pulse.campaigns;
    if count > 0 && tile.state != State::Running {
        tile.state = State::NeedsApproval;
        tile.foot = format!(
            "{count} {} your approval",
            if count == 1 { "action waits for" } else { "actions wait for" }
        );
        tile.href = Some("/approvals");
    }
    tile
}

/// Whether Lux itself and what it rests on is well.
fn operations(parts: &BTreeMap<String, Part>) -> Tile {
    let ill: Vec<_> = parts.iter().filter(|(_, part)| part.state >= Wellness::Degraded).collect();
    let (state, text) = match &ill[..] {
        [] => (State::Idle, format!("{} parts are looked at, all are well.", parts.len())),
        [(name, part)] => (State::NeedsYou, format!("{}: {}", words(name), part.detail)),
        [(name, _), rest @ ..] => {
            (State::NeedsYou, format!("{} and {} more need a look.", words(name), rest.len()))
        }
    };
    Tile {
        key: "operations",
        name: "Operations & Integrations",
        icon: "workflow",
        state,
        text,
        foot: "Looks every 15 s".to_owned(),
        progress: None,
        href: Some("/health"),
    }
}

fn words(part: &str) -> String {
    let text = part.replace('_', " ");
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Explains the numbers that Lux has: errors, so far.
fn analytics(status: &Status) -> Tile {
    let (today, before) = (status.events_today(), status.day_before);
    let text = match (today, before) {
        (0, 0) => "No error event in 48 h.".to_owned(),
        (_, 0) => format!("{today} error events in 24 h, none the day before."),
        (_, _) if today >= before => {
            format!(
                "{today} error events in 24 h, {} % more than the day before.",
                (today - before) * 100 / before
            )
        }
        (_, _) => {
            format!(
                "{today} error events in 24 h, {} % fewer than the day before.",
                (before - today) * 100 / before
            )
        }
    };
    Tile {
        key: "analytics",
        name: "Analytics & Optimization",
        icon: "chart-line",
        state: State::Idle,
        text,
        foot: "From the counts of each hour".to_owned(),
        progress: None,
        href: Some("/errors?sort=events"),
    }
}

#[cfg(test)]
mod tests {
    use super::{State, analytics, off, operations, words};
    use crate::{
        clock,
        dashboard::home::status::Status,
        health::{Part, Wellness},
    };

    fn status(today: i64, before: i64) -> Status {
        Status {
            errors: crate::errors::store::groups::Summary::default(),
            by_hour: vec![0, today],
            day_before: before,
            last_run: None,
            next_sweep: None,
            endpoints: Vec::new(),
            sources: Vec::new(),
            by_minute: Vec::new(),
        }
    }

    #[test]
    fn numbers_are_compared_with_the_day_before() {
        let of = |today, before| analytics(&status(today, before)).text;
        assert_eq!(of(0, 0), "No error event in 48 h.");
        assert_eq!(of(120, 100), "120 error events in 24 h, 20 % more than the day before.");
        assert_eq!(of(50, 100), "50 error events in 24 h, 50 % fewer than the day before.");
        assert_eq!(of(5, 0), "5 error events in 24 h, none the day before.");
    }

    #[test]
    fn what_is_ill_needs_somebody() {
        let part = |state| Part { state, since: clock::now(), detail: "full".to_owned() };
        let well = [("disk".to_owned(), part(Wellness::Ok))].into();
        assert_eq!(operations(&well).state, State::Idle);
        let ill = [("disk_space".to_owned(), part(Wellness::Down))].into();
        let tile = operations(&ill);
        assert_eq!((tile.state, tile.text.as_str()), (State::NeedsYou, "Disk space: full"));
    }

    #[test]
    fn what_is_off_leads_nowhere() {
        let tile = off("a", "A", "heart", "x", "y");
        assert!(tile.is_off() && tile.href.is_none() && !tile.needs_somebody());
        assert_eq!(words("from_logs"), "From logs");
    }
}
