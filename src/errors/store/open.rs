//! The open errors, each with its latest event: what a diagnosis reads beside the logs.

use chrono::{DateTime, Utc};

use super::{groups::Status, intake::json_ids, second};
use crate::{
    auth::OrganizationId,
    db::{self, Db},
    logs::Severity,
};

/// An open group with its latest event.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Open {
    pub group_id: i64,
    pub title: String,
    pub status: Status,
    /// Events of the group.
    pub count: i64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    pub app: String,
    pub event_id: i64,
    pub error_type: String,
    pub error_message: String,
    pub error_stack: Option<String>,
    pub endpoint: Option<String>,
    pub method: Option<String>,
    pub severity: Severity,
}

/// The groups of organization `$1` that fit, each with its latest event: that is looked up
/// in the group's own index, one step a group.
macro_rules! select_open {
    ($which:literal) => {
        concat!(
            "select g.id as group_id, g.title, g.status, g.count, g.first_seen, g.last_seen, g.app,
                 e.id as event_id, e.error_type, e.error_message, e.error_stack, e.endpoint,
                 e.method, e.severity
             from (select id, title, status, count, first_seen, last_seen, app,
                       (select x.id from error_log as x where x.group_id = error_group.id
                        order by x.created_at desc, x.id desc limit 1) as event_id
                   from error_group where organization_id = $1 and merged_into is null and ",
            $which,
            ") as g
             join error_log as e on e.id = g.event_id
             order by g.last_seen desc, g.id desc"
        )
    };
}

/// Unresolved and regressed groups seen since `since`, the latest first, at most `limit`
/// of each status.
pub async fn latest(
    db: &Db,
    organization: OrganizationId,
    app: Option<&str>,
    since: DateTime<Utc>,
    limit: i64,
) -> db::Result<Vec<Open>> {
    let mut open = of_status(db, organization, Status::Unresolved, app, since, limit).await?;
    open.extend(of_status(db, organization, Status::Regressed, app, since, limit).await?);
    open.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then(b.group_id.cmp(&a.group_id)));
    Ok(open)
}

/// The open ones among these groups, at most a thousand; for a merged one the group that
/// it was merged into.
pub async fn these(db: &Db, organization: OrganizationId, ids: &[i64]) -> db::Result<Vec<Open>> {
    let sql = db.dialect(
        select_open!(
            "status in ('unresolved', 'regressed') and id in
                 (select coalesce(m.merged_into, m.id) from error_group as m
                  where m.id in (select cast(value as bigint)
                                 from json_array_elements_text(cast($2 as json)))) limit 1000"
        ),
        select_open!(
            "status in ('unresolved', 'regressed') and id in
                 (select coalesce(m.merged_into, m.id) from error_group as m
                  where m.id in (select value from json_each($2))) limit 1000"
        ),
    );
    db.query(sql).bind(organization).bind(json_ids(ids)).all().await
}

async fn of_status(
    db: &Db,
    organization: OrganizationId,
    status: Status,
    app: Option<&str>,
    since: DateTime<Utc>,
    limit: i64,
) -> db::Result<Vec<Open>> {
    db.query(select_open!(
        "status = $2 and seen_at >= $3 and (app = $4 or $4 is null)
             order by seen_at desc, id desc limit $5"
    ))
    .bind(organization)
    .bind(status)
    .bind(second(since))
    .bind(app)
    .bind(limit)
    .all()
    .await
}
