//! Documents of the provider: small, soon, and never by way of a redirect.

use std::time::Duration;

use http::{Method, StatusCode, header};
use serde::de::DeserializeOwned;

use super::Refused;
use crate::outbound::{Answer, Outbound};

/// How long the provider may take for one answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer.
pub(super) const MAX_BODY: usize = 64 << 10;

/// Whether a status speaks of a passing state.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// Asks for a document of JSON.
pub(super) async fn document<T: DeserializeOwned>(
    outbound: &Outbound,
    url: &str,
) -> Result<T, Refused> {
    let request = outbound.request(Method::GET, url).header(header::ACCEPT, "application/json");
    let answer: Answer = outbound.send(request, TIMEOUT, MAX_BODY).await.map_err(|error| {
        tracing::warn!(%error, "the sign-in provider cannot be asked");
        Refused::ProviderDown
    })?;
    if is_passing(answer.status) {
        tracing::warn!(url, status = answer.status.as_u16(), "the sign-in provider is troubled");
        return Err(Refused::ProviderDown);
    }
    let read = if answer.status == StatusCode::OK && !answer.truncated {
        answer.json().map_err(|error| error.to_string())
    } else {
        Err(format!("status {}, {} bytes", answer.status.as_u16(), answer.body.len()))
    };
    read.map_err(|why| {
        tracing::warn!(url, why, "the sign-in provider's answer cannot be read");
        Refused::DiscoveryInvalid
    })
}
