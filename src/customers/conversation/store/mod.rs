//! The statements of conversations and their messages.

mod log;
mod read;
mod write;

use chrono::{DateTime, Utc};

use crate::{error, http::paging};

pub(super) use log::{LogRow, LookedFor, log, log_of_customer};
pub(super) use read::{
    MessageRow, Owed, answer_after, find, is_open, messages, owed, page, sessions,
};
pub(super) use write::{
    Held, NewMessage, add, conversations_of, has_person, hold, hold_customer, hold_open, insert,
    last, set_status, set_subject, written_since,
};

/// Of a conversation or message in its list: when, and which of that moment.
pub(super) type Position = (DateTime<Utc>, i64);

/// Above all that there is: further ahead than any clock.
pub(super) fn top() -> Position {
    (DateTime::from_timestamp(32_503_680_000, 0).unwrap_or_default(), i64::MAX)
}

/// A moment within what both databases can compare; one outside of it was made up.
pub(super) fn within(at: DateTime<Utc>) -> DateTime<Utc> {
    at.clamp(DateTime::UNIX_EPOCH, top().0)
}

/// The position in a cursor.
pub(super) fn position(cursor: &str) -> error::Result<Position> {
    let (at, id): Position = paging::position(cursor)?;
    Ok((within(at), id))
}
