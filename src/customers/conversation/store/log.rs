//! Looking through the messages of all conversations.

use chrono::{DateTime, Utc};

use super::Position;
use crate::{
    auth::OrganizationId,
    customers::conversation::Author,
    db::{Db, Result},
};

/// What is looked for in the messages of all conversations.
#[derive(Clone, Debug)]
pub(in crate::customers::conversation) struct LookedFor {
    pub(in crate::customers::conversation) organization: OrganizationId,
    pub(in crate::customers::conversation) customer: Option<i64>,
    /// Of `like`, in lower case.
    pub(in crate::customers::conversation) pattern: Option<String>,
    pub(in crate::customers::conversation) since: DateTime<Utc>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::customers::conversation) struct LogRow {
    pub(in crate::customers::conversation) id: i64,
    pub(in crate::customers::conversation) conversation_id: i64,
    pub(in crate::customers::conversation) subject: String,
    pub(in crate::customers::conversation) customer_id: i64,
    pub(in crate::customers::conversation) customer_name: String,
    pub(in crate::customers::conversation) author: Author,
    pub(in crate::customers::conversation) name: Option<String>,
    pub(in crate::customers::conversation) text: String,
    pub(in crate::customers::conversation) detail: Option<String>,
    pub(in crate::customers::conversation) created_at: DateTime<Utc>,
}

/// Up to `limit` of the messages that are wanted among the next `window`, newest first; and where
/// to go on if there may be more behind them.
pub(in crate::customers::conversation) async fn log(
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
pub(in crate::customers::conversation) async fn log_of_customer(
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
         where u.organization_id = $1 and c.customer_id = $2
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
