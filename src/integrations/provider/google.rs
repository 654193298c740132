//! Google: Calendar, Meet and Drive on one consent, which grows. A refresh token comes only with
//! `access_type=offline` and a consent that was asked for again; a person may leave scopes out.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::{
    ClientAuth, Complaint, Expiry, Identifying, Identity, Provider, Revoke, UNAUTHORIZED, plain,
    retry_after, text,
};
use crate::integrations::call::{Asker, Call};

pub(super) static GOOGLE: Provider = Provider {
    key: "google",
    label: "Google",
    authorize_url: "https://accounts.google.com/o/oauth2/v2/auth",
    token_url: "https://oauth2.googleapis.com/token",
    api_url: "https://www.googleapis.com",
    content_url: "https://www.googleapis.com/upload",
    meet_url: "https://meet.googleapis.com",
    authorize_params: &[
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("include_granted_scopes", "true"),
    ],
    token_params: &[],
    base_scopes: &["openid", "email", "profile"],
    scope_separator: " ",
    client_auth: ClientAuth::Body,
    pkce: true,
    expiry: Expiry::ExpiresIn,
    expired_by: UNAUTHORIZED,
    revoke: Revoke::Token("https://oauth2.googleapis.com/revoke"),
    remove_at: "https://myaccount.google.com/connections",
    bearer: "Bearer ",
    headers: &[],
    lasts: None,
    console: "https://console.cloud.google.com/apis/credentials",
    token_answer: |_| {},
    identify: |asker, _| identify(asker),
    complaint,
};

fn identify<'a>(asker: &'a Asker<'a>) -> Identifying<'a> {
    Box::pin(async move {
        let user = asker.json(Call::get("/oauth2/v2/userinfo")).await?;
        let email = text(&user, &["email"]);
        Ok(Identity {
            id: text(&user, &["id"]).unwrap_or_default(),
            username: email.clone(),
            email,
            avatar_url: text(&user, &["picture"]),
            name: text(&user, &["name"]),
            places: Vec::new(),
            details: Map::new(),
        })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    let message = text(body, &["error", "message"]);
    let reason = body.pointer("/error/errors/0").and_then(|error| text(error, &["reason"]));
    if status.as_u16() == 403 {
        match reason.as_deref() {
            Some("rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded") => {
                return Some(Complaint::TooMany(retry_after(headers)));
            }
            Some("insufficientPermissions") => {
                return Some(Complaint::MissingScope(String::new()));
            }
            _ => {}
        }
    }
    plain(status, headers, message)
}
