//! `lux replay`: what this Lux would make of an answer that a model gave before.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use serde_json::json;

use crate::{
    auth::OrganizationId,
    chat::transcript::Transcript,
    config::{Config, Overrides},
    llm::Llm,
    seal, serve,
};

/// Go through an answer of the model again, offline, and show what is different now
///
/// The model's turns and the tools' results are those of then; prompt, tools, citations
/// and rules are those of this program. Exit code 0: nothing changed; 1: something did.
#[derive(Parser)]
pub(super) struct Args {
    /// The answer's message id, as the chat gives it
    id: i64,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let config = Config::load(overrides)?;
    let db = serve::open_database(&config).await?;
    let sealer = seal::check(&db, config.key_origin()).await?;
    let llm = Llm::new(db.clone(), &config, sealer.clone())?;
    let found = Transcript::load(&db, &sealer, OrganizationId::FIRST, args.id).await?;
    let transcript = found.with_context(|| {
        format!(
            "message {} has no transcript: it was not answered by a model, or it is older than \
             [model] keep_texts",
            args.id
        )
    })?;
    let changes = transcript.replay(&llm);
    let same = changes.differences.is_empty();
    let mut out = super::out();
    if args.json {
        let document = json!({ "message_id": args.id, "same": same, "changes": changes,
                               "transcript": transcript });
        writeln!(out, "{document:#}")?;
    } else {
        let calls = transcript.turns.iter().map(|turn| turn.calls.len()).sum::<usize>();
        writeln!(
            out,
            "message {}: {} turns of the model, {calls} calls of tools, prompt {}",
            args.id,
            transcript.turns.len(),
            transcript.prompt
        )?;
        for used in transcript.turns.iter().flat_map(|turn| &turn.calls) {
            writeln!(out, "  {} {}", used.name, used.arguments)?;
        }
        writeln!(out, "\n{}\n", changes.answer.trim_end())?;
        if same {
            writeln!(out, "nothing is different now")?;
        }
        for difference in &changes.differences {
            writeln!(out, "{difference}")?;
        }
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
