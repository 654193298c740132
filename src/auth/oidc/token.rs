//! The provider's token endpoint: a code or a refresh token for new tokens. Each is sent once:
//! a second time would look like theft, and end what the first one got.

use std::fmt;

use futures_util::future::BoxFuture;
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

use super::{
    Refused,
    discovery::Metadata,
    fetch::{MAX_BODY, TIMEOUT, is_passing},
};
use crate::{config, outbound::Outbound};

/// What OpenID Connect adds to OAuth's answer.
#[derive(Serialize, Deserialize)]
pub(super) struct WithIdToken {
    id_token: Option<String>,
}

impl fmt::Debug for WithIdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithIdToken(..)")
    }
}

impl ExtraTokenFields for WithIdToken {}

type Answer = StandardTokenResponse<WithIdToken, BasicTokenType>;

/// OAuth's client of one provider.
pub(super) type OAuth = Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Lux as this provider knows it.
pub(super) fn client(
    provider: &config::Provider,
    metadata: &Metadata,
    redirect_uri: String,
) -> Result<OAuth, Refused> {
    let client = Client::new(ClientId::new(provider.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_redirect_uri(RedirectUrl::new(redirect_uri).map_err(|_| Refused::NoAddress)?)
        .set_auth_type(if metadata.secret_in_body {
            AuthType::RequestBody
        } else {
            AuthType::BasicAuth
        });
    Ok(match &provider.client_secret {
        Some(secret) => {
            client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
        }
        None => client,
    })
}

/// What the provider gave.
pub(super) struct Tokens {
    pub(super) id_token: Option<SecretString>,
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    /// Of the access token, in seconds.
    pub(super) lifetime: Option<u64>,
}

impl From<Answer> for Tokens {
    fn from(answer: Answer) -> Self {
        let text = |secret: &str| SecretString::from(secret.to_owned());
        Self {
            id_token: answer.extra_fields().id_token.as_deref().map(text),
            access_token: text(answer.access_token().secret()),
            refresh_token: answer.refresh_token().map(|token| text(token.secret())),
            lifetime: answer.expires_in().map(|time| time.as_secs()),
        }
    }
}

/// Redeems a code.
pub(super) async fn exchange(
    oauth: &OAuth,
    outbound: &Outbound,
    code: String,
    verifier: &SecretString,
) -> Result<Tokens, Refused> {
    let request = oauth
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
    let answer = request.request_async(&Http(outbound.clone())).await;
    answer.map(Tokens::from).map_err(|error| refused(&error, Refused::CodeRefused))
}

/// Redeems a refresh token.
pub(super) async fn refresh(
    oauth: &OAuth,
    outbound: &Outbound,
    token: &SecretString,
) -> Result<Tokens, Refused> {
    let token = RefreshToken::new(token.expose_secret().to_owned());
    let request = oauth.exchange_refresh_token(&token);
    let answer = request.request_async(&Http(outbound.clone())).await;
    answer.map(Tokens::from).map_err(|error| refused(&error, Refused::GrantEnded))
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the provider does not answer")]
    Down,
    #[error("the provider's answer is too large")]
    TooLarge,
}

/// Lux's own client, for the library that makes the requests.
struct Http(Outbound);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = Trouble;
    type Future = BoxFuture<'c, Result<HttpResponse, Trouble>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(send(&self.0, request))
    }
}

async fn send(outbound: &Outbound, request: HttpRequest) -> Result<HttpResponse, Trouble> {
    let (parts, body) = request.into_parts();
    let request = outbound.request(parts.method, &parts.uri.to_string());
    let request = request.headers(parts.headers).body(body);
    let answer = outbound.send(request, TIMEOUT, MAX_BODY).await.map_err(|error| {
        tracing::warn!(%error, "the sign-in provider's token endpoint cannot be asked");
        Trouble::Down
    })?;
    if is_passing(answer.status) {
        let status = answer.status.as_u16();
        tracing::warn!(status, "the sign-in provider's token endpoint is troubled");
        return Err(Trouble::Down);
    }
    if answer.truncated {
        return Err(Trouble::TooLarge);
    }
    let mut response = HttpResponse::new(answer.body);
    *response.status_mut() = answer.status;
    if let Some(kind) = answer.headers.get(http::header::CONTENT_TYPE) {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind.clone());
    }
    Ok(response)
}

/// Of the provider's own words only the code is kept: the rest may repeat what was sent.
fn refused(error: &RequestTokenError<Trouble, BasicErrorResponse>, grant: Refused) -> Refused {
    let refused = match error {
        RequestTokenError::Request(Trouble::Down) => return Refused::ProviderDown,
        RequestTokenError::ServerResponse(told) => match told.error() {
            BasicErrorResponseType::InvalidGrant => grant,
            BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                Refused::ClientRefused
            }
            _ => Refused::ProviderRefused,
        },
        RequestTokenError::Request(Trouble::TooLarge)
        | RequestTokenError::Parse(..)
        | RequestTokenError::Other(_) => Refused::AnswerInvalid,
    };
    tracing::warn!(code = refused.code(), "the sign-in provider's token endpoint refused");
    refused
}
