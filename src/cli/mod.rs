//! The command line. Results go to stdout, everything else to stderr; exit code 0 is
//! success, 1 a finding or failure, 2 a mistake in the call or the set-up.

mod apps;
mod audit;
mod backup;
mod chat;
pub mod client;
mod contacts;
mod demo;
pub mod diagnose;
mod doctor;
mod errors;
pub mod eval;
mod events;
mod grouping;
mod integrations;
mod keys;
mod logs;
mod model;
mod probe;
mod repair;
mod replay;
mod sign_in;
mod token;
mod webhook;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    config::{Config, Overrides},
    serve,
};

/// Reads your application's errors and logs, names the cause, says what to do.
#[derive(Parser)]
#[command(name = "lux", version, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: ./lux.toml, else /etc/lux/lux.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Everything Lux writes goes here [default: ./.lux, /var/lib/lux as a service]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// sqlite:PATH or postgres://… [default: lux.db in the data directory]
    #[arg(long, global = true, value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Where the service listens; port 0 lets the system choose [default: 127.0.0.1:5000]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// How Lux writes its own log
    #[arg(long, global = true, value_name = "text|json")]
    log_format: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service (what plain `lux` does)
    Serve,
    /// A tour: the service, recorded faults, a small broken shop, and questions about them
    Demo(demo::Args),
    /// Ask the running service
    Chat(chat::Args),
    /// What was captured: groups of errors, single events
    Errors(errors::Args),
    /// What the logs said lately; with -f what they say
    Logs(logs::Args),
    /// Which group an event would belong to
    #[command(subcommand)]
    Grouping(grouping::Command),
    Repair(repair::Args),
    /// Run a probe of the running service, or ask for a URL once
    Probe(probe::Args),
    #[command(subcommand)]
    Model(model::Command),
    /// The applications that report their errors: add one, get its DSN
    #[command(subcommand)]
    Apps(apps::Command),
    /// People: bring in a table, write them out, see what came back of the mail to them
    #[command(subcommand)]
    Contacts(contacts::Command),
    /// Services of others that people connected: how they are, whether they answer
    #[command(subcommand)]
    Integrations(integrations::Command),
    /// The audit log: check its chain, write it out
    #[command(subcommand)]
    Audit(audit::Command),
    Backup(backup::Backup),
    Restore(backup::Restore),
    /// The keys that secrets in the database are sealed with
    #[command(subcommand)]
    Keys(keys::Command),
    LoginLink(sign_in::LoginLink),
    /// A link for the first administrator, who has no account yet
    SetupLink,
    Invite(sign_in::Invite),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(token::Command),
    /// User names and passwords of the contacts' webhook
    #[command(subcommand)]
    WebhookCredential(webhook::Command),
    /// Show the configuration and check what Lux needs: logs, journal, database, key, disk, clock
    Doctor(doctor::Args),
    Diagnose(diagnose::Args),
    Eval(eval::Args),
    Replay(replay::Args),
    /// Bring the database's tables up to date and end
    Migrate,
    /// Print the OpenAPI description of the API
    Openapi,
    /// Print a completion script for your shell
    Completions {
        shell: clap_complete::Shell,
    },
}

/// Who changed something here, in the audit log.
const ACTOR: &str = "command line";

/// Standard output: colours only on a terminal.
pub fn out() -> anstream::AutoStream<io::Stdout> {
    anstream::stdout()
}

/// Runs the program; its exit code is the process's.
pub fn main() -> ExitCode {
    // What Lux writes is for its own user: the database, its journal, keys, backups.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        // The reader went away (`lux … | head`): nobody is left to tell.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let mut err = anstream::stderr();
            // Nothing is left to do where even stderr is gone.
            let _ = writeln!(err, "lux: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut overrides = Overrides::of_process();
    overrides.file = cli.config;
    let mut flag = |name, value: Option<String>| {
        overrides.flags.extend(value.map(|value| (name, value)));
    };
    flag("data_dir", cli.data_dir);
    flag("database_url", cli.database_url);
    flag("log.format", cli.log_format);
    flag("listen", cli.listen);
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let config = Config::load(overrides)?;
            serve::log_to_stderr(&config);
            runtime()?.block_on(serve::run(config))?;
        }
        Command::Demo(args) => runtime()?.block_on(demo::run(args, overrides))?,
        Command::Chat(args) => runtime()?.block_on(chat::run(args, overrides))?,
        Command::Errors(args) => runtime()?.block_on(errors::run(args, overrides))?,
        Command::Logs(args) => runtime()?.block_on(logs::run(args, overrides))?,
        Command::Integrations(command) => {
            return runtime()?.block_on(integrations::run(command, overrides));
        }
        Command::Grouping(command) => grouping::run(&command, overrides)?,
        Command::Repair(args) => return runtime()?.block_on(repair::run(args, overrides)),
        Command::Probe(args) => return runtime()?.block_on(probe::run(args, overrides)),
        Command::Model(command) => return runtime()?.block_on(model::run(command, overrides)),
        Command::Apps(command) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(apps::run(command, &config))?;
        }
        Command::Contacts(command) => {
            return runtime()?.block_on(contacts::run(command, overrides));
        }
        Command::Audit(command) => {
            let config = Config::load(overrides)?;
            return runtime()?.block_on(audit::run(command, &config));
        }
        Command::Backup(args) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(backup::make(args, &config))?;
        }
        Command::Restore(args) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(backup::restore(args, &config))?;
        }
        Command::Keys(command) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(keys::run(command, &config))?;
        }
        Command::LoginLink(args) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(sign_in::login_link(args, &config))?;
        }
        Command::SetupLink => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(sign_in::setup_link(&config))?;
        }
        Command::Invite(args) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(sign_in::invite(args, &config))?;
        }
        Command::Token(command) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(token::run(command, &config))?;
        }
        Command::WebhookCredential(command) => {
            let config = Config::load(overrides)?;
            runtime()?.block_on(webhook::run(command, &config))?;
        }
        Command::Doctor(args) => return runtime()?.block_on(doctor::run(args, overrides)),
        Command::Diagnose(args) => return Ok(diagnose::run(args)?),
        Command::Eval(args) => return Ok(eval::run(args)?),
        Command::Replay(args) => return runtime()?.block_on(replay::run(args, overrides)),
        Command::Migrate => {
            let config = Config::load(overrides)?;
            let db = runtime()?.block_on(serve::open_database(&config))?;
            writeln!(out(), "the {} database is up to date", db.name())?;
        }
        Command::Openapi => {
            writeln!(out(), "{}", crate::web::openapi().to_pretty_json()?)?;
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "lux", &mut out());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
