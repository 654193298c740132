//! Asana. Everything stands under `data`, who it is in the token's answer already.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::{
    ClientAuth, Complaint, Expiry, Identifying, Identity, Provider, Revoke, UNAUTHORIZED, plain,
    text,
};
use crate::integrations::call::{Asker, Call};

pub(super) static ASANA: Provider = Provider {
    key: "asana",
    label: "Asana",
    authorize_url: "https://app.asana.com/-/oauth_authorize",
    token_url: "https://app.asana.com/-/oauth_token",
    api_url: "https://app.asana.com/api/1.0",
    content_url: "",
    meet_url: "",
    authorize_params: &[],
    token_params: &[],
    base_scopes: &["users:read"],
    scope_separator: " ",
    client_auth: ClientAuth::Body,
    pkce: true,
    expiry: Expiry::ExpiresIn,
    expired_by: UNAUTHORIZED,
    revoke: Revoke::Form("https://app.asana.com/-/oauth_revoke"),
    remove_at: "https://app.asana.com/0/my-apps",
    bearer: "Bearer ",
    headers: &[],
    lasts: None,
    console: "https://app.asana.com/0/my-apps",
    token_answer: |_| {},
    identify: |asker, answer| identify(asker, answer),
    complaint: |status, headers, body| complaint(status, headers, body),
};

fn identify<'a>(asker: &'a Asker<'a>, answer: &'a Map<String, Value>) -> Identifying<'a> {
    Box::pin(async move {
        let call = Call::get("/users/me").param("opt_fields", "name,email,photo.image_128x128");
        let me = asker.json(call).await?;
        let data = answer.get("data").cloned().unwrap_or_default();
        let of = |key: &str| text(&me, &["data", key]).or_else(|| text(&data, &[key]));
        let email = of("email");
        Ok(Identity {
            id: of("gid").unwrap_or_default(),
            username: email.clone(),
            email,
            avatar_url: text(&me, &["data", "photo", "image_128x128"]),
            name: of("name"),
            places: Vec::new(),
            details: Map::new(),
        })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    let first = body.get("errors").and_then(|errors| errors.get(0));
    plain(status, headers, first.and_then(|error| text(error, &["message"])))
}
