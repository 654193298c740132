//! Following a run, step by step.

use std::time::Duration;

use futures_util::{Stream, stream};

use super::store::{
    events::{self, RunEvent},
    runs,
};
use crate::app::App;

/// How often a run is looked at for those who follow it.
const LOOK: Duration = Duration::from_millis(200);

struct Follower {
    app: App,
    run: i64,
    seq: i64,
    waiting: Vec<RunEvent>,
}

/// The steps of a run after the one numbered `seq`, as they happen; ends when the run has
/// settled.
pub fn steps(app: App, run: i64, seq: i64) -> impl Stream<Item = RunEvent> + Send + use<> {
    let follower = Follower { app, run, seq, waiting: Vec::new() };
    stream::unfold(follower, |mut follower| async move {
        let step = follower.next().await?;
        Some((step, follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<RunEvent> {
        loop {
            if let Some(step) = self.waiting.pop() {
                self.seq = step.seq;
                return Some(step);
            }
            // Read before the steps: what is noted after this look is found all the same.
            let run = runs::load(&self.app.db, self.run).await.ok()??;
            self.waiting = events::after(&self.app.db, self.run, self.seq, 200).await.ok()?;
            self.waiting.reverse();
            if !self.waiting.is_empty() {
                continue;
            }
            if run.status.is_settled() {
                return None;
            }
            let shutdown = &self.app.shutdown;
            shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await?;
        }
    }
}
