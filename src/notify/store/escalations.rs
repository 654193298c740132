//! What nobody reacted to.

use chrono::{DateTime, Utc};

use super::super::event::Event;
use crate::{
    auth::OrganizationId,
    db::{Result, Tx},
};

/// What is to be told others now, unless somebody reacted.
pub(in crate::notify) async fn due(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Event>> {
    let sql = tx.dialect(
        "select id, organization_id, kind, subject_id, app, severity, title, detail, at, state,
             folded_into, folded, told_at, stills, still_at, escalate_at, escalate_to, escalated_at,
             acknowledged_at, acknowledged_by, reaction
         from notify_event where escalate_at <= $1 order by escalate_at, id limit 50
         for update skip locked",
        "select id, organization_id, kind, subject_id, app, severity, title, detail, at, state,
             folded_into, folded, told_at, stills, still_at, escalate_at, escalate_to, escalated_at,
             acknowledged_at, acknowledged_by, reaction
         from notify_event where escalate_at <= $1 order by escalate_at, id limit 50",
    );
    tx.query(sql).bind(now).all().await
}

/// Somebody reacted in this way: it is told nobody else.
pub(in crate::notify) async fn settle(tx: &mut Tx, id: i64, reaction: &str) -> Result<()> {
    tx.query("update notify_event set escalate_at = null, reaction = $2 where id = $1")
        .bind(id)
        .bind(reaction)
        .run()
        .await
        .map(drop)
}

pub(in crate::notify) async fn escalated(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<()> {
    tx.query("update notify_event set escalate_at = null, escalated_at = $2 where id = $1")
        .bind(id)
        .bind(now)
        .run()
        .await
        .map(drop)
}

/// Whether a group's status was changed since: by a person, or because it was resolved.
pub(in crate::notify) async fn was_changed(
    tx: &mut Tx,
    group: i64,
    since: DateTime<Utc>,
) -> Result<bool> {
    let found: Option<(i64,)> = tx
        .query(
            "select id from group_change
             where group_id = $1 and at > $2 and (made_by is not null or status = 'resolved')
             limit 1",
        )
        .bind(group)
        .bind(since)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Whether a repair run took a group on since.
pub(in crate::notify) async fn was_tried(
    tx: &mut Tx,
    group: i64,
    since: DateTime<Utc>,
) -> Result<bool> {
    let found: Option<(i64,)> = tx
        .query(
            "select id from repair_attempt where group_id = $1 and started_at >= $2
             order by id desc limit 1",
        )
        .bind(group)
        .bind(since)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// The group of a storm, and that of its application that is seen last if it has none.
pub(in crate::notify) async fn group_of_storm(tx: &mut Tx, storm: i64) -> Result<Option<i64>> {
    let found: Option<(Option<i64>,)> =
        tx.query("select group_id from error_storm where id = $1").bind(storm).optional().await?;
    Ok(found.and_then(|(group,)| group))
}

/// Whether an action waits for a decision no more.
pub(in crate::notify) async fn was_decided(tx: &mut Tx, action: i64) -> Result<bool> {
    let status: Option<(String,)> =
        tx.query("select status from action_run where id = $1").bind(action).optional().await?;
    Ok(status.is_none_or(|(status,)| status != "proposed"))
}

/// Somebody has seen it; false if somebody had before. `None`: there is no such event.
pub(in crate::notify) async fn acknowledge(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Option<bool>> {
    let before: Option<(Option<DateTime<Utc>>,)> = tx
        .query("select acknowledged_at from notify_event where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    match before {
        None => return Ok(None),
        Some((Some(_),)) => return Ok(Some(false)),
        Some((None,)) => {}
    }
    let changed = tx
        .query(
            "update notify_event set acknowledged_at = $3, acknowledged_by = $4, escalate_at = null
             where organization_id = $1 and id = $2 and acknowledged_at is null",
        )
        .bind(organization)
        .bind(id)
        .bind(now)
        .bind(by)
        .run()
        .await?;
    Ok(Some(changed > 0))
}

/// Whether a part of Lux of which an event tells was told to be well again after it.
pub(in crate::notify) async fn is_well_again(tx: &mut Tx, event: &Event) -> Result<bool> {
    let part = event.title.split(" is ").next().unwrap_or_default();
    let found: Option<(i64,)> = tx
        .query(
            "select id from notify_event
             where organization_id = $1 and id > $2 and kind = 'health.changed' and title = $3
             limit 1",
        )
        .bind(event.organization_id)
        .bind(event.id)
        .bind(format!("{part} is well again"))
        .optional()
        .await?;
    Ok(found.is_some())
}
