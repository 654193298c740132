//! Groups that are ignored until a time are told of again when it has come.

use std::time::Duration;

use super::store::changes;
use crate::{app::App, clock};

/// How often is looked; a group may be told of so much later.
const EVERY: Duration = Duration::from_secs(10);

/// Looks until the shutdown. Every replica does: who is first opens the group.
pub fn start(app: &App) {
    let app = app.clone();
    app.tasks.clone().spawn(async move {
        let shutdown = app.shutdown.clone();
        shutdown.run_until_cancelled(look(&app)).await;
    });
}

async fn look(app: &App) {
    let mut failing = false;
    loop {
        match changes::unmute(&app.db, clock::now()).await {
            Ok(count) => {
                failing = false;
                if count > 0 {
                    tracing::info!(count, "errors are not ignored any longer");
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "errors that were ignored for a time stay so");
                }
                failing = true;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
