//! Reading conversations.

use chrono::{DateTime, Utc};

use super::{Position, top};
use crate::{
    auth::OrganizationId,
    customers::conversation::{Author, Conversation, Session, Status},
    db::{Db, Result},
};

/// A message with its author's name.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::customers::conversation) struct MessageRow {
    pub(in crate::customers::conversation) id: i64,
    pub(in crate::customers::conversation) author: Author,
    pub(in crate::customers::conversation) name: Option<String>,
    pub(in crate::customers::conversation) text: String,
    pub(in crate::customers::conversation) detail: Option<String>,
    pub(in crate::customers::conversation) created_at: DateTime<Utc>,
}

/// A page of conversations, those with the newest message first: of one customer, of one status,
/// or all.
pub(in crate::customers::conversation) async fn page(
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
pub(in crate::customers::conversation) async fn find(
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
pub(in crate::customers::conversation) async fn messages(
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
pub(in crate::customers::conversation) async fn answer_after(
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
pub(in crate::customers::conversation) async fn is_open(
    db: &Db,
    conversation: i64,
) -> Result<bool> {
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
pub(in crate::customers::conversation) async fn sessions(
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
             where a.organization_id = $1 and a.id = $2
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

/// What an answer is owed to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::customers::conversation) struct Owed {
    pub(in crate::customers::conversation) organization_id: OrganizationId,
    pub(in crate::customers::conversation) customer_id: i64,
    pub(in crate::customers::conversation) name: String,
    pub(in crate::customers::conversation) email: Option<String>,
    /// When the customer's account was made.
    pub(in crate::customers::conversation) since: DateTime<Utc>,
    pub(in crate::customers::conversation) company: String,
    pub(in crate::customers::conversation) website: String,
    pub(in crate::customers::conversation) industry: String,
    pub(in crate::customers::conversation) country: String,
    pub(in crate::customers::conversation) language: String,
    pub(in crate::customers::conversation) audience: String,
    pub(in crate::customers::conversation) goals: String,
    pub(in crate::customers::conversation) subject: String,
}

/// The conversation, if it is open and the message is still its last.
pub(in crate::customers::conversation) async fn owed(
    db: &Db,
    conversation: i64,
    message: i64,
) -> Result<Option<Owed>> {
    db.query(
        "select c.organization_id, c.customer_id, a.name, a.email, a.created_at as since,
             a.company, a.website, a.industry, a.country, a.language, a.audience, a.goals, c.subject
         from conversation c join customer a on a.id = c.customer_id
         where c.id = $1 and c.status = 'open'
           and (select max(m.id) from conversation_message m where m.conversation_id = c.id) = $2",
    )
    .bind(conversation)
    .bind(message)
    .optional()
    .await
}
