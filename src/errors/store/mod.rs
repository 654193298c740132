//! All SQL of the feature.

pub mod clear;
pub mod events;
pub mod groups;
pub mod index;
pub mod intake;
pub mod open;
pub mod release;
pub mod retain;
pub mod search;
pub mod series;
pub mod storms;
pub mod write;

/// Rows that a filtered list looks at for one page; beyond them the answer has a
/// cursor, and the caller decides whether to look further.
pub(super) const SCAN: i64 = 2000;

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
