//! What could be told, each with how much it says.

use std::{
    collections::{HashMap, HashSet},
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
    diagnose::{Confidence, Diagnosis, Finding, live::ERRORS},
    errors::{store::open::Open, traceback::Trace},
    logs::{
        Severity,
        template::{Drift, Template, mask},
    },
};

/// Quotations told with a finding at once; the others when there is room.
const QUOTES: usize = 3;
/// Bytes of a record that is told for its own sake, whole and short; of one that says what
/// another said.
pub(super) const RECORD: usize = 1100;
pub(super) const SHORT: usize = 260;
pub(super) const NEIGHBOUR: usize = 200;
/// Spans of time in a row of numbers.
pub(super) const SPANS: usize = 8;
/// A number that moved by less says nothing.
pub(super) const MOVED: f64 = 1.5;

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

pub(super) struct Draft<'a> {
    pub(super) collected: &'a Collector,
    hide: Hide<'a>,
    shown: HashMap<(Arc<str>, u64), String>,
    entries: Vec<Entry>,
    /// Records that findings quote, with what is quoted of them.
    pub(super) quoted: HashMap<(Arc<str>, u64), Vec<String>>,
    pub(super) scenes: Vec<Scene>,
    /// When trouble began: of each finding, and of each saying of an error.
    pub(super) onsets: Vec<DateTime<Utc>>,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
}

/// One template with what is kept of it.
pub(super) struct Saying<'a> {
    pub(super) source: &'a str,
    pub(super) template: &'a Template,
    pub(super) seen: &'a Seen,
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
    pub(super) fn templates(&self) -> Vec<Saying<'a>> {
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
    pub(super) fn say(&mut self, text: &str) -> String {
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

    pub(super) fn record(&mut self, line: &Arc<Line>, note: &str, most: usize) -> Part {
        let quoted = self.quoted.get(&(Arc::clone(&line.source), line.number)).cloned();
        let keep: Vec<String> =
            quoted.unwrap_or_default().iter().map(|text| (self.hide)(text)).collect();
        let keep: Vec<&str> = keep.iter().map(String::as_str).collect();
        let excerpt = outline(&self.shown(line), &keep, most).replace('\n', "\n    ");
        Part::Record { line: Arc::clone(line), note: note.to_owned(), excerpt }
    }

    pub(super) fn add(
        &mut self,
        section: Section,
        rank: u32,
        full: Vec<Part>,
        short: Option<Vec<Part>>,
    ) {
        self.entries.push(Entry { section, rank, full, short });
    }

    pub(super) fn span(&self, first: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) -> String {
        match (first, last) {
            (Some(first), Some(last)) if first == last => self.clock(first),
            (Some(first), Some(last)) => format!("{}–{}", self.clock(first), self.clock(last)),
            _ => "no time".to_owned(),
        }
    }

    /// The time of day, with the date where the records are of several.
    pub(super) fn clock(&self, at: DateTime<Utc>) -> String {
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

    /// Smallest, median and greatest of each span.
    pub(super) fn numbers(drift: &Drift) -> String {
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

pub(super) fn is_moved(drift: &Drift) -> bool {
    drift.factor().is_some_and(|factor| !(1.0 / MOVED..=MOVED).contains(&factor))
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
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
