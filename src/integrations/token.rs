//! A provider's token endpoint: a code or a refresh token for new tokens. The library makes the
//! requests; between it and the wire stands what puts the providers' ways right: errors with
//! status 200, forms for JSON, numbers as texts, tokens one level deeper.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, StandardRevocableToken, StandardTokenResponse,
    TokenResponse, TokenUrl,
    basic::{
        BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
        BasicTokenIntrospectionResponse, BasicTokenType,
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Registered,
    call::words,
    provider::{ClientAuth, Expiry, Provider},
    trouble::Trouble,
};
use crate::outbound::Outbound;

/// How long the token endpoint may take; well under the lease of a refresh.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer of a token endpoint, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// All fields that OAuth does not name.
#[derive(Serialize, Deserialize)]
pub(super) struct Extra {
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl std::fmt::Debug for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extra(..)")
    }
}

impl ExtraTokenFields for Extra {}

type Token = StandardTokenResponse<Extra, BasicTokenType>;

pub(super) type OAuth = Client<
    BasicErrorResponse,
    Token,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// What a provider gave.
pub(super) struct Tokens {
    pub(super) access: SecretString,
    pub(super) refresh: Option<SecretString>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) refresh_expires_at: Option<DateTime<Utc>>,
    /// Separated by spaces; `None` if nothing was said.
    pub(super) scopes: Option<String>,
    /// The answer's other fields, without tokens.
    pub(super) answer: Map<String, Value>,
}

/// How a token endpoint refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// The code or refresh token is not, or no longer, good: for good.
    Grant(String),
    /// Lux is not known there as it says.
    Client(String),
    /// Nobody knows; later perhaps.
    Passing(String),
}

impl Refused {
    pub(super) fn trouble(self, provider: &'static Provider) -> Trouble {
        let label = provider.label;
        match self {
            Self::Grant(why) => Trouble::Ended { label, why },
            Self::Client(why) => Trouble::Client { label, why },
            Self::Passing(why) => Trouble::Down { label, why },
        }
    }
}

/// OAuth's client of a provider.
pub(super) fn client(of: &Registered, redirect_uri: String) -> Result<OAuth, Trouble> {
    let redirect = RedirectUrl::new(redirect_uri).map_err(|error| {
        Trouble::Failed(anyhow::anyhow!("the redirect address is none: {error}").into())
    })?;
    Ok(Client::new(ClientId::new(of.client.id.clone()))
        .set_client_secret(ClientSecret::new(of.client.secret.expose_secret().to_owned()))
        .set_auth_uri(AuthUrl::from_url(of.endpoints.authorize.clone()))
        .set_token_uri(TokenUrl::from_url(of.endpoints.token.clone()))
        .set_redirect_uri(redirect)
        .set_auth_type(match of.provider.client_auth {
            ClientAuth::Body => AuthType::RequestBody,
            ClientAuth::Basic => AuthType::BasicAuth,
        }))
}

/// Redeems a code; it is sent once.
pub(super) async fn exchange(
    of: &Registered,
    oauth: &OAuth,
    outbound: &Outbound,
    code: String,
    verifier: Option<&SecretString>,
    now: DateTime<Utc>,
) -> Result<Tokens, Refused> {
    let mut request = oauth.exchange_code(AuthorizationCode::new(code));
    if let Some(verifier) = verifier {
        let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
        request = request.set_pkce_verifier(verifier);
    }
    for (name, value) in of.provider.token_params {
        request = request.add_extra_param(*name, *value);
    }
    let http = Http { outbound: outbound.clone(), provider: of.provider };
    let answer = request.request_async(&http).await;
    answer.map(|token| tokens(of.provider, &token, now)).map_err(|error| refused(&error))
}

/// Redeems a refresh token; it is sent once.
pub(super) async fn refresh(
    of: &Registered,
    oauth: &OAuth,
    outbound: &Outbound,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<Tokens, Refused> {
    let token = RefreshToken::new(token.expose_secret().to_owned());
    let mut request = oauth.exchange_refresh_token(&token);
    for (name, value) in of.provider.token_params {
        request = request.add_extra_param(*name, *value);
    }
    let http = Http { outbound: outbound.clone(), provider: of.provider };
    let answer = request.request_async(&http).await;
    answer.map(|token| tokens(of.provider, &token, now)).map_err(|error| refused(&error))
}

fn tokens(provider: &Provider, token: &Token, now: DateTime<Utc>) -> Tokens {
    let access = token.access_token().secret();
    let at = |lifetime: Duration| TimeDelta::from_std(lifetime).ok().map(|delta| now + delta);
    let expires_at = match provider.expiry {
        Expiry::ExpiresIn => token.expires_in().and_then(at),
        Expiry::Jwt(usual) => {
            jwt_end(access).or_else(|| token.expires_in().and_then(at)).or_else(|| at(usual))
        }
    };
    let mut answer = token.extra_fields().fields.clone();
    let refresh_lifetime = answer.get("refresh_token_expires_in").and_then(whole);
    if let Some(user) = answer.get_mut("authed_user").and_then(Value::as_object_mut) {
        user.retain(|key, _| !key.ends_with("_token"));
    }
    answer.retain(|key, _| !key.ends_with("token"));
    Tokens {
        access: access.clone().into(),
        refresh: token.refresh_token().map(|token| token.secret().clone().into()),
        expires_at,
        refresh_expires_at: refresh_lifetime.map(Duration::from_secs).and_then(at),
        scopes: token.scopes().map(|scopes| {
            // Some separate them by commas, which the library takes for one scope.
            let scopes = scopes.iter().flat_map(|scope| scope.split([',', ' ']));
            scopes.filter(|scope| !scope.is_empty()).collect::<Vec<_>>().join(" ")
        }),
        answer,
    }
}

/// When a JWT says that it ends. It is not verified: the one who gave it only tells us when to
/// come back.
fn jwt_end(token: &str) -> Option<DateTime<Utc>> {
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let payload: Value = serde_json::from_slice(&payload).ok()?;
    DateTime::from_timestamp(payload.get("exp")?.as_i64()?, 0)
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Passing(String);

/// Lux's own client, for the library that makes the requests.
struct Http {
    outbound: Outbound,
    provider: &'static Provider,
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = Passing;
    type Future = BoxFuture<'c, Result<HttpResponse, Passing>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Http {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Passing> {
        let (parts, body) = request.into_parts();
        let request = self.outbound.request(parts.method, &parts.uri.to_string());
        let request = request.headers(parts.headers).body(body);
        let answer = self.outbound.send(request, TIMEOUT, MAX_ANSWER).await;
        let answer = answer.map_err(|error| Passing(error.to_string()))?;
        let status = answer.status;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Passing(format!("status {}", status.as_u16())));
        }
        if answer.truncated || status.is_redirection() {
            return Err(Passing("its answer is too large, or leads elsewhere".to_owned()));
        }
        let kind = answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let fields = fields(kind.unwrap_or_default(), &answer.body)
            .ok_or_else(|| Passing("its answer is neither JSON nor a form".to_owned()))?;
        let (status, fields) = normal(self.provider, status, fields);
        let mut response = HttpResponse::new(Value::Object(fields).to_string().into_bytes());
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }
}

/// The fields of an answer, from JSON or from a form.
fn fields(kind: &str, body: &[u8]) -> Option<Map<String, Value>> {
    if kind.starts_with("application/x-www-form-urlencoded") {
        let pairs = url::form_urlencoded::parse(body);
        return Some(pairs.map(|(name, value)| (name.into_owned(), json!(value))).collect());
    }
    match serde_json::from_slice(body).ok()? {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// An answer as RFC 6749 has it, whatever the provider's ways are.
fn normal(
    provider: &Provider,
    status: StatusCode,
    mut fields: Map<String, Value>,
) -> (StatusCode, Map<String, Value>) {
    (provider.token_answer)(&mut fields);
    let is_refusal = fields.get("ok") == Some(&Value::Bool(false))
        || !fields.contains_key("access_token") && fields.contains_key("error")
        || !status.is_success();
    if is_refusal {
        let of = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
        let error = of("error");
        let said = of("error_description").or_else(|| of("message"));
        let code = code(error.as_deref(), said.as_deref());
        let mut refusal = Map::new();
        refusal.insert("error".to_owned(), json!(code));
        let told = match (error, said) {
            (Some(error), Some(said)) if error != said => format!("{error}: {said}"),
            (error, said) => {
                said.or(error).unwrap_or_else(|| format!("status {}", status.as_u16()))
            }
        };
        refusal.insert("error_description".to_owned(), json!(told));
        return (StatusCode::BAD_REQUEST, refusal);
    }
    for key in ["expires_in", "refresh_token_expires_in"] {
        if let Some(seconds) = fields.get(key).and_then(whole) {
            fields.insert(key.to_owned(), json!(seconds));
        }
    }
    // What is no number at all says nothing.
    if fields.get("expires_in").is_some_and(|value| !value.is_u64()) {
        fields.remove("expires_in");
    }
    for key in ["scope", "refresh_token"] {
        if fields.get(key).is_some_and(|value| value.as_str().is_none_or(str::is_empty)) {
            fields.remove(key);
        }
    }
    fields.entry("token_type").or_insert_with(|| json!("bearer"));
    (status, fields)
}

/// The one of RFC 6749's codes that a provider's words mean.
fn code(error: Option<&str>, said: Option<&str>) -> &'static str {
    let told = format!("{} {}", error.unwrap_or_default(), said.unwrap_or_default()).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| told.contains(word));
    if has(&[
        "invalid_grant",
        "invalid grant",
        "bad_refresh_token",
        "bad_verification_code",
        "invalid_refresh_token",
        "refresh_token is invalid",
        "invalid refresh token",
        "unknown or invalid refresh token",
        "globally revoked",
        "token_revoked",
        "token_expired",
        "account_inactive",
        "invalid_code",
        "code_already_used",
        "invalid authorization code",
        "unverified_user_email",
    ]) {
        "invalid_grant"
    } else if has(&[
        "invalid_client",
        // Atlassian's, of a wrong secret.
        "access_denied",
        "incorrect_client_credentials",
        "bad_client_secret",
        "redirect_uri_mismatch",
        "bad_redirect_uri",
        "unauthorized_client",
        "application_suspended",
        "invalid client",
    ]) {
        "invalid_client"
    } else {
        "invalid_request"
    }
}

fn refused(error: &RequestTokenError<Passing, BasicErrorResponse>) -> Refused {
    match error {
        RequestTokenError::Request(passing) => Refused::Passing(words(&passing.0)),
        RequestTokenError::ServerResponse(told) => {
            let said = told.error_description().map_or("no reason was given", String::as_str);
            let said = words(said);
            match told.error() {
                BasicErrorResponseType::InvalidGrant => Refused::Grant(said),
                BasicErrorResponseType::InvalidClient
                | BasicErrorResponseType::UnauthorizedClient => Refused::Client(said),
                _ => Refused::Passing(said),
            }
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Refused::Passing("its answer has no token".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::{code, fields, jwt_end, normal};
    use crate::integrations::provider;

    fn answer(key: &str, status: u16, value: Value) -> (u16, Value) {
        let Value::Object(fields) = value else { panic!("no object") };
        let provider = provider::find(key).unwrap();
        let (status, fields) = normal(provider, StatusCode::from_u16(status).unwrap(), fields);
        (status.as_u16(), Value::Object(fields))
    }

    #[test]
    fn providers_ways_are_put_right() {
        let refused =
            json!({"error": "bad_verification_code", "error_description": "The code is wrong"});
        let (status, told) = answer("github", 200, refused);
        assert_eq!((status, told["error"].as_str()), (400, Some("invalid_grant")));
        let (status, told) = answer("slack", 200, json!({"ok": false, "error": "invalid_code"}));
        assert_eq!((status, told["error"].as_str()), (400, Some("invalid_grant")));
        let user = json!({"ok": true, "authed_user": {"id": "U1", "access_token": "xoxp", "scope": "a,b"}});
        let (status, told) = answer("slack", 200, user);
        assert_eq!((status, &told["access_token"]), (200, &json!("xoxp")));
        let texts = json!({"access_token": "a", "expires_in": "3600", "scope": ""});
        let (_, told) = answer("google", 200, texts);
        assert_eq!(told, json!({"access_token": "a", "expires_in": 3600, "token_type": "bearer"}));
        let highlevel =
            json!({"statusCode": 400, "message": "Invalid refresh token", "error": "Bad Request"});
        assert_eq!(answer("highlevel", 400, highlevel).1["error"], "invalid_grant");
        let camel = json!({"accessToken": "a", "refreshToken": "b", "expiresIn": 10});
        assert_eq!(answer("highlevel", 200, camel).1["refresh_token"], "b");
    }

    #[test]
    fn a_form_is_read_as_json_is() {
        let form = fields(
            "application/x-www-form-urlencoded; charset=utf-8",
            b"access_token=a&scope=b%2Cc",
        );
        assert_eq!(Value::Object(form.unwrap()), json!({"access_token": "a", "scope": "b,c"}));
        assert!(fields("text/html", b"<html>").is_none());
        assert!(fields("application/json", b"[1]").is_none());
    }

    #[test]
    fn words_lead_to_codes() {
        for (error, said, expected) in [
            ("unauthorized_client", Some("refresh_token is invalid"), "invalid_grant"),
            ("unauthorized_client", None, "invalid_client"),
            ("incorrect_client_credentials", None, "invalid_client"),
            ("access_denied", Some("Unauthorized"), "invalid_client"),
            ("Bad Request", Some("Invalid grant: refresh token is invalid"), "invalid_grant"),
            ("server_error", None, "invalid_request"),
        ] {
            assert_eq!(code(Some(error), said), expected, "{error}");
        }
    }

    #[test]
    fn a_jwt_says_when_it_ends() {
        // {"exp":1800000000}
        let end = jwt_end("eyJhbGciOiJub25lIn0.eyJleHAiOjE4MDAwMDAwMDB9.x");
        assert_eq!(end.unwrap().timestamp(), 1_800_000_000);
        assert_eq!(jwt_end("opaque"), None);
    }
}
