//! A storm's message after it was sent: its count once an hour, and its end.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    store::{self, Delivery, State},
    words,
};
use crate::{
    clock,
    errors::store::storms,
    integrations::{Duty, Integrations, Trouble, message},
};

/// A message is brought up to date so often at most.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// How often is looked whether a storm has ended, should the trigger's word be lost.
pub(super) const LOOK: TimeDelta = TimeDelta::minutes(1);
/// After a try that failed.
const PAUSE: TimeDelta = TimeDelta::minutes(5);

pub(super) async fn go_on(integrations: &Integrations, one: &Delivery) -> Result<(), Trouble> {
    let db = &integrations.app().db;
    let now = clock::now();
    let posted = one.external_id.as_deref().and_then(message::Posted::read);
    let storm = match one.subject_id {
        Some(id) => storms::find(db, id).await?,
        None => None,
    };
    let (Some(posted), Some(storm)) = (posted, storm) else {
        return Ok(store::set(db, one, State::Sent, None, None).await?);
    };
    let last = one.edited_at.or(one.sent_at).unwrap_or(one.created_at);
    if storm.ended_at.is_none() && now - last < EVERY {
        return Ok(store::set(db, one, State::Sent, None, Some(now + LOOK)).await?);
    }
    let again = storm.ended_at.is_none().then(|| now + LOOK);
    let notice = words::storm(integrations.app(), &storm);
    match edit(integrations, one, &posted, &notice).await {
        Ok(()) => {
            let (title, text) = (notice.title.as_str(), notice.text.as_str());
            store::edited(db, one, title, text, storm.count, again, now).await?;
        }
        Err(trouble) => {
            let again = trouble.is_passing() && !is_old(one, now);
            let next = again.then(|| now + PAUSE);
            let why = format!("it could not be brought up to date: {trouble}");
            store::set(db, one, State::Sent, Some(&why), next).await?;
        }
    }
    Ok(())
}

async fn edit(
    integrations: &Integrations,
    one: &Delivery,
    posted: &message::Posted,
    notice: &message::Notice,
) -> Result<(), Trouble> {
    let serving = integrations.serving(one.organization(), Duty::Messages).await?;
    let (connection, _) = serving.ok_or(Trouble::NotConnected("Slack"))?;
    message::update(&connection, posted, notice).await
}

/// A storm lasts a day at most, so what could not be told for two is left.
fn is_old(one: &Delivery, now: DateTime<Utc>) -> bool {
    now - one.created_at > TimeDelta::days(2)
}
