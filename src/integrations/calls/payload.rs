//! A call as HighLevel tells of it, read leniently: what is odd or missing is left out, and costs
//! no other call.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    auth::secret,
    contacts::{Email, e164},
    redact,
};

/// The longest texts, in bytes.
pub(super) const MAX_SUMMARY: usize = 4 << 10;
pub(super) const MAX_TRANSCRIPT: usize = 64 << 10;
const MAX_EXTRACTED: usize = 8 << 10;
/// What is kept of what was done, and of what was gathered.
const MAX_ACTIONS: usize = 20;
const MAX_FIELDS: usize = 50;
/// The longest that is believed: a day.
pub(super) const MAX_SECONDS: f64 = 86_400.0;

/// A call that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) id: String,
    pub(super) contact: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) number: String,
    pub(super) email: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) seconds: i64,
    pub(super) is_trial: bool,
    pub(super) summary: String,
    pub(super) transcript: String,
    /// JSON, as they are stored.
    pub(super) actions: String,
    pub(super) extracted: String,
    pub(super) hash: String,
}

/// Reads a call; `None` for what has no id or no time.
pub(super) fn read(call: &Value) -> Option<Heard> {
    let id = name(&call["id"])?;
    let started_at = DateTime::parse_from_rfc3339(call["createdAt"].as_str()?).ok()?.to_utc();
    let given = call["fromNumber"].as_str().unwrap_or_default().trim();
    let number = e164(given, None).unwrap_or_else(|| bounded(given, 40));
    // `actionParameters` may hold passwords of the customer's own systems: only names are kept.
    let actions = call["executedCallActions"].as_array().into_iter().flatten();
    let actions: Vec<String> = actions
        .filter_map(|it| name(&it["actionName"]).or_else(|| name(&it["actionType"])))
        .take(MAX_ACTIONS)
        .collect();
    let extracted = extracted(&call["extractedData"]);
    let email = email(&extracted).unwrap_or_default();
    let extracted = Value::Object(extracted).to_string();
    let heard = Heard {
        contact: name(&call["contactId"]),
        agent: name(&call["agentId"]),
        number,
        email,
        started_at,
        seconds: seconds(&call["duration"]),
        is_trial: call["trialCall"].as_bool().unwrap_or_default(),
        summary: text(&call["summary"], MAX_SUMMARY),
        transcript: text(&call["transcript"], MAX_TRANSCRIPT),
        actions: json!(actions).to_string(),
        extracted: if extracted.len() > MAX_EXTRACTED { "{}".to_owned() } else { extracted },
        hash: String::new(),
        id,
    };
    Some(heard.hashed())
}

impl Heard {
    /// With the hash of all that it holds.
    pub(super) fn hashed(mut self) -> Self {
        self.hash = secret::hash(&format!("{self:?}"));
        self
    }
}

/// Whole seconds, of a number or of a text with one; 0 for what is neither.
pub(super) fn seconds(value: &Value) -> i64 {
    let text = value.as_str().and_then(|text| text.trim().parse::<f64>().ok());
    let seconds = value.as_f64().or(text).filter(|it| it.is_finite()).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "it is within a day")]
    let whole = seconds.clamp(0.0, MAX_SECONDS).round() as i64;
    whole
}

/// A short text that names something.
fn name(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty()).then(|| bounded(text, 200))
}

pub(super) fn text(value: &Value, most: usize) -> String {
    let text = redact::secrets(value.as_str().unwrap_or_default().trim()).into_owned();
    bounded(&text, most)
}

pub(super) fn bounded(text: &str, most: usize) -> String {
    // PostgreSQL takes no zero byte in a text.
    text[..text.floor_char_boundary(most)].replace('\0', "")
}

/// Short texts, numbers and yes or no by their names; nothing deeper.
fn extracted(value: &Value) -> Map<String, Value> {
    let Some(fields) = value.as_object() else { return Map::new() };
    let kept = fields.iter().filter_map(|(key, value)| {
        let value = match value {
            Value::String(it) => json!(text(&json!(it), 500)),
            Value::Number(_) | Value::Bool(_) => value.clone(),
            _ => return None,
        };
        Some((bounded(key, 100), value))
    });
    kept.take(MAX_FIELDS).collect()
}

/// The address that a field with such a name holds, as addresses are compared.
fn email(extracted: &Map<String, Value>) -> Option<String> {
    extracted.iter().find_map(|(key, value)| {
        let key = key.to_lowercase();
        let is_one = key.contains("email") || key.contains("e-mail");
        let text = value.as_str().filter(|_| is_one)?;
        Some(Email::parse(text).ok()?.key)
    })
}

#[cfg(test)]
mod tests {
    use super::{read, seconds};
    use serde_json::{Value, json};

    #[test]
    fn a_call_is_read_without_the_secrets_of_its_actions() {
        let heard = read(&json!({
            "id": "c1", "contactId": "k1", "agentId": "a1", "fromNumber": "+44 20 7946 0018",
            "createdAt": "2026-11-20T10:00:00.000Z", "duration": 61.4, "trialCall": true,
            "executedCallActions": [
                {"actionName": "Look up", "actionParameters": {"authenticationValue": "hunter2"}},
                {"actionType": "TRANSFER"}, 7,
            ],
            "summary": " asked for a price\0 ", "transcript": "bot: hello",
            "extractedData": {"E-Mail": "Ada@Example.com", "deep": {"x": 1}, "seats": 3},
        }))
        .unwrap();
        assert_eq!((heard.seconds, heard.number.as_str()), (61, "+442079460018"));
        assert_eq!(heard.actions, r#"["Look up","TRANSFER"]"#);
        assert_eq!(heard.email, "ada@example.com");
        assert_eq!(heard.summary, "asked for a price");
        assert!(!format!("{heard:?}").contains("hunter2"));
        assert!(!heard.extracted.contains("deep") && heard.is_trial);
    }

    #[test]
    fn odd_calls_cost_nothing() {
        for wrong in [json!({}), json!(7), json!({"id": "x"}), json!({"id": "x", "createdAt": 5})] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
        let least =
            json!({"id": "x", "createdAt": "2026-11-20T10:00:00Z", "fromNumber": "anonymous"});
        let heard = read(&least).unwrap();
        assert_eq!((heard.seconds, heard.number.as_str()), (0, "anonymous"));
        let long = json!({"id": "x", "createdAt": "2026-11-20T10:00:00Z", "transcript": "ü".repeat(100_000)});
        assert!(read(&long).unwrap().transcript.len() <= 64 << 10);
    }

    #[test]
    fn a_duration_is_a_number() {
        for (value, expected) in [
            (json!(30), 30),
            (json!("45"), 45),
            (json!(-3), 0),
            (json!(1e30), 86_400),
            (json!("NaN"), 0),
            (json!({"seconds": 3}), 0),
            (Value::Null, 0),
        ] {
            assert_eq!(seconds(&value), expected, "{value}");
        }
    }
}
