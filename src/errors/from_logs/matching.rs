//! Which records tell of the same occurrence. Each place (a file, a unit of the journal) tells
//! an occurrence once: ten tracebacks and ten reported events are ten.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::candidate::{Rank, Ready, masked};
use crate::errors::traceback::class;

/// How far apart the times may be that two places give one occurrence. Access logs and
/// nginx have whole seconds.
const WINDOW: TimeDelta = TimeDelta::seconds(2);
/// … if one of them tells no time: then it is when the record was read.
const UNDATED: TimeDelta = TimeDelta::seconds(4);
/// … of a request that both name.
pub(super) const REQUEST: TimeDelta = TimeDelta::minutes(2);
/// … of a crash that systemd and the kernel tell of.
const FAULT: TimeDelta = TimeDelta::seconds(5);
/// The longest request that a line of an access log is believed.
pub(super) const LONGEST: TimeDelta = TimeDelta::minutes(2);

/// An event that is known: stored already, or about to be (then without `id`).
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) id: Option<i64>,
    pub(super) at: DateTime<Utc>,
    pub(super) class: String,
    pub(super) masked: String,
    pub(super) endpoint: Option<String>,
    pub(super) method: Option<String>,
    pub(super) request: Option<String>,
    pub(super) fingerprint: String,
    pub(super) cause: String,
    pub(super) fault: Option<String>,
    /// Where it was seen.
    pub(super) places: HashSet<String>,
}

/// A request of a probe that did not go well.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// Names it over several calls.
    pub(super) key: String,
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) request: Option<String>,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is a sighting of the event at this place of the list.
    Seen(usize),
    /// It is an event, which now stands at this place.
    New(usize),
    /// A probe caused it.
    OfProbe,
    /// It tells of nothing that is known, and is no event by itself.
    Nothing,
}

/// The places in which the failure that each probe caused was seen.
pub(super) type Spent = HashMap<String, HashSet<String>>;

/// Decides on each record, in the order in which they are given: the most telling first.
pub(super) fn decide(
    ready: &[Ready],
    known: &mut Vec<Known>,
    probes: &[Probe],
    spent: &mut Spent,
) -> Vec<Verdict> {
    ready.iter().map(|one| verdict(one, known, probes, spent)).collect()
}

fn verdict(one: &Ready, known: &mut Vec<Known>, probes: &[Probe], spent: &mut Spent) -> Verdict {
    let place = &one.candidate.place;
    if one.candidate.probe {
        return Verdict::OfProbe;
    }
    let found = known
        .iter()
        .enumerate()
        .filter(|(_, event)| !event.places.contains(place))
        .filter_map(|(at, event)| nearness(one, event).map(|near| (near, at)))
        .min();
    // A request that both name is a surer sign than a probe at the same time.
    let certain = found.is_some_and(|((rank, _), _)| rank == 0);
    if !certain && one.candidate.rank != Rank::Host {
        let of = probes.iter().find(|probe| {
            is_of(one, probe) && !spent.get(&probe.key).is_some_and(|seen| seen.contains(place))
        });
        if let Some(probe) = of {
            spent.entry(probe.key.clone()).or_default().insert(place.clone());
            return Verdict::OfProbe;
        }
    }
    if let Some((_, at)) = found {
        known[at].places.insert(place.clone());
        return Verdict::Seen(at);
    }
    if !one.candidate.rank.is_event() {
        return Verdict::Nothing;
    }
    known.push(Known {
        id: None,
        at: one.event.created_at,
        class: class(&one.event.error_type).to_owned(),
        masked: one.masked.clone(),
        endpoint: one.event.endpoint.clone(),
        method: one.event.method.clone(),
        request: one.event.request_id.clone(),
        fingerprint: one.fingerprint.value.clone(),
        cause: one.fingerprint.cause_key.clone(),
        fault: one.candidate.fault.clone(),
        places: HashSet::from([place.clone()]),
    });
    Verdict::New(known.len() - 1)
}

/// How near a record is to an event if it tells of it: by the request first, then by time.
fn nearness(one: &Ready, event: &Known) -> Option<(u8, i64)> {
    let apart = one.candidate.at - event.at;
    let distance = apart.abs().num_microseconds().unwrap_or(i64::MAX);
    let telling = matches!(one.candidate.rank, Rank::Trace | Rank::Message);
    if let (Some(ours), Some(theirs)) = (&one.event.request_id, &event.request) {
        // One request may log two errors, each in its own place.
        let fits = ours == theirs
            && apart.abs() <= REQUEST
            && (!telling || is_same(one, event) || class(&one.event.error_type) == event.class);
        return fits.then_some((0, distance));
    }
    if let (Some(ours), Some(theirs)) = (&one.candidate.fault, &event.fault)
        && ours == theirs
        && apart.abs() <= FAULT
    {
        return Some((1, distance));
    }
    let window = if one.candidate.dated { WINDOW } else { UNDATED };
    if matches!(one.candidate.rank, Rank::Nginx | Rank::Access) {
        let duration = one.candidate.duration.map_or(TimeDelta::zero(), seconds);
        let during = -window <= apart && apart <= window + duration;
        if during
            && event.endpoint.is_some()
            && same_path(one.event.endpoint.as_deref(), event.endpoint.as_deref()) == Some(true)
            && agree(one.event.method.as_deref(), event.method.as_deref())
        {
            return Some((2, distance));
        }
        if one.candidate.rank == Rank::Access {
            return None;
        }
    }
    let fits = apart.abs() <= window
        && is_same(one, event)
        && agree(one.event.method.as_deref(), event.method.as_deref())
        && same_path(one.event.endpoint.as_deref(), event.endpoint.as_deref()) != Some(false);
    fits.then_some((3, distance))
}

/// Whether it is the same error by what is said.
fn is_same(one: &Ready, event: &Known) -> bool {
    one.fingerprint.value == event.fingerprint
        || one.fingerprint.cause_key == event.cause
        || (one.masked == event.masked
            && (class(&one.event.error_type) == event.class || one.masked.len() >= 12))
}

fn agree(ours: Option<&str>, theirs: Option<&str>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
        _ => true,
    }
}

/// Whether two endpoints are one; `None` if that cannot be told: SDKs may name the route.
fn same_path(ours: Option<&str>, theirs: Option<&str>) -> Option<bool> {
    let (ours, theirs) = (bare(ours?)?, bare(theirs?)?);
    Some(ours == theirs)
}

/// The path of an endpoint, if it is one.
fn bare(endpoint: &str) -> Option<&str> {
    let path = match endpoint.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => endpoint,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    (path.starts_with('/') && !path.contains(['<', '{', '*', ':'])).then_some(path)
}

fn is_of(one: &Ready, probe: &Probe) -> bool {
    if let (Some(ours), Some(theirs)) = (&one.event.request_id, &probe.request) {
        return ours == theirs;
    }
    let window = if one.candidate.dated { WINDOW } else { UNDATED };
    let at = one.candidate.at;
    at >= probe.from - window
        && at <= probe.until + window
        && agree(one.event.method.as_deref(), probe.method.as_deref())
        && match (one.event.endpoint.as_deref(), probe.path.as_deref()) {
            (Some(ours), Some(theirs)) => same_path(Some(ours), Some(theirs)) == Some(true),
            // A trace that names no request may be of this one; a mere message may be of anything.
            (None, _) => one.candidate.rank == Rank::Trace,
            (Some(_), None) => false,
        }
}

pub(super) fn seconds(duration: f64) -> TimeDelta {
    let most = LONGEST.as_seconds_f64();
    let bounded = if duration.is_finite() { duration.clamp(0.0, most) } else { 0.0 };
    std::time::Duration::try_from_secs_f64(bounded)
        .ok()
        .and_then(|bounded| TimeDelta::from_std(bounded).ok())
        .unwrap_or_default()
}

/// The masked message of a stored event.
pub(super) fn said(message: &str) -> String {
    masked(message)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Known, Probe, Spent, Verdict, decide};
    use crate::{
        errors::from_logs::candidate::{Candidate, Rank, Ready},
        logs::Severity,
    };

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(milliseconds)
    }

    fn candidate(rank: Rank, place: &str, milliseconds: i64, text: &str) -> Candidate {
        Candidate {
            id: format!("{place}{milliseconds}"),
            rank,
            source: place.to_owned(),
            place: place.to_owned(),
            record: String::new(),
            line: 1,
            at: at(milliseconds),
            dated: true,
            due: 0,
            app: String::new(),
            severity: Severity::Error,
            class: None,
            text: text.to_owned(),
            method: None,
            endpoint: None,
            request: None,
            duration: None,
            probe: false,
            fault: None,
            tags: BTreeMap::new(),
        }
    }

    fn verdicts(candidates: Vec<Candidate>, probes: &[Probe]) -> Vec<Verdict> {
        let now = at(60_000);
        let ready: Vec<Ready> = candidates.into_iter().map(|it| Ready::of(it, now)).collect();
        decide(&ready, &mut Vec::<Known>::new(), probes, &mut Spent::new())
    }

    #[test]
    fn a_place_tells_an_occurrence_once() {
        let say = |place, ms| candidate(Rank::Message, place, ms, "cannot charge the card 17");
        let found = verdicts(vec![say("a", 0), say("a", 1), say("b", 2), say("b", 3)], &[]);
        assert_eq!(found[..2], [Verdict::New(0), Verdict::New(1)]);
        let seen: HashSet<_> = found[2..].iter().map(|it| format!("{it:?}")).collect();
        assert_eq!(seen, HashSet::from(["Seen(0)".to_owned(), "Seen(1)".to_owned()]));
        let late = verdicts(vec![say("a", 0), say("b", 2001)], &[]);
        assert_eq!(late, [Verdict::New(0), Verdict::New(1)]);
    }

    #[test]
    fn requests_tell_occurrences_apart() {
        let say = |place, ms, request: &str| Candidate {
            request: Some(request.to_owned()),
            ..candidate(Rank::Message, place, ms, "cannot charge the card 17")
        };
        let found = verdicts(vec![say("a", 0, "12345678"), say("b", 1, "87654321")], &[]);
        assert_eq!(found, [Verdict::New(0), Verdict::New(1)]);
        let found = verdicts(vec![say("a", 0, "12345678"), say("b", 60_000, "12345678")], &[]);
        assert_eq!(found, [Verdict::New(0), Verdict::Seen(0)]);
    }

    #[test]
    fn an_answer_is_seen_within_its_request_and_is_no_event() {
        let request = |mut it: Candidate, duration| {
            it.endpoint = Some("/pay".to_owned());
            it.method = Some("POST".to_owned());
            it.duration = duration;
            it
        };
        let error = request(candidate(Rank::Message, "app", 0, "cannot charge"), None);
        let answer = candidate(Rank::Access, "nginx", 9000, "500 /pay");
        let short = request(answer.clone(), Some(1.0));
        let long = request(answer, Some(8.5));
        let found = verdicts(vec![error, short, long], &[]);
        assert_eq!(found, [Verdict::New(0), Verdict::Nothing, Verdict::Seen(0)]);
    }

    #[test]
    fn a_probe_explains_one_failure_in_each_place() {
        let probe = Probe {
            key: "7".to_owned(),
            from: at(0),
            until: at(100),
            method: Some("GET".to_owned()),
            path: Some("/pay".to_owned()),
            request: None,
        };
        let error = |ms, path: &str| Candidate {
            endpoint: Some(path.to_owned()),
            ..candidate(Rank::Message, "app", ms, "cannot charge")
        };
        let found = verdicts(vec![error(10, "/pay"), error(20, "/pay"), error(30, "/a")], &[probe]);
        assert_eq!(found, [Verdict::OfProbe, Verdict::New(0), Verdict::New(1)]);
    }

    #[test]
    fn systemd_and_the_kernel_tell_of_one_kill() {
        let killed = |place, ms, class: &str, text| Candidate {
            class: Some(class.to_owned()),
            fault: Some("oom".to_owned()),
            ..candidate(Rank::Host, place, ms, text)
        };
        let kernel =
            killed("kernel", 0, "OutOfMemory", "the kernel killed gunicorn: out of memory");
        let unit =
            killed("shop", 4000, "UnitFailed", "shop.service: failed with result 'oom-kill'");
        assert_eq!(verdicts(vec![kernel, unit], &[]), [Verdict::New(0), Verdict::Seen(0)]);
    }
}
