//! Rows of `notify_inbox` and `notify_read`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    logs::Severity,
};

/// Unread entries are counted up to this.
pub const MOST_UNREAD: i64 = 100;

/// Something that people see in the dashboard.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = InboxEntry)]
pub struct Entry {
    pub id: i64,
    pub event_id: Option<i64>,
    #[schema(inline)]
    pub severity: Severity,
    pub title: String,
    pub body: String,
    /// Of the page that tells more.
    pub path: String,
    pub at: DateTime<Utc>,
    /// Whether the caller has read it.
    pub read: bool,
}

pub(in crate::notify) async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    event: Option<i64>,
    severity: Severity,
    words: (&str, &str, &str),
    now: DateTime<Utc>,
) -> Result<i64> {
    let (title, body, path) = words;
    tx.query(
        "insert into notify_inbox (organization_id, event_id, severity, title, body, path, at)
         values ($1, $2, $3, $4, $5, $6, $7) returning id",
    )
    .bind(organization)
    .bind(event)
    .bind(severity)
    .bind(title)
    .bind(body)
    .bind(path)
    .bind(now)
    .scalar()
    .await
}

/// Entries, newest first, below `before`; only unread ones, if wanted.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    reader: &str,
    unread: bool,
    before: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    db.query(
        "select i.id, i.event_id, i.severity, i.title, i.body, i.path, i.at,
             r.id is not null as read
         from notify_inbox i left join notify_read r on r.inbox_id = i.id and r.reader = $2
         where i.organization_id = $1 and i.id < $3 and (r.id is null or not $4)
         order by i.id desc limit $5",
    )
    .bind(organization)
    .bind(reader)
    .bind(before)
    .bind(unread)
    .bind(limit)
    .all()
    .await
}

/// How many the reader has not read, up to [`MOST_UNREAD`].
pub async fn unread(db: &Db, organization: OrganizationId, reader: &str) -> Result<i64> {
    db.query(
        "select count(*) from (select i.id from notify_inbox i
             where i.organization_id = $1
               and not exists (select 1 from notify_read r
                               where r.inbox_id = i.id and r.reader = $2)
             order by i.id desc limit $3) as unread",
    )
    .bind(organization)
    .bind(reader)
    .bind(MOST_UNREAD)
    .scalar()
    .await
}

/// Changes with every entry, and with everything that is read.
pub async fn mark(db: &Db, organization: OrganizationId) -> Result<String> {
    let newest: Option<(i64,)> = db
        .query("select id from notify_inbox where organization_id = $1 order by id desc limit 1")
        .bind(organization)
        .optional()
        .await?;
    let read: Option<(i64,)> = db
        .query("select id from notify_read where organization_id = $1 order by id desc limit 1")
        .bind(organization)
        .optional()
        .await?;
    let of = |row: Option<(i64,)>| row.map_or(0, |(id,)| id);
    Ok(format!("{}/{}", of(newest), of(read)))
}

/// The reader has read an entry; false if there is none.
pub(in crate::notify) async fn read(
    tx: &mut Tx,
    organization: OrganizationId,
    reader: &str,
    id: i64,
) -> Result<bool> {
    let found: Option<(i64,)> = tx
        .query("select id from notify_inbox where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    if found.is_none() {
        return Ok(false);
    }
    tx.query(
        "insert into notify_read (organization_id, inbox_id, reader) values ($1, $2, $3)
         on conflict (inbox_id, reader) do nothing",
    )
    .bind(organization)
    .bind(id)
    .bind(reader)
    .run()
    .await?;
    Ok(true)
}

/// The reader has read all up to an entry, at most 5000 at once; how many were new.
pub(in crate::notify) async fn read_up_to(
    tx: &mut Tx,
    organization: OrganizationId,
    reader: &str,
    id: i64,
) -> Result<u64> {
    tx.query(
        "insert into notify_read (organization_id, inbox_id, reader)
         select i.organization_id, i.id, $2 from notify_inbox i
         where i.organization_id = $1 and i.id <= $3
           and not exists (select 1 from notify_read r where r.inbox_id = i.id and r.reader = $2)
         order by i.id desc limit 5000
         on conflict (inbox_id, reader) do nothing",
    )
    .bind(organization)
    .bind(reader)
    .bind(id)
    .run()
    .await
}
