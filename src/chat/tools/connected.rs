//! Tools around connected services: how they are, the calls that came of them, a message, a
//! meeting. What leaves Lux is a button for the operator, whoever asked.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Found, Item, Tools, User};
use crate::{
    auth::secret,
    clock,
    error::{Error, Result},
    integrations::{
        self,
        calls::{self, Call},
        meeting, outbox,
    },
};

/// Calls that are told if no number is asked for, and the most.
const SOME: u32 = 10;
const MOST: u32 = 50;
/// Days that are looked back if none are given, and the most.
const DAYS: u32 = 7;
const MOST_DAYS: u32 = 365;
/// Deliveries that are told.
const DELIVERIES: i64 = 10;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecentCalls {
    /// Days to look back; 7 if left out, at most 365.
    days: Option<u32>,
    /// Only calls of this contact.
    contact_id: Option<i64>,
    /// How many, at most 50.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    /// What is to be said, at most 3000 characters.
    text: String,
    /// The channel's id, if not the one that is set.
    channel: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleMeeting {
    /// What it is about.
    title: String,
    /// When it begins, in RFC 3339 with an offset: "2026-12-01T10:00:00Z".
    start: String,
    /// How long, in minutes; 30 if left out.
    minutes: Option<u32>,
    /// E-mail addresses of those who are invited; only ones that the operator named.
    #[serde(default)]
    attendees: Vec<String>,
    /// What else is to be known of it.
    description: Option<String>,
}

impl Tools {
    pub(super) async fn recent_calls(&self, user: &User, wanted: &RecentCalls) -> Result<Found> {
        let days = wanted.days.unwrap_or(DAYS).clamp(1, MOST_DAYS);
        let since = clock::now() - TimeDelta::days(days.into());
        let limit = wanted.limit.unwrap_or(SOME).clamp(1, MOST).into();
        let (db, organization) = (&self.app.db, user.organization);
        let (count, seconds): (i64, i64) = db
            .query(
                "select count(*), cast(coalesce(sum(duration_seconds), 0) as bigint)
                 from call_log where organization_id = $1 and started_at >= $2
                   and (cast($3 as bigint) is null or contact_id = $3)",
            )
            .bind(organization)
            .bind(since)
            .bind(wanted.contact_id)
            .one()
            .await?;
        let asked = calls::Wanted { contact: wanted.contact_id, ..calls::Wanted::default() };
        let found = calls::page(db, organization, asked, limit).await?;
        let synced = calls::statuses(db, organization).await?;
        let synced = match synced.first() {
            None => "No call was ever fetched: HighLevel has to be connected and serve calls."
                .to_owned(),
            Some(status) => match (status.last_sync_at, status.last_sync_status.as_deref()) {
                (Some(at), Some("success")) => format!("Fetched at {}.", at.to_rfc3339()),
                (Some(at), _) => format!("Fetching failed at {}.", at.to_rfc3339()),
                (None, _) => "They are being fetched for the first time.".to_owned(),
            },
        };
        Ok(Found {
            summary: format!(
                "{count} calls in {days} days, {} minutes in all. {synced}",
                seconds / 60
            ),
            items: found.into_iter().filter(|call| call.started_at >= since).map(item).collect(),
            ..Found::default()
        })
    }

    pub(super) async fn integration_status(&self, user: &User) -> Result<Found> {
        let (db, organization) = (&self.app.db, user.organization);
        let standing = integrations::standing(db, Some(organization)).await?;
        let duties = integrations::served(db, organization).await?;
        let syncs = calls::statuses(db, organization).await?;
        let told = outbox::deliveries(db, organization, None, i64::MAX, DELIVERIES).await?;
        let ill = standing.iter().filter(|it| it.is_problematic()).count();
        let mut items = Vec::new();
        let mut add = |source: &str, line: i64, about: String, text: String| {
            let source = source.to_owned();
            items.push(Item { source, line: line.unsigned_abs(), about, text });
        };
        for it in &standing {
            let about = format!("connection {}, {} failures in a row", it.id, it.error_count);
            add("connections", it.id, about, it.advice());
        }
        for it in &syncs {
            let word = it.last_sync_status.as_deref().unwrap_or("under way");
            add("sync", 0, format!("{}: {word}", it.service), it.last_sync_message.clone());
        }
        for it in &told {
            let about = format!("delivery {}, {}", it.id, json!(it.status));
            let why = it.last_error.as_deref().unwrap_or_default();
            add("deliveries", it.id, about, format!("{} {why}", it.title));
        }
        let duties: Vec<String> = duties
            .iter()
            .map(|it| {
                let by_itself = if it.automatic { "by itself" } else { "when asked" };
                format!("{} by {}, {by_itself}", it.duty.as_str(), it.provider)
            })
            .collect();
        let duties = if duties.is_empty() { "none".to_owned() } else { duties.join("; ") };
        Ok(Found {
            summary: format!(
                "{} connections, {ill} need a look. Duties: {duties}. Their page: /integrations.",
                standing.len()
            ),
            items,
            ..Found::default()
        })
    }

    pub(super) async fn send_message(&self, user: &User, wanted: SendMessage) -> Result<Found> {
        self.serves(user, integrations::Duty::Messages, "messages").await?;
        let text = wanted.text.trim();
        if text.is_empty() || text.chars().count() > 3000 {
            return Err(Error::invalid("text: 1 to 3000 characters"));
        }
        Ok(Found {
            summary: "Nothing was sent: the operator sees the message with a button that sends \
                      it."
            .to_owned(),
            proposals: vec![json!({
                "kind": "message",
                "title": "Send this message",
                "text": text,
                "method": "POST",
                "path": "/api/integrations/messages",
                // Pressed twice, it is sent once.
                "body": { "text": text, "channel": wanted.channel, "key": secret::random()? },
            })],
            ..Found::default()
        })
    }

    pub(super) async fn schedule_meeting(
        &self,
        user: &User,
        wanted: ScheduleMeeting,
    ) -> Result<Found> {
        self.serves(user, integrations::Duty::Meetings, "meetings").await?;
        let start: DateTime<Utc> = wanted.start.parse().map_err(|_| {
            Error::invalid("start: a time with its offset is needed, such as 2026-12-01T10:00:00Z")
        })?;
        let wish = meeting::Wish {
            title: wanted.title,
            start,
            minutes: wanted.minutes,
            attendees: wanted.attendees,
            description: wanted.description.unwrap_or_default(),
            time_zone: None,
            key: Some(secret::random()?),
        };
        wish.check(clock::now())?;
        let at = start.format("%Y-%m-%d %H:%M UTC");
        let with = match wish.attendees.as_slice() {
            [] => String::new(),
            all => format!(", with {}", all.join(", ")),
        };
        Ok(Found {
            summary: "Nothing was scheduled: the operator sees a button that puts the meeting \
                      into the calendar and invites those who are named."
                .to_owned(),
            proposals: vec![json!({
                "kind": "meeting",
                "title": "Schedule this meeting",
                "text": format!("{}, {at}{with}", wish.title.trim()),
                "method": "POST",
                "path": "/api/integrations/meetings",
                "body": wish,
            })],
            ..Found::default()
        })
    }

    async fn serves(&self, user: &User, duty: integrations::Duty, name: &str) -> Result<()> {
        let duties = integrations::served(&self.app.db, user.organization).await?;
        if duties.iter().any(|served| served.duty == duty) {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "nothing serves {name}: a service has to be connected and set to serve them, on the \
             page /integrations"
        )))
    }
}

/// Who called is told by number, not by name.
fn item(call: Call) -> Item {
    let who = call.contact_id.map_or("nobody known".to_owned(), |id| format!("contact {id}"));
    Item {
        source: "calls".to_owned(),
        line: call.id.unsigned_abs(),
        about: format!(
            "call {} at {}, {} seconds, from {who}",
            call.id,
            call.started_at.to_rfc3339(),
            call.duration_seconds
        ),
        text: call.summary,
    }
}
