//! The diagnosis for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{Confidence, Diagnosis, Finding};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();

/// Lines of evidence shown for a finding.
const SHOWN: usize = 4;

/// Writes the report. Styles are written always; the caller's stream strips them
/// where there is no terminal.
pub fn report(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    let read = format!(
        "{} in {}",
        plural(diagnosis.scanned.lines, "line"),
        plural(diagnosis.scanned.files, "file")
    );
    if diagnosis.findings.is_empty() {
        writeln!(out, "{GREEN}Nothing wrong found.{GREEN:#} I read {read}.")?;
    } else {
        let sure = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.confidence > Confidence::Inconclusive)
            .count();
        let head = match sure {
            0 => "Nothing certain was found; these are hints.".to_owned(),
            1 => "One cause.".to_owned(),
            n => format!("{n} causes."),
        };
        writeln!(out, "{BOLD}{head}{BOLD:#} {DIM}I read {read}.{DIM:#}")?;
        for (index, finding) in diagnosis.findings.iter().enumerate() {
            writeln!(out)?;
            one(index + 1, finding, out)?;
        }
    }
    if !diagnosis.notes.is_empty() {
        writeln!(out)?;
        for note in &diagnosis.notes {
            writeln!(out, "{DIM}Note:{DIM:#} {note}")?;
        }
    }
    Ok(())
}

fn one(number: usize, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let colour = match finding.confidence {
        Confidence::Confirmed => RED,
        Confidence::Likely => YELLOW,
        Confidence::Inconclusive => DIM,
    };
    writeln!(
        out,
        "{number}. {BOLD}{}{BOLD:#}  {colour}{}{colour:#}  {DIM}{}{DIM:#}",
        finding.title,
        finding.confidence.as_str(),
        finding.cause
    )?;
    writeln!(out, "   {}", finding.explanation)?;
    if let (Some(first), Some(last)) = (finding.first_seen, finding.last_seen) {
        let span = if first == last {
            format!("at {}", first.format("%Y-%m-%d %H:%M:%S UTC"))
        } else {
            format!(
                "from {} to {}",
                first.format("%Y-%m-%d %H:%M:%S"),
                last.format("%Y-%m-%d %H:%M:%S UTC")
            )
        };
        writeln!(out, "   {DIM}{}, {span}{DIM:#}", plural(finding.count, "record"))?;
    }
    if let Some(deploy) = &finding.deploy {
        writeln!(out, "   {YELLOW}{}{YELLOW:#}", deploy.text)?;
    }
    if !finding.evidence.is_empty() {
        writeln!(out, "\n   Evidence")?;
        for quote in finding.evidence.iter().take(SHOWN) {
            writeln!(out, "     {DIM}{}:{}{DIM:#}", quote.source, quote.line)?;
            writeln!(out, "       {}", printable(&quote.text))?;
        }
    }
    if !finding.effects.is_empty() {
        writeln!(out, "\n   What follows from it")?;
        for effect in &finding.effects {
            writeln!(out, "     {effect}")?;
        }
    }
    if !finding.fix.is_empty() {
        writeln!(out, "\n   What to do")?;
        for step in &finding.fix {
            writeln!(out, "     - {step}")?;
        }
    }
    if let Some(probe) = finding.probes.first() {
        writeln!(
            out,
            "     - then check: {} {} must answer {}",
            probe.method, probe.path, probe.expect_status
        )?;
    }
    Ok(())
}

/// A log line may hold anything; what a terminal would obey is not printed.
fn printable(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
    let short: String = clean.take(240).collect();
    if short.len() < text.len() { short + " …" } else { short }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
