//! Slack. It says `"ok": false` with status 200. No PKCE: it would make the application a public
//! client, which cannot be undone.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    ClientAuth, Complaint, Expiry, Identifying, Identity, Place, Provider, Revoke, UNAUTHORIZED,
    plain, retry_after, text,
};
use crate::integrations::call::{Asker, Call};

pub(super) static SLACK: Provider = Provider {
    key: "slack",
    label: "Slack",
    authorize_url: "https://slack.com/oauth/v2/authorize",
    token_url: "https://slack.com/api/oauth.v2.access",
    api_url: "https://slack.com/api",
    content_url: "",
    meet_url: "",
    authorize_params: &[],
    token_params: &[],
    base_scopes: &["users:read", "users:read.email"],
    scope_separator: ",",
    client_auth: ClientAuth::Basic,
    pkce: false,
    expiry: Expiry::ExpiresIn,
    expired_by: UNAUTHORIZED,
    revoke: Revoke::Bearer("https://slack.com/api/auth.revoke"),
    remove_at: "https://slack.com/apps/manage",
    bearer: "Bearer ",
    headers: &[],
    lasts: None,
    console: "https://api.slack.com/apps",
    token_answer,
    identify: |asker, answer| identify(asker, answer),
    complaint,
};

/// Where only a person installed it, the token stands one level deeper.
fn token_answer(answer: &mut Map<String, Value>) {
    if answer.contains_key("access_token") {
        return;
    }
    let Some(user) = answer.get("authed_user").and_then(Value::as_object).cloned() else { return };
    for key in ["access_token", "refresh_token", "expires_in", "scope", "token_type"] {
        if let Some(value) = user.get(key) {
            answer.insert(key.to_owned(), value.clone());
        }
    }
}

fn identify<'a>(asker: &'a Asker<'a>, answer: &'a Map<String, Value>) -> Identifying<'a> {
    Box::pin(async move {
        let answer = Value::Object(answer.clone());
        let test = asker.json(Call::post("/auth.test", json!({})).harmless()).await?;
        let team = text(&answer, &["team", "id"]).or_else(|| text(&test, &["team_id"]));
        let team_name = text(&answer, &["team", "name"]).or_else(|| text(&test, &["team"]));
        let user = text(&answer, &["authed_user", "id"]).or_else(|| text(&test, &["user_id"]));
        let user = user.unwrap_or_default();
        // Who cannot be looked at is still connected.
        let call = Call::get("/users.info").param("user", &user);
        let info = asker.json(call).await.unwrap_or_default();
        let bot = text(&answer, &["bot_user_id"]);
        let mut details = Map::new();
        details.insert("bot_user_id".to_owned(), json!(bot));
        Ok(Identity {
            id: format!("{}/{user}", team.as_deref().unwrap_or_default()),
            username: text(&info, &["user", "name"]).or_else(|| text(&test, &["user"])),
            email: text(&info, &["user", "profile", "email"]),
            avatar_url: text(&info, &["user", "profile", "image_192"]),
            name: text(&info, &["user", "profile", "real_name"]),
            places: team
                .map(|id| Place {
                    name: team_name.unwrap_or_else(|| id.clone()),
                    url: text(&test, &["url"]),
                    id,
                })
                .into_iter()
                .collect(),
            details,
        })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    if body.get("ok").and_then(Value::as_bool) != Some(false) {
        return plain(status, headers, None);
    }
    let code = text(body, &["error"]).unwrap_or_else(|| "unknown_error".to_owned());
    Some(match code.as_str() {
        "token_expired" => Complaint::Expired,
        "token_revoked" | "account_inactive" | "invalid_auth" | "not_authed" => {
            Complaint::Revoked(code)
        }
        "ratelimited" => Complaint::TooMany(retry_after(headers)),
        "missing_scope" => Complaint::MissingScope(text(body, &["needed"]).unwrap_or_default()),
        "channel_not_found" => Complaint::NotFound(
            "channel_not_found: there is no such channel, or it is private and the bot is not in it"
                .to_owned(),
        ),
        "not_in_channel" => Complaint::Refused(
            "not_in_channel: invite the bot into the channel first (/invite)".to_owned(),
        ),
        "is_archived" => {
            Complaint::Refused("is_archived: the channel is archived; choose another".to_owned())
        }
        _ => Complaint::Refused(code),
    })
}
