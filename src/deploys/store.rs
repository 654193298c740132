//! All SQL of the feature.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Deploys that are kept of one application; older ones are removed.
const KEPT: i64 = 1000;

/// One deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Deploy {
    pub id: i64,
    pub app: String,
    /// As the deployer calls it: a commit id, a version.
    pub release: String,
    /// When it went live.
    pub at: DateTime<Utc>,
    pub note: Option<String>,
    /// "api", or what was seen to change: "git /srv/shop".
    pub source: String,
    pub made_by: String,
}

/// A deploy to be stored.
#[derive(Clone, Debug)]
pub struct NewDeploy<'a> {
    pub app: &'a str,
    pub release: &'a str,
    pub at: DateTime<Utc>,
    pub note: Option<&'a str>,
    pub source: &'a str,
    pub made_by: &'a str,
}

/// Stores a deploy, if none of the same application, release and time is there; true if
/// there was none.
pub async fn add(
    tx: &mut Tx,
    organization: OrganizationId,
    new: &NewDeploy<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let added = tx
        .query(
            "insert into deploy
                 (organization_id, app, release, at, note, source, made_by, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (organization_id, app, release, at) do nothing",
        )
        .bind(organization)
        .bind(new.app)
        .bind(new.release)
        .bind(new.at)
        .bind(new.note)
        .bind(new.source)
        .bind(new.made_by)
        .bind(now)
        .run()
        .await?;
    tx.query(
        "delete from deploy where id in
             (select id from deploy where organization_id = $1 and app = $2
              order by at desc, id desc limit 100 offset $3)",
    )
    .bind(organization)
    .bind(new.app)
    .bind(KEPT)
    .run()
    .await?;
    Ok(added == 1)
}

/// The newest deploy of an application, if it is of this release and went live since then:
/// who tells of a release twice means one deploy. Others who tell at the same time wait
/// until the end of the transaction.
pub async fn just_told(
    tx: &mut Tx,
    organization: OrganizationId,
    app: &str,
    release: &str,
    since: DateTime<Utc>,
) -> Result<Option<Deploy>> {
    tx.query("update organization set name = name where id = $1").bind(organization).run().await?;
    let newest: Option<Deploy> = tx
        .query(
            "select id, app, release, at, note, source, made_by from deploy
             where organization_id = $1 and app = $2 order by at desc, id desc limit 1",
        )
        .bind(organization)
        .bind(app)
        .optional()
        .await?;
    Ok(newest.filter(|deploy| deploy.release == release && deploy.at >= since))
}

/// The deploy of that application, release and time.
pub async fn find(
    tx: &mut Tx,
    organization: OrganizationId,
    app: &str,
    release: &str,
    at: DateTime<Utc>,
) -> Result<Option<Deploy>> {
    tx.query(
        "select id, app, release, at, note, source, made_by from deploy
         where organization_id = $1 and app = $2 and release = $3 and at = $4",
    )
    .bind(organization)
    .bind(app)
    .bind(release)
    .bind(at)
    .optional()
    .await
}

/// The newest deploy of an application at or before a time.
pub async fn latest_before(
    db: &Db,
    organization: OrganizationId,
    app: &str,
    at: DateTime<Utc>,
) -> Result<Option<Deploy>> {
    db.query(
        "select id, app, release, at, note, source, made_by from deploy
         where organization_id = $1 and app = $2 and at <= $3 order by at desc, id desc limit 1",
    )
    .bind(organization)
    .bind(app)
    .bind(at)
    .optional()
    .await
}

/// The newest deploys of an application within a time, the newest first.
pub async fn between(
    db: &Db,
    organization: OrganizationId,
    app: &str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Deploy>> {
    db.query(
        "select id, app, release, at, note, source, made_by from deploy
         where organization_id = $1 and app = $2 and at >= $3 and at <= $4
         order by at desc, id desc limit $5",
    )
    .bind(organization)
    .bind(app)
    .bind(since)
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// The last deploy of a page; the next page begins below it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Position {
    pub at: DateTime<Utc>,
    pub id: i64,
}

/// A page of deploys, newest first, and where the next one begins.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    app: Option<&str>,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Deploy>, Option<Position>)> {
    let end = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default();
    let after = after.unwrap_or(Position { at: end, id: i64::MAX });
    let mut deploys: Vec<Deploy> = db
        .query(
            "select id, app, release, at, note, source, made_by from deploy
             where organization_id = $1 and (at, id) < ($2, $3) and (app = $4 or $4 is null)
             order by at desc, id desc limit $5",
        )
        .bind(organization)
        .bind(after.at)
        .bind(after.id)
        .bind(app)
        .bind(limit + 1)
        .all()
        .await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = deploys.len() > page;
    deploys.truncate(page);
    let next = deploys.last().filter(|_| more).map(|last| Position { at: last.at, id: last.id });
    Ok((deploys, next))
}

/// What a watched path held last, and when that was seen.
pub async fn watched(
    db: &Db,
    host: &str,
    app: &str,
    path: &str,
) -> Result<Option<(String, DateTime<Utc>)>> {
    db.query("select release, seen_at from deploy_watch where host = $1 and app = $2 and path = $3")
        .bind(host)
        .bind(app)
        .bind(path)
        .optional()
        .await
}

/// Remembers what a path holds now, if it is first seen or still held `before`; false
/// if another process of this host was faster.
pub async fn remember(
    tx: &mut Tx,
    (host, app, path): (&str, &str, &str),
    before: Option<&str>,
    release: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = match before {
        None => {
            tx.query(
                "insert into deploy_watch (host, app, path, release, seen_at)
                 values ($1, $2, $3, $4, $5) on conflict (host, app, path) do nothing",
            )
            .bind(host)
            .bind(app)
            .bind(path)
            .bind(release)
            .bind(now)
            .run()
            .await?
        }
        Some(before) => {
            tx.query(
                "update deploy_watch set release = $4, seen_at = $5
                 where host = $1 and app = $2 and path = $3 and release = $6",
            )
            .bind(host)
            .bind(app)
            .bind(path)
            .bind(release)
            .bind(now)
            .bind(before)
            .run()
            .await?
        }
    };
    Ok(changed == 1)
}
