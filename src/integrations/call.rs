//! One request to a provider's API: made, sent once, its answer judged. What keeps a token fresh
//! and tries again stands above it, in [`super::Connection`].

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::{
    endpoints::Endpoints,
    provider::{Complaint, Provider},
    trouble::Trouble,
};
use crate::{
    outbound::{Outbound, never_left},
    redact,
};

/// How long a provider may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// The longest of a provider's words that are shown, in characters.
const MAX_WORDS: usize = 300;

/// Which of a provider's hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Api,
    Content,
    Meet,
}

/// What is sent along.
#[derive(Clone, Debug)]
pub enum Body {
    Nothing,
    Json(Value),
    Bytes { kind: String, bytes: Vec<u8> },
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub base: Base,
    /// Below the base, with a slash before it; parts from outside have to be encoded.
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// Whether doing it twice is as good as once: then it is tried again after no answer.
    pub is_repeatable: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, body: Body) -> Self {
        let is_repeatable = method == Method::GET;
        Self {
            method,
            base: Base::Api,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body,
            is_repeatable,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Body::Nothing)
    }

    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path, Body::Json(body))
    }

    pub fn post_nothing(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, Body::Nothing)
    }

    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { is_repeatable: true, ..Self::new(Method::PUT, path, Body::Json(body)) }
    }

    pub fn patch(path: impl Into<String>, body: Value) -> Self {
        Self { is_repeatable: true, ..Self::new(Method::PATCH, path, Body::Json(body)) }
    }

    pub fn send_bytes(path: impl Into<String>, kind: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(Method::POST, path, Body::Bytes { kind: kind.into(), bytes })
    }

    #[must_use]
    pub fn to(mut self, base: Base) -> Self {
        self.base = base;
        self
    }

    #[must_use]
    pub fn param(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A POST that only reads, or that the provider itself knows again.
    #[must_use]
    pub fn harmless(mut self) -> Self {
        self.is_repeatable = true;
        self
    }
}

/// A part of a path that came from outside.
pub fn segment(text: &str) -> Cow<'_, str> {
    // As in a form, but for the space: no slash, dot or question mark keeps its meaning.
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let encoded = encoded.replace('+', "%20");
    if matches!(text, "." | "..") { Cow::Owned(text.replace('.', "%2E")) } else { encoded.into() }
}

/// What came back, if it was no complaint.
#[derive(Debug)]
pub struct Answer {
    pub headers: HeaderMap,
    /// `null` where it was no JSON.
    pub body: Value,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Came {
    Answer(Answer),
    Complaint(StatusCode, Complaint),
    /// No answer, or none that makes sense: nothing is known.
    Nothing(String),
    /// No connection: nothing was sent.
    Unreached(String),
}

/// Sends single requests with a token that is at hand.
pub struct Asker<'a> {
    pub(super) outbound: &'a Outbound,
    pub(super) provider: &'static Provider,
    pub(super) endpoints: &'a Endpoints,
    pub(super) token: &'a SecretString,
    /// What the last answer that [`Asker::json`] read complained of: who asks several things at
    /// once learns from it whether the token is over.
    pub(super) complained: Mutex<Option<(StatusCode, Complaint)>>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(
        outbound: &'a Outbound,
        provider: &'static Provider,
        endpoints: &'a Endpoints,
        token: &'a SecretString,
    ) -> Self {
        Self { outbound, provider, endpoints, token, complained: Mutex::default() }
    }

    /// The JSON of an answer.
    pub async fn json(&self, call: Call) -> Result<Value, Trouble> {
        let came = self.send(&call).await?;
        *self.complained.lock().unwrap_or_else(PoisonError::into_inner) = match &came {
            Came::Complaint(status, complaint) => Some((*status, complaint.clone())),
            Came::Answer(_) | Came::Nothing(_) | Came::Unreached(_) => None,
        };
        match came {
            Came::Answer(answer) => Ok(answer.body),
            Came::Complaint(_, complaint) => Err(trouble(self.provider, complaint)),
            Came::Nothing(why) => Err(Trouble::Down { label: self.provider.label, why }),
            Came::Unreached(why) => Err(Trouble::Unreached { label: self.provider.label, why }),
        }
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Came, Trouble> {
        let url = self.url(call)?;
        let mut request = self.outbound.request(call.method.clone(), url.as_str());
        for (name, value) in self.provider.headers {
            if !call.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                request = request.header(*name, *value);
            }
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let bearer = format!("{}{}", self.provider.bearer, self.token.expose_secret());
        let mut bearer = http::HeaderValue::from_str(&bearer).map_err(|_| Trouble::Ended {
            label: self.provider.label,
            why: "its token holds what no header may".to_owned(),
        })?;
        bearer.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, bearer);
        request = match &call.body {
            Body::Nothing => request,
            Body::Json(json) => request
                .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
                .body(json.to_string()),
            Body::Bytes { kind, bytes } => {
                request.header(header::CONTENT_TYPE, kind).body(bytes.clone())
            }
        };
        let answer = match self.outbound.send(request, TIMEOUT, MAX_ANSWER).await {
            Ok(answer) => answer,
            Err(error) if never_left(&error) => return Ok(Came::Unreached(error.to_string())),
            Err(error) => return Ok(Came::Nothing(error.to_string())),
        };
        if answer.truncated {
            return Ok(Came::Nothing(format!("its answer is longer than {MAX_ANSWER} bytes")));
        }
        let status = answer.status;
        if status.is_redirection() {
            // Following it would take the token to wherever it leads.
            return Ok(Came::Nothing("it leads elsewhere".to_owned()));
        }
        let read: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let body = read.clone().unwrap_or_else(|| plain_text(&answer.body));
        if let Some(complaint) = (self.provider.complaint)(status, &answer.headers, &body) {
            if status.is_server_error() && !matches!(complaint, Complaint::TooMany(_)) {
                return Ok(Came::Nothing(format!("status {}", status.as_u16())));
            }
            return Ok(Came::Complaint(status, complaint));
        }
        if read.is_none() && !answer.body.is_empty() {
            return Ok(Came::Nothing("its answer is no JSON".to_owned()));
        }
        Ok(Came::Answer(Answer { headers: answer.headers, body: read.unwrap_or_default() }))
    }

    fn url(&self, call: &Call) -> Result<Url, Trouble> {
        let base = self.endpoints.base(call.base);
        let text = format!("{}{}", base.as_str().trim_end_matches('/'), call.path);
        let mut url = Url::parse(&text)
            .map_err(|error| anyhow::anyhow!("{text} is no address: {error}"))
            .map_err(crate::error::Error::from)?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }
}

/// A short text that is no JSON becomes `{"message": …}`, as most providers have it.
fn plain_text(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(&body[..body.len().min(2 * MAX_WORDS)]);
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') {
        return Value::Null;
    }
    serde_json::json!({"message": text})
}

/// A complaint as what it means for whoever asked.
pub(super) fn trouble(provider: &'static Provider, complaint: Complaint) -> Trouble {
    let label = provider.label;
    match complaint {
        Complaint::Expired => Trouble::Ended { label, why: "its token is over".to_owned() },
        Complaint::Revoked(why) => Trouble::Ended { label, why: words(&why) },
        Complaint::TooMany(wait) => {
            Trouble::TooMany { label, wait: wait.unwrap_or(Duration::from_secs(30)) }
        }
        Complaint::MissingScope(scopes) if scopes.is_empty() => {
            Trouble::MissingScopes { label, scopes: "a permission".to_owned() }
        }
        Complaint::MissingScope(scopes) => Trouble::MissingScopes { label, scopes: words(&scopes) },
        Complaint::NotFound(why) => Trouble::NotFound { label, why: words(&why) },
        Complaint::Refused(why) => Trouble::Refused { label, why: words(&why) },
    }
}

/// A provider's words as they may be shown: one line, bounded, without secrets.
pub(super) fn words(text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect();
    redact::secrets(line.trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{segment, words};

    #[test]
    fn a_segment_stays_one() {
        for (text, encoded) in
            [("a/b", "a%2Fb"), ("..", "%2E%2E"), ("a b?c#d", "a%20b%3Fc%23d"), ("OPS-1", "OPS-1")]
        {
            assert_eq!(segment(text), encoded);
        }
    }

    #[test]
    fn words_are_bounded_and_hold_no_secret() {
        let told = words(&format!("no\r\naccess_token=hunter2hunter2 {}", "x".repeat(1000)));
        assert!(told.len() <= 320 && !told.contains('\n') && !told.contains("hunter2"), "{told}");
    }
}
