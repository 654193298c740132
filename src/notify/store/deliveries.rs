//! Rows of `notify_delivery`: what is told to whom, and what came of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    logs::Severity,
};

/// What a delivery is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = NotifyDeliveryKind)]
pub enum Kind {
    /// An event.
    Event,
    /// A storm goes on.
    Still,
    /// A storm is over.
    End,
    /// What was held, or a digest.
    Summary,
    Escalation,
    Test,
}

/// How far a delivery is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = NotifyDeliveryState)]
pub enum State {
    Waiting,
    /// It is leaving at this moment.
    Sending,
    Sent,
    Failed,
    /// Nobody knows whether it arrived; it is not sent again.
    Uncertain,
    /// Maintenance, or quiet hours.
    Held,
    /// For the next digest.
    Digested,
    /// There was no need any more.
    Dropped,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Uncertain => "uncertain",
            Self::Held => "held",
            Self::Digested => "digested",
            Self::Dropped => "dropped",
        }
    }
}

/// Something that is told, or was.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = NotifyDelivery)]
pub struct Delivery {
    pub id: i64,
    #[serde(skip)]
    #[schema(ignore)]
    pub organization_id: OrganizationId,
    pub channel_id: i64,
    /// The channel's name.
    pub channel: String,
    pub event_id: Option<i64>,
    #[schema(inline)]
    pub kind: Kind,
    /// The address, for mail.
    pub target: String,
    #[schema(inline)]
    pub severity: Severity,
    pub title: String,
    pub body: String,
    #[serde(skip)]
    #[schema(ignore)]
    pub path: String,
    #[schema(inline)]
    pub state: State,
    /// Why it is as it is, in words.
    pub reason: Option<String>,
    pub tries: i64,
    /// When it is tried or looked at again; `null`: never.
    pub next_at: Option<DateTime<Utc>>,
    /// When it goes into a summary.
    pub gather_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    #[schema(ignore)]
    pub external_id: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    pub told_count: i64,
    /// How often a storm's message was brought up to date.
    pub edits: i64,
}

/// Something to be told.
pub(in crate::notify) struct New<'a> {
    pub organization: OrganizationId,
    pub channel: i64,
    pub event: Option<i64>,
    pub kind: Kind,
    pub occasion: &'a str,
    pub target: &'a str,
    pub severity: Severity,
    pub title: &'a str,
    pub body: &'a str,
    pub path: &'a str,
    pub state: State,
    pub reason: Option<&'a str>,
    pub next_at: Option<DateTime<Utc>>,
    pub gather_at: Option<DateTime<Utc>>,
    pub window: Option<i64>,
    pub sent_at: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

/// Notes it; `None` if it was noted before.
pub(in crate::notify) async fn insert(tx: &mut Tx, new: &New<'_>) -> Result<Option<i64>> {
    let id: Option<(i64,)> = tx
        .query(
            "insert into notify_delivery (organization_id, channel_id, event_id, kind, occasion,
                 target, severity, title, body, path, state, reason, next_at, gather_at, window_id,
                 sent_at, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             on conflict (channel_id, occasion, target) do nothing returning id",
        )
        .bind(new.organization)
        .bind(new.channel)
        .bind(new.event)
        .bind(new.kind)
        .bind(new.occasion)
        .bind(new.target)
        .bind(new.severity)
        .bind(new.title)
        .bind(new.body)
        .bind(new.path)
        .bind(new.state)
        .bind(new.reason)
        .bind(new.next_at)
        .bind(new.gather_at)
        .bind(new.window)
        .bind(new.sent_at)
        .bind(new.now)
        .optional()
        .await?;
    Ok(id.map(|(id,)| id))
}

/// Takes what is due, at most `limit`: nobody else looks at it before `until`. What is given has
/// the state that it had, and the number of this try.
pub(in crate::notify) async fn take(
    db: &Db,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Delivery>> {
    let waiting: Option<(i64,)> = db
        .query("select id from notify_delivery where next_at <= $1 limit 1")
        .bind(now)
        .optional()
        .await?;
    if waiting.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "select d.id, d.organization_id, d.channel_id, c.name as channel, d.event_id, d.kind,
             d.target, d.severity, d.title, d.body, d.path, d.state, d.reason, d.tries, d.next_at,
             d.gather_at, d.created_at, d.sent_at, d.external_id, d.told_count, d.edits
         from notify_delivery d join notify_channel c on c.id = d.channel_id
         where d.next_at <= $1 order by d.next_at, d.id limit $2 for update of d skip locked",
        "select d.id, d.organization_id, d.channel_id, c.name as channel, d.event_id, d.kind,
             d.target, d.severity, d.title, d.body, d.path, d.state, d.reason, d.tries, d.next_at,
             d.gather_at, d.created_at, d.sent_at, d.external_id, d.told_count, d.edits
         from notify_delivery d join notify_channel c on c.id = d.channel_id
         where d.next_at <= $1 order by d.next_at, d.id limit $2",
    );
    let mut due: Vec<Delivery> = tx.query(sql).bind(now).bind(limit).all().await?;
    for one in &mut due {
        one.tries += 1;
        tx.query("update notify_delivery set next_at = $2, tries = $3 where id = $1")
            .bind(one.id)
            .bind(until)
            .bind(one.tries)
            .run()
            .await?;
    }
    tx.commit().await?;
    Ok(due)
}

/// Writes down that it is leaving; false if another has taken it meanwhile.
pub(in crate::notify) async fn about_to(
    db: &Db,
    one: &Delivery,
    title: &str,
    body: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let noted = db
        .query(
            "update notify_delivery set state = 'sending', sending_at = $3, title = $4, body = $5
             where id = $1 and tries = $2",
        )
        .bind(one.id)
        .bind(one.tries)
        .bind(now)
        .bind(title)
        .bind(body)
        .run()
        .await?;
    Ok(noted > 0)
}

/// It is there. Whoever knows that writes it down, also if another has given it up meanwhile.
pub(in crate::notify) async fn sent(
    db: &Db,
    id: i64,
    external_id: Option<&str>,
    told_count: i64,
    next_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<()> {
    db.query(
        "update notify_delivery set state = 'sent', external_id = $2, told_count = $3,
             next_at = $4, sent_at = $5, reason = null
         where id = $1 and state in ('sending', 'uncertain')",
    )
    .bind(id)
    .bind(external_id)
    .bind(told_count)
    .bind(next_at)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Another state, in words why, and when it is looked at again.
pub(in crate::notify) async fn set(
    db: &Db,
    one: &Delivery,
    state: State,
    reason: Option<&str>,
    next_at: Option<DateTime<Utc>>,
) -> Result<()> {
    db.query(
        "update notify_delivery set state = $3, reason = $4, next_at = $5
         where id = $1 and tries = $2",
    )
    .bind(one.id)
    .bind(one.tries)
    .bind(state)
    .bind(reason)
    .bind(next_at)
    .run()
    .await
    .map(drop)
}

/// A storm's message was brought up to date.
pub(in crate::notify) async fn edited(
    db: &Db,
    one: &Delivery,
    title: &str,
    body: &str,
    count: i64,
    next_at: Option<DateTime<Utc>>,
) -> Result<()> {
    db.query(
        "update notify_delivery set title = $3, body = $4, told_count = $5, next_at = $6,
             edits = edits + 1, reason = null
         where id = $1 and tries = $2",
    )
    .bind(one.id)
    .bind(one.tries)
    .bind(title)
    .bind(body)
    .bind(count)
    .bind(next_at)
    .run()
    .await
    .map(drop)
}

/// The channels that were told of a storm's beginning, or will be: channel, state, when it left.
pub(in crate::notify) async fn told_of(
    tx: &mut Tx,
    event: i64,
) -> Result<Vec<(i64, State, Option<DateTime<Utc>>)>> {
    tx.query(
        "select channel_id, state, coalesce(sent_at, sending_at) from notify_delivery
         where event_id = $1 and kind = 'event' order by id limit 1000",
    )
    .bind(event)
    .all()
    .await
}

/// Lets storms' messages be looked at now.
pub(in crate::notify) async fn wake(tx: &mut Tx, event: i64, now: DateTime<Utc>) -> Result<()> {
    tx.query(
        "update notify_delivery set next_at = $2
         where event_id = $1 and kind = 'event' and state = 'sent' and external_id is not null
           and next_at is not null",
    )
    .bind(event)
    .bind(now)
    .run()
    .await
    .map(drop)
}

pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Delivery>> {
    db.query(
        "select d.id, d.organization_id, d.channel_id, c.name as channel, d.event_id, d.kind,
             d.target, d.severity, d.title, d.body, d.path, d.state, d.reason, d.tries, d.next_at,
             d.gather_at, d.created_at, d.sent_at, d.external_id, d.told_count, d.edits
         from notify_delivery d join notify_channel c on c.id = d.channel_id
         where d.organization_id = $1 and d.id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// What is asked for of the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub channel: Option<i64>,
    pub event: Option<i64>,
    pub state: Option<State>,
}

/// Deliveries, newest first, below `before`.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    filter: Filter,
    before: i64,
    limit: i64,
) -> Result<Vec<Delivery>> {
    db.query(
        "select d.id, d.organization_id, d.channel_id, c.name as channel, d.event_id, d.kind,
             d.target, d.severity, d.title, d.body, d.path, d.state, d.reason, d.tries, d.next_at,
             d.gather_at, d.created_at, d.sent_at, d.external_id, d.told_count, d.edits
         from notify_delivery d join notify_channel c on c.id = d.channel_id
         where d.organization_id = $1 and d.id < $2
           and (cast($3 as bigint) is null or d.channel_id = $3)
           and (cast($4 as text) is null or d.state = $4)
           and (cast($5 as bigint) is null or d.event_id = $5)
         order by d.id desc limit $6",
    )
    .bind(organization)
    .bind(before)
    .bind(filter.channel)
    .bind(filter.state)
    .bind(filter.event)
    .bind(limit)
    .all()
    .await
}
