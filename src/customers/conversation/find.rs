//! Reading conversations: lists, one with its messages, and those of a customer.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Author, Conversation, Message, Side, Status, store};
use crate::{
    auth::Caller,
    db::Db,
    error::{Error, Result},
    http::paging,
};

/// Which conversations are listed. Customers see their own, whatever is asked for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<Status>,
    pub customer_id: Option<i64>,
    /// Of a page; at most 200.
    pub limit: Option<i64>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// A page of conversations.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConversationPage)]
pub struct Page {
    /// Those with the newest message first.
    pub conversations: Vec<Conversation>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

/// A conversation with the newest of its messages.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WholeConversation)]
pub struct Whole {
    #[serde(flatten)]
    pub conversation: Conversation,
    /// The assistant is at an answer.
    pub answering: bool,
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Cursor of the messages before.
    pub next: Option<String>,
}

/// A conversation in the list of a customer's.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = CustomerSession)]
pub struct Session {
    pub id: i64,
    pub subject: String,
    pub status: Status,
    /// 0 where nobody has written yet.
    pub message_count: i64,
    pub created_at: DateTime<Utc>,
    /// When it was begun, where nobody has written yet.
    pub last_message_at: DateTime<Utc>,
}

/// Conversations, those with the newest message first.
pub async fn list(db: &Db, caller: &Caller, filter: &Filter) -> Result<Page> {
    let side = Side::of(caller)?;
    let limit = paging::limit(filter.limit, 50);
    let after = filter.cursor.as_deref().map(store::position).transpose()?;
    let customer = side.customer().or(filter.customer_id);
    let status = filter.status;
    let found = store::page(db, caller.organization, customer, status, after, limit).await?;
    let next = paging::after(&found, limit, |last| (last.last_message_at, last.id))?;
    let conversations = found.into_iter().map(|one| one.seen_by(side)).collect();
    Ok(Page { conversations, next })
}

/// One conversation without its messages; another's is none.
pub async fn find(db: &Db, caller: &Caller, id: i64) -> Result<Conversation> {
    let side = Side::of(caller)?;
    let found = store::find(db, caller.organization, id, side.customer()).await?;
    Ok(found.ok_or(Error::NotFound("conversation"))?.seen_by(side))
}

/// One conversation with a page of its messages: the newest, or those before `cursor`.
pub async fn messages(
    db: &Db,
    caller: &Caller,
    id: i64,
    limit: Option<i64>,
    cursor: Option<&str>,
) -> Result<Whole> {
    let side = Side::of(caller)?;
    let limit = paging::limit(limit, paging::MAX_LIMIT);
    let before: Option<i64> = cursor.map(paging::position).transpose()?;
    let conversation = find(db, caller, id).await?;
    let rows = store::messages(db, id, before.unwrap_or(i64::MAX), limit).await?;
    let next = paging::after(&rows, limit, |oldest| oldest.id)?;
    let newest = rows.first().map(|row| row.author);
    let mut messages: Vec<_> = rows.into_iter().map(|row| Message::of(row, side)).collect();
    messages.reverse();
    let answering =
        conversation.status == Status::Open && before.is_none() && newest == Some(Author::Customer);
    Ok(Whole { conversation, answering, messages, next })
}

/// A page of the conversations of a customer, and its cursor. Customers have their own only;
/// somebody who is no customer has none.
pub async fn sessions_of(
    db: &Db,
    caller: &Caller,
    customer: i64,
    limit: Option<i64>,
    cursor: Option<&str>,
) -> Result<(Vec<Session>, Option<String>)> {
    let limit = paging::limit(limit, 50);
    let after = cursor.map(store::position).transpose()?;
    if Side::of(caller)?.customer().is_some_and(|own| own != customer) {
        return Err(Error::NotFound("customer"));
    }
    let found = store::sessions(db, caller.organization, customer, after, limit).await?;
    let sessions = found.ok_or(Error::NotFound("customer"))?;
    let next = paging::after(&sessions, limit, |last| (last.last_message_at, last.id))?;
    Ok((sessions, next))
}
