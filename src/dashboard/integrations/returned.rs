//! Back from a provider. What went wrong is said here and now: a redirect could not carry the
//! provider's words.

use askama::Template;
use axum::{
    Extension,
    extract::RawQuery,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderValue, StatusCode, header};

use super::super::{Page, Shell, filters, html};
use crate::{
    http::{Operator, Path, Result},
    integrations::{Integrations, connect::Refused},
};

#[derive(Template)]
#[template(path = "integrations/returned.html")]
struct NotConnected {
    shell: Shell,
    sentence: String,
    next_step: &'static str,
    code: &'static str,
}

pub(super) async fn named(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    finish(page, &integrations, Some(&provider), query).await
}

pub(super) async fn unnamed(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    finish(page, &integrations, None, query).await
}

async fn finish(
    page: Page<Operator>,
    integrations: &Integrations,
    provider: Option<&str>,
    query: Option<String>,
) -> Result<Response> {
    let query = query.unwrap_or_default();
    let mut response = match integrations.finish(&page.caller, provider, &query).await {
        Ok(finished) => {
            let next = format!("/integrations?connected={}", finished.kind.key);
            Redirect::to(&next).into_response()
        }
        Err(refused) => refusal(page.shell, &refused)?,
    };
    let headers = response.headers_mut();
    // The address of this page holds a code.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn refusal(shell: Shell, refused: &Refused) -> Result<Response> {
    let code = refused.code();
    tracing::info!(code, "a connection was not made");
    let page =
        NotConnected { shell, sentence: refused.to_string(), next_step: refused.next_step(), code };
    let mut response = html(&page)?;
    *response.status_mut() = match refused {
        Refused::Trouble(trouble) if trouble.is_passing() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    Ok(response)
}
