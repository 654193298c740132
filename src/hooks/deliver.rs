//! Telling subscribers, again and again until they heard it.

use std::time::Duration;

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use http::{Method, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    payload,
    store::{self, Due},
};
use crate::{app::App, clock, error::Result, seal::Field};

/// How often is looked when there was nothing to tell.
const REST: Duration = Duration::from_secs(1);
/// What is taken at once, and told at the same time: Zapier takes 30 a second.
const STEP: i64 = 20;
const TOGETHER: usize = 5;
/// How long a subscriber may take.
const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_ANSWER: usize = 4096;
/// Whoever dies while telling leaves it to others after this.
const HELD: TimeDelta = TimeDelta::seconds(60);
/// Pauses after a try that failed, in seconds: eight tries over a day. Then the hook is given up.
const PAUSES: [i64; 7] = [60, 300, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600];
/// The longest that a subscriber may put us off.
const LONGEST: i64 = 24 * 3600;
/// How often expired subscriptions are removed.
const EXPIRE: Duration = Duration::from_mins(1);

/// Where the address of a hook is sealed.
pub(super) fn target_field(row: &str) -> Field<'_> {
    Field { table: "hook", column: "target_sealed", row }
}

/// Where the key of its signatures is.
pub(super) fn secret_field(row: &str) -> Field<'_> {
    Field { table: "hook", column: "secret_sealed", row }
}

/// Tells what happens until the shutdown. Every replica does; each delivery is one's.
pub fn start(app: &App) {
    let app = app.clone();
    app.tasks.clone().spawn(async move {
        let shutdown = app.shutdown.clone();
        shutdown.run_until_cancelled(work(&app)).await;
    });
}

async fn work(app: &App) {
    let mut expired = clock::instant();
    loop {
        match step(app).await {
            Ok(0) => tokio::time::sleep(REST).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "hooks could not be told; trying again");
                tokio::time::sleep(REST * 5).await;
            }
        }
        if expired.elapsed() >= EXPIRE {
            expired = clock::instant();
            if let Err(error) = store::expire(&app.db, clock::now()).await {
                tracing::warn!(%error, "expired hooks were not removed");
            }
        }
    }
}

/// Tells what is due; gives how much it was.
async fn step(app: &App) -> Result<usize> {
    let now = clock::now();
    let due = store::take(&app.db, now, now + HELD, STEP).await?;
    let count = due.len();
    let mut telling = stream::iter(due).map(|due| tell(app, due)).buffer_unordered(TOGETHER);
    while let Some(outcome) = telling.next().await {
        outcome?;
    }
    Ok(count)
}

/// What came of a try.
enum Came {
    Heard,
    /// 410
    Unsubscribed,
    /// It asks to be left alone for a while, in seconds.
    Later(i64, String),
    Failed(String),
}

async fn tell(app: &App, due: Due) -> Result<()> {
    let subject = payload::of(&app.db, due.organization_id, due.event, due.subject_id).await?;
    let Some(mut body) = subject else {
        return Ok(store::drop_delivery(&app.db, due.id).await?);
    };
    body["id"] = Value::String(format!("{}-{}", due.hook_id, due.id));
    body["event"] = json!(due.event);
    body["at"] = json!(due.at);
    let target = app.sealer.open(target_field(&due.row_name), &due.target_sealed)?;
    let secret = app.sealer.open(secret_field(&due.row_name), &due.secret_sealed)?;
    let now = clock::now();
    match post(app, &target, &secret, &body, now).await {
        Came::Heard => store::told(&app.db, &due, clock::now()).await?,
        Came::Unsubscribed => {
            tracing::info!(hook = due.hook_id, "a hook's target answered 410: unsubscribed");
            store::unsubscribe(&app.db, due.hook_id).await?;
        }
        Came::Later(seconds, why) => {
            let next = now + TimeDelta::seconds(seconds.clamp(1, LONGEST));
            store::failed(&app.db, &due, &why, next, false).await?;
        }
        Came::Failed(why) => {
            let pause = usize::try_from(due.tries).ok().and_then(|tries| PAUSES.get(tries));
            if let Some(pause) = pause {
                let next = now + TimeDelta::seconds(*pause);
                store::failed(&app.db, &due, &why, next, true).await?;
            } else {
                tracing::warn!(hook = due.hook_id, why, "a hook failed for a day and is given up");
                store::disable(&app.db, due.hook_id, &why, now).await?;
            }
        }
    }
    Ok(())
}

async fn post(
    app: &App,
    target: &SecretString,
    secret: &SecretString,
    body: &Value,
    now: DateTime<Utc>,
) -> Came {
    let text = body.to_string();
    let request = app
        .outbound
        .request(Method::POST, target.expose_secret())
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-lux-signature", signature(secret, now.timestamp(), &text))
        .body(text);
    let answer = match app.outbound.send(request, TIMEOUT, MAX_ANSWER).await {
        Ok(answer) => answer,
        Err(error) => return Came::Failed(error.to_string()),
    };
    match answer.status.as_u16() {
        200..=299 => Came::Heard,
        410 => Came::Unsubscribed,
        429 => {
            let wait = answer.headers.get(header::RETRY_AFTER);
            let wait = wait.and_then(|it| it.to_str().ok()?.trim().parse().ok()).unwrap_or(60);
            Came::Later(wait, "the target answered 429: too many requests".to_owned())
        }
        status => Came::Failed(format!("the target answered {status}")),
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over "SECONDS.BODY", so that a delivery cannot be made up, and
/// an old one can be told from a new one.
pub fn signature(secret: &SecretString, second: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let tag = hmac::sign(&key, format!("{second}.{body}").as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in tag.as_ref() {
        use std::fmt::Write;
        let _ = write!(hex, "{byte:02x}");
    }
    format!("t={second},v1={hex}")
}
