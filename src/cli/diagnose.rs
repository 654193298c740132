//! `lux diagnose`: what is wrong, from log files alone.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    clock,
    diagnose::{self, Advisor, Diagnosis, Scan, Scanned},
    error::{Error, Result},
    logs::{
        Record,
        input::{self, Input, Place},
        scan::{self, Consumer},
        time::Zone,
    },
};

/// Read logs and name what is wrong
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Log files or directories (.gz too, journal exports, - for standard input)
    #[arg(value_name = "PATH", default_value = "/var/log")]
    paths: Vec<PathBuf>,
    /// Only what is younger: 30m, 6h, 2d, or a time (2026-11-20T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Zone of logs that name none, such as Europe/Zurich [default: this host's]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// A folder of playbooks that replace or extend the built-in ones
    #[arg(long, value_name = "DIR")]
    playbooks: Option<PathBuf>,
}

/// Exit code 0: nothing wrong was found; 1: something was. A failure to read is an error.
#[expect(clippy::needless_pass_by_value, reason = "all commands take their arguments so")]
pub fn run(args: Args) -> Result<ExitCode> {
    let advisor = Advisor::new(args.playbooks.as_deref())?;
    let since = args.since.as_deref().map(since).transpose()?;
    let zone = args.zone.as_deref().map_or(Ok(Zone::Local), zone)?;
    let diagnosis = read(&advisor, &args.paths, zone, since, true)?;
    let mut out = super::out();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &diagnosis)
            .map_err(|error| Error::Io(error.into()))?;
        writeln!(out)?;
    } else {
        diagnose::report(&diagnosis, &mut out)?;
    }
    Ok(if diagnosis.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Reads logs once and says what they show. Quotations are checked against the files.
pub fn read(
    advisor: &Advisor,
    paths: &[impl AsRef<Path>],
    zone: Zone,
    since: Option<DateTime<Utc>>,
    progress: bool,
) -> Result<Diagnosis> {
    let found = input::expand(paths)?;
    let total: u64 = found.inputs.iter().map(|input| input.size).sum();
    let bar = bar(total, progress);
    let mut scan = advisor.scan();
    let scanned =
        scan::scan(&found.inputs, zone, &Reader { advisor, since }, &mut scan, &|bytes| {
            bar.set_position(bytes);
        });
    bar.finish_and_clear();
    let mut notes = found.notes;
    notes.extend(scanned.notes);
    let counted = Scanned { files: scanned.files, lines: scanned.lines, bytes: scanned.bytes };
    let mut diagnosis = scan.finish(counted, notes);
    check_quotes(&mut diagnosis, &found.inputs);
    Ok(diagnosis)
}

/// The advisor as what looks at the records of a scan.
struct Reader<'a> {
    advisor: &'a Advisor,
    since: Option<DateTime<Utc>>,
}

/// The records of one block, with the name of their log.
struct Shard {
    name: String,
    scan: Scan,
}

impl Consumer for Reader<'_> {
    type Shard = Shard;
    type Total = Scan;

    fn shard(&self, _index: usize, input: &Input) -> Shard {
        Shard { name: input.name.clone(), scan: self.advisor.scan() }
    }

    fn feed(&self, shard: &mut Shard, record: &Record<'_>) {
        let old = self.since.is_some_and(|since| record.at.is_some_and(|at| at < since));
        if !old {
            shard.scan.feed(&shard.name, record);
        }
    }

    fn merge(&self, total: &mut Scan, _index: usize, _input: &Input, shard: Shard) {
        total.merge(shard.scan);
    }
}

fn bar(total: u64, wanted: bool) -> ProgressBar {
    let target = if wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(total), target).with_style(style)
}

/// Reads the quoted lines once more (plain files only) and drops quotations that are
/// not there.
fn check_quotes(diagnosis: &mut Diagnosis, inputs: &[Input]) {
    let mut wanted: HashMap<String, Vec<u64>> = HashMap::new();
    for quote in diagnosis.findings.iter().flat_map(|finding| &finding.evidence) {
        wanted.entry(quote.source.clone()).or_default().push(quote.line);
    }
    let mut lines: HashMap<(String, u64), String> = HashMap::new();
    let mut read = Vec::new();
    for input in inputs {
        let Place::File(path) = &input.place else { continue };
        let Some(numbers) = wanted.get(&input.name) else { continue };
        if path.extension().is_some_and(|extension| extension == "gz") {
            continue;
        }
        read.push(input.name.clone());
        let last = numbers.iter().copied().max().unwrap_or_default();
        let Ok(file) = std::fs::File::open(path) else { continue };
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let mut line = Vec::new();
        for number in 1..=last {
            line.clear();
            if !matches!(file.read_until(b'\n', &mut line), Ok(bytes) if bytes > 0) {
                break;
            }
            if numbers.contains(&number) {
                let text = String::from_utf8_lossy(&line).into_owned();
                lines.insert((input.name.clone(), number), text);
            }
        }
    }
    diagnosis.verify(&mut |source, line| {
        read.iter()
            .any(|name| name == source)
            .then(|| lines.get(&(source.to_owned(), line)).cloned().unwrap_or_default())
    });
}

fn since(text: &str) -> Result<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let unit = match unit {
        "s" => TimeDelta::seconds(1),
        "m" => TimeDelta::minutes(1),
        "h" => TimeDelta::hours(1),
        "d" => TimeDelta::days(1),
        _ => TimeDelta::zero(),
    };
    let number: Option<i32> = number.parse().ok().filter(|number| *number > 0);
    match number.and_then(|number| unit.checked_mul(number)) {
        Some(back) if !unit.is_zero() => Ok(clock::now() - back),
        _ => Err(Error::invalid(format!(
            "--since \"{text}\" is no time; use 30m, 6h, 2d or 2026-11-20T12:00:00Z"
        ))),
    }
}

fn zone(name: &str) -> Result<Zone> {
    name.parse().map(Zone::Named).map_err(|_| {
        Error::invalid(format!(
            "--zone \"{name}\" is no time zone; use one like Europe/Zurich or UTC"
        ))
    })
}
