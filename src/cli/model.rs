//! `lux model`: trying the model, and reading what was sent to it.

use std::{io::Write, process::ExitCode};

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::{client::Server, out};
use crate::{
    auth::OrganizationId,
    config::{Config, Overrides},
    llm::{Call, Inputs, Llm, Message, Purpose, Trouble},
    seal, serve,
};

/// The model: try it, see what was sent to it
#[derive(Subcommand)]
pub(super) enum Command {
    /// Ask it for one word, as the service would: through the budget and the ledger
    Test {
        /// Whose model and limits: chat, diagnose, plan or campaign
        #[arg(long, default_value = "chat", value_parser = purpose)]
        purpose: Purpose,
    },
    /// What was sent to it: when, why, for whom, tokens, cost; with a number one request whole
    Ledger(Ledger),
}

#[derive(clap::Args)]
pub(super) struct Ledger {
    /// One request by its number, with the text as it was sent
    id: Option<i64>,
    /// For one use only: chat, diagnose, plan or campaign
    #[arg(long, value_parser = purpose, conflicts_with = "id")]
    purpose: Option<Purpose>,
    /// With this result only: told, stopped, timed_out, …
    #[arg(long, conflicts_with = "id")]
    result: Option<String>,
    #[arg(long, default_value_t = 20)]
    limit: i64,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

fn purpose(text: &str) -> Result<Purpose, String> {
    let known = Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == text);
    known.ok_or_else(|| "use chat, diagnose, plan or campaign".to_owned())
}

pub(super) async fn run(command: Command, overrides: Overrides) -> anyhow::Result<ExitCode> {
    match command {
        Command::Test { purpose } => test(purpose, overrides).await,
        Command::Ledger(args) => ledger(args, overrides).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn test(purpose: Purpose, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let config = Config::load(overrides)?;
    serve::log_to_stderr(&config);
    let db = serve::open_database(&config).await?;
    let sealer = seal::check(&db, config.key_origin()).await?;
    let llm = Llm::new(db.clone(), &config, sealer)?;
    let asked = ask(&llm, purpose).await;
    db.close().await;
    let mut out = out();
    match asked? {
        Ok((words, line)) => {
            writeln!(out, "{words}\n{line}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(trouble) => {
            writeln!(out, "{trouble}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The answer, and a line about it.
async fn ask(llm: &Llm, purpose: Purpose) -> anyhow::Result<Result<(String, String), Trouble>> {
    let prompt = llm.prompts().render("test", Inputs::new())?;
    let messages = [Message::User(prompt.text)];
    let call = Call {
        purpose,
        why: "lux model test",
        organization: OrganizationId::FIRST,
        by: "command line",
        messages: &messages,
        tools: &[],
        schema: None,
        max_output: None,
    };
    let mut words = String::new();
    let told = match llm.stream(call, |piece| words.push_str(piece)).await {
        Ok(told) => told,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let line = format!(
        "{} in {} ms, {} tokens in, {} out, request {} of the ledger",
        told.model,
        told.latency.as_millis(),
        told.tokens_in,
        told.tokens_out,
        told.ledger
    );
    let words = words.chars().filter(|c| !c.is_control()).take(300).collect();
    Ok(Ok((words, line)))
}

async fn ledger(args: Ledger, overrides: Overrides) -> anyhow::Result<()> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    if let Some(purpose) = args.purpose {
        query.append_pair("purpose", purpose.as_str());
    }
    if let Some(result) = &args.result {
        query.append_pair("result", result);
    }
    let path = match args.id {
        Some(id) => format!("/api/model/ledger/{id}"),
        None => format!("/api/model/ledger?{}", query.finish()),
    };
    let client = args.server.connect(overrides).await?;
    let answer = client.ask(Method::GET, &path, None).await?;
    let mut out = out();
    if args.json {
        writeln!(out, "{answer:#}")?;
    } else if args.id.is_some() {
        print_line(&mut out, &answer)?;
        for (title, text) in [("SENT", &answer["sent"]), ("ANSWER", &answer["answer"])] {
            let text = text.as_str().map(readable);
            writeln!(out, "\n{title}\n{}", text.as_deref().unwrap_or("(not kept)"))?;
        }
    } else {
        for line in answer["requests"].as_array().into_iter().flatten() {
            print_line(&mut out, line)?;
        }
        writeln!(out, "today: {} tokens", answer["today"]["tokens"])?;
    }
    Ok(())
}

fn print_line(out: &mut impl Write, line: &Value) -> std::io::Result<()> {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let number = |name: &str| line[name].as_i64().unwrap_or_default();
    writeln!(
        out,
        "{:>6}  {:.19}  {:9} {:13} {:>7} in {:>6} out  {} for {}: {}",
        number("id"),
        text("at"),
        text("purpose"),
        text("result"),
        number("tokens_in"),
        number("tokens_out"),
        text("model"),
        text("made_for"),
        text("why"),
    )
}

/// The body with its messages as they read; a cut one as it is.
fn readable(text: &str) -> String {
    let pretty =
        serde_json::from_str::<Value>(text).and_then(|it| serde_json::to_string_pretty(&it));
    let text = pretty.map_or_else(|_| text.to_owned(), |pretty| pretty.replace("\\n", "\n"));
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
