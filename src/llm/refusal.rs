//! What a refusal means. Servers differ in the forms of their bodies: OpenAI's, an integer for
//! a code, FastAPI's `detail`, plain text, a proxy's page.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use super::{Trouble, inert, wire::Asked};
use crate::{clock, redact};

/// How much of a text of the server is looked at, in bytes.
const LOOKED_AT: usize = 16 << 10;

/// `Retry-After` in seconds or as a date, or OpenAI's own finer header.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<u32>().ok()) {
        return Some(Duration::from_millis(millis.into()));
    }
    let told = text("retry-after")?;
    if let Ok(seconds) = told.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = chrono::DateTime::parse_from_rfc2822(told).ok()?;
    Some((at.to_utc() - clock::now()).to_std().unwrap_or_default())
}

/// The status that an error in the midst of a stream stands for.
pub(super) fn status_in(chunk: &Value) -> u16 {
    let code = ["/error/code", "/error/status", "/error/status_code"]
        .iter()
        .find_map(|path| chunk.pointer(path)?.as_u64());
    code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
}

/// What a refusal means, by its status and its words.
pub(super) fn classify(
    asked: &Asked<'_>,
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Trouble {
    let host = asked.host.to_owned();
    let text = String::from_utf8_lossy(body);
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(&value);
    let message = ["message", "detail", "error", "msg"]
        .iter()
        .find_map(|name| error.get(name))
        .unwrap_or(error);
    let words = match message {
        Value::String(message) => said(message),
        Value::Null if text.trim_start().starts_with('<') => String::new(),
        Value::Null => said(&text),
        other => said(&other.to_string()),
    };
    let codes = ["code", "type", "status"].iter().filter_map(|name| error.get(name)?.as_str());
    let clue = format!("{} {words}", codes.collect::<Vec<_>>().join(" ")).to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| clue.contains(part));
    let model = asked.model.to_owned();
    match status {
        402 => Trouble::Quota { host },
        401 => Trouble::KeyRefused { host, status },
        _ if says(&["insufficient_quota", "billing_hard_limit", "exceeded your current quota"]) => {
            Trouble::Quota { host }
        }
        _ if says(&["invalid_api_key", "incorrect api key"]) => {
            Trouble::KeyRefused { host, status }
        }
        400 | 403 | 404 | 422 | 500
            if says(&["model_not_found", "does not exist"])
                || (says(&["model"])
                    && says(&[
                        "not found",
                        "unknown model",
                        "not a valid model",
                        "invalid model",
                    ])) =>
        {
            Trouble::UnknownModel { host, model }
        }
        403 if says(&["model"]) => Trouble::UnknownModel { host, model },
        403 => Trouble::KeyRefused { host, status },
        404 | 405 | 501 | 300..400 => Trouble::NoSuchRoute { host, status },
        400 if says(&["content_filter", "content_policy", "responsibleaipolicy"]) => {
            Trouble::Refused { said: words }
        }
        400 | 413 | 422
            if status == 413
                || says(&["context_length", "context length", "maximum context", "too long"]) =>
        {
            Trouble::TooLong { tokens: super::estimate(&asked.body.to_string()), limit: 0 }
        }
        429 => Trouble::RateLimited { host, retry_after },
        408 | 409 | 425 | 500.. => Trouble::ServerError { host, status, said: words },
        _ => Trouble::Rejected { host, status, said: words },
    }
}

/// A server's words in one short line, without secrets and without what cannot be seen.
pub(super) fn said(text: &str) -> String {
    let text = inert::visible(&text[..text.floor_char_boundary(LOOKED_AT)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    redact::secrets(&line).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue};
    use serde_json::value::RawValue;

    use super::{Asked, classify, retry_after, said};

    #[test]
    fn refusals_are_understood_in_every_form() {
        let class = |status, body: &str| {
            let asked = Asked { body: RawValue::NULL, host: "h", model: "m" };
            classify(&asked, status, None, body.as_bytes()).class()
        };
        for (status, body, meant) in [
            (401, r#"{"error":{"message":"bad","code":"invalid_api_key"}}"#, "key_refused"),
            (400, r#"{"error":{"message":"Incorrect API key provided"}}"#, "key_refused"),
            (403, "<html>Forbidden</html>", "key_refused"),
            (
                404,
                r#"{"error":{"message":"The model `m` does not exist","code":"model_not_found"}}"#,
                "unknown_model",
            ),
            (404, r#"{"error":"model 'm' not found"}"#, "unknown_model"),
            (
                400,
                r#"{"error":{"message":"m is not a valid model ID","code":400}}"#,
                "unknown_model",
            ),
            (404, "404 page not found", "no_such_route"),
            (301, "", "no_such_route"),
            (402, r#"{"error":{"message":"more credits","code":402}}"#, "quota"),
            (429, r#"{"error":{"type":"insufficient_quota","message":"x"}}"#, "quota"),
            (429, "<html>Too many</html>", "rate_limited"),
            (422, r#"{"detail":[{"loc":["body"],"msg":"bad"}]}"#, "rejected"),
            (400, r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#, "too_long"),
            (400, r#"{"error":{"code":"content_filter","message":"x"}}"#, "refused"),
            (503, "upstream connect error", "server_error"),
            (529, r#"{"type":"error","error":{"type":"overloaded_error"}}"#, "server_error"),
        ] {
            assert_eq!(class(status, body), meant, "{status} {body}");
        }
    }

    #[test]
    fn words_of_a_server_hold_no_secret() {
        let shown = said("Incorrect API key provided: sk-abcdefghijklmnopqrstuv1.\n\x1b[31mno");
        assert!(!shown.contains("abcdef") && !shown.contains('\x1b'), "{shown}");
        assert!(said(&"x".repeat(100_000)).len() <= 200);
    }

    #[test]
    fn waits_are_read_in_every_form() {
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(read("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("retry-after-ms", "20"), Some(Duration::from_millis(20)));
        assert_eq!(read("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        for odd in ["-1", "soon", "NaN", "1e300"] {
            assert_eq!(read("retry-after", odd), None, "{odd}");
        }
    }
}
