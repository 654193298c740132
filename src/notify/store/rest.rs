//! The telephone number, what was told of Lux's health, what words need, and forgetting.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// How long rows are kept, and how many are removed at once.
const KEEP: TimeDelta = TimeDelta::days(30);
const STEP: i64 = 500;

pub async fn phone(db: &Db, organization: OrganizationId) -> Result<Option<String>> {
    let found: Option<(String,)> = db
        .query("select phone from notify_phone where organization_id = $1")
        .bind(organization)
        .optional()
        .await?;
    Ok(found.map(|(phone,)| phone).filter(|phone| !phone.is_empty()))
}

/// The same in a transaction.
pub(in crate::notify) async fn phone_in(
    tx: &mut Tx,
    organization: OrganizationId,
) -> Result<Option<String>> {
    let found: Option<(String,)> = tx
        .query("select phone from notify_phone where organization_id = $1")
        .bind(organization)
        .optional()
        .await?;
    Ok(found.map(|(phone,)| phone).filter(|phone| !phone.is_empty()))
}

pub(in crate::notify) async fn set_phone(
    tx: &mut Tx,
    organization: OrganizationId,
    phone: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into notify_phone (organization_id, phone, set_by, set_at) values ($1, $2, $3, $4)
         on conflict (organization_id) do update set phone = excluded.phone,
             set_by = excluded.set_by, set_at = excluded.set_at",
    )
    .bind(organization)
    .bind(phone)
    .bind(by)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// What was told of a host's parts: part, state.
pub(in crate::notify) async fn health(db: &Db, owner: &str) -> Result<Vec<(String, String)>> {
    db.query("select part, state from notify_health where owner = $1 order by part limit 200")
        .bind(owner)
        .all()
        .await
}

/// Notes what is told of a part from now on; false if that was told before.
pub(in crate::notify) async fn set_health(
    tx: &mut Tx,
    owner: &str,
    part: &str,
    state: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = tx
        .query(
            "insert into notify_health (owner, part, state, at) values ($1, $2, $3, $4)
             on conflict (owner, part) do update set state = excluded.state, at = excluded.at
             where notify_health.state <> excluded.state",
        )
        .bind(owner)
        .bind(part)
        .bind(state)
        .bind(now)
        .run()
        .await?;
    Ok(changed > 0)
}

/// A group, as a message tells of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::notify) struct Group {
    pub(in crate::notify) title: String,
    pub(in crate::notify) culprit: Option<String>,
    pub(in crate::notify) endpoint: Option<String>,
    pub(in crate::notify) method: Option<String>,
    pub(in crate::notify) count: i64,
    pub(in crate::notify) users: i64,
    pub(in crate::notify) first_seen: DateTime<Utc>,
    pub(in crate::notify) regressions: i64,
    pub(in crate::notify) merged_into: Option<i64>,
}

pub(in crate::notify) async fn group(tx: &mut Tx, id: i64) -> Result<Option<Group>> {
    tx.query(
        "select title, culprit, endpoint, method, count, users, first_seen, regressions, merged_into
         from error_group where id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// An action that waits: its name, title, cause, risk, and until when it can be approved.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::notify) struct Proposed {
    pub(in crate::notify) action: String,
    pub(in crate::notify) title: Option<String>,
    pub(in crate::notify) cause: String,
    pub(in crate::notify) risk: String,
    pub(in crate::notify) expires_at: DateTime<Utc>,
}

pub(in crate::notify) async fn action(tx: &mut Tx, id: i64) -> Result<Option<Proposed>> {
    tx.query("select action, title, cause, risk, expires_at from action_run where id = $1")
        .bind(id)
        .optional()
        .await
}

/// Removes what is old, a few rows of each at a time; how many it were.
pub(in crate::notify) async fn forget(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    let before = now - KEEP;
    let mut gone = 0;
    for query in [
        db.query(
            "delete from notify_delivery where id in
                 (select id from notify_delivery
                  where created_at < $1 and next_at is null and gather_at is null
                  order by id limit $2)",
        ),
        db.query(
            "delete from notify_event where id in
                 (select id from notify_event
                  where at < $1 and state <> 'waiting' and next_at is null and escalate_at is null
                  order by id limit $2)",
        ),
        db.query(
            "delete from notify_inbox where id in
                 (select id from notify_inbox where at < $1 order by at, id limit $2)",
        ),
        db.query(
            "delete from notify_window where id in
                 (select id from notify_window where to_at < $1 order by id limit $2)",
        ),
    ] {
        gone += query.bind(before).bind(STEP).run().await?;
    }
    Ok(gone)
}

/// A conversation in which a customer waits for a person.
#[derive(sqlx::FromRow)]
pub(in crate::notify) struct Waiting {
    pub(in crate::notify) name: String,
    pub(in crate::notify) subject: String,
}

/// Who waits in a conversation; `None` if nobody does any more.
pub(in crate::notify) async fn waiting(tx: &mut Tx, id: i64) -> Result<Option<Waiting>> {
    tx.query(
        "select a.name, c.subject from conversation c join account a on a.id = c.customer_id
         where c.id = $1 and c.status = 'waiting'",
    )
    .bind(id)
    .optional()
    .await
}
