//! At most so many mails a minute, evenly.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::clock;

/// How far behind its pace a sender may catch up: the grain of timers, no burst.
const BEHIND: Duration = Duration::from_millis(100);

/// Hands out turns.
pub(super) struct Pace {
    gap: Option<Duration>,
    next: Mutex<Instant>,
}

impl Pace {
    /// 0: no bound.
    pub(super) fn per_minute(mails: u32) -> Self {
        let gap = (mails > 0).then(|| Duration::from_mins(1) / mails);
        Self { gap, next: Mutex::new(clock::instant()) }
    }

    /// Ends when it is the caller's turn.
    pub(super) async fn turn(&self) {
        let Some(gap) = self.gap else { return };
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock::instant();
            let at = (*next).max(now.checked_sub(BEHIND).unwrap_or(now));
            *next = at + gap;
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }
}
