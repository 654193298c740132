//! What was asked for, how it was answered, and how long that took.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use chrono::DateTime;

use super::{
    collect::Line,
    cut::{Part, Section},
    draft::{Draft, MOVED, NEIGHBOUR, SPANS, Saying},
    excerpt::clip,
};
use crate::diagnose::traffic::{SLOW, is_unasked};

impl Draft<'_> {
    pub(super) fn requests(&mut self) {
        let mut rows: BTreeMap<(&str, &str), Vec<Saying<'_>>> = BTreeMap::new();
        for saying in self.templates() {
            if saying.seen.status.is_some() {
                rows.entry((saying.source, &saying.template.text)).or_default().push(saying);
            }
        }
        if rows.is_empty() {
            return;
        }
        self.timeline(rows.values().flatten());
        // what the proxy logged, the application behind it logs once more
        let outer: HashSet<&str> = rows
            .iter()
            .filter(|(_, row)| row.iter().any(|saying| !saying.seen.inner))
            .map(|((_, path), _)| *path)
            .collect();
        let mut ranked: Vec<(u32, u64, Vec<Part>, Vec<Part>)> = Vec::new();
        for ((source, path), mut row) in rows {
            let inner = row.iter().all(|saying| saying.seen.inner);
            if inner && outer.contains(path) {
                continue;
            }
            row.sort_by_key(|saying| saying.seen.status);
            let count = |from: u16, to: u16| -> u64 {
                let fits = |saying: &&Saying<'_>| {
                    saying.seen.status.is_some_and(|status| (from..to).contains(&status))
                };
                row.iter().filter(fits).map(|saying| saying.template.count).sum()
            };
            let (failed, refused) = (count(500, 600), count(400, 500));
            let slow = row.iter().any(|saying| {
                saying.seen.slowest.as_ref().is_some_and(|(seconds, _)| *seconds >= SLOW)
            });
            let unasked = is_unasked(&path.replace(" /", "/"));
            let (level, harm) = match (failed, slow, refused) {
                (1.., ..) => (0, failed),
                (_, true, _) => (1, count(0, u16::MAX)),
                (_, _, 1..) if !unasked => (2, refused),
                _ => (3, count(0, u16::MAX)),
            };
            let (full, short) = self.row(source, path, &row);
            ranked.push((level, harm, full, short));
        }
        ranked.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        for (index, (level, _, full, short)) in ranked.into_iter().take(80).enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let rank = match level {
                0..=2 if index < 6 => 25 + number,
                0..=2 => 52 + number,
                _ => 80 + number,
            };
            self.add(Section::Requests, rank, full, Some(short));
        }
    }

    /// One path: its statuses, seconds, and a failing and a slow request.
    fn row(&mut self, source: &str, path: &str, row: &[Saying<'_>]) -> (Vec<Part>, Vec<Part>) {
        let mut text = format!("{} in {source}:", path.replace(" /", "/").replacen('/', " /", 1));
        let mut records: Vec<(Arc<Line>, String)> = Vec::new();
        for saying in row {
            let (template, seen) = (saying.template, saying.seen);
            let status = seen.status.unwrap_or_default();
            let span = self.span(Some(template.first_seen), Some(template.last_seen));
            let _ = write!(text, " {status} ×{} ({span})", template.count);
            if let Some(drift) = template.drifts.first() {
                let _ = write!(text, " seconds {}", Self::numbers(drift));
                if let Some(step) = seen.durations.step()
                    && step.after / step.before.max(0.001) >= MOVED
                {
                    let _ =
                        write!(text, ", from {:.3} to {:.3} on average", step.before, step.after);
                }
            }
            text.push(',');
            if status >= 400 {
                records.push((Arc::clone(&seen.first.of), String::new()));
                if let Some(last) = &seen.last {
                    records.push((Arc::clone(&last.of), " (last)".to_owned()));
                }
            }
            if let Some((seconds, line)) = &seen.slowest
                && *seconds >= SLOW
            {
                records.push((Arc::clone(line), format!(" (slowest, {seconds:.3} s)")));
            }
        }
        text.pop();
        let text = Part::Text(clip(&self.say(&text), &[], 600));
        let (mut full, mut short) = (vec![text.clone()], vec![text]);
        for (index, (line, note)) in records.iter().take(4).enumerate() {
            full.push(self.record(line, note, NEIGHBOUR));
            if index == 0 {
                short.push(self.record(line, note, 140));
            }
        }
        (full, short)
    }

    /// How many requests there were over time, and what share of them failed.
    fn timeline<'s>(&mut self, requests: impl Iterator<Item = &'s Saying<'s>>) {
        let mut minutes: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        let (mut all, mut failed) = (0, 0);
        for saying in requests.filter(|saying| !saying.seen.inner) {
            let is_failure = saying.seen.status.is_some_and(|status| status >= 500);
            all += saying.template.count;
            failed += if is_failure { saying.template.count } else { 0 };
            for (minute, count) in &saying.template.minutes {
                let sum = minutes.entry(*minute).or_default();
                sum.0 += u64::from(*count);
                sum.1 += if is_failure { u64::from(*count) } else { 0 };
            }
        }
        if all == 0 {
            return;
        }
        let minutes: Vec<(i64, (u64, u64))> = minutes.into_iter().collect();
        let width = minutes.len().div_ceil(SPANS).max(1);
        let spans = minutes.chunks(width).filter_map(|chunk| {
            let at = DateTime::from_timestamp(chunk.first()?.0 * 60, 0)?;
            let (all, failed) =
                chunk.iter().fold((0, 0), |sum, (_, counts)| (sum.0 + counts.0, sum.1 + counts.1));
            Some(format!("{} {all} ({})", at.format("%H:%M"), share(failed, all)))
        });
        let text = format!(
            "all: {all} requests, {} answered 5xx; by time (share of 5xx): {}",
            share(failed, all),
            spans.collect::<Vec<_>>().join(", ")
        );
        self.add(Section::Requests, 24, vec![Part::Text(text)], None);
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn share(part: u64, all: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / all.max(1) as f64)
}
