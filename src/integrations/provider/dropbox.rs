//! Dropbox. A refresh token comes with `token_access_type=offline`; errors of the API are 409
//! with a summary, some 400s are plain text.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::{
    ClientAuth, Complaint, Expiry, Identifying, Identity, Provider, Revoke, UNAUTHORIZED, plain,
    retry_after, seconds, text,
};
use crate::integrations::call::{Asker, Call};

pub(super) static DROPBOX: Provider = Provider {
    key: "dropbox",
    label: "Dropbox",
    authorize_url: "https://www.dropbox.com/oauth2/authorize",
    token_url: "https://api.dropboxapi.com/oauth2/token",
    api_url: "https://api.dropboxapi.com",
    content_url: "https://content.dropboxapi.com",
    meet_url: "",
    authorize_params: &[("token_access_type", "offline")],
    token_params: &[],
    base_scopes: &["account_info.read"],
    scope_separator: " ",
    client_auth: ClientAuth::Body,
    pkce: true,
    expiry: Expiry::ExpiresIn,
    expired_by: UNAUTHORIZED,
    revoke: Revoke::Bearer("https://api.dropboxapi.com/2/auth/token/revoke"),
    remove_at: "https://www.dropbox.com/account/connected_apps",
    bearer: "Bearer ",
    headers: &[],
    lasts: None,
    console: "https://www.dropbox.com/developers/apps",
    token_answer: |_| {},
    identify: |asker, _| identify(asker),
    complaint,
};

fn identify<'a>(asker: &'a Asker<'a>) -> Identifying<'a> {
    Box::pin(async move {
        // Without arguments there must be no body.
        let call = Call::post_nothing("/2/users/get_current_account").harmless();
        let account = asker.json(call).await?;
        let email = text(&account, &["email"]);
        Ok(Identity {
            id: text(&account, &["account_id"]).unwrap_or_default(),
            username: email.clone(),
            email,
            avatar_url: text(&account, &["profile_photo_url"]),
            name: text(&account, &["name", "display_name"]),
            places: Vec::new(),
            details: Map::new(),
        })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    let tag = text(body, &["error", ".tag"]);
    if tag.as_deref() == Some("missing_scope") {
        let scope = text(body, &["error", "required_scope"]).unwrap_or_default();
        return Some(Complaint::MissingScope(scope));
    }
    if status.as_u16() == 429 {
        let said = text(body, &["error", "retry_after"]);
        let wait = seconds(said.as_deref()).or_else(|| retry_after(headers));
        return Some(Complaint::TooMany(wait));
    }
    let summary = text(body, &["error_summary"]);
    if status.as_u16() == 409 && summary.as_deref().is_some_and(|it| it.contains("not_found")) {
        return Some(Complaint::NotFound(summary.unwrap_or_default()));
    }
    plain(status, headers, summary)
}
