//! Refusals as SDKs read them: a status, the reason in `X-Sentry-Error`, when to come back.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

use crate::{error::Error, http::Problem};

/// Why nothing, or not all, was taken.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    problem: Problem,
    /// The quota is used up: the SDK keeps back errors, and nothing else.
    quota: bool,
    /// Not to be read by the page that asked.
    pub hidden: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { problem: Problem::new(status, why), quota: false, hidden: false }
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.problem = self.problem.retry_after(seconds);
        self
    }

    pub(super) fn over_quota(seconds: u64, limit: u32) -> Self {
        let why = format!("the application may report {limit} errors a minute; this is more");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, why).retry_after(seconds);
        Self { problem, quota: true, hidden: false }
    }

    pub(super) fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// One answer for an application that there is not, one of somebody else, and a wrong key.
    pub(super) fn unknown() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "no application has this number and this key; `lux apps list` shows the DSNs",
        )
    }

    pub(super) fn status(&self) -> StatusCode {
        self.problem.status()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, quota: false, hidden: false }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { problem: error.into(), quota: false, hidden: false }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.problem.status >= 500 {
            let reason = self.problem.internal.as_deref().unwrap_or(&self.problem.detail);
            tracing::debug!(reason, "a report was not taken");
        }
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        let reason: String = self.problem.detail.replace(|c: char| !matches!(c, ' '..='~'), "?");
        if let Ok(reason) = HeaderValue::from_str(&reason) {
            headers.insert("x-sentry-error", reason);
        }
        if let Some(seconds) = self.problem.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            if self.quota {
                let limits = format!("{seconds}:error;default:project:quota_exceeded");
                if let Ok(limits) = HeaderValue::from_str(&limits) {
                    headers.insert("x-sentry-rate-limits", limits);
                }
            }
        }
        response
    }
}
