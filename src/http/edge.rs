//! The outermost layer: request id, the caller's address, one log line and one set of
//! metrics a request, and every refusal as a problem document.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use tracing::Instrument;

use super::{Problem, RenderedBy, authority, headers, limit::Limits, openai};
use crate::{app::App, clock};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What this request is called, for the pages that show it.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Wraps every request. See the module's first line.
pub async fn wrap(
    State((app, limits)): State<(App, Limits)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = clock::instant();
    let id = request_id(&request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "(no route)".to_owned(), |matched| matched.as_str().to_owned());
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(peer) = authority::peer(connection, request.headers(), &app.config.http) {
        request.extensions_mut().insert(peer);
    }
    request.extensions_mut().insert(limits);
    request.extensions_mut().insert(RequestId(id.clone()));
    // The path is the caller's text: Debug escapes control characters in it.
    let span = tracing::debug_span!("request", request_id = %id, %method, path = ?path);

    let https = app.config.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    let wrong = ambiguous(&request);
    // hyper reads such a body as chunks and no longer tells whether there was a Content-Length,
    // too. A proxy that believed in that would take the rest for another request; so nothing
    // that comes after it on this connection is read.
    let last = wrong.is_some() || request.headers().contains_key(header::TRANSFER_ENCODING);
    let large = length(&request).is_some_and(|length| length > SMALL);
    let response = match wrong {
        Some(why) => Problem::new(StatusCode::BAD_REQUEST, why).into_response(),
        None => next.run(request).instrument(span.clone()).await,
    };
    let mut response = as_problem(response, &id, openai::speaks_it(&path));
    headers::add(response.headers_mut(), https);
    // Of a large body that is refused the rest is not read, and hyper closes the connection: who
    // was not told so would lose the next request on it.
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if last || (large && refused) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }

    let status = response.status();
    let seconds = started.elapsed().as_secs_f64();
    let labels =
        [("method", method.to_string()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("lux_http_requests_total", &labels).increment(1);
    metrics::histogram!("lux_http_request_seconds", &labels[..2]).record(seconds);
    tracing::debug!(parent: &span, status = status.as_u16(), seconds, "answered");
    response
}

/// [`wrap`] for what answers before there is an [`App`].
pub async fn wrap_early(State(https): State<bool>, request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let path = request.uri().path().to_owned();
    let response = match ambiguous(&request) {
        Some(why) => Problem::new(StatusCode::BAD_REQUEST, why).into_response(),
        None => next.run(request).await,
    };
    let mut response = as_problem(response, &id, openai::speaks_it(&path));
    headers::add(response.headers_mut(), https);
    response
}

/// What two readers of one request could understand differently: for whom it is.
fn ambiguous(request: &Request) -> Option<&'static str> {
    let headers = request.headers();
    let count = |name: HeaderName| headers.get_all(name).iter().count();
    if request.version() == Version::HTTP_11 && count(header::HOST) != 1 {
        return Some("a request needs the header Host, once");
    }
    None
}

/// Bodies up to this size are read before the request is looked at, in bytes.
const SMALL: usize = 64 << 10;

/// Reads a small body whole. A request that is refused without its body being read has
/// its connection closed, and under load the caller would see that instead of the reason.
/// To be put inside the timeout.
pub async fn read_small_body(request: Request, next: Next) -> Response {
    if length(&request).is_none_or(|length| length == 0 || length > SMALL) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, SMALL).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(error) => {
            let detail = format!("the body did not arrive whole: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail).into_response()
        }
    }
}

/// The length of the body, as far as the head tells it.
fn length(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A caller's own id is kept if it is short and harmless, so that it can be followed
/// through nginx, the application and Lux.
fn request_id(request: &Request) -> String {
    request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

fn as_problem(mut response: Response, id: &str, as_openai: bool) -> Response {
    let status = response.status();
    let is_document = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
        // A page is for people, who are told there.
        [&b"application/"[..], b"text/html"].iter().any(|it| value.as_bytes().starts_with(it))
    });
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => Some(problem),
        // What a library layer refused (timeout, body limit, panic) has no document yet.
        None if status.is_client_error() || status.is_server_error() => {
            (!is_document).then(|| Problem::new(status, detail(status)))
        }
        None => None,
    };
    if let Some(mut problem) = problem {
        problem.request_id = Some(id.to_owned());
        if problem.status >= 500 {
            let reason = problem.internal.as_deref().unwrap_or(&problem.detail);
            tracing::error!(request_id = id, status = problem.status, reason, "request failed");
        }
        let allow = response.headers_mut().remove(header::ALLOW);
        response = match response.extensions_mut().remove::<RenderedBy>() {
            Some(RenderedBy(render)) => render(&problem),
            None if as_openai => openai::render(&problem),
            None => problem.render(),
        };
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    response
}

fn detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this address; /openapi.json lists what is",
        StatusCode::METHOD_NOT_ALLOWED => {
            "this address does not take that method; the header Allow lists those it takes"
        }
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too large; send it in smaller parts",
        StatusCode::REQUEST_TIMEOUT => "the request was not complete in time; send it again",
        status if status.is_server_error() => {
            "Lux could not do this; its log has the reason under this request id"
        }
        _ => "the request was refused",
    }
}
