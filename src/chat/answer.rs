//! From data to sentences: the advisor's answers, each claim with its citation.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    diagnose::{
        Confidence, Diagnosis, Finding, Opinion,
        pack::{Pack, numbers},
    },
    errors::store::open::Open,
    health::{Snapshot, Wellness},
};

/// A line that an answer rests on; `[1]` in the text is the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Citation {
    pub number: usize,
    pub source: String,
    pub line: u64,
    pub text: String,
}

/// An answer before it is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub text: String,
    pub citations: Vec<Citation>,
    /// What is missing from the answer, and why, in one line.
    pub notice: Option<String>,
    /// What a person may open or start with one click.
    pub proposals: Vec<serde_json::Value>,
}

/// How many findings are told in full.
const MAX_TOLD: usize = 3;
/// How many lines are quoted for one finding.
const MAX_QUOTED: usize = 3;
/// A quoted line is cut after this many characters.
const MAX_QUOTE: usize = 300;

impl Answer {
    /// A plain answer without citations.
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Adds a line of evidence; returns its number.
    pub(super) fn cite(&mut self, source: &str, line: u64, text: &str) -> usize {
        let known = self
            .citations
            .iter()
            .find(|known| known.source == source && known.line == line && known.text == text);
        if let Some(known) = known {
            return known.number;
        }
        let number = self.citations.len() + 1;
        self.citations.push(Citation {
            number,
            source: source.to_owned(),
            line,
            text: text.to_owned(),
        });
        number
    }

    fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }
}

/// "What is wrong?"
pub(super) fn diagnosis(diagnosis: &Diagnosis, looked_at: &str) -> Answer {
    let mut answer = Answer::default();
    let Some(first) = diagnosis.findings.first() else {
        answer.line(format!("Nothing wrong found. I looked at {looked_at}."));
        notes(&mut answer, diagnosis);
        return answer;
    };
    answer.line(match first.confidence {
        Confidence::Confirmed => format!("**{}.**", first.title),
        Confidence::Likely => format!("**Most likely: {}.**", first.title),
        Confidence::Inconclusive => format!("**Perhaps: {}** (not proven).", first.title),
    });
    finding(&mut answer, first);
    for (index, other) in diagnosis.findings.iter().enumerate().take(MAX_TOLD).skip(1) {
        answer.line(format!("\n**{}. {} ({}).**", index + 1, other.title, word(other.confidence)));
        finding(&mut answer, other);
    }
    let more = diagnosis.findings.len().saturating_sub(MAX_TOLD);
    if more > 0 {
        answer.line(format!("\n{more} more in the diagnosis."));
    }
    notes(&mut answer, diagnosis);
    answer
}

fn finding(answer: &mut Answer, finding: &Finding) {
    answer.line(finding.explanation.trim());
    if let Some(deploy) = &finding.deploy {
        answer.line(format!("It was {}.", deploy.text));
    }
    if !finding.evidence.is_empty() {
        answer.line("\nThe lines that show it:");
    }
    for evidence in finding.evidence.iter().take(MAX_QUOTED) {
        let number = answer.cite(&evidence.source, evidence.line, &evidence.text);
        let quote = quoted(&evidence.text);
        answer.line(format!("[{number}] {}:{} `{quote}`", evidence.source, evidence.line));
    }
    if !finding.effects.is_empty() {
        answer.line(format!("\nWhat follows from it: {}", finding.effects.join("; ")));
    }
    if !finding.fix.is_empty() {
        answer.line("\nWhat to do:");
        for (index, step) in finding.fix.iter().enumerate() {
            answer.line(format!("{}. {step}", index + 1));
        }
    }
    for probe in &finding.probes {
        let crate::diagnose::Probe { method, path, expect_status } = probe;
        answer.line(format!("Then check that {method} {path} answers {expect_status}."));
    }
}

fn notes(answer: &mut Answer, diagnosis: &Diagnosis) {
    for note in &diagnosis.notes {
        answer.line(format!("\nNote: {note}"));
    }
}

/// "Since when?" and "how often?"
pub(super) fn when(diagnosis: &Diagnosis, now: DateTime<Utc>) -> Answer {
    let mut answer = Answer::default();
    if diagnosis.findings.is_empty() {
        answer.line("Nothing is wrong as far as the logs and errors show, so there is no start.");
        return answer;
    }
    for finding in diagnosis.findings.iter().take(MAX_TOLD) {
        let mut text = format!("{}: ", finding.title);
        match (finding.first_seen, finding.last_seen) {
            (Some(first), Some(last)) => {
                let _ = write!(
                    text,
                    "since {} ({} ago), last at {} ({} ago)",
                    moment(first),
                    ago(now - first),
                    moment(last),
                    ago(now - last)
                );
            }
            _ => text.push_str("the lines carry no time"),
        }
        if let Some(deploy) = &finding.deploy {
            let _ = write!(text, ", {}", deploy.text);
        }
        let _ = write!(text, ", {}", times(finding.count));
        if let (Some(first), Some(last)) = (finding.first_seen, finding.last_seen)
            && finding.count > 1
            && last > first
        {
            let seconds = (last - first).as_seconds_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53rd bit")]
            let per_minute = finding.count as f64 * 60.0 / seconds;
            if seconds >= 60.0 {
                let _ = write!(text, " (about {per_minute:.1} a minute)");
            }
        }
        if let Some(evidence) = finding.evidence.first() {
            let number = answer.cite(&evidence.source, evidence.line, &evidence.text);
            let _ = write!(text, " [{number}]");
        }
        answer.line(text + ".");
    }
    answer
}

/// "Is it healthy?"
pub(super) fn health(diagnosis: &Diagnosis, snapshot: &Snapshot, unresolved: i64) -> Answer {
    let mut answer = Answer::default();
    let certain: Vec<&Finding> = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.confidence != Confidence::Inconclusive)
        .collect();
    match certain.first() {
        None if diagnosis.scanned.lines == 0 => answer.line(
            "I cannot tell: I have read no log yet. Name your logs in [[sources]]; \
             `lux doctor` shows which can be read.",
        ),
        None => answer.line("Yes: nothing in the logs points to a fault."),
        Some(first) => {
            let mut text = format!("No: {}", first.title);
            if let Some(evidence) = first.evidence.first() {
                let number = answer.cite(&evidence.source, evidence.line, &evidence.text);
                let _ = write!(text, " [{number}]");
            }
            if let Some(last) = first.last_seen {
                let _ = write!(text, ", last seen {}", moment(last));
            }
            answer.line(text + ". Ask \"what is wrong?\" for the whole story.");
        }
    }
    answer.line(match unresolved {
        0 => "No captured errors are open.".to_owned(),
        1 => "One group of captured errors is open.".to_owned(),
        n => format!("{n} groups of captured errors are open."),
    });
    for (name, part) in &snapshot.parts {
        if matches!(part.state, Wellness::Degraded | Wellness::Down) {
            let state = if part.state == Wellness::Down { "down" } else { "degraded" };
            answer.line(format!("Lux's own {name} is {state}: {}", part.detail));
        }
    }
    answer
}

/// A request path and how it fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub method: String,
    pub path: String,
    pub requests: u64,
    pub failures: u64,
    /// The latest failure: source, line, text.
    pub example: Option<(String, u64, String)>,
}

/// "Which endpoint fails most?"; `endpoints` come sorted, the worst first.
pub(super) fn endpoints(endpoints: &[Endpoint], total: u64) -> Answer {
    let mut answer = Answer::default();
    if endpoints.is_empty() {
        answer.line(match total {
            0 => "I have seen no access log, so I cannot tell; add one to [[sources]].".to_owned(),
            n => format!("None: of the last {n} requests in the access logs none failed (5xx)."),
        });
        return answer;
    }
    answer.line("The endpoints with the most failed requests (5xx):");
    for endpoint in endpoints.iter().take(5) {
        let Endpoint { method, path, requests, failures, .. } = endpoint;
        let mut text = format!("- {method} {path}: {failures} of {requests} failed");
        if let Some((source, line, quote)) = &endpoint.example {
            let number = answer.cite(source, *line, quote);
            let _ = write!(text, " [{number}]");
        }
        answer.line(text);
    }
    answer
}

/// "Which errors are open?"
pub(super) fn open_errors(open: &[Open]) -> Answer {
    let mut answer = Answer::default();
    if open.is_empty() {
        answer.line("No captured errors are open.");
        return answer;
    }
    answer.line("Open errors, the latest first:");
    for error in open {
        let Open { group_id, title, last_seen, .. } = error;
        let seen = times(error.count.unsigned_abs());
        let text = format!("{}: {}", error.error_type, error.error_message);
        let number = answer.cite("error_log", error.event_id.unsigned_abs(), &text);
        let last = moment(*last_seen);
        answer.line(format!("- #{group_id} {}: {seen}, last {last} [{number}]", clean(title)));
    }
    answer
}

/// A line of a log with its neighbours.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub source: String,
    pub line: u64,
    pub text: String,
    /// It is the one that was asked about.
    pub is_it: bool,
}

/// "Show me the lines around it."
pub(super) fn around(neighbours: &[Neighbour]) -> Answer {
    let mut answer = Answer::default();
    let Some(it) = neighbours.iter().find(|neighbour| neighbour.is_it) else {
        return Answer::of(
            "The lines around it are no longer in the window of recent records; \
             open the file itself at the cited line.",
        );
    };
    let number = answer.cite(&it.source, it.line, &it.text);
    answer.line(format!("Around line {} of {} [{number}]:\n\n```", it.line, it.source));
    for neighbour in neighbours {
        let mark = if neighbour.is_it { '>' } else { ' ' };
        for text in neighbour.text.lines().take(40) {
            answer.line(format!("{mark} {:>6}  {}", neighbour.line, clean(text)));
        }
    }
    answer.line("```");
    answer
}

/// What can be asked.
pub(super) fn help() -> Answer {
    Answer::of(
        "I read this host's logs and captured errors and answer from them. Ask me:\n\
         - what is wrong? (the cause, the lines that prove it, what to do)\n\
         - since when? how often?\n\
         - show me the lines around it\n\
         - which endpoint fails most?\n\
         - which errors are open?\n\
         - is it healthy?\n\
         - who signed up this week, and from where?\n\
         - write a campaign for (whom)\n",
    )
}

/// The honest answer to what needs a model.
pub(super) fn needs_model() -> Answer {
    let mut answer = help();
    answer.text = format!("I need a model for that, and none is connected. {}", answer.text);
    answer.notice = Some(
        "No model is connected: the built-in advisor answers questions about faults only."
            .to_owned(),
    );
    answer
}

/// What a model makes of it, beside what the advisor says. Its numbers become the answer's.
pub(super) fn opinion(answer: &mut Answer, opinion: &Opinion, pack: &Pack) {
    answer.line(format!("\n**What the model makes of it** ({}):", opinion.model));
    if opinion.causes.is_empty() {
        answer.line("It finds no cause.");
    }
    for cause in &opinion.causes {
        let explanation = renumbered(answer, &cause.explanation, pack);
        answer.line(format!("- {} ({}): {explanation}", cause.title, word(cause.confidence)));
        for evidence in cause.evidence.iter().take(MAX_QUOTED) {
            let number = answer.cite(&evidence.source, evidence.line, &evidence.text);
            let quote = quoted(&evidence.text);
            answer.line(format!("  [{number}] {}:{} `{quote}`", evidence.source, evidence.line));
        }
    }
    for against in &opinion.contradicts {
        answer.line(format!("- It speaks against {}: {}", against.cause, against.why));
    }
    if let Some(disagreement) = &opinion.disagreement {
        answer.line(format!("\n{}", disagreement.text));
    }
    if !opinion.missing.is_empty() {
        answer.line(format!("\nWhat is missing: {}", opinion.missing.join("; ")));
    }
}

/// A text whose `[n]` are numbers of the pack, with numbers of the answer.
fn renumbered(answer: &mut Answer, text: &str, pack: &Pack) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, inside) = rest.split_at(open);
        out.push_str(before);
        let end = inside.find(']').map_or(inside.len(), |end| end + 1);
        let ids: Vec<_> = numbers(&inside[..end])
            .into_iter()
            .filter_map(|id| pack.evidence(id))
            .map(|evidence| answer.cite(&evidence.source, evidence.line, &evidence.text))
            .collect();
        if ids.is_empty() {
            out.push_str(&inside[..end]);
        }
        for id in ids {
            // Writing to a String cannot fail.
            let _ = write!(out, "[{id}]");
        }
        rest = &inside[end..];
    }
    out.push_str(rest);
    out
}

/// For a question that only a model could have answered, when it did not.
pub(super) fn without_model(why: String) -> Answer {
    let mut answer = help();
    answer.text = format!("The model did not answer that. {}", answer.text);
    answer.notice = Some(why);
    answer
}

fn word(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Confirmed => "confirmed",
        Confidence::Likely => "likely",
        Confidence::Inconclusive => "not proven",
    }
}

/// One line, bounded, without the backquotes that would end the quotation.
fn quoted(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(MAX_QUOTE).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    clean(&cut).replace('`', "'") + more
}

/// Control characters in a log must not reach a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn ago(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
