//! `lux integrations`: how connections are, asked of the running server. To connect a service
//! takes a browser: its provider asks a person.

use std::{io::Write, process::ExitCode};

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::{client::Server, out};
use crate::config::Overrides;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Everything that people connected, or had connected
    List {
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Ask the providers whether they still accept what is connected; all, or one by its name
    Test {
        /// "github", "google_calendar"
        provider: Option<String>,
        #[command(flatten)]
        server: Server,
    },
}

/// Success: nothing has to be done. 1: something does not answer or has to be connected again.
pub(super) async fn run(command: Command, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let mut out = out();
    let (server, only) = match &command {
        Command::List { server, .. } => (server.clone(), None),
        Command::Test { server, provider } => (server.clone(), provider.as_deref()),
    };
    let client = server.connect(overrides).await?;
    let told = client.ask(Method::GET, "/api/integrations", None).await?;
    let cards = told["integrations"].as_array().cloned().unwrap_or_default();
    let text = |card: &Value, key: &str| card[key].as_str().unwrap_or("-").to_owned();
    let mut is_well = true;
    if let Command::List { json, .. } = command {
        if json {
            writeln!(out, "{told:#}")?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(out, "{:16} {:>5}  {:14} {:28} LAST ERROR", "PROVIDER", "USER", "STATUS", "AS")?;
        for card in &cards {
            let connected = card["connected"] == true;
            is_well &= !connected || card["needsReauth"] == false && card["status"] == "active";
            let status = if connected { text(card, "status") } else { "not connected".to_owned() };
            let (provider, user) = (text(card, "provider"), &card["userId"]);
            let (name, error) = (text(card, "username"), text(card, "lastError"));
            writeln!(out, "{provider:16} {user:>5}  {status:14} {name:28} {error}")?;
        }
        return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) });
    }
    let connected = cards.iter().filter(|card| card["connected"] == true);
    let mut asked = 0;
    for card in connected.filter(|card| only.is_none_or(|only| card["provider"] == only)) {
        asked += 1;
        let (provider, user) = (text(card, "provider"), &card["userId"]);
        let path = format!("/api/integrations/{provider}/test?user_id={user}");
        match client.ask(Method::POST, &path, None).await {
            Ok(answer) => {
                let (name, took) = (text(&answer, "username"), &answer["took_ms"]);
                writeln!(out, "{provider:16} user {user}: answers as {name} ({took} ms)")?;
            }
            Err(error) => {
                is_well = false;
                writeln!(out, "{provider:16} user {user}: {error}")?;
            }
        }
    }
    anyhow::ensure!(asked > 0, "nothing is connected{}", only.map_or("", |_| " of this provider"));
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
