//! `lux chat`: the operator's conversation in a terminal.

use std::io::{BufRead, IsTerminal, Write};

use anstyle::Style;
use http::Method;
use serde_json::{Value, json};

use super::{
    client::{Client, Server},
    events,
};
use crate::{config::Overrides, llm};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The question; without one, questions are read from the terminal
    message: Vec<String>,
    /// Go on with this session
    #[arg(long)]
    session: Option<i64>,
    /// Ask about this application only
    #[arg(long)]
    app: Option<String>,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn run(args: Args, overrides: Overrides) -> anyhow::Result<()> {
    let client = args.server.connect(overrides).await?;
    let mut session = args.session;
    if !args.message.is_empty() {
        let message = args.message.join(" ");
        ask(&client, &message, &mut session, args.app.as_deref(), args.json).await?;
        return Ok(());
    }
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        let mut err = anstream::stderr();
        writeln!(err, "Ask about this system: \"what is wrong?\"  (Ctrl-D ends)")?;
    }
    let mut line = String::new();
    loop {
        if terminal {
            let mut err = anstream::stderr();
            let bold = Style::new().bold();
            write!(err, "{bold}you>{bold:#} ")?;
            err.flush()?;
        }
        line.clear();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let message = line.trim();
        if message.is_empty() {
            continue;
        }
        ask(&client, message, &mut session, args.app.as_deref(), args.json).await?;
    }
}

async fn ask(
    client: &Client,
    message: &str,
    session: &mut Option<i64>,
    app: Option<&str>,
    as_json: bool,
) -> anyhow::Result<()> {
    let body = json!({ "message": message, "session_id": *session, "app": app });
    let response = client.stream(Method::POST, "/chatbot/send", Some(&body)).await?;
    let mut out = super::out();
    events::read(response, |event| {
        let data: Value = serde_json::from_str(&event.data)?;
        match event.name.as_str() {
            "delta" if !as_json => {
                write!(out, "{}", data["text"].as_str().unwrap_or_default())?;
                out.flush()?;
            }
            "tool" if !as_json && data["state"] == "started" => {
                let dim = Style::new().dimmed();
                let name = data["name"].as_str().unwrap_or_default();
                let arguments = match &data["arguments"] {
                    Value::Null => String::new(),
                    arguments => llm::visible(&arguments.to_string()),
                };
                writeln!(anstream::stderr(), "{dim}{name} {arguments}{dim:#}")?;
            }
            "problem" => anyhow::bail!("{}", data["detail"].as_str().unwrap_or("refused")),
            "done" => {
                *session = data["session_id"].as_i64();
                if as_json {
                    writeln!(out, "{}", serde_json::to_string_pretty(&data)?)?;
                } else {
                    if data["engine"] == "model" {
                        sources(&mut out, &data)?;
                    }
                    if let Some(notice) = data["notice"].as_str() {
                        let dim = Style::new().dimmed();
                        writeln!(out, "{dim}{notice}{dim:#}")?;
                    }
                    writeln!(out)?;
                }
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    })
    .await
}

/// What a model's answer rests on, and what it proposes.
fn sources(out: &mut impl Write, reply: &Value) -> anyhow::Result<()> {
    /// Characters of a cited line.
    const MOST: usize = 160;
    let list = |key: &str| reply[key].as_array().cloned().unwrap_or_default();
    let dim = Style::new().dimmed();
    writeln!(out)?;
    for cited in list("citations") {
        let text = llm::visible(cited["text"].as_str().unwrap_or_default());
        let text: String = text.lines().next().unwrap_or_default().chars().take(MOST).collect();
        let (number, source) = (&cited["number"], cited["source"].as_str().unwrap_or_default());
        writeln!(out, "{dim}[{number}] {source}:{} {text}{dim:#}", cited["line"])?;
    }
    for proposal in list("proposals") {
        let title = proposal["title"].as_str().unwrap_or_default();
        writeln!(out, "Lux could: {title} (`lux repair`)")?;
    }
    Ok(())
}
