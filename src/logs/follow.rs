//! Following what is being said. The window itself is what a follower reads from, a step at a
//! time: whoever is slow, or was away for a while, costs no memory and is told exactly how many
//! records it does not get.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    live::Live,
    search::{self, Entry, Query},
    window::{Segment, Window},
};
use crate::{
    clock,
    error::{Error, Result},
};

/// How often it is looked for what is new.
const STEP: Duration = Duration::from_millis(100);

/// Steps whose records may be told at once: logs come in bursts, somebody was away, or the
/// machine had no time.
const MOST_STEPS: usize = 10;

/// Records written this long before the time of a mark of another process are told again: they
/// may not have been read when it was made. Their ids tell who has them.
const OVERLAP: i64 = 5_000_000;

/// How far somebody who follows has come. It may be kept and come back: over a restart of Lux it
/// leads by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    epoch: i64,
    seq: u64,
    /// When it was made, in microseconds since 1970.
    made: i64,
    /// It leads over a restart: what was handed over before that and is read again is told if it
    /// was written from this time on.
    again: Option<i64>,
}

impl Mark {
    pub(super) fn new(epoch: i64, seq: u64) -> Self {
        Self { epoch, seq, made: clock::now().timestamp_micros(), again: None }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.epoch, self.seq, self.made)
    }
}

impl FromStr for Mark {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let mut parts = text.splitn(3, '-');
            Some(Self {
                epoch: i64::from_str_radix(parts.next()?, 16).ok()?,
                seq: u64::from_str_radix(parts.next()?, 16).ok()?,
                made: i64::from_str_radix(parts.next()?, 16).ok()?,
                again: None,
            })
        };
        read().ok_or_else(|| {
            Error::invalid("the mark to go on from is not one of ours; follow without one")
        })
    }
}

/// What was said since a mark.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Oldest first.
    pub records: Vec<Entry>,
    /// How many older ones were wanted, too, and left out.
    pub skipped: u64,
    /// When the first of those was written.
    pub skipped_from: Option<DateTime<Utc>>,
    /// Where to go on.
    pub mark: Mark,
}

pub(super) fn since(
    names: &[String],
    window: &Window,
    epoch: i64,
    mark: &Mark,
    query: &Query,
    most: usize,
) -> Result<Followed> {
    let sources = search::choose(names, &query.sources)?;
    let (seq, from, again) = if mark.epoch == epoch {
        (mark.seq, i64::MIN, mark.again)
    } else {
        let from = mark.made.saturating_sub(OVERLAP);
        (0, from, Some(from))
    };
    // What is written while this looks is left to the next look.
    let next = Mark { again, ..Mark::new(epoch, window.newest()) };
    let segments: Vec<_> =
        sources.into_iter().flat_map(|source| window.since(source, seq)).collect();
    let mut found: Vec<(i64, u64, &Segment, usize)> = Vec::new();
    for segment in &segments {
        let metas = segment.metas.iter().enumerate().rev();
        for (index, meta) in metas.take_while(|(_, meta)| meta.seq > seq) {
            let new = !meta.again || again.is_some_and(|from| meta.at >= from);
            if new && meta.seq <= next.seq && meta.at >= from && query.wants(segment, meta) {
                found.push((meta.at, meta.seq, segment, index));
            }
        }
    }
    // In the order in which they were read, the oldest go.
    found.sort_unstable_by_key(|found| found.1);
    let skipped = found.len().saturating_sub(most);
    let skipped_from = found.iter().take(skipped).map(|found| found.0).min();
    let mut kept = found.split_off(skipped);
    kept.sort_unstable_by_key(|found| (found.0, found.1));
    Ok(Followed {
        records: kept
            .into_iter()
            .filter_map(|(_, _, segment, index)| search::owned(names, segment, index))
            .collect(),
        skipped: skipped as u64,
        skipped_from: skipped_from.and_then(DateTime::from_timestamp_micros),
        mark: next,
    })
}

/// Follows by steps of a tenth of a second.
#[derive(Debug)]
pub struct Follower {
    live: Live,
    query: Query,
    mark: Mark,
    most: usize,
    /// Records that may be told now; what earlier steps left is kept for some time.
    credit: usize,
    steps: Interval,
}

impl Follower {
    /// Follows from `mark` on, with at most `most` records a step on the average, and ten times
    /// as many at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown source.
    pub fn new(live: &Live, query: Query, mark: Mark, most: usize) -> Result<Self> {
        live.check(&query)?;
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { live: live.clone(), query, mark, most, credit: most * MOST_STEPS, steps })
    }

    /// Waits until there is something that is wanted.
    pub async fn next(&mut self) -> Result<Followed> {
        loop {
            self.steps.tick().await;
            let (live, query, mark) = (self.live.clone(), self.query.clone(), self.mark);
            let waited = clock::now().timestamp_micros().saturating_sub(mark.made);
            let step = i64::try_from(STEP.as_micros()).unwrap_or(i64::MAX);
            let steps = usize::try_from(waited / step).unwrap_or(1).clamp(1, MOST_STEPS);
            let most = (self.credit + self.most * steps).min(self.most * MOST_STEPS);
            // Looking takes the processor.
            let look = move || live.said_since(&mark, &query, most);
            let found = tokio::task::spawn_blocking(look).await;
            let found = found.map_err(|error| Error::Internal(error.into()))??;
            self.mark = found.mark;
            self.credit = most - found.records.len().min(most);
            if !found.records.is_empty() || found.skipped > 0 {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn a_mark_comes_back() {
        let mark = Mark::new(7, 123_456);
        assert_eq!(mark.to_string().parse::<Mark>().unwrap(), mark);
        for text in ["", "1-2", "1-2-x", "1-2-3-4", "\u{202e}"] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }
}
