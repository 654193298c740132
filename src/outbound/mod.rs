//! The only HTTP client: every request that leaves has a timeout, a size limit, no
//! redirects, and says who it is.
//!
//! [`Outbound::send`] is for addresses of the configuration (the model, a server of Lux).
//! What tests an application leaves through a [`Visitor`], which knows where it may go.

pub mod address;
pub mod resolve;
pub mod target;
mod tls;
pub mod visit;

use std::time::Duration;

use futures_util::StreamExt;
use serde::de::DeserializeOwned;

pub use resolve::Resolver;
pub use target::{Refusal, Target};
pub use visit::{Visit, Visitor};

use crate::error::{Error, Result};

/// Requests to other programs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: reqwest::Client,
    visitor: Visitor,
}

/// Requests a second to one origin, for programs that read no configuration.
const PER_SECOND: u32 = 20;

/// An answer, cut at the size the caller named.
#[derive(Debug)]
pub struct Answer {
    pub status: http::StatusCode,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
    /// The body was longer than the limit.
    pub truncated: bool,
}

impl Outbound {
    /// Fails only where the system's certificates cannot be read.
    pub fn new() -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("lux/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(tls::system()?)
            .build()
            .map_err(|error| Error::Internal(error.into()))?;
        Ok(Self { client, visitor: Visitor::new(Resolver::system(), PER_SECOND)? })
    }

    /// The same with another rate for probes: requests a second to one origin.
    pub fn with_probes_per_second(self, per_second: u32) -> Result<Self> {
        Ok(Self { visitor: Visitor::new(Resolver::system(), per_second)?, ..self })
    }

    /// A client for a server that may think for long: it sets no limit on silence, so whoever
    /// uses it has to.
    pub fn patient(connect_timeout: Duration) -> Result<reqwest::Client> {
        reqwest::Client::builder()
            .user_agent(concat!("lux/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // What is compressed comes in blocks, and not as it is written.
            .no_gzip()
            .tls_backend_preconfigured(tls::system()?)
            .build()
            .map_err(|error| Error::Internal(error.into()))
    }

    /// What sends the requests of probes.
    pub fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// A request to be filled in and given to [`Outbound::send`].
    pub fn request(&self, method: http::Method, url: &str) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends within `timeout`, reading at most `max_bytes` of the body.
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Answer> {
        let response = self.open(request, timeout).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| unreachable_peer(&error))?;
            let room = max_bytes - body.len();
            if chunk.len() > room {
                body.extend_from_slice(&chunk[..room]);
                return Ok(Answer { status, headers, body, truncated: true });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body, truncated: false })
    }

    /// Sends and hands the body over as it comes; `timeout` covers the whole answer.
    pub async fn open(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<reqwest::Response> {
        request.timeout(timeout).send().await.map_err(|error| unreachable_peer(&error))
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::Unavailable(format!("the answer is no valid JSON: {error}")))
    }
}

/// What is said of a server that no connection was made to.
const UNREACHED: &str = " cannot be reached: ";

/// Whether a request failed before anything of it had left.
pub fn never_left(error: &Error) -> bool {
    matches!(error, Error::Unavailable(text) if text.contains(UNREACHED))
}

/// The innermost cause says what happened; the URL, which may hold a secret, is left out.
fn unreachable_peer(error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = if error.is_timeout() {
        " did not answer in time".to_owned()
    } else if error.is_connect() {
        format!("{UNREACHED}{cause}")
    } else {
        format!(" broke off: {cause}")
    };
    let peer = error.url().and_then(|url| url.host_str().map(str::to_owned));
    Error::Unavailable(format!("{}{what}", peer.as_deref().unwrap_or("the server")))
}
