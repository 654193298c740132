//! What nginx says about its upstreams has many causes. These rules tell them apart
//! by who listened where, who was stopped when, and what else went wrong.

use std::collections::{BTreeSet, HashSet};

use chrono::TimeDelta;

use super::{
    Confidence,
    candidate::Candidate,
    rank::{Match, View},
    tally::Hit,
};

/// How long after a stop a cut request is still put down to it, in seconds.
const STOPPING: i64 = 35;
/// How long before the first refusal a start is still put down to it, in seconds.
const STARTING: i64 = 300;

/// Candidates for what no other candidate explains (`explained` has the ids that are).
pub(crate) fn candidates(view: &View<'_>, explained: &HashSet<String>) -> Vec<Candidate> {
    let mut found = Vec::new();
    let stops = stops(view);
    found.extend(refused(view, &stops, explained));
    found.extend(socket(view, &stops, explained));
    found.extend(cut(view, &stops, explained));
    found.extend(timed_out(view, explained));
    found
}

/// The records that say that the application's server was stopped or died.
fn stops(view: &View<'_>) -> Vec<Hit> {
    let mut stops: Vec<Hit> = Vec::new();
    for id in ["gunicorn_stopping", "unit_stopped", "unit_failed"] {
        stops.extend(view.get(id).hits().filter(|hit| !is_other_unit(hit)).cloned());
    }
    stops.sort_by_key(|hit| hit.at);
    stops
}

/// A unit that is not the application's: the proxy itself, databases, sessions.
fn is_other_unit(hit: &Hit) -> bool {
    const OTHERS: &[&str] = &[
        "nginx",
        "postgres",
        "redis",
        "mysql",
        "mariadb",
        "user@",
        "session",
        "user-runtime",
        "User Manager",
        ".mount",
        ".timer",
        ".slice",
        ".scope",
        ".target",
        "apt-",
        "logrotate",
        "man-db",
        "fstrim",
        "certbot",
        "cron",
        "ssh",
        "snapd",
        "systemd-",
        "dbus",
        "celery",
    ];
    let unit = hit.unit.as_deref().unwrap_or_default();
    OTHERS.iter().any(|other| unit.contains(other) || hit.text.contains(other))
}

/// `[::1]:8000`, `http://127.0.0.1:8000` and port `8000` are the same server.
fn server(address: &str) -> String {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    let local = matches!(host, "" | "*" | "localhost" | "127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]");
    if local && port.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("local:{port}");
    }
    address.to_owned()
}

/// All records that say where a server began to listen: those of servers that are known by
/// their words, and of programs that say so in words of their own.
fn listening(view: &View<'_>) -> Vec<Hit> {
    let (known, said) = (view.get("server_listening"), view.get("program_listening"));
    let mut all: Vec<Hit> = known.hits().chain(said.hits()).cloned().collect();
    all.sort_by_key(|hit| hit.at);
    all
}

fn address(hit: &Hit) -> Option<String> {
    let (_, address) = hit.captures.iter().find(|(name, _)| name == "address")?;
    Some(server(address))
}

/// Where a server that is still up listens, with the record that says so.
fn listeners(view: &View<'_>, stops: &[Hit], failed: &Match) -> Vec<(String, Hit)> {
    let until = failed.last;
    let mut up = Vec::new();
    for hit in listening(view) {
        let Some(address) = address(&hit) else { continue };
        // Times of one second: a stop of the same second is that of the server before.
        let settled = hit.at.map(|at| at + TimeDelta::milliseconds(1500));
        let ended = stops.iter().any(|stop| {
            (until.is_none() || stop.at <= until)
                && if stop.pid.is_some() && stop.unit.is_none() {
                    stop.pid == hit.pid && stop.at >= hit.at
                } else {
                    stop.at > settled
                }
        });
        if !ended {
            // A program that started anew about when the requests began to fail listens there
            // now; long before, it is another one of its kind.
            let anew = match (hit.at, failed.first) {
                (Some(at), Some(first)) => at >= first - TimeDelta::seconds(STARTING),
                _ => false,
            };
            up.retain(|(_, before): &(_, Hit)| {
                !anew || before.source != hit.source || !same_words(before, &hit)
            });
            up.push((address, hit));
        }
    }
    up
}

/// In a log without times: where a program listens at last that listened at one of `servers`
/// before.
fn moved(view: &View<'_>, servers: &BTreeSet<String>) -> Option<(String, Hit)> {
    let mut hits: Vec<Hit> = listening(view).into_iter().filter(|hit| hit.at.is_none()).collect();
    hits.sort_by_key(|hit| (hit.source, hit.line));
    hits.chunk_by(|one, other| one.source == other.source).find_map(|hits| {
        let last = hits.last()?;
        let now = address(last).filter(|now| !servers.contains(now))?;
        let before = |hit: &Hit| address(hit).is_some_and(|before| servers.contains(&before));
        hits.iter().any(|hit| same_words(hit, last) && before(hit)).then(|| (now, last.clone()))
    })
}

/// Whether two records differ in numbers only.
fn same_words(one: &Hit, other: &Hit) -> bool {
    let words = |hit: &Hit| hit.text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

fn refused(view: &View<'_>, stops: &[Hit], explained: &HashSet<String>) -> Vec<Candidate> {
    let refused = view.get("upstream_refused");
    let dead = view.get("upstream_none_live");
    if !refused.is_some() && !dead.is_some() || explained.contains("upstream_refused") {
        return Vec::new();
    }
    let servers: BTreeSet<String> =
        refused.hits().filter_map(|hit| hit.upstream.as_deref()).map(server).collect();
    let mut up = listeners(view, stops, &refused);
    if up.is_empty() {
        up.extend(moved(view, &servers));
    }

    // the service runs, but elsewhere
    if let Some((_, listener)) = up.last()
        && !servers.is_empty()
        && up.iter().all(|(address, _)| !servers.contains(address))
        && servers.iter().all(|address| !address.starts_with("unix:"))
    {
        // In words of its own a program may tell of another port than that for requests.
        let known = view.get("server_listening").is_some();
        let moved = listening(view).iter().any(|hit| {
            hit.source == listener.source && address(hit).is_some_and(|it| servers.contains(&it))
        });
        let mut found = view.candidate(
            "nginx_wrong_upstream_port",
            if known || moved { Confidence::Confirmed } else { Confidence::Likely },
            refused.hits().take(2).chain([listener]).chain(refused.hits().skip(2)),
        );
        if let Some(found) = &mut found {
            found.count = refused.count;
        }
        return found.into_iter().collect();
    }
    let mut all = Vec::new();
    if dead.is_some() && servers.len() != 1 {
        let mut one_each: Vec<&Hit> = Vec::new();
        for hit in refused.hits() {
            if one_each.iter().all(|other| other.upstream != hit.upstream) {
                one_each.push(hit);
            }
        }
        let hits = dead
            .hits()
            .take(2)
            .chain(one_each)
            .chain(dead.hits().skip(2))
            .chain(stops_near(stops, &refused));
        if let Some(mut found) = view.candidate("all_upstreams_down", Confidence::Confirmed, hits) {
            found.count = dead.count;
            all.push(found);
        }
        return all;
    }
    if let Some(window) = restart_window(view, stops, &refused) {
        let hits = window.iter().chain(refused.hits());
        if let Some(mut found) = view.candidate("restart_during_request", Confidence::Likely, hits)
        {
            found.count = refused.count;
            all.push(found);
        }
        return all;
    }
    let stopped = stops_near(stops, &refused);
    // nginx asked the next server of the group, and that one answered
    let taken_over =
        refused.is_some() && refused.hits().all(|hit| view.traffic.served_near(hit.at));
    let sure = if taken_over {
        Confidence::Inconclusive
    } else if !stopped.is_empty() {
        Confidence::Confirmed
    } else if refused.count + dead.count >= 2 {
        Confidence::Likely
    } else {
        Confidence::Inconclusive
    };
    let hits = refused
        .hits()
        .take(2)
        .chain(dead.hits().take(1))
        .chain(stopped)
        .chain(refused.hits().skip(2));
    if let Some(mut found) = view.candidate("app_not_running", sure, hits) {
        found.count = refused.count.max(dead.count);
        found.first = refused.first.or(dead.first);
        found.last = refused.last.max(dead.last);
        all.push(found);
    }
    all
}

/// The last stops before (or at the beginning of) the refusals.
fn stops_near<'h>(stops: &'h [Hit], refused: &Match) -> Vec<&'h Hit> {
    let slack = TimeDelta::seconds(5);
    let mut near: Vec<&Hit> = stops
        .iter()
        .filter(|stop| match (stop.at, refused.first) {
            (Some(at), Some(first)) => at <= first + slack,
            _ => true,
        })
        .collect();
    let from = near.len().saturating_sub(4);
    near.split_off(from)
}

/// The stop and the start between which all refusals fall: a restart, not an outage.
fn restart_window(view: &View<'_>, stops: &[Hit], refused: &Match) -> Option<Vec<Hit>> {
    let (first, last) = (refused.first?, refused.last?);
    let slack = TimeDelta::seconds(2);
    let stop = stops.iter().rfind(|stop| stop.at.is_some_and(|at| at <= first + slack))?;
    let listening = listening(view);
    let start = listening
        .iter()
        .filter(|hit| hit.at.is_some_and(|at| at + slack >= last && Some(at) > stop.at))
        .min_by_key(|hit| hit.at)?;
    let stopped_again = stops.iter().any(|other| other.at > start.at);
    let short = last - first <= TimeDelta::seconds(60);
    (short && !stopped_again && start.at.is_some_and(|at| at <= last + TimeDelta::seconds(30)))
        .then(|| vec![stop.clone(), start.clone()])
}

/// A socket file that is not there: the server removes it when it stops.
fn socket(view: &View<'_>, stops: &[Hit], explained: &HashSet<String>) -> Vec<Candidate> {
    let missing = view.get("upstream_socket_missing");
    if !missing.is_some() || explained.contains("upstream_socket_missing") {
        return Vec::new();
    }
    let wanted: BTreeSet<&str> = missing.hits().filter_map(|hit| hit.upstream.as_deref()).collect();
    let listening = view.get("server_listening");
    let had_it = listening.hits().any(|hit| {
        hit.captures.iter().any(|(name, value)| {
            name == "address" && wanted.iter().any(|path| value.starts_with(path))
        })
    });
    let stopped = stops_near(stops, &missing);
    let up = listeners(view, stops, &missing);
    let mut all = Vec::new();
    if had_it && !stopped.is_empty() && up.is_empty() {
        let hits = missing.hits().take(2).chain(stopped).chain(missing.hits().skip(2));
        all.extend(view.candidate("app_not_running", Confidence::Confirmed, hits));
        let second =
            view.candidate("unix_socket_missing", Confidence::Inconclusive, missing.hits());
        all.extend(second);
    } else {
        let hits = missing
            .hits()
            .take(2)
            .chain(up.iter().map(|(_, hit)| hit))
            .chain(missing.hits().skip(2));
        all.extend(view.candidate("unix_socket_missing", Confidence::Confirmed, hits));
    }
    for found in &mut all {
        found.count = missing.count;
    }
    all
}

/// Connections that the upstream closed or reset under a request.
fn cut(view: &View<'_>, stops: &[Hit], explained: &HashSet<String>) -> Vec<Candidate> {
    let mut hits: Vec<Hit> = Vec::new();
    let mut count = 0;
    for id in ["upstream_closed", "upstream_reset"] {
        if !explained.contains(id) {
            let found = view.get(id);
            count += found.count;
            hits.extend(found.hits().cloned());
        }
    }
    if hits.is_empty() {
        return Vec::new();
    }
    let restarts: Vec<&Hit> = stops
        .iter()
        .filter(|stop| {
            hits.iter().any(|hit| match (stop.at, hit.at) {
                (Some(stop), Some(cut)) => {
                    stop <= cut + TimeDelta::seconds(2)
                        && cut <= stop + TimeDelta::seconds(STOPPING)
                }
                _ => true,
            })
        })
        .collect();
    let mut all = Vec::new();
    if restarts.is_empty() {
        let sure = if count >= 3 { Confidence::Likely } else { Confidence::Inconclusive };
        all.extend(view.candidate("connection_reset_by_peer", sure, hits.iter()));
    } else {
        let order =
            hits.iter().take(2).chain(restarts.into_iter().take(3)).chain(hits.iter().skip(2));
        all.extend(view.candidate("restart_during_request", Confidence::Confirmed, order));
    }
    for found in &mut all {
        found.count = count;
    }
    all
}

/// A database that fails, comes back and fails again.
pub(crate) fn flapping(view: &View<'_>) -> Option<Candidate> {
    let started = view.get("dependency_started");
    let mut starts: Vec<&Hit> = started.hits().filter(|hit| hit.at.is_some()).collect();
    starts.sort_by_key(|hit| hit.at);
    for (id, name) in [("redis_down", "Redis"), ("postgres_down", "PostgreSQL")] {
        let down = view.get(id);
        let mut ended = Vec::new();
        let mut from = None;
        for start in starts.iter().filter(|start| {
            start.text.to_lowercase().contains(&name.to_lowercase()[..5])
                || start.family != super::family::Family::Systemd
        }) {
            let failed = down.hits().find(|hit| {
                hit.family == super::family::Family::App && hit.at > from && hit.at < start.at
            });
            if let Some(failed) = failed {
                ended.push(failed);
                ended.push(*start);
            }
            from = start.at;
        }
        if ended.len() >= 4 {
            let mut found =
                view.candidate("flapping_dependency", Confidence::Confirmed, ended.into_iter())?;
            found.capture("dependency", name);
            found.count = down.count;
            found.first = down.first;
            found.last = down.last;
            return Some(found);
        }
    }
    None
}

/// Upstreams that did not answer in time: which endpoints tell what is busy.
fn timed_out(view: &View<'_>, explained: &HashSet<String>) -> Vec<Candidate> {
    let slow = view.get("upstream_timed_out");
    let full = view.get("upstream_backlog_full");
    let mut all = Vec::new();
    if full.is_some() && !explained.contains("upstream_backlog_full") {
        all.extend(view.candidate("workers_exhausted", Confidence::Confirmed, full.hits()));
    }
    if !slow.is_some() || explained.contains("upstream_timed_out") {
        return all;
    }
    let endpoints: BTreeSet<String> = slow
        .hits()
        .filter_map(|hit| hit.request.as_ref())
        .map(|(method, path)| format!("{method} {}", crate::logs::template::path(path)))
        .collect();
    let waited_for_database = view.get("client_left_database");
    let database: Vec<Hit> = waited_for_database.hits().take(2).cloned().collect();
    let ids: [(&str, Confidence); 3] = if endpoints.len() > 3 && all.is_empty() {
        [
            ("workers_exhausted", Confidence::Likely),
            ("latency_regression", Confidence::Inconclusive),
            ("slow_db_query", Confidence::Inconclusive),
        ]
    } else if database.is_empty() {
        [
            ("latency_regression", Confidence::Likely),
            ("slow_db_query", Confidence::Inconclusive),
            ("workers_exhausted", Confidence::Inconclusive),
        ]
    } else {
        [
            ("slow_db_query", Confidence::Likely),
            ("latency_regression", Confidence::Inconclusive),
            ("workers_exhausted", Confidence::Inconclusive),
        ]
    };
    for (id, sure) in ids {
        let hits = slow.hits().take(2).chain(&database).chain(slow.hits().skip(2));
        if let Some(mut found) = view.candidate(id, sure, hits) {
            found.count = slow.count;
            all.push(found);
        }
    }
    all
}
