//! Meetings: an entry in Google's calendar with a link, or a room of Meet by itself.

mod routes;

use std::{fmt::Write, time::Duration};

use aws_lc_rs::digest;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Connection, Trouble,
    call::{Base, Call, segment},
};
use crate::{
    contacts::Email,
    error::{Error, Result},
    redact,
};

pub(super) use routes::router;

/// People of one meeting.
const MAX_PEOPLE: usize = 50;
/// The longest meeting, in minutes.
const LONGEST: u32 = 24 * 60;
/// How often is looked again for a link that is still being made, with a growing pause.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// A meeting that somebody wants.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MeetingWish)]
pub struct Wish {
    pub title: String,
    pub start: DateTime<Utc>,
    /// 30 if it is left out; at most 1440.
    pub minutes: Option<u32>,
    /// E-mail addresses of those who are invited; at most 50. Google writes to them.
    #[serde(default)]
    pub attendees: Vec<String>,
    #[serde(default)]
    pub description: String,
    /// Such as "Europe/Zurich"; Lux's own if it is left out.
    pub time_zone: Option<String>,
    /// Names the wish: sent again with the same, it is the same meeting.
    pub key: Option<String>,
}

impl Wish {
    /// Checks it, and says what is wrong.
    pub fn check(&self, now: DateTime<Utc>) -> Result<()> {
        let refuse = |why: &str| Err(Error::invalid(why));
        if self.title.trim().is_empty() || self.title.chars().count() > 200 {
            return refuse("title: 1 to 200 characters are needed");
        }
        if self.description.len() > 4000 {
            return refuse("description: at most 4000 bytes");
        }
        if !(1..=LONGEST).contains(&self.minutes()) {
            return refuse("minutes: 1 to 1440");
        }
        if self.start < now - TimeDelta::days(1) || self.start > now + TimeDelta::days(730) {
            return refuse("start: a time within the next two years, such as 2026-12-01T10:00:00Z");
        }
        if self.attendees.len() > MAX_PEOPLE {
            return refuse("attendees: at most 50 addresses");
        }
        if let Some(wrong) = self.attendees.iter().find(|it| Email::parse(it).is_err()) {
            let shown: String = wrong.chars().take(80).collect();
            return Err(Error::invalid(format!("attendees: {shown:?} is no e-mail address")));
        }
        if self.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 200) {
            return refuse("key: 1 to 200 bytes");
        }
        if self.time_zone.as_ref().is_some_and(|zone| zone.parse::<chrono_tz::Tz>().is_err()) {
            return refuse("time_zone: a name such as Europe/Zurich");
        }
        Ok(())
    }

    fn minutes(&self) -> u32 {
        self.minutes.unwrap_or(30)
    }
}

/// How far the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MeetingState)]
pub enum State {
    Ready,
    /// Google is still making it; the calendar will show it.
    Pending,
    /// Google could not make one; the entry stands without it.
    Failed,
}

/// A meeting that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Meeting)]
pub struct Meeting {
    /// The provider's name for it.
    pub id: String,
    /// The entry in the calendar; `null` for a room by itself.
    pub url: Option<String>,
    /// Where people meet.
    pub link: Option<String>,
    #[schema(inline)]
    pub state: State,
    /// False if it was there already.
    pub is_new: bool,
}

/// Puts a meeting into a calendar. The same key makes the same meeting, however often.
pub async fn schedule(
    connection: &Connection,
    calendar: &str,
    wish: &Wish,
    key: &str,
    zone: &str,
) -> Result<Meeting, Trouble> {
    let id = event_id(connection.id(), key);
    let events = format!("/calendar/v3/calendars/{}/events", segment(calendar));
    let at = |time: DateTime<Utc>| json!({"dateTime": time.to_rfc3339_opts(SecondsFormat::Secs, true), "timeZone": zone});
    let end = wish.start + TimeDelta::minutes(wish.minutes().into());
    let attendees: Vec<Value> =
        wish.attendees.iter().map(|email| json!({"email": email.trim()})).collect();
    let mut body = json!({
        "id": id,
        "summary": redact::secrets(wish.title.trim()),
        "start": at(wish.start),
        "end": at(end),
        "conferenceData": {"createRequest": {
            "requestId": format!("lux-{id}"),
            "conferenceSolutionKey": {"type": "hangoutsMeet"},
        }},
    });
    if !wish.description.trim().is_empty() {
        body["description"] = json!(redact::secrets(wish.description.trim()));
    }
    if !attendees.is_empty() {
        body["attendees"] = json!(attendees);
    }
    // Without this parameter Google leaves the link out, and says nothing of it.
    let mut call = Call::post(events.clone(), body).harmless();
    call.query = vec![
        ("conferenceDataVersion", "1".to_owned()),
        ("sendUpdates", if attendees.is_empty() { "none" } else { "all" }.to_owned()),
    ];
    let one = format!("{events}/{id}");
    let (mut event, is_new) = match connection.json(call).await {
        Ok(event) => (event, true),
        // Of this id there is one already, or it is refused for another reason.
        Err(Trouble::Refused { label, why }) => match connection.json(Call::get(&one)).await {
            Ok(event) => (event, false),
            Err(_) => return Err(Trouble::Refused { label, why }),
        },
        Err(trouble) => return Err(trouble),
    };
    for look in 1..=LOOKS {
        if state(&event) != State::Pending {
            break;
        }
        tokio::time::sleep(PAUSE * look).await;
        event = connection.json(Call::get(&one)).await?;
    }
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    Ok(Meeting { url: text("htmlLink"), link: link(&event), state: state(&event), id, is_new })
}

/// Opens a room without an entry in a calendar; each time another one.
pub async fn room(connection: &Connection) -> Result<Meeting, Trouble> {
    let space = connection.json(Call::post("/v2/spaces", json!({})).to(Base::Meet)).await?;
    let text = |name: &str| space[name].as_str().map(str::to_owned);
    let link = text("meetingUri");
    let state = if link.is_some() { State::Ready } else { State::Failed };
    Ok(Meeting { id: text("name").unwrap_or_default(), url: None, link, state, is_new: true })
}

/// Of what Google takes in an id: a to v, and digits.
fn event_id(connection: i64, key: &str) -> String {
    let text = format!("{connection}\n{key}");
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut id = String::with_capacity(40);
    for byte in digest.as_ref().iter().take(20) {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

fn link(event: &Value) -> Option<String> {
    let direct = event["hangoutLink"].as_str();
    let points = event.pointer("/conferenceData/entryPoints").and_then(Value::as_array);
    let video = points.into_iter().flatten().find(|it| it["entryPointType"] == "video");
    direct.or_else(|| video?["uri"].as_str()).map(str::to_owned)
}

fn state(event: &Value) -> State {
    if link(event).is_some() {
        return State::Ready;
    }
    let status = event.pointer("/conferenceData/createRequest/status/statusCode");
    match status.and_then(Value::as_str) {
        Some("pending") => State::Pending,
        _ => State::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::{State, event_id, link, state};
    use serde_json::json;

    #[test]
    fn an_id_is_one_that_google_takes() {
        let id = event_id(1, "x");
        assert!(id.len() == 40 && id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='v')), "{id}");
        assert_ne!(id, event_id(2, "x"));
    }

    #[test]
    fn a_link_is_there_is_coming_or_is_not() {
        let of = |code: &str| json!({"conferenceData": {"createRequest": {"status": {"statusCode": code}}}});
        assert_eq!(state(&of("pending")), State::Pending);
        assert_eq!(state(&of("failure")), State::Failed);
        assert_eq!(state(&json!({})), State::Failed);
        let points = json!([{"entryPointType": "phone", "uri": "tel:1"},
            {"entryPointType": "video", "uri": "https://meet.google.com/a"}]);
        let event = json!({"conferenceData": {"entryPoints": points}});
        assert_eq!(link(&event).as_deref(), Some("https://meet.google.com/a"));
        assert_eq!(state(&event), State::Ready);
    }
}
