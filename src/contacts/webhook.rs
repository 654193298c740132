//! `POST /api/webhook/zapier-contact`: contacts as Zapier, and forms, really send them.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::{
    Extension,
    body::Bytes,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Contacts, Done, Recorded,
    credential::{Guard, Sender},
    e164,
    payload::{self, Reading},
    receipt::{self, MAX_BODY, Receipt},
};
use crate::{
    app::App,
    error::Error,
    http::{Guess, Problem, Result, check_shape},
};

/// Contacts in one body.
const MAX_CONTACTS: usize = 100;
/// The largest body, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Zapier shows no more of an error than this.
const MAX_DETAIL: usize = 250;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(accept_contact))
        .layer(Extension(Arc::new(Guard::default())))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BYTES))
}

/// A program that posts with a user name and a password of the webhook.
pub(crate) struct WebhookCaller(Sender);

impl FromRequestParts<App> for WebhookCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        recognise(parts, app).await.map(Self).map_err(Problem::wants_basic)
    }
}

async fn recognise(parts: &Parts, app: &App) -> Result<Sender> {
    const WHO: &str = "send the user name and password of the webhook as Basic auth; `lux \
                       webhook-credential create NAME` makes them";
    let guard = parts.extensions.get::<Arc<Guard>>();
    let guard = guard.ok_or_else(|| anyhow::anyhow!("the webhook has no guard"));
    let guard = guard.map_err(Error::Internal)?;
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let Some(header) = header else { return Err(Error::Unauthenticated(WHO).into()) };
    let guess = Guess::of(parts);
    guess.allowed()?;
    let found = guard.recognise(&app.db, &app.config.contacts, header).await?;
    Ok(guess.came_to(found, WHO)?)
}

/// Takes a contact, or a list of up to 100: JSON, a form, or JSON as plain text.
///
/// Names of fields are read without case, spaces, hyphens and underscores; `contact__email` and
/// nested objects are the same; what has no meaning here becomes an attribute. Whoever is known by
/// the address is updated. With a header `Idempotency-Key`, a repeat gets the first answer.
#[utoipa::path(
    post, path = "/api/webhook/zapier-contact", security(("webhook" = [])),
    request_body = inline(Object),
    responses(
        (status = 201, description = "a contact was created"),
        (status = 200, description = "known: updated or unchanged"),
        (status = 400, body = Problem, description = "the detail names the field"),
        (status = 401, body = Problem, description = "no such user name and password"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 429, body = Problem, description = "with Retry-After"),
    )
)]
async fn accept_contact(
    WebhookCaller(sender): WebhookCaller,
    State(app): State<App>,
    Extension(contacts): Extension<Contacts>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    let objects = objects(&headers, &body)?;
    let by = format!("webhook {}", sender.name);
    let reading =
        Reading { double_opt_in: app.config.contacts.double_opt_in, by: &by, mark: "zapier" };
    let mut items = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        let place = if objects.len() > 1 { format!("item {index}: ") } else { String::new() };
        let item = payload::read(object, reading).map_err(|wrong| {
            Error::invalid(cut(format!("{place}the field {} {}", wrong.field, wrong.why)))
        })?;
        if item.email.is_none() && e164(&item.phone, contacts.region()).is_none() {
            return Err(Error::invalid(cut(format!(
                "{place}the field email is missing; a contact needs an e-mail address, or a telephone number with its country's prefix"
            )))
            .into());
        }
        items.push(item);
    }
    let key = idempotency_key(&headers)?;
    if let Some(key) = &key
        && let Some((status, answer)) = receipt::answered(&app.db, sender.organization, key).await?
    {
        let status = u16::try_from(status).ok().and_then(|it| StatusCode::from_u16(it).ok());
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        return Ok((status.unwrap_or(StatusCode::OK), axum::Json(answer)).into_response());
    }
    let key = key.unwrap_or_else(|| {
        let hash = digest::digest(&digest::SHA256, &body);
        format!("b:{}", URL_SAFE_NO_PAD.encode(hash))
    });
    let receipt = Receipt { key, body: kept(&body) };
    let recorded = contacts.send(sender.organization, items, Some(receipt)).await?;
    let (status, answer) = answer(&recorded);
    Ok((status, axum::Json(answer)).into_response())
}

/// What is answered: for one contact the keys of Lux's first version, for several a list of such.
pub(super) fn answer(recorded: &[Recorded]) -> (StatusCode, Value) {
    let is_new = recorded.iter().any(|it| it.done == Done::Created);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let one = |it: &Recorded| {
        let message = match it.done {
            Done::Created => "the contact was created",
            Done::Updated => "the contact was updated",
            Done::Unchanged => "nothing new; the contact is as it was",
        };
        json!({
            "success": true,
            "message": message,
            "action": it.done,
            "contact_id": it.contact.id,
            "email": it.contact.email,
            "segment": it.segments.first(),
            "segments": it.segments,
            "source": it.contact.source,
        })
    };
    match recorded {
        [single] => (status, one(single)),
        many => {
            let results: Vec<Value> = many.iter().map(one).collect();
            (status, json!({"success": true, "results": results}))
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let given = ["idempotency-key", "x-lux-event-id"].iter().find_map(|name| headers.get(*name));
    let Some(given) = given else { return Ok(None) };
    match given.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= 200 => Ok(Some(format!("k:{text}"))),
        _ => {
            Err(Error::invalid("the header Idempotency-Key needs 1 to 200 plain characters").into())
        }
    }
}

/// The objects of a body, whatever form it has.
fn objects(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Map<String, Value>>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    if kind == "application/x-www-form-urlencoded" {
        return Ok(vec![form(body)?]);
    }
    let is_json = matches!(kind.as_str(), "application/json" | "text/plain")
        || kind.starts_with("application/") && kind.ends_with("+json");
    if !is_json {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON (Content-Type: application/json) or a form (application/x-www-form-urlencoded)",
        ));
    }
    let wrong = |error: &serde_json::Error| {
        Error::invalid(cut(format!("the body is not valid JSON: {error}")))
    };
    check_shape(body).map_err(|error| wrong(&error))?;
    let value: Value = serde_json::from_slice(body).map_err(|error| wrong(&error))?;
    match value {
        Value::Object(object) => Ok(vec![object]),
        Value::Array(items) if (1..=MAX_CONTACTS).contains(&items.len()) => {
            let objects = items.into_iter().enumerate().map(|(index, item)| match item {
                Value::Object(object) => Ok(object),
                _ => Err(Error::invalid(format!("item {index} is no object with fields")).into()),
            });
            objects.collect()
        }
        Value::Array(_) => Err(Error::invalid(format!(
            "send 1 to {MAX_CONTACTS} contacts in one list; split it into smaller ones"
        ))
        .into()),
        _ => Err(Error::invalid("send an object with fields such as email and name").into()),
    }
}

/// A form; what stands several times is a list.
fn form(body: &[u8]) -> Result<Map<String, Value>> {
    let mut fields: Map<String, Value> = Map::new();
    for (count, (name, value)) in url::form_urlencoded::parse(body).enumerate() {
        if count >= 500 {
            return Err(Error::invalid("the form has more than 500 fields; send fewer").into());
        }
        let value = Value::String(value.replace('\0', ""));
        // "tags[]" and "contact[email]" are lists and objects, as PHP writes them.
        let name = name.replace("[]", "").replace('[', "__").replace(']', "");
        match fields.get_mut(&name) {
            Some(Value::Array(all)) => all.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                fields.insert(name, value);
            }
        }
    }
    Ok(fields)
}

fn kept(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut end = text.len().min(MAX_BODY);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_DETAIL {
        let mut end = MAX_DETAIL - 3;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
