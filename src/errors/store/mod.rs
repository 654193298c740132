//! All SQL of the feature.

use chrono::{DateTime, SubsecRound, Utc};

pub mod changes;
pub mod clear;
mod counting;
pub mod events;
pub mod groups;
pub mod index;
pub mod intake;
pub mod known;
pub mod met;
pub mod moving;
pub mod open;
mod regroup;
pub mod release;
pub mod releases;
pub mod report;
pub mod retain;
mod rows;
pub mod search;
pub mod series;
pub mod storms;
pub mod write;

/// Rows that a filtered list looks at for one page; beyond them the answer has a
/// cursor, and the caller decides whether to look further.
pub(super) const SCAN: i64 = 2000;

/// What groups are ordered by in time (`seen_at`): a column that changes with every event
/// would have its indexes written with every event.
pub(super) fn second(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(0)
}

/// What groups are ordered by in number (`weight`): the count's class, 8 for each doubling.
/// Counts up to 16 have one each.
pub(super) fn weight(count: i64) -> i64 {
    let count = count.max(1).cast_unsigned();
    let doublings = u64::from(count.ilog2());
    let eighths =
        if doublings >= 3 { count >> (doublings - 3) } else { count << (3 - doublings) } & 7;
    (doublings * 8 + eighths).cast_signed()
}

/// A text to be found anywhere, as a `like` pattern with `\` as its escape.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn weights_rise_with_the_count() {
        let classes: Vec<i64> = (1..=16).map(weight).collect();
        assert!(classes.is_sorted_by(|a, b| a < b), "{classes:?}");
        assert!((1..100_000).map(weight).is_sorted());
        // A class is at most an eighth wide.
        assert_eq!(weight(1024), weight(1151));
        assert!(weight(1024) < weight(1152));
        assert_eq!(weight(0), weight(1));
        assert!(weight(i64::MAX) > weight(i64::MAX / 2));
    }
}
