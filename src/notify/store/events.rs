//! Rows of `notify_event`.

use chrono::{DateTime, Utc};

use super::super::event::{Event, Topic};
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    logs::Severity,
};

/// Events that one look takes of an organization: what is more is one burst, too.
pub(in crate::notify) const MOST: i64 = 2000;

/// Whether anything is to be decided: errors that have waited since `ripe`, or anything else.
pub(in crate::notify) async fn is_waiting(db: &Db, ripe: DateTime<Utc>) -> Result<bool> {
    let found: Option<(i64,)> = db
        .query(
            "select id from notify_event
             where state = 'waiting'
               and (at <= $1 or kind not in ('error.opened', 'error.regressed'))
             limit 1",
        )
        .bind(ripe)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Lets nobody else decide until the transaction ends.
pub(in crate::notify) async fn take_turn(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    tx.query("update notify_turn set taken_at = $1 where id = 1").bind(now).run().await.map(drop)
}

/// Whose events wait.
pub(in crate::notify) async fn organizations(tx: &mut Tx) -> Result<Vec<OrganizationId>> {
    let rows: Vec<(OrganizationId,)> = tx
        .query(
            "select distinct organization_id from notify_event where state = 'waiting' limit 1000",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What waits, oldest first.
pub(in crate::notify) async fn waiting(
    tx: &mut Tx,
    organization: OrganizationId,
) -> Result<Vec<Event>> {
    tx.query(
        "select id, organization_id, kind, subject_id, app, severity, title, detail, at, state,
             folded_into, folded, told_at, stills, still_at, escalate_at, escalate_to, escalated_at,
             acknowledged_at, acknowledged_by, reaction
         from notify_event where state = 'waiting' and organization_id = $1
         order by at, id limit $2",
    )
    .bind(organization)
    .bind(MOST)
    .all()
    .await
}

/// When a burst was told last.
pub(in crate::notify) async fn last_burst(
    tx: &mut Tx,
    organization: OrganizationId,
) -> Result<Option<DateTime<Utc>>> {
    let at: Option<(DateTime<Utc>,)> = tx
        .query(
            "select told_at from notify_event
             where organization_id = $1 and kind = 'error.opened' and subject_id is null
               and told_at is not null
             order by told_at desc limit 1",
        )
        .bind(organization)
        .optional()
        .await?;
    Ok(at.map(|(at,)| at))
}

/// A storm that errors may be part of.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::notify) struct Stormy {
    pub(in crate::notify) id: i64,
    pub(in crate::notify) app: String,
    pub(in crate::notify) group_id: Option<i64>,
    pub(in crate::notify) ended_at: Option<DateTime<Utc>>,
}

/// The storms that went on at a time or later.
pub(in crate::notify) async fn storms(
    tx: &mut Tx,
    organization: OrganizationId,
    at: DateTime<Utc>,
) -> Result<Vec<Stormy>> {
    tx.query(
        "select id, app, group_id, ended_at from error_storm
         where organization_id = $1 and (ended_at is null or ended_at >= $2)
         order by started_at desc, id desc limit 500",
    )
    .bind(organization)
    .bind(at)
    .all()
    .await
}

/// The event that tells of a storm.
pub(in crate::notify) async fn of_occasion(
    tx: &mut Tx,
    organization: OrganizationId,
    occasion: &str,
) -> Result<Option<i64>> {
    let found: Option<(i64,)> = tx
        .query("select id from notify_event where organization_id = $1 and occasion = $2")
        .bind(organization)
        .bind(occasion)
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// What is noted by code.
pub(in crate::notify) struct New<'a> {
    pub organization: OrganizationId,
    pub kind: Topic,
    pub occasion: &'a str,
    pub app: &'a str,
    pub severity: Severity,
    pub title: &'a str,
    pub detail: &'a str,
    /// It needs no reaction of anybody.
    pub settled: bool,
    pub at: DateTime<Utc>,
}

/// Notes it; `None` if it was noted before.
pub(in crate::notify) async fn insert(tx: &mut Tx, new: &New<'_>) -> Result<Option<i64>> {
    let id: Option<(i64,)> = tx
        .query(
            "insert into notify_event (organization_id, kind, occasion, app, severity, title,
                 detail, at, acknowledged_at, acknowledged_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (organization_id, occasion) do nothing returning id",
        )
        .bind(new.organization)
        .bind(new.kind)
        .bind(new.occasion)
        .bind(new.app)
        .bind(new.severity)
        .bind(new.title)
        .bind(new.detail)
        .bind(new.at)
        .bind(new.settled.then_some(new.at))
        .bind(new.settled.then_some("lux"))
        .optional()
        .await?;
    Ok(id.map(|(id,)| id))
}

/// Organizations with an enabled channel that wants to hear of Lux's health.
pub(in crate::notify) async fn caring(tx: &mut Tx) -> Result<Vec<OrganizationId>> {
    let rows: Vec<(OrganizationId,)> = tx
        .query(
            "select distinct organization_id from notify_channel
             where enabled and events like '%\"health.changed\"%' limit 1000",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What was decided about an event.
pub(in crate::notify) struct Decided<'a> {
    pub id: i64,
    pub title: &'a str,
    pub detail: &'a str,
    pub folded: i64,
    /// Of a storm: when it is looked at again.
    pub next_at: Option<DateTime<Utc>>,
    pub escalate_at: Option<DateTime<Utc>>,
    pub escalate_to: Option<i64>,
    pub now: DateTime<Utc>,
}

/// It is told.
pub(in crate::notify) async fn told(tx: &mut Tx, told: &Decided<'_>) -> Result<()> {
    tx.query(
        "update notify_event set state = 'told', title = $2, detail = $3, folded = $4,
             next_at = $5, still_at = $8, escalate_at = $6, escalate_to = $7, told_at = $8
         where id = $1",
    )
    .bind(told.id)
    .bind(told.title)
    .bind(told.detail)
    .bind(told.folded)
    .bind(told.next_at)
    .bind(told.escalate_at)
    .bind(told.escalate_to)
    .bind(told.now)
    .run()
    .await
    .map(drop)
}

/// It is part of another one (`Some`), or nobody wants it.
pub(in crate::notify) async fn left(
    tx: &mut Tx,
    id: i64,
    title: &str,
    into: Option<i64>,
) -> Result<()> {
    tx.query(
        "update notify_event set state = $3, title = case when title = '' then $4 else title end,
             folded_into = $2
         where id = $1",
    )
    .bind(id)
    .bind(into)
    .bind(if into.is_some() { "folded" } else { "unwanted" })
    .bind(title)
    .run()
    .await
    .map(drop)
}

/// Some are folded into an event, which tells of them.
pub(in crate::notify) async fn fold(tx: &mut Tx, into: i64, ids: &[i64]) -> Result<()> {
    let sql = tx.dialect(
        "update notify_event set state = 'folded', folded_into = $1
         where id in (select cast(value as bigint)
                      from json_array_elements_text(cast($2 as json)))",
        "update notify_event set state = 'folded', folded_into = $1
         where id in (select value from json_each($2))",
    );
    let list = format!("{ids:?}");
    tx.query(sql).bind(into).bind(list).run().await?;
    tx.query("update notify_event set folded = folded + $2 where id = $1")
        .bind(into)
        .bind(i64::try_from(ids.len()).unwrap_or(i64::MAX))
        .run()
        .await
        .map(drop)
}

/// Whether any storm is to be looked at, or anything escalates.
pub(in crate::notify) async fn is_due(db: &Db, now: DateTime<Utc>) -> Result<bool> {
    let storm: Option<(i64,)> = db
        .query("select id from notify_event where next_at <= $1 limit 1")
        .bind(now)
        .optional()
        .await?;
    if storm.is_some() {
        return Ok(true);
    }
    let escalation: Option<(i64,)> = db
        .query("select id from notify_event where escalate_at <= $1 limit 1")
        .bind(now)
        .optional()
        .await?;
    Ok(escalation.is_some())
}

/// Storms that are to be looked at; nobody else looks before `until`.
pub(in crate::notify) async fn take_storms(
    tx: &mut Tx,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Event>> {
    let sql = tx.dialect(
        "select id, organization_id, kind, subject_id, app, severity, title, detail, at, state,
             folded_into, folded, told_at, stills, still_at, escalate_at, escalate_to, escalated_at,
             acknowledged_at, acknowledged_by, reaction
         from notify_event where next_at <= $1 order by next_at, id limit 50
         for update skip locked",
        "select id, organization_id, kind, subject_id, app, severity, title, detail, at, state,
             folded_into, folded, told_at, stills, still_at, escalate_at, escalate_to, escalated_at,
             acknowledged_at, acknowledged_by, reaction
         from notify_event where next_at <= $1 order by next_at, id limit 50",
    );
    let due: Vec<Event> = tx.query(sql).bind(now).all().await?;
    for one in &due {
        tx.query("update notify_event set next_at = $2 where id = $1")
            .bind(one.id)
            .bind(until)
            .run()
            .await?;
    }
    Ok(due)
}

/// The storm goes on no more.
pub(in crate::notify) async fn storm_over(tx: &mut Tx, id: i64) -> Result<()> {
    tx.query("update notify_event set next_at = null where id = $1").bind(id).run().await.map(drop)
}

/// It was told that the storm goes on, for the `stills`th time.
pub(in crate::notify) async fn storm_goes_on(
    tx: &mut Tx,
    id: i64,
    stills: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query("update notify_event set stills = $2, still_at = $3 where id = $1")
        .bind(id)
        .bind(stills)
        .bind(now)
        .run()
        .await
        .map(drop)
}

/// Events, newest first, below `before`.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    kind: Option<Topic>,
    before: i64,
    limit: i64,
) -> Result<Vec<Event>> {
    db.query(
        "select id, organization_id, kind, subject_id, app, severity, title, detail, at, state,
             folded_into, folded, told_at, stills, still_at, escalate_at, escalate_to, escalated_at,
             acknowledged_at, acknowledged_by, reaction
         from notify_event
         where organization_id = $1 and id < $2 and (cast($3 as text) is null or kind = $3)
         order by id desc limit $4",
    )
    .bind(organization)
    .bind(before)
    .bind(kind)
    .bind(limit)
    .all()
    .await
}

pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Event>> {
    db.query(
        "select id, organization_id, kind, subject_id, app, severity, title, detail, at, state,
             folded_into, folded, told_at, stills, still_at, escalate_at, escalate_to, escalated_at,
             acknowledged_at, acknowledged_by, reaction
         from notify_event where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}
