//! Refusals in the form that clients of OpenAI's interface read, for everything under `/v1`.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::Problem;

/// Whether answers at this path are in OpenAI's form.
pub(super) fn speaks_it(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// The body of a refusal. `param` names the field of the request that is to blame.
pub fn error(status: StatusCode, message: &str, param: Option<&str>, code: &str) -> Value {
    let kind = match status.as_u16() {
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}

/// The same of a problem.
pub fn error_of(problem: &Problem) -> Value {
    let code = match problem.status {
        401 => "invalid_api_key".to_owned(),
        429 => "rate_limit_exceeded".to_owned(),
        // "urn:lux:problem:too-large"
        _ => problem.kind.rsplit(':').next().unwrap_or_default().replace('-', "_"),
    };
    error(problem.status(), &problem.detail, None, &code)
}

/// The problem's headers with the other body.
pub(super) fn render(problem: &Problem) -> Response {
    let (head, _) = problem.render().into_parts();
    let mut response = axum::Json(error_of(problem)).into_response();
    *response.status_mut() = head.status;
    let kind = response.headers_mut().remove(http::header::CONTENT_TYPE);
    response.headers_mut().extend(head.headers);
    if let Some(kind) = kind {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    response
}
