//! HighLevel. Who installs it for an agency gives a token of the company, with which one of a
//! location is fetched; it answers errors in a form of its own.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{
    ClientAuth, Complaint, Expiry, Identifying, Identity, Place, Provider, Revoke, UNAUTHORIZED,
    plain, text,
};
use crate::integrations::{
    Trouble,
    call::{Asker, Call},
};

pub(super) static HIGHLEVEL: Provider = Provider {
    key: "highlevel",
    label: "HighLevel",
    authorize_url: "https://marketplace.gohighlevel.com/oauth/chooselocation",
    token_url: "https://services.leadconnectorhq.com/oauth/token",
    api_url: "https://services.leadconnectorhq.com",
    content_url: "",
    meet_url: "",
    authorize_params: &[],
    token_params: &[("user_type", "Location")],
    base_scopes: &["locations.readonly"],
    scope_separator: " ",
    client_auth: ClientAuth::Body,
    pkce: false,
    expiry: Expiry::ExpiresIn,
    expired_by: UNAUTHORIZED,
    revoke: Revoke::None,
    remove_at: "https://app.gohighlevel.com/integration",
    bearer: "Bearer ",
    headers: &[],
    lasts: None,
    console: "https://marketplace.gohighlevel.com",
    token_answer,
    identify: |asker, answer| identify(asker, answer),
    complaint,
};

/// The version of the API that contacts, locations and tokens are asked in.
pub(in crate::integrations) const VERSION: &str = "2021-07-28";

/// Locations of an agency that are looked at.
const MAX_LOCATIONS: usize = 200;

/// Its third version writes the fields in another case.
fn token_answer(answer: &mut Map<String, Value>) {
    for (camel, snake) in [
        ("accessToken", "access_token"),
        ("refreshToken", "refresh_token"),
        ("expiresIn", "expires_in"),
        ("tokenType", "token_type"),
    ] {
        if !answer.contains_key(snake)
            && let Some(value) = answer.remove(camel)
        {
            answer.insert(snake.to_owned(), value);
        }
    }
}

fn identify<'a>(asker: &'a Asker<'a>, answer: &'a Map<String, Value>) -> Identifying<'a> {
    Box::pin(async move {
        let answer = Value::Object(answer.clone());
        let company = text(&answer, &["companyId"]);
        let is_company = text(&answer, &["userType"]).as_deref() == Some("Company");
        let mut details = Map::new();
        details.insert("is_company".to_owned(), json!(is_company));
        details.insert("company_id".to_owned(), json!(company));
        let location = text(&answer, &["locationId"]);
        let mut places = Vec::new();
        if let Some(id) = &location {
            let call = Call::get(format!("/locations/{id}")).header("version", VERSION);
            let found = asker.json(call).await?;
            let name = text(&found, &["location", "name"]).unwrap_or_else(|| id.clone());
            places.push(Place { id: id.clone(), name, url: None });
        } else {
            let approved = answer.get("approvedLocations").and_then(Value::as_array);
            let ids = approved.into_iter().flatten().filter_map(Value::as_str);
            places.extend(ids.take(MAX_LOCATIONS).map(|id| Place {
                id: id.to_owned(),
                name: id.to_owned(),
                url: None,
            }));
        }
        let user = text(&answer, &["userId"]);
        Ok(Identity {
            id: location.or(company).or_else(|| user.clone()).unwrap_or_default(),
            username: user,
            name: places.first().filter(|_| !is_company).map(|place| place.name.clone()),
            places,
            details,
            ..Identity::default()
        })
    })
}

fn complaint(status: StatusCode, headers: &HeaderMap, body: &Value) -> Option<Complaint> {
    let message = match body.get("message") {
        Some(Value::Array(all)) => {
            let all: Vec<&str> = all.iter().filter_map(Value::as_str).take(5).collect();
            Some(all.join("; "))
        }
        _ => text(body, &["message"]),
    };
    if status.as_u16() == 401
        && message.as_deref().is_some_and(|it| it.contains("not authorized for this scope"))
    {
        return Some(Complaint::MissingScope(String::new()));
    }
    plain(status, headers, message)
}

/// A token of one location for the company's, and how long it is good.
pub(in crate::integrations) async fn location_token(
    asker: &Asker<'_>,
    company: &str,
    location: &str,
) -> Result<(SecretString, Duration), Trouble> {
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("companyId", company)
        .append_pair("locationId", location)
        .finish();
    let kind = "application/x-www-form-urlencoded";
    let call = Call::send_bytes("/oauth/locationToken", kind, form.into_bytes())
        .header("version", VERSION)
        .header("accept", "application/json")
        .harmless();
    let answer = asker.json(call).await?;
    let why = "it gave no token for the location".to_owned();
    let token = text(&answer, &["access_token"]);
    let token = token.ok_or(Trouble::Down { label: HIGHLEVEL.label, why })?;
    let lasts = answer.get("expires_in").and_then(Value::as_u64).unwrap_or(3600);
    Ok((token.into(), Duration::from_secs(lasts)))
}
