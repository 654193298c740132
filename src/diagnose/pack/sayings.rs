//! What is said how often, and what stood beside it.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    collect::Line,
    cut::{Part, Section},
    draft::{Draft, NEIGHBOUR, RECORD, SHORT, Saying, is_moved},
    excerpt::clip,
};
use crate::logs::Severity;

/// Sayings told at most.
const SAYINGS: usize = 120;
/// Bytes of a record that only stood beside another.
const BESIDE: usize = 160;

impl Draft<'_> {
    pub(super) fn sayings(&mut self) {
        let mut ranked: Vec<(u32, u64, Saying<'_>)> = self
            .templates()
            .into_iter()
            .filter(|saying| saying.seen.status.is_none())
            .map(|saying| (self.weight(&saying), saying.template.count, saying))
            .collect();
        ranked.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        // the journal repeats what programs write to their files
        let mut told: HashMap<String, usize> = HashMap::new();
        let mut counts = [0_u32; 3];
        for (weight, _, saying) in ranked.into_iter().take(SAYINGS) {
            let text = saying.template.text.clone();
            if saying.template.severity < Severity::Error && told.contains_key(&text) {
                continue;
            }
            *told.entry(text).or_default() += 1;
            let class = match weight {
                0..10 => 0,
                10..20 => 1,
                _ => 2,
            };
            let number = counts[class];
            counts[class] += 1;
            let rank = match (class, number) {
                (0, 0..5) => 15 + number,
                (0, _) => 30 + number,
                (1, _) => 40 + number,
                _ => 64 + number,
            };
            self.saying(&saying, rank);
        }
    }

    /// Errors first, then what is near the beginning of trouble or moved, then the rest.
    fn weight(&self, saying: &Saying<'_>) -> u32 {
        let template = saying.template;
        let near = |at: DateTime<Utc>| {
            self.onsets.iter().map(|onset| (at - *onset).num_seconds().abs()).min()
        };
        let key = (Arc::clone(&saying.seen.first.of.source), saying.seen.first.of.number);
        let quoted = self.quoted.contains_key(&key);
        let moved = template.drifts.iter().any(is_moved);
        match template.severity {
            Severity::Critical => 0,
            Severity::Error => 1 + u32::from(!quoted),
            Severity::Warning => 10 + u32::from(!quoted),
            _ => {
                // within ten seconds of a beginning, within two minutes, else
                let distance = near(template.first_seen)
                    .into_iter()
                    .chain(near(template.last_seen))
                    .min()
                    .unwrap_or(i64::MAX);
                let distance = match distance {
                    0..=10 => 0,
                    11..=120 => 2,
                    _ => 5,
                };
                let often = if template.count <= 3 { 0 } else { 2 };
                20 + distance + if moved { 0 } else { often + 1 }
            }
        }
    }

    fn saying(&mut self, saying: &Saying<'_>, rank: u32) {
        let (template, seen) = (saying.template, saying.seen);
        let mut note = format!(" {}", template.severity);
        if template.count > 1 {
            let _ = write!(note, " ×{} until {}", template.count, self.clock(template.last_seen));
        }
        if !template.component.is_empty() {
            let component = self.say(&template.component);
            let _ = write!(note, " {}", clip(&component, &[], 60));
        }
        let is_trouble = template.severity >= Severity::Warning;
        let most = if is_trouble { RECORD } else { NEIGHBOUR };
        let mut full = vec![self.record(&seen.first.of, &note, most)];
        let short = vec![self.record(&seen.first.of, &note, SHORT.min(most))];
        if seen.upstreams.len() > 1 {
            let counts = seen
                .upstreams
                .iter()
                .map(|(asked, count)| format!("upstream: \"{asked}\" ×{count}"));
            let counts = counts.collect::<Vec<_>>().join(", ");
            let counts = self.say(&format!("    {counts}"));
            full.push(Part::Text(clip(&counts, &[], 500)));
        }
        for (index, drift) in template.drifts.iter().enumerate().filter(|(_, d)| is_moved(d)) {
            let numbers = Self::numbers(drift);
            full.push(Part::Text(format!("    number {} by time: {numbers}", index + 1)));
        }
        self.add(Section::Sayings, rank, full, Some(short));
        if is_trouble {
            if !self.scenes.iter().any(|known| Arc::ptr_eq(&known.of, &seen.first.of)) {
                self.scenes.push(seen.first.clone());
            }
            if let Some(last) = &seen.last {
                let part = self.record(&last.of, " (last)", SHORT);
                self.add(Section::Sayings, rank.max(46) + 2, vec![part], None);
            }
        }
    }

    pub(super) fn around(&mut self) {
        let mut told: HashSet<(Arc<str>, u64)> = HashSet::new();
        for (index, scene) in std::mem::take(&mut self.scenes).into_iter().take(60).enumerate() {
            let mut lines: Vec<Arc<Line>> =
                scene.before.iter().chain([&scene.of]).chain(&scene.after).cloned().collect();
            if let Some(request) = &scene.request {
                let same = self.collected.of_request(request);
                lines.extend(same.iter().filter(|line| line.number != scene.of.number).cloned());
            }
            let is_new = |line: &Arc<Line>| {
                !told.contains(&(Arc::clone(&line.source), line.number))
                    && !Arc::ptr_eq(line, &scene.of)
            };
            if !lines.iter().any(is_new) {
                continue;
            }
            lines.sort_by_key(|line| line.number);
            lines.dedup_by_key(|line| line.number);
            let mut full = Vec::new();
            if let Some(request) = &scene.request {
                let request = self.say(request);
                full.push(Part::Text(format!("request {}:", clip(&request, &[], 80))));
            }
            for line in &lines {
                told.insert((Arc::clone(&line.source), line.number));
                full.push(self.record(line, "", BESIDE));
            }
            full.push(Part::Text("--".to_owned()));
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let rank = if index < 4 { 36 + number } else { 66 + number };
            self.add(Section::Around, rank, full, None);
        }
    }
}
