//! monday.com. GraphQL: errors stand in answers with 200. The token is a JWT that says itself when
//! it ends, because the answer does not.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    ClientAuth, Complaint, Expiry, Identifying, Identity, Place, Provider, Revoke, UNAUTHORIZED,
    plain, retry_after, seconds, text,
};
use crate::integrations::call::{Asker, Call};

pub(super) static MONDAY: Provider = Provider {
    key: "monday",
    label: "monday.com",
    authorize_url: "https://auth.monday.com/oauth2/authorize",
    token_url: "https://auth.monday.com/oauth_ms/oauth/token",
    api_url: "https://api.monday.com",
    content_url: "",
    meet_url: "",
    authorize_params: &[("force_install_if_needed", "true")],
    token_params: &[],
    base_scopes: &["me:read"],
    scope_separator: " ",
    client_auth: ClientAuth::Body,
    pkce: true,
    expiry: Expiry::Jwt(Duration::from_hours(1)),
    expired_by: UNAUTHORIZED,
    revoke: Revoke::Form("https://auth.monday.com/oauth_ms/oauth/revoke"),
    remove_at: "https://support.monday.com/hc/en-us/articles/360005144659",
    bearer: "Bearer ",
    // An unknown version falls back to another without a word.
    headers: &[("api-version", "2026-01")],
    lasts: None,
    console: "https://monday.com/developers/apps",
    token_answer: |_| {},
    identify: |asker, _| identify(asker),
    complaint,
};

fn identify<'a>(asker: &'a Asker<'a>) -> Identifying<'a> {
    Box::pin(async move {
        let query = "query { me { id name email photo_url { thumb } account { id name slug } } }";
        let call = Call::post("/v2", json!({"query": query})).harmless();
        let answer = asker.json(call).await?;
        let me = answer.pointer("/data/me").cloned().unwrap_or_default();
        let email = text(&me, &["email"]);
        let account = text(&me, &["account", "id"]).map(|id| Place {
            name: text(&me, &["account", "name"]).unwrap_or_else(|| id.clone()),
            url: text(&me, &["account", "slug"]).map(|slug| format!("https://{slug}.monday.com")),
            id,
        });
        Ok(Identity {
            id: text(&me, &["id"]).unwrap_or_default(),
            username: email.clone(),
            email,
            avatar_url: text(&me, &["photo_url", "thumb"]),
            name: text(&me, &["name"]),
            places: account.into_iter().collect(),
            details: Map::new(),
        })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    let Some(first) = body.get("errors").and_then(|errors| errors.get(0)) else {
        return plain(status, headers, text(body, &["error_message"]));
    };
    let message = text(first, &["message"]).unwrap_or_else(|| "unknown error".to_owned());
    let code = text(first, &["extensions", "code"]).or_else(|| text(body, &["error_code"]));
    Some(match code.as_deref() {
        Some(
            "COMPLEXITY_BUDGET_EXHAUSTED"
            | "ComplexityException"
            | "maxConcurrencyExceeded"
            | "IP_RATE_LIMIT_EXCEEDED"
            | "FIELD_MINUTE_RATE_LIMIT_EXCEEDED",
        ) => {
            let said = text(first, &["extensions", "retry_in_seconds"])
                .or_else(|| text(first, &["extensions", "reset_in_x_seconds"]));
            Complaint::TooMany(seconds(said.as_deref()).or_else(|| retry_after(headers)))
        }
        // Until midnight, UTC; nobody waits for that here.
        Some("DAILY_LIMIT_EXCEEDED") => Complaint::TooMany(Some(Duration::from_hours(12))),
        Some("UserUnauthorizedException" | "missingRequiredPermissions") => {
            Complaint::MissingScope(String::new())
        }
        Some(
            "ResourceNotFoundException" | "InvalidBoardIdException" | "InvalidItemIdException",
        ) => Complaint::NotFound(message),
        Some("Unauthorized" | "UNAUTHENTICATED" | "JWT_EXPIRED") => Complaint::Expired,
        Some(code) => Complaint::Refused(format!("{code}: {message}")),
        None if message.to_lowercase().contains("not authenticated") => Complaint::Expired,
        None => Complaint::Refused(message),
    })
}
