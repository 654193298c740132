//! Moving what was kept of a group to another: when groups are merged, when that is undone,
//! and when a group is split.
//!
//! What is decided is stored at once ([`merge`], [`undo`], [`split`]), and counts for all
//! events from then on. What was kept before follows in batches, each a transaction that
//! finds by itself what is left to do: after a crash the next one goes on.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    groups::Status,
    intake::json_ids,
    second, weight,
    write::{json, text},
};
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
    errors::grouping::split::{By, Traits},
    logs::Severity,
};

/// Events, hours and users that one transaction moves, each.
const BATCH: i64 = 500;
/// Users that are told apart in a group, as the writer does it.
const MAX_USERS: i64 = 10_000;

/// A group that is locked until the end of the transaction.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Locked {
    pub id: i64,
    pub app: String,
    pub fingerprint: String,
    pub title: String,
    pub status: Status,
    pub evidence_id: Option<i64>,
    pub status_at: DateTime<Utc>,
    pub count: i64,
    pub merged_into: Option<i64>,
    pub merged_by: Option<String>,
    pub split_by: Option<String>,
}

/// Locks groups of the organization and the signposts that lead to them.
///
/// The writer locks a signpost before its target, and otherwise groups by their keys: no
/// order is right for both. So this waits only briefly, and fails as busy (see
/// [`crate::db::Failure::Busy`]); who has locked all waits for nobody any more.
pub async fn lock(tx: &mut Tx, organization: OrganizationId, ids: &[i64]) -> Result<Vec<Locked>> {
    let brief = tx.dialect("select set_config('lock_timeout', '100ms', true)", "select ''");
    tx.query(brief).optional::<(String,)>().await?;
    let sql = tx.dialect(
        "select id, app, fingerprint, title, status, evidence_id, status_at, count, merged_into,
             merged_by, split_by
         from error_group
         where organization_id = $1
           and (id in (select cast(value as bigint)
                       from json_array_elements_text(cast($2 as json)))
               or merged_into in (select cast(value as bigint)
                                  from json_array_elements_text(cast($2 as json))))
         order by app collate \"C\", fingerprint collate \"C\" for update",
        "select id, app, fingerprint, title, status, evidence_id, status_at, count, merged_into,
             merged_by, split_by
         from error_group
         where +organization_id = $1
           and (id in (select value from json_each($2))
               or merged_into in (select value from json_each($2)))
         order by app, fingerprint",
    );
    tx.query(sql).bind(organization).bind(json_ids(ids)).all().await
}

/// Makes a signpost to `target` of a group; those that led to it lead there as well.
/// All of them are locked.
pub async fn merge(
    tx: &mut Tx,
    group: &Locked,
    signposts: &[&Locked],
    target: &Locked,
    by: &str,
) -> Result<()> {
    tx.query(
        "update error_group set
             count = error_group.count + g.count, sampled = error_group.sampled + g.sampled,
             first_release = case when g.first_seen < error_group.first_seen
                 then coalesce(g.first_release, error_group.first_release)
                 else coalesce(error_group.first_release, g.first_release) end,
             last_release = case when g.last_seen > error_group.last_seen
                 then coalesce(g.last_release, error_group.last_release)
                 else coalesce(error_group.last_release, g.last_release) end,
             first_seen = case when g.first_seen < error_group.first_seen
                 then g.first_seen else error_group.first_seen end,
             last_seen = case when g.last_seen > error_group.last_seen
                 then g.last_seen else error_group.last_seen end,
             severity = case
                 when 'critical' in (error_group.severity, g.severity) then 'critical'
                 when 'error' in (error_group.severity, g.severity) then 'error'
                 when 'warning' in (error_group.severity, g.severity) then 'warning'
                 else g.severity end,
             status_at = case
                 when error_group.status = 'resolved' and g.status_at > error_group.status_at
                 then g.status_at else error_group.status_at end
         from (select id, count, sampled, first_release, last_release, first_seen, last_seen,
                   severity, status_at from error_group where id = $1) as g
         where error_group.id = $2",
    )
    .bind(group.id)
    .bind(target.id)
    .run()
    .await?;
    for signpost in signposts {
        // What a signpost that can be taken back brought along is its own again; one of an
        // older version's brought nothing that could be told apart.
        let (count, own) = match &signpost.merged_by {
            Some(_) => (signpost.count, signpost.count),
            None => (0, 0),
        };
        tx.query(
            "update error_group set merged_into = $2, count = $3, merged_by = coalesce(merged_by, $4)
             where id = $1",
        )
        .bind(signpost.id)
        .bind(target.id)
        .bind(own)
        .bind(by)
        .run()
        .await?;
        tx.query("update error_group set count = count - $2 where id = $1")
            .bind(group.id)
            .bind(count)
            .run()
            .await?;
    }
    tx.query(
        "update error_group set merged_into = $2, merged_by = $3, status = 'ignored',
             evidence_id = null, resolved_in = null, resolved_after = null
         where id = $1",
    )
    .bind(group.id)
    .bind(target.id)
    .bind(by)
    .run()
    .await?;
    if target.status == Status::Resolved {
        tx.query(
            "update watch set group_id = $2
             where group_id = $1 and not exists (select 1 from watch where group_id = $2)",
        )
        .bind(group.id)
        .bind(target.id)
        .run()
        .await?;
    }
    // Of what is open again by this no resolution is watched.
    tx.query("delete from watch where group_id = $1 and status = 'watching'")
        .bind(group.id)
        .run()
        .await?;
    list_again(tx, &[group.id, target.id]).await
}

/// Makes a group of its own of a signpost again, in the state of the one it led to.
/// Both are locked.
pub async fn undo(tx: &mut Tx, signpost: &Locked, target: &Locked) -> Result<()> {
    tx.query(
        "update error_group set merged_into = null, merged_by = null, status = t.status,
             evidence_id = t.evidence_id, status_at = t.status_at, resolved_in = t.resolved_in,
             resolved_after = t.resolved_after,
             users = (select count(*) from error_group_user where group_id = $1)
         from (select status, evidence_id, status_at, resolved_in, resolved_after
               from error_group where id = $2) as t
         where error_group.id = $1",
    )
    .bind(signpost.id)
    .bind(target.id)
    .run()
    .await?;
    tx.query(
        "update error_group set
             count = case when error_group.count > s.count then error_group.count - s.count
                 else 0 end,
             sampled = case when error_group.sampled > s.sampled
                 then error_group.sampled - s.sampled else 0 end
         from (select count, sampled from error_group where id = $1) as s
         where error_group.id = $2",
    )
    .bind(signpost.id)
    .bind(target.id)
    .run()
    .await?;
    list_again(tx, &[signpost.id, target.id]).await
}

/// Puts groups whose counts or times were changed where they belong in the lists.
async fn list_again(tx: &mut Tx, groups: &[i64]) -> Result<()> {
    for group in groups {
        let (count, last_seen): (i64, DateTime<Utc>) = tx
            .query("select count, last_seen from error_group where id = $1")
            .bind(*group)
            .optional()
            .await?
            .ok_or(crate::db::Error::RowNotFound)?;
        tx.query("update error_group set seen_at = $2, weight = $3 where id = $1")
            .bind(*group)
            .bind(second(last_seen))
            .bind(weight(count))
            .run()
            .await?;
    }
    Ok(())
}

/// Sets by what a group is split; `None` ends that. The group is locked.
pub async fn split(tx: &mut Tx, group: i64, by: Option<&str>, now: DateTime<Utc>) -> Result<()> {
    let query = match by {
        Some(_) => {
            tx.query("update error_group set split_by = $2 where id = $1").bind(group).bind(by)
        }
        None => tx
            .query(
                "update error_group set split_by = null, status = 'unresolved', status_at = $2,
                     status_by = null
                 where id = $1",
            )
            .bind(group)
            .bind(now),
    };
    query.run().await.map(drop)
}

/// Moves some of what was kept of a merged group; false when nothing is left.
pub async fn follow(tx: &mut Tx, organization: OrganizationId, group: i64) -> Result<bool> {
    let locked = lock(tx, organization, &[group]).await?;
    let Some(signpost) = locked.into_iter().find(|it| it.id == group) else { return Ok(false) };
    // It may be on its own again.
    let Some(target) = signpost.merged_into else { return Ok(false) };
    lock(tx, organization, &[target]).await?;
    let hours = tx
        .query(
            "insert into error_bucket (group_id, hour_at, count)
             select cast($2 as bigint), hour_at, count from error_bucket where group_id = $1
             order by hour_at limit $3
             on conflict (group_id, hour_at)
                 do update set count = error_bucket.count + excluded.count",
        )
        .bind(group)
        .bind(target)
        .bind(BATCH)
        .run()
        .await?;
    tx.query(
        "delete from error_bucket where group_id = $1 and hour_at in
             (select hour_at from error_bucket where group_id = $1 order by hour_at limit $2)",
    )
    .bind(group)
    .bind(BATCH)
    .run()
    .await?;
    let new: Vec<(String,)> = tx
        .query(
            "insert into error_group_user (group_id, user_id)
             select cast($2 as bigint), user_id from error_group_user
             where group_id = $1
               and (select users from error_group where id = $2) < $4
             order by user_id limit $3
             on conflict (group_id, user_id) do nothing
             returning user_id",
        )
        .bind(group)
        .bind(target)
        .bind(BATCH)
        .bind(MAX_USERS)
        .all()
        .await?;
    let users = tx
        .query(
            "delete from error_group_user where group_id = $1 and user_id in
                 (select user_id from error_group_user where group_id = $1
                  order by user_id limit $2)",
        )
        .bind(group)
        .bind(BATCH)
        .run()
        .await?;
    add_users(tx, target, i64::try_from(new.len()).unwrap_or(0)).await?;
    let events = tx
        .query(
            "update error_log set group_id = $2, came_as = coalesce(came_as, $1)
             where id in (select id from error_log where group_id = $1 limit $3)",
        )
        .bind(group)
        .bind(target)
        .bind(BATCH)
        .run()
        .await?;
    Ok(hours + users + events > 0)
}

/// An event that is moved, with what it can be told apart by.
#[derive(sqlx::FromRow)]
struct Kept {
    id: i64,
    group_id: i64,
    created_at: DateTime<Utc>,
    user_id: Option<String>,
    error_message: String,
    endpoint: Option<String>,
    release: Option<String>,
    environment: Option<String>,
    tags: Option<String>,
    severity: Severity,
    method: Option<String>,
}

macro_rules! select_kept {
    ($which:literal) => {
        concat!(
            "select id, group_id, created_at, user_id, error_message, endpoint, release,
                 environment, tags, severity, method
             from error_log where ",
            $which,
            " order by id limit $2"
        )
    };
}

/// Takes some of the events back that came by a signpost which is a group again; false
/// when nothing is left.
pub async fn take_back(tx: &mut Tx, organization: OrganizationId, group: i64) -> Result<bool> {
    let locked = lock(tx, organization, &[group]).await?;
    if !locked.iter().any(|it| it.id == group && it.merged_into.is_none()) {
        return Ok(false);
    }
    let kept: Vec<Kept> =
        tx.query(select_kept!("came_as = $1")).bind(group).bind(BATCH).all().await?;
    if kept.is_empty() {
        return Ok(false);
    }
    let mut from: Vec<i64> = kept.iter().map(|event| event.group_id).collect();
    from.sort_unstable();
    from.dedup();
    lock(tx, organization, &from).await?;
    let ids: Vec<i64> = kept.iter().map(|event| event.id).collect();
    let sql = tx.dialect(
        "update error_log set group_id = $1, came_as = null
         where id in (select cast(value as bigint) from json_array_elements_text(cast($2 as json)))",
        "update error_log set group_id = $1, came_as = null
         where id in (select value from json_each($2))",
    );
    tx.query(sql).bind(group).bind(json_ids(&ids)).run().await?;
    let moved: Vec<Moved<'_>> = kept
        .iter()
        .filter(|event| event.group_id != group)
        .map(|event| Moved { from: event.group_id, to: group, event })
        .collect();
    count_again(tx, &moved).await?;
    for from in from {
        newest_of(tx, from).await?;
    }
    Ok(true)
}

/// Moves some of the kept events of a group that was split to its parts; false when
/// nothing is left.
pub async fn divide(tx: &mut Tx, organization: OrganizationId, group: i64) -> Result<bool> {
    let locked = lock(tx, organization, &[group]).await?;
    let Some(whole) = locked.into_iter().find(|it| it.id == group) else { return Ok(false) };
    let Some(by) = whole.split_by.as_deref().and_then(By::parse) else { return Ok(false) };
    let kept: Vec<Kept> =
        tx.query(select_kept!("group_id = $1")).bind(group).bind(BATCH).all().await?;
    if kept.is_empty() {
        // What is left of it is a count of events that are not kept.
        tx.query(
            "update error_group set status = 'ignored', evidence_id = null, resolved_in = null,
                 resolved_after = null, status_by = null where id = $1",
        )
        .bind(group)
        .run()
        .await?;
        return Ok(false);
    }
    let mut parts: BTreeMap<(String, String), Vec<&Kept>> = BTreeMap::new();
    for event in &kept {
        let tags: Option<BTreeMap<String, Value>> =
            event.tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok());
        let tag = |name: &str| tags.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let traits = Traits {
            message: &event.error_message,
            endpoint: event.endpoint.as_deref(),
            release: event.release.as_deref(),
            environment: event.environment.as_deref(),
            tag: &tag,
        };
        parts.entry(by.part(&whole.fingerprint, &whole.title, &traits)).or_default().push(event);
    }
    let mut moved: Vec<Moved<'_>> = Vec::with_capacity(kept.len());
    for ((fingerprint, title), events) in &parts {
        let part = part(tx, group, fingerprint, title, events).await?;
        moved.extend(events.iter().map(|event| Moved { from: group, to: part, event }));
        let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
        let sql = tx.dialect(
            "update error_log set group_id = $1
             where id in (select cast(value as bigint)
                          from json_array_elements_text(cast($2 as json)))",
            "update error_log set group_id = $1 where id in (select value from json_each($2))",
        );
        tx.query(sql).bind(part).bind(json_ids(&ids)).run().await?;
        tx.query(
            "update error_group set count = case when count > $2 then count - $2 else 0 end
             where id = $1",
        )
        .bind(group)
        .bind(i64::try_from(events.len()).unwrap_or(0))
        .run()
        .await?;
        list_again(tx, &[part, group]).await?;
    }
    count_again(tx, &moved).await?;
    Ok(true)
}

/// Counts events for a part of a group, which is made where it is new; gives the group
/// that they belong to: another one, where the part was merged.
async fn part(
    tx: &mut Tx,
    whole: i64,
    fingerprint: &str,
    title: &str,
    events: &[&Kept],
) -> Result<i64> {
    let first = events.iter().min_by_key(|event| event.created_at);
    let last = events.iter().max_by_key(|event| event.created_at);
    let (Some(first), Some(last)) = (first, last) else {
        return Err(crate::db::Error::RowNotFound);
    };
    let severity = events.iter().map(|event| event.severity).max();
    let endpoint = last.endpoint.as_deref().and_then(|it| it.split(['?', '#']).next());
    let count = i64::try_from(events.len()).unwrap_or(0);
    tx.query(
        "insert into error_group (organization_id, app, fingerprint, title, culprit, error_type,
             cause_key, severity, endpoint, method, status, evidence_id, count, first_seen,
             last_seen, status_at, resolved_in, resolved_after)
         select organization_id, app, $2, $3, culprit, error_type, cause_key, severity, endpoint,
             method, status, evidence_id, 0, first_seen, first_seen, status_at, resolved_in,
             resolved_after
         from error_group where id = $1
         on conflict (organization_id, app, fingerprint) do nothing",
    )
    .bind(whole)
    .bind(fingerprint)
    .bind(title)
    .run()
    .await?;
    let (id, target): (i64, Option<i64>) = tx
        .query(
            "update error_group set
                 severity = case when count = 0 then $3 else severity end,
                 endpoint = case when count = 0 then coalesce($4, endpoint) else endpoint end,
                 method = case when count = 0 then coalesce($5, method) else method end,
                 first_release = case when count = 0 or $6 < first_seen
                     then coalesce($7, first_release) else coalesce(first_release, $7) end,
                 last_release = case when count = 0 or $8 > last_seen
                     then coalesce($9, last_release) else coalesce(last_release, $9) end,
                 first_seen = case when count = 0 or $6 < first_seen then $6 else first_seen end,
                 last_seen = case when count = 0 or $8 > last_seen then $8 else last_seen end,
                 count = count + $10
             where fingerprint = $2 and organization_id = (select w.organization_id
                     from error_group as w where w.id = $1)
                 and app = (select w.app from error_group as w where w.id = $1)
             returning id, merged_into",
        )
        .bind(whole)
        .bind(fingerprint)
        .bind(severity.unwrap_or(Severity::Error))
        .bind(endpoint)
        .bind(last.method.as_deref())
        .bind(first.created_at)
        .bind(first.release.as_deref())
        .bind(last.created_at)
        .bind(last.release.as_deref())
        .bind(count)
        .optional()
        .await?
        .ok_or(crate::db::Error::RowNotFound)?;
    let Some(target) = target else { return Ok(id) };
    tx.query("update error_group set count = count + $2 where id = $1")
        .bind(target)
        .bind(count)
        .run()
        .await?;
    Ok(target)
}

/// An event on its way from one group to another.
struct Moved<'a> {
    from: i64,
    to: i64,
    event: &'a Kept,
}

#[derive(Serialize)]
struct Hour {
    group: i64,
    begin: String,
    count: i64,
}

/// Moves the events' share of the hours, and makes their users known to the new group. Of
/// the old one users stay: it is not known whom it had besides.
async fn count_again(tx: &mut Tx, moved: &[Moved<'_>]) -> Result<()> {
    let mut hours: BTreeMap<(i64, DateTime<Utc>), i64> = BTreeMap::new();
    let mut users: BTreeSet<(i64, &str)> = BTreeSet::new();
    for it in moved {
        let at = it.event.created_at;
        let hour = at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at);
        *hours.entry((it.from, hour)).or_default() -= 1;
        *hours.entry((it.to, hour)).or_default() += 1;
        if let Some(user) = &it.event.user_id {
            users.insert((it.to, user));
        }
    }
    let changed: Vec<Hour> = hours
        .into_iter()
        .map(|((group, hour), count)| Hour { group, begin: text(hour), count })
        .collect();
    let (more, fewer): (Vec<_>, Vec<_>) = changed.into_iter().partition(|hour| hour.count > 0);
    let sql = tx.dialect(
        "insert into error_bucket (group_id, hour_at, count)
         select r.group, r.begin, r.count
         from json_to_recordset(cast($1 as json)) as r(\"group\" bigint, \"begin\" timestamptz,
             count bigint)
         on conflict (group_id, hour_at) do update set count = error_bucket.count + excluded.count",
        "insert into error_bucket (group_id, hour_at, count)
         select value ->> 'group', value ->> 'begin', value ->> 'count'
         from json_each($1) where true
         on conflict (group_id, hour_at) do update set count = error_bucket.count + excluded.count",
    );
    tx.query(sql).bind(json(&more)?).run().await?;
    let sql = tx.dialect(
        "update error_bucket set count = case when error_bucket.count + r.count > 0
             then error_bucket.count + r.count else 0 end
         from json_to_recordset(cast($1 as json)) as r(\"group\" bigint, \"begin\" timestamptz,
             count bigint)
         where error_bucket.group_id = r.group and error_bucket.hour_at = r.begin",
        "update error_bucket set count = max(error_bucket.count + (r.value ->> 'count'), 0)
         from json_each($1) as r
         where error_bucket.group_id = r.value ->> 'group'
           and error_bucket.hour_at = r.value ->> 'begin'",
    );
    tx.query(sql).bind(json(&fewer)?).run().await?;
    let mut added: BTreeMap<i64, i64> = BTreeMap::new();
    for (group, user) in users {
        let new = tx
            .query(
                "insert into error_group_user (group_id, user_id)
                 select id, $2 from error_group where id = $1 and users < $3
                 on conflict (group_id, user_id) do nothing",
            )
            .bind(group)
            .bind(user)
            .bind(MAX_USERS)
            .run()
            .await?;
        *added.entry(group).or_default() += i64::try_from(new).unwrap_or(0);
    }
    for (group, count) in added {
        add_users(tx, group, count).await?;
    }
    Ok(())
}

async fn add_users(tx: &mut Tx, group: i64, count: i64) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    tx.query("update error_group set users = users + $2 where id = $1")
        .bind(group)
        .bind(count)
        .run()
        .await
        .map(drop)
}

/// A group that lost events was last seen when the newest that it has happened, as far as
/// events are kept.
async fn newest_of(tx: &mut Tx, group: i64) -> Result<()> {
    tx.query(
        "update error_group set last_seen = coalesce(
             (select e.created_at from error_log as e where e.group_id = $1
              order by e.created_at desc, e.id desc limit 1), last_seen)
         where id = $1",
    )
    .bind(group)
    .run()
    .await?;
    list_again(tx, &[group]).await
}

/// A group that was merged into another by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Merged {
    pub id: i64,
    pub title: String,
    /// Events with its fingerprint, before and since.
    pub count: i64,
    pub merged_by: String,
}

/// The groups that were merged into one, at most 200.
pub async fn merged(db: &Db, group: i64) -> Result<Vec<Merged>> {
    db.query(
        "select id, title, count, merged_by from error_group
         where merged_into = $1 and merged_by is not null order by id limit 200",
    )
    .bind(group)
    .all()
    .await
}
