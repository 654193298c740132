//! What a page's form sends.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
};
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::http::Problem;

/// Fields of a form. Types for it have defaults for all fields: what is missing is told beside
/// the field, where people see it.
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let body = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        let body = body.map_err(|rejection| match rejection.status() {
            status @ StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(status, "the form is too large; send less text")
            }
            _ => wrong(rejection.body_text()),
        })?;
        // Text of a database cannot hold it.
        if body.contains(&0) || body.windows(3).any(|three| three == b"%00") {
            return Err(wrong("the form holds a zero byte; leave it out".to_owned()));
        }
        let request = Request::from_parts(parts, Body::from(body));
        match axum::extract::Form::<T>::from_request(request, state).await {
            Ok(axum::extract::Form(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(wrong(format!("the form is not understood: {}", rejection.body_text())))
            }
        }
    }
}
