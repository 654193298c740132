//! What is told to others by itself: one message a storm of errors (brought up to date, with its
//! end), one a repair run with news, the weekly report. And what an operator sends.
//!
//! **Never twice.** Triggers note what there is to tell, in the transaction in which it happens
//! (migration 0030), one row an occasion. A replica takes a row for a while (`tries` is its fence),
//! and writes `sending` down right before the message leaves. Slack knows no name by which it
//! would notice a repeat: if nobody lived to write down what came of it, or no answer came, the
//! row becomes `uncertain` and is left alone. What surely did not leave is tried again. Files are
//! known by their names, so a report is uploaded again without harm.
//!
//! Where an organization has an enabled notification channel of kind `slack`, storms and repairs are
//! told by that alone (`notify`; migration 0032 notes none of them here then).

mod live;
mod routes;
mod store;
mod weekly;
mod words;
mod work;

pub(super) use routes::router;
pub(super) use weekly::schedule;
pub(super) use work::start;

pub use store::{Delivery, Kind, State, deliveries};
pub use words::repair as repair_notice;

use serde::Deserialize;

use super::{Duty, Integrations};
use crate::{
    auth::{Caller, audit, secret},
    clock,
    error::{Error, Result},
};

/// The longest that an operator may say, in bytes.
const MAX_TEXT: usize = 8000;

/// A message that somebody wants to be sent.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageWish)]
pub struct Message {
    /// At most 8000 bytes. Mentions call nobody, secrets are struck out.
    pub text: String,
    #[serde(default)]
    pub title: String,
    /// A channel's id; that of the duty if it is left out.
    pub channel: Option<String>,
    /// Names the wish: sent again with the same, it is the same message.
    pub key: Option<String>,
}

/// A report that somebody wants now.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReportWish)]
pub struct ReportWish {
    /// Days to look back: 1 to 92, 7 if it is left out.
    pub days: Option<u32>,
    /// Names the wish: asked for again with the same, it is the same report.
    pub key: Option<String>,
}

/// Checks a name of a wish.
fn key(given: Option<String>) -> Result<String> {
    match given {
        None => secret::random(),
        Some(key) if key.is_empty() || key.len() > 200 => {
            Err(Error::invalid("key: 1 to 200 bytes"))
        }
        Some(key) => Ok(key),
    }
}

impl Integrations {
    /// Hands a message over to be sent; it leaves within a second or two.
    pub async fn say(&self, caller: &Caller, message: Message) -> Result<Delivery> {
        let Message { text, title, channel, key: given } = message;
        if text.trim().is_empty() || text.len() > MAX_TEXT {
            return Err(Error::invalid("text: 1 to 8000 bytes"));
        }
        if title.chars().count() > 140 {
            return Err(Error::invalid("title: at most 140 characters"));
        }
        let channel = channel.unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '#' | '.');
        if channel.len() > 100 || !channel.chars().all(is_name) {
            return Err(Error::invalid(
                "channel: a channel's id, such as C0123456; GET /api/integrations/channels names \
                 them",
            ));
        }
        let served = self.serving(caller.organization, Duty::Messages).await?;
        let (connection, served) = served.ok_or_else(|| Error::Conflict(NO_CHANNEL.to_owned()))?;
        if channel.is_empty() && served.target["channel"].as_str().is_none_or(str::is_empty) {
            return Err(Error::invalid("channel: the duty names none, so one is needed here"));
        }
        let occasion = format!("message {}", key(given)?);
        let new = store::New {
            organization: caller.organization,
            kind: Kind::Message,
            occasion: &occasion,
            title: title.trim(),
            body: text.trim(),
            target: &channel,
            made_by: &caller.author(),
            now: clock::now(),
        };
        self.note(caller, &new, connection.kind().key).await
    }

    /// Hands a report over to be written and stored.
    pub async fn report(&self, caller: &Caller, wish: ReportWish) -> Result<Delivery> {
        let days = wish.days.unwrap_or(7);
        if !(1..=92).contains(&days) {
            return Err(Error::invalid("days: 1 to 92"));
        }
        let served = self.serving(caller.organization, Duty::Reports).await?;
        let (connection, _) = served.ok_or_else(|| Error::Conflict(NO_FOLDER.to_owned()))?;
        let now = clock::now();
        let (title, text) = weekly::write(self.app(), caller.organization, days, now).await?;
        let occasion = format!("report {}", key(wish.key)?);
        let new = store::New {
            organization: caller.organization,
            kind: Kind::Report,
            occasion: &occasion,
            title: &title,
            body: &text,
            target: "",
            made_by: &caller.author(),
            now,
        };
        self.note(caller, &new, connection.kind().key).await
    }

    /// Notes a wish once; who asks again with the same key is told what became of it.
    async fn note(&self, caller: &Caller, new: &store::New<'_>, by: &str) -> Result<Delivery> {
        let mut tx = self.app().db.begin().await?;
        if let Some(id) = store::insert(&mut tx, new).await? {
            let detail = serde_json::json!({"kind": new.kind, "provider": by});
            let subject = format!("delivery {id}");
            let organization = caller.organization;
            audit::write(&mut tx, organization, caller, "integration.send", &subject, &detail)
                .await?;
        }
        tx.commit().await?;
        let found = store::of_occasion(&self.app().db, new.organization, new.occasion).await?;
        found.ok_or(Error::NotFound("delivery"))
    }
}

const NO_CHANNEL: &str = "nothing serves messages; connect Slack, and let it serve them (PUT \
                          /api/integrations/duties/messages)";
const NO_FOLDER: &str = "nothing keeps reports; connect Google Drive or Dropbox, and let it serve \
                         them (PUT /api/integrations/duties/reports)";
