//! Whether somebody wants mail: every word of it kept, said by operators with where it was given,
//! or by the person, who is asked by a mail whose link works once (double opt-in).
//!
//! Who said no is on the suppression list, which outlives the contact: no file and no form makes
//! that a yes again, only the person (by following a link) or an operator who takes the address
//! off the list.
//!
//! Who said yes in a form is asked by itself (`asking`).

mod asking;
mod question;
mod routes;
mod store;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::{
    Contact, Email, Status, activity, find,
    segment::Rules,
    settle::settle,
    suppress::{self, Reason},
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit},
    clock,
    db::{Db, Tx},
    error::{Error, Result},
};

pub use asking::start;
pub use question::{Ask, ask, confirm, look};
pub use routes::router;
pub use store::{Question, Suppressed, Word};

/// Longest source and wording, in characters.
const MAX_SOURCE: usize = 200;
const MAX_WORDING: usize = 2000;

/// What an operator says about somebody's consent.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetConsent)]
pub struct Said {
    /// none, confirmed or withdrawn; "pending" comes of asking the person.
    pub status: Status,
    /// Where it was given: "paper form, fair of May 2026". Not empty.
    pub source: String,
    /// What the person was shown.
    #[serde(default)]
    pub wording: String,
}

fn bounded(what: &str, text: &str, most: usize, needed: bool) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > most || (needed && text.is_empty()) {
        return Err(Error::invalid(format!(
            "{what} is a text of {} to {most} characters",
            u8::from(needed)
        )));
    }
    Ok(text.replace('\0', "\u{fffd}"))
}

/// The words about a contact's consent, newest first; at most 500.
pub async fn history(db: &Db, organization: OrganizationId, id: i64) -> Result<Vec<Word>> {
    find(db, organization, id).await?;
    Ok(store::history(db, organization, id).await?)
}

/// Notes what an operator says about somebody's consent. Who said no goes onto the suppression
/// list; who is on it cannot be made a yes here.
pub async fn set(app: &App, caller: &Caller, id: i64, said: Said) -> Result<Contact> {
    let organization = caller.organization;
    if said.status == Status::Pending {
        return Err(Error::invalid(
            "pending comes of asking: POST /api/contacts/{id}/confirmation sends the question",
        ));
    }
    let word = Word {
        status: said.status,
        source: bounded("source", &said.source, MAX_SOURCE, true)?,
        wording: bounded("wording", &said.wording, MAX_WORDING, false)?,
        address: None,
        at: clock::now(),
    };
    let keyed = app.lasting.keyed().await?;
    let mut tx = app.db.begin().await?;
    let rules = Rules::hold(&mut tx, organization).await?;
    let person = store::person(&mut tx, organization, id).await?;
    let person = person.ok_or(Error::NotFound("contact"))?;
    if let Some(email) = person.email.as_deref().and_then(|email| Email::parse(email).ok()) {
        if said.status == Status::Confirmed
            && suppress::is_suppressed_in(&mut tx, keyed, organization, &email.key).await?
        {
            return Err(refused());
        }
        if said.status == Status::Withdrawn {
            let why = Reason::Unsubscribed;
            suppress::add(&mut tx, keyed, organization, &email.key, why).await?;
        }
    }
    say(&mut tx, &rules, organization, id, &word, &caller.author()).await?;
    // What was said stands in the history, which is erased with the person.
    let detail = json!({ "status": said.status });
    let subject = format!("contact {id}");
    audit::write(&mut tx, organization, caller, "contact.consent", &subject, &detail).await?;
    tx.commit().await?;
    find(&app.db, organization, id).await
}

/// A word and what follows of it, in one transaction.
async fn say(
    tx: &mut Tx,
    rules: &Rules,
    organization: OrganizationId,
    id: i64,
    word: &Word,
    by: &str,
) -> Result<()> {
    store::add(tx, organization, id, word).await?;
    store::set(tx, id, word.status, word.at).await?;
    let detail = json!({ "status": word.status, "source": word.source });
    activity::note(tx, organization, id, "consent", by, &detail, word.at).await?;
    Ok(settle(tx, rules, organization, id, word.at).await?)
}

/// Adds a word that follows from something else than what somebody said now.
pub(super) async fn follow(
    tx: &mut Tx,
    organization: OrganizationId,
    contact: i64,
    status: Status,
    source: &str,
    at: DateTime<Utc>,
) -> Result<()> {
    let (source, wording) = (source.to_owned(), String::new());
    let word = Word { status, source, wording, address: None, at };
    Ok(store::add(tx, organization, contact, &word).await?)
}

/// The list of addresses that are never written to, the newest first, below a position.
pub async fn suppressed(
    db: &Db,
    organization: OrganizationId,
    below: Option<(DateTime<Utc>, String)>,
    limit: i64,
) -> Result<Vec<Suppressed>> {
    Ok(store::suppressed(db, organization, below, limit).await?)
}

/// Puts an address on the list, and notes it with the contact that has it.
pub async fn suppress(app: &App, caller: &Caller, address: &str) -> Result<()> {
    let organization = caller.organization;
    let email = Email::parse(address).map_err(|why| Error::invalid(format!("email {why}")))?;
    let (now, keyed) = (clock::now(), app.lasting.keyed().await?);
    let mut tx = app.db.begin().await?;
    let rules = Rules::hold(&mut tx, organization).await?;
    suppress::add(&mut tx, keyed, organization, &email.key, Reason::Manual).await?;
    if let Some(id) = store::of_email(&mut tx, organization, &email.key).await? {
        let word = Word {
            status: Status::Withdrawn,
            source: "suppression list".to_owned(),
            wording: String::new(),
            address: None,
            at: now,
        };
        say(&mut tx, &rules, organization, id, &word, &caller.author()).await?;
    }
    let hash = suppress::hash(keyed, &email.key);
    let subject = format!("suppression {hash}");
    audit::write(&mut tx, organization, caller, "suppression.add", &subject, &json!({})).await?;
    Ok(tx.commit().await?)
}

/// Takes an address off the list. That makes nobody agree: whoever had said no stays as they are
/// until a yes is noted.
pub async fn unsuppress(app: &App, caller: &Caller, address: &str, why: &str) -> Result<()> {
    let organization = caller.organization;
    let why = bounded("reason", why, MAX_SOURCE, true)?;
    let email = Email::parse(address).map_err(|why| Error::invalid(format!("email {why}")))?;
    let hash = suppress::hash(app.lasting.keyed().await?, &email.key);
    let mut tx = app.db.begin().await?;
    let rules = Rules::hold(&mut tx, organization).await?;
    if !store::unsuppress(&mut tx, organization, &hash).await? {
        return Err(Error::NotFound("address on the suppression list"));
    }
    if let Some(id) = store::of_email(&mut tx, organization, &email.key).await? {
        let word = Word {
            status: Status::None,
            source: format!("taken off the suppression list: {why}"),
            wording: String::new(),
            address: None,
            at: clock::now(),
        };
        say(&mut tx, &rules, organization, id, &word, &caller.author()).await?;
    }
    let subject = format!("suppression {hash}");
    let detail = json!({ "reason": why });
    audit::write(&mut tx, organization, caller, "suppression.remove", &subject, &detail).await?;
    Ok(tx.commit().await?)
}

fn refused() -> Error {
    Error::Conflict(
        "the person said no to mail, and the address is on the suppression list; only if they \
         changed their mind: take it off the list (POST /api/suppressions/remove) and note why \
         here"
            .to_owned(),
    )
}
