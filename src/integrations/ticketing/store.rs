//! The rows of tickets. Whoever works on one holds the lease of its job in each transaction.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    integrations::tracker,
};

/// How far a ticket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = TicketStatus)]
pub enum Status {
    /// It is to be opened.
    Opening,
    Open,
    /// Closed with the evidence.
    Closed,
    /// It could not be opened, or is gone; `last_error` says why.
    Failed,
}

/// A ticket of an error group.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Ticket {
    pub id: i64,
    pub group_id: i64,
    /// "jira".
    pub provider: String,
    /// What people know it by there: "OPS-24"; `null` until it is opened.
    pub key: Option<String>,
    pub url: Option<String>,
    pub title: Option<String>,
    #[schema(inline)]
    pub status: Status,
    /// A person, a token or a repair run.
    pub asked_by: String,
    pub created_at: DateTime<Utc>,
    pub opened_at: Option<DateTime<Utc>>,
    pub closed_at: Option<DateTime<Utc>>,
    /// Tries that failed in a row.
    pub tries: i64,
    /// When it is tried again; `null` if nothing is to be done.
    pub next_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

impl Ticket {
    /// The tracker's name, for people.
    pub fn label(&self) -> &'static str {
        crate::integrations::Kind::find(&self.provider).map_or("the tracker", |kind| kind.label)
    }

    /// Its state in a word or two, for people.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Opening if self.last_error.is_some() => "Waiting to be opened",
            Status::Opening => "Being opened",
            Status::Open => "Open",
            Status::Closed => "Closed",
            Status::Failed => "Not opened",
        }
    }
}

/// A ticket as whoever works on it needs it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) organization_id: OrganizationId,
    pub(super) group_id: i64,
    pub(super) integration_id: i64,
    pub(super) target: String,
    pub(super) dedupe_key: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) status: Status,
    pub(super) told: Option<String>,
    pub(super) wanted: i64,
    pub(super) tries: i64,
}

pub(super) async fn load(db: &Db, id: i64) -> Result<Option<Row>> {
    db.query(
        "select id, organization_id, group_id, integration_id, target, dedupe_key, external_id,
             status, told, wanted, tries
         from ticket where id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The tickets of a group: its own first, then those of groups that were merged into it.
pub(super) async fn of_group(
    db: &Db,
    organization: OrganizationId,
    group: i64,
) -> Result<Vec<Ticket>> {
    db.query(
        "select id, group_id, provider, key, url, title, status, asked_by, created_at, opened_at,
             closed_at, tries, next_at, last_error
         from ticket
         where organization_id = $1 and (group_id = $2
             or group_id in (select id from error_group where merged_into = $2))
         order by case when group_id = $2 then 0 else 1 end, id limit 20",
    )
    .bind(organization)
    .bind(group)
    .all()
    .await
}

/// The tickets of groups.
pub(super) async fn of_groups(
    db: &Db,
    organization: OrganizationId,
    groups: &[i64],
) -> Result<Vec<Ticket>> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let groups = serde_json::to_string(groups).unwrap_or_default();
    let sql = db.dialect(
        "select id, group_id, provider, key, url, title, status, asked_by, created_at, opened_at,
             closed_at, tries, next_at, last_error
         from ticket where organization_id = $1
           and group_id in (select cast(value as bigint)
                            from json_array_elements_text(cast($2 as json)))",
        "select id, group_id, provider, key, url, title, status, asked_by, created_at, opened_at,
             closed_at, tries, next_at, last_error
         from ticket where organization_id = $1
           and group_id in (select value from json_each($2))",
    );
    db.query(sql).bind(organization).bind(groups).all().await
}

/// The newest tickets of an organization.
pub(super) async fn newest(
    db: &Db,
    organization: OrganizationId,
    limit: i64,
) -> Result<Vec<Ticket>> {
    db.query(
        "select id, group_id, provider, key, url, title, status, asked_by, created_at, opened_at,
             closed_at, tries, next_at, last_error
         from ticket where organization_id = $1 order by id desc limit $2",
    )
    .bind(organization)
    .bind(limit)
    .all()
    .await
}

/// A wish for a ticket.
pub(super) struct Wish<'a> {
    pub(super) organization: OrganizationId,
    pub(super) group: i64,
    pub(super) integration: i64,
    pub(super) provider: &'a str,
    pub(super) target: &'a str,
    pub(super) by: &'a str,
    pub(super) now: DateTime<Utc>,
}

/// Makes the row of a group's ticket; gives its id, and whether it was not there before.
pub(super) async fn ask(tx: &mut Tx, wish: &Wish<'_>) -> Result<(i64, bool)> {
    let made: Option<(i64,)> = tx
        .query(
            "insert into ticket (organization_id, group_id, integration_id, provider, target,
                 asked_by, created_at, next_at)
             values ($1, $2, $3, $4, $5, $6, $7, $7)
             on conflict (organization_id, group_id) do nothing returning id",
        )
        .bind(wish.organization)
        .bind(wish.group)
        .bind(wish.integration)
        .bind(wish.provider)
        .bind(wish.target)
        .bind(wish.by)
        .bind(wish.now)
        .optional()
        .await?;
    if let Some((id,)) = made {
        return Ok((id, true));
    }
    // One that failed goes to what serves now, and begins anew.
    tx.query(
        "update ticket set status = 'opening', integration_id = $3, provider = $4, target = $5,
             external_id = null, key = null, url = null
         where organization_id = $1 and group_id = $2 and status = 'failed'",
    )
    .bind(wish.organization)
    .bind(wish.group)
    .bind(wish.integration)
    .bind(wish.provider)
    .bind(wish.target)
    .run()
    .await?;
    let id = tx
        .query(
            "update ticket set wanted = wanted + 1, next_at = $3, tries = 0, last_error = null
             where organization_id = $1 and group_id = $2 returning id",
        )
        .bind(wish.organization)
        .bind(wish.group)
        .bind(wish.now)
        .scalar()
        .await?;
    Ok((id, false))
}

/// Tickets that something is to be done about.
pub(super) async fn due(db: &Db, now: DateTime<Utc>, limit: i64) -> Result<Vec<i64>> {
    let ids: Vec<(i64,)> = db
        .query(
            "select id from ticket where next_at <= $1 and not is_queued
             order by next_at, id limit $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Claims a ticket for a job; false if one has it, or it is not due any more.
pub(super) async fn claim(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<bool> {
    let changed = tx
        .query(
            "update ticket set is_queued = true
             where id = $1 and not is_queued and next_at <= $2",
        )
        .bind(id)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Gives the ticket the key that the tracker finds it by, before the tracker hears of it.
pub(super) async fn set_key(tx: &mut Tx, id: i64, key: &str) -> Result<()> {
    tx.query("update ticket set dedupe_key = $2 where id = $1 and dedupe_key is null")
        .bind(id)
        .bind(key)
        .run()
        .await
        .map(drop)
}

pub(super) async fn opened(
    tx: &mut Tx,
    id: i64,
    ticket: &tracker::Ticket,
    title: &str,
    told: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "update ticket set status = 'open', external_id = $2, key = $3, url = $4, title = $5,
             told = $6, opened_at = $7, closed_at = null, tries = 0, last_error = null
         where id = $1",
    )
    .bind(id)
    .bind(ticket.id.as_str())
    .bind(ticket.key.as_str())
    .bind(ticket.url.as_str())
    .bind(title)
    .bind(told)
    .bind(now)
    .run()
    .await
    .map(drop)
}

pub(super) async fn told(tx: &mut Tx, id: i64, told: Option<&str>) -> Result<()> {
    tx.query("update ticket set told = $2 where id = $1").bind(id).bind(told).run().await.map(drop)
}

pub(super) async fn set_status(
    tx: &mut Tx,
    id: i64,
    status: Status,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query("update ticket set status = $2, closed_at = $3 where id = $1")
        .bind(id)
        .bind(status)
        .bind((status == Status::Closed).then_some(now))
        .run()
        .await
        .map(drop)
}

/// How the work on a ticket ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended<'a> {
    pub(super) error: Option<&'a str>,
    /// When it is to be tried again.
    pub(super) next_at: Option<DateTime<Utc>>,
    pub(super) tries: i64,
}

/// Gives the ticket back. What was wanted since the job read it is due at once.
pub(super) async fn release(
    tx: &mut Tx,
    row: &Row,
    ended: &Ended<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "update ticket set is_queued = false, tries = $2, last_error = $3, next_at = $4
         where id = $1",
    )
    .bind(row.id)
    .bind(ended.tries)
    .bind(ended.error)
    .bind(ended.next_at)
    .run()
    .await?;
    // The row is ours until the commit: nobody can wish for more in between.
    tx.query("update ticket set next_at = $3 where id = $1 and wanted <> $2")
        .bind(row.id)
        .bind(row.wanted)
        .bind(now)
        .run()
        .await
        .map(drop)
}
