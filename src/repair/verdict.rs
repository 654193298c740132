//! Deciding whether an error is resolved: by rule, from what was measured. No I/O here.
//!
//! A group is judged by *checks*: its own failing request, probes an operator says cover
//! it, and probes of its cause. A check proves something only if it failed while the error
//! was live, or is the very request that failed and was never seen to pass meanwhile: a
//! check that could not have failed proves nothing. It must then pass several times in a
//! row, with no event of the group in between; how often depends on how reliably it failed,
//! and how long on its [`Rhythm`].

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::rhythm::Rhythm;
use crate::probe::Outcome;

/// Passes in a row beyond which probing is no proof any more: what fails so rarely is
/// judged by its users' traffic.
const MOST_PASSES: u32 = 30;

/// Relapses before our eyes after which nothing is waited for.
const MOST_RELAPSES: usize = 3;

/// The chance left that an unreliable fault passes all checks by luck.
const LUCK: f64 = 0.01;

/// How an attempt ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Verdict {
    /// Proven; the database holds the evidence.
    Resolved,
    StillFailing,
    /// What is missing for a verdict is said.
    Inconclusive,
    /// An action waits for an operator's word.
    AwaitingApproval,
}

/// What a check is to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The group's own failing request.
    Own,
    /// The same without the parameters it had, which Lux does not repeat.
    Like,
    /// A probe that an operator says covers the group's endpoint.
    Covers,
    /// A probe of the group's cause.
    Cause,
}

/// One result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub at: DateTime<Utc>,
    pub outcome: Outcome,
    /// Measured by the run that judges.
    pub fresh: bool,
}

/// A check with its results since the error is live, oldest first.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub relation: Relation,
    pub points: Vec<Point>,
    /// What the newest result said: "500 Internal Server Error".
    pub said: String,
}

/// Everything that is known about a group at this moment.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub checks: &'a [Check],
    /// The group's newest event.
    pub last_event: DateTime<Utc>,
    /// How its events came.
    pub rhythm: &'a Rhythm,
    /// When the run last did something about the cause.
    pub acted_at: Option<DateTime<Utc>>,
    /// Why there is no (other) check, in sentences with what would help.
    pub missing: &'a [String],
    /// Passes in a row that are asked for.
    pub passes: u32,
    /// There is time for another round.
    pub more: bool,
}

/// What the facts say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Another round is needed.
    Open,
    /// Since when it has been green without an event: the moment of the resolution.
    Resolved {
        since: DateTime<Utc>,
        why: String,
    },
    StillFailing {
        why: String,
    },
    Inconclusive {
        why: String,
    },
}

/// A check, weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// It could have failed, and is green long enough since then.
    Proves(DateTime<Utc>),
    /// Green, which proves nothing.
    Blind,
    Red,
    /// It answers neither way.
    Unclear,
    /// It fails too rarely for a proof by asking.
    Unreliable,
    /// It passes and fails in turns.
    Flapping,
    /// It passes, but not yet for so long as it must be quiet.
    Early(TimeDelta),
    Undecided,
}

impl Check {
    /// Failures while the error was live.
    fn reds(&self) -> usize {
        self.points.iter().filter(|point| point.outcome == Outcome::Fail).count()
    }

    /// Passes that say nothing good: the error was seen, or the check failed, after them.
    fn misses(&self, last_event: DateTime<Utc>) -> usize {
        let last_red = self.points.iter().rposition(|point| point.outcome == Outcome::Fail);
        self.points
            .iter()
            .enumerate()
            .filter(|(index, point)| {
                point.outcome == Outcome::Pass
                    && (point.at < last_event || last_red.is_some_and(|red| *index < red))
            })
            .count()
    }

    /// The passes at the end that count: after the newest event and the newest action.
    fn streak(&self, after: DateTime<Utc>) -> (u32, Option<DateTime<Utc>>) {
        let streak =
            self.points.iter().rev().take_while(|point| {
                point.fresh && point.outcome == Outcome::Pass && point.at > after
            });
        let (mut count, mut since) = (0, None);
        for point in streak {
            count += 1;
            since = Some(point.at);
        }
        (count, since)
    }

    /// Results at the end of this kind, after the newest action.
    fn run_of(&self, outcome: Outcome, acted_at: Option<DateTime<Utc>>) -> u32 {
        let same = self.points.iter().rev().take_while(|point| {
            point.fresh
                && point.outcome == outcome
                && acted_at.is_none_or(|acted_at| point.at > acted_at)
        });
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }

    /// How many passes in a row are a proof. What failed always needs the least; what
    /// failed one time in two must pass so often that luck is ruled out.
    fn needed(&self, facts: &Facts<'_>) -> Option<u32> {
        let (reds, misses) = (self.reds(), self.misses(facts.last_event));
        let mut needed = facts.passes;
        if reds > 0 && misses > 0 {
            #[expect(clippy::cast_precision_loss, reason = "some dozens of results")]
            let rate = reds as f64 / (reds + misses) as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and compared with MOST_PASSES right after"
            )]
            let by_rate = (LUCK.ln() / (1.0 - rate).ln()).ceil().min(1e6) as u32;
            needed = needed.max(by_rate);
        }
        // It went green before our eyes, and nothing of ours explains that.
        let turned = self.points.iter().any(|point| {
            point.fresh
                && point.outcome == Outcome::Fail
                && facts.acted_at.is_none_or(|acted_at| point.at > acted_at)
        });
        if turned {
            needed += facts.passes;
        }
        (needed <= MOST_PASSES).then_some(needed)
    }

    /// How often it turned red again while we looked.
    fn relapses(&self, acted_at: Option<DateTime<Utc>>) -> usize {
        let fresh: Vec<Outcome> = self
            .points
            .iter()
            .filter(|point| point.fresh && acted_at.is_none_or(|acted_at| point.at > acted_at))
            .map(|point| point.outcome)
            .collect();
        fresh.windows(2).filter(|pair| *pair == [Outcome::Pass, Outcome::Fail]).count()
    }

    fn passed_before_event(&self, facts: &Facts<'_>) -> bool {
        self.points.iter().any(|point| {
            point.fresh
                && point.outcome == Outcome::Pass
                && point.at < facts.last_event
                && facts.acted_at.is_none_or(|acted_at| point.at > acted_at)
        })
    }

    fn weigh(&self, facts: &Facts<'_>) -> Weight {
        let acted_at = facts.acted_at;
        if self.run_of(Outcome::Fail, acted_at) >= facts.passes {
            return Weight::Red;
        }
        if self.run_of(Outcome::Unclear, acted_at) >= 1 {
            return Weight::Unclear;
        }
        if self.relapses(acted_at) >= MOST_RELAPSES {
            return Weight::Flapping;
        }
        let after = acted_at.map_or(facts.last_event, |acted| acted.max(facts.last_event));
        let (count, since) = self.streak(after);
        let Some(needed) = self.needed(facts) else { return Weight::Unreliable };
        let (Some(since), true) = (since, count >= needed) else { return Weight::Undecided };
        let could_fail = self.reds() > 0
            || (matches!(self.relation, Relation::Own | Relation::Covers)
                && self.misses(facts.last_event) == 0);
        if !could_fail {
            return Weight::Blind;
        }
        let quiet = facts.rhythm.quiet(&self.points, acted_at.is_some());
        if self.quiet_for(after) < quiet { Weight::Early(quiet) } else { Weight::Proves(since) }
    }

    /// From the last sign that it failed to the newest result.
    fn quiet_for(&self, after: DateTime<Utc>) -> TimeDelta {
        let red = self.points.iter().rfind(|point| point.outcome == Outcome::Fail);
        let sign = red.map_or(after, |red| red.at.max(after));
        self.points.last().map_or(TimeDelta::zero(), |last| last.at - sign)
    }
}

/// Judges a group.
pub fn judge(facts: &Facts<'_>) -> Judgement {
    let weighed: Vec<(&Check, Weight)> =
        facts.checks.iter().map(|check| (check, check.weigh(facts))).collect();
    let of = |wanted: Weight| weighed.iter().find(|(_, weight)| *weight == wanted);
    if let Some((check, _)) = of(Weight::Red) {
        return Judgement::StillFailing { why: format!("{} fails: {}", check.name, check.said) };
    }
    let early = weighed.iter().find_map(|(check, weight)| match weight {
        Weight::Early(quiet) => Some((*check, *quiet)),
        _ => None,
    });
    let undecided = of(Weight::Undecided);
    let unstable = of(Weight::Flapping).or(undecided);
    let wanting = undecided.is_some() || early.is_some();
    if wanting && facts.more && of(Weight::Flapping).is_none() {
        return Judgement::Open;
    }
    if unstable.is_none() && early.is_none() {
        let proof = weighed.iter().filter_map(|(check, weight)| match weight {
            Weight::Proves(since) => Some((*check, *since)),
            _ => None,
        });
        // All proofs have to stand, so the resolution dates from the youngest.
        if let Some((check, since)) = proof.max_by_key(|(_, since)| *since) {
            return Judgement::Resolved { since, why: proven(check, facts, since) };
        }
    }
    // An event came although a check passes: users see what the check does not.
    if let Some(check) = facts.checks.iter().find(|check| check.passed_before_event(facts)) {
        return Judgement::StillFailing {
            why: format!(
                "users still see it (last at {}), although {} passes",
                facts.last_event.format("%H:%M:%S UTC"),
                check.name
            ),
        };
    }
    if let Some((check, _)) = unstable {
        let (reds, all) = (check.reds(), check.points.len());
        return Judgement::Inconclusive {
            why: format!(
                "{} fails and passes in turns ({reds} of {all} times red): it is not stable. Mend \
                 what makes it flap, then try again",
                check.name
            ),
        };
    }
    if let Some((check, quiet)) = early {
        return Judgement::Inconclusive {
            why: format!(
                "{} passes, but this error has been quiet before and came back: only when it has \
                 passed for {} s without an event does that mean something. Try again then",
                check.name,
                quiet.num_seconds().max(1)
            ),
        };
    }
    Judgement::Inconclusive { why: lacking(&weighed, facts) }
}

fn proven(check: &Check, facts: &Facts<'_>, since: DateTime<Utc>) -> String {
    let reds = check.reds();
    let before = match reds {
        0 => "is the request that failed".to_owned(),
        1 => "failed once while the error was live".to_owned(),
        reds => format!("failed {reds} times while the error was live"),
    };
    let after = facts.acted_at.map_or(facts.last_event, |acted| acted.max(facts.last_event));
    let (count, _) = check.streak(after);
    format!(
        "{} {before}, and passed {count} times in a row from {} on ({}); no event since",
        check.name,
        since.format("%H:%M:%S UTC"),
        check.said
    )
}

/// What would help to a verdict.
fn lacking(weighed: &[(&Check, Weight)], facts: &Facts<'_>) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for (check, weight) in weighed {
        let reason = match weight {
            Weight::Unclear => check.said.clone(),
            Weight::Blind if matches!(check.relation, Relation::Cause | Relation::Like) => {
                format!("{} passes, but did not fail while the error was live", check.name)
            }
            Weight::Blind => format!(
                "{} passes for Lux, and did so while users saw the error: it depends on who asks \
                 or on data. Give Lux a probe that fails with it, or confirm by hand",
                check.name
            ),
            Weight::Unreliable => format!(
                "{} fails so rarely that passing proves nothing. Confirm by hand once it stays away",
                check.name
            ),
            Weight::Red => format!("{} fails: {}", check.name, check.said),
            Weight::Proves(_) | Weight::Early(_) | Weight::Undecided | Weight::Flapping => continue,
        };
        reasons.push(reason);
    }
    reasons.extend(facts.missing.iter().cloned());
    if reasons.is_empty() {
        reasons
            .push("there is no check for this error: give Lux a probe, or confirm by hand".into());
    }
    reasons.join(". ")
}

/// How long a resolution is watched: about twenty times the group's usual distance
/// between events, at least 15 minutes, at most 7 days.
pub fn watch_for(first_seen: DateTime<Utc>, last_seen: DateTime<Utc>, count: i64) -> TimeDelta {
    let span = (last_seen - first_seen).max(TimeDelta::zero());
    let gaps = i32::try_from((count - 1).clamp(1, 1_000_000)).unwrap_or(1);
    let usual = span / gaps;
    usual
        .checked_mul(20)
        .unwrap_or(TimeDelta::days(7))
        .clamp(TimeDelta::minutes(15), TimeDelta::days(7))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::{Check, Facts, Judgement, Point, Relation, Rhythm, judge, watch_for};
    use crate::probe::Outcome::{self, Fail, Pass, Unclear};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    /// Results before the run (at seconds 1, 2, …) and of the run (at 101, 102, …).
    fn check(relation: Relation, before: &[Outcome], fresh: &[Outcome]) -> Check {
        let points = |outcomes: &[Outcome], from: i64, fresh| {
            let point = move |(second, outcome): (i64, &Outcome)| Point {
                at: at(from + second),
                outcome: *outcome,
                fresh,
            };
            (1..).zip(outcomes).map(point).collect::<Vec<_>>()
        };
        let mut all = points(before, 0, false);
        all.extend(points(fresh, 100, true));
        Check { name: "GET /x".into(), relation, points: all, said: "said".into() }
    }

    fn verdict(checks: &[Check], last_event: i64, acted_at: Option<i64>, more: bool) -> Judgement {
        judge(&Facts {
            checks,
            last_event: at(last_event),
            rhythm: &Rhythm::new(vec![at(last_event)]),
            acted_at: acted_at.map(at),
            missing: &["POST /x changes data: give Lux a probe".to_owned()],
            passes: 3,
            more,
        })
    }

    fn own(before: &[Outcome], fresh: &[Outcome]) -> Judgement {
        verdict(&[check(Relation::Own, before, fresh)], 50, None, true)
    }

    fn is_resolved(judgement: &Judgement) -> bool {
        matches!(judgement, Judgement::Resolved { .. })
    }

    #[test]
    fn the_own_request_red_before_and_green_now_is_proof() {
        let judgement = own(&[Fail, Fail], &[Pass, Pass, Pass]);
        assert_eq!(
            judgement,
            Judgement::Resolved {
                since: at(101),
                why: "GET /x failed 2 times while the error was live, and passed 3 times in a row \
                      from 22:15:01 UTC on (said); no event since"
                    .into()
            }
        );
        assert!(is_resolved(&own(&[], &[Pass, Pass, Pass])));
    }

    #[test]
    fn too_few_passes_need_another_round() {
        assert_eq!(own(&[Fail], &[Pass, Pass]), Judgement::Open);
        assert_eq!(own(&[Fail], &[]), Judgement::Open);
    }

    #[test]
    fn red_is_red() {
        assert!(matches!(own(&[Fail], &[Fail, Fail, Fail]), Judgement::StillFailing { .. }));
        assert_eq!(own(&[Fail], &[Fail, Fail]), Judgement::Open);
        // A green cause does not outweigh the group's own red request.
        let checks = [
            check(Relation::Own, &[Fail], &[Fail, Fail, Fail]),
            check(Relation::Cause, &[Fail], &[Pass, Pass, Pass]),
        ];
        assert!(matches!(verdict(&checks, 50, None, true), Judgement::StillFailing { .. }));
    }

    #[test]
    fn a_check_that_passed_while_users_failed_proves_nothing() {
        let judgement = own(&[Pass, Pass], &[Pass, Pass, Pass]);
        assert!(
            matches!(&judgement, Judgement::Inconclusive { why } if why.contains("depends on")),
            "{judgement:?}"
        );
    }

    #[test]
    fn a_probe_of_the_cause_must_have_been_red() {
        let cause = |before: &[Outcome]| {
            verdict(&[check(Relation::Cause, before, &[Pass, Pass, Pass])], 50, None, true)
        };
        assert!(is_resolved(&cause(&[Fail])));
        assert!(matches!(cause(&[]), Judgement::Inconclusive { .. }));
        assert!(matches!(cause(&[Pass]), Judgement::Inconclusive { .. }));
    }

    #[test]
    fn what_fails_now_and_then_needs_more_passes() {
        let half = [Fail, Pass, Fail, Pass];
        assert_eq!(own(&half, &[Pass, Pass, Pass]), Judgement::Open);
        assert!(is_resolved(&own(&half, &[Pass; 7])));
        let mut rare = vec![Pass; 40];
        rare.push(Fail);
        assert!(matches!(own(&rare, &[Pass; 30]), Judgement::Inconclusive { .. }));
    }

    #[test]
    fn what_flaps_before_our_eyes_is_not_waited_for() {
        let judgement = own(&[Fail], &[Pass, Fail, Pass, Fail, Pass, Fail, Pass]);
        assert!(
            matches!(&judgement, Judgement::Inconclusive { why } if why.contains("not stable")),
            "{judgement:?}"
        );
    }

    #[test]
    fn without_its_parameters_the_request_must_have_been_red() {
        let like = |before: &[Outcome]| {
            verdict(&[check(Relation::Like, before, &[Pass, Pass, Pass])], 50, None, true)
        };
        assert!(matches!(like(&[]), Judgement::Inconclusive { .. }));
        assert!(is_resolved(&like(&[Fail])));
    }

    #[test]
    fn turning_green_by_itself_needs_more_passes() {
        assert_eq!(own(&[], &[Fail, Pass, Pass, Pass]), Judgement::Open);
        assert!(is_resolved(&own(&[], &[Fail, Pass, Pass, Pass, Pass, Pass, Pass])));
        // With something done in between it is what was hoped for.
        let checks = [check(Relation::Own, &[], &[Fail, Fail, Fail, Pass, Pass, Pass])];
        assert!(is_resolved(&verdict(&checks, 50, Some(103), true)));
        assert_eq!(verdict(&checks, 50, Some(104), true), Judgement::Open);
    }

    #[test]
    fn an_event_during_the_checks_begins_them_anew() {
        let checks = [check(Relation::Own, &[Fail], &[Pass, Pass, Pass])];
        assert_eq!(verdict(&checks, 102, None, true), Judgement::Open);
        assert!(matches!(verdict(&checks, 102, None, false), Judgement::StillFailing { .. }));
    }

    #[test]
    fn who_answers_401_proves_nothing() {
        let judgement = own(&[], &[Unclear]);
        assert!(matches!(judgement, Judgement::Inconclusive { .. }), "{judgement:?}");
        let checks = [
            check(Relation::Own, &[], &[Unclear, Unclear, Unclear]),
            check(Relation::Cause, &[Fail], &[Pass, Pass, Pass]),
        ];
        assert!(is_resolved(&verdict(&checks, 50, None, true)));
    }

    #[test]
    fn without_a_check_it_is_said_what_is_missing() {
        let judgement = verdict(&[], 50, None, true);
        let why = "POST /x changes data: give Lux a probe".to_owned();
        assert_eq!(judgement, Judgement::Inconclusive { why });
    }

    #[test]
    fn the_watch_is_sized_by_the_groups_rate() {
        assert_eq!(watch_for(at(0), at(0), 1), TimeDelta::minutes(15));
        assert_eq!(watch_for(at(0), at(3600), 61), TimeDelta::minutes(20));
        assert_eq!(watch_for(at(0), at(86_400 * 30), 2), TimeDelta::days(7));
    }

    proptest! {
        /// Whatever was measured in whatever order: nothing is resolved with an event after
        /// the moment of the resolution, with a red or missing streak, or by luck alone.
        #[test]
        fn resolved_is_never_said_lightly(
            before in prop::collection::vec(prop::sample::select(vec![Pass, Fail, Unclear]), 0..8),
            fresh in prop::collection::vec(prop::sample::select(vec![Pass, Fail, Unclear]), 0..12),
            last_event in 0_i64..120,
            acted in prop::option::of(90_i64..120),
            relation in prop::sample::select(
                vec![Relation::Own, Relation::Like, Relation::Covers, Relation::Cause]
            ),
            more in any::<bool>(),
        ) {
            let checks = [check(relation, &before, &fresh)];
            if let Judgement::Resolved { since, .. } = verdict(&checks, last_event, acted, more) {
                prop_assert!(since > at(last_event));
                prop_assert!(acted.is_none_or(|acted| since > at(acted)));
                let streak: Vec<_> =
                    checks[0].points.iter().filter(|point| point.at >= since).collect();
                prop_assert!(streak.len() >= 3);
                prop_assert!(streak.iter().all(|point| point.fresh && point.outcome == Pass));
                let reds = checks[0].points.iter().filter(|point| point.outcome == Fail).count();
                let early = checks[0].points.iter().any(|point| {
                    point.outcome == Pass && point.at < at(last_event)
                });
                let own = matches!(relation, Relation::Own | Relation::Covers);
                prop_assert!(reds > 0 || (own && !early));
            }
        }
    }
}
