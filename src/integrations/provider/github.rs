//! GitHub. Its token endpoint answers errors with 200, and grants are separated by commas. A
//! GitHub App's user tokens end after eight hours, an OAuth App's do not: both come this way.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::{
    ClientAuth, Complaint, Expiry, Identifying, Identity, Provider, Revoke, UNAUTHORIZED, header,
    plain, retry_after, text,
};
use crate::{
    clock,
    integrations::call::{Asker, Call},
};

pub(super) static GITHUB: Provider = Provider {
    key: "github",
    label: "GitHub",
    authorize_url: "https://github.com/login/oauth/authorize",
    token_url: "https://github.com/login/oauth/access_token",
    api_url: "https://api.github.com",
    content_url: "https://uploads.github.com",
    meet_url: "",
    authorize_params: &[],
    token_params: &[],
    base_scopes: &["read:user", "user:email"],
    scope_separator: " ",
    client_auth: ClientAuth::Body,
    pkce: true,
    expiry: Expiry::ExpiresIn,
    expired_by: UNAUTHORIZED,
    revoke: Revoke::Github("https://api.github.com/applications/{client_id}/grant"),
    remove_at: "https://github.com/settings/applications",
    bearer: "Bearer ",
    headers: &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")],
    lasts: None,
    console: "https://github.com/settings/developers",
    token_answer: |_| {},
    identify: |asker, _| identify(asker),
    complaint,
};

fn identify<'a>(asker: &'a Asker<'a>) -> Identifying<'a> {
    Box::pin(async move {
        let user = asker.json(Call::get("/user")).await?;
        let mut email = text(&user, &["email"]);
        if email.is_none() {
            // Hidden from the profile; whoever did not grant this has none here.
            let emails = asker.json(Call::get("/user/emails")).await.unwrap_or_default();
            let primary = emails.as_array().into_iter().flatten().find(|email| {
                let is = |key: &str| email.get(key).and_then(Value::as_bool) == Some(true);
                is("primary") && is("verified")
            });
            email = primary.and_then(|email| text(email, &["email"]));
        }
        Ok(Identity {
            id: text(&user, &["id"]).unwrap_or_default(),
            username: text(&user, &["login"]),
            email,
            avatar_url: text(&user, &["avatar_url"]),
            name: text(&user, &["name"]),
            places: Vec::new(),
            details: Map::new(),
        })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    let message = text(body, &["message"]);
    if matches!(status.as_u16(), 403 | 429) {
        if let Some(wait) = retry_after(headers) {
            return Some(Complaint::TooMany(Some(wait)));
        }
        if header(headers, "x-ratelimit-remaining") == Some("0") {
            let reset = header(headers, "x-ratelimit-reset").and_then(|at| at.parse::<i64>().ok());
            let left = reset.map(|at| at - clock::now().timestamp());
            let left = left.and_then(|left| u64::try_from(left).ok());
            return Some(Complaint::TooMany(left.map(Duration::from_secs)));
        }
        // The limit on making much at once says nothing but this.
        if message.as_deref().is_some_and(|it| it.contains("secondary rate limit")) {
            return Some(Complaint::TooMany(Some(Duration::from_mins(1))));
        }
    }
    let first = body.get("errors").and_then(|errors| errors.get(0));
    let field = first.and_then(|error| {
        Some(format!("{}: {}", text(error, &["field"])?, text(error, &["code"])?))
    });
    let message = match (message, field) {
        (Some(message), Some(field)) => Some(format!("{message} ({field})")),
        (message, _) => message,
    };
    if status.as_u16() == 200
        && body.get("error").is_some()
        && body.get("error_description").is_some()
    {
        return Some(Complaint::Refused(text(body, &["error"]).unwrap_or_default()));
    }
    plain(status, headers, message)
}
