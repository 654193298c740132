//! Which web pages may report (CORS): those of the application's allowed origins.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::refusal::Refusal;
use crate::apps::Known;

/// What a page may send besides the simple headers.
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-sentry-auth, x-requested-with, origin, accept, authorization, authentication, \
     content-type, content-encoding, transfer-encoding, baggage, sentry-trace, traceparent",
);
const EXPOSE_HEADERS: HeaderValue =
    HeaderValue::from_static("x-sentry-error, x-sentry-rate-limits, retry-after");

/// The page's origin, if a browser sent the request for one.
pub(super) fn of(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::ORIGIN)
}

/// Refuses a page that is not the application's.
pub(super) fn check(app: &Known, origin: Option<&HeaderValue>) -> Result<(), Refusal> {
    let Some(origin) = origin else { return Ok(()) };
    if origin.to_str().is_ok_and(|origin| app.allows(origin)) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "pages of this origin may not report for the application; see its allowed_origins",
    )
    .hidden())
}

/// Lets the page read the answer.
pub(super) fn open(response: &mut Response, origin: Option<HeaderValue>) {
    let Some(origin) = origin else { return };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    // Or the browser keeps the answer from the page all the same.
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("cross-origin"));
}

/// The answer to a browser that asks first.
pub(super) fn preflight() -> Response {
    let mut response = Response::default();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("POST, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}
