//! Into a channel of Slack, by the connection that serves messages.

use chrono::TimeDelta;

use super::{Came, about_to, store, words_of};
use crate::{
    clock,
    error::Result,
    integrations::{Connection, Duty, Trouble, message},
    notify::{
        Notify,
        channel::Channel,
        sort::LOOK,
        store::deliveries::{Delivery, State},
        words::{Words, page},
    },
};

/// After an edit that failed.
const PAUSE: TimeDelta = TimeDelta::minutes(5);
/// A storm lasts a day at most, so what could not be told for two is left.
const OLD: TimeDelta = TimeDelta::days(2);

const NO_CONNECTION: &str = "no connection serves messages; connect Slack under Connections and \
                             let it serve the duty \"messages\"";
const NO_CHANNEL: &str = "no channel was chosen; name one here, or with the duty \"messages\"";

/// The connection, and the channel that it writes to.
async fn way(
    notify: &Notify,
    channel: &Channel,
    one: &Delivery,
) -> std::result::Result<Result<(Connection, String), &'static str>, Trouble> {
    let serving = notify.integrations.serving(one.organization_id, Duty::Messages).await?;
    let Some((connection, served)) = serving else { return Ok(Err(NO_CONNECTION)) };
    let place = match channel.slack_channel.as_str() {
        "" => served.target["channel"].as_str().unwrap_or_default().to_owned(),
        place => place.to_owned(),
    };
    if place.is_empty() {
        return Ok(Err(NO_CHANNEL));
    }
    let connection = connection.patient();
    connection.ready().await?;
    Ok(Ok((connection, place)))
}

fn notice(notify: &Notify, words: &Words) -> message::Notice {
    message::Notice {
        title: words.title.clone(),
        text: words.body.clone(),
        url: page(&notify.app, &words.path),
    }
}

pub(super) async fn send(
    notify: &Notify,
    channel: &Channel,
    one: &Delivery,
    words: &Words,
) -> Result<Came> {
    let (connection, place) = match way(notify, channel, one).await {
        Ok(Ok(way)) => way,
        Ok(Err(why)) => return Ok(Came::Failed(why.to_owned())),
        Err(trouble) => return before(trouble),
    };
    if !about_to(notify, one, words).await? {
        return Ok(Came::Lost);
    }
    match message::post(&connection, &place, &notice(notify, words)).await {
        Ok(posted) => Ok(Came::Sent(Some(posted.key()))),
        Err(trouble) if trouble.is_undone() => before(trouble),
        Err(trouble) => Ok(Came::Uncertain(trouble.to_string())),
    }
}

/// What came up before anything left.
fn before(trouble: Trouble) -> Result<Came> {
    let why = trouble.to_string();
    let is_passing = trouble.is_passing();
    Ok(match trouble {
        Trouble::Failed(crate::error::Error::Database(error)) => return Err(error.into()),
        Trouble::TooMany { wait, .. } => Came::Later(why, TimeDelta::from_std(wait).ok()),
        _ if is_passing => Came::Later(why, None),
        _ => Came::Failed(why),
    })
}

/// Brings a storm's message up to date.
pub(super) async fn go_on(notify: &Notify, channel: &Channel, one: &Delivery) -> Result<()> {
    let (db, now) = (&notify.app.db, clock::now());
    let (words, count, goes_on) = words_of(notify, one).await?;
    let again = (goes_on && channel.enabled).then(|| now + LOOK);
    let posted = one.external_id.as_deref().and_then(message::Posted::read);
    let Some(posted) = posted.filter(|_| channel.enabled && count > 0) else {
        return Ok(store::set(db, one, State::Sent, None, None).await?);
    };
    if words.title == one.title && count == one.told_count {
        return Ok(store::set(db, one, State::Sent, None, again).await?);
    }
    let edited = match way(notify, channel, one).await {
        Ok(Ok((connection, _))) => {
            message::update(&connection, &posted, &notice(notify, &words)).await
        }
        Ok(Err(_)) => Err(Trouble::NotConnected("Slack")),
        Err(trouble) => Err(trouble),
    };
    match edited {
        Ok(()) => {
            store::edited(db, one, &words.title, &words.body, count, again).await?;
        }
        Err(trouble) => {
            let next = trouble.is_passing() && now - one.created_at < OLD;
            let why = format!("it could not be brought up to date: {trouble}");
            let next = next.then(|| now + PAUSE);
            store::set(db, one, State::Sent, Some(&why), next).await?;
        }
    }
    Ok(())
}
