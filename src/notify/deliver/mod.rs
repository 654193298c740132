//! Sending. Every replica does; each row is one's for a while.

mod mail;
mod slack;
mod webhook;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};

use super::{
    Notify,
    channel::{self, Channel, Kind},
    store::{
        channels,
        deliveries::{self as store, Delivery, Kind as What, State},
        events,
    },
    words::{self, Words},
};
use crate::{
    clock,
    error::{Error, Result},
    errors::store::storms,
};

/// What is taken at once, and sent at the same time.
const STEP: i64 = 16;
const TOGETHER: usize = 4;
/// Whoever dies while sending leaves it to others after this; longer than any way may take.
pub(super) const HELD: TimeDelta = TimeDelta::minutes(5);
/// Pauses after a try that failed without anything having left, in seconds; the last one stays.
const PAUSES: [i64; 8] = [5, 10, 20, 30, 60, 300, 900, 3600];
/// After so long nobody needs it any more.
const STALE: TimeDelta = TimeDelta::days(1);
/// How often it is tried to write down what was sent, a second apart.
const WRITES: u32 = 30;

const DIED: &str = "Lux ended while it was being sent, so nobody knows whether it arrived; it is \
                    not sent again, because that could be twice";

/// What came of a try.
enum Came {
    /// It arrived; Slack's name for it.
    Sent(Option<String>),
    /// Nothing left, or the other side knows a repeat: again, after so long at the soonest.
    Later(String, Option<TimeDelta>),
    Failed(String),
    Uncertain(String),
    /// Another has taken the row meanwhile.
    Lost,
}

/// Sends what is due; gives how much it was.
pub(super) async fn step(notify: &Notify) -> Result<usize> {
    let now = clock::now();
    let due = store::take(&notify.app.db, now, now + HELD, STEP).await?;
    let count = due.len();
    let mut sending = stream::iter(due).map(|one| tell(notify, one)).buffer_unordered(TOGETHER);
    while let Some(done) = sending.next().await {
        done?;
    }
    Ok(count)
}

/// Sends one that was taken.
pub(super) async fn tell(notify: &Notify, one: Delivery) -> Result<()> {
    let db = &notify.app.db;
    let channel = match channel::read(&notify.app, one.organization_id, one.channel_id).await {
        // Its rows went with it.
        Err(Error::NotFound(_)) => return Ok(()),
        found => found?,
    };
    match one.state {
        State::Sending if channel.kind != Kind::Webhook => {
            tracing::warn!(delivery = one.id, "a notification is uncertain: its sender ended");
            Ok(store::set(db, &one, State::Uncertain, Some(DIED), None).await?)
        }
        State::Waiting | State::Sending => send(notify, &channel, &one).await,
        State::Sent if one.external_id.is_some() => slack::go_on(notify, &channel, &one).await,
        state => Ok(store::set(db, &one, state, one.reason.as_deref(), None).await?),
    }
}

async fn send(notify: &Notify, channel: &Channel, one: &Delivery) -> Result<()> {
    let db = &notify.app.db;
    if !channel.enabled && one.kind != What::Test {
        let why = "the channel was switched off before it was sent";
        return Ok(store::set(db, one, State::Dropped, Some(why), None).await?);
    }
    let (words, count, goes_on) = words_of(notify, one).await?;
    let came = match channel.kind {
        Kind::Mail => mail::send(notify, channel, one, &words).await,
        Kind::Slack => slack::send(notify, channel, one, &words).await,
        Kind::Webhook => webhook::send(notify, channel, one, &words).await,
        Kind::Browser => Ok(Came::Sent(None)),
    };
    let came = match came {
        Ok(came) => came,
        Err(Error::Database(error)) => {
            // Nothing can be written down now; the row comes again when its time is over.
            tracing::warn!(%error, delivery = one.id, "a notification has to wait");
            return Ok(());
        }
        Err(error) => Came::Later(error.to_string(), None),
    };
    let now = clock::now();
    let result = match &came {
        Came::Sent(_) => "sent",
        Came::Later(..) => "later",
        Came::Failed(_) => "failed",
        Came::Uncertain(_) => "uncertain",
        Came::Lost => "lost",
    };
    metrics::counter!(
        "lux_notifications_total", "channel" => channel.kind.as_str(), "result" => result
    )
    .increment(1);
    match came {
        Came::Sent(external) => {
            let next_at = (goes_on && external.is_some()).then(|| now + super::sort::LOOK);
            write_down(notify, one, external.as_deref(), count, next_at).await?;
            channels::went_well(db, channel.id, now).await?;
        }
        Came::Later(why, least) => {
            channels::went_wrong(db, channel.id, &why).await?;
            if one.kind == What::Test {
                store::set(db, one, State::Failed, Some(&why), None).await?;
            } else if now - one.created_at > STALE {
                let why = format!("given up after a day: {why}");
                store::set(db, one, State::Failed, Some(&why), None).await?;
            } else {
                let next = now + pause(one).max(least.unwrap_or_default()).min(STALE);
                store::set(db, one, State::Waiting, Some(&why), Some(next)).await?;
            }
        }
        Came::Failed(why) => {
            channels::went_wrong(db, channel.id, &why).await?;
            store::set(db, one, State::Failed, Some(&why), None).await?;
        }
        Came::Uncertain(why) => {
            let why = format!(
                "{why}; nobody knows whether it arrived, so it is not sent again, because that \
                 could be twice"
            );
            channels::went_wrong(db, channel.id, &why).await?;
            store::set(db, one, State::Uncertain, Some(&why), None).await?;
        }
        Came::Lost => {}
    }
    Ok(())
}

fn pause(one: &Delivery) -> TimeDelta {
    let index = usize::try_from(one.tries - 1).unwrap_or_default().min(PAUSES.len() - 1);
    TimeDelta::seconds(PAUSES[index])
}

/// What is said, how many events it tells of, and whether that goes on. A storm's beginning is told
/// as the storm stands at the moment of telling.
async fn words_of(notify: &Notify, one: &Delivery) -> Result<(Words, i64, bool)> {
    let db = &notify.app.db;
    let noted =
        || Words { title: one.title.clone(), body: one.body.clone(), path: one.path.clone() };
    if one.kind != What::Event {
        return Ok((noted(), 0, false));
    }
    let event = match one.event_id {
        Some(id) => events::find(db, one.organization_id, id).await?,
        None => None,
    };
    let storm = event.as_ref().filter(|it| it.kind == super::Topic::ErrorStorm);
    let Some((event, id)) = storm.and_then(|event| Some((event, event.subject_id?))) else {
        return Ok((noted(), 0, false));
    };
    let Some(storm) = storms::find(db, id).await? else { return Ok((noted(), 0, false)) };
    let words = words::storm(&storm, event.folded, clock::now(), false);
    Ok((words, storm.count, storm.ended_at.is_none()))
}

/// What arrived must not be forgotten because the database was away for a moment.
async fn write_down(
    notify: &Notify,
    one: &Delivery,
    external: Option<&str>,
    count: i64,
    next_at: Option<DateTime<Utc>>,
) -> Result<()> {
    let db = &notify.app.db;
    for _ in 0..WRITES {
        if store::sent(db, one.id, external, count, next_at, clock::now()).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    Ok(store::sent(db, one.id, external, count, next_at, clock::now()).await?)
}

/// Writes down that it is leaving; false if another has taken it meanwhile.
async fn about_to(notify: &Notify, one: &Delivery, words: &Words) -> Result<bool> {
    let db = &notify.app.db;
    Ok(store::about_to(db, one, &words.title, &words.body, clock::now()).await?)
}
