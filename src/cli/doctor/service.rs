//! What Lux talks to: the database and the model's server.

use std::{path::Path, time::Duration};

use secrecy::ExposeSecret;

use super::Check;
use crate::{
    auth::oidc::{self, Metadata, Refused},
    clock,
    config::{Config, KeyOrigin, SignIn, Signup},
    db::Db,
    error,
    http::cookie,
    integrations::KINDS,
    jobs::{Scheduled, next_runs},
    llm::{self, Prompts, Trouble},
    mail::{self, Mail},
    outbound::Outbound,
    repair::action::{Catalogue, switch},
    seal,
};

/// Connects as the service would. A missing database file is made by the first start,
/// so it is looked at without making one.
pub(super) async fn database(config: &Config) -> Check {
    let name = "database";
    let url = config.database_url.expose_secret();
    if let Some(path) = file_of(url).filter(|path| !path.exists()) {
        return Check::ok(name, format!("{} will be made at the first start", path.display()));
    }
    let opening = tokio::time::timeout(Duration::from_secs(15), Db::open(url, 1)).await;
    match opening {
        Ok(Ok(db)) => {
            let answer = match db.pending_migrations().await {
                Ok(0) => Check::ok(name, format!("{} is reachable and migrated", db.name())),
                Ok(n) => Check::warn(
                    name,
                    format!("{} is reachable; {n} migrations are still to come", db.name()),
                    "the next start applies them, or run `lux migrate` now",
                ),
                Err(error) => Check::fail(name, one_line(&error), "run `lux migrate`"),
            };
            db.close().await;
            answer
        }
        Ok(Err(error)) => Check::fail(
            name,
            one_line(&error),
            "check DATABASE_URL: server, port, user and password; is the server running?",
        ),
        Err(_) => Check::fail(
            name,
            "no answer within 15 s",
            "check the host and port in DATABASE_URL, and the firewall between",
        ),
    }
}

/// Whether the keys are there, readable by this user alone, and those the database's secrets
/// were sealed with.
pub(super) async fn master_key(config: &Config) -> Check {
    let name = "master key";
    let origin = config.key_origin();
    let remedy = "put the right key back from its backup, or see `lux keys --help`";
    let found = match tokio::time::timeout(Duration::from_secs(15), keys(config)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Check::fail(name, one_line(&error), remedy),
        Err(_) => return Check::fail(name, "the database does not answer", "see database"),
    };
    let Some((place, keys, compared)) = found else {
        return Check::ok(name, "will be made at the first start");
    };
    let keys = match keys {
        1 => "one key".to_owned(),
        n => format!("{n} keys"),
    };
    let compared = if compared { "fits the database" } else { "the database was not asked" };
    let detail = format!("{place}: {keys}, {compared}");
    match origin {
        KeyOrigin::Environment(_) => Check::warn(
            name,
            detail,
            "other programs of this user can read the environment: better LUX_MASTER_KEY_FILE, or \
             LoadCredential= in the unit",
        ),
        _ => Check::ok(name, detail),
    }
}

/// Where the keys are, how many there are, and whether the database was asked about them.
async fn keys(config: &Config) -> error::Result<Option<(String, usize, bool)>> {
    let url = config.database_url.expose_secret();
    let absent = file_of(url).is_some_and(|path| !path.exists());
    let db = if absent { None } else { Db::open(url, 1).await.ok() };
    let db = match db {
        // Of before there were keys; the database has a check of its own.
        Some(db) if db.pending_migrations().await.unwrap_or(1) > 0 => {
            db.close().await;
            None
        }
        db => db,
    };
    let found = seal::look(db.as_ref(), config.key_origin()).await;
    if let Some(db) = &db {
        db.close().await;
    }
    let compared = db.is_some();
    Ok(found?.map(|sealer| (sealer.place(), sealer.ids().len(), compared)))
}

/// Whether what is listed in `[[actions]]` may run, and if not, why.
pub(super) async fn actions(config: &Config) -> Check {
    let name = "actions";
    if !config.repair.actions {
        let listed = config.actions.len();
        return Check::ok(
            name,
            format!("off; {listed} are listed (actions = true in [repair] switches them on)"),
        );
    }
    let catalogue = Catalogue::new(config);
    if let Some(why) = catalogue.off() {
        let remedy = "until then no action runs; restart Lux afterwards";
        return Check::fail(name, format!("off although switched on: {why}"), remedy);
    }
    if let Some((action, why)) = catalogue.broken().first() {
        let remedy = "mend its argv in [[actions]], or what it names";
        return Check::fail(name, format!("{action} cannot run: {why}"), remedy);
    }
    match stopped(config).await {
        Some(why) => Check::warn(name, why, "nothing to do if that is meant"),
        None => Check::ok(name, format!("{} may run", catalogue.len())),
    }
}

/// Why actions are stopped, if they are. A database that cannot be asked has a check of
/// its own.
async fn stopped(config: &Config) -> Option<String> {
    if let Some(why) = switch::stopped_by_file(config) {
        return Some(why);
    }
    let url = config.database_url.expose_secret();
    if file_of(url).is_some_and(|path| !path.exists()) {
        return None;
    }
    let asking = async {
        let db = Db::open(url, 1).await.ok()?;
        let why = switch::stopped_by_database(&db).await.ok().flatten();
        db.close().await;
        why
    };
    tokio::time::timeout(Duration::from_secs(15), asking).await.ok().flatten()
}

/// The file of an SQLite database.
fn file_of(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    path.split('?').next().map(Path::new)
}

/// Asks the model's server for its list of models, and each model for a word.
pub(super) async fn model(config: &Config) -> Check {
    let name = "model";
    if let Err(error) = Prompts::load(config.model.prompts_dir.as_deref()) {
        return Check::fail(name, one_line(&error), "mend the file, or take it out of prompts_dir");
    }
    match llm::check(&config.model).await {
        Ok(found) => Check::ok(name, found),
        Err(Trouble::NoKey) => Check::ok(name, "not set up: the built-in advisor answers alone"),
        Err(trouble @ Trouble::RateLimited { .. }) => {
            Check::warn(name, trouble.to_string(), "check the limits at the provider")
        }
        Err(trouble) => {
            Check::fail(name, trouble.to_string(), "until then the built-in advisor answers alone")
        }
    }
}

/// Connects to the mail server and signs in; nothing is sent.
pub(super) async fn mail(config: &Config) -> Check {
    let name = "mail";
    let place = config.mail.host.as_deref().unwrap_or_default();
    match Mail::new(config.mail.clone()).check().await {
        Ok(()) => {
            let detail = format!("{place} port {} takes mail", config.mail.port);
            if config.public_url.is_none() {
                let remedy = "set public_url: without it no campaign goes out, since nobody could \
                              unsubscribe";
                return Check::warn(name, detail, remedy);
            }
            Check::ok(name, detail)
        }
        Err(mail::Trouble::NotSetUp) => Check::ok(
            name,
            "not set up: no campaign goes out (LUX_SMTP_URL and LUX_MAIL_FROM, or [mail] in lux.toml)",
        ),
        Err(trouble @ mail::Trouble::SignIn(_)) => {
            Check::fail(name, trouble.to_string(), "check LUX_SMTP_USER and LUX_SMTP_PASSWORD")
        }
        Err(trouble) => Check::fail(
            name,
            trouble.to_string(),
            "check host, port and tls in [mail], and the firewall between",
        ),
    }
}

/// Whether each sign-in provider answers, and says of itself what fits.
pub(super) async fn providers(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let outbound = match Outbound::new() {
        Ok(outbound) => outbound,
        Err(error) => {
            let remedy = "check the certificates in /etc/ssl/certs";
            return vec![Check::fail("sign-in", one_line(&error), remedy)];
        }
    };
    if !config.providers.is_empty() && oidc::address(config).is_none() {
        let remedy = "set public_url (LUX_PUBLIC_URL) to the https address that people use";
        checks.push(Check::fail("sign-in", Refused::NoAddress.sentence(), remedy));
    }
    for provider in &config.providers {
        let name = format!("sign-in {}", provider.name);
        checks.push(match Metadata::fetch(&outbound, provider).await {
            Ok(_) => {
                let back = oidc::address(config).unwrap_or_default();
                let back = format!("{back}{}", oidc::path(&provider.name, "authorized"));
                Check::ok(name, format!("{} answers; it sends back to {back}", provider.issuer))
            }
            Err(refused) => {
                let detail = format!("{}: {}", provider.issuer, refused.sentence());
                Check::fail(name, detail, remedy(refused))
            }
        });
    }
    checks
}

fn remedy(refused: Refused) -> &'static str {
    match refused {
        Refused::DiscoveryIssuer => {
            "write issuer exactly as the provider does, with or without the slash at its end"
        }
        Refused::DiscoveryEndpoint => {
            "if the host is the provider's as well, add it to endpoint_hosts of this provider"
        }
        Refused::NoPkce | Refused::NoRs256 => {
            "switch it on at the provider: Lux signs nobody in without it"
        }
        Refused::DiscoveryInvalid => "check issuer: its /.well-known/openid-configuration is asked",
        _ => "check issuer, the network and the provider; who is signed in stays so",
    }
}

/// What is to be registered in the consoles of services that can be connected.
pub(super) fn integrations(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for client in &config.integrations {
        let name = format!("connections {}", client.provider);
        let Some(address) = oidc::address(config) else {
            let remedy = "set public_url (LUX_PUBLIC_URL) to the https address that people use";
            checks.push(Check::fail(name, Refused::NoAddress.sentence(), remedy));
            continue;
        };
        let kinds = KINDS.iter().filter(|kind| kind.provider.key == client.provider);
        let back: Vec<String> =
            kinds.map(|kind| format!("{address}/api/integrations/{}/callback", kind.key)).collect();
        checks.push(Check::ok(name, format!("registered; it sends back to {}", back.join(", "))));
    }
    checks
}

/// Who may sign in, and from where.
pub(super) fn sign_in(config: &Config) -> Check {
    let name = "sign-in";
    let SignIn { signup, domains, idle, absolute } = &config.sign_in;
    let time = |time: &Duration| humantime::format_duration(*time).to_string();
    let who = match (signup, domains.as_slice()) {
        (Signup::Open, _) => "everybody whom a provider knows".to_owned(),
        (Signup::Invited, []) => "who is invited".to_owned(),
        (Signup::Invited, domains) => format!("who is invited, or of {}", domains.join(", ")),
    };
    let detail = format!(
        "for {who}; a session ends {} after its last use, {} after its begin",
        time(idle),
        time(absolute)
    );
    if cookie::is_secure(config) {
        return Check::ok(name, detail);
    }
    let detail = format!("{detail}; only on this machine: public_url is no https address");
    match &config.public_url {
        None => Check::ok(name, detail),
        Some(_) => Check::warn(
            name,
            detail,
            "put nginx with TLS in front and set public_url to its https address",
        ),
    }
}

/// What is done unasked, and when next.
pub(super) fn schedules(config: &Config) -> Check {
    let zone = config.schedule.timezone;
    let next: Vec<String> = next_runs(&Scheduled::of_config(&config.schedule), clock::now())
        .into_iter()
        .map(|(name, at)| format!("{name} at {}", at.with_timezone(&zone).format("%F %H:%M %Z")))
        .collect();
    let detail = if next.is_empty() { "none is on".to_owned() } else { next.join(", ") };
    Check::ok("schedules", detail)
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
