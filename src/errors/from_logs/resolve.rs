//! Deciding on the records that are held, when they are due.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{
    FromLogs,
    candidate::{Candidate, Ready},
    matching::{self, Known, Probe, Spent, Verdict},
    store,
};
use crate::{
    auth::OrganizationId,
    clock,
    db::{self, Db},
    error::Error,
    errors::{Capture, traceback::class},
};

/// How often is looked what is due.
const LOOK: Duration = Duration::from_millis(500);
/// The longest pause while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Records that are decided on together.
const BATCH: i64 = 500;
/// … and how far apart they may be: all events between them are looked at.
const SPAN: TimeDelta = TimeDelta::seconds(30);
/// Probes whose failures are remembered to have been seen.
const MAX_SPENT: usize = 10_000;

/// What logs tell belongs to the first organization, like the configuration.
const ORGANIZATION: OrganizationId = OrganizationId::FIRST;

/// Decides until the shutdown. What is held then waits for the next start.
pub(super) async fn run(from: FromLogs, capture: Capture, shutdown: CancellationToken) {
    let mut spent = Spent::new();
    let mut pause = LOOK;
    loop {
        let held = from.0.held.load(Relaxed) > 0 || from.0.unknown.load(Relaxed);
        let wait = async {
            if held {
                tokio::time::sleep(pause).await;
            } else {
                from.0.wake.notified().await;
            }
        };
        if shutdown.run_until_cancelled(wait).await.is_none() {
            return;
        }
        if !held {
            continue;
        }
        let Some(step) = shutdown.run_until_cancelled(step(&from, &capture, &mut spent)).await
        else {
            return;
        };
        pause = match step {
            Ok(decided) if decided >= BATCH.unsigned_abs() => Duration::ZERO,
            Ok(_) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "records of logs wait to be decided on");
                (pause.max(LOOK) * 2).min(LONGEST_PAUSE)
            }
        };
    }
}

/// Decides on some of what is due; gives how many records that were.
async fn step(from: &FromLogs, capture: &Capture, spent: &mut Spent) -> Result<u64, Error> {
    let (db, host) = (&from.0.db, &from.0.host);
    if from.0.unknown.load(Relaxed) {
        let _books = from.0.books.lock().await;
        let count = store::count(db, host).await?;
        from.0.held.store(count.unsigned_abs(), Relaxed);
        from.0.unknown.store(false, Relaxed);
    }
    let now = clock::now();
    let due = store::due(db, host, now.timestamp_micros(), BATCH).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let count = due.len() as u64;
    let answers = read(store::answers(db, host).await?).0;
    let (candidates, unreadable) = read(due);
    if !unreadable.is_empty() {
        let ids: Vec<&str> = unreadable.iter().map(String::as_str).collect();
        let_go(from, &[], &ids).await?;
        from.drop_some(ids.len() as u64);
    }
    // Reading traces is work for a processor.
    let ready = tokio::task::spawn_blocking(move || {
        candidates.into_iter().map(|candidate| Ready::of(candidate, now)).collect()
    });
    let ready: Vec<Ready> = ready.await.map_err(anyhow::Error::from)?;
    for part in parts(ready) {
        settle(from, capture, part, &answers, spent).await?;
    }
    if spent.len() > MAX_SPENT {
        spent.clear();
    }
    Ok(count)
}

fn read(held: Vec<store::Held>) -> (Vec<Candidate>, Vec<String>) {
    let (mut candidates, mut unreadable) = (Vec::new(), Vec::new());
    for row in held {
        match serde_json::from_str(&row.body) {
            Ok(candidate) => candidates.push(candidate),
            Err(error) => {
                tracing::warn!(%error, "a held record cannot be read and is dropped");
                unreadable.push(row.id);
            }
        }
    }
    (candidates, unreadable)
}

/// Parts of one application and of a short time each.
fn parts(mut ready: Vec<Ready>) -> Vec<Vec<Ready>> {
    ready.sort_by(|a, b| (&a.event.app, a.candidate.at).cmp(&(&b.event.app, b.candidate.at)));
    let mut parts: Vec<Vec<Ready>> = Vec::new();
    for one in ready {
        match parts.last_mut() {
            Some(part)
                if part[0].event.app == one.event.app
                    && one.candidate.at - part[0].candidate.at <= SPAN =>
            {
                part.push(one);
            }
            _ => parts.push(vec![one]),
        }
    }
    for part in &mut parts {
        part.sort_by_key(|one| (one.candidate.rank, one.candidate.at));
    }
    parts
}

async fn settle(
    from: &FromLogs,
    capture: &Capture,
    part: Vec<Ready>,
    answers: &[Candidate],
    spent: &mut Spent,
) -> Result<(), Error> {
    let db = &from.0.db;
    let done = already(db, &part).await?;
    let (part, repeated): (Vec<Ready>, Vec<Ready>) =
        part.into_iter().partition(|one| !done.contains(&one.candidate.id));
    let mut decided: Vec<&str> = repeated.iter().map(|one| one.candidate.id.as_str()).collect();
    let (mut known, probes) = around(db, &part, answers, spent).await?;
    let verdicts = matching::decide(&part, &mut known, &probes, spent);

    let new: Vec<(usize, &Ready)> = part
        .iter()
        .zip(&verdicts)
        .filter_map(|(one, verdict)| match verdict {
            Verdict::New(at) => Some((*at, one)),
            _ => None,
        })
        .collect();
    let events = new.iter().map(|(_, one)| one.reported()).collect();
    let mut refused: HashSet<usize> = HashSet::new();
    let mut counted: HashSet<usize> = HashSet::new();
    let mut away = None;
    for ((at, _), outcome) in new.iter().zip(capture.record(ORGANIZATION, events).await) {
        match outcome {
            Ok(recorded) => match recorded.id() {
                Some(id) => known[*at].id = Some(id),
                // Counted and not kept: there is nothing that records could be tied to.
                None => {
                    counted.insert(*at);
                }
            },
            Err(error @ Error::Unavailable(_)) => away = Some(error),
            Err(error) => {
                tracing::warn!(%error, "a record of a log cannot be stored as an event");
                refused.insert(*at);
            }
        }
    }
    from.drop_some(refused.len() as u64);

    let mut seen = Vec::new();
    let (mut captured, mut joined, mut of_probes) = (0, 0, 0);
    for (one, verdict) in part.iter().zip(&verdicts) {
        let candidate = &one.candidate;
        match verdict {
            Verdict::Seen(at) | Verdict::New(at) => {
                let Some(event) = known[*at].id else {
                    if refused.contains(at) || counted.contains(at) {
                        decided.push(&candidate.id);
                    }
                    // Else it is held until the database is back.
                    continue;
                };
                if matches!(verdict, Verdict::New(_)) {
                    captured += 1;
                } else {
                    joined += 1;
                }
                seen.push(store::Seen {
                    event,
                    source: &candidate.source,
                    place: &candidate.place,
                    record: &candidate.record,
                    line: candidate.line.cast_signed(),
                    at: candidate.at.to_rfc3339_opts(SecondsFormat::AutoSi, false),
                });
            }
            Verdict::OfProbe => of_probes += 1,
            Verdict::Nothing => {}
        }
        decided.push(&candidate.id);
    }
    let_go(from, &seen, &decided).await?;
    let counts = &from.0.counts;
    counts.captured.fetch_add(captured, Relaxed);
    counts.joined.fetch_add(joined, Relaxed);
    counts.of_probes.fetch_add(of_probes, Relaxed);
    metrics::counter!("lux_log_events_captured_total").increment(captured);
    metrics::counter!("lux_log_events_joined_total").increment(joined);
    metrics::counter!("lux_log_events_of_probes_total").increment(of_probes);
    away.map_or(Ok(()), Err)
}

/// Notes what was seen, and lets the records go.
async fn let_go(from: &FromLogs, seen: &[store::Seen<'_>], decided: &[&str]) -> db::Result<()> {
    let _books = from.0.books.lock().await;
    let gone = store::settle(&from.0.db, seen, decided).await?;
    let held = from.0.held.load(Relaxed);
    from.0.held.store(held.saturating_sub(gone), Relaxed);
    Ok(())
}

/// Ids of candidates that were decided on in an earlier life, or by a crash not to the end:
/// those whose event is stored get their sighting here.
async fn already(db: &Db, part: &[Ready]) -> db::Result<HashSet<String>> {
    let records: Vec<&str> = part.iter().map(|one| one.candidate.record.as_str()).collect();
    let told: HashSet<String> =
        store::told(db, &records).await?.into_iter().map(|(record,)| record).collect();
    let ids: Vec<&str> = part.iter().map(|one| one.candidate.id.as_str()).collect();
    let stored: HashMap<String, i64> =
        store::stored(db, ORGANIZATION, &ids).await?.into_iter().collect();
    let mut done = HashSet::new();
    let mut seen = Vec::new();
    for one in part {
        let candidate = &one.candidate;
        if let Some(event) = stored.get(&candidate.id) {
            seen.push(store::Seen {
                event: *event,
                source: &candidate.source,
                place: &candidate.place,
                record: &candidate.record,
                line: candidate.line.cast_signed(),
                at: candidate.at.to_rfc3339_opts(SecondsFormat::AutoSi, false),
            });
            done.insert(candidate.id.clone());
        } else if told.contains(&candidate.record) {
            done.insert(candidate.id.clone());
        }
    }
    if !seen.is_empty() {
        store::settle(db, &seen, &[]).await?;
    }
    Ok(done)
}

/// The events and probes that these records may tell of.
async fn around(
    db: &Db,
    part: &[Ready],
    answers: &[Candidate],
    spent: &mut Spent,
) -> db::Result<(Vec<Known>, Vec<Probe>)> {
    let times = || part.iter().map(|one| one.candidate.at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let app = part[0].event.app.as_str();
    let margin = TimeDelta::seconds(5);
    let longest = part.iter().filter_map(|one| one.candidate.duration).fold(0.0, f64::max);
    let from = first - margin - matching::seconds(longest);
    let mut stored = store::events(db, ORGANIZATION, app, from, last + margin).await?;
    let requests: Vec<&str> =
        part.iter().filter_map(|one| one.event.request_id.as_deref()).collect();
    if !requests.is_empty() {
        let (from, until) = (first - matching::REQUEST, last + matching::REQUEST);
        let more = store::events_of_requests(db, ORGANIZATION, app, from, until, &requests).await?;
        let ids: HashSet<i64> = stored.iter().map(|event| event.id).collect();
        stored.extend(more.into_iter().filter(|event| !ids.contains(&event.id)));
    }
    let ids: Vec<i64> = stored.iter().map(|event| event.id).collect();
    let mut places: HashMap<i64, HashSet<String>> = HashMap::new();
    for (event, place) in store::places(db, &ids).await? {
        places.entry(event).or_default().insert(place);
    }
    let known = stored
        .into_iter()
        .map(|event| Known {
            id: Some(event.id),
            at: event.created_at,
            class: class(&event.error_type).to_owned(),
            masked: matching::said(&event.message),
            endpoint: event.endpoint,
            method: event.method,
            request: event.request_id.or_else(|| tagged(event.tags.as_deref()?)),
            fault: fault(&event.error_type, &event.message),
            fingerprint: event.fingerprint,
            cause: event.cause_key,
            places: places.remove(&event.id).unwrap_or_default(),
        })
        .collect();
    Ok((known, probes(db, app, from, last + margin, answers, spent).await?))
}

/// The failed requests of probes: those that Lux knows to have made, and those that only the
/// access log shows (another Lux made them).
async fn probes(
    db: &Db,
    app: &str,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    answers: &[Candidate],
    spent: &mut Spent,
) -> db::Result<Vec<Probe>> {
    let ran = store::probes(db, ORGANIZATION, app, from, until).await?;
    let mut probes: Vec<Probe> = ran
        .into_iter()
        .map(|ran| Probe {
            key: ran.id.to_string(),
            from: ran.started_at,
            until: ran.finished_at,
            method: ran.method,
            path: ran.path,
            request: None,
        })
        .collect();
    let own = probes.len();
    let mut taken: HashSet<(usize, &str)> = HashSet::new();
    for answer in answers.iter().filter(|answer| answer.app == app) {
        let begun = answer.at - matching::seconds(answer.duration.unwrap_or_default());
        // One of our own is in the list already, and may be shown by several proxies' logs.
        let same = (0..own).find(|at| {
            let probe = &probes[*at];
            probe.path == answer.endpoint
                && answer.at >= probe.from - TimeDelta::seconds(2)
                && answer.at <= probe.until + TimeDelta::seconds(2)
                && !taken.contains(&(*at, answer.place.as_str()))
        });
        // That log has told of it.
        let key = same.map_or_else(|| answer.id.clone(), |at| probes[at].key.clone());
        spent.entry(key).or_default().insert(answer.place.clone());
        if let Some(at) = same {
            taken.insert((at, &answer.place));
            if answer.request.is_some() {
                probes[at].request.clone_from(&answer.request);
            }
            continue;
        }
        probes.push(Probe {
            key: answer.id.clone(),
            from: begun,
            until: answer.at,
            method: answer.method.clone(),
            path: answer.endpoint.clone(),
            request: answer.request.clone(),
        });
    }
    Ok(probes)
}

/// The request that an event's tags name.
fn tagged(tags: &str) -> Option<String> {
    let tags: HashMap<String, String> = serde_json::from_str(tags).ok()?;
    ["request_id", "request-id", "x-request-id", "X-Request-Id"]
        .iter()
        .find_map(|name| tags.get(*name).cloned())
}

/// What failed underneath, of an event that came from systemd's or the kernel's words.
fn fault(class: &str, message: &str) -> Option<String> {
    let fault = match class {
        "OutOfMemory" => "oom",
        "Segfault" => "segv",
        "UnitFailed" if message.contains("oom-kill") => "oom",
        "UnitFailed" if message.contains("/SEGV") => "segv",
        _ => return None,
    };
    Some(fault.to_owned())
}
