//! Segments: groups of contacts, put together by people or by a rule.

mod change;
mod members;
mod rule;
mod span;
mod store;

pub use change::{Change, Wish, add, change, count_out, put, register, remove, take};
pub use rule::{Condition, Op, Rule};
pub use span::{Span, Spans};
pub use store::{Segment, count, find, list, matching};

pub(super) use members::{Member, Rules};
