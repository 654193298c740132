//! `lux demo`: the service on a temporary database, watching log files that grow while
//! recorded faults are replayed into them, next to a small shop that really is broken.
//! A newcomer sees question, cause, proof and fix within a minute; the shop is repaired by
//! an action that the demonstration approves, and resolved on evidence.

mod repair;
mod replay;
mod shop;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anstyle::Style;
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use crate::{
    auth::{OrganizationId, Role, link, token},
    config::{Config, Overrides},
    integrations::provider::PROVIDERS,
    outbound::Outbound,
    serve::{self, Door},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// End after the tour instead of serving on
    #[arg(long)]
    once: bool,
    /// Break the shop and leave the rest to you, in a browser
    #[arg(long, conflicts_with = "once")]
    hands_on: bool,
    /// How many log lines a second are replayed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pace: u32,
}

/// How long a step may wait for lines to be read or an answer to come.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn run(args: Args, given: Overrides) -> anyhow::Result<()> {
    let folder = Folder::make()?;
    let shop = shop::Shop::open(&folder.0).await?;
    let shutdown = CancellationToken::new();
    serve::cancel_on_signal(shutdown.clone())?;

    let file = folder.0.join("lux.toml");
    fs::write(&file, configuration(&folder.0, &shop))?;
    // Commands are taken from a file only if nobody else could write it.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    // Nothing of the host's own settings may leak into the demonstration, but for where it
    // listens, and the services that it is to be connected with.
    let mut flags = given.flags;
    flags.retain(|name, _| *name == "listen");
    flags.entry("listen").or_insert_with(|| "127.0.0.1:0".to_owned());
    let mut environment = given.environment;
    environment.retain(|name, _| is_of_provider(name));
    let mut config = Config::load(Overrides { file: Some(file), flags, environment })?;
    let has_services = !config.integrations.is_empty();
    let listener = serve::bind(config.listen).await?;
    let address = listener.local_addr()?;
    config.listen = address;
    let db = serve::open_database(&config).await?;
    let door = Door::new(listener, &config.http);
    let (app, features) = serve::start(config, db, shutdown.clone()).await?;
    let admin = token::create(&app.db, OrganizationId::FIRST, Role::Admin, "demo", None).await?;
    let ingest = token::create(&app.db, OrganizationId::FIRST, Role::Ingest, "shop", None).await?;
    let made = link::for_setup(&app.db, OrganizationId::FIRST).await?;
    let way_in = link::url(&app.config, made.token.expose_secret());
    let server = tokio::spawn(serve::serve(app, features, door));

    let base = format!("http://{address}");
    let client = Client::new(Outbound::new()?, base.clone(), admin.clone());
    let mut out = super::out();
    writeln!(out, "listening on {base}")?;
    let toured = tokio::select! {
        left = leave(&client, &folder.0, &shop, &ingest, &args, &way_in, has_services),
            if args.hands_on => left,
        toured = tour(&client, &folder.0, &shop, &ingest, args.pace), if !args.hands_on => toured,
        () = shutdown.cancelled() => Ok(()),
    };
    if toured.is_ok() && !args.once && !shutdown.is_cancelled() {
        writeln!(
            out,
            "\nThe service goes on until Ctrl-C. Look around in a browser (the link works once), or \
             ask in another terminal:\n\n  {way_in}\n\n  lux chat --url {base} --token {admin}"
        )?;
        shutdown.cancelled().await;
    }
    shutdown.cancel();
    server.await??;
    toured
}

/// One question after the other, each about a fault of its own.
async fn tour(
    client: &Client,
    folder: &Path,
    shop: &shop::Shop,
    ingest: &str,
    pace: u32,
) -> anyhow::Result<()> {
    let mut out = super::out();
    let bold = Style::new().bold();
    for (number, recording) in replay::RECORDINGS.iter().enumerate() {
        writeln!(out, "\n{bold}{}. {}{bold:#}", number + 1, recording.story)?;
        let lines = replay::replay(recording, folder, pace).await?;
        writeln!(out, "   replayed {lines} lines of nginx, gunicorn, application and journal")?;
        wait_for_lines(client, recording.app, lines).await?;
        ask(client, "what is wrong?", recording.app).await?;
    }
    let number = replay::RECORDINGS.len() + 1;
    writeln!(
        out,
        "\n{bold}{number}. A small shop runs at http://{} and customers complain{bold:#}",
        shop.address()
    )?;
    let failures = shop.serve_customers(client, ingest).await?;
    writeln!(out, "   {failures} requests failed; the shop reported its errors to Lux")?;
    ask(client, "what is wrong?", "shop").await?;
    ask(client, "since when, and how often?", "shop").await?;

    writeln!(out, "\n{bold}{}. Lux repairs it, as far as you let it{bold:#}", number + 1)?;
    repair::repair(client).await?;
    let failures = shop.serve_customers(client, ingest).await?;
    anyhow::ensure!(failures == 0, "{failures} customers still see the error");
    writeln!(out, "The customers come again: none of their requests fails.")?;
    Ok(())
}

/// Whether a variable tells how Lux is registered with a provider: `LUX_GITHUB_CLIENT_ID`.
fn is_of_provider(name: &str) -> bool {
    PROVIDERS.iter().any(|provider| {
        let rest = name.strip_prefix("LUX_");
        let rest = rest.and_then(|rest| rest.strip_prefix(&provider.key.to_uppercase()));
        rest.is_some_and(|rest| rest.starts_with('_'))
    })
}

/// How often customers come while nobody has repaired the shop.
const CUSTOMERS_COME: Duration = Duration::from_secs(5);

/// Replays the recordings, breaks the shop, and lets the person at the browser do the rest:
/// customers keep coming until the shop works.
async fn leave(
    client: &Client,
    folder: &Path,
    shop: &shop::Shop,
    ingest: &str,
    args: &Args,
    door: &str,
    has_services: bool,
) -> anyhow::Result<()> {
    let mut out = super::out();
    for recording in replay::RECORDINGS {
        let lines = replay::replay(recording, folder, args.pace).await?;
        wait_for_lines(client, recording.app, lines).await?;
    }
    let failures = shop.serve_customers(client, ingest).await?;
    writeln!(
        out,
        "A small shop runs at http://{}; {failures} of its customers just saw an error, and more \
         are coming.\nThis link lets your browser in, once:\n\n  {door}\n\nAsk Lux what is wrong, let \
         it repair the shop, approve what it proposes, and see the proof. Ctrl-C ends it.",
        shop.address()
    )?;
    if has_services {
        writeln!(
            out,
            "\nUnder Connections you can connect a tracker and let it serve tickets: an error that a \
             repair leaves open becomes a ticket there, which is closed with the proof."
        )?;
    }
    let mut works = false;
    loop {
        tokio::time::sleep(CUSTOMERS_COME).await;
        let failures = shop.serve_customers(client, ingest).await?;
        if failures == 0 && !works {
            writeln!(out, "The customers come again: none of their requests fails.")?;
        }
        works = failures == 0;
    }
}

async fn ask(client: &Client, question: &str, app: &str) -> anyhow::Result<()> {
    let mut out = super::out();
    let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
    writeln!(out, "\n{bold}you>{bold:#} {question} {dim}(app {app}){dim:#}\n")?;
    let body = json!({ "message": question, "app": app });
    let reply = client.ask(Method::POST, "/chatbot/send", Some(&body)).await?;
    let text = reply["response"].as_str().unwrap_or_default();
    writeln!(out, "{}", text.trim_end())?;
    Ok(())
}

/// Waits until the service has read what was written for `app`.
async fn wait_for_lines(client: &Client, app: &str, lines: u64) -> anyhow::Result<()> {
    let all_read = async {
        loop {
            let answer = client.ask(Method::GET, "/api/diagnostics/logs/sources", None).await?;
            let prefix = format!("{app}/");
            let read: u64 = answer["sources"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|source| source["name"].as_str().is_some_and(|n| n.starts_with(&prefix)))
                .filter_map(|source| source["lines"].as_u64())
                .sum();
            if read >= lines {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_read)
        .await
        .map_err(|_| anyhow::anyhow!("the service did not read the replayed lines in time"))?
}

fn configuration(folder: &Path, shop: &shop::Shop) -> String {
    let path = |name: &str| Value::from(folder.join(name).display().to_string());
    let mut text = format!(
        "data_dir = {}\n[log]\nfilter = \"warn\"\n[http]\nrequests_per_minute = 100000\n\
         [repair]\nactions = true\nspacing = \"500ms\"\n\
         [schedule]\nrepair = \"off\"\n\
         [[apps]]\nname = \"shop\"\nbase_url = \"http://{}\"\n\
         [[sources]]\nname = \"shop/app.log\"\napp = \"shop\"\npath = {}\n\
         [[probes]]\nname = \"the shop's database\"\nkind = \"tcp\"\ntarget = \"{}\"\n\
         [[actions]]\nname = \"start-database\"\ntitle = \"Start the shop's database\"\n\
         argv = [\"touch\", {}]\npolicy = \"approve\"\nfixes = [\"postgres_down\"]\n",
        path("data"),
        shop.address(),
        path("shop.log"),
        shop.database(),
        Value::from(shop.switch().display().to_string()),
    );
    for recording in replay::RECORDINGS {
        for file in replay::files(recording) {
            let name = Value::from(format!("{}/{file}", recording.app));
            let app = Value::from(recording.app);
            let file = path(&format!("{}/{file}", recording.app));
            // Writing to a String cannot fail.
            let _ = write!(text, "[[sources]]\nname = {name}\napp = {app}\npath = {file}\n");
        }
    }
    text
}

/// A folder that goes when the demonstration ends.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("lux-demo-{}", std::process::id()));
        serve::make_private_folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now, the system's own cleaning of /tmp takes.
        let _ = fs::remove_dir_all(&self.0);
    }
}
