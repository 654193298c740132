//! Before the database answers: Lux listens, says so to whoever asks, and goes on once it is there.

use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Door, open_database};
use crate::{
    clock,
    config::Config,
    db::{self, Db},
    web,
};

/// The pause before the first and before any later try.
const PAUSE: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(5);

/// How often the log tells of it.
const TELL: Duration = Duration::from_mins(1);

/// How long answers under way may take to end once the database is there.
const LEAVE: Duration = Duration::from_secs(5);

/// Whether the database may come by itself. What somebody has to mend first (a password that is
/// refused, a database that nobody made, a migration that fails) is no reason to wait.
pub(super) fn is_worth_it(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<db::Error>());
    causes.any(db::is_unreachable)
}

/// Tries until the database opens; `None` if Lux is told to stop before.
///
/// # Errors
/// The database answers, and refuses.
pub(super) async fn until_there(
    config: &Config,
    door: &Door,
    error: anyhow::Error,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Db>> {
    let https = config.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    let tasks = TaskTracker::new();
    let trying = shutdown.run_until_cancelled(Box::pin(retry(config, error)));
    let (opened, open) = door.answer(&web::waiting(https), &tasks, trying).await;
    leave(open).await;
    let db = opened.transpose()?;
    if db.is_some() {
        tracing::info!("the database is there");
    }
    Ok(db)
}

async fn retry(config: &Config, mut error: anyhow::Error) -> anyhow::Result<Db> {
    let mut pause = PAUSE;
    let mut told = None;
    loop {
        if told.is_none_or(|at: std::time::Instant| at.elapsed() > TELL) {
            told = Some(clock::instant());
            tracing::warn!("{error:#}; until it answers Lux waits, and tries again by itself");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MOST);
        match open_database(config).await {
            Err(again) if is_worth_it(&again) => error = again,
            opened => return opened,
        }
    }
}

/// Whoever was told to wait asks again on a connection of their own.
async fn leave(open: GracefulShutdown) {
    if tokio::time::timeout(LEAVE, open.shutdown()).await.is_err() {
        tracing::debug!("a connection of before the database was there is still open");
    }
}
