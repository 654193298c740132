//! What is remembered of a signal's matches: counts, times and a bounded choice of
//! the records themselves.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::family::Family;
use crate::logs::{Kind, Record};

/// Matches kept from the beginning, and from the end.
const FIRST: usize = 40;
const LAST: usize = 12;
/// From this many matches on, fewer are kept.
const STORM: u64 = 100;

/// One record that a signal matched.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// Index into the scan's sources.
    pub source: usize,
    pub line: u64,
    /// The line, or the part of it that matters.
    pub text: Box<str>,
    /// Of a traceback that a logger wrote about: the line that names what was raised.
    pub raised: Option<(u64, Box<str>)>,
    pub at: Option<DateTime<Utc>>,
    pub pid: Option<u32>,
    pub unit: Option<Box<str>>,
    /// "127.0.0.1:8000", "unix:/run/app.sock".
    pub upstream: Option<Box<str>>,
    /// Method and path (with query) of the request in which it happened.
    pub request: Option<(Box<str>, Box<str>)>,
    /// "/srv/app/pricing.py line 12 in price"
    pub frame: Option<Box<str>>,
    pub captures: Vec<(String, String)>,
    /// The record's severity was below what the signal counts as trouble.
    pub weak: bool,
    /// Which program wrote it.
    pub family: Family,
}

/// How many records show a playbook's case, each counted once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Records {
    /// Of each program: what the application and its database both log happened once.
    logs: [u64; Family::COUNT],
    /// Lines of programs in the journal: often the same as in their files.
    journal: u64,
    /// Captured errors: where the logs show it too, they are the same failures.
    events: u64,
}

impl Records {
    pub(crate) fn add(&mut self, record: &Record<'_>, family: Family) {
        let own = matches!(family, Family::Systemd | Family::Kernel);
        match record.kind {
            Kind::Event => self.events += 1,
            Kind::Journal if !own => self.journal += 1,
            _ => self.logs[family as usize] += 1,
        }
    }

    pub(crate) fn merge(&mut self, later: Self) {
        for (own, part) in self.logs.iter_mut().zip(later.logs) {
            *own += part;
        }
        self.journal += later.journal;
        self.events += later.events;
    }

    pub(crate) fn count(self) -> u64 {
        match self.logs.into_iter().fold(self.journal, u64::max) {
            0 => self.events,
            logs => logs,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub count: u64,
    /// How many of them were not weak.
    pub firm: u64,
    pub first: Option<DateTime<Utc>>,
    pub last: Option<DateTime<Utc>>,
    head: Vec<Hit>,
    tail: VecDeque<Hit>,
}

impl Tally {
    /// Counts a match; `hit` is only made where it will be kept.
    pub(crate) fn add(&mut self, at: Option<DateTime<Utc>>, weak: bool, hit: impl FnOnce() -> Hit) {
        self.count += 1;
        self.firm += u64::from(!weak);
        self.spread(at, at);
        if self.is_wanted(at) {
            self.keep(hit());
        }
    }

    /// Of a storm not each record becomes one of the last: one in some seconds does.
    fn is_wanted(&self, at: Option<DateTime<Utc>>) -> bool {
        if self.count <= STORM {
            return true;
        }
        match (at, self.tail.back().and_then(|last| last.at)) {
            (Some(at), Some(last)) => (at - last).abs() >= TimeDelta::seconds(5),
            _ => self.count.is_multiple_of(64),
        }
    }

    fn keep(&mut self, hit: Hit) {
        if self.head.len() < FIRST {
            self.head.push(hit);
        } else {
            if self.tail.len() >= LAST {
                self.tail.pop_front();
            }
            self.tail.push_back(hit);
        }
    }

    fn spread(&mut self, first: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) {
        self.first = [self.first, first].into_iter().flatten().min();
        self.last = self.last.max(last);
    }

    /// Adds what a later part of the logs had.
    pub(crate) fn merge(&mut self, later: Self) {
        self.count += later.count;
        self.firm += later.firm;
        self.spread(later.first, later.last);
        for hit in later.head.into_iter().chain(later.tail) {
            self.keep(hit);
        }
    }

    pub(crate) fn hits(&self) -> impl Iterator<Item = &Hit> {
        self.head.iter().chain(&self.tail)
    }

    pub(crate) fn hits_mut(&mut self) -> impl Iterator<Item = &mut Hit> {
        self.head.iter_mut().chain(&mut self.tail)
    }
}
