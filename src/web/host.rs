//! Addresses of the API without `/api`: on a host of its own they are the routes themselves, on
//! any other they lead there.

use std::{collections::BTreeSet, sync::LazyLock};

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::PathAndQuery};

/// What an API's host is called.
const PREFIX: &str = "api.";

/// The first versions had these routes without `/api`.
const OF_OLD: &[&str] = &["business", "call-logs", "chat-logs", "conversations", "customers"];

/// What begins the paths that are no part of `/api`, and are the same on its host.
static ELSEWHERE: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let document = super::openapi();
    let described = document.paths.paths.keys().filter_map(|path| first(path));
    let described = described.filter(|name| !name.starts_with('{')).map(str::to_owned);
    // "api" itself is among them. What people sign in with stands in no description.
    described.chain(["auth".to_owned()]).collect()
});

fn first(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next()
}

/// On a host `api.…` puts `/api` before a path that lacks it. Done before routing.
pub fn complete<B>(request: &mut http::Request<B>) {
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.or_else(|| request.uri().host().map(str::as_bytes)).unwrap_or_default();
    let is_api =
        host.get(..PREFIX.len()).is_some_and(|it| it.eq_ignore_ascii_case(PREFIX.as_bytes()));
    if !is_api || first(request.uri().path()).is_none_or(|name| ELSEWHERE.contains(name)) {
        return;
    }
    if let Some(uri) = below_api(request.uri()) {
        *request.uri_mut() = uri;
    }
}

fn below_api(uri: &Uri) -> Option<Uri> {
    let rest = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("/api{rest}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Leads a program that asks for a route of the first versions to where it is now. A browser
/// gets the page of that name.
pub(super) async fn redirect(request: Request, next: Next) -> Response {
    let is_old = first(request.uri().path()).is_some_and(|name| OF_OLD.contains(&name));
    if !is_old || is_for_people(request.headers()) {
        return next.run(request).await;
    }
    let rest = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    // The path begins with one of those names, so it leads to no other host.
    match HeaderValue::try_from(format!("/api{rest}")) {
        Ok(to) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response(),
        Err(_) => next.run(request).await,
    }
}

/// Whether a page is asked for, or a part of one.
fn is_for_people(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let mut accepts = accepts.filter_map(|value| value.to_str().ok());
    headers.contains_key("hx-request") || accepts.any(|value| value.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::complete;

    fn led(host: &str, path: &str) -> String {
        let mut request = http::Request::get(path).header("host", host).body(()).unwrap();
        complete(&mut request);
        request.uri().to_string()
    }

    #[test]
    fn the_apis_host_needs_no_prefix() {
        for host in ["api.lux.example.com", "API.lux.example.com:5000"] {
            assert_eq!(led(host, "/customers/7?x=1%2F2"), "/api/customers/7?x=1%2F2");
            assert_eq!(led(host, "/7/envelope/"), "/api/7/envelope/");
            for same in
                ["/api/customers", "/healthz", "/v1/models", "/mcp", "/auth/x", "/openapi.json"]
            {
                assert_eq!(led(host, same), same);
            }
        }
        for host in ["lux.example.com", "apiary.example.com", "x.api.example.com", ""] {
            assert_eq!(led(host, "/customers"), "/customers", "{host}");
        }
    }
}
