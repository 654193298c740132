//! From matches to ranked causes: conditions between signals, confidence, folding
//! of effects, order.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Confidence, Diagnosis, Evidence, Finding, Inner, Probe, Role, Scan, Scanned,
    candidate::{Candidate, fill, handed_on},
    family::Family,
    fold,
    playbook::{Grade, Key},
    scan::Source,
    tally::Hit,
    traffic::{Endpoint, Traffic, is_scan, is_unasked},
    traffic_rules, upstream_rules, zones,
};

/// Quotations of a finding.
const QUOTES: usize = 8;
/// What a condition between two records allows between them, in seconds.
const NEAR: i64 = 30;

/// All records that one playbook's signals matched, after conditions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Match {
    pub count: u64,
    pub first: Option<DateTime<Utc>>,
    pub last: Option<DateTime<Utc>>,
    /// Best first.
    pub hits: Vec<(Grade, Hit)>,
}

impl Match {
    pub(crate) fn hits(&self) -> impl Iterator<Item = &Hit> {
        self.hits.iter().map(|(_, hit)| hit)
    }

    pub(crate) fn is_some(&self) -> bool {
        self.count > 0
    }
}

/// Everything the rules look at.
pub(crate) struct View<'a> {
    pub advisor: &'a Inner,
    pub matches: Vec<Match>,
    pub traffic: &'a Traffic,
    pub sources: &'a [Source],
}

impl View<'_> {
    pub(crate) fn index(&self, id: &str) -> Option<usize> {
        self.advisor.playbooks.iter().position(|playbook| playbook.id == id)
    }

    /// What matched a playbook; empty if nothing did.
    pub(crate) fn get(&self, id: &str) -> Match {
        self.index(id).map(|index| self.matches[index].clone()).unwrap_or_default()
    }

    /// The ids of what is told under this candidate where both are present: whatever kept
    /// the application from starting is why it is not there.
    pub(crate) fn explained_by<'v>(
        &'v self,
        candidate: &Candidate,
    ) -> impl Iterator<Item = &'v String> + use<'v> {
        let down = self.advisor.playbooks.iter().find(|book| book.id == "app_not_running");
        let down = down.filter(|_| candidate.at_start);
        let absent = down.into_iter().flat_map(|down| down.explains.iter().chain([&down.id]));
        self.advisor.playbooks[candidate.playbook].explains.iter().chain(absent)
    }

    /// A candidate for `id` with these records as its evidence.
    pub(crate) fn candidate<'h>(
        &self,
        id: &str,
        confidence: Confidence,
        hits: impl Iterator<Item = &'h Hit>,
    ) -> Option<Candidate> {
        let mut candidate = Candidate {
            playbook: self.index(id)?,
            confidence,
            count: 0,
            first: None,
            last: None,
            quotes: Vec::new(),
            captures: BTreeMap::new(),
            requests: Vec::new(),
            effects: Vec::new(),
            only_app: false,
            at_start: false,
        };
        for hit in hits {
            candidate.count += 1;
            candidate.take(hit);
        }
        Some(candidate)
    }
}

/// The end of a scan.
pub(crate) fn conclude(mut scan: Scan, scanned: Scanned, mut notes: Vec<String>) -> Diagnosis {
    let advisor = std::sync::Arc::clone(&scan.advisor);
    zones::align(&mut scan, &mut notes);
    scan.traffic.find_inner();
    let matches = matches(&scan);
    let view = View { advisor: &advisor, matches, traffic: &scan.traffic, sources: &scan.sources };

    let mut candidates = from_signals(&view);
    let explained: HashSet<String> = candidates
        .iter()
        .filter(|candidate| candidate.confidence > Confidence::Inconclusive)
        .flat_map(|candidate| view.explained_by(candidate))
        .cloned()
        .collect();
    candidates.extend(upstream_rules::candidates(&view, &explained));
    candidates.extend(upstream_rules::flapping(&view));
    demote_handled(&mut candidates, &view, &mut notes);
    demote_usual(&mut candidates, &view);
    candidates.extend(traffic_rules::candidates(&view, &candidates));
    merge_same(&mut candidates);
    order(&mut candidates, &view);
    fold::fold(&mut candidates, &view);
    order(&mut candidates, &view);

    let findings: Vec<_> =
        candidates.iter().take(12).map(|candidate| finding(candidate, &view)).collect();
    if findings.iter().all(|finding| finding.confidence < Confidence::Confirmed) {
        notes.extend(scan.unexplained.notes(|index| {
            scan.sources.get(index).map(|source| source.name.clone()).unwrap_or_default()
        }));
    }
    Diagnosis {
        version: super::VERSION,
        scanned,
        healthy: findings.iter().all(|finding| finding.confidence == Confidence::Inconclusive),
        findings,
        notes,
        model: None,
    }
}

/// Applies `near` and `unless`, and gathers the signals of each playbook.
fn matches(scan: &Scan) -> Vec<Match> {
    let advisor = &scan.advisor;
    let mut raw: Vec<Vec<&Hit>> = vec![Vec::new(); advisor.playbooks.len()];
    for (signal, tally) in advisor.matcher.signals.iter().zip(&scan.tallies) {
        raw[signal.playbook].extend(tally.hits());
    }
    let mut matches = vec![Match::default(); advisor.playbooks.len()];
    for (signal, tally) in advisor.matcher.signals.iter().zip(&scan.tallies) {
        if tally.count == 0 {
            continue;
        }
        let within = signal.rule.within.unwrap_or(NEAR);
        let beside = |hit: &Hit, other: usize| {
            raw[other].iter().any(|other| is_beside(hit, other, signal.rule.same, within))
        };
        let conditional = signal.is_conditional();
        let valid: Vec<&Hit> = tally
            .hits()
            .filter(|hit| signal.near.is_none_or(|other| beside(hit, other)))
            .filter(|hit| !signal.unless.is_some_and(|other| beside(hit, other)))
            .collect();
        if valid.is_empty() {
            continue;
        }
        let too_few = tally.count < signal.rule.at_least;
        let into = &mut matches[signal.playbook];
        let (first, last) = if conditional {
            (
                valid.iter().filter_map(|hit| hit.at).min(),
                valid.iter().filter_map(|hit| hit.at).max(),
            )
        } else {
            (tally.first, tally.last)
        };
        into.first = [into.first, first].into_iter().flatten().min();
        into.last = into.last.max(last);
        into.hits.extend(valid.into_iter().map(|hit| {
            let scan = hit.family == Family::Nginx
                && hit.request.as_ref().is_some_and(|(_, path)| is_scan(path));
            let grade = match (signal.rule.grade, hit.weak || scan) {
                _ if too_few => Grade::Hint,
                (Grade::Proof, true) => Grade::Strong,
                (_, true) => Grade::Hint,
                (grade, false) => grade,
            };
            (grade, hit.clone())
        }));
    }
    for (index, found) in matches.iter_mut().enumerate() {
        if !found.hits.is_empty() {
            // what only conditional signals show is known by the records that were kept
            let kept: HashSet<_> =
                found.hits.iter().map(|(_, hit)| (hit.source, hit.line)).collect();
            found.count = match scan.records[index].count() {
                0 => kept.len() as u64,
                count => count,
            };
        }
        // the firm ones first, else in the order of the logs
        found.hits.sort_by_key(|(grade, _)| std::cmp::Reverse(*grade));
    }
    matches
}

fn is_beside(one: &Hit, other: &Hit, same: Option<Key>, within: i64) -> bool {
    let shares = match same {
        None => true,
        Some(Key::Pid) => one.pid.is_some() && one.pid == other.pid,
        Some(Key::Unit) => one.unit.is_some() && one.unit == other.unit,
        Some(Key::Upstream) => one.upstream.is_some() && one.upstream == other.upstream,
    };
    let close = match (one.at, other.at) {
        (Some(a), Some(b)) => (a - b).abs() <= TimeDelta::seconds(within),
        // without times the shared key must do
        _ => true,
    };
    shares && close
}

/// Lines between what kept a server from starting and its word that it did not start: a
/// traceback may stand on either side.
const AT_START: u64 = 60;

/// Whether what was found stands beside a failed start.
fn is_at_start(found: &Match, failed_starts: &Match) -> bool {
    failed_starts.hits().any(|failed| {
        found
            .hits()
            .any(|hit| hit.source == failed.source && hit.line.abs_diff(failed.line) <= AT_START)
    })
}

fn from_signals(view: &View<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let failed_starts = view.get("worker_failed_to_boot");
    for (playbook, found) in view.advisor.playbooks.iter().zip(&view.matches) {
        if playbook.role != Role::Cause || !found.is_some() {
            continue;
        }
        let best = found.hits.iter().map(|(grade, _)| *grade).max().unwrap_or(Grade::Hint);
        let strong_families: HashSet<Family> = found
            .hits
            .iter()
            .filter(|(grade, _)| *grade >= Grade::Strong)
            .map(|(_, hit)| hit.family)
            .collect();
        let confidence = match best {
            Grade::Proof => Confidence::Confirmed,
            Grade::Strong if strong_families.len() > 1 => Confidence::Confirmed,
            Grade::Strong => Confidence::Likely,
            Grade::Hint => Confidence::Inconclusive,
        };
        if let Some(mut candidate) =
            view.candidate(&playbook.id, confidence, spread(found).into_iter())
        {
            candidate.count = found.count;
            candidate.first = found.first;
            candidate.last = found.last;
            candidate.at_start = is_at_start(found, &failed_starts);
            candidate.only_app = found.hits().all(|hit| {
                matches!(hit.family, Family::App | Family::Postgres | Family::Statement)
            });
            candidates.push(candidate);
        }
    }
    candidates
}

/// The records to quote: the best of each log in turn, so that all programs are heard.
fn spread(found: &Match) -> Vec<&Hit> {
    let mut by_source: Vec<(usize, Vec<&Hit>)> = Vec::new();
    for hit in found.hits() {
        match by_source.iter_mut().find(|(source, _)| *source == hit.source) {
            Some((_, hits)) => hits.push(hit),
            None => by_source.push((hit.source, vec![hit])),
        }
    }
    let mut chosen = Vec::new();
    let mut said: HashMap<(usize, &str), usize> = HashMap::new();
    for round in 0..found.hits.len() {
        for (source, hits) in &by_source {
            if let Some(hit) = hits.get(round) {
                let times = said.entry((*source, hit.text.as_ref())).or_default();
                *times += 1;
                if *times <= 2 {
                    chosen.push(*hit);
                }
            }
        }
    }
    chosen
}

/// What only the application logged, while every request about that time was answered, is no
/// trouble of its users: it was handled, or is over.
fn demote_handled(candidates: &mut [Candidate], view: &View<'_>, notes: &mut Vec<String>) {
    let outer: Vec<_> =
        view.traffic.endpoints.values().filter(|endpoint| !endpoint.inner).collect();
    let answered: u64 = outer.iter().map(|endpoint| endpoint.count(100..=599)).sum();
    let failed: u64 = outer.iter().map(|endpoint| endpoint.count(500..=599)).sum();
    let left: u64 = outer.iter().map(|endpoint| endpoint.count(499..=499)).sum();
    if answered < 10 || left > 0 {
        return;
    }
    let listening = view.get("server_listening").last.max(view.get("program_listening").last);
    for candidate in candidates {
        let playbook = &view.advisor.playbooks[candidate.playbook];
        let refused = playbook.answers.iter().any(|&status| {
            let unusual = outer.iter().filter(|endpoint| !endpoint.is_usual(status..=status));
            unusual.map(|endpoint| endpoint.count(status..=status)).sum::<u64>() >= 2
        });
        // a server that does not start, and has not started since, is no matter of requests
        let down = view.explained_by(candidate).any(|id| id == "worker_failed_to_boot")
            && (listening.is_none() || listening <= candidate.last);
        if candidate.only_app
            && !playbook.background
            && !refused
            && !down
            && candidate.confidence > Confidence::Inconclusive
            && (failed == 0
                || !view.matches[candidate.playbook]
                    .hits()
                    .any(|hit| view.traffic.failed_near(hit.at)))
        {
            candidate.confidence = Confidence::Inconclusive;
            notes.push(format!(
                "\"{}\" was logged, but no request failed: it was handled, or is over.",
                playbook.title
            ));
        }
    }
}

/// Refusals that are few, spread over a long time and beside answers that succeed are a rule at
/// its work.
fn demote_usual(candidates: &mut [Candidate], view: &View<'_>) {
    let failed = view.traffic.endpoints.values().any(|endpoint| endpoint.count(500..=599) > 0);
    for candidate in candidates {
        let answers = &view.advisor.playbooks[candidate.playbook].answers;
        let mut hits = view.matches[candidate.playbook].hits();
        if failed && hits.any(|hit| view.traffic.failed_near(hit.at)) {
            continue;
        }
        let (mut usual, mut unusual) = (0, 0);
        let asked = |endpoint: &&Endpoint| !endpoint.inner && !is_unasked(&endpoint.path);
        for endpoint in view.traffic.endpoints.values().filter(asked) {
            for &status in answers.iter().filter(|status| **status >= 400) {
                let count = endpoint.count(status..=status);
                *(if endpoint.is_usual(status..=status) { &mut usual } else { &mut unusual }) +=
                    count;
            }
        }
        if usual > 0 && unusual < 2 {
            candidate.confidence = Confidence::Inconclusive;
        }
    }
}

/// A cause that signals and rules both found is one.
fn merge_same(candidates: &mut Vec<Candidate>) {
    let mut merged: Vec<Candidate> = Vec::new();
    for candidate in candidates.drain(..) {
        if let Some(own) = merged.iter_mut().find(|own| own.playbook == candidate.playbook) {
            own.confidence = own.confidence.max(candidate.confidence);
            own.count = own.count.max(candidate.count);
            own.first = [own.first, candidate.first].into_iter().flatten().min();
            own.last = own.last.max(candidate.last);
            own.quotes.extend(candidate.quotes);
            own.requests.extend(candidate.requests);
            own.requests.truncate(3);
            for (name, values) in candidate.captures {
                for value in values {
                    own.capture(&name, &value);
                }
            }
        } else {
            merged.push(candidate);
        }
    }
    *candidates = merged;
}

/// Most certain first, then most harmful, then what began first.
fn order(candidates: &mut [Candidate], view: &View<'_>) {
    let playbook = |candidate: &Candidate| &view.advisor.playbooks[candidate.playbook];
    candidates.sort_by(|a, b| {
        b.confidence
            .cmp(&a.confidence)
            .then(playbook(a).generality.cmp(&playbook(b).generality))
            .then(playbook(b).severity.cmp(&playbook(a).severity))
            .then(b.count.cmp(&a.count))
            .then(a.first.cmp(&b.first))
    });
}

fn finding(candidate: &Candidate, view: &View<'_>) -> Finding {
    let playbook = &view.advisor.playbooks[candidate.playbook];
    let fill = |text: &String| fill(text, candidate);
    let name_of = |index: usize| {
        view.sources.get(index).map(|source| source.name.clone()).unwrap_or_default()
    };
    Finding {
        cause: playbook.id.clone(),
        title: fill(&playbook.title),
        component: fill(&playbook.component),
        confidence: candidate.confidence,
        severity: playbook.severity,
        explanation: capitalised(&fill(&playbook.explanation)),
        first_seen: candidate.first,
        last_seen: candidate.last,
        count: candidate.count,
        evidence: candidate
            .quotes
            .iter()
            .take(QUOTES)
            .map(|quote| Evidence {
                source: name_of(quote.source),
                line: quote.line,
                text: quote.text.clone(),
            })
            .collect(),
        effects: candidate.effects.clone(),
        fix: playbook.fix.iter().map(fill).collect(),
        probes: candidate
            .requests
            .iter()
            .map(|(method, path)| Probe {
                method: method.clone(),
                path: path.clone(),
                expect_status: traffic_rules::good_status(view.traffic, method, path),
            })
            .collect(),
        docs: playbook.docs.clone(),
        captured: handed_on(&candidate.captures),
        deploy: None,
    }
}

/// Explanations begin with what was captured, or with a small letter.
fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        if text.starts_with(['/', '{']) {
            return text.to_owned();
        }
        first.to_uppercase().chain(chars).collect()
    })
}
