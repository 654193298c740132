//! What there is to tell.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::logs::Severity;

/// What a channel can want to hear of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[sqlx(type_name = "text")]
#[schema(as = NotifyTopic)]
pub enum Topic {
    /// An error that was not known.
    #[serde(rename = "error.opened")]
    #[sqlx(rename = "error.opened")]
    ErrorOpened,
    /// One that was resolved, again.
    #[serde(rename = "error.regressed")]
    #[sqlx(rename = "error.regressed")]
    ErrorRegressed,
    /// Far more events than usual: its beginning, how it goes, its end.
    #[serde(rename = "error.storm")]
    #[sqlx(rename = "error.storm")]
    ErrorStorm,
    #[serde(rename = "repair.finished")]
    #[sqlx(rename = "repair.finished")]
    RepairFinished,
    /// An action waits for somebody's approval.
    #[serde(rename = "repair.approval")]
    #[sqlx(rename = "repair.approval")]
    RepairApproval,
    /// A part of Lux itself became ill, or is well again.
    #[serde(rename = "health.changed")]
    #[sqlx(rename = "health.changed")]
    HealthChanged,
    /// A customer waits for a person.
    #[serde(rename = "conversation.waiting")]
    #[sqlx(rename = "conversation.waiting")]
    ConversationWaiting,
}

impl Topic {
    pub const ALL: [Self; 7] = [
        Self::ErrorOpened,
        Self::ErrorRegressed,
        Self::ErrorStorm,
        Self::RepairFinished,
        Self::RepairApproval,
        Self::HealthChanged,
        Self::ConversationWaiting,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorOpened => "error.opened",
            Self::ErrorRegressed => "error.regressed",
            Self::ErrorStorm => "error.storm",
            Self::RepairFinished => "repair.finished",
            Self::RepairApproval => "repair.approval",
            Self::HealthChanged => "health.changed",
            Self::ConversationWaiting => "conversation.waiting",
        }
    }

    /// In words, for people who choose.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ErrorOpened => "A new error",
            Self::ErrorRegressed => "A resolved error came back",
            Self::ErrorStorm => "A storm of errors",
            Self::RepairFinished => "A repair run finished",
            Self::RepairApproval => "An action waits for approval",
            Self::HealthChanged => "Lux itself became ill, or well again",
            Self::ConversationWaiting => "A customer waits for a person",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == name)
    }

    /// The page of Lux that tells more.
    pub(super) fn path(self, subject: Option<i64>) -> String {
        match (self, subject) {
            (Self::ErrorOpened | Self::ErrorRegressed, Some(id)) => format!("/errors/{id}"),
            (Self::ErrorOpened | Self::ErrorRegressed | Self::ErrorStorm, _) => {
                "/errors".to_owned()
            }
            (Self::RepairFinished, Some(id)) => format!("/repairs/{id}"),
            (Self::RepairFinished, None) => "/repairs".to_owned(),
            (Self::RepairApproval, _) => "/approvals".to_owned(),
            (Self::HealthChanged, _) => "/health".to_owned(),
            (Self::ConversationWaiting, Some(id)) => format!("/conversations/{id}"),
            (Self::ConversationWaiting, None) => "/interactions".to_owned(),
        }
    }
}

impl Event {
    /// The page of Lux that tells more.
    pub fn path(&self) -> String {
        self.kind.path(self.subject_id)
    }

    /// Whether it is told others if nobody reacts: what waits for a decision or an answer does
    /// whatever it weighs, everything else if something is broken.
    pub(super) fn needs_somebody(&self) -> bool {
        let is_awaited = matches!(self.kind, Topic::RepairApproval | Topic::ConversationWaiting);
        (is_awaited || self.severity >= Severity::Error) && self.acknowledged_at.is_none()
    }
}

/// How far an event is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = NotifyEventState)]
pub enum EventState {
    /// It is not decided yet whom it is told.
    Waiting,
    /// There are deliveries of it.
    Told,
    /// It is part of what another one tells.
    Folded,
    /// No channel wanted it after all.
    Unwanted,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = NotifyEvent)]
pub struct Event {
    pub id: i64,
    #[serde(skip)]
    #[schema(ignore)]
    pub organization_id: i64,
    #[schema(inline)]
    pub kind: Topic,
    /// The error group, storm, repair run, action's run or conversation.
    pub subject_id: Option<i64>,
    pub app: String,
    #[schema(inline)]
    pub severity: Severity,
    pub title: String,
    pub detail: String,
    pub at: DateTime<Utc>,
    #[schema(inline)]
    pub state: EventState,
    /// The event that tells of this one too.
    pub folded_into: Option<i64>,
    /// How many others this one tells of.
    pub folded: i64,
    pub told_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    #[schema(ignore)]
    pub stills: i64,
    #[serde(skip)]
    #[schema(ignore)]
    pub still_at: Option<DateTime<Utc>>,
    /// When it is told others if nobody reacts.
    pub escalate_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    #[schema(ignore)]
    pub escalate_to: Option<i64>,
    pub escalated_at: Option<DateTime<Utc>>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<String>,
    /// Why it did not escalate.
    pub reaction: Option<String>,
}
