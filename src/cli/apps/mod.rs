//! `lux apps`: works on the database itself, while the server runs and before its first start.

mod first_event;
mod lines;

use std::io::Write;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{ACTOR, out};
use crate::{
    apps::{
        Address, Wish,
        sdk::Kind,
        store::{self, Added, Listed},
    },
    auth::OrganizationId,
    config::Config,
    db::Db,
    serve,
};

const ORGANIZATION: OrganizationId = OrganizationId::FIRST;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add an application; prints its DSN and what to write into it
    Add {
        /// Short and unique: "shop"
        name: String,
        /// Where it is, like http://127.0.0.1:8000; the only origin its probes may reach
        #[arg(long, value_name = "URL")]
        base_url: Option<String>,
        /// Web pages that may report, like `https://shop.example`; several times for several
        /// [default: all]
        #[arg(long = "origin", value_name = "ORIGIN")]
        origins: Vec<String>,
        /// Events a minute that it may send [default: what capture.quota says]
        #[arg(long, value_name = "EVENTS")]
        quota: Option<i64>,
        #[command(flatten)]
        shown: Shown,
    },
    /// List the applications
    List {
        /// Archived ones, too
        #[arg(long)]
        archived: bool,
        #[arg(long)]
        json: bool,
    },
    /// Show an application, its DSN and what to write into it
    Show {
        name: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Send one real error through the running server, as the application would
    Test { name: String },
    /// List an application's keys; make and revoke them
    Keys {
        name: String,
        /// Make another key and print its DSN
        #[arg(long, value_name = "KEY-NAME", conflicts_with = "revoke")]
        make: Option<String>,
        /// End a key by its number
        #[arg(long, value_name = "ID")]
        revoke: Option<i64>,
        #[arg(long)]
        json: bool,
    },
    /// End an application: its keys are revoked, its errors stay
    Archive { name: String },
}

#[derive(clap::Args)]
pub(super) struct Shown {
    /// Only the lines for this
    #[arg(long = "for", value_name = "KIND")]
    kind: Option<Kind>,
    /// Print id, name and DSN as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    let db = serve::open_database(config).await?;
    // Those of lux.toml are there even before the server's first start.
    store::sync(&db, ORGANIZATION, &config.apps).await?;
    let done = carry_out(command, config, &db).await;
    db.close().await;
    done
}

async fn carry_out(command: Command, config: &Config, db: &Db) -> anyhow::Result<()> {
    let address = Address::of(config);
    match command {
        Command::Add { name, base_url, origins, quota, shown } => {
            let wish = Wish {
                name,
                base_url,
                allowed_origins: (!origins.is_empty()).then_some(origins),
                scrub: None,
                events_per_minute: quota,
            };
            let wish = wish.check()?;
            let (id, is_new) = match store::add(db, ORGANIZATION, ACTOR, &wish).await? {
                Added::New(id) => (id, true),
                Added::Known(id) => (id, false),
            };
            let app = find(db, id).await?;
            if !is_new {
                note_known(&app, &wish)?;
            }
            show(&app, &address, &shown)
        }
        Command::List { archived, json } => list(db, &address, archived, json).await,
        Command::Show { name, shown } => show(&named(db, &name).await?, &address, &shown),
        Command::Test { name } => {
            let app = named(db, &name).await?;
            let dsn = dsn(&app, &address).with_context(|| keyless(&app.name))?;
            first_event::send(&dsn, &app).await
        }
        Command::Keys { name, make, revoke, json } => {
            let app = named(db, &name).await?;
            if let Some(id) = revoke {
                store::revoke_key(db, ORGANIZATION, ACTOR, app.id, id).await?;
                writeln!(out(), "key {id} of {} is revoked", app.name)?;
                return Ok(());
            }
            if let Some(name) = make {
                let key = store::make_key(db, ORGANIZATION, ACTOR, app.id, &name).await?;
                let dsn = address.dsn(app.id, &key.public_key);
                if json {
                    let key = json!({ "id": key.id, "name": key.name, "dsn": dsn });
                    writeln!(out(), "{key:#}")?;
                } else {
                    writeln!(out(), "{dsn}")?;
                }
                return Ok(());
            }
            list_keys(db, &address, &app, json).await
        }
        Command::Archive { name } => {
            let app = named(db, &name).await?;
            anyhow::ensure!(
                !config.apps.iter().any(|entry| entry.name == app.name),
                "[[apps]] of lux.toml lists {}; remove it there first",
                app.name
            );
            store::archive(db, ORGANIZATION, ACTOR, app.id).await?;
            writeln!(out(), "{} is archived; its errors stay", app.name)?;
            Ok(())
        }
    }
}

async fn find(db: &Db, id: i64) -> anyhow::Result<Listed> {
    store::find(db, ORGANIZATION, id).await?.context("the application is gone")
}

async fn named(db: &Db, name: &str) -> anyhow::Result<Listed> {
    let id = store::named(db, ORGANIZATION, name.trim()).await?;
    let id = id.with_context(|| {
        format!("there is no application \"{name}\"; `lux apps list` shows them, `lux apps add` adds one")
    })?;
    find(db, id).await
}

fn dsn(app: &Listed, address: &Address) -> Option<String> {
    Some(address.dsn(app.id, app.public_key.as_deref()?))
}

fn keyless(name: &str) -> String {
    format!("{name} has no live key; make one: lux apps keys {name} --make web")
}

/// Says on stderr that nothing was added, and what differs from the wish.
fn note_known(app: &Listed, wish: &Wish) -> anyhow::Result<()> {
    let mut err = anstream::stderr();
    writeln!(err, "{} is there already, as application {}; nothing was changed", app.name, app.id)?;
    if let Some(wanted) = &wish.base_url
        && app.base_url.as_ref() != Some(wanted)
    {
        let has = app.base_url.as_deref().unwrap_or("none");
        writeln!(
            err,
            "its base_url is {has}, not {wanted}; change it in lux.toml, or by PATCH /api/apps/{}",
            app.id
        )?;
    }
    Ok(())
}

fn show(app: &Listed, address: &Address, shown: &Shown) -> anyhow::Result<()> {
    let mut out = out();
    let dsn = dsn(app, address);
    if shown.json {
        let mut answer = json!({ "id": app.id, "name": app.name, "dsn": dsn });
        if let Some(at) = app.archived_at {
            answer["archived_at"] = json!(at);
        }
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    if let Some(at) = app.archived_at {
        let (name, at) = (&app.name, at.format("%Y-%m-%d"));
        writeln!(out, "{name} was archived on {at}; `lux apps add {name}` brings it back")?;
        return Ok(());
    }
    let Some(dsn) = dsn else {
        writeln!(out, "{}", keyless(&app.name))?;
        return Ok(());
    };
    lines::print(&mut out, app, &dsn, shown.kind)?;
    Ok(())
}

async fn list(db: &Db, address: &Address, archived: bool, json: bool) -> anyhow::Result<()> {
    let apps = store::list(db, ORGANIZATION, archived).await?;
    let mut out = out();
    if json {
        let apps = apps.iter().map(|app| {
            json!({
                "id": app.id, "name": app.name, "base_url": app.base_url,
                "dsn": dsn(app, address), "archived_at": app.archived_at,
            })
        });
        writeln!(out, "{:#}", apps.collect::<Value>())?;
        return Ok(());
    }
    if apps.is_empty() {
        writeln!(
            out,
            "no applications; add one: lux apps add shop --base-url http://127.0.0.1:8000"
        )?;
        return Ok(());
    }
    writeln!(out, "{:>4}  {:20}  {:30}  DSN", "ID", "NAME", "BASE URL")?;
    for app in &apps {
        let state = match (app.archived_at, dsn(app, address)) {
            (Some(at), _) => format!("archived {}", at.format("%Y-%m-%d")),
            (None, Some(dsn)) => dsn,
            (None, None) => "no live key".to_owned(),
        };
        let base_url = app.base_url.as_deref().unwrap_or("-");
        writeln!(out, "{:>4}  {:20}  {base_url:30}  {state}", app.id, app.name)?;
    }
    Ok(())
}

async fn list_keys(db: &Db, address: &Address, app: &Listed, json: bool) -> anyhow::Result<()> {
    let keys = store::keys(db, app.id).await?;
    let mut out = out();
    if json {
        let keys = keys.iter().map(|key| {
            json!({
                "id": key.id, "name": key.name, "dsn": address.dsn(app.id, &key.public_key),
                "created_at": key.created_at, "last_used_at": key.last_used_at,
                "revoked_at": key.revoked_at,
            })
        });
        writeln!(out, "{:#}", keys.collect::<Value>())?;
        return Ok(());
    }
    writeln!(out, "{:>4}  {:20}  {:20}  DSN", "ID", "NAME", "STATE")?;
    for key in &keys {
        let state = match (key.revoked_at, key.last_used_at) {
            (Some(at), _) => format!("revoked {}", at.format("%Y-%m-%d")),
            (None, Some(at)) => format!("used {}", at.format("%Y-%m-%d %H:%M")),
            (None, None) => "never used".to_owned(),
        };
        let dsn = address.dsn(app.id, &key.public_key);
        writeln!(out, "{:>4}  {:20}  {state:20}  {dsn}", key.id, key.name)?;
    }
    Ok(())
}
