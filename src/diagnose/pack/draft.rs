//! What could be told, each with how much it says.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    Collector, Hide, Pack,
    collect::{Line, Scene, Seen},
    cut::{self, Entry, Frame, Part, Section},
    excerpt::{clip, outline},
};
use crate::{
    diagnose::{
        Confidence, Diagnosis, Finding,
        live::ERRORS,
        traffic::{SLOW, is_unasked},
    },
    errors::{store::open::Open, traceback::Trace},
    logs::{
        Severity,
        template::{Drift, Template, mask},
    },
};

/// Quotations told with a finding at once; the others when there is room.
const QUOTES: usize = 3;
/// Bytes of a record that is told for its own sake, whole and short; of one that says what
/// another said; of one that only stood beside it.
const RECORD: usize = 1100;
const SHORT: usize = 260;
const NEIGHBOUR: usize = 200;
const BESIDE: usize = 160;
/// Spans of time in a row of numbers.
const SPANS: usize = 8;
/// A number that moved by less says nothing.
const MOVED: f64 = 1.5;
/// Sayings told at most.
const SAYINGS: usize = 120;

impl Collector {
    /// The pack of what was fed, in at most `budget` bytes. `errors` are the open groups;
    /// `hide` strikes out what must not leave, for one conversation always in the same way.
    pub fn finish(
        self,
        diagnosis: &Diagnosis,
        errors: &[Open],
        budget: usize,
        hide: Hide<'_>,
    ) -> Pack {
        let mut draft = Draft::new(&self, diagnosis, hide);
        draft.findings(diagnosis);
        draft.errors(errors);
        draft.requests();
        draft.sayings();
        draft.around();
        draft.cut(diagnosis, budget)
    }
}

struct Draft<'a> {
    collected: &'a Collector,
    hide: Hide<'a>,
    shown: HashMap<(Arc<str>, u64), String>,
    entries: Vec<Entry>,
    /// Records that findings quote, with what is quoted of them.
    quoted: HashMap<(Arc<str>, u64), Vec<String>>,
    scenes: Vec<Scene>,
    /// When trouble began: of each finding, and of each saying of an error.
    onsets: Vec<DateTime<Utc>>,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
}

/// One template with what is kept of it.
struct Saying<'a> {
    source: &'a str,
    template: &'a Template,
    seen: &'a Seen,
}

impl<'a> Draft<'a> {
    fn new(collected: &'a Collector, diagnosis: &Diagnosis, hide: Hide<'a>) -> Self {
        let mut draft = Self {
            collected,
            hide,
            shown: HashMap::new(),
            entries: Vec::new(),
            quoted: HashMap::new(),
            scenes: Vec::new(),
            onsets: diagnosis.findings.iter().filter_map(|finding| finding.first_seen).collect(),
            first: None,
            last: None,
        };
        for saying in draft.templates() {
            let (first, last) = (saying.template.first_seen, saying.template.last_seen);
            draft.first = Some(draft.first.map_or(first, |known| known.min(first)));
            draft.last = draft.last.max(Some(last));
            if saying.template.severity >= Severity::Error && draft.onsets.len() < 50 {
                draft.onsets.push(first);
            }
        }
        draft
    }

    /// All templates of which something is kept, in an order that is always the same.
    fn templates(&self) -> Vec<Saying<'a>> {
        let collected = self.collected;
        let mut all: Vec<Saying<'a>> = collected
            .miner
            .sources()
            .filter(|source| *source != ERRORS)
            .flat_map(|source| {
                collected.miner.templates(source).filter_map(move |template| {
                    let seen = collected.seen(source, template.id)?;
                    Some(Saying { source, template, seen })
                })
            })
            .collect();
        all.sort_by(|a, b| {
            let key =
                |saying: &Saying<'_>| (saying.template.first_seen, saying.seen.first.of.number);
            (key(a), a.source).cmp(&(key(b), b.source))
        });
        all
    }

    /// Own words with those of logs in them.
    fn say(&mut self, text: &str) -> String {
        (self.hide)(text).replace('\n', " ")
    }

    /// All of a record as the model may see it.
    fn shown(&mut self, line: &Line) -> String {
        let key = (Arc::clone(&line.source), line.number);
        if let Some(known) = self.shown.get(&key) {
            return known.clone();
        }
        let shown = (self.hide)(line.shown());
        self.shown.insert(key, shown.clone());
        shown
    }

    fn record(&mut self, line: &Arc<Line>, note: &str, most: usize) -> Part {
        let quoted = self.quoted.get(&(Arc::clone(&line.source), line.number)).cloned();
        let keep: Vec<String> =
            quoted.unwrap_or_default().iter().map(|text| (self.hide)(text)).collect();
        let keep: Vec<&str> = keep.iter().map(String::as_str).collect();
        let excerpt = outline(&self.shown(line), &keep, most).replace('\n', "\n    ");
        Part::Record { line: Arc::clone(line), note: note.to_owned(), excerpt }
    }

    fn add(&mut self, section: Section, rank: u32, full: Vec<Part>, short: Option<Vec<Part>>) {
        self.entries.push(Entry { section, rank, full, short });
    }

    fn span(&self, first: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) -> String {
        match (first, last) {
            (Some(first), Some(last)) if first == last => self.clock(first),
            (Some(first), Some(last)) => format!("{}–{}", self.clock(first), self.clock(last)),
            _ => "no time".to_owned(),
        }
    }

    /// The time of day, with the date where the records are of several.
    fn clock(&self, at: DateTime<Utc>) -> String {
        let days = |at: Option<DateTime<Utc>>| at.map(|at| at.date_naive());
        let form = if days(self.first) == days(self.last) { "%H:%M:%S" } else { "%m-%d %H:%M:%S" };
        at.format(form).to_string()
    }

    fn findings(&mut self, diagnosis: &Diagnosis) {
        for finding in &diagnosis.findings {
            for quote in &finding.evidence {
                let line = self.quoted_line(&quote.source, quote.line, &quote.text);
                let key = (Arc::clone(&line.source), line.number);
                self.quoted.entry(key).or_default().push(quote.text.clone());
            }
        }
        for (index, finding) in diagnosis.findings.iter().enumerate() {
            self.finding(index, finding);
        }
        for note in diagnosis.notes.iter().take(8) {
            let text = format!("note: {}", self.say(note));
            self.add(Section::Findings, 47, vec![Part::Text(clip(&text, &[], 400))], None);
        }
    }

    fn finding(&mut self, index: usize, finding: &Finding) {
        let certain = finding.confidence > Confidence::Inconclusive;
        let number = u32::try_from(index).unwrap_or(u32::MAX).min(20);
        let rank = if certain && index < 4 { 10 + number } else { 44 + number };
        let span = self.span(finding.first_seen, finding.last_seen);
        let head = format!(
            "finding {}: cause {} ({}, {}), {} records, {span}",
            index + 1,
            finding.cause,
            finding.confidence.as_str(),
            finding.severity,
            finding.count,
        );
        let mut more = format!("  {}. {}", finding.title, finding.explanation);
        if !finding.effects.is_empty() {
            let _ = write!(more, " Effects: {}.", finding.effects.join("; "));
        }
        if let Some(deploy) = &finding.deploy {
            let _ = write!(more, " {}", deploy.text);
        }
        let more = clip(&self.say(&more), &[], 900);
        let quotes: Vec<Arc<Line>> = finding
            .evidence
            .iter()
            .map(|quote| self.quoted_line(&quote.source, quote.line, &quote.text))
            .collect();
        let mut told = HashSet::new();
        let quotes: Vec<Arc<Line>> = quotes
            .into_iter()
            .filter(|line| told.insert((Arc::clone(&line.source), line.number)))
            .collect();
        let (mut full, mut short) =
            (vec![Part::Text(head.clone()), Part::Text(more)], vec![Part::Text(head)]);
        let mut said = HashSet::new();
        for (place, line) in quotes.iter().enumerate() {
            // the same said again needs no more than its beginning
            let is_new = said.insert(said_by(line));
            if place < QUOTES {
                full.push(self.record(line, "", if is_new { RECORD } else { NEIGHBOUR }));
                if place == 0 {
                    short.push(self.record(line, "", SHORT));
                }
            } else {
                let part = self.record(line, "", if is_new { SHORT } else { NEIGHBOUR });
                let rank = if certain { 38 } else { 62 } + number;
                self.add(Section::Findings, rank, vec![part], None);
            }
        }
        self.add(Section::Findings, rank, full, Some(short));
    }

    /// The record that holds a quoted line; the quotation itself where it has gone.
    fn quoted_line(&mut self, source: &str, line: u64, text: &str) -> Arc<Line> {
        if let Some(scene) = self.collected.quoted(source, line) {
            if !self.scenes.iter().any(|known| Arc::ptr_eq(&known.of, &scene.of)) {
                self.scenes.push(scene.clone());
            }
            return Arc::clone(&scene.of);
        }
        Arc::new(Line::quoted(source, line, text))
    }

    fn errors(&mut self, errors: &[Open]) {
        let mut errors: Vec<&Open> = errors.iter().collect();
        errors.sort_by_key(|error| std::cmp::Reverse((error.count, error.group_id)));
        for (index, error) in errors.into_iter().take(60).enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let rank = if index < 4 { 20 + number } else { 56 + number };
            let mut text = format!(
                "error group {}: {} | {} events, {} | {}",
                error.group_id,
                error.title,
                error.count,
                self.span(Some(error.first_seen), Some(error.last_seen)),
                error.severity,
            );
            if let Some(endpoint) = &error.endpoint {
                let _ = write!(text, " | {} {endpoint}", error.method.as_deref().unwrap_or("GET"));
            }
            if !error.app.is_empty() {
                let _ = write!(text, " | app {}", error.app);
            }
            let frames = own_frames(error);
            if !frames.is_empty() {
                let _ = write!(text, " | in {frames}");
            }
            let text = clip(&self.say(&text), &[], 500);
            let id = error.event_id.unsigned_abs();
            let line = self.quoted_line(ERRORS, id, &super::super::live::event_text(error));
            let record = self.record(&line, "", 600);
            let short = self.record(&line, "", SHORT);
            let full = vec![Part::Text(text.clone()), record];
            self.add(Section::Errors, rank, full, Some(vec![Part::Text(text), short]));
        }
    }

    fn requests(&mut self) {
        let mut rows: BTreeMap<(&str, &str), Vec<Saying<'_>>> = BTreeMap::new();
        for saying in self.templates() {
            if saying.seen.status.is_some() {
                rows.entry((saying.source, &saying.template.text)).or_default().push(saying);
            }
        }
        if rows.is_empty() {
            return;
        }
        self.timeline(rows.values().flatten());
        // what the proxy logged, the application behind it logs once more
        let outer: HashSet<&str> = rows
            .iter()
            .filter(|(_, row)| row.iter().any(|saying| !saying.seen.inner))
            .map(|((_, path), _)| *path)
            .collect();
        let mut ranked: Vec<(u32, u64, Vec<Part>, Vec<Part>)> = Vec::new();
        for ((source, path), mut row) in rows {
            let inner = row.iter().all(|saying| saying.seen.inner);
            if inner && outer.contains(path) {
                continue;
            }
            row.sort_by_key(|saying| saying.seen.status);
            let count = |from: u16, to: u16| -> u64 {
                let fits = |saying: &&Saying<'_>| {
                    saying.seen.status.is_some_and(|status| (from..to).contains(&status))
                };
                row.iter().filter(fits).map(|saying| saying.template.count).sum()
            };
            let (failed, refused) = (count(500, 600), count(400, 500));
            let slow = row.iter().any(|saying| {
                saying.seen.slowest.as_ref().is_some_and(|(seconds, _)| *seconds >= SLOW)
            });
            let unasked = is_unasked(&path.replace(" /", "/"));
            let (level, harm) = match (failed, slow, refused) {
                (1.., ..) => (0, failed),
                (_, true, _) => (1, count(0, u16::MAX)),
                (_, _, 1..) if !unasked => (2, refused),
                _ => (3, count(0, u16::MAX)),
            };
            let (full, short) = self.row(source, path, &row);
            ranked.push((level, harm, full, short));
        }
        ranked.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        for (index, (level, _, full, short)) in ranked.into_iter().take(80).enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let rank = match level {
                0..=2 if index < 6 => 25 + number,
                0..=2 => 52 + number,
                _ => 80 + number,
            };
            self.add(Section::Requests, rank, full, Some(short));
        }
    }

    /// One path: its statuses, seconds, and a failing and a slow request.
    fn row(&mut self, source: &str, path: &str, row: &[Saying<'_>]) -> (Vec<Part>, Vec<Part>) {
        let mut text = format!("{} in {source}:", path.replace(" /", "/").replacen('/', " /", 1));
        let mut records: Vec<(Arc<Line>, String)> = Vec::new();
        for saying in row {
            let (template, seen) = (saying.template, saying.seen);
            let status = seen.status.unwrap_or_default();
            let span = self.span(Some(template.first_seen), Some(template.last_seen));
            let _ = write!(text, " {status} ×{} ({span})", template.count);
            if let Some(drift) = template.drifts.first() {
                let _ = write!(text, " seconds {}", Self::numbers(drift));
                if let Some(step) = seen.durations.step()
                    && step.after / step.before.max(0.001) >= MOVED
                {
                    let _ =
                        write!(text, ", from {:.3} to {:.3} on average", step.before, step.after);
                }
            }
            text.push(',');
            if status >= 400 {
                records.push((Arc::clone(&seen.first.of), String::new()));
                if let Some(last) = &seen.last {
                    records.push((Arc::clone(&last.of), " (last)".to_owned()));
                }
            }
            if let Some((seconds, line)) = &seen.slowest
                && *seconds >= SLOW
            {
                records.push((Arc::clone(line), format!(" (slowest, {seconds:.3} s)")));
            }
        }
        text.pop();
        let text = Part::Text(clip(&self.say(&text), &[], 600));
        let (mut full, mut short) = (vec![text.clone()], vec![text]);
        for (index, (line, note)) in records.iter().take(4).enumerate() {
            full.push(self.record(line, note, NEIGHBOUR));
            if index == 0 {
                short.push(self.record(line, note, 140));
            }
        }
        (full, short)
    }

    /// How many requests there were over time, and what share of them failed.
    fn timeline<'s>(&mut self, requests: impl Iterator<Item = &'s Saying<'s>>) {
        let mut minutes: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        let (mut all, mut failed) = (0, 0);
        for saying in requests.filter(|saying| !saying.seen.inner) {
            let is_failure = saying.seen.status.is_some_and(|status| status >= 500);
            all += saying.template.count;
            failed += if is_failure { saying.template.count } else { 0 };
            for (minute, count) in &saying.template.minutes {
                let sum = minutes.entry(*minute).or_default();
                sum.0 += u64::from(*count);
                sum.1 += if is_failure { u64::from(*count) } else { 0 };
            }
        }
        if all == 0 {
            return;
        }
        let minutes: Vec<(i64, (u64, u64))> = minutes.into_iter().collect();
        let width = minutes.len().div_ceil(SPANS).max(1);
        let spans = minutes.chunks(width).filter_map(|chunk| {
            let at = DateTime::from_timestamp(chunk.first()?.0 * 60, 0)?;
            let (all, failed) =
                chunk.iter().fold((0, 0), |sum, (_, counts)| (sum.0 + counts.0, sum.1 + counts.1));
            Some(format!("{} {all} ({})", at.format("%H:%M"), share(failed, all)))
        });
        let text = format!(
            "all: {all} requests, {} answered 5xx; by time (share of 5xx): {}",
            share(failed, all),
            spans.collect::<Vec<_>>().join(", ")
        );
        self.add(Section::Requests, 24, vec![Part::Text(text)], None);
    }

    /// Smallest, median and greatest of each span.
    fn numbers(drift: &Drift) -> String {
        let buckets = drift.buckets();
        let step = buckets.len().div_ceil(SPANS).max(1);
        let spans = buckets.iter().step_by(step).map(|bucket| {
            let (min, median, max) = (bucket.min, bucket.median(), bucket.max);
            let at = bucket.from.format("%H:%M");
            if (max - min).abs() < f64::EPSILON {
                format!("{at} {}", number(median))
            } else {
                format!("{at} {}/{}/{}", number(min), number(median), number(max))
            }
        });
        spans.collect::<Vec<_>>().join(", ")
    }

    fn sayings(&mut self) {
        let mut ranked: Vec<(u32, u64, Saying<'_>)> = self
            .templates()
            .into_iter()
            .filter(|saying| saying.seen.status.is_none())
            .map(|saying| (self.weight(&saying), saying.template.count, saying))
            .collect();
        ranked.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        // the journal repeats what programs write to their files
        let mut told: HashMap<String, usize> = HashMap::new();
        let mut counts = [0_u32; 3];
        for (weight, _, saying) in ranked.into_iter().take(SAYINGS) {
            let text = saying.template.text.clone();
            if saying.template.severity < Severity::Error && told.contains_key(&text) {
                continue;
            }
            *told.entry(text).or_default() += 1;
            let class = match weight {
                0..10 => 0,
                10..20 => 1,
                _ => 2,
            };
            let number = counts[class];
            counts[class] += 1;
            let rank = match (class, number) {
                (0, 0..5) => 15 + number,
                (0, _) => 30 + number,
                (1, _) => 40 + number,
                _ => 64 + number,
            };
            self.saying(&saying, rank);
        }
    }

    /// Errors first, then what is near the beginning of trouble or moved, then the rest.
    fn weight(&self, saying: &Saying<'_>) -> u32 {
        let template = saying.template;
        let near = |at: DateTime<Utc>| {
            self.onsets.iter().map(|onset| (at - *onset).num_seconds().abs()).min()
        };
        let key = (Arc::clone(&saying.seen.first.of.source), saying.seen.first.of.number);
        let quoted = self.quoted.contains_key(&key);
        let moved = template.drifts.iter().any(is_moved);
        match template.severity {
            Severity::Critical => 0,
            Severity::Error => 1 + u32::from(!quoted),
            Severity::Warning => 10 + u32::from(!quoted),
            _ => {
                // within ten seconds of a beginning, within two minutes, else
                let distance = near(template.first_seen)
                    .into_iter()
                    .chain(near(template.last_seen))
                    .min()
                    .unwrap_or(i64::MAX);
                let distance = match distance {
                    0..=10 => 0,
                    11..=120 => 2,
                    _ => 5,
                };
                let often = if template.count <= 3 { 0 } else { 2 };
                20 + distance + if moved { 0 } else { often + 1 }
            }
        }
    }

    fn saying(&mut self, saying: &Saying<'_>, rank: u32) {
        let (template, seen) = (saying.template, saying.seen);
        let mut note = format!(" {}", template.severity);
        if template.count > 1 {
            let _ = write!(note, " ×{} until {}", template.count, self.clock(template.last_seen));
        }
        if !template.component.is_empty() {
            let component = self.say(&template.component);
            let _ = write!(note, " {}", clip(&component, &[], 60));
        }
        let is_trouble = template.severity >= Severity::Warning;
        let most = if is_trouble { RECORD } else { NEIGHBOUR };
        let mut full = vec![self.record(&seen.first.of, &note, most)];
        let short = vec![self.record(&seen.first.of, &note, SHORT.min(most))];
        if seen.upstreams.len() > 1 {
            let counts = seen
                .upstreams
                .iter()
                .map(|(asked, count)| format!("upstream: \"{asked}\" ×{count}"));
            let counts = counts.collect::<Vec<_>>().join(", ");
            let counts = self.say(&format!("    {counts}"));
            full.push(Part::Text(clip(&counts, &[], 500)));
        }
        for (index, drift) in template.drifts.iter().enumerate().filter(|(_, d)| is_moved(d)) {
            let numbers = Self::numbers(drift);
            full.push(Part::Text(format!("    number {} by time: {numbers}", index + 1)));
        }
        self.add(Section::Sayings, rank, full, Some(short));
        if is_trouble {
            if !self.scenes.iter().any(|known| Arc::ptr_eq(&known.of, &seen.first.of)) {
                self.scenes.push(seen.first.clone());
            }
            if let Some(last) = &seen.last {
                let part = self.record(&last.of, " (last)", SHORT);
                self.add(Section::Sayings, rank.max(46) + 2, vec![part], None);
            }
        }
    }

    fn around(&mut self) {
        let mut told: HashSet<(Arc<str>, u64)> = HashSet::new();
        for (index, scene) in std::mem::take(&mut self.scenes).into_iter().take(60).enumerate() {
            let mut lines: Vec<Arc<Line>> =
                scene.before.iter().chain([&scene.of]).chain(&scene.after).cloned().collect();
            if let Some(request) = &scene.request {
                let same = self.collected.of_request(request);
                lines.extend(same.iter().filter(|line| line.number != scene.of.number).cloned());
            }
            let is_new = |line: &Arc<Line>| {
                !told.contains(&(Arc::clone(&line.source), line.number))
                    && !Arc::ptr_eq(line, &scene.of)
            };
            if !lines.iter().any(is_new) {
                continue;
            }
            lines.sort_by_key(|line| line.number);
            lines.dedup_by_key(|line| line.number);
            let mut full = Vec::new();
            if let Some(request) = &scene.request {
                let request = self.say(request);
                full.push(Part::Text(format!("request {}:", clip(&request, &[], 80))));
            }
            for line in &lines {
                told.insert((Arc::clone(&line.source), line.number));
                full.push(self.record(line, "", BESIDE));
            }
            full.push(Part::Text("--".to_owned()));
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let rank = if index < 4 { 36 + number } else { 66 + number };
            self.add(Section::Around, rank, full, None);
        }
    }

    fn cut(mut self, diagnosis: &Diagnosis, budget: usize) -> Pack {
        let mut head = format!(
            "{} lines of {} logs were read. Times are UTC.",
            diagnosis.scanned.lines, diagnosis.scanned.files
        );
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let form = "%Y-%m-%d %H:%M:%S";
            let (first, last) = (first.format(form), last.format(form));
            let _ = write!(head, " They are from {first} to {last}.");
        }
        head.push_str(" [n] numbers a record: source:line.\n");
        if diagnosis.findings.is_empty() {
            head.push_str("The advisor found no cause.\n");
        }
        let entries = std::mem::take(&mut self.entries);
        let (first, last) = (self.first, self.last);
        let time = move |line: &Line| {
            let days = |at: Option<DateTime<Utc>>| at.map(|at| at.date_naive());
            let form = if days(first) == days(last) { " %H:%M:%S" } else { " %m-%d %H:%M:%S" };
            line.at.map(|at| at.format(form).to_string()).unwrap_or_default()
        };
        cut::cut(entries, Frame { head, budget, show: &mut |line| self.shown(line), time: &time })
    }
}

/// What a record says, without what varies: its first line and its last.
fn said_by(line: &Line) -> String {
    let text = line.shown();
    let first = text.lines().next().unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    mask(&format!("{first} {last}"))
}

fn is_moved(drift: &Drift) -> bool {
    drift.factor().is_some_and(|factor| !(1.0 / MOVED..=MOVED).contains(&factor))
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn share(part: u64, all: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / all.max(1) as f64)
}

/// The innermost frames of the application itself, the deepest first.
fn own_frames(error: &Open) -> String {
    let trace = error.error_stack.as_deref().and_then(Trace::parse);
    let Some(raised) = trace.as_ref().and_then(Trace::raised) else { return String::new() };
    let frames: Vec<String> = raised
        .frames
        .iter()
        .rev()
        .filter(|frame| frame.in_app)
        .take(4)
        .map(|frame| format!("{} {}", frame.file, frame.function))
        .collect();
    frames.join(" < ")
}
