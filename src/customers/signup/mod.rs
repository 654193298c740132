//! People who sign themselves up, and customers who have no password because nobody has one: both
//! get a letter whose link works once.
//!
//! **What is answered says nothing**: asking stores a row and that is all, whether or not the
//! address is known; who it belongs to is looked up when the letter is written, by a task of its
//! own. A stranger's address may be given by anybody: nothing of what came with it but the address
//! itself reaches the letter, and an address gets a few letters an hour.

mod letter;
mod store;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{Customer, store as customers};
use crate::{
    app::App,
    auth::{
        OrganizationId, account, audit, secret,
        session::{self, Started},
        signup::{self as accounts, Addressee},
    },
    clock,
    config::{SignIn, Signup},
    contacts::Email,
    db::Db,
    error::{Error, Result},
    mail::Trouble,
};
use store::{Due, New};

/// How long a letter's link can be used.
const LASTS: TimeDelta = TimeDelta::hours(24);
/// Letters to one address within an hour; who asks for more is answered as always.
const MOST_OF_ADDRESS: i64 = 3;
/// Sign-ups of an organization within an hour.
const MOST: i64 = 2000;
/// How often is looked for letters to be sent.
const LOOK: Duration = Duration::from_secs(1);
/// How often a letter is tried, and the pause after the first try; it triples each time.
const TRIES: i64 = 6;
const PAUSE: TimeDelta = TimeDelta::minutes(1);
/// After this long, whoever was about to send a letter is taken to be dead.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// The longest name and company, in characters.
const MAX_TEXT: usize = 200;

/// Somebody who wants an account, or a letter that signs them in.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignUp)]
pub struct Wish {
    pub email: String,
    /// How they want to be called; of an account that exists already it stays as it is.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub company: String,
}

/// Takes a wish down; a letter follows, or does not, and nothing here tells which.
pub async fn ask(app: &App, wish: &Wish, address: Option<std::net::IpAddr>) -> Result<()> {
    let email = Email::parse(&wish.email)
        .map_err(|why| Error::invalid(format!("email: the address {why}")))?;
    let name = line("name", &wish.name)?;
    let company = line("company", &wish.company)?;
    if !is_open(&app.config.sign_in, &email) {
        return Err(Error::Denied(
            "nobody can sign themselves up here with this address; ask an administrator of this \
             Lux for an invitation"
                .to_owned(),
        ));
    }
    if !app.mail.is_on() {
        return Err(Error::Unavailable(
            "no letter can be sent because mail is not set up; an administrator sets [mail], or \
             invites you"
                .to_owned(),
        ));
    }
    let now = clock::now();
    let hour = now - TimeDelta::hours(1);
    let mut tx = app.db.begin().await?;
    let organization = OrganizationId::FIRST;
    if store::recent(&mut tx, organization, hour, MOST).await? >= MOST {
        return Err(Error::Unavailable(
            "very many people sign up just now; try again in an hour".to_owned(),
        ));
    }
    let asked = store::recent_of(&mut tx, organization, &email.key, hour).await?;
    let new = New {
        organization,
        email: &email.given,
        email_key: &email.key,
        name: &name,
        company: &company,
        address: address.map(|it| it.to_canonical().to_string()).unwrap_or_default(),
        now,
        expires_at: now + LASTS,
        next_at: (asked < MOST_OF_ADDRESS).then_some(now),
    };
    store::insert(&mut tx, new).await?;
    Ok(tx.commit().await?)
}

/// Who may make themselves an account: everybody, or those of some domains.
fn is_open(config: &SignIn, email: &Email) -> bool {
    config.signup == Signup::Open || config.domains.iter().any(|it| it == email.domain())
}

/// Whether anybody may sign themselves up, and a letter can be sent.
pub fn is_offered(app: &App) -> bool {
    let config = &app.config.sign_in;
    app.mail.is_on() && (config.signup == Signup::Open || !config.domains.is_empty())
}

fn line(field: &str, text: &str) -> Result<String> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    if line.chars().count() > MAX_TEXT {
        return Err(Error::invalid(format!("{field}: is longer than {MAX_TEXT} characters")));
    }
    Ok(line)
}

/// What the link of a letter does; looking changes nothing: programs that look at links in letters
/// open them, too.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Whom it signs in.
    pub email: String,
}

/// What a link offers.
pub async fn look(db: &Db, token: &str) -> Result<Offer> {
    let mut tx = db.begin().await?;
    let found = store::usable(&mut tx, &secret::hash(token)).await?.ok_or_else(unusable)?;
    Ok(Offer { email: found.email })
}

/// Who came in by a letter's link, and their session.
pub struct Verified {
    pub customer: Customer,
    pub started: Started,
}

/// Uses the link of a letter, once: the address is proven, its account is made if there is none,
/// and a session begins.
pub async fn verify(app: &App, token: &str, new: session::New<'_>) -> Result<Verified> {
    let hash = secret::hash(token);
    let mut tx = app.db.begin().await?;
    // Looked at before the turn is waited for: who guesses makes nobody wait.
    let found = store::usable(&mut tx, &hash).await?.ok_or_else(unusable)?;
    let organization = found.organization_id;
    account::take_turn(&mut tx, organization).await?;
    let now = tx.now().await?;
    if !store::used(&mut tx, found.id, &hash, now).await? {
        return Err(unusable());
    }
    let (account, is_new) =
        match accounts::addressee(&mut tx, organization, &found.email_key).await? {
            Addressee::Customer(account) => (account, false),
            // Somebody else's role has changed since the letter was written.
            Addressee::Other => return Err(unusable()),
            Addressee::Nobody => {
                // It may have been closed meanwhile.
                let email = Email::parse(&found.email).map_err(|_| unusable())?;
                if !is_open(&app.config.sign_in, &email) {
                    return Err(unusable());
                }
                (accounts::make(&mut tx, organization, &found.name, &found.email).await?, true)
            }
        };
    let company = if is_new { found.company.as_str() } else { "" };
    customers::verified(&mut tx, organization, account.id, company, now).await?;
    let started = accounts::begin(&mut tx, &account, is_new, new).await?;
    let customer = customers::get(&mut tx, organization, account.id).await?;
    let customer = customer.ok_or(Error::NotFound("customer"))?;
    tx.commit().await?;
    Ok(Verified { customer, started })
}

/// One answer for all: who guesses learns nothing.
fn unusable() -> Error {
    Error::Denied(
        "this link cannot be used: it was used already, it is older than a day, or it is not \
         whole; ask for another letter"
            .to_owned(),
    )
}

/// Begins to send letters.
pub(super) fn start(app: &App) {
    if !app.mail.is_on() {
        return;
    }
    let (own, shutdown) = (app.clone(), app.shutdown.clone());
    app.tasks.spawn(async move {
        let mut timer = tokio::time::interval(LOOK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
            loop {
                match step(&own).await {
                    Ok(true) if !shutdown.is_cancelled() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "a letter of a sign-up was not sent; trying again");
                        break;
                    }
                }
            }
        }
    });
}

/// Sends one letter, if one is to be sent now; whether there may be another.
async fn step(app: &App) -> Result<bool> {
    let now = clock::now();
    if !store::is_due(&app.db, now).await? {
        return Ok(false);
    }
    let token = SecretString::from(secret::random()?);
    let Some((due, addressee)) = claim(app, &token, now).await? else { return Ok(false) };
    let letter = letter::write(app, &due.email, &addressee, &token);
    let next = match app.mail.send(&letter).await {
        Ok(_) => None,
        // It may have arrived: another would end this one's link.
        Err(Trouble::Unknown(why)) => {
            tracing::warn!(signup = due.id, why, "a letter of a sign-up may not have arrived");
            None
        }
        Err(trouble) => {
            let goes_on = trouble.is_temporary() && due.tries < TRIES;
            tracing::warn!(signup = due.id, %trouble, goes_on, "a letter of a sign-up was not sent");
            let power = u32::try_from(due.tries - 1).unwrap_or(0).min(8);
            goes_on.then(|| clock::now() + PAUSE * 3_i32.pow(power))
        }
    };
    store::tried(&app.db, due.id, next).await?;
    Ok(true)
}

/// Takes the next letter that is due, for as long as sending it may take. Only a letter that signs
/// somebody in gets a token of use.
async fn claim(
    app: &App,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<Option<(Due, Addressee)>> {
    let mut tx = app.db.begin().await?;
    let Some(id) = store::next(&mut tx, now).await? else { return Ok(None) };
    let due = store::claimed(&mut tx, id, now + LEASE).await?;
    let addressee = accounts::addressee(&mut tx, due.organization_id, &due.email_key).await?;
    let signs_in = !matches!(addressee, Addressee::Other);
    let hash = signs_in.then(|| secret::hash(token.expose_secret()));
    store::set_hash(&mut tx, id, hash).await?;
    let detail = json!({ "try": due.tries, "signs_in": signs_in });
    let subject = format!("sign-up {id}");
    audit::write(&mut tx, due.organization_id, "lux", "sign_up.letter", &subject, &detail).await?;
    tx.commit().await?;
    Ok(Some((due, addressee)))
}

/// Removes sign-ups whose time is over.
pub(super) async fn sweep(db: &Db) -> Result<()> {
    let before = clock::now() - TimeDelta::hours(1);
    while store::remove_old(db, before).await? > 0 {}
    Ok(())
}
