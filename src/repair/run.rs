//! The reconciler: carries a run from wherever it stands to its end. It has no input
//! but the database, so it goes on after a crash as if nothing had happened, and it is
//! the one way for chat, API, CLI and schedule.
//!
//! Round after round the checks of all groups without a verdict run, each distinct probe
//! once; then every group is judged. Where a cause is seen to be live and an action may
//! mend it, the action runs (or waits for approval) and only later results count.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{
    Repair, cases,
    checks::{Checks, Chooser, Wanted},
    rhythm::Rhythm,
    store::{
        attempts::{self, Subject},
        recipes,
        runs::{self, Cause, NewCause, Run, Status},
        watches,
    },
    verdict::{self, Check, Facts, Judgement, Point, Relation, Verdict},
};
use crate::{
    clock,
    error::Result,
    errors::store::{events, groups},
    jobs::{Done, Lease},
    probe::{Context, Failing, Phase, Probe, Sample},
};

/// Probes that run at the same time.
const AT_ONCE: usize = 4;

/// Rounds for which an undecided check is waited for.
const ROUNDS: u32 = 40;

/// How long another run of the organization is waited for until looking again.
const TURN: Duration = Duration::from_millis(500);

/// Results of a probe that are looked back on.
const HISTORY: i64 = 200;

/// Events of a group that its rhythm is read from.
const BEATS: i64 = 100;

/// How often a run is taken up after breaking off.
pub(super) const TRIES: u32 = 50;

/// So often in a day a resolution may break; then people decide.
const BREAKS: i64 = 3;

/// What a round works on.
pub(super) struct Work {
    pub(super) causes: Vec<Cause>,
    checks: HashMap<i64, Checks>,
    /// By key, oldest first.
    results: HashMap<String, Vec<Sample>>,
}

impl Repair {
    /// Carries a run on; the job's handler.
    pub(super) async fn drive(&self, lease: &Lease, id: i64) -> Result<Done> {
        let Some(run) = runs::load(&self.app.db, id).await? else { return Ok(Done::Finished) };
        if matches!(run.status, Status::Done | Status::Failed) {
            return Ok(Done::Finished);
        }
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        if lease.attempt >= TRIES {
            let note = "it broke off too often; Lux's own log says why";
            runs::end(&mut tx, id, Status::Failed, Some(note), clock::now()).await?;
            tx.commit().await?;
            return Ok(Done::Finished);
        }
        if !runs::begin(&mut tx, &run, clock::now()).await? {
            return Ok(Done::Again(TURN));
        }
        if run.status == Status::Waiting {
            attempts::take_up(&mut tx, id).await?;
        }
        tx.commit().await?;
        let Some(run) = runs::load(&self.app.db, id).await? else { return Ok(Done::Finished) };
        if runs::causes(&self.app.db, id).await?.is_empty() {
            self.open(lease, &run).await?;
        }
        if !self.work(lease, &run).await? {
            return Ok(Done::Again(Duration::ZERO));
        }
        self.close(lease, &run).await?;
        Ok(Done::Finished)
    }

    /// Diagnoses, and stores causes, plans and attempts in one transaction.
    async fn open(&self, lease: &Lease, run: &Run) -> Result<()> {
        self.tell(run.id, "started", json!({ "trigger": run.trigger })).await;
        let organization = run.organization();
        let cases =
            cases::collect(&self.app.db, &self.diagnoser, organization, &run.scope()).await?;
        let plans = self.plans(organization, &cases).await?;
        let now = clock::now();
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        for (case, plan) in cases.iter().zip(&plans) {
            let new = NewCause {
                app: &case.app,
                cause: case.cause(),
                title: &case.title,
                confidence: case.confidence(),
                finding: case.finding.as_ref().map(to_json).transpose()?,
                plan: to_json(plan)?,
            };
            let cause = runs::add_cause(&mut tx, run.id, new).await?;
            for group in &case.groups {
                let (group, error) = (group.group_id, group.event_id);
                attempts::add(&mut tx, organization, run.id, cause, group, error, now).await?;
            }
        }
        runs::count(&mut tx, run.id).await?;
        tx.commit().await?;
        let told: Vec<Value> = cases
            .iter()
            .map(|case| {
                json!({ "cause": case.cause(), "title": case.title, "app": case.app,
                        "confidence": case.confidence(), "groups": case.groups.len() })
            })
            .take(100)
            .collect();
        let groups: usize = cases.iter().map(|case| case.groups.len()).sum();
        self.tell(run.id, "diagnosed", json!({ "groups": groups, "causes": told })).await;
        Ok(())
    }

    /// Rounds until every group has a verdict; false if it has to stop before.
    async fn work(&self, lease: &Lease, run: &Run) -> Result<bool> {
        let mut work = self.prepare(run).await?;
        let repair = &self.app.config.repair;
        let mut begun: HashMap<i64, Instant> = HashMap::new();
        let patience = repair.spacing * ROUNDS;
        for round in 0_u32.. {
            let round_begun = clock::instant();
            let open = self.open_subjects(run).await?;
            if open.is_empty() {
                return Ok(true);
            }
            self.sample(run, &open, &mut work).await?;
            // What came in while the probes ran counts.
            let open = self.open_subjects(run).await?;
            let mut unproven: BTreeMap<i64, Vec<(Subject, Judgement)>> = BTreeMap::new();
            for subject in open {
                let since = *begun.entry(subject.cause_id).or_insert(round_begun);
                let more = round_begun.duration_since(since) < patience;
                let judgement = self.judge(run, &subject, &work, more).await?;
                match judgement {
                    Judgement::Open => {}
                    Judgement::Resolved { since, why } => {
                        self.resolve(lease, run, &subject, &work, since, &why).await?;
                    }
                    unproven_one => {
                        unproven.entry(subject.cause_id).or_default().push((subject, unproven_one));
                    }
                }
            }
            for (cause, groups) in unproven {
                if self.act(lease, run, &mut work, cause, groups).await? {
                    begun.insert(cause, clock::instant());
                }
            }
            let mut tx = self.app.db.begin().await?;
            lease.hold(&mut tx).await?;
            runs::count(&mut tx, run.id).await?;
            tx.commit().await?;
            if let Some(run) = runs::load(&self.app.db, run.id).await? {
                let figures = json!({ "round": round + 1, "total": run.total,
                                      "tested": run.tested, "resolved": run.resolved });
                self.tell(run.id, "round", figures).await;
                if run.tested == run.total {
                    return Ok(true);
                }
            }
            let rest = repair.spacing.saturating_sub(round_begun.elapsed());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = lease.lost.cancelled() => return Ok(false),
                () = self.app.shutdown.cancelled() => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn open_subjects(&self, run: &Run) -> Result<Vec<Subject>> {
        let mut subjects = attempts::subjects(&self.app.db, run.id).await?;
        subjects.retain(|subject| subject.verdict.is_none());
        Ok(subjects)
    }

    /// Chooses the checks, and reads what is known of them.
    async fn prepare(&self, run: &Run) -> Result<Work> {
        let organization = run.organization();
        let causes = runs::causes(&self.app.db, run.id).await?;
        let chooser = Chooser::new(&self.app, &self.probes, &self.diagnoser, organization).await?;
        let mut work = Work { causes, checks: HashMap::new(), results: HashMap::new() };
        let open = self.open_subjects(run).await?;
        let groups: Vec<i64> = open.iter().map(|subject| subject.group_id).collect();
        let own = chooser.own(organization, &groups).await?;
        for subject in open {
            let cause = work.cause(subject.cause_id);
            let captured = cause.map(Cause::captured).unwrap_or_default();
            let wanted = Wanted {
                app: &subject.app,
                method: subject.method.as_deref(),
                endpoint: subject.endpoint.as_deref(),
                requested: subject.requested.as_deref(),
                cause: cause.map_or("unknown", |cause| &cause.cause),
                own: own.get(&subject.group_id),
                captured: &captured,
            };
            let checks = chooser.choose(&wanted).await;
            for (_, probe) in &checks.probes {
                if let Entry::Vacant(place) = work.results.entry(probe.key()) {
                    let since = subject.live_since;
                    let known = self.probes.history(organization, place.key(), since, HISTORY);
                    let mut known = known.await?;
                    known.reverse();
                    place.insert(known);
                }
            }
            work.checks.insert(subject.attempt_id, checks);
        }
        Ok(work)
    }

    /// Runs each distinct probe of the open groups once.
    async fn sample(&self, run: &Run, open: &[Subject], work: &mut Work) -> Result<()> {
        let mut wanted: Vec<(Probe, Failing, Phase)> = Vec::new();
        let mut seen = HashSet::new();
        for subject in open {
            let acted_at = work.cause(subject.cause_id).and_then(|cause| cause.acted_at);
            let Some(checks) = work.checks.get(&subject.attempt_id) else { continue };
            for (_, probe) in &checks.probes {
                let key = probe.key();
                let first = work.results.get(&key).is_none_or(|results| {
                    !results.iter().any(|sample| run.started_at.is_some_and(|at| sample.at >= at))
                });
                if seen.insert(key) {
                    let phase =
                        if first && acted_at.is_none() { Phase::Before } else { Phase::After };
                    let failing = Failing {
                        error_type: subject.error_type.clone(),
                        message: subject.error_message.clone(),
                        ..Failing::default()
                    };
                    wanted.push((probe.clone(), failing, phase));
                }
            }
        }
        let organization = run.organization();
        let samples: Vec<Result<Sample>> = stream::iter(wanted)
            .map(|(probe, failing, phase)| async move {
                let context =
                    Context { organization, attempt: Some(run.id), phase, failing: Some(&failing) };
                self.probes.run(&probe, &context).await
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for sample in samples {
            let sample = sample?;
            work.results.entry(sample.key.clone()).or_default().push(sample);
        }
        Ok(())
    }

    async fn judge(
        &self,
        run: &Run,
        subject: &Subject,
        work: &Work,
        more: bool,
    ) -> Result<Judgement> {
        use groups::Status as Group;
        if !matches!(subject.status, Group::Unresolved | Group::Regressed) {
            let why = format!("an operator set it to {} meanwhile", subject.status);
            return Ok(Judgement::Inconclusive { why });
        }
        let day = clock::now() - TimeDelta::days(1);
        if subject.status == Group::Regressed
            && attempts::broken(&self.app.db, subject.group_id, day).await? >= BREAKS
        {
            return Ok(Judgement::Inconclusive {
                why: format!(
                    "it came back {BREAKS} times within a day after it was resolved; confirm by \
                     hand once it stays away"
                ),
            });
        }
        let empty = Checks::default();
        let checks = work.checks.get(&subject.attempt_id).unwrap_or(&empty);
        let weighed: Vec<Check> = checks
            .probes
            .iter()
            .map(|(relation, probe)| work.check(run, subject, *relation, probe))
            .collect();
        let facts = Facts {
            checks: &weighed,
            last_event: latest(subject.last_seen),
            rhythm: &Rhythm::default(),
            acted_at: work.cause(subject.cause_id).and_then(|cause| cause.acted_at),
            missing: &checks.missing,
            passes: self.app.config.repair.passes,
            more,
        };
        let judgement = verdict::judge(&facts);
        if !matches!(judgement, Judgement::Resolved { .. }) {
            return Ok(judgement);
        }
        // Looked up only where it decides.
        let times = events::times(&self.app.db, subject.group_id, subject.live_since, BEATS);
        let rhythm = Rhythm::new(times.await?);
        Ok(verdict::judge(&Facts { rhythm: &rhythm, ..facts }))
    }

    /// One transaction: evidence, verdict, the group's state, its watch.
    async fn resolve(
        &self,
        lease: &Lease,
        run: &Run,
        subject: &Subject,
        work: &Work,
        since: DateTime<Utc>,
        why: &str,
    ) -> Result<()> {
        let now = clock::now();
        let organization = run.organization();
        let cause = work.cause(subject.cause_id);
        let by = format!("repair run {}", run.id);
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        let evidence = attempts::add_evidence(&mut tx, organization, why, &by, now).await?;
        let resolved =
            attempts::resolve(&mut tx, organization, subject.group_id, evidence, since).await?;
        if !resolved {
            // An event came, or an operator decided, at this very moment: the next round sees it.
            return Ok(());
        }
        let checks = work.shown(run, subject);
        let id = subject.attempt_id;
        let verdict = Verdict::Resolved;
        if !attempts::judge(&mut tx, id, verdict, why, checks, Some(evidence), now).await? {
            return Ok(());
        }
        let span = verdict::watch_for(subject.first_seen, subject.last_seen, subject.count);
        let new = watches::NewWatch {
            organization,
            group: subject.group_id,
            attempt: id,
            cause: cause.map_or("unknown", |cause| &cause.cause),
            recipe: cause.and_then(|cause| cause.action.as_deref()).unwrap_or("by hand"),
            started_at: since,
            ends_at: since + span,
        };
        watches::begin(&mut tx, &new).await?;
        tx.commit().await?;
        let notes = json!({
            "status": "resolved", "why": why, "run_id": run.id, "attempt_id": id,
            "evidence_id": evidence, "cause": new.cause, "fixed_by": new.recipe,
            "resolved_at": now, "watched_until": new.ends_at,
        });
        self.mark(subject.group_id, evidence, &notes.to_string(), since).await?;
        self.tell_verdict(run, subject, verdict, why).await;
        Ok(())
    }

    async fn mark(
        &self,
        group: i64,
        evidence: i64,
        notes: &str,
        until: DateTime<Utc>,
    ) -> Result<()> {
        let mut after = (DateTime::UNIX_EPOCH, 0);
        while let Some(last) =
            attempts::mark_events(&self.app.db, group, evidence, notes, until, after).await?
        {
            after = last;
        }
        Ok(())
    }

    async fn close(&self, lease: &Lease, run: &Run) -> Result<()> {
        let attempts = attempts::of_run(&self.app.db, run.id).await?;
        let waits =
            attempts.iter().any(|attempt| attempt.verdict == Some(Verdict::AwaitingApproval));
        let status = if waits { Status::Waiting } else { Status::Done };
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        // What an action that ran and did not help is worth; once, when all is said about it.
        let causes = match status {
            Status::Done => runs::causes(&self.app.db, run.id).await?,
            _ => Vec::new(),
        };
        for cause in causes {
            let of_cause = attempts.iter().filter(|attempt| attempt.cause_id == cause.id);
            let failed = of_cause.clone().any(|a| a.verdict == Some(Verdict::StillFailing));
            let helped = of_cause.clone().any(|a| a.verdict == Some(Verdict::Resolved));
            if let (Some(action), true, false) = (&cause.action, failed, helped) {
                recipes::count(&mut tx, run.organization_id, &cause.cause, action, false).await?;
            }
        }
        runs::end(&mut tx, run.id, status, None, clock::now()).await?;
        tx.commit().await?;
        if let Some(run) = runs::load(&self.app.db, run.id).await? {
            let figures = json!({ "status": run.status, "total": run.total,
                                  "resolved": run.resolved, "unresolved": run.unresolved });
            self.tell(run.id, "finished", figures).await;
        }
        metrics::counter!("lux_repair_runs_total").increment(1);
        Ok(())
    }

    pub(super) async fn tell_verdict(
        &self,
        run: &Run,
        subject: &Subject,
        verdict: Verdict,
        why: &str,
    ) {
        let told = json!({ "group_id": subject.group_id, "error_id": subject.error_id,
                           "title": subject.title, "status": verdict, "why": why });
        self.tell(run.id, "verdict", told).await;
    }
}

impl Work {
    pub(super) fn cause(&self, id: i64) -> Option<&Cause> {
        self.causes.iter().find(|cause| cause.id == id)
    }

    fn check(&self, run: &Run, subject: &Subject, relation: Relation, probe: &Probe) -> Check {
        let results = self.results.get(&probe.key()).map_or(&[][..], Vec::as_slice);
        let live: Vec<&Sample> =
            results.iter().filter(|sample| sample.at >= subject.live_since).collect();
        let fresh = |at| run.started_at.is_some_and(|started| at >= started);
        Check {
            name: probe.name.clone(),
            relation,
            points: live
                .iter()
                .map(|sample| Point {
                    at: sample.at,
                    outcome: sample.outcome,
                    fresh: fresh(sample.at),
                })
                .collect(),
            said: live.last().map(|sample| sample.why.clone()).unwrap_or_default(),
        }
    }

    /// The results of this run that a group was judged by, as its attempt keeps them.
    pub(super) fn shown(&self, run: &Run, subject: &Subject) -> Value {
        /// Results that are kept of each probe: the first and the last ones.
        const MOST: usize = 8;
        let Some(checks) = self.checks.get(&subject.attempt_id) else { return json!([]) };
        let mut shown = Vec::new();
        let acted_at = self.cause(subject.cause_id).and_then(|cause| cause.acted_at);
        for (relation, probe) in &checks.probes {
            let results = self.results.get(&probe.key()).map_or(&[][..], Vec::as_slice);
            let fresh: Vec<&Sample> = results
                .iter()
                .filter(|sample| run.started_at.is_some_and(|started| sample.at >= started))
                .collect();
            for (index, sample) in fresh.iter().enumerate() {
                if index >= MOST / 2 && index + MOST / 2 < fresh.len() {
                    continue;
                }
                let before = acted_at.map_or(index == 0, |acted_at| sample.at <= acted_at);
                shown.push(json!({
                    "when": if before { "before" } else { "after" },
                    "name": probe.name,
                    "relation": relation,
                    "passed": sample.outcome == crate::probe::Outcome::Pass,
                    "outcome": sample.outcome,
                    "status_code": sample.status,
                    "latency_ms": sample.latency_ms,
                    "why": sample.why,
                    "at": sample.at,
                    "result_id": sample.id,
                }));
            }
        }
        Value::Array(shown)
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<Value> {
    Ok(serde_json::to_value(value).map_err(anyhow::Error::from)?)
}

/// SQL's `current_timestamp` on SQLite has no fraction: such an event may have come later
/// in its second than a probe that seems to follow it.
fn latest(at: DateTime<Utc>) -> DateTime<Utc> {
    if at.timestamp_subsec_micros() == 0 { at + TimeDelta::microseconds(999_999) } else { at }
}
