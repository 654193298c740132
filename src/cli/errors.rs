//! `lux errors`: what the running server has captured, as groups or as single events.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::Value;

use super::{client::Server, out};
use crate::{clock, config::Overrides};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    export: Option<Command>,
    /// Show one group by its number, with its newest events
    group: Option<i64>,
    /// Single events, newest first, instead of groups
    #[arg(long, conflicts_with = "group")]
    events: bool,
    /// Events of the last HOURS hours
    #[arg(long, default_value_t = 24, requires = "events")]
    hours: i64,
    /// Groups of this status only
    #[arg(long, value_name = "unresolved|regressed|resolved|ignored", conflicts_with = "events")]
    status: Option<String>,
    /// Of this application only
    #[arg(long)]
    app: Option<String>,
    /// With this text in title or message
    #[arg(short, long)]
    query: Option<String>,
    #[arg(long, default_value_t = 20)]
    limit: i64,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write all events that a search finds to stdout, newest first
    Export(Export),
}

#[derive(clap::Args)]
struct Export {
    #[arg(long, value_name = "jsonl|csv", default_value = "jsonl")]
    format: String,
    /// Words, "phrases" and field:value, as in the API's `q`
    #[arg(short, long)]
    query: Option<String>,
    /// Events of the last HOURS hours
    #[arg(long, default_value_t = 24)]
    hours: i64,
    /// Of this application only
    #[arg(long)]
    app: Option<String>,
    /// Of this group only
    #[arg(long)]
    group: Option<i64>,
    /// At most so many events
    #[arg(long)]
    limit: Option<i64>,
    #[command(flatten)]
    server: Server,
}

async fn export(args: Export, overrides: Overrides) -> anyhow::Result<()> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let given = [
        ("format", Some(args.format)),
        ("hours", Some(args.hours.to_string())),
        ("q", args.query),
        ("app", args.app),
        ("group", number(args.group)),
        ("limit", number(args.limit)),
    ];
    query.extend_pairs(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let path = format!("/api/diagnostics/errors/export?{}", query.finish());
    let client = args.server.connect(overrides).await?;
    let mut response = client.download(&path).await?;
    let mut out = out();
    while let Some(chunk) = response.chunk().await.context("the export is not complete")? {
        out.write_all(&chunk)?;
    }
    Ok(out.flush()?)
}

pub(super) async fn run(args: Args, overrides: Overrides) -> anyhow::Result<()> {
    if let Some(Command::Export(args)) = args.export {
        return export(args, overrides).await;
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    if args.events {
        query.append_pair("hours", &args.hours.to_string());
    }
    for (name, value) in [("status", &args.status), ("app", &args.app), ("q", &args.query)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let path = match args.group {
        Some(id) => format!("/api/diagnostics/groups/{id}"),
        None if args.events => format!("/api/diagnostics/errors?{query}"),
        None => format!("/api/diagnostics/groups?{query}"),
    };
    let client = args.server.connect(overrides).await?;
    let answer = client.ask(Method::GET, &path, None).await?;
    let mut out = out();
    if args.json {
        writeln!(out, "{answer:#}")?;
    } else if args.group.is_some() {
        print_group(&mut out, &answer)?;
        writeln!(out)?;
        for event in list(&answer, "events") {
            print_event(&mut out, event)?;
        }
    } else if args.events {
        let events = list(&answer, "errors");
        if events.is_empty() {
            writeln!(out, "no errors in the last {} hours", args.hours)?;
        }
        for event in events {
            print_event(&mut out, event)?;
        }
    } else {
        let groups = list(&answer, "groups");
        if groups.is_empty() {
            writeln!(out, "no errors")?;
        }
        for group in groups {
            print_group(&mut out, group)?;
        }
    }
    if !answer["next"].is_null() && !args.json {
        writeln!(out, "there are more; --limit shows up to 200")?;
    }
    Ok(())
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

/// `   12×  KeyError: 'GBP'`, below it status, place, age and course.
fn print_group(out: &mut impl Write, group: &Value) -> std::io::Result<()> {
    let bold = Style::new().bold();
    let status = group["status"].as_str().unwrap_or_default();
    let colour = match status {
        "resolved" => AnsiColor::Green,
        "ignored" => AnsiColor::BrightBlack,
        "regressed" => AnsiColor::Magenta,
        _ => AnsiColor::Red,
    };
    let colour = Style::new().fg_color(Some(colour.into()));
    let count = group["count"].as_i64().unwrap_or_default();
    writeln!(out, "{count:>6}×  {bold}{}{bold:#}", shown(&group["title"]))?;
    write!(out, "         {colour}{status}{colour:#}  #{}", group["id"])?;
    for key in ["app", "culprit"] {
        let text = shown(&group[key]);
        if !text.is_empty() {
            write!(out, "  {text}")?;
        }
    }
    writeln!(out, "  {}  {}", age(&group["last_seen"]), sparkline(&group["buckets"]))
}

fn print_event(out: &mut impl Write, event: &Value) -> std::io::Result<()> {
    let bold = Style::new().bold();
    writeln!(
        out,
        "{}  {:<8}  {bold}{}{bold:#}: {}",
        event["created_at"].as_str().unwrap_or_default().get(..19).unwrap_or_default(),
        event["severity"].as_str().unwrap_or_default(),
        shown(&event["type"]),
        shown(&event["message"]),
    )?;
    let place = format!("{} {}", shown(&event["method"]), shown(&event["endpoint"]));
    let place = place.trim();
    if !place.is_empty() {
        writeln!(out, "                               {place}")?;
    }
    Ok(())
}

/// One line without control characters: captured text must not steer the terminal.
fn shown(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(160).collect()
}

fn age(time: &Value) -> String {
    let time = time.as_str().and_then(|time| time.parse::<DateTime<Utc>>().ok());
    let Some(time) = time else { return String::new() };
    let ago = (clock::now() - time).max(TimeDelta::zero());
    match (ago.num_days(), ago.num_hours(), ago.num_minutes()) {
        (0, 0, 0) => "just now".to_owned(),
        (0, 0, minutes) => format!("{minutes} min ago"),
        (0, hours, _) => format!("{hours} h ago"),
        (days, ..) => format!("{days} d ago"),
    }
}

/// The last 24 hours as bars.
fn sparkline(buckets: &Value) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let counts: Vec<u64> =
        buckets.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| match count {
        0 => ' ',
        count => {
            let step = count.saturating_mul(7) / most;
            BARS[usize::try_from(step).unwrap_or(7).min(7)]
        }
    };
    counts.iter().map(bar).collect::<String>().trim_end().to_owned()
}
