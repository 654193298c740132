//! The numbers of a report, each bounded.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    db::{Db, Result},
};

/// Rows of each table.
const MOST: i64 = 20;

/// Whose report, and from when to when.
pub(super) struct Span {
    pub(super) organization: OrganizationId,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// Events by severity.
pub(super) async fn totals(db: &Db, span: &Span) -> Result<Vec<(String, i64)>> {
    db.query(
        "select severity, cast(sum(count) as bigint) from error_hour
         where organization_id = $1 and hour_at >= $2 and hour_at < $3
         group by severity order by 2 desc, severity",
    )
    .bind(span.organization)
    .bind(span.from)
    .bind(span.to)
    .all()
    .await
}

/// Groups that were new, and those that are open.
pub(super) async fn groups(db: &Db, span: &Span) -> Result<(i64, i64)> {
    let new: i64 = db
        .query(
            "select count(*) from error_group
             where organization_id = $1 and first_seen >= $2 and first_seen < $3
               and merged_into is null",
        )
        .bind(span.organization)
        .bind(span.from)
        .bind(span.to)
        .scalar()
        .await?;
    let open: i64 = db
        .query(
            "select count(*) from error_group
             where organization_id = $1 and status in ('unresolved', 'regressed')
               and merged_into is null",
        )
        .bind(span.organization)
        .scalar()
        .await?;
    Ok((new, open))
}

/// Id, title, application, status and events of the groups with the most.
pub(super) async fn top(db: &Db, span: &Span) -> Result<Vec<(i64, String, String, String, i64)>> {
    db.query(
        "select g.id, g.title, g.app, g.status, cast(sum(b.count) as bigint)
         from error_group g join error_bucket b on b.group_id = g.id
         where g.organization_id = $1 and g.last_seen >= $2 and g.merged_into is null
           and b.hour_at >= $2 and b.hour_at < $3
         group by g.id, g.title, g.app, g.status order by 5 desc, g.id limit $4",
    )
    .bind(span.organization)
    .bind(span.from)
    .bind(span.to)
    .bind(MOST)
    .all()
    .await
}

/// Id, title, time and evidence of what was resolved.
pub(super) async fn resolved(
    db: &Db,
    span: &Span,
) -> Result<Vec<(i64, String, DateTime<Utc>, String)>> {
    db.query(
        "select g.id, g.title, c.at, e.kind
         from group_change c join error_group g on g.id = c.group_id
         join evidence e on e.id = c.evidence_id
         where c.organization_id = $1 and c.status = 'resolved' and c.at >= $2 and c.at < $3
         order by c.at desc, c.id desc limit $4",
    )
    .bind(span.organization)
    .bind(span.from)
    .bind(span.to)
    .bind(MOST)
    .all()
    .await
}

/// Runs, those that failed, errors resolved and not.
pub(super) async fn repairs(db: &Db, span: &Span) -> Result<(i64, i64, i64, i64)> {
    db.query(
        "select count(*), count(case when status = 'failed' then 1 end),
             cast(coalesce(sum(resolved), 0) as bigint),
             cast(coalesce(sum(unresolved), 0) as bigint)
         from repair_run where organization_id = $1 and created_at >= $2 and created_at < $3",
    )
    .bind(span.organization)
    .bind(span.from)
    .bind(span.to)
    .one()
    .await
}

/// Method, endpoint, groups and events.
pub(super) async fn endpoints(
    db: &Db,
    span: &Span,
) -> Result<Vec<(Option<String>, String, i64, i64)>> {
    db.query(
        "select g.method, g.endpoint, count(distinct g.id), cast(sum(b.count) as bigint)
         from error_group g join error_bucket b on b.group_id = g.id
         where g.organization_id = $1 and g.last_seen >= $2 and g.merged_into is null
           and g.endpoint is not null and b.hour_at >= $2 and b.hour_at < $3
         group by g.method, g.endpoint order by 4 desc, g.endpoint limit $4",
    )
    .bind(span.organization)
    .bind(span.from)
    .bind(span.to)
    .bind(MOST)
    .all()
    .await
}

/// New contacts, those of them who agreed to mail, and all who said no in this time.
pub(super) async fn contacts(db: &Db, span: &Span) -> Result<(i64, i64, i64)> {
    let (new, agreed): (i64, i64) = db
        .query(
            "select count(*), count(case when consent = 'confirmed' then 1 end) from contact
             where organization_id = $1 and created_at >= $2 and created_at < $3",
        )
        .bind(span.organization)
        .bind(span.from)
        .bind(span.to)
        .one()
        .await?;
    let left: i64 = db
        .query(
            "select count(*) from contact_consent
             where organization_id = $1 and status = 'withdrawn' and at >= $2 and at < $3",
        )
        .bind(span.organization)
        .bind(span.from)
        .bind(span.to)
        .scalar()
        .await?;
    Ok((new, agreed, left))
}

/// Where the new ones came from.
pub(super) async fn sources(db: &Db, span: &Span) -> Result<Vec<(String, i64)>> {
    db.query(
        "select source, count(*) from contact
         where organization_id = $1 and created_at >= $2 and created_at < $3
         group by source order by 2 desc, source limit $4",
    )
    .bind(span.organization)
    .bind(span.from)
    .bind(span.to)
    .bind(MOST)
    .all()
    .await
}

/// Calls, their seconds, and those of contacts that are known.
pub(super) async fn calls(db: &Db, span: &Span) -> Result<(i64, i64, i64)> {
    db.query(
        "select count(*), cast(coalesce(sum(duration_seconds), 0) as bigint), count(contact_id)
         from call_log where organization_id = $1 and started_at >= $2 and started_at < $3",
    )
    .bind(span.organization)
    .bind(span.from)
    .bind(span.to)
    .one()
    .await
}
