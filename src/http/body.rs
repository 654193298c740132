//! Bodies, queries and paths whose rejections are problem documents.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use super::{Problem, shape};

/// A JSON body, in both directions.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        told_as_json(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(status, "the body is too large; send it in smaller parts")
            } else {
                Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())
            }
        })?;
        shape::check(&body).map_err(|error| not_json(&error))?;
        match axum::Json::<T>::from_bytes(&body) {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(rejected(&rejection)),
        }
    }
}

/// A JSON document that browsers keep as a file of this name. The name is Lux's own: no quotes.
pub struct JsonFile<T>(pub String, pub T);

impl<T: Serialize> IntoResponse for JsonFile<T> {
    fn into_response(self) -> Response {
        let Self(name, document) = self;
        let headers = [(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))];
        (headers, axum::Json(document)).into_response()
    }
}

/// A page of another origin can send text and forms without asking first, but not this.
fn told_as_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let json =
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    if !json {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON with the header Content-Type: application/json",
        ));
    }
    let packed = headers.get_all(header::CONTENT_ENCODING).iter();
    if packed.into_iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "packed bodies are not taken here; send the JSON as it is, without Content-Encoding",
        ));
    }
    Ok(())
}

fn not_json(error: &serde_json::Error) -> Problem {
    // What the shape forbids is said by itself.
    let detail = if error.is_data() {
        format!("the body is not taken: {error}")
    } else {
        format!("the body is not valid JSON: {error}")
    };
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn rejected(rejection: &JsonRejection) -> Problem {
    let detail = match rejection {
        JsonRejection::JsonDataError(error) => {
            format!("the body does not have the expected form: {}", innermost(error))
        }
        other => other.body_text(),
    };
    // One status for "cannot be understood", whichever layer noticed.
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// What serde said, without the wrappers around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The query string.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // PostgreSQL cannot compare a text with one that holds it.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            let detail = "the query holds a zero byte (%00); leave it out";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the query is not understood: {}", innermost(&rejection)),
            )),
        }
    }
}

/// Parts of the path. An id that is not even a number is an id that does not exist.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "there is nothing at this address; check the id",
            )),
        }
    }
}
