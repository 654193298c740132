//! Sessions and messages. A session belongs to whoever began it.

mod seek;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use super::{kept::Kept, transcript::Transcript};
use crate::{
    auth::{Caller, OrganizationId, Who},
    clock,
    db::{Db, Tx},
    error::{Error, Result},
    http::paging,
    seal::{Field, Sealer},
};

pub(super) use seek::withdraw;
pub use seek::{answer_to, before, search};

/// Whose sessions: an organization's caller.
#[derive(Clone, Debug)]
pub struct Owner {
    pub organization: OrganizationId,
    /// What stays the same of them: "token:deploys", "account:7".
    pub name: String,
    /// How what they do is signed.
    pub author: String,
}

impl Owner {
    pub fn of(caller: &Caller) -> Self {
        let author = caller.author();
        let name = match caller.who {
            // By its name: who comes back with a new token of that name finds the sessions again.
            Who::Token(_) => author.clone(),
            Who::Person { account, .. } => format!("account:{account}"),
        };
        Self { organization: caller.organization, name, author }
    }
}

/// A session as it is listed.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Session {
    pub id: i64,
    /// The beginning of its first message, until it is renamed.
    pub title: String,
    pub message_count: i64,
    pub created_at: DateTime<Utc>,
    pub last_message_at: DateTime<Utc>,
}

/// A stored message.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = ChatMessage)]
pub struct Message {
    pub id: i64,
    /// "user" or "assistant".
    pub role: String,
    pub content: String,
    /// An answer's diagnosis, citations, engine and notice.
    #[schema(value_type = Option<Value>)]
    pub detail: Option<Json<Value>>,
    pub created_at: DateTime<Utc>,
}

impl Message {
    /// What is kept of an answer beside its words.
    pub fn kept(&self) -> Kept {
        let detail = self.detail.as_ref().map(|Json(detail)| detail.clone());
        detail.and_then(|detail| serde_json::from_value(detail).ok()).unwrap_or_default()
    }
}

/// A title is cut after this many characters.
const MAX_TITLE: usize = 80;

/// The session `id`, or a new one titled by its first message.
pub(super) async fn open(db: &Db, owner: &Owner, id: Option<i64>, message: &str) -> Result<i64> {
    let Some(id) = id else {
        let title: String = message.trim().chars().take(MAX_TITLE).collect();
        let title = title.replace('\0', "\u{fffd}");
        return Ok(db
            .query(
                "insert into chat_session
                     (organization_id, owner, title, created_at, last_message_at)
                 values ($1, $2, $3, $4, $4) returning id",
            )
            .bind(owner.organization)
            .bind(owner.name.as_str())
            .bind(title)
            .bind(clock::now())
            .scalar()
            .await?);
    };
    find(db, owner, id).await?.map(|session| session.id).ok_or(Error::NotFound("session"))
}

/// One session, if it is the owner's.
pub async fn find(db: &Db, owner: &Owner, id: i64) -> Result<Option<Session>> {
    Ok(db
        .query(
            "select id, title, message_count, created_at, last_message_at from chat_session
             where id = $1 and organization_id = $2 and owner = $3",
        )
        .bind(id)
        .bind(owner.organization)
        .bind(owner.name.as_str())
        .optional()
        .await?)
}

/// Whether anybody of an organization has a session.
pub(super) async fn any(db: &Db, organization: OrganizationId) -> Result<bool> {
    let found: Option<(i64,)> = db
        .query("select id from chat_session where organization_id = $1 limit 1")
        .bind(organization)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// A page of the owner's sessions, the latest first, with the cursor of the next page.
pub async fn list(
    db: &Db,
    owner: &Owner,
    limit: i64,
    cursor: Option<&str>,
) -> Result<(Vec<Session>, Option<String>)> {
    let after: Option<(DateTime<Utc>, i64)> = cursor.map(paging::position).transpose()?;
    let (at, id) = after.unzip();
    let mut sessions: Vec<Session> = db
        .query(
            "select id, title, message_count, created_at, last_message_at from chat_session
             where organization_id = $1 and owner = $2
               and (last_message_at < $3 or (last_message_at = $3 and id < $4) or $3 is null)
             order by last_message_at desc, id desc limit $5",
        )
        .bind(owner.organization)
        .bind(owner.name.as_str())
        .bind(at)
        .bind(id)
        .bind(limit + 1)
        .all()
        .await?;
    let next = next_page(&mut sessions, limit)?;
    Ok((sessions, next))
}

/// Cuts a list that was read one longer than its page; the cursor of what comes after it.
fn next_page(sessions: &mut Vec<Session>, limit: i64) -> Result<Option<String>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    match sessions.last() {
        Some(last) if more => Ok(Some(paging::cursor(&(last.last_message_at, last.id))?)),
        _ => Ok(None),
    }
}

/// The latest messages of a session, oldest first.
pub async fn messages(db: &Db, session: i64, limit: i64) -> Result<Vec<Message>> {
    let mut messages: Vec<Message> = db
        .query(
            "select id, role, content, detail, created_at from chat_message
             where session_id = $1 order by id desc limit $2",
        )
        .bind(session)
        .bind(limit)
        .all()
        .await?;
    messages.reverse();
    Ok(messages)
}

/// The detail of the latest answer that holds a diagnosis.
pub(super) async fn last_diagnosis(db: &Db, session: i64) -> Result<Option<Value>> {
    let detail: Option<(Json<Value>,)> = db
        .query(
            "select detail from chat_message
             where session_id = $1 and role = 'assistant' and detail is not null
             order by id desc limit 1",
        )
        .bind(session)
        .optional()
        .await?;
    Ok(detail.map(|(Json(detail),)| detail))
}

/// Adds a question; returns its id.
pub(super) async fn ask(db: &Db, session: i64, question: &str) -> Result<i64> {
    let mut tx = db.begin().await?;
    let id = add(&mut tx, session, "user", question, None, clock::now()).await?;
    tx.commit().await?;
    Ok(id)
}

/// Adds an answer, with how a model came to it; returns its id.
pub(super) async fn answer(
    db: &Db,
    sealer: &Sealer,
    session: i64,
    answer: &str,
    kept: &Kept,
    transcript: Option<&Transcript>,
) -> Result<i64> {
    let detail = serde_json::to_value(kept).map_err(anyhow::Error::from)?;
    let mut tx = db.begin().await?;
    let now = clock::now();
    let id = add(&mut tx, session, "assistant", answer, Some(detail), now).await?;
    if let Some(transcript) = transcript {
        let body = serde_json::to_string(transcript).map_err(anyhow::Error::from)?;
        tx.query(
            "insert into chat_transcript (message_id, created_at, body, sealed)
             values ($1, $2, $3, $4)",
        )
        .bind(id)
        .bind(now)
        .bind(Json(Value::Null))
        .bind(sealer.seal(field(&id.to_string()), &body)?)
        .run()
        .await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// How an answer came about, if a model gave it and it is kept.
pub(super) async fn transcript(
    db: &Db,
    sealer: &Sealer,
    organization: OrganizationId,
    message: i64,
) -> Result<Option<Transcript>> {
    let found: Option<(Json<Value>, Option<String>)> = db
        .query(
            "select t.body, t.sealed from chat_transcript as t
             join chat_message as m on m.id = t.message_id
             join chat_session as s on s.id = m.session_id
             where t.message_id = $1 and s.organization_id = $2",
        )
        .bind(message)
        .bind(organization)
        .optional()
        .await?;
    let Some((Json(body), sealed)) = found else { return Ok(None) };
    let read = match sealed {
        Some(sealed) => {
            let text = sealer.open(field(&message.to_string()), &sealed)?;
            serde_json::from_str(text.expose_secret())
        }
        // Of before transcripts were sealed.
        None => serde_json::from_value(body),
    };
    Ok(Some(read.map_err(anyhow::Error::from)?))
}

fn field(message: &str) -> Field<'_> {
    Field { table: "chat_transcript", column: "sealed", row: message }
}

/// Transcripts that one statement forgets.
const FORGOTTEN: i64 = 200;

/// Forgets some transcripts from before a time.
pub(super) async fn forget_transcripts(db: &Db, before: DateTime<Utc>) -> Result<u64> {
    Ok(db
        .query(
            "delete from chat_transcript where message_id in
                 (select message_id from chat_transcript where created_at < $1
                  order by created_at, message_id limit $2)",
        )
        .bind(before)
        .bind(FORGOTTEN)
        .run()
        .await?)
}

/// What a session said up to a message, in short.
pub(super) async fn summary(db: &Db, session: i64) -> Result<Option<(String, i64)>> {
    let known: Option<(Option<String>, Option<i64>)> = db
        .query("select summary, summary_until from chat_session where id = $1")
        .bind(session)
        .optional()
        .await?;
    Ok(known.and_then(|(summary, until)| summary.zip(until)))
}

pub(super) async fn summarise(db: &Db, session: i64, summary: &str, until: i64) -> Result<()> {
    db.query("update chat_session set summary = $2, summary_until = $3 where id = $1")
        .bind(session)
        .bind(summary)
        .bind(until)
        .run()
        .await?;
    Ok(())
}

async fn add(
    tx: &mut Tx,
    session: i64,
    role: &'static str,
    content: &str,
    detail: Option<Value>,
    at: DateTime<Utc>,
) -> Result<i64> {
    tx.query(
        "update chat_session set message_count = message_count + 1, last_message_at = $2
         where id = $1",
    )
    .bind(session)
    .bind(at)
    .run()
    .await?;
    Ok(tx
        .query(
            "insert into chat_message (session_id, role, content, detail, created_at)
             values ($1, $2, $3, $4, $5) returning id",
        )
        .bind(session)
        .bind(role)
        .bind(content.replace('\0', "\u{fffd}"))
        .bind(detail.map(Json))
        .bind(at)
        .scalar()
        .await?)
}

/// Gives a session another title.
pub async fn rename(db: &Db, owner: &Owner, id: i64, title: &str) -> Result<()> {
    let title = title.trim();
    if title.is_empty() || title.chars().count() > MAX_TITLE {
        return Err(Error::Invalid(format!("title must have 1 to {MAX_TITLE} characters")));
    }
    let changed = db
        .query(
            "update chat_session set title = $4
             where id = $1 and organization_id = $2 and owner = $3",
        )
        .bind(id)
        .bind(owner.organization)
        .bind(owner.name.as_str())
        .bind(title.replace('\0', "\u{fffd}"))
        .run()
        .await?;
    if changed == 1 { Ok(()) } else { Err(Error::NotFound("session")) }
}

/// Removes a session with its messages.
pub async fn remove(db: &Db, owner: &Owner, id: i64) -> Result<()> {
    find(db, owner, id).await?.ok_or(Error::NotFound("session"))?;
    let mut tx = db.begin().await?;
    tx.query(
        "delete from chat_transcript where message_id in
             (select id from chat_message where session_id = $1)",
    )
    .bind(id)
    .run()
    .await?;
    tx.query("delete from chat_message where session_id = $1").bind(id).run().await?;
    tx.query("delete from chat_session where id = $1").bind(id).run().await?;
    tx.commit().await?;
    Ok(())
}
