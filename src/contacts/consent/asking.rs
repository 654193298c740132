//! Who said yes in a form is asked by mail, by itself: the writer notes them in the transaction that
//! makes their consent "pending", and this goes through them one by one.
//!
//! **Once for each yes**: the row goes in the transaction that prepares the question, so a kill at
//! the wrong moment asks nobody twice (an operator can ask again). A form can be filled in by
//! anybody with anybody's address: nothing of what came with it stands in the mail, an address is
//! asked once a day, and all of them together so often that nobody gets far by abusing a form.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{
    question::{Letters, hash, lasts, secret},
    store::{self, NewQuestion, Unasked},
};
use crate::{
    app::App,
    clock,
    contacts::{Email, Status, activity, suppress},
    error::Result,
    mail::Trouble,
};

/// How often is looked for people to be asked.
const LOOK: Duration = Duration::from_secs(1);
/// After this long nobody knows any more what the question is about.
const STALE: TimeDelta = TimeDelta::days(2);
/// An address is asked once in this time.
const ONCE_IN: TimeDelta = TimeDelta::days(1);
/// Questions of an organization within an hour.
const MOST_AN_HOUR: i64 = 1000;
/// How often a mail that cannot be sent now is tried, and the pause after the first try; it
/// triples each time.
const TRIES: i64 = 6;
const PAUSE: TimeDelta = TimeDelta::minutes(1);

/// Who asks, in what is noted.
const BY: &str = "lux";

/// Begins to ask.
pub fn start(app: &App) {
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
                        tracing::warn!(%error, "nobody could be asked for consent; trying again");
                        break;
                    }
                }
            }
        }
    });
}

/// Asks one person, if one is to be asked now; whether there may be another.
async fn step(app: &App) -> Result<bool> {
    let now = clock::now();
    if !store::has_unasked(&app.db).await? {
        return Ok(false);
    }
    store::forget_unasked(&app.db, now - STALE).await?;
    // Without mail, nothing is asked; an operator sees who is "pending".
    let Ok(letters) = Letters::of(app) else { return Ok(false) };
    let secret = secret()?;
    let hash = hash(secret.expose_secret());
    let Some((person, email)) = claim(app, &hash, now).await? else { return Ok(false) };
    // One who is not to be asked any more.
    let Some(email) = email else { return Ok(true) };
    let name = app.mail.config().from_name.trim();
    let from = if name.is_empty() { "us" } else { name };
    let wording =
        format!("Somebody, we hope it was you, signed this address up for mail from {from}.");
    match letters.mail(&email, &wording, &secret).await {
        Ok(()) => {}
        // It may have arrived: it is not sent twice.
        Err(Trouble::Unknown(why)) => {
            tracing::warn!(contact = person.contact_id, why, "a question may not have arrived");
        }
        Err(trouble) => {
            let goes_on = trouble.is_temporary() && person.tries + 1 < TRIES;
            tracing::warn!(contact = person.contact_id, %trouble, goes_on, "a question was not sent");
            let next = now + PAUSE * 3_i32.pow(u32::try_from(person.tries).unwrap_or(0).min(8));
            store::not_asked(&app.db, &hash, &person, goes_on.then_some(next)).await?;
        }
    }
    Ok(true)
}

/// Takes the next person who is due and prepares the question; the address is `None` for who is
/// not asked after all.
async fn claim(
    app: &App,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<(Unasked, Option<Email>)>> {
    let keyed = app.lasting.keyed().await?;
    let mut tx = app.db.begin().await?;
    let Some(unasked) = store::take_unasked(&mut tx, now).await? else { return Ok(None) };
    let (organization, contact) = (unasked.organization_id, unasked.contact_id);
    if store::asked_by(&mut tx, organization, now - TimeDelta::hours(1)).await? >= MOST_AN_HOUR {
        // They wait for their turn.
        tracing::warn!(
            organization = organization.0,
            "as many were asked for consent within an hour as may be"
        );
        return Ok(None);
    }
    let person = store::person(&mut tx, organization, contact).await?;
    let person = person.filter(|person| person.consent == Status::Pending);
    let email = person.and_then(|person| Email::parse(person.email.as_deref()?).ok());
    let Some(email) = email else {
        tx.commit().await?;
        return Ok(Some((unasked, None)));
    };
    let address = suppress::hash(keyed, &email.key);
    if suppress::is_suppressed_in(&mut tx, keyed, organization, &email.key).await?
        || store::asked_at(&mut tx, organization, &address, now - ONCE_IN).await? > 0
    {
        tx.commit().await?;
        return Ok(Some((unasked, None)));
    }
    let question = NewQuestion {
        hash,
        organization,
        contact,
        email_key: &email.key,
        address: &address,
        source: &unasked.source,
        wording: &unasked.wording,
        made_by: BY,
        now,
        expires_at: now + lasts(),
    };
    store::ask(&mut tx, question).await?;
    let detail = json!({ "source": unasked.source });
    activity::note(&mut tx, organization, contact, "asked", BY, &detail, now).await?;
    tx.commit().await?;
    Ok(Some((unasked, Some(email))))
}
