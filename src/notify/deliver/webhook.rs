//! By a signed POST, as hooks are told. What is sent again has the same `id`, so the other side can
//! tell a repeat: it is tried until it was heard, or given up after a day.

use std::time::Duration;

use chrono::TimeDelta;
use http::{Method, header};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Came, about_to};
use crate::{
    clock,
    error::Result,
    hooks,
    notify::{
        Notify,
        channel::{Channel, secret_field, target_field},
        store::{deliveries::Delivery, events},
        words::{Words, page},
    },
};

/// How long the other side may take.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 4096;
/// The longest that it may put us off, in seconds.
const LONGEST: i64 = 24 * 3600;

pub(super) async fn send(
    notify: &Notify,
    channel: &Channel,
    one: &Delivery,
    words: &Words,
) -> Result<Came> {
    let app = &notify.app;
    let (Some(target), Some(secret)) = (&channel.target_sealed, &channel.secret_sealed) else {
        return Ok(Came::Failed("the channel has no address; enter it again".to_owned()));
    };
    let target = app.sealer.open(target_field(&channel.row_name), target)?;
    let secret = app.sealer.open(secret_field(&channel.row_name), secret)?;
    // What an administrator allows may have changed since it was entered.
    if let Err(why) = hooks::allowed(&app.config.hooks, target.expose_secret()) {
        return Ok(Came::Failed(format!("the channel's address {why}")));
    }
    let event = match one.event_id {
        Some(id) => events::find(&app.db, one.organization_id, id).await?,
        None => None,
    };
    let now = clock::now();
    let body = json!({
        "id": format!("notification-{}", one.id),
        "event": event.as_ref().map(|event| event.kind),
        "kind": one.kind,
        "severity": one.severity,
        "app": event.as_ref().map(|event| &event.app),
        "title": words.title,
        "text": words.body,
        "url": page(app, &words.path),
        "channel": channel.name,
        "at": event.as_ref().map_or(one.created_at, |event| event.at),
        "event_id": one.event_id,
        "subject_id": event.as_ref().and_then(|event| event.subject_id),
    });
    let text = body.to_string();
    if !about_to(notify, one, words).await? {
        return Ok(Came::Lost);
    }
    let request = app
        .outbound
        .request(Method::POST, target.expose_secret())
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-lux-signature", hooks::signature(&secret, now.timestamp(), &text))
        .body(text);
    let answer = match app.outbound.send(request, TIMEOUT, MAX_ANSWER).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Came::Later(error.to_string(), None)),
    };
    Ok(match answer.status.as_u16() {
        200..=299 => Came::Sent(None),
        410 => Came::Failed("the target answered 410: it wants no more of this".to_owned()),
        429 => {
            let wait = answer.headers.get(header::RETRY_AFTER);
            let wait = wait.and_then(|it| it.to_str().ok()?.trim().parse::<i64>().ok());
            let wait = TimeDelta::seconds(wait.unwrap_or(60).clamp(1, LONGEST));
            Came::Later("the target answered 429: too many requests".to_owned(), Some(wait))
        }
        status => Came::Later(format!("the target answered {status}"), None),
    })
}
