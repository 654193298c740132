//! Templates of what a source says, found while reading: masked lines that are equal
//! are one, those that agree in half their words become one (Drain's leaf).

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash},
};

use chrono::{DateTime, Utc};

use super::{drift::Drift, mask, path};
use crate::logs::record::{Kind, Record, Severity};

/// Templates of one source; the least recently seen makes room.
const TEMPLATES: usize = 1000;
/// Masked lines whose template is remembered, a source.
const REMEMBERED: usize = 20_000;
/// Templates with one beginning that a new line is compared with.
const LEAF: usize = 128;
/// Share of words that must agree.
const ALIKE: f64 = 0.5;
/// Paths that one method and status may have before they are merged: a crawler makes up any number.
const PATHS: usize = 100;
/// Minutes with counts, numbers with drift, bytes of a sample, words of a template.
const MINUTES: usize = 180;
const NUMBERS: usize = 4;
const SAMPLE: usize = 2048;
const WORDS: usize = 64;

/// Something that a source says again and again.
#[derive(Clone, Debug)]
pub struct Template {
    /// Stable as long as the template is kept, equal after a restart for equal lines.
    pub id: u64,
    pub kind: Kind,
    pub severity: Severity,
    /// Logger, identifier or unit; empty where the record names none.
    pub component: String,
    /// The masked words; `<*>` where merged lines differ.
    pub text: String,
    pub count: u64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// The first record, the latest, and one in between taken by chance, each cut at 2 KiB.
    pub samples: [String; 3],
    /// How often in each minute (since 1970) of the last three hours in which it occurred.
    pub minutes: VecDeque<(i64, u32)>,
    /// The first numbers of the message over time; of a request its seconds.
    pub drifts: Vec<Drift>,
    words: Vec<u64>,
    leaf: u64,
    used: u64,
}

/// Finds the templates of many sources. Holds at most 1000 a source.
#[derive(Debug, Default)]
pub struct Miner {
    sources: HashMap<String, Source>,
}

#[derive(Debug, Default)]
struct Source {
    templates: HashMap<u64, Template>,
    /// Masked line (with its severity and so on) to template.
    known: HashMap<u64, u64>,
    /// Severity, component, code, word count and first word to templates.
    leaves: HashMap<u64, Vec<u64>>,
    tick: u64,
}

impl Miner {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a record, at its own time or else at `arrived`; the id of its template.
    pub fn add(&mut self, source: &str, record: &Record<'_>, arrived: DateTime<Utc>) -> u64 {
        let at = record.at.unwrap_or(arrived);
        let component = component(record);
        let said = said(record);
        let masked = match record.access() {
            Some(access) => format!("{} {}", access.method, path(access.target).replace('/', " /")),
            None => mask(&said),
        };
        let key = (record.said_kind(), record.severity, component, code(record, &said));
        let exact = hash((&key, &masked));
        if !self.sources.contains_key(source) {
            self.sources.insert(source.to_owned(), Source::default());
        }
        let Some(source) = self.sources.get_mut(source) else { return exact };
        source.tick += 1;
        let known = source.known.get(&exact).filter(|id| source.templates.contains_key(id));
        let id = if let Some(id) = known {
            *id
        } else {
            let words: Vec<&str> =
                masked.split(' ').filter(|word| !word.is_empty()).take(WORDS).collect();
            let first = words.first().filter(|word| !varies(word)).copied().unwrap_or_default();
            let leaf = hash((&key, words.len(), first));
            let id = source.place(
                exact,
                leaf,
                &words,
                || Template {
                    id: exact,
                    kind: record.said_kind(),
                    severity: record.severity,
                    component: component.to_owned(),
                    text: words.join(" "),
                    count: 0,
                    first_seen: at,
                    last_seen: at,
                    samples: [sample(record), String::new(), String::new()],
                    minutes: VecDeque::new(),
                    drifts: Vec::new(),
                    words: words.iter().map(hash).collect(),
                    leaf,
                    used: 0,
                },
                record.access().is_some(),
            );
            if source.known.len() >= REMEMBERED {
                source.known.clear();
            }
            source.known.insert(exact, id);
            id
        };
        let tick = source.tick;
        if let Some(template) = source.templates.get_mut(&id) {
            template.see(record, &said, at, tick, hash((tick, exact)));
        }
        id
    }

    /// The templates of a source, in no order.
    pub fn templates(&self, source: &str) -> impl Iterator<Item = &Template> {
        self.sources.get(source).into_iter().flat_map(|source| source.templates.values())
    }

    /// The sources that have said anything.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }
}

impl Source {
    /// The template for words that have not been seen like this.
    fn place(
        &mut self,
        id: u64,
        leaf: u64,
        words: &[&str],
        new: impl FnOnce() -> Template,
        is_path: bool,
    ) -> u64 {
        let hashes: Vec<u64> = words.iter().map(hash).collect();
        let star = hash("<*>");
        let members = self.leaves.entry(leaf).or_default();
        let mut best: Option<(u64, usize)> = None;
        // few paths are worth telling apart, many are not
        if !is_path || members.len() >= PATHS {
            for member in members.iter() {
                let Some(template) = self.templates.get(member) else { continue };
                let same = template.words.iter().zip(&hashes).filter(|(a, b)| a == b).count();
                if best.is_none_or(|(_, most)| same > most) {
                    best = Some((*member, same));
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 64 words")]
        let alike = |same: usize| same as f64 >= ALIKE * words.len() as f64;
        if let Some((member, same)) = best
            && (alike(same) || members.len() >= LEAF)
            && let Some(template) = self.templates.get_mut(&member)
        {
            let text =
                template.text.split(' ').zip(words).map(|(a, b)| if a == *b { a } else { "<*>" });
            template.text = text.collect::<Vec<_>>().join(" ");
            for (a, b) in template.words.iter_mut().zip(&hashes) {
                if a != b {
                    *a = star;
                }
            }
            return member;
        }
        members.push(id);
        self.templates.insert(id, new());
        if self.templates.len() > TEMPLATES {
            self.forget(id);
        }
        id
    }

    /// Drops the template that was seen least recently, but not `newest`.
    fn forget(&mut self, newest: u64) {
        let oldest = self.templates.values().filter(|template| template.id != newest);
        let Some((id, leaf)) = oldest.min_by_key(|template| template.used).map(|t| (t.id, t.leaf))
        else {
            return;
        };
        self.templates.remove(&id);
        if let Some(members) = self.leaves.get_mut(&leaf) {
            members.retain(|member| *member != id);
            if members.is_empty() {
                self.leaves.remove(&leaf);
            }
        }
    }
}

impl Template {
    fn see(&mut self, record: &Record<'_>, said: &str, at: DateTime<Utc>, tick: u64, chance: u64) {
        self.count += 1;
        self.used = tick;
        self.first_seen = self.first_seen.min(at);
        self.last_seen = self.last_seen.max(at);
        if self.count > 1 {
            // each record has the same chance to be the one that is kept
            if chance.is_multiple_of(self.count) || self.samples[2].is_empty() {
                self.samples[2] = sample(record);
            }
            self.samples[1] = sample(record);
        }
        let minute = at.timestamp().div_euclid(60);
        let recent = self.minutes.iter_mut().rev().take(5).find(|(known, _)| *known == minute);
        if let Some((_, count)) = recent {
            *count = count.saturating_add(1);
        } else {
            if self.minutes.len() >= MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back((minute, 1));
        }
        // of a request only its duration says something: all else is address, status and size
        match record.access() {
            Some(access) => {
                if let Some(seconds) = access.duration {
                    self.drift(0, at, seconds);
                }
            }
            None => {
                for (index, number) in numbers(said).take(NUMBERS).enumerate() {
                    self.drift(index, at, number);
                }
            }
        }
    }

    fn drift(&mut self, index: usize, at: DateTime<Utc>, number: f64) {
        if self.drifts.len() <= index {
            self.drifts.push(Drift::default());
        }
        self.drifts[index].add(at, number);
    }
}

/// The same in every run, so that ids last.
fn hash(value: impl Hash) -> u64 {
    foldhash::quality::FixedState::default().hash_one(value)
}

fn varies(word: &str) -> bool {
    word.bytes().any(|byte| byte == b'<' || byte.is_ascii_digit())
}

fn sample(record: &Record<'_>) -> String {
    record.text[..record.text.floor_char_boundary(SAMPLE)].to_owned()
}

fn component<'r>(record: &'r Record<'_>) -> &'r str {
    let logger = record.logger().and_then(|logger| logger.name);
    let journal = record.journal().and_then(|journal| journal.unit.or(journal.identifier));
    logger.or(journal).unwrap_or_default()
}

/// What is to be masked: the first line of the message, of nginx without the client's
/// part, and of a traceback the line that names the exception.
fn said(record: &Record<'_>) -> String {
    let message = record.message();
    let first = message.lines().next().unwrap_or_default();
    if record.is_nginx_error() {
        return first.split(", client: ").next().unwrap_or_default().to_owned();
    }
    match raised(message) {
        Some((_, line)) if line != first => format!("{first} {line}"),
        _ => first.to_owned(),
    }
}

/// The last exception of a traceback: its type, and its line.
fn raised(message: &str) -> Option<(&str, &str)> {
    if !message.contains("Traceback (most recent call last)") {
        return None;
    }
    message.lines().rev().take(60).find_map(|line| {
        let name = line.split(':').next().unwrap_or_default();
        let dotted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        let class = name.rsplit('.').next().unwrap_or_default();
        let fits = class.starts_with(|c: char| c.is_ascii_uppercase())
            && class.bytes().any(|byte| byte.is_ascii_lowercase())
            && name.bytes().all(dotted);
        fits.then_some((name, line))
    })
}

/// What must be equal for records to be of one template: exception type, errno or status.
fn code(record: &Record<'_>, said: &str) -> u64 {
    if let Some(access) = record.access() {
        return u64::from(access.status);
    }
    if let Some(errno) = record.nginx().and_then(|nginx| nginx.errno) {
        return u64::from(errno);
    }
    if let Some((class, _)) = raised(record.message()) {
        return hash(class);
    }
    // "[Errno 111]", "Error 111 connecting", "status 502", "Error code: 429"
    let words = ["errno ", "rror ", "status ", "code: ", "code "];
    words
        .iter()
        .find_map(|word| {
            let rest = &said[said.find(word)? + word.len()..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            (1..=3).contains(&digits).then(|| hash(&rest[..digits]))
        })
        .unwrap_or_default()
}

/// The numbers in a text that stand alone or before a unit.
fn numbers(text: &str) -> impl Iterator<Item = f64> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c.is_alphabetic() || c == '_'))
        .filter(|word| word.as_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter_map(|word| {
            let end =
                word.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
            word[..end].trim_end_matches('.').parse().ok()
        })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::logs::{Parser, time::Zone};

    fn mined(lines: &[String]) -> Vec<Template> {
        let parser = Parser::new(Kind::Plain, Zone::Named(chrono_tz::UTC));
        let start: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let mut miner = Miner::new();
        for (line, minute) in lines.iter().zip(0..) {
            miner.add("s", &parser.parse(line, 1), start + TimeDelta::minutes(minute));
        }
        let mut templates: Vec<_> = miner.templates("s").cloned().collect();
        templates.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
        templates
    }

    fn all(form: &str, values: impl IntoIterator<Item = String>) -> Vec<String> {
        values.into_iter().map(|value| form.replace('#', &value)).collect()
    }

    #[test]
    fn numbers_and_words_that_vary_are_one_template() {
        let numbers = (0..500).map(|n| n.to_string());
        let templates = mined(&all("report built in # s", numbers));
        assert_eq!(templates.len(), 1);
        let template = &templates[0];
        assert_eq!((template.count, template.text.as_str()), (500, "report built in <n> s"));
        assert_eq!(template.samples[0], "report built in 0 s");
        assert_eq!(template.samples[1], "report built in 499 s");
        assert!(template.minutes.len() <= MINUTES);
        let drift = &template.drifts[0];
        assert!(drift.buckets().len() <= 16);
        assert!(drift.factor().unwrap() > 5.0, "{drift:?}");
        assert_eq!(drift.buckets().iter().map(|bucket| bucket.count).sum::<u64>(), 500);

        let names = ["ann", "bob", "eve"].map(str::to_owned);
        let templates = mined(&all("user # logged in from home", names));
        assert_eq!(templates[0].text, "user <*> logged in from home");
    }

    #[test]
    fn what_must_not_be_mixed_is_not() {
        let lines = [
            "error: request failed with status 502 again and again",
            "error: request failed with status 404 again and again",
            "warning: request failed with status 404 again and again",
            "2026/11/20 12:50:28 [error] 1#1: *3 connect() failed (13: Permission denied) while connecting to upstream, client: 1",
            "2026/11/20 12:50:28 [error] 1#1: *4 connect() failed (111: Permission denied) while connecting to upstream, client: 2",
            "ERROR:app:it broke\nTraceback (most recent call last):\n  File\nKeyError: 'a'",
            "ERROR:app:it broke\nTraceback (most recent call last):\n  File\nValueError: 'a'",
            "1.1.1.1 - - [20/Nov/2026:12:53:11 +0000] \"GET /user/1 HTTP/1.1\" 200 1",
            "1.1.1.1 - - [20/Nov/2026:12:53:11 +0000] \"GET /user/2 HTTP/1.1\" 404 1",
        ]
        .map(str::to_owned);
        assert_eq!(mined(&lines).len(), lines.len());
    }

    #[test]
    fn a_crawler_does_not_flood() {
        let slug = |n: u32| -> String {
            n.to_string().bytes().map(|byte| char::from(byte - b'0' + b'a')).collect()
        };
        let form = "1.1.1.1 - - [20/Nov/2026:12:53:11 +0000] \"GET /shop/# HTTP/1.1\" 404 1";
        let templates = mined(&all(form, (0..5000).map(slug)));
        assert!(templates.len() <= PATHS + 1, "{}", templates.len());
        assert!(templates[0].count > 4000);
        assert_eq!(templates[0].text, "GET /shop <*>");
    }

    #[test]
    fn templates_are_bounded() {
        // every line is of another shape
        let lines =
            (0..3000_usize).map(|n| format!("w{} {}", "x".repeat(n % 97), "y ".repeat(n % 61)));
        let distinct = (0..3000_usize).map(|n| {
            let name: String = n.to_string().bytes().map(|b| char::from(b - b'0' + b'a')).collect();
            format!("{name} stands first here")
        });
        assert!(mined(&lines.chain(distinct).collect::<Vec<_>>()).len() <= TEMPLATES);
    }
}
