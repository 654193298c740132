//! `lux token`: works on the database itself, also before the server's first start.

use std::io::Write;

use clap::Subcommand;
use secrecy::ExposeSecret;

use crate::{
    auth::{OrganizationId, Role, token},
    config::Config,
    serve,
};

/// Who the audit log says it was.
const ACTOR: &str = "command line";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a token; it is printed once, alone, on stdout
    Create {
        /// admin, operator, ingest (may only report errors) or read
        #[arg(long)]
        role: Role,
        /// Who or what will use it
        #[arg(long)]
        name: String,
        /// The token ends after this time, like "30days" [default: never]
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<humantime::Duration>,
    },
    /// List tokens
    List {
        #[arg(long)]
        json: bool,
    },
    /// End a token by its number
    Revoke { id: i64 },
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    let db = serve::open_database(config).await?;
    let mut out = super::out();
    match command {
        Command::Create { role, name, expires_in } => {
            let lifetime =
                expires_in.map(|given| chrono::TimeDelta::from_std(*given)).transpose()?;
            let first = OrganizationId::FIRST;
            let made = token::make(&db, first, ACTOR, role, &name, lifetime).await?;
            writeln!(out, "{}", made.token.expose_secret())?;
        }
        Command::List { json } => {
            let tokens = token::list(&db, OrganizationId::FIRST).await?;
            if json {
                writeln!(out, "{}", serde_json::to_string_pretty(&tokens)?)?;
            } else {
                writeln!(out, "{:>4}  {:10} {:9} {:20}  NAME", "ID", "TOKEN", "ROLE", "STATE")?;
                for token in tokens {
                    let state = match (token.revoked_at, token.expires_at, token.last_used_at) {
                        (Some(at), _, _) => format!("revoked {}", at.format("%Y-%m-%d")),
                        (_, Some(at), _) => format!("until {}", at.format("%Y-%m-%d %H:%M")),
                        (_, _, Some(at)) => format!("used {}", at.format("%Y-%m-%d %H:%M")),
                        _ => "never used".to_owned(),
                    };
                    let (id, prefix, role, name) =
                        (token.id, &token.prefix, token.role, &token.name);
                    writeln!(out, "{id:>4}  {prefix:10} {role:9} {state:20}  {name}")?;
                }
            }
        }
        Command::Revoke { id } => {
            token::revoke(&db, OrganizationId::FIRST, ACTOR, id).await?;
            writeln!(out, "token {id} is revoked")?;
        }
    }
    db.close().await;
    Ok(())
}
