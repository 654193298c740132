//! Jira Cloud. Its gateway answers an expired token with 401, 403 or 404, depending on the path;
//! a consent may be for several sites, of which one is chosen.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{
    ClientAuth, Complaint, Expired, Expiry, Identifying, Identity, Place, Provider, Revoke, plain,
    text,
};
use crate::integrations::call::{Asker, Call};

pub(super) static ATLASSIAN: Provider = Provider {
    key: "atlassian",
    label: "Atlassian",
    authorize_url: "https://auth.atlassian.com/authorize",
    token_url: "https://auth.atlassian.com/oauth/token",
    api_url: "https://api.atlassian.com",
    content_url: "",
    meet_url: "",
    authorize_params: &[("audience", "api.atlassian.com"), ("prompt", "consent")],
    token_params: &[],
    base_scopes: &["read:jira-user", "offline_access"],
    scope_separator: " ",
    client_auth: ClientAuth::Body,
    pkce: true,
    expiry: Expiry::ExpiresIn,
    expired_by: &[
        Expired { status: 401, only_when_over: false },
        Expired { status: 403, only_when_over: true },
        Expired { status: 404, only_when_over: true },
    ],
    revoke: Revoke::None,
    remove_at: "https://id.atlassian.com/manage-profile/apps",
    bearer: "Bearer ",
    headers: &[("accept", "application/json")],
    lasts: Some(Duration::from_hours(365 * 24)),
    console: "https://developer.atlassian.com/console/myapps",
    token_answer: |_| {},
    identify: |asker, _| identify(asker),
    complaint,
};

/// Sites that are looked at; more than anybody chooses among.
const MAX_SITES: usize = 50;

fn identify<'a>(asker: &'a Asker<'a>) -> Identifying<'a> {
    Box::pin(async move {
        let sites = asker.json(Call::get("/oauth/token/accessible-resources")).await?;
        let sites = sites.as_array().into_iter().flatten().take(MAX_SITES);
        let places: Vec<Place> = sites
            .filter_map(|site| {
                let id = text(site, &["id"])?;
                let name = text(site, &["name"]).unwrap_or_else(|| id.clone());
                Some(Place { id, name, url: text(site, &["url"]) })
            })
            .collect();
        let mut identity = Identity::default();
        // The same person on every site.
        if let Some(site) = places.first() {
            let path = format!("/ex/jira/{}/rest/api/3/myself", site.id);
            let me = asker.json(Call::get(path)).await?;
            identity.id = text(&me, &["accountId"]).unwrap_or_default();
            identity.name = text(&me, &["displayName"]);
            identity.username.clone_from(&identity.name);
            identity.email = text(&me, &["emailAddress"]);
            identity.avatar_url = text(&me, &["avatarUrls", "48x48"]);
        }
        Ok(Identity { places, ..identity })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    let message = body.pointer("/errorMessages/0").and_then(Value::as_str).map(str::to_owned);
    let field =
        body.get("errors").and_then(Value::as_object).and_then(|errors| errors.iter().next());
    let field = field.and_then(|(name, why)| Some(format!("{name}: {}", why.as_str()?)));
    plain(status, headers, message.or(field).or_else(|| text(body, &["message"])))
}
