//! Changing conversations: each change holds the row first, so those of one conversation come one
//! after the other.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    customers::conversation::{Author, Status},
    db::{Result, Tx},
};

/// The customer of an account that is active; held until the end of the transaction, so that
/// what one customer does at the same time is counted one after the other.
pub(in crate::customers::conversation) async fn hold_customer(
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
pub(in crate::customers::conversation) async fn written_since(
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
pub(in crate::customers::conversation) async fn conversations_of(
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
pub(in crate::customers::conversation) struct Held {
    pub(in crate::customers::conversation) organization_id: OrganizationId,
    pub(in crate::customers::conversation) customer_id: i64,
    pub(in crate::customers::conversation) status: Status,
    pub(in crate::customers::conversation) message_count: i64,
}

/// Holds a conversation until the end of the transaction, and counts its version up. Of one
/// customer if one is named.
pub(in crate::customers::conversation) async fn hold(
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
pub(in crate::customers::conversation) async fn hold_open(
    tx: &mut Tx,
    id: i64,
) -> Result<Option<Held>> {
    tx.query(
        "update conversation set version = version + 1 where id = $1 and status = 'open'
         returning organization_id, customer_id, status, message_count",
    )
    .bind(id)
    .optional()
    .await
}

/// The last message of a conversation, and who wrote it.
pub(in crate::customers::conversation) async fn last(
    tx: &mut Tx,
    conversation: i64,
) -> Result<Option<(i64, Author)>> {
    tx.query(
        "select id, author from conversation_message where conversation_id = $1
         order by id desc limit 1",
    )
    .bind(conversation)
    .optional()
    .await
}

/// Whether a person of the team ever wrote in a conversation.
pub(in crate::customers::conversation) async fn has_person(
    tx: &mut Tx,
    conversation: i64,
) -> Result<bool> {
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

pub(in crate::customers::conversation) async fn insert(
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
pub(in crate::customers::conversation) struct NewMessage<'a> {
    pub(in crate::customers::conversation) author: Author,
    pub(in crate::customers::conversation) author_id: Option<i64>,
    pub(in crate::customers::conversation) text: &'a str,
    /// JSON of [`crate::customers::conversation::Detail`].
    pub(in crate::customers::conversation) detail: Option<&'a str>,
    pub(in crate::customers::conversation) now: DateTime<Utc>,
}

/// Writes a message and counts it.
pub(in crate::customers::conversation) async fn add(
    tx: &mut Tx,
    conversation: i64,
    new: &NewMessage<'_>,
) -> Result<i64> {
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
pub(in crate::customers::conversation) async fn set_status(
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
pub(in crate::customers::conversation) async fn set_subject(
    tx: &mut Tx,
    conversation: i64,
    subject: &str,
) -> Result<()> {
    tx.query("update conversation set subject = $2 where id = $1 and subject = ''")
        .bind(conversation)
        .bind(subject)
        .run()
        .await
        .map(drop)
}
