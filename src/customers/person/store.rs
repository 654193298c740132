//! All SQL that reads, or forgets, everything about one customer.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Most rows of one kind that are written out.
const MOST: i64 = 100_000;

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Talk {
    id: i64,
    subject: String,
    status: String,
    created_at: DateTime<Utc>,
    last_message_at: DateTime<Utc>,
}

pub(super) async fn conversations(db: &Db, account: i64) -> Result<Vec<Talk>> {
    db.query(
        "select id, subject, status, created_at, last_message_at from conversation
         where customer_id = $1 order by last_message_at desc, id desc limit $2",
    )
    .bind(account)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Said {
    conversation_id: i64,
    author: String,
    text: String,
    created_at: DateTime<Utc>,
}

pub(super) async fn messages(db: &Db, account: i64) -> Result<Vec<Said>> {
    db.query(
        "select m.conversation_id, m.author, m.text, m.created_at from conversation c
         join conversation_message m on m.conversation_id = c.id
         where c.customer_id = $1 order by m.conversation_id, m.id limit $2",
    )
    .bind(account)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Known {
    issuer: String,
    subject: String,
    email: Option<String>,
    created_at: DateTime<Utc>,
}

pub(super) async fn identities(db: &Db, account: i64) -> Result<Vec<Known>> {
    db.query(
        "select issuer, subject, email, created_at from identity where account_id = $1
         order by id limit $2",
    )
    .bind(account)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct SignUp {
    email: String,
    name: String,
    company: String,
    created_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
}

pub(super) async fn sign_ups(
    db: &Db,
    organization: OrganizationId,
    email_key: Option<&str>,
) -> Result<Vec<SignUp>> {
    db.query(
        "select email, name, company, created_at, used_at from customer_signup
         where organization_id = $1 and email_key = $2 order by created_at limit $3",
    )
    .bind(organization)
    .bind(email_key)
    .bind(MOST)
    .all()
    .await
}

#[derive(Serialize, sqlx::FromRow)]
pub(super) struct Invited {
    email: Option<String>,
    role: String,
    created_at: DateTime<Utc>,
    accepted_at: Option<DateTime<Utc>>,
}

pub(super) async fn invitations(
    db: &Db,
    organization: OrganizationId,
    account: i64,
    email_key: Option<&str>,
) -> Result<Vec<Invited>> {
    db.query(
        "select email, role, created_at, accepted_at from invitation
         where organization_id = $1 and (email_key = $2 or account_id = $3)
         order by id limit $4",
    )
    .bind(organization)
    .bind(email_key)
    .bind(account)
    .bind(MOST)
    .all()
    .await
}

/// Whether they ever connected a service.
pub(super) async fn connected(tx: &mut Tx, account: i64) -> Result<bool> {
    let connections: i64 = tx
        .query(
            "select (select count(*) from integration where account_id = $1)
                 + (select count(*) from oauth_grant where account_id = $1)",
        )
        .bind(account)
        .scalar()
        .await?;
    Ok(connections > 0)
}

/// Ends the account and all that hangs on it: profile, words, notes, files, conversations,
/// sessions, what vouched for it, and what the address stands in besides.
pub(super) async fn forget(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    email_key: Option<&str>,
) -> Result<()> {
    // What was told of their conversations names them.
    tx.query(
        "delete from notify_inbox where event_id in
             (select e.id from notify_event e join conversation c on c.id = e.subject_id
              where e.kind = 'conversation.waiting' and c.customer_id = $1)",
    )
    .bind(account)
    .run()
    .await?;
    tx.query(
        "delete from notify_delivery where event_id in
             (select e.id from notify_event e join conversation c on c.id = e.subject_id
              where e.kind = 'conversation.waiting' and c.customer_id = $1)",
    )
    .bind(account)
    .run()
    .await?;
    tx.query(
        "delete from notify_event where kind = 'conversation.waiting' and subject_id in
             (select id from conversation where customer_id = $1)",
    )
    .bind(account)
    .run()
    .await?;
    tx.query("delete from integration_attempt where account_id = $1").bind(account).run().await?;
    forget_chats(tx, organization, account).await?;
    tx.query(
        "delete from invitation
         where organization_id = $1 and (email_key = $2 or account_id = $3)",
    )
    .bind(organization)
    .bind(email_key)
    .bind(account)
    .run()
    .await?;
    tx.query("delete from customer_signup where organization_id = $1 and email_key = $2")
        .bind(organization)
        .bind(email_key)
        .run()
        .await?;
    tx.query("delete from account where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(account)
        .run()
        .await
        .map(drop)
}

/// Chats of a time in which they were of the team.
async fn forget_chats(tx: &mut Tx, organization: OrganizationId, account: i64) -> Result<()> {
    // As `chat::Owner` names them.
    let owner = format!("account:{account}");
    tx.query(
        "delete from chat_transcript where message_id in
             (select m.id from chat_session s join chat_message m on m.session_id = s.id
              where s.organization_id = $1 and s.owner = $2)",
    )
    .bind(organization)
    .bind(owner.as_str())
    .run()
    .await?;
    tx.query(
        "delete from chat_message where session_id in
             (select id from chat_session where organization_id = $1 and owner = $2)",
    )
    .bind(organization)
    .bind(owner.as_str())
    .run()
    .await?;
    tx.query("delete from chat_session where organization_id = $1 and owner = $2")
        .bind(organization)
        .bind(owner.as_str())
        .run()
        .await
        .map(drop)
}
