//! Requests of probes: to a [`Target`] only, limited in rate, time, size and redirects,
//! and marked, so that what they cause is known as theirs.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::{
    resolve::{Astray, Resolver},
    target::Target,
};
use crate::{clock, error::Error};

/// What the `User-Agent` of every probe's request begins with.
pub const AGENT: &str = "Lux-Probe/";
/// The header that names the probe's run.
pub const MARK: &str = "x-lux-probe";
/// Bytes of a body, after inflating, that are read.
pub const MAX_BODY: usize = 256 * 1024;
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 3;
/// How long connecting may take, the TLS handshake included.
const CONNECT: Duration = Duration::from_secs(5);

/// Sends the requests of probes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Visitor {
    client: reqwest::Client,
    resolver: Resolver,
    /// By origin. The origins are those of the configuration, so there are few.
    pace: Arc<DefaultKeyedRateLimiter<String>>,
}

/// One request, redirects included.
pub struct Visit<'a> {
    pub target: &'a Target,
    pub url: Url,
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Option<String>,
    /// Names this run in `X-Lux-Probe`.
    pub mark: &'a str,
    /// For everything, redirects and body included.
    pub timeout: Duration,
    /// Whether redirects to the same origin are followed.
    pub follow: bool,
    /// Whether a redirect may lead to this URL; the error says why not.
    pub may_lead_to: &'a (dyn Fn(&Url) -> Result<(), String> + Send + Sync),
}

/// What came back.
#[derive(Debug)]
pub struct Seen {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// At most [`MAX_BODY`] bytes of it, inflated.
    pub body: Vec<u8>,
    /// There was more.
    pub truncated: bool,
    /// From sending to the end of the body, without waiting for the rate limit.
    pub took: Duration,
    /// The URL that answered in the end.
    pub url: Url,
    /// Each `Location` that was given, also that of a redirect that was not followed.
    pub locations: Vec<String>,
    /// Why the last redirect was not followed.
    pub stopped: Option<String>,
    /// The server's certificate (DER).
    pub certificate: Option<Vec<u8>>,
}

/// Why nothing (whole) came back.
#[derive(Debug)]
pub struct Failed {
    pub kind: Failure,
    /// One sentence.
    pub why: String,
    /// Where it broke off after the head.
    pub status: Option<StatusCode>,
    pub took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Lux did not go there.
    Forbidden,
    /// The name does not resolve.
    Name,
    /// Nothing accepts connections, or TLS fails.
    Connect,
    Timeout,
    /// The answer is not HTTP or broke off.
    Broken,
}

impl Visitor {
    /// Requests a second to one origin. Fails only where the system's certificates cannot be
    /// read.
    pub fn new(resolver: Resolver, per_second: u32) -> Result<Self, Error> {
        let agent = concat!("Lux-Probe/", env!("CARGO_PKG_VERSION"));
        let client = reqwest::Client::builder()
            .user_agent(agent)
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(resolver.clone()))
            .tls_info(true)
            // A connection kept from before says nothing about whether one can be made now.
            .pool_max_idle_per_host(0)
            .retry(reqwest::retry::never())
            .no_proxy()
            .tls_backend_preconfigured(super::tls::system()?)
            .build()
            .map_err(|error| Error::Internal(error.into()))?;
        let quota = Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Ok(Self { client, resolver, pace: Arc::new(RateLimiter::keyed(quota)) })
    }

    /// The addresses of a name that may be connected to; for probes that speak no HTTP.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Waits until another request to this origin may be sent.
    pub async fn turn(&self, origin: &str) {
        self.pace.until_key_ready(&origin.to_owned()).await;
    }

    /// Sends it and reads the answer.
    pub async fn visit(&self, visit: Visit<'_>) -> Result<Seen, Failed> {
        let mut under_way = UnderWay { took: Duration::ZERO, status: None, started: None };
        if !visit.target.holds(&visit.url) {
            return Err(under_way.fail(
                Failure::Forbidden,
                "the address is not on the application's origin; Lux did not ask it".to_owned(),
            ));
        }
        let timeout = visit.timeout;
        // The waiting for a turn is not the application's time.
        self.turn(&visit.target.origin()).await;
        match tokio::time::timeout(timeout, self.walk(&visit, &mut under_way)).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => Err(under_way.explain(&error)),
            Err(_) => {
                let what = if under_way.status.is_some() { "end its answer" } else { "answer" };
                let why = format!("did not {what} within {}", shown(timeout));
                Err(under_way.fail(Failure::Timeout, why))
            }
        }
    }

    async fn walk(&self, visit: &Visit<'_>, under_way: &mut UnderWay) -> reqwest::Result<Seen> {
        let mut url = visit.url.clone();
        let mut method = visit.method.clone();
        let mut locations = Vec::new();
        loop {
            under_way.begin();
            let response = self.send(visit, method.clone(), &url).await?;
            under_way.status = Some(response.status());
            let next = match next(&response, &url, &locations) {
                None => None,
                Some((location, next)) => {
                    locations.push(location);
                    Some(next.and_then(|next| allowed(visit, next)))
                }
            };
            if let Some(Ok(next)) = next {
                under_way.end();
                // 307 and 308 keep the method; it is a safe one either way.
                if !matches!(response.status().as_u16(), 307 | 308) && method != Method::HEAD {
                    method = Method::GET;
                }
                url = next;
                self.turn(&visit.target.origin()).await;
                continue;
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let certificate = response
                .extensions()
                .get::<reqwest::tls::TlsInfo>()
                .and_then(|info| info.peer_certificate())
                .map(<[u8]>::to_vec);
            let (body, truncated) = read(response).await?;
            under_way.end();
            return Ok(Seen {
                status,
                headers,
                body,
                truncated,
                took: under_way.took,
                url,
                locations,
                stopped: next.and_then(Result::err),
                certificate,
            });
        }
    }

    async fn send(
        &self,
        visit: &Visit<'_>,
        method: Method,
        url: &Url,
    ) -> reqwest::Result<reqwest::Response> {
        let mut headers = visit.headers.clone();
        if let Ok(mark) = HeaderValue::from_str(visit.mark) {
            headers.insert(MARK, mark);
        }
        let with_body = method == visit.method;
        let mut request = self.client.request(method, url.clone()).headers(headers);
        if with_body && let Some(body) = &visit.body {
            request = request.body(body.clone());
        }
        request.send().await
    }
}

/// The `Location` of a redirect (clipped), and where it leads.
fn next(
    response: &reqwest::Response,
    from: &Url,
    before: &[String],
) -> Option<(String, Result<Url, String>)> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    let text = String::from_utf8_lossy(location.as_bytes());
    let clipped = text[..text.floor_char_boundary(super::target::MAX_PATH)].to_owned();
    let next = if before.len() >= MAX_REDIRECTS {
        Err(format!("it redirects more than {MAX_REDIRECTS} times"))
    } else if clipped.len() < text.len() {
        Err("the redirect's address is too long".to_owned())
    } else {
        from.join(&text).map_err(|_| "the redirect leads to no valid address".to_owned())
    };
    Some((clipped, next))
}

fn allowed(visit: &Visit<'_>, mut next: Url) -> Result<Url, String> {
    if !visit.target.holds(&next) {
        let to = next.host_str().unwrap_or("nowhere");
        return Err(format!("it redirects to another origin ({to}), which Lux does not follow"));
    }
    if !visit.follow {
        return Err("redirects are not followed for this request".to_owned());
    }
    next.set_fragment(None);
    (visit.may_lead_to)(&next)?;
    Ok(next)
}

/// At most [`MAX_BODY`] bytes of the (inflated) body.
async fn read(response: reqwest::Response) -> reqwest::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let room = MAX_BODY - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, false))
}

/// How far a visit has come, for telling about one that failed.
struct UnderWay {
    took: Duration,
    status: Option<StatusCode>,
    started: Option<Instant>,
}

impl UnderWay {
    fn begin(&mut self) {
        self.started = Some(clock::instant());
        self.status = None;
    }

    fn end(&mut self) {
        if let Some(started) = self.started.take() {
            self.took += started.elapsed();
        }
    }

    fn fail(mut self, kind: Failure, why: String) -> Failed {
        self.end();
        Failed { kind, why, status: self.status, took: self.took }
    }

    /// The innermost cause says what happened.
    fn explain(self, error: &reqwest::Error) -> Failed {
        let mut cause: &(dyn std::error::Error + 'static) = error;
        let mut astray = None;
        while let Some(deeper) = cause.source() {
            cause = deeper;
            astray = astray.or_else(|| cause.downcast_ref::<Astray>());
        }
        let (kind, why) = if let Some(astray) = astray {
            let kind = match astray {
                Astray::Unknown(_) => Failure::Name,
                Astray::Forbidden(_) => Failure::Forbidden,
            };
            (kind, astray.to_string())
        } else if error.is_timeout() {
            (Failure::Timeout, "did not take a connection in time".to_owned())
        } else if error.is_connect() {
            (Failure::Connect, format!("cannot be reached: {cause}"))
        } else {
            (Failure::Broken, format!("broke off: {cause}"))
        };
        self.fail(kind, why)
    }
}

/// Whether an event was caused by a probe of Lux: it carries the probes' mark in its
/// request's headers, or their agent.
pub fn is_marked(headers: &BTreeMap<String, String>, agent: Option<&str>) -> bool {
    headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case(MARK)
            || (name.eq_ignore_ascii_case("user-agent") && value.starts_with(AGENT))
    }) || agent.is_some_and(|agent| agent.starts_with(AGENT))
}

/// "10 s", "250 ms"
pub(crate) fn shown(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}
