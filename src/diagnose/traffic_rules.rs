//! What can be said from the counts of the access logs.

use super::{
    Confidence,
    candidate::Candidate,
    rank::View,
    traffic::{Cited, Endpoint, SLOW, Traffic, is_scan, is_unasked},
};
use crate::logs::template;

/// What the traffic shows beside what `others` already say.
pub(crate) fn candidates(view: &View<'_>, others: &[Candidate]) -> Vec<Candidate> {
    let named = others.iter().any(|other| other.confidence > Confidence::Inconclusive);
    let mut endpoints: Vec<&Endpoint> = view.traffic.endpoints.values().collect();
    endpoints.sort_by(|a, b| (a.source, &a.path, &a.method).cmp(&(b.source, &b.path, &b.method)));
    let outer: Vec<&Endpoint> = if endpoints.iter().any(|endpoint| !endpoint.inner) {
        endpoints.iter().copied().filter(|endpoint| !endpoint.inner).collect()
    } else {
        endpoints.clone()
    };
    let mut found = Vec::new();
    for endpoint in &outer {
        let method: &str = &endpoint.method;
        let good = endpoint.count(200..=399);
        let asked = !is_unasked(&endpoint.path);
        let beyond = |statuses: std::ops::RangeInclusive<u16>| {
            reached_application(&endpoints, endpoint, statuses)
        };

        // Where answers are timed, clients that left a quick one had changed their minds.
        let quick = !endpoint.durations.is_empty() && endpoint.slowest.is_empty();
        let gave_up = endpoint.count(499..=499);
        if gave_up >= 3 && !quick {
            found.extend(of(
                view,
                "slow_endpoint_client_gives_up",
                if endpoint.is_usual(499..=499) {
                    Confidence::Inconclusive
                } else {
                    Confidence::Likely
                },
                endpoint,
                499..=499,
            ));
        }
        let bad = endpoint.count(400..=400);
        let socket = ["/ws", "websocket", "/socket.io", "/cable"]
            .iter()
            .any(|part| endpoint.path.contains(part));
        let wanted = endpoint.count(426..=426);
        let shaken = bad + endpoint.count(404..=404) + wanted;
        let shakes = endpoint.last(101..=101) > endpoint.first(400..=426);
        if method == "GET" && (socket && shaken >= 2 || wanted >= 3) && !shakes {
            found.extend(of(
                view,
                "websocket_upgrade_missing",
                Confidence::Likely,
                endpoint,
                400..=426,
            ));
            continue;
        }
        let unless_usual = |status: u16| {
            if named || endpoint.is_usual(status..=status) {
                Confidence::Inconclusive
            } else {
                Confidence::Likely
            }
        };
        if bad >= 2
            && matches!(method, "POST" | "PUT" | "PATCH")
            && asked
            && beyond(400..=400) != Some(false)
        {
            let sure = unless_usual(400);
            found.extend(of(view, "client_sends_bad_json", sure, endpoint, 400..=400));
        } else if bad >= 2 && asked && good > 0 && beyond(400..=400) == Some(false) {
            found.extend(of(
                view,
                "client_request_header_too_large",
                Confidence::Likely,
                endpoint,
                400..=400,
            ));
        }
        if endpoint.count(414..=414) + endpoint.count(431..=431) + endpoint.count(494..=494) > 0
            && asked
        {
            found.extend(of(
                view,
                "client_request_header_too_large",
                Confidence::Likely,
                endpoint,
                414..=431,
            ));
        }
        if endpoint.count(408..=408) >= 2 && asked {
            found.extend(of(view, "client_body_timeout", Confidence::Likely, endpoint, 408..=408));
        }
        if endpoint.count(413..=413) >= 2 && asked {
            found.extend(of(
                view,
                "client_max_body_size",
                Confidence::Inconclusive,
                endpoint,
                413..=413,
            ));
        }
        if endpoint.count(422..=422) >= 3 {
            let sure = unless_usual(422);
            found.extend(of(view, "validation_error_storm", sure, endpoint, 422..=422));
        }
        if endpoint.count(405..=405) >= 2 && asked && beyond(405..=405) != Some(false) {
            let sure = unless_usual(405);
            found.extend(of(view, "wrong_http_method", sure, endpoint, 405..=405));
        }
        if endpoint.redirect_run >= 5
            && endpoint.count(300..=399) * 10 >= endpoint.count(100..=599) * 8
        {
            found.extend(of(view, "redirect_loop", Confidence::Likely, endpoint, 300..=399));
        }
        found.extend(not_found(view, endpoint, beyond(404..=404), named));
        found.extend(refused(view, endpoint, beyond(403..=403), named));
        if !named {
            found.extend(step(view, endpoint));
            found.extend(slower(view, endpoint));
        }
    }
    if !named && outer.iter().map(|endpoint| endpoint.durations.step()).all(|step| step.is_none()) {
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.inner) {
            found.extend(slower(view, endpoint));
        }
    }
    if !named {
        found.extend(told_slower(view));
    }
    found.extend(crowded(view, &outer));
    found.extend(scanners(view));
    found.extend(spike(view, &outer));
    found
}

/// A candidate with the requests of some statuses as its evidence.
fn of(
    view: &View<'_>,
    id: &str,
    confidence: Confidence,
    endpoint: &Endpoint,
    statuses: std::ops::RangeInclusive<u16>,
) -> Option<Candidate> {
    let mut candidate = view.candidate(id, confidence, std::iter::empty())?;
    candidate.count = endpoint.count(statuses.clone());
    candidate.first = endpoint.first(statuses.clone());
    candidate.last = endpoint.last(statuses.clone());
    for cited in endpoint.cited(statuses) {
        take(&mut candidate, endpoint, cited);
    }
    candidate.capture("endpoint", &format!("{} {}", endpoint.method, endpoint.path));
    Some(candidate)
}

fn take(candidate: &mut Candidate, endpoint: &Endpoint, cited: &Cited) {
    candidate.quote(cited.source, cited.line, &cited.text);
    candidate.request(&endpoint.method, &cited.target);
}

/// Whether the application's own log has such answers of this endpoint too: `None`
/// where there is no such log.
fn reached_application(
    all: &[&Endpoint],
    endpoint: &Endpoint,
    statuses: std::ops::RangeInclusive<u16>,
) -> Option<bool> {
    if endpoint.inner || !all.iter().any(|other| other.inner) {
        return None;
    }
    Some(all.iter().any(|other| {
        other.inner
            && other.path == endpoint.path
            && other.method == endpoint.method
            && other.count(statuses.clone()) > 0
    }))
}

/// 404 for what is asked for in earnest.
fn not_found(
    view: &View<'_>,
    endpoint: &Endpoint,
    inner: Option<bool>,
    named: bool,
) -> Option<Candidate> {
    let missing = endpoint.count(404..=404);
    let scanned = endpoint.only_client().is_some_and(|client| view.traffic.is_scanner(client));
    if missing < 3 || is_unasked(&endpoint.path) || scanned {
        return None;
    }
    let worked =
        endpoint.count(200..=299) > 0 && endpoint.first(200..=299) < endpoint.first(404..=404);
    let static_file = is_static(&endpoint.path) && inner != Some(true);
    // Beside answers that succeed it is the thing asked for that is missing, not the route.
    let works = endpoint.last(200..=299) > endpoint.first(404..=404);
    let meant = (worked || endpoint.own_referrer >= 2) && (static_file || !works);
    let often =
        missing >= 6 && endpoint.several_clients && !works && !endpoint.is_sparse(404..=404);
    let id = if static_file { "static_files_missing" } else { "missing_route" };
    let sure =
        if named || !(meant || often) { Confidence::Inconclusive } else { Confidence::Likely };
    of(view, id, sure, endpoint, 404..=404)
}

/// 403 and 401 for what worked before.
fn refused(
    view: &View<'_>,
    endpoint: &Endpoint,
    inner: Option<bool>,
    named: bool,
) -> Option<Candidate> {
    let refused = endpoint.count(403..=403);
    if refused < 3 || named || is_scan(&endpoint.path) {
        return None;
    }
    let form = &*endpoint.method == "POST";
    let id = match inner {
        Some(true) | None if form => "csrf_rejected",
        Some(true) => return None,
        _ if is_static(&endpoint.path) => "static_files_permission",
        _ => "access_rule_denied",
    };
    of(view, id, Confidence::Inconclusive, endpoint, 403..=403)
}

fn is_static(path: &str) -> bool {
    const ENDS: &[&str] = &[
        ".css", ".js", ".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp", ".woff", ".woff2", ".ttf",
        ".mjs",
    ];
    path.starts_with("/static/")
        || path.starts_with("/media/")
        || path.starts_with("/assets/")
        || ENDS.iter().any(|end| path.ends_with(end))
}

/// Failures that begin at a point in time and have no other explanation.
fn step(view: &View<'_>, endpoint: &Endpoint) -> Option<Candidate> {
    let failed = endpoint.count(500..=599);
    let good = endpoint.count(200..=399);
    let began = endpoint.first(500..=599)?;
    if failed < 3 || failed * 10 < endpoint.count(100..=599) {
        return None;
    }
    let before = endpoint.first(200..=399).is_some_and(|first| first < began);
    let sure = if before || good == 0 { Confidence::Likely } else { Confidence::Inconclusive };
    of(view, "error_rate_step", sure, endpoint, 500..=599)
}

fn slower(view: &View<'_>, endpoint: &Endpoint) -> Option<Candidate> {
    let step = endpoint.durations.step()?;
    if step.after < SLOW || step.after < step.before * 3.0 {
        return None;
    }
    let mut candidate =
        view.candidate("latency_regression", Confidence::Likely, std::iter::empty())?;
    let mut slowest: Vec<&Cited> = endpoint.slowest.iter().map(|(_, cited)| cited).collect();
    slowest.sort_by_key(|cited| (cited.at, cited.line));
    for cited in slowest {
        take(&mut candidate, endpoint, cited);
        candidate.first = [candidate.first, cited.at].into_iter().flatten().min();
        candidate.last = candidate.last.max(cited.at);
    }
    candidate.count = step.count;
    candidate.capture("endpoint", &format!("{} {}", endpoint.method, endpoint.path));
    candidate.capture(
        "slowness",
        &format!("it took {:.2} s on average before and {:.2} s after", step.before, step.after),
    );
    Some(candidate)
}

/// The application's own words: "report built in 3.1 s" after "in 0.1 s".
fn told_slower(view: &View<'_>) -> Option<Candidate> {
    let told = view.get("reported_duration");
    let seconds = |hit: &super::tally::Hit| {
        hit.captures.iter().find(|(name, _)| name == "seconds")?.1.parse::<f64>().ok()
    };
    let mut hits: Vec<_> = told.hits().filter(|hit| hit.at.is_some()).collect();
    hits.sort_by_key(|hit| hit.at);
    let before = hits.iter().find_map(|hit| seconds(hit))?;
    let slow: Vec<_> = hits
        .iter()
        .copied()
        .filter(|hit| seconds(hit).is_some_and(|s| s >= 1.0 && s >= before * 3.0))
        .collect();
    if slow.len() < 3 {
        return None;
    }
    let mut found = view.candidate("latency_regression", Confidence::Likely, slow.into_iter())?;
    let longest = hits.iter().filter_map(|hit| seconds(hit)).fold(before, f64::max);
    found.capture(
        "slowness",
        &format!("the application says that it took {before} s at first and {longest} s later"),
    );
    Some(found)
}

/// Clients that give up, or are refused, on many endpoints at once: nothing is free.
fn crowded(view: &View<'_>, outer: &[&Endpoint]) -> Option<Candidate> {
    let waiting: Vec<_> = outer
        .iter()
        .filter(|endpoint| endpoint.count(499..=499) + endpoint.count(504..=504) > 0)
        .filter(|endpoint| !is_unasked(&endpoint.path))
        .collect();
    if waiting.len() < 4 {
        return None;
    }
    let mut candidate =
        view.candidate("workers_exhausted", Confidence::Likely, std::iter::empty())?;
    for endpoint in waiting {
        candidate.count += endpoint.count(499..=499) + endpoint.count(504..=504);
        candidate.first = [candidate.first, endpoint.first(499..=504)].into_iter().flatten().min();
        candidate.last = candidate.last.max(endpoint.last(499..=504));
        for cited in endpoint.cited(499..=499).chain(endpoint.cited(504..=504)).take(2) {
            take(&mut candidate, endpoint, cited);
        }
    }
    Some(candidate)
}

/// Scanners make most of the refused requests, and many.
fn scanners(view: &View<'_>) -> Option<Candidate> {
    let clients: Vec<_> = view.traffic.clients.values().collect();
    let (mut scans, mut refused, mut requests) = (0, 0, 0);
    for client in &clients {
        scans += client.scans;
        refused += client.refused;
        requests += client.requests;
    }
    let worst = clients.iter().max_by_key(|client| (client.refused, &client.address))?;
    let storm = scans >= 60 && scans * 2 >= refused && scans * 3 >= requests
        || worst.refused >= 60
            && worst.refused * 2 >= refused
            && worst.refused * 10 >= worst.requests * 8;
    if !storm {
        return None;
    }
    let mut candidate = view.candidate("bot_scan_storm", Confidence::Likely, std::iter::empty())?;
    candidate.count = scans.max(worst.refused);
    candidate.capture("client", &worst.address);
    candidate.capture("agent", &worst.agent);
    for cited in &worst.cited {
        candidate.quote(cited.source, cited.line, &cited.text);
    }
    Some(candidate)
}

/// Many more requests than usual while answers fail or come late.
fn spike(view: &View<'_>, outer: &[&Endpoint]) -> Option<Candidate> {
    let mut rates: Vec<u32> = view.traffic.timeline.values().map(|counts| counts.0).collect();
    let peak = *rates.iter().max()?;
    rates.sort_unstable();
    let usual = rates[rates.len() / 2];
    let failing: u64 = outer
        .iter()
        .map(|endpoint| {
            endpoint.count(499..=499) + endpoint.count(502..=504) + endpoint.count(429..=429)
        })
        .sum();
    if rates.len() < 6 || peak < 100 || peak < usual * 5 || failing < 10 {
        return None;
    }
    let mut candidate = view.candidate("traffic_spike", Confidence::Likely, std::iter::empty())?;
    candidate.count = u64::from(peak);
    candidate.capture("peak", &peak.to_string());
    candidate.capture("usual", &usual.to_string());
    for endpoint in outer {
        for cited in endpoint.cited(499..=504).take(1) {
            take(&mut candidate, endpoint, cited);
        }
    }
    Some(candidate)
}

/// The status that the request is known to get when all is well.
pub(crate) fn good_status(traffic: &Traffic, method: &str, path: &str) -> u16 {
    let path = template::path(path);
    traffic
        .endpoints
        .values()
        .filter(|endpoint| *endpoint.method == *method && *endpoint.path == *path)
        .flat_map(|endpoint| endpoint.by_status.range(200..=299))
        .max_by_key(|(_, answers)| answers.count)
        .map_or(200, |(status, _)| *status)
}
