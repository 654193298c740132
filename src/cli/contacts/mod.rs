//! `lux contacts`: people in and out, and mail to them that came back.

mod bounces;
mod transfer;

use std::{path::PathBuf, process::ExitCode};

use crate::config::{Config, Overrides};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Bring in a table (CSV); exit code 1 if rows were refused
    Import(transfer::Import),
    /// Write contacts out, with every column
    Export(transfer::Export),
    /// Read the mailbox that reports about mail go to: what came back, and who complained
    ///
    /// Takes mailboxes (mbox) and single messages (.eml). Only reports about mails that this Lux
    /// sent count.
    Bounces {
        /// `-` is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) async fn run(command: Command, overrides: Overrides) -> anyhow::Result<ExitCode> {
    match command {
        Command::Import(args) => return transfer::import(args, overrides).await,
        Command::Export(args) => transfer::export(args, overrides).await?,
        Command::Bounces { files } => bounces::run(&files, &Config::load(overrides)?).await?,
    }
    Ok(ExitCode::SUCCESS)
}
