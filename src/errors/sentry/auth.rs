//! Finding the public key of a request, in each of the places where SDKs put it.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header, request::Parts};
use url::Url;

/// Longest text that can be a key, in bytes.
const MAX_KEY: usize = 64;

/// The key in the request's head.
pub(super) fn key(head: &Parts) -> Option<String> {
    of_header(&head.headers, "x-sentry-auth")
        .or_else(|| of_header(&head.headers, header::AUTHORIZATION.as_str()))
        .or_else(|| parameter(head.uri.query()?, "sentry_key"))
}

/// The key of a DSN that an envelope quotes, if that DSN is of this application.
pub(super) fn of_dsn(dsn: &str, app: i64) -> Option<String> {
    let url = Url::parse(dsn).ok()?;
    let project = url.path_segments()?.next_back()?;
    (project.parse() == Ok(app)).then(|| bounded(url.username())).flatten()
}

fn of_header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let (scheme, rest) = value.split_once(' ').unwrap_or(("", value));
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = STANDARD.decode(rest.trim()).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        return bounded(pair.split(':').next()?);
    }
    let fields = if scheme.eq_ignore_ascii_case("sentry") { rest } else { value };
    fields.split(',').find_map(|field| {
        let (name, value) = field.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case("sentry_key").then(|| bounded(value))?
    })
}

/// Keys have no character that would have to be encoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found == name).then(|| bounded(value))?
    })
}

fn bounded(key: &str) -> Option<String> {
    let key = key.trim().trim_matches('"');
    (1..=MAX_KEY).contains(&key.len()).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn keys_are_found_wherever_sdks_put_them() {
        let find = |uri: &str, header: Option<(&str, &str)>| {
            let mut request = Request::builder().uri(uri);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            key(&request.body(()).unwrap().into_parts().0)
        };
        let auth = |value| find("/", Some(("x-sentry-auth", value)));
        let header = |value| find("/", Some(("authorization", value)));
        for found in [
            auth("Sentry sentry_key=abc, sentry_version=7, sentry_client=sentry.python/2"),
            auth("sentry sentry_version=7,sentry_key=abc"),
            auth("Sentry sentry_version=7, sentry_key = abc , sentry_secret=x"),
            header("Sentry sentry_key=abc"),
            header("Basic YWJjOg=="),
            header("Basic YWJjOnNlY3JldA=="),
            find("/api/1/store/?sentry_version=7&sentry_key=abc", None),
            of_dsn("https://abc@lux.example/7", 7),
            of_dsn("https://abc:secret@lux.example/under/7", 7),
        ] {
            assert_eq!(found.as_deref(), Some("abc"));
        }
        for missing in [
            auth(""),
            auth("Sentry"),
            auth("Sentry sentry_key="),
            auth(&format!("Sentry sentry_key={}", "a".repeat(65))),
            header("Bearer lux_abc"),
            header("Basic !"),
            find("/?sentry_keys=abc", None),
            of_dsn("https://abc@lux.example/7", 8),
            of_dsn("abc", 8),
        ] {
            assert_eq!(missing, None);
        }
    }
}
