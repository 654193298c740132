//! `lux logs`: what was said lately, and with `-f` what is being said.

use std::io::Write;

use http::Method;
use serde_json::Value;

use super::{
    client::{Client, Server},
    events,
};
use crate::config::Overrides;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Go on showing records as they come
    #[arg(short, long)]
    follow: bool,
    /// Only these sources, separated by commas
    #[arg(long, value_name = "NAMES")]
    source: Option<String>,
    /// At least this bad: debug, info, notice, warning, error, critical
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Only records with this text, in any case; `/…/` is a regular expression
    #[arg(short, long, value_name = "TEXT")]
    q: Option<String>,
    /// How many of the last records are shown
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn run(args: Args, overrides: Overrides) -> anyhow::Result<()> {
    let client = args.server.clone().connect(overrides).await?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let parts = [("source", &args.source), ("severity", &args.severity), ("q", &args.q)];
    for (name, value) in parts {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if !args.follow {
        return show_last(&client, &args, &query).await.map(drop);
    }
    // First the stream, then the past: nothing falls between; the few that are in
    // both are told by their ids.
    let stream =
        client.stream(Method::GET, &format!("/api/diagnostics/logs/stream?{query}"), None).await?;
    let past = show_last(&client, &args, &query).await?;
    let shown: Vec<&str> = past.iter().filter_map(|record| record["id"].as_str()).collect();
    events::read(stream, |event| {
        let data: Value = serde_json::from_str(&event.data)?;
        match event.name.as_str() {
            "record" if data["id"].as_str().is_some_and(|id| shown.contains(&id)) => {}
            "record" => show(&data, args.json)?,
            "dropped" => {
                let mut err = anstream::stderr();
                writeln!(err, "({} records were too fast for this terminal)", data["count"])?;
            }
            _ => {}
        }
        Ok(true)
    })
    .await
}

async fn show_last(client: &Client, args: &Args, query: &str) -> anyhow::Result<Vec<Value>> {
    let limit = args.lines.clamp(1, 200);
    let path = format!("/api/diagnostics/logs?{query}&limit={limit}");
    let answer = client.ask(Method::GET, &path, None).await?;
    let records = answer["records"].as_array().cloned().unwrap_or_default();
    for record in records.iter().rev() {
        show(record, args.json)?;
    }
    Ok(records)
}

fn show(record: &Value, json: bool) -> anyhow::Result<()> {
    let mut out = super::out();
    if json {
        writeln!(out, "{record}")?;
        return Ok(());
    }
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    let severity = text("severity");
    let style = match severity {
        "error" | "critical" => anstyle::AnsiColor::Red.on_default(),
        "warning" => anstyle::AnsiColor::Yellow.on_default(),
        _ => anstyle::Style::new(),
    };
    // A log may hold anything; the terminal gets no control characters from it.
    let said: String =
        text("text").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    writeln!(out, "{}:{} {style}{severity}{style:#} {said}", text("source"), record["line"])?;
    out.flush()?;
    Ok(())
}
