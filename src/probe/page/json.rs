//! JSON documents that say they failed.

use serde_json::{Map, Value};

use super::{PHRASES, clip};

/// What a `status` or `result` says of a failure.
const FAILED: &[&str] = &[
    "error",
    "errored",
    "fail",
    "failed",
    "failure",
    "exception",
    "down",
    "unhealthy",
    "unavailable",
    "ko",
    "critical",
    "nok",
];

/// Why the document says that something failed; only its top level is looked at, as what
/// is deeper may be data about other things.
pub(super) fn failure(value: &Value) -> Option<String> {
    match value {
        Value::Object(object) => of_object(object),
        Value::String(text) => super::of_text(text),
        _ => None,
    }
}

fn of_object(object: &Map<String, Value>) -> Option<String> {
    let get = |name: &str| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let said = |name: &str, value: &Value| {
        Some(format!("it says \"{name}\": {}", clip(&value.to_string())))
    };
    for name in ["success", "ok", "succeeded", "healthy"] {
        if let Some(value) = get(name)
            && is_no(value)
        {
            return said(name, value);
        }
    }
    for name in ["error", "exception", "traceback", "stacktrace", "stack_trace", "err"] {
        if let Some(value) = get(name)
            && is_something(value)
        {
            return said(name, value);
        }
    }
    // A list of errors may also be what was asked for; then it is called a success.
    let succeeded = ["success", "ok"].iter().any(|name| get(name) == Some(&Value::Bool(true)));
    if let Some(errors @ (Value::Array(_) | Value::Object(_) | Value::String(_))) = get("errors")
        && !succeeded
        && is_something(errors)
    {
        return said("errors", errors);
    }
    for name in ["status", "result", "outcome"] {
        match get(name) {
            Some(value @ Value::String(text))
                if FAILED.contains(&text.trim().to_ascii_lowercase().as_str()) =>
            {
                return said(name, value);
            }
            Some(value @ Value::Number(number))
                if name == "status" && number.as_u64().is_some_and(|n| (400..600).contains(&n)) =>
            {
                return said(name, value);
            }
            _ => {}
        }
    }
    for name in ["statusCode", "status_code", "code"] {
        if let Some(value) = get(name)
            && value.as_u64().is_some_and(|n| (500..600).contains(&n))
        {
            return said(name, value);
        }
    }
    for name in ["message", "detail", "title", "msg"] {
        if let Some(value @ Value::String(text)) = get(name) {
            let text = super::straight(text);
            let text = text.trim().trim_end_matches(['.', '!']);
            if PHRASES.contains(&text) || super::TRACE.is_match(text) {
                return said(name, value);
            }
        }
    }
    None
}

/// `false`, `0`, `"false"`, `"no"`
fn is_no(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            matches!(text.trim().to_ascii_lowercase().as_str(), "false" | "no" | "0")
        }
        _ => false,
    }
}

/// Whether there is an error in what is called "error".
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "" | "none" | "null" | "no" | "false" | "ok" | "0"
        ),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    }
}
