//! `lux doctor`: what is set and where it comes from, and whether what Lux needs is
//! there. Each check that fails says what to do.

mod host;
mod service;

use std::{io::Write, process::ExitCode};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;

use crate::config::{Config, Mistake, Overrides};

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    /// Lux works without it, but knows less.
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    outcome: Outcome,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Ok, detail: detail.into(), remedy: None }
    }

    fn warn(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name: name.into(), outcome: Outcome::Warn, detail: detail.into(), remedy }
    }

    fn fail(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name: name.into(), outcome: Outcome::Fail, detail: detail.into(), remedy }
    }
}

pub(super) async fn run(args: Args, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let (config, mistakes) = Config::load_leniently(overrides);
    let mut checks = Vec::new();
    checks.push(host::data_directory(&config));
    checks.push(host::disk(&config));
    checks.push(service::database(&config).await);
    checks.push(service::master_key(&config).await);
    checks.extend(host::sources(&config));
    checks.extend(host::journal(&config).await);
    checks.push(service::actions(&config).await);
    checks.push(service::model(&config).await);
    checks.push(service::mail(&config).await);
    checks.push(service::sign_in(&config));
    checks.extend(service::providers(&config).await);
    checks.extend(service::integrations(&config));
    checks.push(host::clock(&config).await);
    checks.push(service::schedules(&config));

    let failed = checks.iter().any(|check| check.outcome == Outcome::Fail);
    let well = !failed && mistakes.is_empty();
    if args.json {
        let report = json!({
            "ok": well,
            "version": env!("CARGO_PKG_VERSION"),
            "file": config.file,
            "settings": config.settings,
            "mistakes": mistakes,
            "checks": checks,
        });
        writeln!(super::out(), "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        show(&config, &mistakes, &checks)?;
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(config: &Config, mistakes: &[Mistake], checks: &[Check]) -> anyhow::Result<()> {
    let mut out = super::out();
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let file = config.file.as_deref().map_or_else(
        || "none found (./lux.toml, /etc/lux/lux.toml)".to_owned(),
        |path| path.display().to_string(),
    );
    writeln!(out, "{bold}Settings{bold:#}  file: {file}")?;
    for setting in &config.settings {
        let (key, value, origin) = (&setting.key, &setting.value, &setting.origin);
        writeln!(out, "  {key:28} {value}  {dim}{origin}{dim:#}")?;
    }
    for source in &config.sources {
        let place = match &source.place {
            crate::config::Place::Path(path) => path.clone(),
            crate::config::Place::Unit(unit) => format!("journal of {unit}"),
            crate::config::Place::Directory(path) => format!("journal in {}", path.display()),
        };
        writeln!(out, "  source {:21} {place}", source.name)?;
    }
    for app in &config.apps {
        writeln!(out, "  app {:24} {}", app.name, app.base_url)?;
    }
    for provider in &config.providers {
        writeln!(out, "  provider {:19} {}", provider.name, provider.issuer)?;
    }
    if !mistakes.is_empty() {
        writeln!(out, "\n{bold}Mistakes{bold:#}")?;
        for mistake in mistakes {
            writeln!(out, "  {} {mistake}", mark(Outcome::Fail))?;
        }
    }
    writeln!(out, "\n{bold}Checks{bold:#}")?;
    for check in checks {
        writeln!(out, "  {} {:22} {}", mark(check.outcome), check.name, check.detail)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "    {:22} → {remedy}", "")?;
        }
    }
    Ok(())
}

fn mark(outcome: Outcome) -> String {
    let (text, color) = match outcome {
        Outcome::Ok => ("ok  ", AnsiColor::Green),
        Outcome::Warn => ("note", AnsiColor::Yellow),
        Outcome::Fail => ("FAIL", AnsiColor::Red),
    };
    let style = color.on_default();
    format!("{style}{text}{style:#}")
}
