//! What is said how often: the window's records, mined for templates.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    record::{Kind, Record, Severity},
    template::{self, Miner},
};
use crate::clock;

/// Minutes that are told of one template, the latest.
const MINUTES: usize = 60;

/// A saying of one source, how often it was said, and how its numbers moved.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Template {
    /// Equal after a restart for equal lines.
    pub id: String,
    pub source: String,
    pub kind: Kind,
    pub severity: Severity,
    /// Logger, identifier or unit; empty where the records name none.
    pub component: String,
    /// What varies is masked; `<*>` stands where lines of one template differ.
    pub template: String,
    pub count: u64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// Records in each minute that had some, the latest hour of them.
    pub minutes: Vec<Minute>,
    /// The first, the latest, and one in between.
    pub samples: Vec<String>,
    /// Its first numbers over time, where they moved.
    pub drifts: Vec<Drift>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Minute {
    pub at: DateTime<Utc>,
    pub count: u32,
}

/// One number of a template: smallest, median and greatest in each span of time.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Drift {
    /// The last median as a multiple of the first.
    pub factor: f64,
    pub spans: Vec<Span>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Span {
    pub from: DateTime<Utc>,
    pub count: u64,
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

/// Counts templates of several sources.
#[derive(Debug, Default)]
pub(super) struct Counter(Miner);

impl Counter {
    pub(super) fn add(&mut self, source: &str, record: &Record<'_>) {
        self.0.add(source, record, clock::now());
    }

    /// The most frequent ones.
    pub(super) fn finish(self, most: usize) -> Vec<Template> {
        let mut templates: Vec<Template> = self
            .0
            .sources()
            .flat_map(|source| self.0.templates(source).map(|found| told(source, found)))
            .collect();
        templates.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(&b.template)));
        templates.truncate(most);
        templates
    }
}

fn told(source: &str, found: &template::Template) -> Template {
    let minute = |&(at, count): &(i64, u32)| {
        DateTime::from_timestamp(at * 60, 0).map(|at| Minute { at, count })
    };
    let mut samples: Vec<String> =
        found.samples.iter().filter(|sample| !sample.is_empty()).cloned().collect();
    samples.dedup();
    Template {
        id: format!("{:016x}", found.id),
        source: source.to_owned(),
        kind: found.kind,
        severity: found.severity,
        component: found.component.clone(),
        template: found.text.clone(),
        count: found.count,
        first_seen: found.first_seen,
        last_seen: found.last_seen,
        minutes: found.minutes.iter().rev().take(MINUTES).rev().filter_map(minute).collect(),
        samples,
        drifts: found.drifts.iter().filter_map(moved).collect(),
    }
}

/// A number that stays as it is says nothing.
fn moved(drift: &template::Drift) -> Option<Drift> {
    let factor = drift.factor()?;
    let spans = drift.buckets().iter().map(|bucket| Span {
        from: bucket.from,
        count: bucket.count,
        min: bucket.min,
        median: bucket.median(),
        max: bucket.max,
    });
    Some(Drift { factor, spans: spans.collect() })
}
