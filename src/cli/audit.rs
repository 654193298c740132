//! `lux audit`: works on the database itself, while the service runs or not, so that a check
//! does not rest on the service's word.

use std::{io::Write, process::ExitCode};

use clap::Subcommand;
use serde_json::json;

use crate::{
    auth::{
        OrganizationId,
        audit::{self, Known},
    },
    config::Config,
    db::Db,
    serve,
};

/// Entries that one step looks at.
const STEP: i64 = 100_000;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Walk the chain of all entries; exit code 1 if anything is missing or changed
    Verify {
        /// A head that Lux wrote to its own log ("the audit log ends here"): whether it is still
        /// in the chain, which shows that no end was cut off. Several times for several
        #[arg(long = "head", value_name = "NUMBER:HASH")]
        heads: Vec<Known>,
        #[arg(long)]
        json: bool,
    },
    /// Print all entries with their hashes, oldest first, one JSON object a line
    Export,
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    let db = serve::open_database(config).await?;
    let done = match command {
        Command::Verify { heads, json } => verify(&db, &heads, json).await,
        Command::Export => export(&db).await,
    };
    db.close().await;
    done
}

async fn verify(db: &Db, known: &[Known], as_json: bool) -> anyhow::Result<ExitCode> {
    let mut out = super::out();
    let organization = OrganizationId::FIRST;
    let mut problems = Vec::new();
    for known in known {
        let check = audit::verify(db, organization, 0, 0, Some(known)).await?;
        problems.extend(check.problems.into_iter().filter(|problem| problem.check == "head"));
    }
    let (mut checked, mut after) = (0, Some(0));
    let mut head = None;
    while let Some(from) = after {
        let check = audit::verify(db, organization, from, STEP, None).await?;
        checked += check.checked;
        problems.extend(check.problems);
        (head, after) = (check.head, check.next);
    }
    let whole = problems.is_empty();
    if as_json {
        let report =
            json!({ "whole": whole, "checked": checked, "head": head, "problems": problems });
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        for problem in &problems {
            writeln!(out, "{}: {}", problem.check, problem.detail)?;
        }
        let said = if whole { "the chain is whole" } else { "the chain is broken" };
        writeln!(out, "{said}: {checked} entries")?;
        if let Some(head) = head {
            writeln!(out, "head {}:{}", head.entries, head.hash)?;
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn export(db: &Db) -> anyhow::Result<ExitCode> {
    let mut out = super::out();
    let mut after = 0;
    loop {
        let entries = audit::page(db, OrganizationId::FIRST, after).await?;
        let Some(last) = entries.last() else { return Ok(ExitCode::SUCCESS) };
        after = last.id;
        for entry in &entries {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        }
    }
}
