//! Conversations: a customer asks, the assistant answers from the business's own words and what
//! was said before, and a person of the team takes over when one is wanted.
//!
//! ```text
//! open ── hand-over, or the assistant cannot ──> waiting ── a person writes ──> person
//!   └────────────────────── a person writes ───────────────────────────────────────┘
//! any ── close ──> closed ── reopen ──> open, or to a person again if one had answered
//! ```
//!
//! A customer's message to an open conversation and the job that answers it are one transaction
//! (`deeds`), so an answer is owed until it is stored, whatever happens in between (`answer`).

mod answer;
mod deeds;
mod find;
mod routes;
mod store;
mod transcript;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    auth::{Caller, Role, Who},
    error::{Error, Result},
};

pub use answer::{answer_to, start as start_answering};
pub use deeds::{New, Sent, begin, close, hand_over, reopen, send};
pub use find::{Filter, Page, Session, Whole, find, list, messages, sessions_of};
pub use routes::router;
pub use transcript::{LogFilter, LogLine, LogPage, transcript};

/// The longest message, in bytes.
pub const MAX_TEXT: usize = 8 << 10;
/// The longest subject, in bytes.
pub const MAX_SUBJECT: usize = 200;
/// Messages of one conversation.
pub const MAX_MESSAGES: i64 = 500;
/// Messages that a customer writes in a minute, and conversations that they begin.
pub const PER_MINUTE: i64 = 20;
/// Conversations of a customer that are not closed.
pub const MAX_OPEN: i64 = 50;

/// Who answers.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[schema(as = ConversationStatus)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// The assistant.
    Open,
    /// Nobody yet: it waits for a person.
    Waiting,
    /// A person of the team; the assistant is silent.
    Person,
    /// Nobody any more.
    Closed,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::Person => "person",
            Self::Closed => "closed",
        }
    }
}

/// Who wrote a message.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[schema(as = ConversationAuthor)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Author {
    Customer,
    Assistant,
    /// Somebody of the team.
    Person,
}

/// A conversation, without its messages.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = CustomerConversation)]
pub struct Conversation {
    pub id: i64,
    pub customer_id: i64,
    pub customer_name: String,
    /// One line; the beginning of the first message if nobody gave one.
    pub subject: String,
    pub status: Status,
    /// The account of the person who answers; not told to customers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<i64>,
    /// What that person is called.
    pub assigned_name: Option<String>,
    pub message_count: i64,
    pub created_at: DateTime<Utc>,
    pub last_message_at: DateTime<Utc>,
    /// Since when it waits for a person, while it does.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Goes up with everything that happens to it.
    pub version: i64,
}

impl Conversation {
    /// As one side may see it.
    fn seen_by(mut self, side: Side) -> Self {
        if let Side::Customer(_) = side {
            self.assigned_to = None;
        }
        self.assigned_name = self.assigned_name.filter(|name| is_shown(name));
        self
    }
}

/// How an answer of the assistant came about; only the team sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ConversationDetail)]
pub struct Detail {
    /// "model", or "none" where a fixed sentence stands for it.
    pub engine: String,
    /// As the model's server named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why the model did not answer, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// A message. Its text is text: whoever shows it does not read it as markup.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConversationMessage)]
pub struct Message {
    pub id: i64,
    pub author: Author,
    /// What the author is called: the customer's name, "Assistant", "Team (Ada)", "Team".
    pub shown_as: String,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    pub created_at: DateTime<Utc>,
}

impl Message {
    fn of(row: store::MessageRow, side: Side) -> Self {
        Self {
            id: row.id,
            author: row.author,
            shown_as: shown_as(row.author, row.name.as_deref()),
            text: row.text,
            detail: detail(row.detail.as_deref(), side),
            created_at: row.created_at,
        }
    }
}

/// From which side somebody looks at conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The customer of this account: sees their own.
    Customer(i64),
    /// The team, by the person's account; a token has none.
    Team(Option<i64>),
}

impl Side {
    fn of(caller: &Caller) -> Result<Self> {
        let account = match caller.who {
            Who::Person { account, .. } => Some(account),
            Who::Token(_) => None,
        };
        match (caller.role, account) {
            (Role::Customer, Some(account)) => Ok(Self::Customer(account)),
            (role, account) if role.may_operate() => Ok(Self::Team(account)),
            _ => Err(Error::Denied(
                "conversations are between customers and the team; sign in as one of them"
                    .to_owned(),
            )),
        }
    }

    /// Whose conversations are to be seen; `None`: everybody's.
    const fn customer(self) -> Option<i64> {
        match self {
            Self::Customer(account) => Some(account),
            Self::Team(_) => None,
        }
    }
}

/// Whether a name may be shown to customers: an account without a name is called by its address.
fn is_shown(name: &str) -> bool {
    !name.contains('@') && !name.trim().is_empty()
}

fn shown_as(author: Author, name: Option<&str>) -> String {
    match (author, name.filter(|name| is_shown(name))) {
        (Author::Customer, _) => name.unwrap_or("Customer").to_owned(),
        (Author::Assistant, _) => "Assistant".to_owned(),
        (Author::Person, Some(name)) => format!("Team ({name})"),
        (Author::Person, None) => "Team".to_owned(),
    }
}

fn detail(json: Option<&str>, side: Side) -> Option<Detail> {
    match side {
        Side::Customer(_) => None,
        Side::Team(_) => json.and_then(|json| serde_json::from_str(json).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Author, shown_as};

    #[test]
    fn nobody_of_the_team_is_shown_by_their_address() {
        for (name, shown) in [
            (Some("Ada"), "Team (Ada)"),
            (Some("ada@example.com"), "Team"),
            (Some(" "), "Team"),
            (None, "Team"),
        ] {
            assert_eq!(shown_as(Author::Person, name), shown);
        }
        assert_eq!(shown_as(Author::Customer, Some("bob@example.com")), "bob@example.com");
        assert_eq!(shown_as(Author::Assistant, Some("Ada")), "Assistant");
    }
}
