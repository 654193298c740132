//! Reading and changing groups.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{SCAN, containing, intake::json_ids, releases};
use crate::{
    auth::OrganizationId,
    db::{self, Db, Tx},
    error::{Error, Result},
    logs::Severity,
};

/// Hours that a sparkline shows; the last one is the present hour.
pub const HOURS: u8 = 24;
/// Groups of one status are counted up to here.
pub const MAX_COUNT: i64 = 10_000;
/// Groups that one call may change.
pub const MAX_CHANGED: usize = 1000;

/// What is known about a group's cure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[schema(as = GroupStatus)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    Unresolved,
    /// Proven: an evidence record exists.
    Resolved,
    /// It was resolved and came back.
    Regressed,
    /// Known and accepted; it does not come back by itself.
    Ignored,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Regressed => "regressed",
            Self::Ignored => "ignored",
        })
    }
}

/// The order of a list of groups, greatest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    #[default]
    LastSeen,
    FirstSeen,
    Count,
}

/// Events of one fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Group {
    pub id: i64,
    pub title: String,
    /// Where to look: the innermost frame of the application, else the endpoint.
    pub culprit: Option<String>,
    pub error_type: String,
    pub status: Status,
    pub count: i64,
    /// Distinct users, counted up to 10 000.
    pub users: i64,
    /// How often it came back after a resolution.
    pub regressions: i64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// When the status last changed.
    pub status_at: DateTime<Utc>,
    /// The worst seen.
    pub severity: Severity,
    pub endpoint: Option<String>,
    pub method: Option<String>,
    pub app: String,
    pub fingerprint: String,
    /// Groups of one cause share it.
    pub cause_key: String,
    /// What proves the resolution.
    pub resolution: Option<String>,
    /// "probe" where checks prove it, "operator" where a person gave the reason.
    pub resolution_kind: Option<String>,
    /// When it is to be told of again; `None` for one that is ignored until that is ended.
    pub muted_until: Option<DateTime<Utc>>,
    /// The release of its first event that named one.
    pub first_release: Option<String>,
    pub last_release: Option<String>,
    /// The release that mends it: events of older ones do not reopen it.
    pub resolved_in: Option<String>,
    /// Any release newer than this one mends it.
    pub resolved_after: Option<String>,
    /// New events count for its parts: "message", "endpoint", "release", "environment" or
    /// "tag:NAME".
    pub split_by: Option<String>,
    #[serde(skip)]
    seen_at: DateTime<Utc>,
    #[serde(skip)]
    weight: i64,
}

/// Which groups; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    pub status: Option<Status>,
    /// Instead of a status: those that wait for somebody, unresolved and regressed.
    pub open: bool,
    pub app: Option<&'a str>,
    /// Part of the title or culprit, in any case.
    pub q: Option<&'a str>,
}

/// The last group of a page, by what the list is sorted by; the next page begins below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Position {
    LastSeen(DateTime<Utc>, i64),
    FirstSeen(DateTime<Utc>, i64),
    Count(i64, i64),
}

impl Position {
    pub(super) fn top(sort: Sort) -> Self {
        let end = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default();
        match sort {
            Sort::LastSeen => Self::LastSeen(end, i64::MAX),
            Sort::FirstSeen => Self::FirstSeen(end, i64::MAX),
            Sort::Count => Self::Count(i64::MAX, i64::MAX),
        }
    }

    pub(super) fn of(group: &Group, sort: Sort) -> Self {
        match sort {
            Sort::LastSeen => Self::LastSeen(group.seen_at, group.id),
            Sort::FirstSeen => Self::FirstSeen(group.first_seen, group.id),
            Sort::Count => Self::Count(group.weight, group.id),
        }
    }
}

macro_rules! select_groups {
    ($from:literal) => {
        concat!(
            "select g.id, g.title, g.culprit, g.error_type, g.status, g.count, g.users,
                 g.regressions, g.first_seen, g.last_seen, g.status_at, g.severity, g.endpoint,
                 g.method, g.app, g.fingerprint, g.cause_key, v.detail as resolution,
                 v.kind as resolution_kind, g.muted_until, g.first_release, g.last_release, g.resolved_in, g.resolved_after, g.split_by,
                 g.seen_at, g.weight ",
            $from
        )
    };
}

/// A list in the order of `$column`: a bounded walk down its index, then the filters.
macro_rules! list_groups {
    ($column:literal, $status:literal) => {
        concat!(
            select_groups!(
                "from (select id from error_group where organization_id = $1 and merged_into is null"
            ),
            $status,
            " and (",
            $column,
            ", id) < ($2, $3) order by ",
            $column,
            " desc, id desc limit $4)
                 as scanned
             join error_group as g on g.id = scanned.id
             left join evidence as v on v.id = g.evidence_id and g.status = 'resolved'
             where (g.status = $5 or $5 is null) and (g.app = $6 or $6 is null)
               and (lower(g.title) like $7 escape '\\' or lower(g.culprit) like $7 escape '\\'
                   or $7 is null)
             order by g.",
            $column,
            " desc, g.id desc limit $8"
        )
    };
}

/// The position after `$5` rows of the same walk.
macro_rules! walk_groups {
    ($column:literal, $status:literal) => {
        concat!(
            "select ",
            $column,
            ", id from error_group where organization_id = $1 and merged_into is null",
            $status,
            " and (",
            $column,
            ", id) < ($2, $3) and (status = $4 or $4 is null)
             order by ",
            $column,
            " desc, id desc limit 1 offset $5"
        )
    };
}

/// Puts a page into the exact order. Over all pages the order is that of seconds and of
/// classes of counts, which is what the indexes hold.
pub fn arrange(page: &mut [Group], sort: Sort) {
    match sort {
        Sort::LastSeen => page.sort_by_key(|group| std::cmp::Reverse(group.last_seen)),
        Sort::Count => page.sort_by_key(|group| std::cmp::Reverse(group.count)),
        Sort::FirstSeen => {}
    }
}

/// A page of groups and where the next one begins. A filtered page may be shorter than
/// `limit` and still have a successor.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter<'_>,
    sort: Sort,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Group>, Option<Position>)> {
    if filter.open {
        return list_open(db, organization, filter, sort, limit, after).await;
    }
    let after = after.unwrap_or_else(|| Position::top(sort));
    let by_status = filter.status.is_some();
    let filtered = filter.app.is_some() || filter.q.is_some();
    let scan = if filtered { SCAN } else { limit };
    let (list, walk) = match sort {
        Sort::LastSeen if by_status => (
            list_groups!("seen_at", " and status = $5"),
            walk_groups!("seen_at", " and status = $4"),
        ),
        Sort::LastSeen => (list_groups!("seen_at", ""), walk_groups!("seen_at", "")),
        Sort::FirstSeen if by_status => (
            list_groups!("first_seen", " and status = $5"),
            walk_groups!("first_seen", " and status = $4"),
        ),
        Sort::FirstSeen => (list_groups!("first_seen", ""), walk_groups!("first_seen", "")),
        Sort::Count if by_status => {
            (list_groups!("weight", " and status = $5"), walk_groups!("weight", " and status = $4"))
        }
        Sort::Count => (list_groups!("weight", ""), walk_groups!("weight", "")),
    };
    let bound = |sql| {
        let query = db.query(sql).bind(organization);
        match (sort, after) {
            (Sort::LastSeen, Position::LastSeen(at, id))
            | (Sort::FirstSeen, Position::FirstSeen(at, id)) => Ok(query.bind(at).bind(id)),
            (Sort::Count, Position::Count(count, id)) => Ok(query.bind(count).bind(id)),
            _ => Err(Error::invalid("the cursor belongs to another order; start without a cursor")),
        }
    };
    let mut groups: Vec<Group> = bound(list)?
        .bind(scan + 1)
        .bind(filter.status)
        .bind(filter.app)
        .bind(filter.q.map(containing))
        .bind(limit + 1)
        .all()
        .await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    if groups.len() > page {
        groups.truncate(page);
        let next = groups.last().map(|group| Position::of(group, sort));
        return Ok((groups, next));
    }
    if !filtered {
        return Ok((groups, None));
    }
    let walk = bound(walk)?.bind(filter.status).bind(scan);
    let next = if sort == Sort::Count {
        walk.optional::<(i64, i64)>().await?.map(|(count, id)| Position::Count(count, id))
    } else {
        let next = walk.optional::<(DateTime<Utc>, i64)>().await?;
        next.map(|(at, id)| match sort {
            Sort::FirstSeen => Position::FirstSeen(at, id),
            _ => Position::LastSeen(at, id),
        })
    };
    Ok((groups, next))
}

/// A page of the groups that wait for somebody: those of two statuses, each from its own index.
async fn list_open(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter<'_>,
    sort: Sort,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Group>, Option<Position>)> {
    let mut found = Vec::new();
    // Below this place not everything was looked at.
    let mut end: Option<Position> = None;
    for status in [Status::Unresolved, Status::Regressed] {
        let one = Filter { status: Some(status), open: false, ..filter.clone() };
        let (groups, next) = Box::pin(list(db, organization, &one, sort, limit, after)).await?;
        found.extend(groups);
        end = end.max(next);
    }
    found.retain(|group| end.is_none_or(|end| Position::of(group, sort) >= end));
    found.sort_by_key(|group| std::cmp::Reverse(Position::of(group, sort)));
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    if found.len() > page {
        found.truncate(page);
        end = found.last().map(|group| Position::of(group, sort));
    }
    Ok((found, end))
}

/// Groups by their ids, in no order; ids of merged ones and unknown ones are left out.
pub async fn these(
    db: &Db,
    organization: OrganizationId,
    ids: &[i64],
) -> db::Result<Vec<(i64, Status, String)>> {
    let sql = db.dialect(
        "select id, status, title from error_group
         where organization_id = $1 and merged_into is null
           and id in (select cast(value as bigint)
                      from json_array_elements_text(cast($2 as json)))",
        "select id, status, title from error_group
         where +organization_id = $1 and merged_into is null
           and id in (select value from json_each($2))",
    );
    db.query(sql).bind(organization).bind(json_ids(ids)).all().await
}

/// One group of the organization; of a merged one the group that it was merged into.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> db::Result<Option<Group>> {
    db.query(select_groups!(
        "from error_group as g
         left join evidence as v on v.id = g.evidence_id and g.status = 'resolved'
         where g.organization_id = $1
           and g.id = (select coalesce(merged_into, id) from error_group where id = $2)"
    ))
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// Events of each group by hour, the present hour last.
pub async fn buckets(
    db: &Db,
    groups: &[i64],
    now: DateTime<Utc>,
) -> Result<HashMap<i64, Vec<i64>>> {
    let mut found: HashMap<i64, Vec<i64>> =
        groups.iter().map(|id| (*id, vec![0; usize::from(HOURS)])).collect();
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let first = hour - TimeDelta::hours(i64::from(HOURS) - 1);
    let sql = db.dialect(
        "select group_id, hour_at, count from error_bucket
         where group_id in (select cast(value as bigint)
                            from json_array_elements_text(cast($1 as json)))
           and hour_at >= $2 and hour_at <= $3",
        "select group_id, hour_at, count from error_bucket
         where group_id in (select value from json_each($1)) and hour_at >= $2 and hour_at <= $3",
    );
    let rows: Vec<(i64, DateTime<Utc>, i64)> =
        db.query(sql).bind(json_ids(groups)).bind(first).bind(hour).all().await?;
    for (group, at, count) in rows {
        let index = usize::try_from((at - first).num_hours()).unwrap_or(usize::MAX);
        if let Some(bucket) = found.get_mut(&group).and_then(|buckets| buckets.get_mut(index)) {
            *bucket += count;
        }
    }
    Ok(found)
}

/// What an operator decides about groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// With the reason that is its evidence.
    Resolve(&'a str),
    /// The same; events of releases before the one that mends it do not reopen it.
    ResolveFrom(&'a str, Mends<'a>),
    /// Until that time, or until somebody ends it.
    Ignore(Option<DateTime<Utc>>),
    Reopen,
}

/// The release that mends a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mends<'a> {
    /// This one, and those after it.
    In(&'a str),
    /// Whichever comes after the newest that is known of the group's application.
    Next,
}

/// Carries out a decision on all of `ids`, or on none: an id that the organization does
/// not have is [`Error::NotFound`]. `ids` holds no duplicates; for a merged group the
/// decision is about the one that it was merged into.
pub async fn decide(
    db: &Db,
    organization: OrganizationId,
    ids: &[i64],
    decision: &Decision<'_>,
    author: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let (status, reason, mends) = match decision {
        Decision::Resolve(reason) => (Status::Resolved, Some(*reason), None),
        Decision::ResolveFrom(reason, mends) => (Status::Resolved, Some(*reason), Some(*mends)),
        Decision::Ignore(_) => (Status::Ignored, None, None),
        Decision::Reopen => (Status::Unresolved, None, None),
    };
    let until = if let Decision::Ignore(until) = decision { *until } else { None };
    let evidence = match reason {
        Some(reason) => Some(add_evidence(&mut tx, organization, reason, author, now).await?),
        None => None,
    };
    for (app, ids) in by_app(&mut tx, organization, ids).await? {
        let (mends_in, mends_after) = match mends {
            None => (None, None),
            Some(Mends::In(release)) => (Some(release.to_owned()), None),
            Some(Mends::Next) => {
                let newest = releases::newest(&mut tx, organization, &app).await?;
                let newest = newest.ok_or_else(|| {
                    Error::Invalid(format!(
                        "no release of app \"{app}\" is known yet, so there is no next one; name \
                         the release in in_release, or tell of deploys (POST /api/deploys)"
                    ))
                })?;
                (None, Some(newest))
            }
        };
        let sql = tx.dialect(
            "update error_group set status = $3, evidence_id = $4, status_at = $5,
                 resolved_in = $6, resolved_after = $7, status_by = $8, muted_until = $9
             where organization_id = $1 and merged_into is null
               and id in (select cast(value as bigint)
                          from json_array_elements_text(cast($2 as json)))",
            "update error_group set status = $3, evidence_id = $4, status_at = $5,
                 resolved_in = $6, resolved_after = $7, status_by = $8, muted_until = $9
             where +organization_id = $1 and merged_into is null
               and id in (select value from json_each($2))",
        );
        let changed = tx
            .query(sql)
            .bind(organization)
            .bind(json_ids(&ids))
            .bind(status)
            .bind(evidence)
            .bind(now)
            .bind(mends_in)
            .bind(mends_after)
            .bind(author)
            .bind(until)
            .run()
            .await?;
        if changed != ids.len() as u64 {
            return Err(Error::NotFound("group"));
        }
    }
    tx.commit().await?;
    Ok(())
}

/// The groups that these ids lead to, by application.
async fn by_app(
    tx: &mut Tx,
    organization: OrganizationId,
    ids: &[i64],
) -> Result<BTreeMap<String, Vec<i64>>> {
    let sql = tx.dialect(
        "select app, coalesce(merged_into, id) from error_group
         where organization_id = $1
           and id in (select cast(value as bigint)
                      from json_array_elements_text(cast($2 as json)))
         order by 2",
        "select app, coalesce(merged_into, id) from error_group
         where +organization_id = $1 and id in (select value from json_each($2)) order by 2",
    );
    let found: Vec<(String, i64)> =
        tx.query(sql).bind(organization).bind(json_ids(ids)).all().await?;
    if found.len() != ids.len() {
        return Err(Error::NotFound("group"));
    }
    let mut groups: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (app, id) in found {
        let ids = groups.entry(app).or_default();
        if ids.last() != Some(&id) {
            ids.push(id);
        }
    }
    Ok(groups)
}

async fn add_evidence(
    tx: &mut Tx,
    organization: OrganizationId,
    reason: &str,
    author: &str,
    now: DateTime<Utc>,
) -> db::Result<i64> {
    tx.query(
        "insert into evidence (organization_id, kind, detail, made_by, created_at)
         values ($1, 'operator', $2, $3, $4) returning id",
    )
    .bind(organization)
    .bind(reason)
    .bind(author)
    .bind(now)
    .scalar()
    .await
}

/// How an organization's errors stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Summary {
    /// Groups by status, each counted up to 10 000.
    pub unresolved: i64,
    pub regressed: i64,
    pub resolved: i64,
    pub ignored: i64,
    /// Events of the present and the last full hour.
    pub events_last_hour: i64,
    /// Events of the present and the last 24 full hours.
    pub events_last_day: i64,
    /// Of those, the critical ones.
    pub critical_last_day: i64,
    /// When the newest event happened.
    pub last_event_at: Option<DateTime<Utc>>,
}

/// What of an organization's errors waits for somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attention {
    /// Unresolved and regressed groups, counted up to 1 000 of each.
    pub groups: i64,
    /// When a group was last seen, to the second.
    pub newest: Option<DateTime<Utc>>,
}

/// Cheap enough to be asked every second.
pub async fn attention(db: &Db, organization: OrganizationId) -> db::Result<Attention> {
    let (groups,) = db
        .query(
            "select (select count(*) from (select id from error_group where organization_id = $1
                     and merged_into is null and status = 'unresolved' limit 1000) as u)
                 + (select count(*) from (select id from error_group where organization_id = $1
                     and merged_into is null and status = 'regressed' limit 1000) as r)",
        )
        .bind(organization)
        .one::<(i64,)>()
        .await?;
    let newest = db
        .query(
            "select seen_at from error_group where organization_id = $1 and merged_into is null
             order by seen_at desc, id desc limit 1",
        )
        .bind(organization)
        .optional::<(DateTime<Utc>,)>()
        .await?;
    Ok(Attention { groups, newest: newest.map(|(at,)| at) })
}

/// Sums up from groups and hourly totals, never from events.
pub async fn summary(
    db: &Db,
    organization: OrganizationId,
    now: DateTime<Utc>,
) -> db::Result<Summary> {
    let counts: Vec<(Status, i64)> = db
        .query(
            "select 'unresolved' as status, count(*) from (select id from error_group
                 where organization_id = $1 and merged_into is null and status = 'unresolved' limit $2) as u
             union all select 'regressed', count(*) from (select id from error_group
                 where organization_id = $1 and merged_into is null and status = 'regressed' limit $2) as g
             union all select 'resolved', count(*) from (select id from error_group
                 where organization_id = $1 and merged_into is null and status = 'resolved' limit $2) as r
             union all select 'ignored', count(*) from (select id from error_group
                 where organization_id = $1 and merged_into is null and status = 'ignored' limit $2) as i",
        )
        .bind(organization)
        .bind(MAX_COUNT)
        .all()
        .await?;
    let mut summary = Summary::default();
    for (status, count) in counts {
        match status {
            Status::Unresolved => summary.unresolved = count,
            Status::Regressed => summary.regressed = count,
            Status::Resolved => summary.resolved = count,
            Status::Ignored => summary.ignored = count,
        }
    }
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let hours: Vec<(DateTime<Utc>, Severity, i64)> = db
        .query(
            "select hour_at, severity, count from error_hour
             where organization_id = $1 and hour_at >= $2 limit 1000",
        )
        .bind(organization)
        .bind(hour - TimeDelta::hours(24))
        .all()
        .await?;
    for (at, severity, count) in hours {
        summary.events_last_day += count;
        if at >= hour - TimeDelta::hours(1) {
            summary.events_last_hour += count;
        }
        if severity == Severity::Critical {
            summary.critical_last_day += count;
        }
    }
    summary.last_event_at = db
        .query(
            "select last_seen from error_group
             where organization_id = $1 and merged_into is null
             order by seen_at desc, id desc limit 1",
        )
        .bind(organization)
        .optional::<(DateTime<Utc>,)>()
        .await?
        .map(|(at,)| at);
    Ok(summary)
}
