//! How the numbers in a repeated line move: "report built in 0.4 s" that becomes 9 s.

use chrono::{DateTime, TimeDelta, Utc};

/// Buckets of one number; when there are more, they are made twice as long.
const BUCKETS: usize = 16;
/// Values of a bucket that are kept for its median.
const KEPT: usize = 7;

/// One number of a template over time.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    width: i64,
    buckets: Vec<Bucket>,
}

/// What a number was during some time.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub from: DateTime<Utc>,
    pub count: u64,
    pub min: f64,
    pub max: f64,
    kept: Vec<f64>,
}

impl Bucket {
    /// The median of some of the values.
    pub fn median(&self) -> f64 {
        let mut kept = self.kept.clone();
        kept.sort_by(f64::total_cmp);
        kept.get(kept.len() / 2).copied().unwrap_or(self.min)
    }

    fn add(&mut self, value: f64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if self.kept.len() < KEPT {
            self.kept.push(value);
        } else if self.count.is_power_of_two() || self.count.is_multiple_of(5) {
            // later values replace earlier ones, ever in turn
            let at = usize::try_from(self.count / 5 % KEPT as u64).unwrap_or_default();
            self.kept[at] = value;
        }
        self.count += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let step = if self.kept.len() + other.kept.len() > KEPT { 2 } else { 1 };
        self.kept = self.kept.iter().chain(&other.kept).copied().step_by(step).collect();
    }
}

impl Drift {
    /// The buckets, oldest first.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The last median as a multiple of the first; `None` while there is one bucket
    /// or the first is zero.
    pub fn factor(&self) -> Option<f64> {
        let (first, last) = (self.buckets.first()?.median(), self.buckets.last()?.median());
        (self.buckets.len() > 1 && first != 0.0).then_some(last / first)
    }

    pub(super) fn add(&mut self, at: DateTime<Utc>, value: f64) {
        if self.width == 0 {
            self.width = 60;
        }
        let from = self.start(at);
        // clocks jump: what is out of order goes to the bucket before it
        let place = self.buckets.partition_point(|bucket| bucket.from <= from);
        match place.checked_sub(1) {
            Some(before) if self.buckets[before].from == from => self.buckets[before].add(value),
            _ => {
                let kept = Vec::with_capacity(1);
                let mut bucket = Bucket { from, count: 0, min: value, max: value, kept };
                bucket.add(value);
                self.buckets.insert(place, bucket);
            }
        }
        while self.buckets.len() > BUCKETS {
            self.widen();
        }
    }

    fn start(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at - TimeDelta::seconds(at.timestamp().rem_euclid(self.width))
            - TimeDelta::nanoseconds(i64::from(at.timestamp_subsec_nanos()))
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2).min(i64::from(u32::MAX));
        let mut merged: Vec<Bucket> = Vec::with_capacity(BUCKETS);
        for mut bucket in std::mem::take(&mut self.buckets) {
            bucket.from = self.start(bucket.from);
            match merged.last_mut() {
                // at the widest, the oldest must make room
                Some(last) if last.from == bucket.from => last.merge(&bucket),
                _ => merged.push(bucket),
            }
        }
        if merged.len() > BUCKETS && self.width >= i64::from(u32::MAX) {
            merged.remove(0);
        }
        self.buckets = merged;
    }
}
