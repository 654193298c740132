//! How a fault comes and goes while it is live, and so how long it must be quiet before
//! its silence means anything. No I/O here.
//!
//! A fault that fails for six seconds and works for six passes every check that is done
//! within one good phase. What tells it from a fault that is mended is the past: the
//! phases that events and checks have shown, and the distance between its events.

use chrono::{DateTime, TimeDelta, Utc};

use super::verdict::Point;
use crate::probe::Outcome;

/// A silence this many times as long as a good phase of the past is more than one of them.
const PHASES: i32 = 2;

/// Silences this many times as long as the usual one are phases, not chance.
const BURSTS: i32 = 4;

/// Longer silences without a check in them say that nobody came, not that it worked.
const NOBODY: TimeDelta = TimeDelta::seconds(60);

/// Usual distances for which it must be quiet at least, where nothing explains the silence.
const USUAL: i32 = 8;

/// That is waited for at most so long: the watch does the rest.
const MOST_USUAL: TimeDelta = TimeDelta::seconds(8);

/// Fewer distances than these have nothing usual.
const FEWEST: usize = 3;

/// Events nearer than this are one failure told several times.
const ONE: TimeDelta = TimeDelta::milliseconds(100);

/// When a group's newest events were, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rhythm {
    events: Vec<DateTime<Utc>>,
}

impl Rhythm {
    /// From times in any order.
    pub fn new(mut events: Vec<DateTime<Utc>>) -> Self {
        events.sort_unstable();
        let mut kept: Vec<DateTime<Utc>> = Vec::with_capacity(events.len());
        for at in events {
            if kept.last().is_none_or(|last| at - *last >= ONE) {
                kept.push(at);
            }
        }
        Self { events: kept }
    }

    /// How long it must be quiet, by its events and by a check's results (oldest first).
    /// `explained`: something was done about it that may have ended it.
    pub fn quiet(&self, points: &[Point], explained: bool) -> TimeDelta {
        let signs = self.signs(points);
        let mut quiet = good_phase(&signs, points);
        let usual = self.usual();
        if let Some(usual) = usual {
            let phases = signs
                .windows(2)
                .map(|pair| pair[1] - pair[0])
                .filter(|silence| (usual * BURSTS..=NOBODY).contains(silence));
            quiet = quiet.max(phases.max().unwrap_or_default());
        }
        quiet = quiet * PHASES;
        if !explained && let Some(usual) = usual {
            quiet = quiet.max((usual * USUAL).min(MOST_USUAL));
        }
        quiet
    }

    /// The usual distance between its events.
    fn usual(&self) -> Option<TimeDelta> {
        let mut gaps: Vec<TimeDelta> =
            self.events.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        (gaps.len() >= FEWEST).then(|| gaps[gaps.len() / 2])
    }

    /// When it is known to have failed: its events, and the check's failures.
    fn signs(&self, points: &[Point]) -> Vec<DateTime<Utc>> {
        let reds = points.iter().filter(|point| point.outcome == Outcome::Fail);
        let mut signs: Vec<DateTime<Utc>> =
            self.events.iter().copied().chain(reds.map(|point| point.at)).collect();
        signs.sort_unstable();
        signs
    }
}

/// The longest time for which a check was seen to pass before it failed after all.
fn good_phase(signs: &[DateTime<Utc>], points: &[Point]) -> TimeDelta {
    let mut longest = TimeDelta::zero();
    let mut first: Option<(usize, DateTime<Utc>)> = None;
    for pass in points.iter().filter(|point| point.outcome == Outcome::Pass) {
        let next = signs.partition_point(|sign| *sign <= pass.at);
        if next == signs.len() {
            break;
        }
        match first {
            Some((phase, began)) if phase == next => longest = longest.max(pass.at - began),
            _ => first = Some((next, pass.at)),
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{MOST_USUAL, Rhythm};
    use crate::{
        probe::Outcome::{self, Fail, Pass},
        repair::verdict::Point,
    };

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + millis).unwrap()
    }

    fn rhythm(millis: &[i64]) -> Rhythm {
        Rhythm::new(millis.iter().copied().map(at).collect())
    }

    fn point(millis: i64, outcome: Outcome) -> Point {
        Point { at: at(millis), outcome, fresh: false }
    }

    /// Six seconds red, six green, a visitor every 1.2 s.
    const PHASES: [i64; 8] = [0, 1200, 2400, 3600, 4800, 12_000, 13_200, 14_400];

    #[test]
    fn one_event_asks_for_nothing() {
        assert_eq!(rhythm(&[0]).quiet(&[], false), TimeDelta::zero());
        assert_eq!(rhythm(&[]).quiet(&[], false), TimeDelta::zero());
        // Told three times by three programs: one failure.
        assert_eq!(rhythm(&[0, 3, 7, 60]).quiet(&[], false), TimeDelta::zero());
    }

    #[test]
    fn a_fault_in_phases_is_waited_for_longer_than_a_phase() {
        assert_eq!(rhythm(&PHASES).quiet(&[], true), TimeDelta::milliseconds(14_400));
        // A failure seen in the middle of it: nobody had come.
        let red = [point(8400, Fail)];
        assert!(rhythm(&PHASES).quiet(&red, true) < TimeDelta::seconds(8));
    }

    #[test]
    fn a_pass_before_the_next_failure_shows_a_phase() {
        let points = [point(1000, Pass), point(3000, Pass), point(6000, Fail), point(7000, Pass)];
        assert_eq!(rhythm(&[0]).quiet(&points, true), TimeDelta::seconds(4));
        let points = [point(1000, Fail), point(3000, Pass), point(6000, Pass)];
        assert_eq!(rhythm(&[0]).quiet(&points, true), TimeDelta::zero());
    }

    #[test]
    fn steady_traffic_asks_for_some_of_its_usual_distances() {
        let steady: Vec<i64> = (0..20).map(|number| number * 500).collect();
        assert_eq!(rhythm(&steady).quiet(&[], false), TimeDelta::seconds(4));
        assert_eq!(rhythm(&steady).quiet(&[], true), TimeDelta::zero());
        let rare: Vec<i64> = (0..20).map(|number| number * 60_000).collect();
        assert_eq!(rhythm(&rare).quiet(&[], false), MOST_USUAL);
    }

    #[test]
    fn nobody_at_night_is_no_phase() {
        let mut day: Vec<i64> = (0..20).map(|number| number * 1000).collect();
        day.extend((0..20).map(|number| 8 * 3_600_000 + number * 1000));
        assert_eq!(rhythm(&day).quiet(&[], true), TimeDelta::zero());
    }
}
