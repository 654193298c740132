//! The messages of all conversations, for the team.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Author, Detail, Side, detail, shown_as, store};
use crate::{
    auth::Caller,
    db::Db,
    error::{Error, Result},
    http::paging,
};

/// The longest `q`, in bytes.
const MAX_WORDS: usize = 200;
/// Messages that one page looks through; a page that found too little among them ends early, and
/// the next one goes on where it ended.
const LOOKED_AT: i64 = 50_000;

/// Which messages are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    pub customer_id: Option<i64>,
    /// Part of the text, whatever its case.
    pub q: Option<String>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
    /// Of a page; at most 200.
    pub limit: Option<i64>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// A message with the conversation that it belongs to.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ChatLogLine)]
pub struct LogLine {
    pub id: i64,
    pub conversation_id: i64,
    pub subject: String,
    pub customer_id: i64,
    pub customer_name: String,
    pub author: Author,
    /// What the author is called: the customer's name, "Assistant", "Team (Ada)", "Team".
    pub shown_as: String,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    pub created_at: DateTime<Utc>,
}

/// A page of messages.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ChatLogPage)]
pub struct LogPage {
    /// Newest first.
    pub messages: Vec<LogLine>,
    /// Cursor of the next page. A page may hold less than asked for, or nothing, and still have a
    /// next one: there is a bound to how many messages are looked through at once.
    pub next: Option<String>,
}

/// Messages of all conversations, newest first. For the team only.
pub async fn transcript(db: &Db, caller: &Caller, filter: &LogFilter) -> Result<LogPage> {
    let side = Side::of(caller)?;
    if side.customer().is_some() {
        return Err(Error::Denied("transcripts are for operators and administrators".to_owned()));
    }
    let words = filter.q.as_deref().map(str::trim).filter(|words| !words.is_empty());
    if words.is_some_and(|words| words.len() > MAX_WORDS) {
        let why = format!("q: has at most {MAX_WORDS} bytes; look for fewer words");
        return Err(Error::Invalid(why));
    }
    let limit = paging::limit(filter.limit, 50);
    let after = filter.cursor.as_deref().map(store::position).transpose()?;
    let looked_for = store::LookedFor {
        organization: caller.organization,
        customer: filter.customer_id,
        pattern: words.map(pattern),
        since: store::within(filter.since.unwrap_or(DateTime::UNIX_EPOCH)),
    };
    // Nothing that was written at that moment itself.
    let until = filter.until.map_or_else(store::top, |until| (store::within(until), 0));
    let mut from: store::Position = after.map_or(until, |after| after.min(until));
    let mut lines: Vec<store::LogRow> = Vec::new();
    let mut left = LOOKED_AT;
    // Mostly what is wanted stands right at the beginning.
    let mut window = (limit * 2).max(100);
    let next = loop {
        let wanted = limit - i64::try_from(lines.len()).unwrap_or(limit);
        let (found, end) = if looked_for.customer.is_some() {
            (store::log_of_customer(db, &looked_for, from, wanted).await?, None)
        } else {
            store::log(db, &looked_for, from, window, wanted).await?
        };
        lines.extend(found);
        if let Some(last) = lines.last()
            && i64::try_from(lines.len()).is_ok_and(|found| found >= limit)
        {
            break Some((last.created_at, last.id));
        }
        let Some(end) = end else { break None };
        left -= window;
        if left <= 0 {
            break Some(end);
        }
        from = end;
        window = (window * 4).min(10_000);
    };
    let next = next.map(|position| paging::cursor(&position)).transpose()?;
    let messages = lines.into_iter().map(|row| line(row, side)).collect();
    Ok(LogPage { messages, next })
}

/// The pattern of `like` for a part of a text.
fn pattern(words: &str) -> String {
    let words = words.to_lowercase();
    let words = words.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{words}%")
}

fn line(row: store::LogRow, side: Side) -> LogLine {
    LogLine {
        id: row.id,
        conversation_id: row.conversation_id,
        subject: row.subject,
        customer_id: row.customer_id,
        customer_name: row.customer_name,
        author: row.author,
        shown_as: shown_as(row.author, row.name.as_deref()),
        text: row.text,
        detail: detail(row.detail.as_deref(), side),
        created_at: row.created_at,
    }
}
