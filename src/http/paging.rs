//! Lists: a capped `limit` and an opaque `cursor`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// The longest page of any list.
pub const MAX_LIMIT: i64 = 200;

/// The number of items to answer with: what was asked for, within 1 and [`MAX_LIMIT`].
pub fn limit(asked: Option<i64>, default: i64) -> i64 {
    asked.unwrap_or(default).clamp(1, MAX_LIMIT)
}

/// Wraps the position after the last item of a page.
pub fn cursor<T: Serialize>(position: &T) -> Result<String> {
    let json = serde_json::to_vec(position).map_err(|error| Error::Internal(error.into()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// The cursor after a page that is full: there may be more behind it.
pub fn after<I, T: Serialize>(
    page: &[I],
    limit: i64,
    position: impl FnOnce(&I) -> T,
) -> Result<Option<String>> {
    let is_full = i64::try_from(page.len()).is_ok_and(|items| items >= limit);
    page.last().filter(|_| is_full).map(|last| cursor(&position(last))).transpose()
}

/// Unwraps what [`cursor`] made.
pub fn position<T: DeserializeOwned>(cursor: &str) -> Result<T> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| Error::invalid("the cursor is not one of ours; start without a cursor"))
}
