//! Channels: ways to tell people and programs, and what each wants to hear.

mod change;
mod wish;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{
    event::Topic,
    quiet::{Digest, Hours, Quiet, time_of, zone_of},
    store::channels::{self as store, Row},
};
use crate::{
    app::App,
    auth::OrganizationId,
    error::{Error, Result},
    logs::Severity,
    seal::Field,
};

pub use change::{create, remove, replace};
pub use wish::{MAX_RECIPIENTS, Wish};
pub(super) use wish::{addresses, line, text};

/// By which way a channel tells.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = NotifyChannelKind)]
pub enum Kind {
    /// By SMTP, to each recipient.
    Mail,
    /// By the connection that serves the duty "messages".
    Slack,
    /// By a signed POST.
    Webhook,
    /// In the dashboard's inbox.
    Browser,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::Browser => "browser",
        }
    }
}

/// A channel as it is shown.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotifyChannel)]
pub struct Channel {
    pub id: i64,
    pub name: String,
    #[schema(inline)]
    pub kind: Kind,
    pub enabled: bool,
    pub events: Vec<Topic>,
    #[schema(inline)]
    pub least: Severity,
    pub app: String,
    pub recipients: Vec<String>,
    pub slack_channel: String,
    /// Host and end of the address; the rest is a secret.
    pub url: Option<String>,
    pub quiet: Option<Quiet>,
    pub quiet_lets_critical: bool,
    #[schema(inline)]
    pub digest: Digest,
    pub digest_at: String,
    pub zone: String,
    pub escalate_after_minutes: Option<i64>,
    pub escalate_to: Option<i64>,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    /// When something arrived there last.
    pub sent_at: Option<DateTime<Utc>>,
    /// Tries that failed in a row.
    pub failures: i64,
    pub last_error: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) row_name: String,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) target_sealed: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) secret_sealed: Option<String>,
}

impl From<Row> for Channel {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            kind: row.kind,
            enabled: row.enabled,
            events: serde_json::from_str(&row.events).unwrap_or_default(),
            least: row.least,
            app: row.app,
            recipients: serde_json::from_str(&row.recipients).unwrap_or_default(),
            slack_channel: row.slack_channel,
            url: row.target_shown,
            quiet: row.quiet.and_then(|text| serde_json::from_str(&text).ok()),
            quiet_lets_critical: row.quiet_lets_critical,
            digest: row.digest,
            digest_at: row.digest_at,
            zone: row.zone,
            escalate_after_minutes: row.escalate_after_minutes,
            escalate_to: row.escalate_to,
            made_by: row.made_by,
            created_at: row.created_at,
            sent_at: row.sent_at,
            failures: row.failures,
            last_error: row.last_error,
            row_name: row.row_name,
            target_sealed: row.target_sealed,
            secret_sealed: row.secret_sealed,
        }
    }
}

impl Channel {
    /// Whether it wants to hear of something.
    pub fn wants(&self, topic: Topic, severity: Severity, app: &str) -> bool {
        self.events.contains(&topic)
            && severity >= self.least
            && (self.app.is_empty() || app.is_empty() || self.app == app)
    }

    /// Where it tells, each by a delivery of its own.
    pub(super) fn targets(&self) -> Vec<&str> {
        match self.kind {
            Kind::Mail => self.recipients.iter().map(String::as_str).collect(),
            _ => vec![""],
        }
    }

    /// Until when it is quiet, if it is at a moment.
    pub(super) fn quiet_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let hours: Hours = self.quiet.as_ref()?.read().ok()?;
        hours.until(now)
    }

    /// When its next digest is due.
    pub(super) fn digest_due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at: NaiveTime = time_of(&self.digest_at, "digest_at").ok()?;
        let zone: Tz = zone_of(&self.zone, "zone").ok()?;
        self.digest.next(now, at, zone)
    }
}

/// Where the address of a webhook is sealed.
pub(super) fn target_field(row: &str) -> Field<'_> {
    Field { table: "notify_channel", column: "target_sealed", row }
}

/// Where the key of its signatures is.
pub(super) fn secret_field(row: &str) -> Field<'_> {
    Field { table: "notify_channel", column: "secret_sealed", row }
}

/// A channel.
pub async fn read(app: &App, organization: OrganizationId, id: i64) -> Result<Channel> {
    let found = store::find(&app.db, organization, id).await?;
    found.map(Channel::from).ok_or(Error::NotFound("channel"))
}

/// All channels of an organization.
pub async fn list(app: &App, organization: OrganizationId) -> Result<Vec<Channel>> {
    Ok(store::list(&app.db, organization).await?.into_iter().map(Channel::from).collect())
}
