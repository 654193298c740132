//! `lux keys`: the master keys that secrets in the database are sealed with. Works on the
//! database itself, while the service runs or not.

use std::io::Write;

use clap::Subcommand;

use serde_json::json;

use crate::{
    auth::{OrganizationId, audit},
    config::Config,
    db::Db,
    seal, serve,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// The keys, and how much each has sealed
    List {
        #[arg(long)]
        json: bool,
    },
    /// Put a new key in the first place and seal everything anew with it
    Rotate {
        /// Only seal anew with the key that stands first
        #[arg(long)]
        no_new_key: bool,
    },
    /// Take away a key that seals nothing any more
    Remove { key: String },
    /// Give up what a key sealed that is lost: accounts have to be connected again
    Forget { key: String },
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    let db = serve::open_database(config).await?;
    let mut out = super::out();
    if let Command::Forget { key } = &command {
        seal::forget(&db, key).await?;
        note(&db, "keys.forget", key).await?;
        writeln!(out, "the key {key} is forgotten; what it sealed cannot be opened any more")?;
        db.close().await;
        return Ok(());
    }
    let sealer = seal::check(&db, config.key_origin()).await?;
    match command {
        Command::List { json } => {
            let counts = seal::count(&db, &sealer).await?;
            if json {
                writeln!(out, "{}", serde_json::to_string_pretty(&counts)?)?;
            } else {
                writeln!(out, "keys in {}\n", sealer.place())?;
                writeln!(out, "{:8}  {:6}  SEALED TEXTS", "KEY", "STATE")?;
                for count in counts {
                    let state = if count.active { "seals" } else { "opens" };
                    writeln!(out, "{:8}  {state:6}  {}", count.key, count.texts)?;
                }
            }
        }
        Command::Rotate { no_new_key } => {
            let done = seal::rotate(&db, &sealer, !no_new_key).await?;
            note(&db, "keys.rotate", &done.active).await?;
            writeln!(
                out,
                "the key {} seals; {} texts were sealed anew",
                done.active, done.sealed_anew
            )?;
            if done.refused > 0 {
                writeln!(out, "{} texts could not be opened and stay as they are", done.refused)?;
            }
            writeln!(out, "back up {} apart from the database", sealer.place())?;
            writeln!(out, "the old keys can go: lux keys list, lux keys remove")?;
        }
        Command::Remove { key } => {
            seal::remove(&db, &sealer, &key).await?;
            note(&db, "keys.remove", &key).await?;
            writeln!(out, "the key {key} is gone")?;
        }
        Command::Forget { .. } => {}
    }
    db.close().await;
    Ok(())
}

async fn note(db: &Db, what: &str, key: &str) -> anyhow::Result<()> {
    let subject = format!("key {key}");
    audit::write(db, OrganizationId::FIRST, super::ACTOR, what, &subject, &json!({})).await?;
    Ok(())
}
