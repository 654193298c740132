//! One request over HTTP, with async-openai for the protocol and our own client below it: that
//! keeps the status, `Retry-After` and the (cut) body of every refusal, which the crate loses,
//! and bounds the answer, which the crate does not.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_openai::{
    Client,
    config::Config as ServerConfig,
    error::{OpenAIError, StreamError},
    middleware::HttpRequestFactory,
};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, value::RawValue};

use super::{
    Trouble,
    refusal::{classify, retry_after, said, status_in},
};
use crate::{
    config::Model,
    error::{Error, Result},
    outbound::Outbound,
};

/// How much of a refusal's body is read, in bytes, and for how long.
const REFUSAL: usize = 16 << 10;
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// The longest line of an event stream, in bytes: the parser reads a line anew with each part
/// of it that comes.
const MAX_LINE: u64 = 512 << 10;

/// Where requests go and with what. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    client: reqwest::Client,
    server: Server,
    max_answer_bytes: u64,
}

/// The address with all that belongs to it. Made by hand: the crate's own configuration reads
/// the environment, which must not steer it.
#[derive(Clone, Debug)]
struct Server {
    base: Arc<str>,
    headers: HeaderMap,
    version: Option<Arc<str>>,
    key: SecretString,
}

impl ServerConfig for Server {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.version.iter().map(|version| ("api-version", &**version)).collect()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// What was seen of one request while it went on.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub bytes: AtomicU64,
    /// The limit that the answer went over, else 0.
    too_large: AtomicU64,
}

/// An answer that is no success.
#[derive(Debug, thiserror::Error)]
#[error("{status}")]
struct Refusal {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// An answer that is no answer of a model's server, or is too long.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Strange(String);

/// The chunks of an answer as they come.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Value, Trouble>> + Send>>;

impl Wire {
    pub(super) fn new(model: &Model) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: &str| {
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                Error::invalid(format!("[model]: the value of {name} cannot be sent in a header"))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok::<_, Error>(())
        };
        if let Some(key) = &model.key {
            let key = key.expose_secret();
            match model.api_version {
                Some(_) => add(HeaderName::from_static("api-key"), key)?,
                None => add(header::AUTHORIZATION, &format!("Bearer {key}"))?,
            }
        }
        for (name, value) in &model.headers {
            add(name.clone(), value.expose_secret())?;
        }
        let server = Server {
            base: model.base_url.as_str().trim_end_matches('/').into(),
            headers,
            version: model.api_version.as_deref().map(Into::into),
            key: SecretString::from(""),
        };
        let client = Outbound::patient(model.connect_timeout)?;
        Ok(Self { client, server, max_answer_bytes: model.max_answer_bytes })
    }

    /// Asks for the whole answer. The caller limits the time.
    pub(super) async fn whole(
        &self,
        asked: &Asked<'_>,
        seen: &Arc<Seen>,
    ) -> Result<Value, Trouble> {
        let client = self.client(seen, false);
        let answer: Result<Value, _> = client.chat().create_byot(asked.body).await;
        answer.map_err(|error| trouble(error, asked, seen))
    }

    /// Asks for the answer in chunks. The caller limits the time, also between two chunks.
    pub(super) async fn stream(
        &self,
        asked: &Asked<'_>,
        seen: &Arc<Seen>,
    ) -> Result<Chunks, Trouble> {
        let client = self.client(seen, true);
        let chunks = client.chat().create_stream_byot::<_, Value>(asked.body).await;
        let chunks = chunks.map_err(|error| trouble(error, asked, seen))?;
        let seen = Arc::clone(seen);
        let (host, model) = (asked.host.to_owned(), asked.model.to_owned());
        Ok(Box::pin(chunks.map(move |chunk| {
            let asked = Asked { body: RawValue::NULL, host: &host, model: &model };
            let chunk = chunk.map_err(|error| trouble(error, &asked, &seen))?;
            match chunk.get("error").filter(|error| !error.is_null()) {
                // Some servers fail after they have said 200.
                Some(_) => {
                    Err(classify(&asked, status_in(&chunk), None, chunk.to_string().as_bytes()))
                }
                None => Ok(chunk),
            }
        })))
    }

    /// The list of models: its ids.
    pub(super) async fn models(&self, asked: &Asked<'_>) -> Result<Vec<String>, Trouble> {
        let seen = Arc::default();
        let request = self
            .client
            .get(self.server.url("/models"))
            .query(&self.server.query())
            .headers(self.server.headers());
        let send = async {
            let request = request.build()?;
            let response = send(&self.client, request, self.max_answer_bytes, &seen, false).await?;
            let bytes = response.bytes().await?;
            let list: Value = serde_json::from_slice(&bytes)
                .map_err(|error| OpenAIError::JSONDeserialize(error, String::new()))?;
            Ok::<_, OpenAIError>(list)
        };
        let list = send.await.map_err(|error| trouble(error, asked, &seen))?;
        let entries = ["data", "models"].iter().find_map(|name| list.get(name)?.as_array());
        let id = |entry: &Value| {
            let id = ["id", "name", "model"].iter().find_map(|name| entry.get(name)?.as_str());
            id.map(str::to_owned)
        };
        Ok(entries.into_iter().flatten().filter_map(id).collect())
    }

    fn client(&self, seen: &Arc<Seen>, streams: bool) -> Client<Server> {
        let (client, seen, limit) = (self.client.clone(), Arc::clone(seen), self.max_answer_bytes);
        Client::build(self.client.clone(), self.server.clone()).with_http_service(
            tower::service_fn(move |factory: HttpRequestFactory| {
                let (client, seen) = (client.clone(), Arc::clone(&seen));
                async move { send(&client, factory.build().await?, limit, &seen, streams).await }
            }),
        )
    }
}

fn trouble(error: OpenAIError, asked: &Asked<'_>, seen: &Seen) -> Trouble {
    let host = asked.host.to_owned();
    match seen.too_large.load(Ordering::Relaxed) {
        0 => {}
        limit => return Trouble::TooLarge { limit },
    }
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<Refusal>() {
            Ok(refusal) => {
                classify(asked, refusal.status.as_u16(), refusal.retry_after, &refusal.body)
            }
            Err(error) => Trouble::Malformed { host, why: said(&error.to_string()) },
        },
        OpenAIError::Reqwest(error) => of_transport(&error, host),
        OpenAIError::StreamError(error) => match *error {
            StreamError::EventStream(why) if why.starts_with("Transport") => {
                Trouble::Cut { host, shown: false }
            }
            _ => Trouble::Malformed { host, why: "a broken event stream".to_owned() },
        },
        OpenAIError::JSONDeserialize(error, _) => {
            Trouble::Malformed { host, why: format!("no JSON: {error}") }
        }
        other => Trouble::Malformed { host, why: said(&other.to_string()) },
    }
}

/// One request: its body and, for what is told of it, where it goes.
pub(super) struct Asked<'a> {
    pub body: &'a RawValue,
    pub host: &'a str,
    pub model: &'a str,
}

async fn send(
    client: &reqwest::Client,
    request: reqwest::Request,
    limit: u64,
    seen: &Arc<Seen>,
    streams: bool,
) -> Result<reqwest::Response, OpenAIError> {
    let response = client.execute(request).await?;
    let status = response.status();
    let headers = response.headers().clone();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let is_json = kind.starts_with("application/json");
    let line = if streams && !is_json { MAX_LINE } else { u64::MAX };
    let mut bytes = bounded(response, limit, line, seen);
    if !status.is_success() {
        let body = tokio::time::timeout(REFUSAL_TIME, read(&mut bytes, REFUSAL)).await;
        let body = body.unwrap_or_default();
        let refusal = Refusal { status, retry_after: retry_after(&headers), body };
        return Err(OpenAIError::Boxed(Box::new(refusal)));
    }
    if kind.starts_with("text/html") {
        let strange = Strange("a web page instead of an answer".to_owned());
        return Err(OpenAIError::Boxed(Box::new(strange)));
    }
    let body = if streams && is_json {
        // A server that does not stream sends one document: as the only event of a stream.
        let mut whole = Vec::new();
        while let Some(chunk) = bytes.next().await {
            whole.extend_from_slice(&chunk.map_err(|error| OpenAIError::Boxed(Box::new(error)))?);
        }
        let value: Value = serde_json::from_slice(&whole)
            .map_err(|error| OpenAIError::JSONDeserialize(error, String::new()))?;
        reqwest::Body::from(format!("data: {value}\n\n"))
    } else {
        reqwest::Body::wrap_stream(bytes)
    };
    let mut answer = http::Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    // The length is that of the body we were sent.
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(answer.into())
}

type Bytes = Pin<Box<dyn Stream<Item = io::Result<Vec<u8>>> + Send>>;

/// The body, ending in an error where it, or a line of it, is longer than the limit.
fn bounded(response: reqwest::Response, limit: u64, max_line: u64, seen: &Arc<Seen>) -> Bytes {
    let seen = Arc::clone(seen);
    let mut line = 0;
    Box::pin(response.bytes_stream().map(move |chunk| {
        let chunk = chunk.map_err(io::Error::other)?;
        let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        line = match memchr::memrchr(b'\n', &chunk) {
            Some(end) => size(&chunk[end..]),
            None => line + size(&chunk),
        };
        let all = seen.bytes.fetch_add(size(&chunk), Ordering::Relaxed) + size(&chunk);
        for (length, limit) in [(all, limit), (line, max_line)] {
            if length > limit {
                seen.too_large.store(limit.max(1), Ordering::Relaxed);
                return Err(io::Error::other("too long"));
            }
        }
        Ok(chunk.into())
    }))
}

/// The beginning of a body; what breaks off is as good as what ends.
async fn read(bytes: &mut Bytes, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = bytes.next().await {
        body.extend_from_slice(&chunk);
        if body.len() >= limit {
            body.truncate(limit);
            break;
        }
    }
    body
}

fn of_transport(error: &reqwest::Error, host: String) -> Trouble {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_body() || error.is_decode() {
        return Trouble::Cut { host, shown: false };
    }
    let why =
        if error.is_timeout() { "no connection in time".to_owned() } else { cause.to_string() };
    Trouble::Unreachable { host, why: said(&why) }
}
