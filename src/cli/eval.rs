//! `lux eval`: scores the advisor on recorded faults.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

use super::diagnose;
use crate::{
    diagnose::{Advisor, Confidence, Diagnosis},
    error::{Error, Result},
    logs::time::Zone,
};

/// Score the advisor on a directory of recorded faults
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Holds one folder for each fault, with its logs and truth.json
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A folder of playbooks that replace or extend the built-in ones
    #[arg(long, value_name = "DIR")]
    playbooks: Option<PathBuf>,
}

/// What a recording's truth.json says, as far as scores need it.
#[derive(Debug, Deserialize)]
struct Truth {
    cause: String,
    #[serde(default)]
    causes: Vec<String>,
    #[serde(default)]
    accept: Vec<String>,
    #[serde(default)]
    evidence: Vec<String>,
    #[serde(default)]
    evidence_in: Vec<Expected>,
    timezone: Option<String>,
}

/// Where evidence stands: one text with its files, or a file for all texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expected {
    Text { text: String, files: Vec<String> },
    File(String),
}

impl Truth {
    /// Whether a quotation is (part of) what proves this truth.
    fn is_proved_by(&self, source: &str, quote: &str) -> bool {
        let says = |text: &String| quote.contains(text) || text.contains(quote);
        self.evidence_in.iter().any(|expected| match expected {
            Expected::Text { text, files } => {
                says(text) && files.iter().any(|file| same_file(file, source))
            }
            Expected::File(file) => same_file(file, source) && self.evidence.iter().any(says),
        })
    }
}

/// One folder's scores.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "four independent scores")]
pub struct Row {
    pub folder: String,
    pub truth: Vec<String>,
    /// The causes found, ranked.
    pub found: Vec<String>,
    pub top1: bool,
    pub top3: bool,
    pub evidence: bool,
    pub false_alarm: bool,
}

/// All scores; rates are parts of 1.
#[derive(Clone, Debug, Serialize)]
pub struct Scores {
    pub rows: Vec<Row>,
    pub top1: f64,
    pub top3: f64,
    pub evidence: f64,
    pub false_alarm: f64,
}

/// Exit code 0 where all are right, else 1.
#[expect(clippy::needless_pass_by_value, reason = "all commands take their arguments so")]
pub fn run(args: Args) -> Result<ExitCode> {
    let scores = score(&Advisor::new(args.playbooks.as_deref())?, &args.directory)?;
    let mut out = super::out();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &scores).map_err(|error| Error::Io(error.into()))?;
        writeln!(out)?;
    } else {
        table(&scores, &mut out)?;
    }
    let right = scores.rows.iter().all(|row| row.top1 && row.evidence && !row.false_alarm);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Diagnoses each folder of `directory` that has a truth.json.
pub fn score(advisor: &Advisor, directory: &Path) -> Result<Scores> {
    let mut folders: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    folders.retain(|folder| folder.join("truth.json").is_file());
    folders.sort();
    if folders.is_empty() {
        return Err(Error::invalid(format!(
            "{} has no folder with a truth.json",
            directory.display()
        )));
    }
    let mut rows = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let truth: Truth = serde_json::from_str(&fs::read_to_string(folder.join("truth.json"))?)
            .map_err(|error| Error::invalid(format!("{name}/truth.json: {error}")))?;
        let zone = match &truth.timezone {
            None => Zone::default(),
            Some(zone) => Zone::Named(
                zone.parse()
                    .map_err(|_| Error::invalid(format!("{name}: no such zone \"{zone}\"")))?,
            ),
        };
        let diagnosis = diagnose::read(advisor, &[&folder], zone, None, false)?;
        rows.push(row(name, &truth, &diagnosis, &folder));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of folders")]
    let rate = |holds: fn(&Row) -> bool| {
        rows.iter().filter(|row| holds(row)).count() as f64 / rows.len() as f64
    };
    let (top1, top3) = (rate(|row| row.top1), rate(|row| row.top3));
    let (evidence, false_alarm) = (rate(|row| row.evidence), rate(|row| row.false_alarm));
    Ok(Scores { rows, top1, top3, evidence, false_alarm })
}

fn row(folder: String, truth: &Truth, diagnosis: &Diagnosis, path: &Path) -> Row {
    let truths =
        if truth.causes.is_empty() { vec![truth.cause.clone()] } else { truth.causes.clone() };
    let found: Vec<String> =
        diagnosis.findings.iter().map(|finding| finding.cause.clone()).collect();
    let healthy = truths.iter().all(|cause| cause == "none");
    let right = |cause: &String| truths.contains(cause) || truth.accept.contains(cause);
    let certain = |confidence| confidence > Confidence::Inconclusive;
    let none_certain = diagnosis.findings.iter().all(|finding| !certain(finding.confidence));
    let within = |most: usize| {
        let first = &found[..most.min(found.len())];
        if truths.len() == 1 {
            first.iter().any(right)
        } else {
            truths.iter().all(|cause| first.contains(cause))
        }
    };
    let (top1, top3) = if healthy {
        (none_certain, none_certain)
    } else {
        (within(truths.len()), within(truths.len() + 2))
    };
    let false_alarm = if healthy {
        !none_certain
    } else {
        diagnosis
            .findings
            .iter()
            .any(|finding| finding.confidence == Confidence::Confirmed && !right(&finding.cause))
    };
    let quotes = || {
        diagnosis.findings.iter().filter(|finding| right(&finding.cause)).flat_map(|f| &f.evidence)
    };
    let evidence = truth.evidence_in.is_empty()
        || quotes().any(|quote| truth.is_proved_by(&quote.source, &quote.text))
            && diagnosis
                .findings
                .iter()
                .flat_map(|finding| &finding.evidence)
                .all(|quote| holds(path, &quote.source, quote.line, &quote.text));
    Row { folder, truth: truths, found, top1, top3, evidence, false_alarm }
}

/// `journal.txt`, `.json` and `.export` are forms of the same entries.
fn same_file(expected: &str, cited: &str) -> bool {
    expected == cited || expected.starts_with("journal.") && cited.starts_with("journal.")
}

/// Whether the cited line really holds the quotation.
fn holds(folder: &Path, source: &str, line: u64, text: &str) -> bool {
    let bytes = fs::read(folder.join(source)).unwrap_or_default();
    let index = usize::try_from(line).unwrap_or_default().wrapping_sub(1);
    bytes
        .split(|byte| *byte == b'\n')
        .nth(index)
        .is_some_and(|found| String::from_utf8_lossy(found).contains(text))
}

fn table(scores: &Scores, out: &mut dyn Write) -> std::io::Result<()> {
    let mark = |good| if good { "yes" } else { "NO" };
    writeln!(
        out,
        "{:<12} {:<5} {:<5} {:<8} {:<6} truth → found",
        "folder", "top-1", "top-3", "evidence", "alarm"
    )?;
    for row in &scores.rows {
        writeln!(
            out,
            "{:<12} {:<5} {:<5} {:<8} {:<6} {} → {}",
            row.folder,
            mark(row.top1),
            mark(row.top3),
            mark(row.evidence),
            if row.false_alarm { "FALSE" } else { "-" },
            row.truth.join(" + "),
            if row.found.is_empty() { "nothing".to_owned() } else { row.found.join(", ") }
        )?;
    }
    writeln!(
        out,
        "\ntop-1 {:.1} %   top-3 {:.1} %   evidence {:.1} %   false alarms {:.1} %",
        scores.top1 * 100.0,
        scores.top3 * 100.0,
        scores.evidence * 100.0,
        scores.false_alarm * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The goal of the project, on the recordings that come with it.
    #[test]
    fn recorded_faults_are_named() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/logs-fixtures"));
        let scores = score(&Advisor::new(None).unwrap(), folder).unwrap();
        let wrong: Vec<_> = scores
            .rows
            .iter()
            .filter(|row| !row.top1 || !row.evidence || row.false_alarm)
            .collect();
        assert!(scores.rows.len() >= 30);
        assert!(scores.top1 >= 0.95, "{wrong:#?}");
        assert!(scores.top3 >= 1.0, "{wrong:#?}");
        assert!(scores.evidence >= 0.95, "{wrong:#?}");
        assert!(scores.false_alarm <= 0.0, "{wrong:#?}");
    }
}
