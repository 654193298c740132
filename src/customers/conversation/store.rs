//! The statements of conversations and their messages.

use chrono::{DateTime, Utc};

use super::{Author, Conversation, Session, Status};
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Of a conversation or message in its list: when, and which of that moment.
pub(super) type Position = (DateTime<Utc>, i64);

/// Above all that there is: further ahead than any clock.
pub(super) fn top() -> Position {
    (DateTime::from_timestamp(32_503_680_000, 0).unwrap_or_default(), i64::MAX)
}

/// A message with its author's name.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct MessageRow {
    pub(super) id: i64,
    pub(super) author: Author,
    pub(super) name: Option<String>,
    pub(super) text: String,
    pub(super) detail: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

/// A page of conversations, those with the newest message first: of one customer, of one status,
/// or all.
pub(super) async fn page(
    db: &Db,
    organization: OrganizationId,
    customer: Option<i64>,
    status: Option<Status>,
    after: Option<Position>,
    limit: i64,
) -> Result<Vec<Conversation>> {
    let (at, id) = after.unwrap_or_else(top);
    // Each of them walks along an index of its own.
    let query = if customer.is_some() {
        db.query(
            "select c.id, c.customer_id, a.name as customer_name, c.subject, c.status,
                 c.assigned_to, p.name as assigned_name, c.message_count, c.created_at,
                 c.last_message_at, c.waiting_since, c.version
             from conversation c
             join account a on a.id = c.customer_id
             left join account p on p.id = c.assigned_to
             where c.organization_id = $1 and (c.last_message_at, c.id) < ($2, $3)
               and c.customer_id = $5 and (cast($6 as text) is null or c.status = $6)
             order by c.last_message_at desc, c.id desc limit $4",
        )
    } else if status.is_some() {
        db.query(
            "select c.id, c.customer_id, a.name as customer_name, c.subject, c.status,
                 c.assigned_to, p.name as assigned_name, c.message_count, c.created_at,
                 c.last_message_at, c.waiting_since, c.version
             from conversation c
             join account a on a.id = c.customer_id
             left join account p on p.id = c.assigned_to
             where c.organization_id = $1 and (c.last_message_at, c.id) < ($2, $3)
               and cast($5 as bigint) is null and c.status = $6
             order by c.last_message_at desc, c.id desc limit $4",
        )
    } else {
        db.query(
            "select c.id, c.customer_id, a.name as customer_name, c.subject, c.status,
                 c.assigned_to, p.name as assigned_name, c.message_count, c.created_at,
                 c.last_message_at, c.waiting_since, c.version
             from conversation c
             join account a on a.id = c.customer_id
             left join account p on p.id = c.assigned_to
             where c.organization_id = $1 and (c.last_message_at, c.id) < ($2, $3)
               and cast($5 as bigint) is null and cast($6 as text) is null
             order by c.last_message_at desc, c.id desc limit $4",
        )
    };
    query
        .bind(organization)
        .bind(at)
        .bind(id)
        .bind(limit)
        .bind(customer)
        .bind(status.map(Status::as_str))
        .all()
        .await
}

/// One conversation; of one customer if one is named.
pub(super) async fn find(
    db: &Db,
    organization: OrganizationId,
    id: i64,
    customer: Option<i64>,
) -> Result<Option<Conversation>> {
    db.query(
        "select c.id, c.customer_id, a.name as customer_name, c.subject, c.status,
             c.assigned_to, p.name as assigned_name, c.message_count, c.created_at,
             c.last_message_at, c.waiting_since, c.version
         from conversation c
         join account a on a.id = c.customer_id
         left join account p on p.id = c.assigned_to
         where c.organization_id = $1 and c.id = $2
           and (cast($3 as bigint) is null or c.customer_id = $3)",
    )
    .bind(organization)
    .bind(id)
    .bind(customer)
    .optional()
    .await
}

/// The messages of a conversation before one, newest first.
pub(super) async fn messages(
    db: &Db,
    conversation: i64,
    before: i64,
    limit: i64,
) -> Result<Vec<MessageRow>> {
    db.query(
        "select m.id, m.author, a.name, m.text, m.detail, m.created_at
         from conversation_message m left join account a on a.id = m.author_id
         where m.conversation_id = $1 and m.id < $2
         order by m.id desc limit $3",
    )
    .bind(conversation)
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// The first message behind one that is not the customer's.
pub(super) async fn answer_after(
    db: &Db,
    conversation: i64,
    message: i64,
) -> Result<Option<MessageRow>> {
    db.query(
        "select m.id, m.author, a.name, m.text, m.detail, m.created_at
         from conversation_message m left join account a on a.id = m.author_id
         where m.conversation_id = $1 and m.id > $2 and m.author <> 'customer'
         order by m.id limit 1",
    )
    .bind(conversation)
    .bind(message)
    .optional()
    .await
}

/// Whether the assistant answers in a conversation.
pub(super) async fn is_open(db: &Db, conversation: i64) -> Result<bool> {
    let found: Option<(i64,)> = db
        .query("select id from conversation where id = $1 and status = 'open'")
        .bind(conversation)
        .optional()
        .await?;
    Ok(found.is_some())
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    id: Option<i64>,
    subject: Option<String>,
    status: Option<Status>,
    message_count: Option<i64>,
    created_at: Option<DateTime<Utc>>,
    last_message_at: Option<DateTime<Utc>>,
}

/// The conversations of a customer, those with the newest message first; `None` if there is no
/// such customer.
pub(super) async fn sessions(
    db: &Db,
    organization: OrganizationId,
    customer: i64,
    after: Option<Position>,
    limit: i64,
) -> Result<Option<Vec<Session>>> {
    let (at, id) = after.unwrap_or_else(top);
    // A customer without conversations is one row without a conversation.
    let rows: Vec<SessionRow> = db
        .query(
            "select c.id, c.subject, c.status, c.message_count, c.created_at, c.last_message_at
             from account a
             left join conversation c on c.customer_id = a.id
                 and c.organization_id = a.organization_id and (c.last_message_at, c.id) < ($3, $4)
             where a.organization_id = $1 and a.id = $2 and a.role = 'customer'
             order by c.last_message_at desc, c.id desc limit $5",
        )
        .bind(organization)
        .bind(customer)
        .bind(at)
        .bind(id)
        .bind(limit)
        .all()
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let session = |row: SessionRow| {
        Some(Session {
            id: row.id?,
            subject: row.subject?,
            status: row.status?,
            message_count: row.message_count?,
            created_at: row.created_at?,
            last_message_at: row.last_message_at?,
        })
    };
    Ok(Some(rows.into_iter().filter_map(session).collect()))
}

/// What is looked for in the messages of all conversations.
#[derive(Clone, Debug)]
pub(super) struct LookedFor {
    pub(super) organization: OrganizationId,
    pub(super) customer: Option<i64>,
    /// Of `like`, in lower case.
    pub(super) pattern: Option<String>,
    pub(super) since: DateTime<Utc>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct LogRow {
    pub(super) id: i64,
    pub(super) conversation_id: i64,
    pub(super) subject: String,
    pub(super) customer_id: i64,
    pub(super) customer_name: String,
    pub(super) author: Author,
    pub(super) name: Option<String>,
    pub(super) text: String,
    pub(super) detail: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

/// Up to `limit` of the messages that are wanted among the next `window`, newest first; and where
/// to go on if there may be more behind them.
pub(super) async fn log(
    db: &Db,
    wanted: &LookedFor,
    from: Position,
    window: i64,
    limit: i64,
) -> Result<(Vec<LogRow>, Option<Position>)> {
    let end: Option<Position> = db
        .query(
            "select created_at, id from conversation_message
             where (created_at, id) < ($1, $2) and created_at >= $3
             order by created_at desc, id desc limit 1 offset $4",
        )
        .bind(from.0)
        .bind(from.1)
        .bind(wanted.since)
        .bind(window - 1)
        .optional()
        .await?;
    let found = db
        .query(
            "select m.id, m.conversation_id, c.subject, c.customer_id, u.name as customer_name,
                 m.author, a.name, m.text, m.detail, m.created_at
             from (select id, conversation_id, author, author_id, text, detail, created_at
                   from conversation_message
                   where (created_at, id) < ($1, $2) and created_at >= $3
                   order by created_at desc, id desc limit $4) m
             join conversation c on c.id = m.conversation_id
             join account u on u.id = c.customer_id
             left join account a on a.id = m.author_id
             where c.organization_id = $5
               and (cast($6 as text) is null or lower(m.text) like $6 escape '\\')
             order by m.created_at desc, m.id desc limit $7",
        )
        .bind(from.0)
        .bind(from.1)
        .bind(wanted.since)
        .bind(window)
        .bind(wanted.organization)
        .bind(wanted.pattern.as_deref())
        .bind(limit)
        .all()
        .await?;
    Ok((found, end))
}

/// [`log`] of one customer, whose conversations are few enough to be looked through whole.
pub(super) async fn log_of_customer(
    db: &Db,
    wanted: &LookedFor,
    from: Position,
    limit: i64,
) -> Result<Vec<LogRow>> {
    db.query(
        "select m.id, m.conversation_id, c.subject, c.customer_id, u.name as customer_name,
             m.author, a.name, m.text, m.detail, m.created_at
         from conversation c
         join conversation_message m on m.conversation_id = c.id
         join account u on u.id = c.customer_id
         left join account a on a.id = m.author_id
         where c.organization_id = $1 and c.customer_id = $2
           and (m.created_at, m.id) < ($3, $4) and m.created_at >= $5
           and (cast($6 as text) is null or lower(m.text) like $6 escape '\\')
         order by m.created_at desc, m.id desc limit $7",
    )
    .bind(wanted.organization)
    .bind(wanted.customer)
    .bind(from.0)
    .bind(from.1)
    .bind(wanted.since)
    .bind(wanted.pattern.as_deref())
    .bind(limit)
    .all()
    .await
}

/// The customer of an account that is active; held until the end of the transaction, so that
/// what one customer does at the same time is counted one after the other.
pub(super) async fn hold_customer(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
) -> Result<bool> {
    let sql = tx.dialect(
        "select id from account where id = $1 and organization_id = $2 and role = 'customer'
             and status = 'active' for no key update",
        "select id from account where id = $1 and organization_id = $2 and role = 'customer'
             and status = 'active'",
    );
    let found: Option<(i64,)> = tx.query(sql).bind(account).bind(organization).optional().await?;
    Ok(found.is_some())
}

/// How many messages a customer wrote since a moment, and when the first of them.
pub(super) async fn written_since(
    tx: &mut Tx,
    customer: i64,
    since: DateTime<Utc>,
) -> Result<(i64, Option<DateTime<Utc>>)> {
    tx.query(
        "select count(*), min(m.created_at) from conversation c
         join conversation_message m on m.conversation_id = c.id
         where c.customer_id = $1 and c.last_message_at > $2
           and m.author = 'customer' and m.created_at > $2",
    )
    .bind(customer)
    .bind(since)
    .one()
    .await
}

/// How many conversations of a customer are not closed, and how many were begun since a moment.
pub(super) async fn conversations_of(
    tx: &mut Tx,
    customer: i64,
    since: DateTime<Utc>,
) -> Result<(i64, i64)> {
    tx.query(
        "select coalesce(sum(case when status <> 'closed' then 1 else 0 end), 0),
             coalesce(sum(case when created_at > $2 then 1 else 0 end), 0)
         from conversation
         where customer_id = $1 and (status <> 'closed' or last_message_at > $2)",
    )
    .bind(customer)
    .bind(since)
    .one()
    .await
}

/// A conversation that is to be changed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Held {
    pub(super) organization_id: OrganizationId,
    pub(super) customer_id: i64,
    pub(super) status: Status,
    pub(super) message_count: i64,
}

/// Holds a conversation until the end of the transaction, and counts its version up. Of one
/// customer if one is named.
pub(super) async fn hold(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    customer: Option<i64>,
) -> Result<Option<Held>> {
    tx.query(
        "update conversation set version = version + 1
         where organization_id = $1 and id = $2
           and (cast($3 as bigint) is null or customer_id = $3)
         returning organization_id, customer_id, status, message_count",
    )
    .bind(organization)
    .bind(id)
    .bind(customer)
    .optional()
    .await
}

/// Holds a conversation in which the assistant answers.
pub(super) async fn hold_open(tx: &mut Tx, id: i64) -> Result<Option<Held>> {
    tx.query(
        "update conversation set version = version + 1 where id = $1 and status = 'open'
         returning organization_id, customer_id, status, message_count",
    )
    .bind(id)
    .optional()
    .await
}

/// Whether a message is the last of its conversation.
pub(super) async fn is_last(tx: &mut Tx, conversation: i64, message: i64) -> Result<bool> {
    let last: Option<(i64,)> = tx
        .query(
            "select id from conversation_message where conversation_id = $1
             order by id desc limit 1",
        )
        .bind(conversation)
        .optional()
        .await?;
    Ok(last == Some((message,)))
}

/// Whether a person of the team ever wrote in a conversation.
pub(super) async fn has_person(tx: &mut Tx, conversation: i64) -> Result<bool> {
    let found: Option<(i64,)> = tx
        .query(
            "select id from conversation_message where conversation_id = $1 and author = 'person'
             limit 1",
        )
        .bind(conversation)
        .optional()
        .await?;
    Ok(found.is_some())
}

pub(super) async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    customer: i64,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<i64> {
    tx.query(
        "insert into conversation (organization_id, customer_id, subject, created_at,
             last_message_at)
         values ($1, $2, $3, $4, $4) returning id",
    )
    .bind(organization)
    .bind(customer)
    .bind(subject)
    .bind(now)
    .scalar()
    .await
}

/// A message that is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewMessage<'a> {
    pub(super) author: Author,
    pub(super) author_id: Option<i64>,
    pub(super) text: &'a str,
    /// JSON of [`super::Detail`].
    pub(super) detail: Option<&'a str>,
    pub(super) now: DateTime<Utc>,
}

/// Writes a message and counts it.
pub(super) async fn add(tx: &mut Tx, conversation: i64, new: &NewMessage<'_>) -> Result<i64> {
    let id = tx
        .query(
            "insert into conversation_message (conversation_id, author, author_id, text, detail,
                 created_at)
             values ($1, $2, $3, $4, $5, $6) returning id",
        )
        .bind(conversation)
        .bind(new.author)
        .bind(new.author_id)
        .bind(new.text)
        .bind(new.detail)
        .bind(new.now)
        .scalar()
        .await?;
    tx.query(
        "update conversation set message_count = message_count + 1, last_message_at = $2
         where id = $1",
    )
    .bind(conversation)
    .bind(new.now)
    .run()
    .await?;
    Ok(id)
}

/// Sets who answers. A person who is not named leaves whoever answered before.
pub(super) async fn set_status(
    tx: &mut Tx,
    conversation: i64,
    status: Status,
    waiting_since: Option<DateTime<Utc>>,
    assigned_to: Option<i64>,
) -> Result<()> {
    tx.query(
        "update conversation set status = $2, waiting_since = $3,
             assigned_to = coalesce($4, assigned_to)
         where id = $1",
    )
    .bind(conversation)
    .bind(status)
    .bind(waiting_since)
    .bind(assigned_to)
    .run()
    .await
    .map(drop)
}

/// Names a conversation that has no subject yet.
pub(super) async fn set_subject(tx: &mut Tx, conversation: i64, subject: &str) -> Result<()> {
    tx.query("update conversation set subject = $2 where id = $1 and subject = ''")
        .bind(conversation)
        .bind(subject)
        .run()
        .await
        .map(drop)
}

/// What an answer is owed to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Owed {
    pub(super) organization_id: OrganizationId,
    pub(super) customer_id: i64,
    pub(super) name: String,
    pub(super) email: Option<String>,
    /// When the customer's account was made.
    pub(super) since: DateTime<Utc>,
    pub(super) subject: String,
}

/// The conversation, if it is open and the message is still its last.
pub(super) async fn owed(db: &Db, conversation: i64, message: i64) -> Result<Option<Owed>> {
    db.query(
        "select c.organization_id, c.customer_id, a.name, a.email, a.created_at as since, c.subject
         from conversation c join account a on a.id = c.customer_id
         where c.id = $1 and c.status = 'open'
           and (select max(m.id) from conversation_message m where m.conversation_id = c.id) = $2",
    )
    .bind(conversation)
    .bind(message)
    .optional()
    .await
}
