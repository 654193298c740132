//! `lux login-link`, `lux setup-link`, `lux invite`: links that sign people in, made on the
//! database itself. Whoever may read the data directory may make them.

use std::io::Write;

use anyhow::Context;
use secrecy::ExposeSecret;

use crate::{
    auth::{
        OrganizationId, Role, account, invitation,
        link::{self, Made},
    },
    config::Config,
    db::Db,
    serve,
};

/// A link that signs in once, for machines without a provider; it is printed alone, on stdout
#[derive(clap::Args)]
pub(super) struct LoginLink {
    /// The account with this address
    #[arg(long, conflicts_with = "account")]
    email: Option<String>,
    /// The account of this number [default: the local admin, who is made if there is none]
    #[arg(long)]
    account: Option<i64>,
}

/// Invite somebody; the link is printed alone, on stdout
#[derive(clap::Args)]
pub(super) struct Invite {
    /// admin, operator or customer
    #[arg(long)]
    role: Role,
    /// Nobody with another address can accept it
    #[arg(long)]
    email: Option<String>,
}

const HERE: OrganizationId = OrganizationId::FIRST;

pub(super) async fn login_link(args: LoginLink, config: &Config) -> anyhow::Result<()> {
    let db = open(config).await?;
    let account = match (args.email, args.account) {
        (Some(email), _) => Some(account::find_by_email(&db, HERE, &email).await),
        (None, Some(id)) => Some(account::find(&db, HERE, id).await),
        (None, None) => None,
    };
    let account = account.transpose().context("nobody was signed in")?;
    let (made, account) = link::for_login(&db, HERE, account.as_ref()).await?;
    let whom = format!("signs in as {} ({})", account.name, account.role);
    print(config, &made, &whom)?;
    db.close().await;
    Ok(())
}

pub(super) async fn setup_link(config: &Config) -> anyhow::Result<()> {
    let db = open(config).await?;
    let made = link::for_setup(&db, HERE).await?;
    print(config, &made, "makes whoever opens it the first administrator")?;
    db.close().await;
    Ok(())
}

pub(super) async fn invite(args: Invite, config: &Config) -> anyhow::Result<()> {
    let db = open(config).await?;
    let by = "command line";
    let (invitation, made) =
        invitation::create(&db, HERE, by, args.role, args.email.as_deref()).await?;
    print(config, &made, &format!("makes an account of role {}", invitation.role))?;
    db.close().await;
    Ok(())
}

async fn open(config: &Config) -> anyhow::Result<Db> {
    serve::open_database(config).await
}

fn print(config: &Config, made: &Made, what: &str) -> anyhow::Result<()> {
    let lasts = made.lasts.to_std().unwrap_or_default();
    let mut err = anstream::stderr();
    writeln!(err, "works once within {}, {what}:", humantime::format_duration(lasts))?;
    writeln!(super::out(), "{}", link::url(config, made.token.expose_secret()))?;
    Ok(())
}
