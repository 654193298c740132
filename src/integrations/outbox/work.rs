//! Telling what there is to tell. Every replica does; each row is one's for a while.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};

use super::{
    NO_CHANNEL, NO_FOLDER, live,
    store::{self, Delivery, Kind, Sent, State},
    words,
};
use crate::{
    clock,
    db::Db,
    error::{Error, Result},
    errors::store::storms,
    integrations::{
        Duty, Integrations, Trouble, file,
        message::{self, Notice},
    },
};

/// How often is looked when there was nothing to tell.
const REST: Duration = Duration::from_secs(1);
/// What is taken at once, and told at the same time: a channel takes one message a second.
const STEP: i64 = 10;
const TOGETHER: usize = 2;
/// Whoever dies while telling leaves it to others after this; longer than any call may take.
const HELD: TimeDelta = TimeDelta::minutes(4);
/// Pauses after a try that failed without anything having left, in seconds; the last one stays.
const PAUSES: [i64; 6] = [10, 60, 300, 900, 1800, 3600];
/// After so long nobody needs it any more.
const STALE: TimeDelta = TimeDelta::days(1);
/// How often it is tried to write down what was sent, a second apart.
const WRITES: u32 = 30;
/// How often old rows are removed.
const FORGET: Duration = Duration::from_hours(1);

/// What is said of a row that nobody lived to complete.
const DIED: &str = "Lux ended while it was being sent, so nobody knows whether it arrived; it is \
                    not sent again, because that could be twice";

/// Tells until the shutdown.
pub(in crate::integrations) fn start(integrations: &Integrations) {
    let integrations = integrations.clone();
    let app = integrations.app().clone();
    app.tasks.clone().spawn(async move {
        let shutdown = app.shutdown.clone();
        shutdown.run_until_cancelled(work(&integrations)).await;
    });
}

async fn work(integrations: &Integrations) {
    let mut forgot: Option<std::time::Instant> = None;
    loop {
        match step(integrations).await {
            Ok(0) => tokio::time::sleep(REST).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "messages could not be looked for; trying again");
                tokio::time::sleep(REST * 5).await;
            }
        }
        if forgot.is_none_or(|at| at.elapsed() > FORGET) {
            match store::forget(&integrations.app().db, clock::now()).await {
                Ok(0) => forgot = Some(clock::instant()),
                Ok(_) => {}
                Err(error) => {
                    forgot = Some(clock::instant());
                    tracing::debug!(%error, "old deliveries were not removed");
                }
            }
        }
    }
}

/// Tells what is due; gives how much it was.
async fn step(integrations: &Integrations) -> Result<usize> {
    let now = clock::now();
    let due = store::take(&integrations.app().db, now, now + HELD, STEP).await?;
    let count = due.len();
    let mut telling =
        stream::iter(due).map(|one| tell(integrations, one)).buffer_unordered(TOGETHER);
    while let Some(outcome) = telling.next().await {
        outcome?;
    }
    Ok(count)
}

async fn tell(integrations: &Integrations, one: Delivery) -> Result<()> {
    let told = match (one.kind, one.status) {
        (Kind::Report, State::Waiting | State::Sending) => upload(integrations, &one).await,
        (_, State::Sending) => {
            tracing::warn!(delivery = one.id, "a message is uncertain: its sender ended");
            let db = &integrations.app().db;
            store::set(db, &one, State::Uncertain, Some(DIED), None).await.map_err(Into::into)
        }
        (_, State::Waiting) => post(integrations, &one).await,
        (Kind::Storm, State::Sent) => live::go_on(integrations, &one).await,
        _ => {
            let db = &integrations.app().db;
            let why = one.last_error.as_deref();
            store::set(db, &one, one.status, why, None).await.map_err(Into::into)
        }
    };
    match told {
        Ok(()) => Ok(()),
        // Before anything left: the row waits as it was.
        Err(trouble) => put_off(integrations, &one, &trouble).await,
    }
}

/// What came up before anything left: again later, or never.
async fn put_off(integrations: &Integrations, one: &Delivery, trouble: &Trouble) -> Result<()> {
    let (db, now) = (&integrations.app().db, clock::now());
    let why = trouble.to_string();
    if let Trouble::Failed(Error::Database(_)) = trouble {
        // Nothing can be written down now; the row comes again when its time is over.
        tracing::warn!(error = %why, delivery = one.id, "a message has to wait");
        return Ok(());
    }
    if !trouble.is_passing() {
        return Ok(store::set(db, one, State::Failed, Some(&why), None).await?);
    }
    if now - one.created_at > STALE {
        let why = format!("given up after a day: {why}");
        return Ok(store::set(db, one, State::Failed, Some(&why), None).await?);
    }
    let next = now + pause(one, trouble);
    Ok(store::set(db, one, State::Waiting, Some(&why), Some(next)).await?)
}

fn pause(one: &Delivery, trouble: &Trouble) -> TimeDelta {
    let index = usize::try_from(one.tries - 1).unwrap_or_default().min(PAUSES.len() - 1);
    let pause = TimeDelta::seconds(PAUSES[index]);
    match trouble {
        Trouble::TooMany { wait, .. } => {
            TimeDelta::from_std(*wait).unwrap_or(pause).clamp(TimeDelta::seconds(1), STALE)
        }
        _ => pause,
    }
}

/// What is to be said, and how many events it tells of.
async fn words_of(
    integrations: &Integrations,
    one: &Delivery,
) -> Result<Option<(Notice, i64, bool)>, Trouble> {
    let app = integrations.app();
    Ok(match (one.kind, one.subject_id) {
        (Kind::Storm, Some(id)) => storms::find(&app.db, id)
            .await?
            .map(|it| (words::storm(app, &it), it.count, it.ended_at.is_none())),
        (Kind::Repair, Some(id)) => {
            let notice = words::repair(app, one.organization(), id).await?;
            notice.map(|notice| (notice, 0, false))
        }
        (Kind::Message, _) => {
            let (title, text) = (one.title.clone(), one.body.clone());
            Some((Notice { title, text, url: None }, 0, false))
        }
        _ => None,
    })
}

async fn post(integrations: &Integrations, one: &Delivery) -> Result<(), Trouble> {
    let db = &integrations.app().db;
    let drop = async |why: &str| store::set(db, one, State::Dropped, Some(why), None).await;
    let serving = integrations.serving(one.organization(), Duty::Messages).await?;
    let (connection, served) = serving.ok_or_else(|| Error::Conflict(NO_CHANNEL.to_owned()))?;
    if one.kind != Kind::Message && !served.automatic {
        return Ok(drop("messages are not sent by themselves any more").await?);
    }
    let channel = match one.target.as_str() {
        "" => served.target["channel"].as_str().unwrap_or_default(),
        channel => channel,
    };
    if channel.is_empty() {
        let why = "no channel was chosen; name one with the duty (PUT \
                   /api/integrations/duties/messages)";
        return Err(Error::invalid(why).into());
    }
    let Some((notice, count, goes_on)) = words_of(integrations, one).await? else {
        return Ok(drop("there is nothing new to tell").await?);
    };
    let connection = connection.patient();
    connection.ready().await?;
    let (title, text) = (notice.title.as_str(), notice.text.as_str());
    let (provider, now) = (connection.kind().key, clock::now());
    if !store::about_to(db, one, title, text, channel, provider, now).await? {
        return Ok(());
    }
    match message::post(&connection, channel, &notice).await {
        Ok(posted) => {
            let next_at: Option<DateTime<Utc>> = goes_on.then(|| clock::now() + live::LOOK);
            let key = posted.key();
            let sent = Sent { external_id: &key, link: None, told_count: count, next_at };
            metrics::counter!("lux_messages_total", "result" => "sent").increment(1);
            Ok(write_down(db, one, &sent).await?)
        }
        Err(trouble) if trouble.is_undone() => {
            metrics::counter!("lux_messages_total", "result" => "undone").increment(1);
            Err(trouble)
        }
        Err(trouble) => {
            metrics::counter!("lux_messages_total", "result" => "uncertain").increment(1);
            let why = format!(
                "{trouble}; nobody knows whether it arrived, so it is not sent again, because that \
                 could be twice"
            );
            Ok(store::set(db, one, State::Uncertain, Some(&why), None).await?)
        }
    }
}

/// A message that arrived must not be forgotten because the database was away for a moment.
async fn write_down(db: &Db, one: &Delivery, sent: &Sent<'_>) -> crate::db::Result<()> {
    for _ in 0..WRITES {
        if store::sent(db, one, sent, clock::now()).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(REST).await;
    }
    store::sent(db, one, sent, clock::now()).await
}

/// A report. Its file is known by its name, so that an upload may be made again.
async fn upload(integrations: &Integrations, one: &Delivery) -> Result<(), Trouble> {
    let db = &integrations.app().db;
    let serving = integrations.serving(one.organization(), Duty::Reports).await?;
    let (connection, served) = serving.ok_or_else(|| Error::Conflict(NO_FOLDER.to_owned()))?;
    let connection = connection.patient();
    connection.ready().await?;
    let folder = served.target["folder"].as_str().filter(|folder| !folder.trim().is_empty());
    let (provider, now) = (connection.kind().key, clock::now());
    let target = folder.unwrap_or_default();
    if !store::about_to(db, one, &one.title, &one.body, target, provider, now).await? {
        return Ok(());
    }
    let name = format!("{} ({}).md", one.title, one.id);
    let file =
        file::File { folder, name: &name, kind: "text/markdown", bytes: one.body.as_bytes() };
    let stored = file::put(&connection, &file).await?;
    let link = stored.link.as_deref();
    let sent = Sent { external_id: &stored.id, link, told_count: 0, next_at: None };
    Ok(store::sent(db, one, &sent, clock::now()).await?)
}
