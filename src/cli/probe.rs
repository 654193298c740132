//! `lux probe`: runs a probe of the running server by its name, or asks for a URL once.

use std::{io::Write, process::ExitCode, time::Duration};

use anstyle::{AnsiColor, Style};
use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::{client::Server, out};
use crate::{config::Overrides, outbound::Outbound, probe, redact};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A probe's name (the server runs it and keeps the result), or an http:// or https:// URL
    /// (asked once, from here, without a server); without one: lists the server's probes
    #[arg(value_name = "NAME|URL")]
    probe: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// How long a single request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Success: it passed. 1: it failed or proves nothing.
pub(super) async fn run(args: Args, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let Some(name) = &args.probe else {
        return list(args, overrides).await;
    };
    let is_url = name.starts_with("http://") || name.starts_with("https://");
    let sample = if is_url {
        once(&Url::parse(name)?).await?
    } else {
        let client = args.server.clone().connect(overrides).await?;
        let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let path = format!("/api/probes/{}/run", name.replace('+', "%20"));
        client.ask(Method::POST, &path, None).await?
    };
    let mut out = out();
    if args.json {
        writeln!(out, "{sample:#}")?;
    } else {
        print(&mut out, &sample)?;
    }
    let passed = sample["outcome"] == "pass";
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn once(url: &Url) -> anyhow::Result<Value> {
    let seen = probe::one_shot(&Outbound::new()?, url, TIMEOUT).await;
    let struck = |text: &str| redact::secrets(text).into_owned();
    Ok(json!({
        "probe": struck(url.as_str()),
        "outcome": seen.outcome,
        "request": struck(&seen.request),
        "status": seen.status,
        "latency_ms": u64::try_from(seen.took.as_millis()).unwrap_or(u64::MAX),
        "body_hash": seen.body_hash,
        "excerpt": seen.excerpt.as_deref().map(struck),
        "why": struck(&seen.why),
    }))
}

async fn list(args: Args, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let client = args.server.connect(overrides).await?;
    let answer = client.ask(Method::GET, "/api/probes", None).await?;
    let mut out = out();
    if args.json {
        writeln!(out, "{answer:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let probes = answer["probes"].as_array().map_or(&[][..], Vec::as_slice);
    if probes.is_empty() {
        writeln!(out, "no probes; add [[probes]] to lux.toml")?;
    }
    for probe in probes {
        let last = probe["last"]["outcome"].as_str().unwrap_or("not run yet");
        let (name, does) = (shown(&probe["name"]), shown(&probe["does"]));
        writeln!(out, "{}{last:<12}{:#}{name}  {does}", colour(last), colour(last))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, sample: &Value) -> std::io::Result<()> {
    let outcome = sample["outcome"].as_str().unwrap_or_default();
    let style = colour(outcome);
    let latency = &sample["latency_ms"];
    writeln!(out, "{style}{outcome}{style:#}  {}  ({latency} ms)", shown(&sample["request"]))?;
    writeln!(out, "      {}", shown(&sample["why"]))?;
    if outcome != "pass"
        && let Some(excerpt) = sample["excerpt"].as_str()
    {
        for line in excerpt.lines().take(10) {
            writeln!(out, "      | {}", line.replace(char::is_control, " "))?;
        }
    }
    Ok(())
}

fn colour(outcome: &str) -> Style {
    let colour = match outcome {
        "pass" => AnsiColor::Green,
        "fail" => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// One line without control characters: an answer must not steer the terminal.
fn shown(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace(char::is_control, " ")
}
