//! `lux webhook-credential`: works on the database itself, also before the server's first start.

use std::io::Write;

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::{
    auth::{OrganizationId, audit},
    config::Config,
    contacts::credential,
    serve,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a user name and password; they are printed once, on stdout
    Create {
        /// What it is for: "zapier"
        name: String,
        #[arg(long)]
        json: bool,
    },
    /// List them
    List {
        #[arg(long)]
        json: bool,
    },
    /// End one by its number; others go on holding
    Revoke { id: i64 },
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    let db = serve::open_database(config).await?;
    let mut out = super::out();
    let actor = audit::Actor { name: "command line", address: None };
    match command {
        Command::Create { name, json } => {
            let made = credential::create(&db, OrganizationId::FIRST, actor, &name).await?;
            let (username, password) = (made.username, made.password.expose_secret());
            if json {
                let made = json!({"id": made.id, "username": username, "password": password});
                writeln!(out, "{made}")?;
            } else {
                writeln!(out, "username: {username}\npassword: {password}")?;
            }
        }
        Command::List { json } => {
            let all = credential::list(&db, OrganizationId::FIRST).await?;
            if json {
                writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
            } else {
                writeln!(out, "{:>4}  {:18} {:20}  NAME", "ID", "USERNAME", "STATE")?;
                for one in all {
                    let state = match (one.revoked_at, one.last_used_at) {
                        (Some(at), _) => format!("revoked {}", at.format("%Y-%m-%d")),
                        (_, Some(at)) => format!("used {}", at.format("%Y-%m-%d %H:%M")),
                        _ => "never used".to_owned(),
                    };
                    let (id, username, name) = (one.id, &one.username, &one.name);
                    writeln!(out, "{id:>4}  {username:18} {state:20}  {name}")?;
                }
            }
        }
        Command::Revoke { id } => {
            credential::revoke(&db, OrganizationId::FIRST, actor, id).await?;
            writeln!(out, "credential {id} is revoked")?;
        }
    }
    db.close().await;
    Ok(())
}
