//! What access logs add up to: per endpoint, per client, over time. Nothing here
//! allocates for a request like those before it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::BuildHasher,
};

use chrono::{DateTime, Utc};
use foldhash::fast::FixedState;

use super::series::Series;
use crate::{
    logs::{Access, Record},
    outbound::visit::AGENT,
};

/// Endpoints, clients and time buckets kept at most; later ones are only counted.
const ENDPOINTS: usize = 2048;
const CLIENTS: usize = 4096;
const BUCKETS: usize = 20_000;
/// Seconds in a bucket of the timeline.
pub(crate) const BUCKET: i64 = 10;
const CITED: usize = 3;
/// Seconds over which answers must be spread, and that they must be apart on average, to be
/// called sparse.
const SPREAD: i64 = 600;
const APART: i64 = 45;
/// Seconds from which an answer may be called slow.
pub(crate) const SLOW: f64 = 0.5;

type Map<V> = HashMap<u64, V, FixedState>;

/// The counts of one scan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    pub requests: u64,
    pub endpoints: Map<Endpoint>,
    pub clients: Map<Client>,
    /// Bucket of time → (requests, answers of 500 and above).
    pub timeline: BTreeMap<i64, (u32, u32)>,
}

/// One method and path (ids masked) in one log.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub source: usize,
    pub method: Box<str>,
    pub path: Box<str>,
    /// The application's own access log, behind the proxy.
    pub inner: bool,
    pub by_status: BTreeMap<u16, Answers>,
    pub durations: Series,
    /// The slowest answers, the slowest first.
    pub slowest: Vec<(f64, Cited)>,
    /// The longest run of redirects given to one client in a few seconds.
    pub redirect_run: u32,
    run: u32,
    runner: u64,
    ran_at: i64,
    /// 404s that came from a page of the application itself.
    pub own_referrer: u32,
    /// Two clients, to tell "one" from "several".
    clients: [u64; 2],
    pub several_clients: bool,
    /// Not only programs of this host asked.
    pub from_outside: bool,
}

/// The answers of one status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub count: u64,
    pub first: Option<DateTime<Utc>>,
    pub last: Option<DateTime<Utc>>,
    pub cited: Vec<Cited>,
}

#[derive(Clone, Debug)]
pub(crate) struct Cited {
    pub source: usize,
    pub at: Option<DateTime<Utc>>,
    pub line: u64,
    pub text: Box<str>,
    pub target: Box<str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub address: Box<str>,
    pub agent: Box<str>,
    pub requests: u64,
    /// Answers of 400 to 499.
    pub refused: u64,
    /// Requests that only a scanner makes.
    pub scans: u64,
    pub cited: Vec<Cited>,
}

/// Whether a client is on this host: a proxy, as the application behind it sees it.
pub(crate) fn is_loopback(client: &str) -> bool {
    client.starts_with("127.") || matches!(client, "::1" | "localhost" | "unix:" | "-" | "")
}

/// Paths that no page links to and scanners ask for.
pub(crate) fn is_scan(path: &str) -> bool {
    const SIGNS: &[&str] = &[
        "/wp-",
        "/.env",
        "/.git",
        ".php",
        "phpmyadmin",
        "/cgi-bin",
        "/.aws",
        "/boaform",
        "/owa/",
        "/HNAP",
        "/jsonws",
        ".action",
        "/solr/",
        "/manager/html",
        "/actuator",
        "/_ignition",
        "/vendor/",
        "/.vscode",
        "/.DS_Store",
        "/xmlrpc",
        "/admin.",
        "/backup",
        "/config.json",
        "/server-status",
        "/.ssh",
        "/autodiscover",
        "/ecp/",
        "/remote/login",
        "/geoserver",
        "/.svn",
        "/shell",
        "/setup.cgi",
    ];
    SIGNS.iter().any(|sign| path.contains(sign))
}

/// What browsers and crawlers ask for by themselves.
pub(crate) fn is_unasked(path: &str) -> bool {
    const NAMES: &[&str] = &[
        "favicon",
        "apple-touch-icon",
        "robots.txt",
        "sitemap",
        "ads.txt",
        "security.txt",
        "browserconfig.xml",
        "/.well-known/",
        "manifest.json",
        "site.webmanifest",
        ".map",
    ];
    NAMES.iter().any(|name| path.contains(name)) || is_scan(path)
}

impl Traffic {
    /// Counts one request; `source` is the index of its log.
    pub(crate) fn add(
        &mut self,
        source: usize,
        inner: bool,
        record: &Record<'_>,
        access: &Access<'_>,
    ) {
        // What Lux asks to test a fix is nobody's traffic.
        if access.agent.starts_with(AGENT) {
            return;
        }
        self.requests += 1;
        let hasher = FixedState::default();
        let path = access.path();
        let client = hasher.hash_one(access.client);
        let second = record.at.map_or(0, |at| at.timestamp());
        let cited = || Cited {
            source,
            at: record.at,
            line: record.line,
            text: clip(&record.text, 400).into(),
            target: clip(access.target, 300).into(),
        };

        let key = endpoint_key(&hasher, source, access.method, path);
        let room = self.endpoints.len() < ENDPOINTS;
        let endpoint = match self.endpoints.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => Some(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) if room => {
                Some(entry.insert(Endpoint::new(source, inner, access.method, path)))
            }
            std::collections::hash_map::Entry::Vacant(_) => None,
        };
        if let Some(endpoint) = endpoint {
            let answers = endpoint.by_status.entry(access.status).or_default();
            answers.count += 1;
            answers.first = [answers.first, record.at].into_iter().flatten().min();
            answers.last = answers.last.max(record.at);
            if access.status >= 300 && answers.cited.len() < CITED {
                answers.cited.push(cited());
            }
            if let Some(duration) = access.duration {
                endpoint.durations.push(duration);
                if endpoint.is_among_slowest(duration) {
                    endpoint.note_slow(duration, cited());
                }
            }
            endpoint.from_outside |= !is_loopback(access.client);
            endpoint.note_client(client);
            endpoint.note_redirect(client, second, access.status);
            if access.status == 404 && access.referrer.len() > 8 {
                endpoint.own_referrer += 1;
            }
        }

        if !inner {
            let room = self.clients.len() < CLIENTS;
            let known = match self.clients.entry(client) {
                std::collections::hash_map::Entry::Occupied(entry) => Some(entry.into_mut()),
                std::collections::hash_map::Entry::Vacant(entry) if room => {
                    Some(entry.insert(Client {
                        address: clip(access.client, 64).into(),
                        agent: clip(access.agent, 200).into(),
                        requests: 0,
                        refused: 0,
                        scans: 0,
                        cited: Vec::new(),
                    }))
                }
                std::collections::hash_map::Entry::Vacant(_) => None,
            };
            if let Some(known) = known {
                known.requests += 1;
                if (400..500).contains(&access.status) {
                    known.refused += 1;
                    let scan = is_scan(path);
                    known.scans += u64::from(scan);
                    if known.cited.len() < CITED {
                        known.cited.push(cited());
                    }
                }
            }
            if second != 0 {
                let bucket = second.div_euclid(BUCKET);
                if self.timeline.len() < BUCKETS || self.timeline.contains_key(&bucket) {
                    let counts = self.timeline.entry(bucket).or_default();
                    counts.0 = counts.0.saturating_add(1);
                    counts.1 = counts.1.saturating_add(u32::from(access.status >= 500));
                }
            }
        }
    }

    /// Whether a request failed (5xx) within a minute of `at`; `true` where nobody can know.
    pub(crate) fn failed_near(&self, at: Option<DateTime<Utc>>) -> bool {
        self.near(at).is_none_or(|(_, failed)| failed > 0)
    }

    /// Whether requests were answered within a minute of `at`, and none failed (5xx).
    pub(crate) fn served_near(&self, at: Option<DateTime<Utc>>) -> bool {
        self.near(at).is_some_and(|(requests, failed)| requests > 0 && failed == 0)
    }

    /// Requests, and those that failed, within a minute of `at`; `None` where that is beyond
    /// what the access logs tell of.
    fn near(&self, at: Option<DateTime<Utc>>) -> Option<(u32, u32)> {
        let around = 60 / BUCKET;
        let bucket = at?.timestamp().div_euclid(BUCKET);
        let (first, _) = self.timeline.first_key_value()?;
        let (last, _) = self.timeline.last_key_value()?;
        (first - around..=last + around).contains(&bucket).then(|| {
            self.timeline
                .range(bucket - around..=bucket + around)
                .fold((0, 0), |sum, (_, counts)| (sum.0 + counts.0, sum.1 + counts.1))
        })
    }

    /// Whether this client asks for what only scanners ask for.
    pub(crate) fn is_scanner(&self, client: u64) -> bool {
        self.clients.get(&client).is_some_and(|client| client.scans >= 3)
    }

    /// A log in which only this host asks, or that names no times (uvicorn's), is beside one
    /// with visitors that of the application behind the proxy.
    pub(crate) fn find_inner(&mut self) {
        let outside: HashSet<usize> = self
            .endpoints
            .values()
            .filter(|endpoint| endpoint.from_outside && endpoint.is_timed() && !endpoint.inner)
            .map(|endpoint| endpoint.source)
            .collect();
        if !outside.is_empty() {
            for endpoint in self.endpoints.values_mut() {
                endpoint.inner |= !outside.contains(&endpoint.source);
            }
        }
    }

    /// Adds what a later part counted; `sources` maps its sources to ours.
    pub(crate) fn merge(&mut self, later: Self, sources: &[usize]) {
        let hasher = FixedState::default();
        self.requests += later.requests;
        let mapped = |index: usize| sources.get(index).copied().unwrap_or(index);
        for (_, mut endpoint) in later.endpoints {
            endpoint.source = mapped(endpoint.source);
            for answers in endpoint.by_status.values_mut() {
                for cited in &mut answers.cited {
                    cited.source = mapped(cited.source);
                }
            }
            for (_, cited) in &mut endpoint.slowest {
                cited.source = mapped(cited.source);
            }
            let key = endpoint_key(&hasher, endpoint.source, &endpoint.method, &endpoint.path);
            match self.endpoints.entry(key) {
                std::collections::hash_map::Entry::Occupied(mut entry) => {
                    entry.get_mut().merge(endpoint);
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(endpoint);
                }
            }
        }
        for (key, mut client) in later.clients {
            for cited in &mut client.cited {
                cited.source = mapped(cited.source);
            }
            if let Some(known) = self.clients.get_mut(&key) {
                known.requests += client.requests;
                known.refused += client.refused;
                known.scans += client.scans;
                known.cited.extend(client.cited);
                known.cited.truncate(CITED);
            } else if self.clients.len() < CLIENTS {
                self.clients.insert(key, client);
            }
        }
        for (bucket, counts) in later.timeline {
            let sum = self.timeline.entry(bucket).or_default();
            sum.0 = sum.0.saturating_add(counts.0);
            sum.1 = sum.1.saturating_add(counts.1);
        }
    }
}

impl Endpoint {
    fn new(source: usize, inner: bool, method: &str, path: &str) -> Self {
        Self {
            source,
            method: clip(method, 16).into(),
            path: crate::logs::template::path(clip(path, 200)).into(),
            inner,
            by_status: BTreeMap::new(),
            durations: Series::default(),
            slowest: Vec::new(),
            redirect_run: 0,
            run: 0,
            runner: 0,
            ran_at: 0,
            own_referrer: 0,
            clients: [0; 2],
            several_clients: false,
            from_outside: false,
        }
    }

    fn is_among_slowest(&self, duration: f64) -> bool {
        duration >= SLOW
            && (self.slowest.len() < CITED
                || self.slowest.iter().any(|(other, _)| duration > *other))
    }

    fn note_slow(&mut self, duration: f64, cited: Cited) {
        let place = self.slowest.partition_point(|(other, _)| *other >= duration);
        self.slowest.insert(place, (duration, cited));
        self.slowest.truncate(CITED);
    }

    fn note_client(&mut self, client: u64) {
        if self.clients[0] == 0 {
            self.clients[0] = client;
        } else if self.clients[0] != client {
            self.several_clients = true;
        }
    }

    fn note_redirect(&mut self, client: u64, second: i64, status: u16) {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return;
        }
        if self.runner == client && second - self.ran_at <= 3 {
            self.run += 1;
        } else {
            self.run = 1;
        }
        self.runner = client;
        self.ran_at = second;
        self.redirect_run = self.redirect_run.max(self.run);
    }

    fn merge(&mut self, later: Self) {
        for (status, answers) in later.by_status {
            let sum = self.by_status.entry(status).or_default();
            sum.count += answers.count;
            sum.first = [sum.first, answers.first].into_iter().flatten().min();
            sum.last = sum.last.max(answers.last);
            sum.cited.extend(answers.cited);
            sum.cited.truncate(CITED);
        }
        self.durations.merge(later.durations);
        for (duration, cited) in later.slowest {
            if self.is_among_slowest(duration) {
                self.note_slow(duration, cited);
            }
        }
        self.from_outside |= later.from_outside;
        self.redirect_run = self.redirect_run.max(later.redirect_run);
        self.own_referrer += later.own_referrer;
        self.several_clients |= later.several_clients || self.clients[0] != later.clients[0];
    }

    /// Whether its log says when.
    fn is_timed(&self) -> bool {
        self.by_status.values().any(|answers| answers.first.is_some())
    }

    /// Whether such answers are few and spread over a long time: what people mistype and programs
    /// try now and then is on every host, and nothing to be mended.
    pub(crate) fn is_sparse(&self, statuses: std::ops::RangeInclusive<u16>) -> bool {
        let (Some(first), Some(last)) = (self.first(statuses.clone()), self.last(statuses.clone()))
        else {
            return false;
        };
        let span = (last - first).num_seconds();
        let count = i64::try_from(self.count(statuses)).unwrap_or(i64::MAX);
        span >= SPREAD && span >= count.saturating_mul(APART)
    }

    /// Whether they are sparse and begin at no point in time: beside answers that succeed before
    /// and after, or where nothing ever succeeded.
    pub(crate) fn is_usual(&self, statuses: std::ops::RangeInclusive<u16>) -> bool {
        let good = self.count(200..=399);
        let throughout = self.first(200..=399) < self.last(statuses.clone())
            && self.last(200..=399) > self.first(statuses.clone())
            && good * 3 >= self.count(statuses.clone());
        self.is_sparse(statuses) && (good == 0 || throughout)
    }

    /// Whether only one client asked for it.
    pub(crate) fn only_client(&self) -> Option<u64> {
        (!self.several_clients).then_some(self.clients[0])
    }

    /// How many answers had one of these statuses.
    pub(crate) fn count(&self, statuses: std::ops::RangeInclusive<u16>) -> u64 {
        self.by_status.range(statuses).map(|(_, answers)| answers.count).sum()
    }

    pub(crate) fn first(&self, statuses: std::ops::RangeInclusive<u16>) -> Option<DateTime<Utc>> {
        self.by_status.range(statuses).filter_map(|(_, answers)| answers.first).min()
    }

    pub(crate) fn last(&self, statuses: std::ops::RangeInclusive<u16>) -> Option<DateTime<Utc>> {
        self.by_status.range(statuses).filter_map(|(_, answers)| answers.last).max()
    }

    pub(crate) fn cited(
        &self,
        statuses: std::ops::RangeInclusive<u16>,
    ) -> impl Iterator<Item = &Cited> {
        self.by_status.range(statuses).flat_map(|(_, answers)| &answers.cited)
    }
}

/// The same for `/user/42` and `/user/7`, without making the masked path.
fn endpoint_key(hasher: &FixedState, source: usize, method: &str, path: &str) -> u64 {
    use std::hash::Hasher as _;
    let mut state = hasher.build_hasher();
    state.write_usize(source);
    state.write(method.as_bytes());
    let bytes = &path.as_bytes()[..path.len().min(200)];
    let mut start = 0;
    while start < bytes.len() {
        let end =
            bytes[start..].iter().position(u8::is_ascii_digit).map_or(bytes.len(), |n| start + n);
        state.write(&bytes[start..end]);
        start = end;
        if start < bytes.len() {
            state.write_u8(b'#');
            while start < bytes.len() && (bytes[start].is_ascii_hexdigit() || bytes[start] == b'-')
            {
                start += 1;
            }
        }
    }
    state.finish()
}

/// The text, or its first `most` bytes (whole characters).
pub(crate) fn clip(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most.min(text.len()))]
}
