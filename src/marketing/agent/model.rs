//! What a model makes of the same tables. Everything that it says is looked up in them: what
//! cites nothing that was read is dropped, and a number that no cited table holds is marked.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    input::{Cited, Input, Inputs},
    report::{Finding, Kind, Proposal, Report},
    roster::Key,
};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    diagnose::{self, Asked},
    error::Result,
    llm::{self, Message, Outgoing, Told},
};

const PATIENCE: Duration = Duration::from_mins(1);
/// Rows of a table that a model is shown.
const ROWS: usize = 25;
/// Bounds of what is kept of an answer.
const FINDINGS: usize = 10;
const PROPOSALS: usize = 3;
const TEXT: usize = 600;
const BODY: usize = 8000;

#[derive(Debug, Deserialize)]
struct Form {
    summary: String,
    #[serde(default)]
    findings: Vec<Claim>,
    #[serde(default)]
    proposals: Vec<Draft>,
}

#[derive(Debug, Deserialize)]
struct Claim {
    text: String,
    #[serde(default)]
    citations: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Draft {
    kind: Kind,
    title: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    citations: Vec<String>,
}

/// A model's report, with what it took.
pub(super) struct Spoken {
    pub report: Report,
    pub told: Told,
    pub prompt: String,
}

/// Asks; the error is one line for the operator.
pub(super) async fn ask(
    app: &App,
    organization: OrganizationId,
    key: Key,
    by: &str,
    inputs: &Inputs,
    rules: &Report,
) -> Result<Spoken, String> {
    let mut desk = app.llm.desk();
    let words = |error: crate::error::Error| {
        tracing::warn!(%error, "an agent goes without the model");
        "The model could not be asked; Lux's log says why.".to_owned()
    };
    let now = llm::Inputs::new().time("now", clock::now());
    let common = app.llm.prompts().render("agent", now).map_err(words)?;
    let name = format!("agents/{}", key.as_str());
    let own = app.llm.prompts().render(&name, llm::Inputs::new()).map_err(words)?;
    let tables = desk.data("the tables that were read", &shown(inputs)).map_err(words)?;
    let found = desk.data("what Lux's own rules found", &said(rules)).map_err(words)?;
    let messages = vec![
        Message::System(Outgoing::join([common.text, own.text])),
        Message::User(Outgoing::join([tables, found])),
    ];
    let why = format!("agent {}", key.as_str());
    let asked = Asked { organization, by, why: &why };
    let schema = common.schema;
    let asking = diagnose::ask(
        &app.llm,
        common.purpose,
        messages,
        schema.as_ref(),
        &mut desk,
        &asked,
        |told, desk| read(told, inputs, &|text| desk.reveal(text)),
    );
    let (told, mut report) = tokio::time::timeout(PATIENCE, asking)
        .await
        .map_err(|_| format!("The model took longer than {} s.", PATIENCE.as_secs()))??;
    report.rules.clone_from(&rules.findings);
    // What rests on rows (a segment's rule, a list) is made by rules, not written.
    let made = rules.proposals.iter().filter(|it| matches!(it.kind, Kind::Segment | Kind::Csv));
    report.proposals.extend(made.cloned());
    report.notes.extend(rules.notes.iter().cloned());
    Ok(Spoken { report, told, prompt: own.id })
}

/// The tables as text, each row behind its id.
fn shown(inputs: &Inputs) -> String {
    let mut text = String::new();
    for input in &inputs.0 {
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "[{}] {} ({} rows) {}", input.id, input.name, input.rows, input.note);
        let _ = writeln!(text, "columns: {}", input.columns.join(" | "));
        for line in input.lines.iter().take(ROWS) {
            let cells: Vec<String> = line.cells.iter().map(plain).collect();
            let _ = writeln!(text, "{}: {}", line.id, cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

fn plain(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

fn said(report: &Report) -> String {
    let mut text = report.summary.clone();
    for finding in &report.findings {
        let _ = write!(text, "\n- {} [{}]", finding.text, finding.citations.join(", "));
    }
    text
}

/// The report without what rests on nothing.
fn read(told: &Told, inputs: &Inputs, reveal: &dyn Fn(&str) -> String) -> Result<Report, String> {
    let form: Form = told.json()?;
    let mut report = Report::new(words(&form.summary, TEXT, reveal));
    let mut dropped = 0;
    let had = form.findings.len();
    for claim in form.findings {
        let text = words(&claim.text, TEXT, reveal);
        let citations = existing(&claim.citations, inputs);
        if citations.is_empty() || text.is_empty() {
            dropped += 1;
            continue;
        }
        let cited = citations.iter().filter_map(|id| inputs.cited(id));
        let unproven = unproven(&text, cited);
        report.findings.push(Finding { text, citations, unproven });
    }
    if report.findings.is_empty() && had > 0 {
        return Err("no finding cites the id of a table or row that was given".to_owned());
    }
    if dropped > 0 {
        metrics::counter!("lux_model_dropped_total", "what" => "finding").increment(dropped);
        report.note(format!(
            "{dropped} of the model's findings were left out: they cite nothing that was read."
        ));
    }
    report.findings.truncate(FINDINGS);
    for draft in form.proposals.into_iter().take(PROPOSALS) {
        if !matches!(draft.kind, Kind::Campaign | Kind::Ticket | Kind::Text) {
            continue;
        }
        let title = words(&draft.title, 160, reveal);
        let subject = words(&draft.subject, 200, reveal);
        let body = lines(&draft.body, BODY, reveal);
        if title.is_empty() || body.is_empty() {
            continue;
        }
        let detail = match draft.kind {
            Kind::Campaign => {
                json!({ "name": title, "goal": report.summary, "subjects": [subject] })
            }
            _ => json!({}),
        };
        let citations = existing(&draft.citations, inputs);
        report.proposals.push(Proposal {
            kind: draft.kind,
            title,
            body,
            detail,
            citations,
            taken: None,
        });
    }
    let all = inputs.0.iter().map(|input| Cited { input, line: None });
    let open = unproven(&report.summary, all);
    if !open.is_empty() {
        report.note(format!(
            "The summary says {}, which stands in nothing that was read.",
            open.join(", ")
        ));
    }
    Ok(report)
}

fn existing(ids: &[String], inputs: &Inputs) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for id in ids.iter().take(20) {
        let id = id.trim().trim_matches(['[', ']']).to_owned();
        if inputs.cited(&id).is_some() && !found.contains(&id) {
            found.push(id);
        }
    }
    found
}

/// The numbers of a text that stand in nothing that it cites.
pub(super) fn unproven<'a>(text: &str, cited: impl Iterator<Item = Cited<'a>>) -> Vec<String> {
    let mut known = BTreeSet::new();
    for Cited { input, line } in cited {
        about(input, &mut known);
        match line {
            Some(line) => line.cells.iter().for_each(|cell| known.extend(numbers(&plain(cell)))),
            None => whole(input, &mut known),
        }
    }
    let mut open: Vec<String> =
        numbers(text).into_iter().filter(|number| !known.contains(number)).collect();
    open.dedup();
    open
}

/// Numbers of a table's own words: "7 days" of its name.
fn about(input: &Input, known: &mut BTreeSet<String>) {
    known.insert(input.rows.to_string());
    known.extend(numbers(&input.name));
    known.extend(numbers(&input.note));
    known.extend(input.columns.iter().flat_map(|column| numbers(column)));
}

fn whole(input: &Input, known: &mut BTreeSet<String>) {
    for line in &input.lines {
        known.extend(line.cells.iter().flat_map(|cell| numbers(&plain(cell))));
    }
    for column in 0..input.columns.len() {
        known.insert(input.sum(column).to_string());
    }
}

/// Runs of digits, thousands' marks taken out: "1,234" and "1 234" are 1234.
fn numbers(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if !chars[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let mut number = String::new();
        while at < chars.len() {
            let c = chars[at];
            let three = || {
                let next = &chars[at + 1..];
                next.iter().take(3).filter(|c| c.is_ascii_digit()).count() == 3
                    && next.get(3).is_none_or(|c| !c.is_ascii_digit())
            };
            if c.is_ascii_digit() {
                number.push(c);
            } else if !(matches!(c, ',' | '\u{202f}' | '\u{a0}') && three()) {
                break;
            }
            at += 1;
        }
        let short = number.trim_start_matches('0');
        found.push(if short.is_empty() { "0".to_owned() } else { short.to_owned() });
    }
    found
}

/// The model's words on one line, for the operator.
fn words(text: &str, most: usize, reveal: &dyn Fn(&str) -> String) -> String {
    let text = lines(text, most, reveal);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines(text: &str, most: usize, reveal: &dyn Fn(&str) -> String) -> String {
    let text = llm::visible(&reveal(text));
    let text = text.trim();
    llm::inert(&text[..text.floor_char_boundary(most)]).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{numbers, unproven};
    use crate::marketing::agent::input::{Input, Inputs, Line};

    fn inputs() -> Inputs {
        let line = |number: usize, source: &str, contacts: i64| Line {
            id: format!("sources.{number}"),
            ..Line::of([json!(source), json!(contacts)])
        };
        Inputs(vec![Input {
            id: "sources".to_owned(),
            name: "New contacts by source, 7 days".to_owned(),
            columns: vec!["source".to_owned(), "contacts".to_owned()],
            rows: 2,
            lines: vec![line(1, "webinar 2026", 1234), line(2, "form", 5)],
            ..Input::default()
        }])
    }

    fn open(text: &str, ids: &[&str]) -> Vec<String> {
        let inputs = inputs();
        unproven(text, ids.iter().filter_map(|id| inputs.cited(id)))
    }

    #[test]
    fn a_number_stands_in_what_is_cited_or_is_marked() {
        assert!(open("1,234 came from the webinar 2026 in 7 days", &["sources.1"]).is_empty());
        assert!(open("1239 came in all from 2 sources", &["sources"]).is_empty());
        assert_eq!(open("5 came from the form, 40 % more", &["sources.2"]), ["40"]);
        assert_eq!(open("1234 came from the form", &["sources.2"]), ["1234"]);
        assert!(inputs().cited("sources.3").is_none());
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(
            numbers("a1b 02 1,234,567 1,2 3.5 and 12\u{202f}000."),
            ["1", "2", "1234567", "1", "2", "3", "5", "12000"]
        );
    }
}
