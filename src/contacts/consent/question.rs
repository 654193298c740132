//! Asking somebody whether they want mail (double opt-in): a mail with a link that works once.

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{
    MAX_SOURCE, MAX_WORDING, bounded, refused, say,
    store::{self, Question, Word},
};
use crate::{
    app::App,
    auth::{Caller, audit},
    clock,
    contacts::{Contact, Email, Status, find, segment::Rules, suppress},
    error::{Error, Result},
    mail::{Letter, Trouble},
};

/// How long the link can be used.
const LASTS: TimeDelta = TimeDelta::hours(48);
/// In words of the person who is shown it, where the form told none.
const WORDING: &str = "I want to get mail at this address.";
/// How often somebody is asked within that time.
const MOST: i64 = 2;

/// What somebody is asked.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AskConsent)]
pub struct Ask {
    /// Why they are asked: "newsletter form". Not empty.
    pub source: String,
    /// What they agree to by following the link, in their language. Not empty.
    pub wording: String,
}

pub(super) const fn lasts() -> TimeDelta {
    LASTS
}

pub(super) fn secret() -> Result<SecretString> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)
        .map_err(|_| Error::Unavailable("the system gave no random bytes".to_owned()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// What is kept of the secret, and looked up.
pub(super) fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// Asks somebody by mail whether they want mail. Until the link is followed, consent is pending.
pub async fn ask(app: &App, caller: &Caller, id: i64, ask: &Ask) -> Result<Contact> {
    find(&app.db, caller.organization, id).await?;
    let letters = Letters::of(app)?;
    let (email, secret) = prepare(app, caller, id, ask).await?;
    if let Err(error) = letters.send(&email, ask.wording.trim(), &secret).await {
        store::take_back(&app.db, &hash(secret.expose_secret())).await?;
        return Err(error);
    }
    find(&app.db, caller.organization, id).await
}

/// Prepares the question; gives the address and the secret of the link that the mail is to hold.
async fn prepare(app: &App, caller: &Caller, id: i64, ask: &Ask) -> Result<(Email, SecretString)> {
    let organization = caller.organization;
    let source = bounded("source", &ask.source, MAX_SOURCE, true)?;
    let wording = bounded("wording", &ask.wording, MAX_WORDING, true)?;
    let (secret, keyed) = (secret()?, app.lasting.keyed().await?);
    let mut tx = app.db.begin().await?;
    let rules = Rules::hold(&mut tx, organization).await?;
    let person = store::person(&mut tx, organization, id).await?;
    let person = person.ok_or(Error::NotFound("contact"))?;
    let email = person.email.as_deref().and_then(|email| Email::parse(email).ok());
    let Some(email) = email else {
        return Err(Error::Conflict("the contact has no e-mail address".to_owned()));
    };
    match person.consent {
        Status::Confirmed => {
            return Err(Error::Conflict("the contact has agreed already".to_owned()));
        }
        Status::Withdrawn => return Err(refused()),
        Status::None | Status::Pending => {}
    }
    if suppress::is_suppressed_in(&mut tx, keyed, organization, &email.key).await? {
        return Err(refused());
    }
    let now = clock::now();
    let address = suppress::hash(keyed, &email.key);
    if store::asked_at(&mut tx, organization, &address, now - LASTS).await? >= MOST {
        return Err(Error::Conflict(format!(
            "the contact was asked {MOST} times within two days; wait for an answer"
        )));
    }
    let by = caller.author();
    let new = store::NewQuestion {
        hash: &hash(secret.expose_secret()),
        organization,
        contact: id,
        email_key: &email.key,
        address: &address,
        source: &source,
        wording: &wording,
        made_by: &by,
        now,
        expires_at: now + LASTS,
    };
    store::ask(&mut tx, new).await?;
    let word = Word { status: Status::Pending, source, wording, address: None, at: now };
    say(&mut tx, &rules, organization, id, &word, &by).await?;
    let subject = format!("contact {id}");
    audit::write(&mut tx, organization, caller, "contact.ask", &subject, &json!({})).await?;
    tx.commit().await?;
    Ok((email, secret))
}

/// What the link of a question asks. Looking at it changes nothing: programs that look at links
/// in messages open them, too.
pub async fn look(app: &App, secret: &str) -> Result<Question> {
    let mut question = store::question(&app.db, &hash(secret)).await?.ok_or_else(gone)?;
    if question.wording.is_empty() {
        WORDING.clone_into(&mut question.wording);
    }
    Ok(question)
}

/// The person says yes, by the link that only they were sent. That takes their address off the
/// suppression list, too. `address` is the network's.
pub async fn confirm(app: &App, secret: &str, address: Option<String>) -> Result<()> {
    let shown = look(app, secret).await?;
    let Question { organization_id: organization, contact_id: id, .. } = shown;
    let keyed = app.lasting.keyed().await?;
    let mut tx = app.db.begin().await?;
    let rules = Rules::hold(&mut tx, organization).await?;
    let person = store::person(&mut tx, organization, id).await?.ok_or_else(gone)?;
    // Of two who follow the link at once, one is first.
    let asked = store::answer(&mut tx, &hash(secret)).await?.ok_or_else(gone)?;
    let email = person.email.as_deref().and_then(|email| Email::parse(email).ok());
    let Some(email) = email.filter(|email| email.key == asked.email_key) else {
        return Err(Error::Conflict(
            "the address was changed since this question was sent; ask for a new one".to_owned(),
        ));
    };
    let listed = suppress::hash(keyed, &email.key);
    store::unsuppress(&mut tx, organization, &listed).await?;
    let word = Word {
        status: Status::Confirmed,
        source: format!("double opt-in, {}", asked.source),
        wording: shown.wording,
        address,
        at: clock::now(),
    };
    say(&mut tx, &rules, organization, id, &word, "the person").await?;
    Ok(tx.commit().await?)
}

fn gone() -> Error {
    Error::NotFound("question (it was answered, or is older than 48 hours)")
}

/// The mail that asks.
pub(super) struct Letters<'a> {
    app: &'a App,
    /// Where the link leads.
    base: &'a str,
}

impl<'a> Letters<'a> {
    pub(super) fn of(app: &'a App) -> Result<Self> {
        if !app.mail.is_on() {
            return Err(Error::Conflict(
                "Lux cannot send mail yet: set [mail] in lux.toml (server and sender)".to_owned(),
            ));
        }
        let Some(base) = &app.config.public_url else {
            return Err(Error::Conflict(
                "the link in the mail needs an address that works from outside: set public_url \
                 in lux.toml"
                    .to_owned(),
            ));
        };
        Ok(Self { app, base: base.as_str() })
    }

    async fn send(&self, to: &Email, wording: &str, secret: &SecretString) -> Result<()> {
        self.mail(to, wording, secret)
            .await
            .map_err(|trouble| Error::Unavailable(format!("the question was not sent: {trouble}")))
    }

    pub(super) async fn mail(
        &self,
        to: &Email,
        wording: &str,
        secret: &SecretString,
    ) -> std::result::Result<(), Trouble> {
        let base = self.base.trim_end_matches('/');
        let link = format!("{base}/confirm/{}", secret.expose_secret());
        let letter = Letter {
            to: to.given.clone(),
            to_name: String::new(),
            subject: "Please confirm that you want our mail".to_owned(),
            text: format!(
                "{wording}\n\nIf that is what you want, confirm it here (the link works once, \
                 for 48 hours):\n\n{link}\n\nIf it is not, do nothing: you will get no mail.\n"
            ),
            html: None,
            bulk: None,
        };
        self.app.mail.send(&letter).await.map(drop)
    }
}
