//! One walk over the records, after the diagnosis: what is said how often, what stood
//! beside each error, which records belong to one request. Of bounded size, whatever is fed.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::super::{Diagnosis, series::Series, traffic::is_loopback};
use crate::{
    logs::{Kind, Record, Severity, template::Miner},
    outbound::visit::AGENT,
};

/// Records kept before and after an interesting one.
const BEFORE: usize = 4;
const AFTER: usize = 3;
/// Bytes of a record that are kept; a traceback's end says more than its middle.
const HEAD: usize = 3072;
const TAIL: usize = 3072;
/// Scenes that may be open or kept: first occurrences and quoted lines.
const SCENES: usize = 200;
/// Requests whose records are remembered, and records of one.
const REQUESTS: usize = 2000;
const OF_REQUEST: usize = 8;
/// Upstream addresses that are counted for one of nginx's errors.
const UPSTREAMS: usize = 8;

/// A record as the pack keeps it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub source: Arc<str>,
    /// Number of its first line.
    pub number: u64,
    /// Of several lines the number of each in its log.
    pub numbers: Vec<u64>,
    pub at: Option<DateTime<Utc>>,
    /// As it stands in the log; long ones without their middle.
    pub text: String,
    /// What a reader should see where that is not the text: a JSON record's message.
    pub plain: Option<String>,
}

/// A record with what stood before and after it in its log.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub of: Arc<Line>,
    pub before: Vec<Arc<Line>>,
    pub after: Vec<Arc<Line>>,
    pub request: Option<Box<str>>,
}

/// The occurrences of one template that are kept.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub first: Scene,
    pub last: Option<Scene>,
    /// The slowest request, in seconds.
    pub slowest: Option<(f64, Arc<Line>)>,
    pub durations: Series,
    /// Only programs of this host asked: the log of an application behind a proxy.
    pub inner: bool,
    /// Of requests, how they were answered.
    pub status: Option<u16>,
    /// Of nginx's errors what was asked of which server, and how often.
    pub upstreams: Vec<(Box<str>, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    First(u64),
    Last(u64),
    Quote(usize),
}

#[derive(Debug, Default)]
struct Log {
    tail: VecDeque<Arc<Line>>,
    /// Scenes that still take what comes after, with how many records they want.
    open: Vec<(Slot, usize)>,
    seen: HashMap<u64, Seen>,
    /// Lines that the diagnosis quotes.
    quoted: Vec<u64>,
}

#[derive(Debug, Default)]
struct Request {
    lines: Vec<Arc<Line>>,
    wanted: bool,
}

/// See the module's first line. Feed it the records the diagnosis was made from, in the
/// same order.
#[derive(Debug)]
pub struct Collector {
    pub(super) miner: Miner,
    /// When a record without a time counts as written: at its neighbour's.
    arrived: DateTime<Utc>,
    logs: BTreeMap<Arc<str>, Log>,
    /// The records that hold quoted lines.
    quotes: BTreeMap<usize, Scene>,
    requests: HashMap<Box<str>, Request>,
    order: VecDeque<Box<str>>,
    scenes: usize,
}

impl Collector {
    /// `now` stands for the time of records that name none, before any that does.
    pub fn new(diagnosis: &Diagnosis, now: DateTime<Utc>) -> Self {
        let mut logs: BTreeMap<Arc<str>, Log> = BTreeMap::new();
        for quote in diagnosis.findings.iter().flat_map(|finding| &finding.evidence) {
            logs.entry(quote.source.as_str().into()).or_default().quoted.push(quote.line);
        }
        for log in logs.values_mut() {
            log.quoted.sort_unstable();
            log.quoted.dedup();
        }
        Self {
            miner: Miner::new(),
            arrived: now,
            logs,
            quotes: BTreeMap::new(),
            requests: HashMap::new(),
            order: VecDeque::new(),
            scenes: 0,
        }
    }

    /// Takes one record of the log `source`.
    pub fn feed(&mut self, source: &str, record: &Record<'_>) {
        // what Lux asks to test a fix is nobody's traffic
        if record.access().is_some_and(|access| access.agent.starts_with(AGENT)) {
            return;
        }
        self.arrived = record.at.unwrap_or(self.arrived);
        let template = self.miner.add(source, record, self.arrived);
        if !self.logs.contains_key(source) {
            self.logs.insert(source.into(), Log::default());
        }
        let Some((name, log)) =
            self.logs.get_key_value(source).map(|(name, _)| name.clone()).and_then(|name| {
                let log = self.logs.get_mut(&name)?;
                Some((name, log))
            })
        else {
            return;
        };
        let last_line = record.line_at(record.text.len());
        let quoted = {
            let from = log.quoted.partition_point(|line| *line < record.line);
            log.quoted.get(from).is_some_and(|line| *line <= last_line)
        };
        let is_new = !log.seen.contains_key(&template);
        let wanted = quoted || record.severity >= Severity::Warning;
        let access = record.access();
        let slow = access.and_then(|access| access.duration);
        // a request like those before it costs no copy
        if let (false, false, Some(access)) = (is_new, quoted, access) {
            if let Some(seen) = log.seen.get_mut(&template) {
                seen.inner &= is_loopback(access.client);
                if let Some(slow) = slow {
                    seen.durations.push(slow);
                }
                let record_slow =
                    slow.filter(|slow| seen.slowest.as_ref().is_none_or(|(known, _)| slow > known));
                if record_slow.is_some() || access.status >= 400 {
                    let line = Arc::new(Line::of(name, record));
                    if let Some(slow) = record_slow {
                        seen.slowest = Some((slow, Arc::clone(&line)));
                    }
                    seen.last = Some(Scene::alone(line));
                }
            }
            return;
        }
        let line = Arc::new(Line::of(name, record));
        let request = record.logger().and_then(|logger| logger.request_id.as_deref());

        // what follows an interesting record
        log.open.retain_mut(|(slot, wants)| {
            let scene = match slot {
                Slot::First(id) => log.seen.get_mut(id).map(|seen| &mut seen.first),
                Slot::Last(id) => log.seen.get_mut(id).and_then(|seen| seen.last.as_mut()),
                Slot::Quote(index) => self.quotes.get_mut(index),
            };
            if let Some(scene) = scene {
                scene.after.push(Arc::clone(&line));
            }
            *wants -= 1;
            *wants > 0
        });
        let scene = |wanted: bool, tail: &VecDeque<Arc<Line>>| Scene {
            of: Arc::clone(&line),
            before: if wanted { tail.iter().cloned().collect() } else { Vec::new() },
            after: Vec::new(),
            request: request.filter(|_| wanted).map(Into::into),
        };
        let roomy = self.scenes < SCENES && access.is_none();
        if quoted && self.quotes.len() < SCENES {
            let index = self.quotes.len();
            self.quotes.insert(index, scene(roomy, &log.tail));
            if roomy {
                self.scenes += 1;
                log.open.push((Slot::Quote(index), AFTER));
            }
        }
        match log.seen.get_mut(&template) {
            None => {
                let keep = wanted && roomy;
                let seen = Seen {
                    first: scene(keep, &log.tail),
                    last: None,
                    slowest: slow.map(|slow| (slow, Arc::clone(&line))),
                    durations: Series::default(),
                    inner: access.is_some_and(|access| is_loopback(access.client)),
                    status: access.map(|access| access.status),
                    upstreams: Vec::new(),
                };
                let seen = log.seen.entry(template).or_insert(seen);
                if let Some(slow) = slow {
                    seen.durations.push(slow);
                }
                if keep {
                    self.scenes += 1;
                    log.open.push((Slot::First(template), AFTER));
                }
            }
            Some(seen) => {
                let keep = wanted && access.is_none();
                seen.last = Some(scene(keep, &log.tail));
                log.open.retain(|(slot, _)| *slot != Slot::Last(template));
                if keep {
                    log.open.push((Slot::Last(template), AFTER));
                }
            }
        }
        if let Some(asked) = record.nginx().and_then(|nginx| nginx.upstream)
            && let Some(seen) = log.seen.get_mut(&template)
        {
            seen.count_upstream(asked);
        }
        if access.is_none() {
            log.tail.push_back(Arc::clone(&line));
            if log.tail.len() > BEFORE {
                log.tail.pop_front();
            }
        }
        // the miner forgets templates: what was kept of them goes too
        if log.seen.len() > 1100 {
            let known: HashSet<u64> = self.miner.templates(source).map(|known| known.id).collect();
            log.seen.retain(|id, _| known.contains(id));
        }
        if let Some(request) = request {
            self.note_request(request, line, wanted);
        }
    }

    fn note_request(&mut self, id: &str, line: Arc<Line>, wanted: bool) {
        if !self.requests.contains_key(id) {
            if self.order.len() >= REQUESTS
                && let Some(oldest) = self.order.pop_front()
                && self.requests.get(&oldest).is_some_and(|request| !request.wanted)
            {
                self.requests.remove(&oldest);
            }
            if self.requests.len() >= 2 * REQUESTS {
                return;
            }
            self.requests.insert(id.into(), Request::default());
            self.order.push_back(id.into());
        }
        if let Some(request) = self.requests.get_mut(id) {
            request.wanted |= wanted;
            if request.lines.len() < OF_REQUEST {
                request.lines.push(line);
            }
        }
    }

    /// The records that hold the lines that the diagnosis quotes.
    pub(super) fn quoted(&self, source: &str, line: u64) -> Option<&Scene> {
        self.quotes.values().find(|scene| &*scene.of.source == source && scene.of.holds(line))
    }

    /// What is kept of a template's occurrences.
    pub(super) fn seen(&self, source: &str, template: u64) -> Option<&Seen> {
        self.logs.get(source)?.seen.get(&template)
    }

    /// The records of one request.
    pub(super) fn of_request(&self, id: &str) -> &[Arc<Line>] {
        self.requests.get(id).map_or(&[], |request| &request.lines)
    }
}

impl Seen {
    fn count_upstream(&mut self, asked: &str) {
        let asked = asked.split('?').next().unwrap_or_default();
        match self.upstreams.iter().position(|(known, _)| **known == *asked) {
            Some(at) => self.upstreams[at].1 += 1,
            None if self.upstreams.len() < UPSTREAMS && asked.len() < 200 => {
                self.upstreams.push((asked.into(), 1));
            }
            None => {}
        }
    }
}

impl Scene {
    fn alone(of: Arc<Line>) -> Self {
        Self { of, before: Vec::new(), after: Vec::new(), request: None }
    }
}

impl Line {
    fn of(source: Arc<str>, record: &Record<'_>) -> Self {
        let plain = record.logger().and_then(|logger| logger.unescaped.as_deref());
        let (text, mut numbers) = kept(record);
        if record.kind == Kind::Event {
            // an event is cited by its id, whichever of its lines is meant
            numbers.fill(record.line);
        }
        Self {
            source,
            number: record.line,
            numbers,
            at: record.at,
            text,
            plain: plain.map(|plain| match gap(plain) {
                Some((head, tail)) => format!("{}\n{GAP}\n{}", &plain[..head], &plain[tail..]),
                None => plain.to_owned(),
            }),
        }
    }

    /// A quotation whose record is not at hand.
    pub(super) fn quoted(source: &str, line: u64, text: &str) -> Self {
        Self {
            source: source.into(),
            number: line,
            numbers: Vec::new(),
            at: None,
            text: text.to_owned(),
            plain: None,
        }
    }

    /// Whether the line `number` of its log is one of its own.
    pub(super) fn holds(&self, number: u64) -> bool {
        self.number == number || self.numbers.contains(&number)
    }

    /// What a reader is shown.
    pub(super) fn shown(&self) -> &str {
        self.plain.as_deref().unwrap_or(&self.text)
    }
}

/// Stands for what was left out of a long record.
pub(super) const GAP: &str = "…";

/// Where the middle of a long text begins and ends, at ends of lines if there are some.
fn gap(text: &str) -> Option<(usize, usize)> {
    if text.len() <= HEAD + TAIL {
        return None;
    }
    let head = text.floor_char_boundary(HEAD);
    let head = text[..head].rfind('\n').unwrap_or(head);
    let tail = text.ceil_char_boundary(text.len() - TAIL);
    let tail = text[tail..].find('\n').map_or(tail, |end| tail + end + 1);
    Some((head, tail))
}

/// The text of a record without its middle, and the numbers of its lines.
fn kept(record: &Record<'_>) -> (String, Vec<u64>) {
    let text = &*record.text;
    let gap = gap(text);
    let mut kept = String::with_capacity(text.len().min(HEAD + TAIL + 8));
    let mut numbers = Vec::new();
    let (mut offset, mut number) = (0, record.line);
    let mut jumps = record.jumps.iter().peekable();
    for line in text.split('\n') {
        while let Some(jump) = jumps.next_if(|jump| jump.at <= offset) {
            number = jump.line;
        }
        let end = offset + line.len();
        match gap {
            Some((head, tail)) if end > head && offset < tail => {
                // a single line of great length is cut within
                if offset < head {
                    kept.push_str(&text[offset..head]);
                    numbers.push(number);
                    kept.push('\n');
                }
                if numbers.last() != Some(&0) {
                    kept.push_str(GAP);
                    numbers.push(0);
                    kept.push('\n');
                }
                if end > tail {
                    kept.push_str(&text[tail..end]);
                    numbers.push(number);
                    kept.push('\n');
                }
            }
            _ => {
                kept.push_str(line);
                numbers.push(number);
                kept.push('\n');
            }
        }
        offset = end + 1;
        number += 1;
    }
    kept.pop();
    if numbers.len() == 1 {
        numbers.clear();
    }
    (kept, numbers)
}
