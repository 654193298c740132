//! The background: deciding, and sending beside it, so that a slow server delays no decision.

use std::time::{Duration, Instant};

use super::{Notify, deliver, escalate, gather, sort, store, storm};
use crate::{clock, error::Result};

/// How often old rows are removed.
const FORGET: Duration = Duration::from_hours(1);

/// Works until the shutdown.
pub(super) fn start(notify: &Notify) {
    let deciding = notify.clone();
    let sending = notify.clone();
    let tasks = notify.app.tasks.clone();
    tasks.spawn(async move {
        let shutdown = deciding.app.shutdown.clone();
        shutdown.run_until_cancelled(decide(&deciding)).await;
    });
    tasks.spawn(async move {
        let shutdown = sending.app.shutdown.clone();
        shutdown.run_until_cancelled(send(&sending)).await;
    });
}

async fn decide(notify: &Notify) {
    let rest = notify.app.config.notify.poll;
    let mut forgot: Option<Instant> = None;
    loop {
        if let Err(error) = look(notify).await {
            tracing::warn!(%error, "what is to be told could not be looked for; trying again");
            tokio::time::sleep(rest * 5).await;
        }
        if forgot.is_none_or(|at| at.elapsed() > FORGET) {
            match store::rest::forget(&notify.app.db, clock::now()).await {
                // There may be more: the next look goes on.
                Ok(gone) if gone > 0 => {}
                Ok(_) => forgot = Some(clock::instant()),
                Err(error) => {
                    forgot = Some(clock::instant());
                    tracing::debug!(%error, "old notifications were not removed");
                }
            }
        }
        tokio::time::sleep(rest).await;
    }
}

async fn look(notify: &Notify) -> Result<()> {
    sort::step(notify).await?;
    if store::events::is_due(&notify.app.db, clock::now()).await? {
        storm::step(notify).await?;
        escalate::step(notify).await?;
    }
    gather::step(notify).await
}

async fn send(notify: &Notify) {
    let rest = notify.app.config.notify.poll;
    loop {
        match deliver::step(notify).await {
            Ok(0) => tokio::time::sleep(rest).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "notifications could not be sent; trying again");
                tokio::time::sleep(rest * 5).await;
            }
        }
    }
}
