//! How much an application may send: a bucket of a minute's events for each, which fills
//! steadily. Kept in this process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::clock;

/// Events that an application may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub events_per_minute: u32,
}

/// The quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// When the events would be taken; at least a second, as SDKs count in whole ones.
    pub retry_after: Duration,
    /// Events a minute.
    pub limit: u32,
}

/// Applications that are counted at once; they are known ones, so this is never reached by
/// guessing.
const MAX: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<HashMap<i64, Bucket>>);

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, quota: Quota, now: Instant) {
        let full = f64::from(quota.events_per_minute);
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * full / 60.0).min(full);
        self.at = now;
    }
}

impl Buckets {
    pub(super) fn take(&self, app: i64, quota: Quota, events: u32) -> Result<(), OverQuota> {
        self.take_at(app, quota, events, clock::instant())
    }

    fn take_at(&self, app: i64, quota: Quota, events: u32, now: Instant) -> Result<(), OverQuota> {
        let limit = quota.events_per_minute.max(1);
        let quota = Quota { events_per_minute: limit };
        // More at once than a minute allows would never be taken.
        let wanted = f64::from(events.min(limit));
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX && !buckets.contains_key(&app) {
            // Who was silent for a minute has a full bucket again anyway.
            buckets.retain(|_, bucket| {
                now.saturating_duration_since(bucket.at) < Duration::from_mins(1)
            });
        }
        let full = Bucket { left: f64::from(limit), at: now };
        let bucket = buckets.entry(app).or_insert(full);
        bucket.fill(quota, now);
        if bucket.left >= wanted {
            bucket.left -= wanted;
            return Ok(());
        }
        let wait = (wanted - bucket.left) * 60.0 / f64::from(limit);
        let retry_after = Duration::from_secs_f64(wait.ceil().clamp(1.0, 60.0));
        Err(OverQuota { retry_after, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_steadily() {
        let (buckets, start) = (Buckets::default(), clock::instant());
        let quota = Quota { events_per_minute: 6 };
        let take = |app, events, seconds| {
            buckets.take_at(app, quota, events, start + Duration::from_secs(seconds))
        };
        assert_eq!(take(1, 4, 0), Ok(()));
        assert_eq!(take(1, 2, 0), Ok(()));
        let over = |seconds| Err(OverQuota { retry_after: Duration::from_secs(seconds), limit: 6 });
        assert_eq!(take(1, 1, 0), over(10));
        assert_eq!(take(1, 2, 0), over(20));
        // Another application has its own; a refusal costs nothing.
        assert_eq!(take(2, 6, 0), Ok(()));
        assert_eq!(take(1, 1, 9), over(1));
        assert_eq!(take(1, 1, 10), Ok(()));
        assert_eq!(take(1, 1, 10), over(10));
        // Never more than a minute's worth, and that always, however much comes at once.
        assert_eq!(take(1, 1000, 1000), Ok(()));
        assert_eq!(take(1, 1, 1000), over(10));
    }
}
