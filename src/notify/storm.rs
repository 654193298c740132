//! A storm after it was told: once an hour that it goes on, and its end. Slack's message is edited
//! instead, by `deliver`.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Notify,
    channel::{Channel, Kind},
    event::Event,
    sort::{LOOK, Message, Place, place, post},
    store::{
        channels,
        deliveries::{self, Kind as What, State},
        events, windows,
    },
    words,
};
use crate::{
    auth::OrganizationId,
    clock,
    db::Tx,
    error::Result,
    errors::store::storms::{self, Storm},
    logs::Severity,
};

/// How often mails and programs are told that a storm goes on, at most.
const EVERY: TimeDelta = TimeDelta::hours(1);

/// Looks at the storms that were told.
pub(super) async fn step(notify: &Notify) -> Result<()> {
    let now = clock::now();
    let db = &notify.app.db;
    let mut tx = db.begin().await?;
    for event in events::take_storms(&mut tx, now, now + LOOK).await? {
        let storm = match event.subject_id {
            Some(id) => storms::find(db, id).await?,
            None => None,
        };
        match storm {
            None => events::storm_over(&mut tx, event.id).await?,
            Some(storm) if storm.ended_at.is_some() => {
                tell(&mut tx, &event, &storm, What::End, now).await?;
                deliveries::wake(&mut tx, event.id, now).await?;
                events::storm_over(&mut tx, event.id).await?;
            }
            Some(storm) if now - event.still_at.unwrap_or(event.at) >= EVERY => {
                tell(&mut tx, &event, &storm, What::Still, now).await?;
                events::storm_goes_on(&mut tx, event.id, event.stills + 1, now).await?;
            }
            Some(_) => {}
        }
    }
    Ok(tx.commit().await?)
}

/// Tells those that were told of its beginning.
async fn tell(
    tx: &mut Tx,
    event: &Event,
    storm: &Storm,
    kind: What,
    now: DateTime<Utc>,
) -> Result<()> {
    let organization = OrganizationId(event.organization_id);
    let windows = windows::open(tx, organization, now).await?;
    let words = words::storm(storm, event.folded, now, true);
    let occasion = match kind {
        What::End => format!("event {} end", event.id),
        _ => format!("event {} still {}", event.id, event.stills + 1),
    };
    let mut done = Vec::new();
    for (id, state, left_at) in deliveries::told_of(tx, event.id).await? {
        let was_told = matches!(state, State::Sent | State::Sending | State::Uncertain);
        // Who was told after its end has heard of both.
        let knows = left_at.zip(storm.ended_at).is_some_and(|(left, ended)| left >= ended);
        if !was_told || knows || done.contains(&id) {
            continue;
        }
        done.push(id);
        let Some(channel) = channels::find_in(tx, id).await?.map(Channel::from) else { continue };
        if !channel.enabled || channel.kind == Kind::Slack {
            continue;
        }
        let place = place(&channel, Severity::Critical, &storm.app, &windows, now, false);
        if kind == What::Still && (place != Place::Now || channel.kind == Kind::Browser) {
            continue;
        }
        let message = Message {
            organization,
            event: Some(event.id),
            kind,
            occasion: &occasion,
            severity: Severity::Critical,
            words: &words,
        };
        post(tx, &channel, &message, place, now).await?;
    }
    Ok(())
}
