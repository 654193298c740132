//! One real error by the way that SDKs go: shows whether server, address and key are right.

use std::{io::Write, time::Duration};

use anyhow::Context;
use chrono::SecondsFormat;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::{apps::store::Listed, cli::out, clock, outbound::Outbound};

const PATIENCE: Duration = Duration::from_secs(20);
const MAX_ANSWER: usize = 64 << 10;

/// Sends it and says what happened.
pub(super) async fn send(dsn: &str, app: &Listed) -> anyhow::Result<()> {
    let mut url = Url::parse(dsn)?;
    let key = url.username().to_owned();
    // Both cannot fail: a DSN is an http address with a host.
    let _ = url.set_username("");
    let path = url.path().to_owned();
    let (prefix, id) = path.rsplit_once('/').context("the DSN has no path")?;
    url.set_path(&format!("{prefix}/api/{id}/envelope/"));

    let event_id = uuid::Uuid::now_v7().simple().to_string();
    let at = clock::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let event = json!({
        "event_id": event_id,
        "timestamp": at,
        "platform": "other",
        "level": "error",
        "environment": "test",
        "transaction": "lux apps test",
        "exception": { "values": [{
            "type": "LuxTestError",
            "value": "This is a test of `lux apps test`; all is well",
        }] },
    });
    let item = event.to_string();
    let length = item.len();
    let head = json!({ "event_id": event_id, "sent_at": at });
    let kind = json!({ "type": "event", "length": length });
    let body = format!("{head}\n{kind}\n{item}\n");

    let outbound = Outbound::new()?;
    let auth = format!("Sentry sentry_version=7, sentry_client=lux/1, sentry_key={key}");
    let request = outbound
        .request(Method::POST, url.as_str())
        .header("x-sentry-auth", auth)
        .header(http::header::CONTENT_TYPE, "application/x-sentry-envelope")
        .body(body);
    let origin = url.origin().ascii_serialization();
    let answer = outbound.send(request, PATIENCE, MAX_ANSWER).await.with_context(|| {
        format!(
            "cannot reach Lux at {origin}; start it with `lux`, or set public_url to the address \
             where applications reach it"
        )
    })?;
    if !answer.status.is_success() {
        let said: Value = answer.json().unwrap_or_default();
        let detail = said["detail"].as_str().unwrap_or("no reason given");
        anyhow::bail!("{origin} refused the test error: {detail} ({})", answer.status.as_u16());
    }
    let name = &app.name;
    writeln!(out(), "{origin} took a test error of {name} ({event_id}).")?;
    writeln!(out(), "Look at it: lux errors --app {name}")?;
    Ok(())
}
