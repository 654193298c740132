//! Finding sessions by words, and taking back the last question.

use chrono::{DateTime, Utc};

use super::{Message, Owner, Session};
use crate::{
    db::Db,
    error::{Error, Result},
    http::paging,
};

/// Sessions that are looked through, the latest ones: more are no list that a person reads.
const SEARCHED: i64 = 500;

/// The longest text that is looked for, in characters.
const LONGEST: usize = 100;

/// A page of the owner's sessions whose title or messages hold a text in any case, the latest
/// first, with the cursor of the next page. Only their latest 500 sessions are looked through.
pub async fn search(
    db: &Db,
    owner: &Owner,
    text: &str,
    limit: i64,
    cursor: Option<&str>,
) -> Result<(Vec<Session>, Option<String>)> {
    if text.chars().count() > LONGEST {
        return Err(Error::Invalid(format!(
            "q has at most {LONGEST} characters; look for fewer words"
        )));
    }
    let after: Option<(DateTime<Utc>, i64)> = cursor.map(paging::position).transpose()?;
    let (at, id) = after.unzip();
    let pattern = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let mut found: Vec<Session> = db
        .query(
            "select s.id, s.title, s.message_count, s.created_at, s.last_message_at
             from (select id, title, message_count, created_at, last_message_at
                   from chat_session where organization_id = $1 and owner = $2
                   order by last_message_at desc, id desc limit $7) as s
             where (lower(s.title) like $6 escape '\\' or exists (select 1 from chat_message as m
                        where m.session_id = s.id and lower(m.content) like $6 escape '\\'))
               and (s.last_message_at < $3 or (s.last_message_at = $3 and s.id < $4)
                    or $3 is null)
             order by s.last_message_at desc, s.id desc limit $5",
        )
        .bind(owner.organization)
        .bind(owner.name.as_str())
        .bind(at)
        .bind(id)
        .bind(limit + 1)
        .bind(format!("%{pattern}%"))
        .bind(SEARCHED)
        .all()
        .await?;
    let next = super::next_page(&mut found, limit)?;
    Ok((found, next))
}

/// The messages of a session before one, oldest first.
pub async fn before(db: &Db, session: i64, before: i64, limit: i64) -> Result<Vec<Message>> {
    let mut messages: Vec<Message> = db
        .query(
            "select id, role, content, detail, created_at from chat_message
             where session_id = $1 and id < $2 order by id desc limit $3",
        )
        .bind(session)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    messages.reverse();
    Ok(messages)
}

/// The answer to a question; `None` while there is none.
pub async fn answer_to(db: &Db, session: i64, question: i64) -> Result<Option<Message>> {
    Ok(db
        .query(
            "select id, role, content, detail, created_at from chat_message
             where session_id = $1 and id > $2 and role = 'assistant' order by id limit 1",
        )
        .bind(session)
        .bind(question)
        .optional()
        .await?)
}

/// Takes back a session's last question with its answer: another one comes in its place.
///
/// [`Error::Conflict`] if it is not the last.
pub(in crate::chat) async fn withdraw(db: &Db, session: i64, question: i64) -> Result<()> {
    let mut tx = db.begin().await?;
    let last: Option<i64> = tx
        .query(
            "select id from chat_message where session_id = $1 and role = 'user'
             order by id desc limit 1",
        )
        .bind(session)
        .optional::<(i64,)>()
        .await?
        .map(|(id,)| id);
    if last != Some(question) {
        return Err(Error::Conflict(
            "only the last question of a session can be replaced; ask a new one".to_owned(),
        ));
    }
    tx.query(
        "delete from chat_transcript where message_id in
             (select id from chat_message where session_id = $1 and id >= $2)",
    )
    .bind(session)
    .bind(question)
    .run()
    .await?;
    tx.query("delete from chat_message where session_id = $1 and id >= $2")
        .bind(session)
        .bind(question)
        .run()
        .await?;
    tx.query(
        "update chat_session set message_count =
             (select count(*) from chat_message where session_id = $1) where id = $1",
    )
    .bind(session)
    .run()
    .await?;
    tx.commit().await?;
    Ok(())
}
