//! The services that can be connected, as data: where they are, what they ask for, how their
//! answers depart from the rule. Code is only what really differs, in three small functions a
//! provider. The facts come from the providers' own documentation and published specifications.

mod asana;
mod atlassian;
mod dropbox;
mod github;
mod google;
pub(super) mod highlevel;
mod kind;
mod monday;
mod slack;

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::{call::Asker, trouble::Trouble};
use crate::error::Error;

pub use kind::{Duty, KINDS, Kind};

/// All of them.
pub static PROVIDERS: [&Provider; 8] = [
    &github::GITHUB,
    &slack::SLACK,
    &google::GOOGLE,
    &dropbox::DROPBOX,
    &asana::ASANA,
    &atlassian::ATLASSIAN,
    &monday::MONDAY,
    &highlevel::HIGHLEVEL,
];

/// A service with its own OAuth application: one consent there is one grant.
pub struct Provider {
    /// In configuration and rows: "google".
    pub key: &'static str,
    /// What people know it as.
    pub label: &'static str,
    pub authorize_url: &'static str,
    pub token_url: &'static str,
    /// The API's base; `{place}` stands for the chosen site.
    pub api_url: &'static str,
    /// Where files are sent to, if not to `api_url`.
    pub content_url: &'static str,
    /// Google Meet has a host of its own.
    pub meet_url: &'static str,
    pub authorize_params: &'static [(&'static str, &'static str)],
    /// Sent along with the exchange of a code, and with a refresh.
    pub token_params: &'static [(&'static str, &'static str)],
    /// Asked for whatever is connected: who it is.
    pub base_scopes: &'static [&'static str],
    /// Between the scopes that are asked for.
    pub scope_separator: &'static str,
    pub client_auth: ClientAuth,
    /// S256; Slack would make the application a public client for good.
    pub pkce: bool,
    pub expiry: Expiry,
    /// What an answer's status says of the token.
    pub expired_by: &'static [Expired],
    pub revoke: Revoke,
    /// Where a person takes the access away, if Lux cannot.
    pub remove_at: &'static str,
    /// Before the token in `Authorization`.
    pub bearer: &'static str,
    /// Sent with every call.
    pub headers: &'static [(&'static str, &'static str)],
    /// How long a consent lasts, however often it is refreshed.
    pub lasts: Option<Duration>,
    /// The console where Lux is registered.
    pub console: &'static str,
    /// Puts what departs from RFC 6749 in a token answer right.
    pub token_answer: fn(&mut Map<String, Value>),
    /// Says who it is that consented.
    pub identify: for<'a> fn(&'a Asker<'a>, &'a Map<String, Value>) -> Identifying<'a>,
    /// What an API's answer complains of; `None` if it does not.
    pub complaint: fn(StatusCode, &HeaderMap, &Value) -> Option<Complaint>,
}

/// The answer to who it is.
pub type Identifying<'a> = BoxFuture<'a, Result<Identity, Trouble>>;

/// How Lux says who it is at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    Body,
    Basic,
}

/// Where it is said how long an access token lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// In `expires_in`; without it the token does not end.
    ExpiresIn,
    /// In the token itself, a JWT; where it cannot be read, so long.
    Jwt(Duration),
}

/// A status that means that the access token is over.
#[derive(Clone, Copy, Debug)]
pub struct Expired {
    pub status: u16,
    /// It means so only if the token should be over by its own time: Atlassian's gateway says 404
    /// of expired tokens, and of what does not exist.
    pub only_when_over: bool,
}

/// The rule: 401.
const UNAUTHORIZED: &[Expired] = &[Expired { status: 401, only_when_over: false }];

/// How a grant is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// There is no way.
    None,
    /// `token` in a form (RFC 7009), with the client's id and secret.
    Form(&'static str),
    /// `token` alone, in a form.
    Token(&'static str),
    /// The access token as bearer, no body.
    Bearer(&'static str),
    /// GitHub's: DELETE with Basic, the token as JSON; `{client_id}` in the address.
    Github(&'static str),
}

/// Who consented, and where it serves.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// What the provider knows them by.
    pub id: String,
    pub username: Option<String>,
    pub email: Option<String>,
    pub avatar_url: Option<String>,
    pub name: Option<String>,
    /// Where it may serve. With one, that is chosen; with several a person chooses.
    pub places: Vec<Place>,
    /// What later calls need besides.
    pub details: Map<String, Value>,
}

/// A site, a workspace, a location.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = IntegrationPlace)]
pub struct Place {
    pub id: String,
    pub name: String,
    /// Where people look at it.
    pub url: Option<String>,
}

/// What an API complains of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The token is over, whatever the status was.
    Expired,
    /// The consent was withdrawn.
    Revoked(String),
    /// Too much; after how long it may be tried again, if that was said.
    TooMany(Option<Duration>),
    MissingScope(String),
    NotFound(String),
    /// The request is not done: the provider's code and words.
    Refused(String),
}

pub(super) fn find(key: &str) -> Result<&'static Provider, Error> {
    let found = PROVIDERS.into_iter().find(|provider| provider.key == key);
    found.ok_or(Error::NotFound("provider"))
}

/// A text in a value, at a path of keys.
fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, key| value.get(key))?;
    match found {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The time that a header or field of whole seconds names.
fn seconds(text: Option<&str>) -> Option<Duration> {
    text?.trim().parse().ok().map(Duration::from_secs)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    seconds(header(headers, "retry-after"))
}

/// The rule for what has no words of its own.
fn plain(status: StatusCode, headers: &HeaderMap, message: Option<String>) -> Option<Complaint> {
    let message = message.unwrap_or_else(|| format!("status {}", status.as_u16()));
    match status.as_u16() {
        200..=399 => None,
        429 => Some(Complaint::TooMany(retry_after(headers))),
        503 if headers.contains_key("retry-after") => {
            Some(Complaint::TooMany(retry_after(headers)))
        }
        404 | 410 => Some(Complaint::NotFound(message)),
        _ => Some(Complaint::Refused(message)),
    }
}
