//! A mail as its recipient sees it, for a frame in which no script runs.

use axum::{
    extract::State,
    response::{Html, IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde::Deserialize;

use super::Page;
use crate::{
    app::App,
    http::{Path, Query, Reader, Result},
    marketing::campaign::deeds,
};

/// A mail brings its looks along, and its pictures from elsewhere. It may do nothing.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox",
);

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    contact: Option<i64>,
    subject: i64,
    version: Option<i64>,
}

pub(super) async fn mail(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let Wanted { contact, subject, version } = wanted;
    let letter = deeds::preview(&app, organization, id, version, contact, subject).await?;
    let mut response = Html(letter.html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    Ok(response)
}
