//! Calls that other programs post, with durations in whichever form they have them.

use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    payload::{self, Heard},
    store,
};
use crate::{
    app::App,
    auth::{Caller, audit},
    clock,
    contacts::{Email, e164},
    error::{Error, Result as Deed},
    http::{Json, Operator, Problem, Result},
};

/// Calls of one request.
const MOST: usize = 500;
/// Calls that are tied to contacts at once.
const TIE: i64 = 500;
/// How far ahead of us a clock may be.
const AHEAD: TimeDelta = TimeDelta::hours(24);

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(post_calls))
}

/// A call that took place.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
struct NewCall {
    /// The sender's name for the call, at most 200 characters: sent again with the same, it is
    /// the same call. Without one it is a new call each time.
    id: Option<String>,
    /// Who sends: letters, digits, "-" and "_", at most 40. "posted" if it is left out;
    /// "highlevel" is the connection's own.
    source: Option<String>,
    from_number: Option<String>,
    /// Of who called; the contact is found by number or address.
    email: Option<String>,
    started_at: Option<DateTime<Utc>>,
    /// 0 to 86400.
    duration_seconds: Option<f64>,
    /// The same, as the first version had it beside `metadata`, where odd values were usual: what
    /// is no number counts 0.
    #[schema(value_type = Option<f64>)]
    duration: Option<Value>,
    /// An object, or a text with one, whose `duration` counts where no other is given. What is
    /// missing or odd in it counts 0 seconds.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    summary: Option<String>,
    transcript: Option<String>,
}

/// One call, or an array of calls.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes the body, whose calls are read one by one")]
enum NewCalls {
    Several(Vec<NewCall>),
    One(Box<NewCall>),
}

/// What became of a call.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Posted {
    /// Its place in what was sent.
    index: usize,
    id: i64,
    /// False if it was there already, just so.
    changed: bool,
}

/// A call that was not taken.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RejectedCall)]
struct Rejected {
    index: usize,
    detail: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PostedCalls {
    success: bool,
    accepted: usize,
    calls: Vec<Posted>,
    rejected: Vec<Rejected>,
}

/// Takes one call or several (at most 500). Those that are not right are named, the others are
/// stored.
#[utoipa::path(
    post, path = "/api/call-logs", request_body = NewCalls,
    responses(
        (status = 201, body = PostedCalls),
        (status = 207, body = PostedCalls, description = "some were rejected"),
        (status = 400, body = Problem, description = "all were"),
    )
)]
async fn post_calls(
    who: Operator,
    State(app): State<App>,
    Json(body): Json<Box<RawValue>>,
) -> Result<(StatusCode, Json<PostedCalls>)> {
    let calls: Vec<&RawValue> = if body.get().trim_start().starts_with('[') {
        serde_json::from_str(body.get())
            .map_err(|error| Error::invalid(format!("the body is no array of calls: {error}")))?
    } else {
        vec![&body]
    };
    if calls.is_empty() || calls.len() > MOST {
        return Err(Error::invalid(format!("send 1 to {MOST} calls")).into());
    }
    let (posted, rejected) = take(&app, &who.caller, calls).await?;
    if let (Some(first), true) = (rejected.first(), posted.is_empty()) {
        return Err(Error::invalid(format!("call {}: {}", first.index, first.detail)).into());
    }
    let status = if rejected.is_empty() { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    let accepted = posted.len();
    let success = rejected.is_empty();
    Ok((status, Json(PostedCalls { success, accepted, calls: posted, rejected })))
}

/// Stores what is right of them in one transaction, and ties the calls to contacts.
async fn take(
    app: &App,
    caller: &Caller,
    calls: Vec<&RawValue>,
) -> Deed<(Vec<Posted>, Vec<Rejected>)> {
    let now = clock::now();
    let mut rejected = Vec::new();
    let mut right = Vec::new();
    for (index, call) in calls.into_iter().enumerate() {
        let call = serde_json::from_str(call.get())
            .map_err(|error| format!("it does not have the form of a call: {error}"));
        match call.and_then(|call| read(call, now)) {
            Ok((source, heard)) => right.push((index, source, heard)),
            Err(detail) => rejected.push(Rejected { index, detail }),
        }
    }
    let mut posted = Vec::new();
    if right.is_empty() {
        return Ok((posted, rejected));
    }
    let organization = caller.organization;
    let mut tx = app.db.begin().await?;
    for (index, source, heard) in &right {
        let changed = store::put(&mut tx, organization, source, heard, now).await?;
        let id = store::known(&mut tx, organization, source, &heard.id).await?;
        posted.push(Posted { index: *index, id, changed });
    }
    store::tie(&mut tx, organization, &caller.author(), TIE).await?;
    let changed = posted.iter().filter(|it| it.changed).count();
    if changed > 0 {
        let detail = json!({"calls": changed});
        audit::write(&mut tx, organization, caller, "call.post", "calls", &detail).await?;
    }
    tx.commit().await?;
    Ok((posted, rejected))
}

/// The source and the call, or which field is wrong.
fn read(call: NewCall, now: DateTime<Utc>) -> std::result::Result<(String, Heard), String> {
    let source = call.source.as_deref().map_or("posted", str::trim).to_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if source.is_empty() || source.len() > 40 || !source.chars().all(is_plain) {
        return Err("source: letters, digits, \"-\" and \"_\", at most 40".to_owned());
    }
    if source == super::SERVICE {
        return Err(format!("source: \"{source}\" is what the connection itself fetches"));
    }
    let id = match call.id.as_deref().map(str::trim) {
        None => uuid::Uuid::now_v7().to_string(),
        Some(id) if (1..=200).contains(&id.chars().count()) && !id.contains('\0') => id.to_owned(),
        Some(_) => return Err("id: 1 to 200 characters".to_owned()),
    };
    let started_at = call.started_at.ok_or("started_at: when the call began, as RFC 3339")?;
    if started_at > now + AHEAD || started_at.timestamp() < 0 {
        return Err("started_at: a time between 1970 and tomorrow".to_owned());
    }
    let email = match call.email.as_deref().map(str::trim).filter(|it| !it.is_empty()) {
        None => String::new(),
        Some(text) => Email::parse(text).map_err(|why| format!("email: {why}"))?.key,
    };
    let given = call.from_number.as_deref().unwrap_or_default().trim();
    let number = e164(given, None).unwrap_or_else(|| payload::bounded(given, 40));
    if call.duration_seconds.is_some_and(|it| !(0.0..=payload::MAX_SECONDS).contains(&it)) {
        return Err("duration_seconds: 0 to 86400".to_owned());
    }
    let seconds = duration(&call);
    let text = |text: Option<String>, most| payload::text(&json!(text.unwrap_or_default()), most);
    let heard = Heard {
        id,
        contact: None,
        agent: None,
        number,
        email,
        started_at,
        seconds,
        is_trial: false,
        summary: text(call.summary, payload::MAX_SUMMARY),
        transcript: text(call.transcript, payload::MAX_TRANSCRIPT),
        actions: "[]".to_owned(),
        extracted: "{}".to_owned(),
        hash: String::new(),
    };
    Ok((source, heard.hashed()))
}

/// Whole seconds: given as such, or in the metadata of the first version; 0 where there is
/// nothing that is a number.
fn duration(call: &NewCall) -> i64 {
    if let Some(seconds) = call.duration_seconds {
        return payload::seconds(&json!(seconds));
    }
    if let Some(given) = call.duration.as_ref().filter(|value| !value.is_null()) {
        return payload::seconds(given);
    }
    let parsed;
    let metadata = match &call.metadata {
        Some(Value::String(text)) => {
            parsed = serde_json::from_str(text).unwrap_or(Value::Null);
            &parsed
        }
        Some(value) => value,
        None => return 0,
    };
    let named = ["duration_seconds", "duration", "call_duration"];
    named.iter().find_map(|name| metadata.get(name)).map_or(0, payload::seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{NewCall, duration};

    #[test]
    fn durations_of_old_are_numbers_or_nothing() {
        for (body, expected) in [
            (json!({"duration_seconds": 61}), 61),
            (json!({"duration": "45", "metadata": {"duration": 3}}), 45),
            (json!({"metadata": {"duration": 30}}), 30),
            (json!({"metadata": {"duration": "30.6"}}), 31),
            (json!({"metadata": "{\"call_duration\": 12}"}), 12),
            (json!({"metadata": "not JSON"}), 0),
            (json!({"metadata": {}}), 0),
            (json!({"metadata": {"duration": null}}), 0),
            (json!({"metadata": {"duration": {"s": 3}}}), 0),
            (json!({"metadata": [1, 2]}), 0),
            (json!({"metadata": null}), 0),
            (json!({"duration": "an hour"}), 0),
            (json!({"duration": -5}), 0),
            (json!({}), 0),
        ] {
            let call: NewCall = serde_json::from_value(body.clone()).unwrap();
            assert_eq!(duration(&call), expected, "{body}");
        }
        assert_eq!(
            duration(&NewCall { metadata: Some(Value::Bool(true)), ..NewCall::default() }),
            0
        );
    }
}
