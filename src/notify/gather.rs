//! What was held for maintenance or quiet hours, and digests: one message when their time is over.

use super::{
    Notify,
    channel::Channel,
    sort::{Message, Place, place, post},
    store::{channels, deliveries::Kind, events, windows},
    words,
};
use crate::{clock, error::Result, logs::Severity};

/// Channels at one look.
const SOME: usize = 20;
/// Rows of a channel that are read; of the others the number is told.
const ROWS: i64 = 100;

/// Sums up what is due.
pub(super) async fn step(notify: &Notify) -> Result<()> {
    let db = &notify.app.db;
    for _ in 0..SOME {
        let now = clock::now();
        let Some((id, organization)) = windows::gathering(db, now).await? else { return Ok(()) };
        let mut tx = db.begin().await?;
        events::take_turn(&mut tx, now).await?;
        let (held, count) = windows::held(&mut tx, id, now, ROWS).await?;
        let channel = channels::find_in(&mut tx, id).await?.map(Channel::from);
        let (Some(channel), Some(first)) = (channel, held.first()) else { return Ok(()) };
        if !channel.enabled {
            let why = "the channel is off: it was told nothing of this";
            windows::gathered(&mut tx, id, now, why, None).await?;
            tx.commit().await?;
            continue;
        }
        let severity = held.iter().map(|one| one.severity).max().unwrap_or(Severity::Info);
        let open = windows::open(&mut tx, organization, now).await?;
        // What is about one application is no reason to wait for another one's maintenance.
        match place(&channel, severity, "", &open, now, false) {
            Place::Later { at, reason, .. } => {
                windows::gathered(&mut tx, id, now, &reason, Some(at)).await?;
            }
            Place::Now => {
                let words = words::summary(&held, count, &channel.name);
                let occasion = format!("summary {}", first.id);
                let message = Message {
                    organization,
                    event: None,
                    kind: Kind::Summary,
                    occasion: &occasion,
                    severity,
                    words: &words,
                };
                post(&mut tx, &channel, &message, Place::Now, now).await?;
                let why = format!("in the summary of {}", now.format("%Y-%m-%d %H:%M UTC"));
                windows::gathered(&mut tx, id, now, &why, None).await?;
            }
        }
        tx.commit().await?;
    }
    Ok(())
}
