//! Bringing the times of different logs together.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::Scan;
use crate::logs::Kind;

/// Logs that name no zone may have been written in another zone than assumed: if a
/// log does not overlap those that name theirs, but would by whole half-hours, its
/// times are moved.
pub(crate) fn align(scan: &mut Scan, notes: &mut Vec<String>) {
    let zoned = |kind: Kind| {
        matches!(kind, Kind::NginxAccess | Kind::Journal | Kind::Gunicorn | Kind::Postgres)
    };
    let known: Vec<_> = scan.sources.iter().filter(|source| zoned(source.kind)).collect();
    let from = known.iter().filter_map(|source| source.first).min();
    let until = known.iter().filter_map(|source| source.last).max();
    let (Some(from), Some(until)) = (from, until) else { return };
    let mut moves: HashMap<usize, TimeDelta> = HashMap::new();
    for (index, source) in scan.sources.iter().enumerate() {
        let (Some(first), Some(last)) = (source.first, source.last) else { continue };
        if zoned(source.kind) || (first <= until && last >= from) {
            continue;
        }
        let slack = TimeDelta::minutes(2);
        let fits = (-28..=28)
            .map(|half_hours| TimeDelta::minutes(30 * half_hours))
            .filter(|&by| first + by >= from - slack && last + by <= until + slack)
            .min_by_key(|by| by.num_minutes().abs());
        if let Some(by) = fits {
            notes.push(format!(
                "{} is {} minutes off the logs that name their time zone; its times were moved.",
                source.name,
                by.num_minutes()
            ));
            moves.insert(index, by);
        }
    }
    if moves.is_empty() {
        return;
    }
    for tally in &mut scan.tallies {
        let mut by_any = None;
        for hit in tally.hits_mut() {
            if let (Some(by), Some(at)) = (moves.get(&hit.source), hit.at) {
                hit.at = Some(at + *by);
                by_any = Some(*by);
            }
        }
        if let Some(by) = by_any {
            tally.first = tally.first.map(|at| at + by);
            tally.last = tally.last.map(|at| at + by);
        }
    }
}
