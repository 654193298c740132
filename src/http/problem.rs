//! Problem documents (RFC 9457): the only place that knows which error has which status.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::{
    db::{self, Failure},
    error::Error,
};

/// A refusal or failure, as the caller sees it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Stable: scripts may match it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: &'static str,
    pub status: u16,
    /// One sentence that says what to do.
    pub detail: String,
    /// Names this request in Lux's own log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Seconds until a retry makes sense.
    #[serde(skip)]
    #[schema(ignore)]
    pub retry_after: Option<u64>,
    /// Whether a 401 asks for a user name and password instead of a token.
    #[serde(skip)]
    #[schema(ignore)]
    pub wants_basic: bool,
    /// For Lux's own log only.
    #[serde(skip)]
    #[schema(ignore)]
    pub internal: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (slug, title) = name(status);
        Self {
            kind: format!("urn:lux:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            request_id: None,
            retry_after: None,
            wants_basic: false,
            internal: None,
        }
    }

    /// 429 or 503 with the time after which to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A 401 that asks for a user name and password instead of a token.
    #[must_use]
    pub fn wants_basic(mut self) -> Self {
        self.wants_basic = true;
        self
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The whole answer, body included.
    pub(super) fn render(&self) -> Response {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == 401 {
            let way =
                if self.wants_basic { "Basic realm=\"lux\", charset=\"UTF-8\"" } else { "Bearer" };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(way));
        }
        response
    }
}

fn name(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        400 | 422 => ("invalid", "The request is not valid"),
        401 => ("unauthenticated", "Who is calling?"),
        403 => ("denied", "Not allowed"),
        404 => ("not-found", "Not found"),
        405 => ("method-not-allowed", "This address does not know that method"),
        408 => ("timeout", "The request took too long"),
        409 => ("conflict", "Conflict with the present state"),
        413 => ("too-large", "Too large"),
        415 => ("unsupported-media-type", "The body is of the wrong type"),
        429 => ("too-many-requests", "Too many requests"),
        503 => ("unavailable", "Not available right now"),
        400..500 => ("refused", "The request was refused"),
        _ => ("internal", "Lux failed"),
    }
}

impl From<crate::db::Error> for Problem {
    fn from(error: crate::db::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, detail + "; check its id"),
            Error::Invalid(_) => Self::new(StatusCode::BAD_REQUEST, detail),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, detail),
            Error::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, detail),
            Error::Denied(_) => Self::new(StatusCode::FORBIDDEN, detail),
            Error::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            Error::TooMany(_, seconds) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
            }
            Error::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5)
            }
            Error::Database(error) => database(&error),
            Error::Io(_) | Error::Internal(_) => {
                let mut problem = Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Lux could not do this; its log has the reason under this request id",
                );
                problem.internal = Some(detail);
                problem
            }
        }
    }
}

/// A database that is busy, away or full is a passing state; a statement it refuses is
/// our fault.
fn database(error: &sqlx::Error) -> Problem {
    let unavailable = |detail| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5);
    let mut problem = match db::failure(error) {
        Failure::Busy | Failure::Away => {
            unavailable("the database does not answer; nothing was changed, try again soon")
        }
        Failure::Full => unavailable(
            "the disk of the database is full; nothing was changed, make room and try again",
        ),
        Failure::Statement => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Lux could not do this; its log has the reason under this request id",
        ),
    };
    problem.internal = Some(error.to_string());
    problem
}

/// Lies in a response whose refusal is told in another form than as a problem document.
#[derive(Clone)]
pub struct RenderedBy(pub Arc<dyn Fn(&Problem) -> Response + Send + Sync>);

impl IntoResponse for Problem {
    /// The body is written by `edge`, which knows the request id.
    fn into_response(self) -> Response {
        let mut response = self.render();
        response.extensions_mut().insert(self);
        response
    }
}
