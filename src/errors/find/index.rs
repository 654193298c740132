//! The indexer: follows the writer, in small transactions and with pauses between them, so
//! that storing goes first.

use std::time::Duration;

use crate::{app::App, clock, errors::store::index};

/// How often is looked for new events, …
const EVERY: Duration = Duration::from_secs(1);
/// … and for such as came late, in looks.
const LATE_EVERY: u32 = 15;
/// A transaction is followed by a pause of so many times its length.
const REST: u32 = 2;

/// Indexes until the shutdown. Every replica tries; a lock in the database lets one at a time.
pub fn start(app: &App) {
    let app = app.clone();
    app.tasks.clone().spawn(async move {
        let shutdown = app.shutdown.clone();
        shutdown.run_until_cancelled(follow(&app)).await;
    });
}

async fn follow(app: &App) {
    let (mut looks, mut failing) = (0_u32, false);
    loop {
        let began = clock::instant();
        looks = looks.wrapping_add(1);
        let done = match index::step(&app.db, clock::now()).await {
            Ok(0) if looks % LATE_EVERY == 0 => index::late(&app.db).await,
            done => done,
        };
        let pause = match done {
            Ok(0) => EVERY,
            Ok(count) => {
                metrics::counter!("lux_events_indexed_total").increment(count as u64);
                (began.elapsed() * REST).min(EVERY)
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "events cannot be indexed; searches look at them one by one");
                }
                failing = true;
                tokio::time::sleep(EVERY * 5).await;
                continue;
            }
        };
        failing = false;
        tokio::time::sleep(pause).await;
    }
}
