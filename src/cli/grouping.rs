//! `lux grouping`: which group an event would belong to.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    clock,
    config::{Config, Overrides},
    errors::{Event, NewEvent, grouping::Rules},
};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show which fingerprint, title and rule an event gets, by the rules of lux.toml
    Test(Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One event as `POST /api/errors` takes it, or an array of them; `-` reads from stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON, one line an event
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    fingerprint: &'a str,
    title: &'a str,
    culprit: Option<&'a str>,
    /// The rule that fits, if there is one.
    rule: Option<&'a str>,
    /// What the event itself asks for.
    by_event: bool,
}

pub(super) fn run(command: &Command, overrides: Overrides) -> anyhow::Result<()> {
    let Command::Test(args) = command;
    let config = Config::load(overrides)?;
    let rules = Rules::new(&config.grouping);
    let text = read(&args.file)?;
    let events: Vec<Box<serde_json::value::RawValue>> = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text)?
    } else {
        vec![serde_json::from_str(&text)?]
    };
    let mut out = super::out();
    for event in events {
        let event: Event = NewEvent::from_json(event.get())?.check(clock::now())?;
        let (fingerprint, rule) = rules.explain(&event);
        let shown = Shown {
            fingerprint: &fingerprint.value,
            title: &fingerprint.title,
            culprit: fingerprint.culprit.as_deref(),
            rule: rule.map(|rule| rule.name.as_str()),
            by_event: rule.is_none() && !event.parts.is_empty(),
        };
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&shown)?)?;
            continue;
        }
        let by = match (shown.rule, shown.by_event) {
            (Some(rule), _) => format!("[[grouping]] {rule}"),
            (None, true) => "the fingerprint in the event".to_owned(),
            (None, false) => "Lux's own way; no rule fits".to_owned(),
        };
        writeln!(out, "fingerprint  {}", shown.fingerprint)?;
        writeln!(out, "title        {}", shown.title)?;
        writeln!(out, "culprit      {}", shown.culprit.unwrap_or("-"))?;
        writeln!(out, "by           {by}")?;
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_FILE + 1).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|it| it.take(MAX_FILE + 1).read_to_string(&mut text))
    };
    read.map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    anyhow::ensure!(text.len() as u64 <= MAX_FILE, "{} is larger than 4 MiB", file.display());
    Ok(text)
}
