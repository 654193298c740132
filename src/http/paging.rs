//! Lists: a capped `limit` and an opaque `cursor`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{Error, Result};

/// The longest page of any list.
pub const MAX_LIMIT: i64 = 200;

/// PostgreSQL's times begin in this year, as ISO 8601 counts (4714 BC).
const OLDEST: i32 = -4713;

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
        .filter(is_of_rows)
        .and_then(|position| serde_json::from_value(position).ok())
        .ok_or_else(|| Error::invalid("the cursor is not one of ours; start without a cursor"))
}

/// Whether rows could hold every text and time in it: PostgreSQL refuses a statement with others.
fn is_of_rows(position: &Value) -> bool {
    match position {
        Value::String(text) => {
            let time = text.parse::<DateTime<Utc>>();
            !text.contains('\0') && time.map_or(true, |time| time.year() > OLDEST)
        }
        Value::Array(items) => items.iter().all(is_of_rows),
        Value::Object(fields) => fields.values().all(is_of_rows),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{cursor, position};

    #[test]
    fn positions_are_of_rows() {
        let given = |given: Value| position::<Value>(&cursor(&given).unwrap());
        for good in [
            json!(["1969-07-20T20:17:40.000001Z", 7]),
            json!({ "at": "-0044-03-15T00:00:00Z", "name": "Zoë 1:2", "id": i64::MAX, "no": null }),
        ] {
            assert_eq!(given(good.clone()).unwrap(), good);
        }
        for bad in [
            json!(["-262143-01-01T00:00:00Z", 7]),
            json!({ "at": "-4713-11-24T00:00:00Z" }),
            json!({ "of": [{ "name": "a\0b" }] }),
        ] {
            let said = given(bad.clone()).unwrap_err().to_string();
            assert!(said.contains("not one of ours"), "{bad}: {said}");
        }
        assert!(position::<i64>("not base64 at all!").is_err());
        assert!(position::<i64>(&cursor(&"seven").unwrap()).is_err());
    }
}
