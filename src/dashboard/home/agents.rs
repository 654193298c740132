//! The eleven agents as tiles. What a tile says comes from rows: its newest run, and for the two
//! that look after the application, from repair runs and the health of all parts as they are now.

use std::collections::BTreeMap;

use super::status::Status;
use crate::{
    dashboard::{Shell, when},
    health::{Part, Wellness},
    marketing::agent::{AGENTS, Agent, Group, Key, Standing, store},
    repair::{action, store::runs},
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
    /// On, and kept from beginning anything by itself.
    Paused,
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
    /// Where its work is seen.
    pub(super) href: String,
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
            State::Paused => Some(("Paused", "warn")),
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

/// What rows say of the agents.
pub(super) struct Known {
    pub(super) standings: BTreeMap<Key, Standing>,
    pub(super) newest: BTreeMap<Key, store::Run>,
}

/// All tiles in their three groups.
pub(super) fn tiles(
    shell: &Shell,
    status: &Status,
    parts: &BTreeMap<String, Part>,
    standing: &action::Standing,
    known: &Known,
) -> Vec<(&'static str, Vec<Tile>)> {
    let tile = |agent: &'static Agent| {
        let mut tile = plain(shell, agent, known);
        match agent.key {
            Key::AppIntelligence => intelligence(&mut tile, shell, status, standing, known),
            Key::Operations => operations(&mut tile, parts),
            Key::EmailCrm => approvals(&mut tile, shell.pulse.campaigns),
            _ => {}
        }
        tile
    };
    let of = |group: Group| AGENTS.iter().filter(move |agent| agent.group == group).map(tile);
    Group::ALL.into_iter().map(|group| (group.name(), of(group).collect())).collect()
}

/// A tile by its newest run and its setting.
fn plain(shell: &Shell, agent: &'static Agent, known: &Known) -> Tile {
    let standing = known.standings.get(&agent.key);
    let is_on = standing.is_some_and(|standing| standing.is_on);
    let paused = standing.and_then(|standing| standing.paused.as_ref());
    let run = known.newest.get(&agent.key);
    let mut tile = Tile {
        key: agent.key.as_str(),
        name: agent.name,
        icon: agent.icon,
        state: State::Idle,
        text: "Has not run yet".to_owned(),
        foot: match (paused, standing.and_then(|standing| standing.next)) {
            (Some(paused), _) => format!("Paused by {}", paused.by),
            (None, Some(at)) => format!("Next in {}", when::span(at - shell.now)),
            (None, None) => "Runs when you ask it to".to_owned(),
        },
        progress: None,
        href: format!("/agents/{}", agent.key.as_str()),
    };
    if let Some(run) = run {
        match run.status {
            store::Status::Queued | store::Status::Running => {
                tile.state = State::Running;
                "Reads and counts.".clone_into(&mut tile.text);
            }
            store::Status::Failed => {
                tile.state = State::Failed;
                tile.text.clone_from(&run.outcome);
            }
            store::Status::Done => {
                tile.text.clone_from(&run.outcome);
                let drafts = run.waiting();
                if drafts > 0 {
                    let word = if drafts == 1 { "draft" } else { "drafts" };
                    tile.foot = format!("{drafts} {word} to look at. {}", tile.foot);
                }
            }
        }
    }
    if tile.state != State::Running {
        if !is_on {
            tile.state = State::Off;
            "Switch it on at its page".clone_into(&mut tile.foot);
        } else if paused.is_some() {
            tile.state = State::Paused;
        }
    }
    tile
}

/// Finds, groups, diagnoses and re-tests errors: the repair runs.
fn intelligence(
    tile: &mut Tile,
    shell: &Shell,
    status: &Status,
    standing: &action::Standing,
    known: &Known,
) {
    let standings = known.standings.get(&Key::AppIntelligence);
    let paused = standings.is_some_and(|standing| standing.paused.is_some());
    if !paused {
        tile.state = State::Idle;
        tile.foot = match (standing.stopped, &status.next_sweep) {
            (true, _) => "Actions are stopped".to_owned(),
            (false, Some(at)) => format!("Next sweep in {}", when::span(*at - shell.now)),
            (false, None) => "No sweep is scheduled".to_owned(),
        };
    }
    match &status.last_run {
        None => "Has not run yet".clone_into(&mut tile.text),
        Some(run) if matches!(run.status, runs::Status::Queued | runs::Status::Running) => {
            tile.state = State::Running;
            tile.text = format!("Re-testing, {} of {} errors judged.", run.tested, run.total);
            tile.progress = Some((run.tested, run.total.max(1)));
        }
        Some(run) if run.status == runs::Status::Failed => {
            if !paused {
                tile.state = State::Failed;
            }
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
    if count > 0 && tile.state == State::Idle {
        tile.state = State::NeedsApproval;
        tile.foot = format!(
            "{count} {} your approval",
            if count == 1 { "action waits for" } else { "actions wait for" }
        );
        "/approvals".clone_into(&mut tile.href);
    }
}

/// Whether Lux itself and what it rests on is well, now: this does not wait for the next run.
fn operations(tile: &mut Tile, parts: &BTreeMap<String, Part>) {
    let ill: Vec<_> = parts.iter().filter(|(_, part)| part.state >= Wellness::Degraded).collect();
    let text = match &ill[..] {
        [] => return,
        [(name, part)] => format!("{}: {}", words(name), part.detail),
        [(name, _), rest @ ..] => format!("{} and {} more need a look.", words(name), rest.len()),
    };
    if matches!(tile.state, State::Idle | State::Failed) {
        tile.state = State::NeedsYou;
        tile.text = text;
    }
}

fn approvals(tile: &mut Tile, in_review: i64) {
    if in_review > 0 && tile.state == State::Idle {
        tile.state = State::NeedsApproval;
        tile.foot = format!(
            "{in_review} {} your approval",
            if in_review == 1 { "campaign waits for" } else { "campaigns wait for" }
        );
        "/approvals".clone_into(&mut tile.href);
    }
}

fn words(part: &str) -> String {
    let text = part.replace('_', " ");
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{AGENTS, Key, Known, Standing, State, Tile, operations, plain, words};
    use crate::{
        clock,
        dashboard::Shell,
        health::{Part, Wellness},
        marketing::agent::Paused,
    };

    fn tile(change: impl Fn(&mut Standing)) -> Tile {
        let mut standing = Standing {
            is_on: true,
            schedule: None,
            timezone: "UTC".to_owned(),
            next: None,
            paused: None,
            pages: Vec::new(),
            changed_by: None,
        };
        change(&mut standing);
        let standings = AGENTS.iter().map(|agent| (agent.key, standing.clone())).collect();
        let known = Known { standings, newest: BTreeMap::new() };
        plain(&Shell::default(), Key::Operations.agent(), &known)
    }

    #[test]
    fn what_is_off_is_not_paused() {
        let paused = Some(Paused { by: "Mara".to_owned(), at: clock::now() });
        assert_eq!(tile(|_| ()).state, State::Idle);
        assert_eq!(tile(|_| ()).text, "Has not run yet");
        assert_eq!(tile(|it| it.paused = paused.clone()).state, State::Paused);
        let off = tile(|it| {
            it.paused = paused.clone();
            it.is_on = false;
        });
        assert_eq!(off.state, State::Off);
        assert!(off.is_off() && !off.needs_somebody());
    }

    #[test]
    fn what_is_ill_needs_somebody() {
        let part = |state| Part { state, since: clock::now(), detail: "full".to_owned() };
        let mut well = tile(|_| ());
        operations(&mut well, &[("disk".to_owned(), part(Wellness::Ok))].into());
        assert_eq!(well.state, State::Idle);
        let mut ill = tile(|_| ());
        operations(&mut ill, &[("disk_space".to_owned(), part(Wellness::Down))].into());
        assert_eq!((ill.state, ill.text.as_str()), (State::NeedsYou, "Disk space: full"));
        assert_eq!(words("from_logs"), "From logs");
    }
}
