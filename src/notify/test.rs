//! The test button: sends one now, and says what came of it.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;

use super::{
    Notify,
    channel::{self, Kind},
    deliver::{self, HELD},
    sort::{Message, Place, post},
    store::deliveries::{self as store, Delivery, Kind as What, New, State},
    words::Words,
};
use crate::{
    auth::{Caller, audit},
    clock,
    error::{Error, Result},
    logs::Severity,
};

/// The longest that a caller waits.
const PATIENCE: Duration = Duration::from_secs(13);

/// What came of a test.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotifyTested)]
pub struct Tested {
    /// Whether all of it arrived.
    pub success: bool,
    /// In words.
    pub message: String,
    /// One for each recipient.
    pub deliveries: Vec<Delivery>,
}

/// Tells a channel something that means nothing, whatever it wants to hear and when.
pub async fn test(notify: &Notify, caller: &Caller, id: i64) -> Result<Tested> {
    let app = &notify.app;
    let (db, organization, now) = (&app.db, caller.organization, clock::now());
    let channel = channel::read(app, organization, id).await?;
    if channel.targets().is_empty() {
        return Err(Error::Conflict("the channel has no recipients; name one first".to_owned()));
    }
    let words = Words {
        title: "A test of Lux's notifications".to_owned(),
        body: format!("{} tries the channel \"{}\". Nothing is wrong.", caller.name, channel.name),
        path: "/settings/notifications".to_owned(),
    };
    let occasion = format!("test {}", uuid::Uuid::now_v7().simple());
    let message = Message {
        organization,
        event: None,
        kind: What::Test,
        occasion: &occasion,
        severity: Severity::Info,
        words: &words,
    };
    let mut ids = Vec::new();
    let mut tx = db.begin().await?;
    if channel.kind == Kind::Browser {
        post(&mut tx, &channel, &message, Place::Now, now).await?;
    } else {
        for target in channel.targets() {
            let new = New {
                organization,
                channel: id,
                event: None,
                kind: What::Test,
                occasion: &occasion,
                target,
                severity: Severity::Info,
                title: &words.title,
                body: &words.body,
                path: &words.path,
                state: State::Waiting,
                reason: None,
                // Others look at it if nobody lives to say what came of it.
                next_at: Some(now + HELD),
                gather_at: None,
                window: None,
                sent_at: None,
                now,
            };
            ids.extend(store::insert(&mut tx, &new).await?);
        }
    }
    let subject = format!("channel {id}");
    audit::write(&mut tx, organization, caller, "notify.channel_tested", &subject, &json!({}))
        .await?;
    tx.commit().await?;
    if channel.kind == Kind::Browser {
        let message = "it is in the inbox of everybody who may read".to_owned();
        return Ok(Tested { success: true, message, deliveries: Vec::new() });
    }
    let mut rows = Vec::new();
    for id in &ids {
        rows.extend(store::find(db, organization, *id).await?);
    }
    let sending = join_all(rows.into_iter().map(|row| deliver::tell(notify, row)));
    let in_time = tokio::time::timeout(PATIENCE, sending).await;
    if let Ok(done) = &in_time {
        for failed in done.iter().filter_map(|done| done.as_ref().err()) {
            tracing::warn!(error = %failed, channel = id, "a test could not be written down");
        }
    }
    let mut deliveries = Vec::new();
    for id in ids {
        let Some(mut row) = store::find(db, organization, id).await? else { continue };
        let late = match row.state {
            State::Waiting => Some((State::Failed, "nothing was sent within 13 s")),
            State::Sending => {
                Some((State::Uncertain, "no answer came within 13 s: it may have arrived"))
            }
            _ => None,
        };
        if let Some((state, why)) = late {
            store::set(db, &row, state, Some(why), None).await?;
            (row.state, row.reason, row.next_at) = (state, Some(why.to_owned()), None);
        }
        deliveries.push(row);
    }
    let wrong = deliveries.iter().find(|row| row.state != State::Sent);
    let message = match wrong {
        None => "sent".to_owned(),
        Some(row) => {
            let to =
                if row.target.is_empty() { String::new() } else { format!("{}: ", row.target) };
            format!("{}: {to}{}", row.state.as_str(), row.reason.as_deref().unwrap_or_default())
        }
    };
    Ok(Tested { success: wrong.is_none(), message, deliveries })
}
