//! The chain of the audit log: each entry is hashed together with the hash of the one before,
//! so whoever changes one has to change all that follow, and the last hash, which Lux also
//! writes to its own log, gives that away.

use std::fmt::Write;

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// What is hashed of an entry. `at` in whole microseconds, which is what databases keep.
pub(super) struct Link<'a> {
    pub(super) organization: i64,
    pub(super) number: i64,
    pub(super) at: DateTime<Utc>,
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    pub(super) address: Option<&'a str>,
    pub(super) detail: &'a Value,
}

impl Link<'_> {
    /// SHA-256, as hex, over the hash before (empty for the first entry) and all fields, each
    /// behind its length.
    pub(super) fn hash(&self, before: &str) -> String {
        let mut context = Context::new(&SHA256);
        let mut take = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        take(b"lux audit 1");
        take(before.as_bytes());
        take(&self.organization.to_be_bytes());
        take(&self.number.to_be_bytes());
        take(&self.at.timestamp_micros().to_be_bytes());
        take(self.actor.as_bytes());
        take(self.action.as_bytes());
        take(self.subject.as_bytes());
        match self.address {
            Some(address) => take(address.as_bytes()),
            None => take(b"-"),
        }
        take(sorted(self.detail).as_bytes());
        let mut text = String::with_capacity(64);
        for byte in context.finish().as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// JSON with the keys of each object in order, and numbers in one spelling: PostgreSQL gives
/// both back in its own.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            let fields = keys.into_iter().filter_map(|key| {
                Some(format!("{}:{}", Value::from(key.as_str()), sorted(fields.get(key)?)))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(","))
        }
        Value::Number(number) => match number.as_f64() {
            // -0.0 comes back as 0.0.
            Some(float) if number.is_f64() && float.fract() == 0.0 => format!("{:.0}", float + 0.0),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::Link;

    #[test]
    fn everything_counts_and_the_order_of_keys_does_not() {
        let detail = json!({ "b": [1, { "y": null, "x": 1.5 }], "a": "text" });
        let other = json!({ "a": "text", "b": [1, { "x": 1.5, "y": null }] });
        let empty = json!({});
        let link = |number, actor, subject, address, detail| Link {
            organization: 1,
            number,
            at: DateTime::UNIX_EPOCH,
            actor,
            action: "errors.clear",
            subject,
            address,
            detail,
        };
        let hash = link(1, "anna", "group 7", None, &detail).hash("");
        assert_eq!(hash.len(), 64);
        assert_eq!(link(1, "anna", "group 7", None, &other).hash(""), hash);
        for (another, before) in [
            (link(2, "anna", "group 7", None, &detail), ""),
            (link(1, "ben", "group 7", None, &detail), ""),
            (link(1, "anna", "group 8", None, &detail), ""),
            (link(1, "anna", "group 7", Some("::1"), &detail), ""),
            (link(1, "anna", "group 7", None, &empty), ""),
            (link(1, "anna", "group 7", None, &detail), "00"),
            // What moves from one field to the next is another entry.
            (link(1, "annagroup", " 7", None, &detail), ""),
        ] {
            assert_ne!(another.hash(before), hash);
        }
        let elsewhere = Link { organization: 2, ..link(1, "anna", "group 7", None, &detail) };
        assert_ne!(elsewhere.hash(""), hash);
    }
}
