//! What is answered while the database is not there yet.

use axum::{
    Router, middleware,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Uri, header};

use crate::{
    dashboard,
    http::{Problem, edge},
};

/// Lux is alive; all else is for later. With `https`, people reach Lux by TLS.
pub fn waiting(https: bool) -> Router {
    dashboard::assets::router()
        .fallback(not_yet)
        .layer(middleware::from_fn_with_state(https, edge::wrap_early))
}

async fn not_yet(uri: Uri, headers: HeaderMap) -> Response {
    if uri.path() == "/healthz" {
        return "ok\n".into_response();
    }
    let detail = "the database does not answer yet; Lux tries again by itself every few seconds, \
                  and its log says what it meets (`lux doctor` tells more)";
    let problem = Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5);
    let mut response = dashboard::refuse(problem, &uri, &headers);
    // What is asked next may be for who stands behind.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
