//! From drafts to a pack: the most telling first until the budget is used, then put in
//! order and numbered.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use super::{Cited, Pack, collect::Line};

/// Bytes kept for the heads of sections and for saying what was cut.
const RESERVE: usize = 560;

/// Parts of a pack, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Section {
    Findings,
    Errors,
    Requests,
    Sayings,
    Around,
}

impl Section {
    const fn title(self) -> &'static str {
        match self {
            Self::Findings => "What the advisor found (rules, no model)",
            Self::Errors => "Open errors",
            Self::Requests => "Requests",
            Self::Sayings => "What is said how often, most telling first",
            Self::Around => "What stood beside it",
        }
    }

    const fn of_many(self) -> &'static str {
        match self {
            Self::Findings => "findings or quotations",
            Self::Errors => "errors",
            Self::Requests => "kinds of requests",
            Self::Sayings => "sayings",
            Self::Around => "neighbourhoods",
        }
    }
}

/// A line of an entry, already without what must not leave.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    /// A record: its place, what is said about it, and of its text so much.
    Record {
        line: Arc<Line>,
        note: String,
        excerpt: String,
    },
}

/// Something that is told whole, or short, or not at all.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub section: Section,
    /// The lower, the more it says.
    pub rank: u32,
    pub full: Vec<Part>,
    pub short: Option<Vec<Part>>,
}

type Place = (Arc<str>, u64);

fn place(line: &Line) -> Place {
    (Arc::clone(&line.source), line.number)
}

/// How a pack is headed, and how the whole text of a record is shown.
pub(super) struct Frame<'a> {
    pub head: String,
    pub budget: usize,
    pub show: &'a mut dyn FnMut(&Line) -> String,
    pub time: &'a dyn Fn(&Line) -> String,
}

pub(super) fn cut(mut entries: Vec<Entry>, frame: Frame<'_>) -> Pack {
    entries.sort_by_key(|entry| entry.rank);
    let budget = frame.budget.saturating_sub(frame.head.len() + RESERVE);
    let mut used = 0;
    let mut told: HashMap<Place, String> = HashMap::new();
    let mut taken: Vec<(Section, Vec<Part>)> = Vec::new();
    let mut left_out: BTreeMap<Section, usize> = BTreeMap::new();
    for entry in entries {
        let fits = [Some(entry.full), entry.short]
            .into_iter()
            .flatten()
            .map(|parts| (cost(entry.section, &parts, &told, frame.time), parts))
            .find(|(cost, _)| used + cost <= budget);
        let Some((cost, parts)) = fits else {
            *left_out.entry(entry.section).or_default() += 1;
            continue;
        };
        used += cost;
        for part in &parts {
            if let Part::Record { line, excerpt, .. } = part {
                // as it is told by the most telling, wherever it comes to stand
                told.entry(place(line)).or_insert_with(|| excerpt.clone());
            }
        }
        taken.push((entry.section, parts));
    }
    taken.sort_by_key(|(section, _)| *section);

    let mut pack = Pack { text: frame.head, ..Pack::default() };
    let mut numbers: HashMap<Place, u32> = HashMap::new();
    let mut section = None;
    for (of, parts) in &taken {
        if section != Some(*of) {
            section = Some(*of);
            let _ = write!(pack.text, "\n# {}\n", of.title());
        }
        for part in parts {
            match part {
                Part::Text(text) => {
                    end_row(&mut pack.text);
                    pack.text.push_str(text);
                    pack.text.push('\n');
                }
                Part::Record { line, note, .. } => {
                    let known = numbers.get(&place(line)).copied();
                    let next =
                        u32::try_from(pack.cited.len()).unwrap_or(u32::MAX).saturating_add(1);
                    let id = known.unwrap_or(next);
                    if known.is_some() && *of == Section::Around {
                        // many in a row are told in one line
                        let _ = write!(pack.text, "[{id}] ");
                        continue;
                    }
                    end_row(&mut pack.text);
                    let time = (frame.time)(line);
                    pack.text.push_str(&head(id, line, &time, note));
                    if known.is_none() {
                        numbers.insert(place(line), id);
                        let shown = (frame.show)(line);
                        let cited = Cited {
                            source: line.source.to_string(),
                            line: line.number,
                            numbers: line.numbers.clone(),
                            shown: (shown != line.text).then_some(shown),
                            text: line.text.clone(),
                        };
                        pack.cited.insert(id, cited);
                        pack.text.push_str(told.get(&place(line)).map_or("", String::as_str));
                    } else {
                        pack.text.push_str("(above)");
                    }
                    pack.text.push('\n');
                }
            }
        }
    }
    if !left_out.is_empty() {
        let words: Vec<String> = left_out
            .iter()
            .map(|(section, count)| format!("{count} {}", section.of_many()))
            .collect();
        let words = words.join(", ");
        let _ = write!(pack.text, "\nLeft out for room: {words}.\n");
        pack.left_out = Some(words);
    }
    pack
}

/// Ends a row of numbers of records that were told before.
fn end_row(text: &mut String) {
    if text.ends_with("] ") {
        text.pop();
        text.push('\n');
    }
}

fn head(id: u32, line: &Line, time: &str, note: &str) -> String {
    // sources have their names from the operator's own configuration and files
    let source: String =
        line.source.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    format!("[{id}] {source}:{}{time}{note}: ", line.number)
}

/// Bytes that the parts take; a record that was told before takes its place only.
fn cost(
    section: Section,
    parts: &[Part],
    told: &HashMap<Place, String>,
    time: &dyn Fn(&Line) -> String,
) -> usize {
    let mut here = HashSet::new();
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.len() + 1,
            Part::Record { line, note, excerpt } => {
                let place = place(line);
                let known = told.contains_key(&place) || !here.insert(place);
                if known && section == Section::Around {
                    return 7;
                }
                let text = if known { 7 } else { excerpt.len() };
                head(100, line, &time(line), note).len() + text + 1
            }
        })
        .sum()
}
