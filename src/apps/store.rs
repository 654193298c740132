//! All SQL of applications, their keys and their usage.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::types::Json;
use url::Url;

use super::{
    Change, Known, Quota, Scrub, Wish, dsn,
    usage::{Counter, Outcome},
    wish,
};
use crate::{
    auth::{
        OrganizationId,
        audit::{self, Actor},
    },
    clock,
    config::AppEntry,
    db::{self, Db, Tx},
    error::{Error, Result},
};

/// Applications that are listed, and remembered, at once.
pub const MAX_ALL: i64 = 1000;
/// Live and revoked keys of one application.
const MAX_KEYS: i64 = 100;
/// How long usage is kept.
const USAGE_KEPT: TimeDelta = TimeDelta::days(90);

/// An application as it is shown.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = ListedApp)]
pub struct Listed {
    pub id: i64,
    pub name: String,
    pub base_url: Option<String>,
    #[schema(value_type = Vec<String>)]
    pub allowed_origins: Json<Vec<String>>,
    #[schema(value_type = Scrub)]
    pub scrub: Json<Scrub>,
    /// Null: what `[capture] quota` says.
    pub events_per_minute: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub archived_at: Option<DateTime<Utc>>,
    /// The newest live key.
    pub public_key: Option<String>,
}

/// A key. It is public: it stands in web pages.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Key {
    pub id: i64,
    pub name: String,
    /// 32 hexadecimal digits.
    pub public_key: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What came in one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Hour {
    pub hour_at: DateTime<Utc>,
    /// As SDKs name it: "error", "transaction", "session".
    pub category: String,
    pub outcome: Outcome,
    pub count: i64,
}

/// What [`add`] found or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New(i64),
    /// The name is taken by this live application; nothing was changed.
    Known(i64),
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    organization_id: OrganizationId,
    name: String,
    key_id: i64,
    base_url: Option<String>,
    allowed_origins: Json<Vec<String>>,
    scrub: Json<Scrub>,
    events_per_minute: Option<i64>,
}

impl Row {
    fn known(self, default: Quota) -> Known {
        let quota = self.events_per_minute.and_then(|count| u32::try_from(count).ok());
        Known {
            id: self.id,
            organization: self.organization_id,
            name: self.name,
            key: self.key_id,
            base_url: self.base_url.and_then(|url| Url::parse(&url).ok()),
            allowed_origins: self.allowed_origins.0,
            scrub: self.scrub.0,
            quota: quota.map_or(default, |events_per_minute| Quota { events_per_minute }),
        }
    }
}

/// The application of a live key.
pub(super) async fn by_key(
    db: &Db,
    app: i64,
    public_key: &str,
    default: Quota,
) -> db::Result<Option<Known>> {
    let row: Option<Row> = db
        .query(
            "select a.id, a.organization_id, a.name, k.id as key_id, a.base_url,
                 a.allowed_origins, a.scrub, a.events_per_minute
             from app_key as k join app as a on a.id = k.app_id
             where k.public_key = $1 and k.app_id = $2 and k.revoked_at is null
               and a.archived_at is null",
        )
        .bind(public_key)
        .bind(app)
        .optional()
        .await?;
    Ok(row.map(|row| row.known(default)))
}

/// All live applications of all organizations, the first [`MAX_ALL`].
pub(super) async fn all(db: &Db, default: Quota) -> db::Result<Vec<Known>> {
    let rows: Vec<Row> = db
        .query(
            "select id, organization_id, name, cast(0 as bigint) as key_id, base_url,
                 allowed_origins, scrub, events_per_minute
             from app where archived_at is null order by id limit $1",
        )
        .bind(MAX_ALL)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.known(default)).collect())
}

/// Writes `[[apps]]` into the table: the configuration has the last word on their base_url,
/// and what it lists is not archived and has a key. What it no longer lists is kept.
pub async fn sync(db: &Db, organization: OrganizationId, entries: &[AppEntry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    let mut names: Vec<&AppEntry> = entries.iter().collect();
    // Replicas that start together lock rows in one order.
    names.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in names {
        let id: i64 = tx
            .query(
                "insert into app
                 (organization_id, name, base_url, allowed_origins, scrub, created_at)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (organization_id, name)
                 do update set base_url = excluded.base_url, archived_at = null
             returning id",
            )
            .bind(organization)
            .bind(entry.name.as_str())
            .bind(entry.base_url.as_str())
            .bind(everywhere())
            .bind(Json(Scrub::default()))
            .bind(clock::now())
            .scalar()
            .await?;
        let keys: i64 =
            tx.query("select count(*) from app_key where app_id = $1").bind(id).scalar().await?;
        if keys == 0 {
            insert_key(&mut tx, id, "first").await?;
        }
    }
    Ok(tx.commit().await?)
}

fn everywhere() -> Json<Vec<String>> {
    Json(vec!["*".to_owned()])
}

/// Adds a checked application with its first key. An archived one of the same name comes back,
/// with a new key: events are known by the name, so it goes on where it was.
pub async fn add(
    db: &Db,
    organization: OrganizationId,
    actor: impl Into<Actor<'_>>,
    wish: &Wish,
) -> Result<Added> {
    let now = clock::now();
    let mut tx = db.begin().await?;
    let id: Option<(i64,)> = tx
        .query(
            "insert into app (organization_id, name, base_url, allowed_origins, scrub,
                 events_per_minute, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (organization_id, name) do update set
                 base_url = excluded.base_url, allowed_origins = excluded.allowed_origins,
                 scrub = excluded.scrub, events_per_minute = excluded.events_per_minute,
                 archived_at = null
             where app.archived_at is not null
             returning id",
        )
        .bind(organization)
        .bind(wish.name.as_str())
        .bind(wish.base_url.as_deref())
        .bind(wish.allowed_origins.clone().map_or_else(everywhere, Json))
        .bind(Json(wish.scrub.clone().unwrap_or_default()))
        .bind(wish.events_per_minute)
        .bind(now)
        .optional()
        .await?;
    let Some((id,)) = id else {
        let known = tx
            .query("select id from app where organization_id = $1 and name = $2")
            .bind(organization)
            .bind(wish.name.as_str())
            .scalar()
            .await?;
        return Ok(Added::Known(known));
    };
    insert_key(&mut tx, id, "first").await?;
    let detail = json!({ "id": id, "base_url": wish.base_url });
    let subject = subject(&wish.name);
    audit::write(&mut tx, organization, actor, "app.add", &subject, &detail).await?;
    tx.commit().await?;
    Ok(Added::New(id))
}

fn subject(name: &str) -> String {
    format!("app {name}")
}

/// The first [`MAX_ALL`] applications of an organization, by name.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    archived: bool,
) -> db::Result<Vec<Listed>> {
    db.query(
        "select a.id, a.name, a.base_url, a.allowed_origins, a.scrub, a.events_per_minute,
             a.created_at, a.archived_at,
             (select public_key from app_key where app_id = a.id and revoked_at is null
              order by id desc limit 1) as public_key
         from app as a
         where a.organization_id = $1 and (a.archived_at is null or $2)
         order by a.name, a.id limit $3",
    )
    .bind(organization)
    .bind(archived)
    .bind(MAX_ALL)
    .all()
    .await
}

/// One application, archived or not.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> db::Result<Option<Listed>> {
    db.query(
        "select a.id, a.name, a.base_url, a.allowed_origins, a.scrub, a.events_per_minute,
             a.created_at, a.archived_at,
             (select public_key from app_key where app_id = a.id and revoked_at is null
              order by id desc limit 1) as public_key
         from app as a where a.organization_id = $1 and a.id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// The id of the application of this name, archived or not.
pub async fn named(db: &Db, organization: OrganizationId, name: &str) -> db::Result<Option<i64>> {
    let found: Option<(i64,)> = db
        .query("select id from app where organization_id = $1 and name = $2")
        .bind(organization)
        .bind(name)
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// The live application, locked for a change.
async fn live(tx: &mut Tx, organization: OrganizationId, id: i64) -> Result<String> {
    let name: Option<(String,)> = tx
        .query(
            "update app set name = name
             where organization_id = $1 and id = $2 and archived_at is null returning name",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    name.map(|(name,)| name).ok_or(Error::NotFound("app"))
}

/// Carries out a checked change.
pub async fn change(
    db: &Db,
    organization: OrganizationId,
    actor: impl Into<Actor<'_>>,
    id: i64,
    change: &Change,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let name = live(&mut tx, organization, id).await?;
    let base_url = change.base_url.as_deref();
    let quota = change.events_per_minute;
    tx.query(
        "update app set
             base_url = case when $2 then $3 else base_url end,
             allowed_origins = coalesce($4, allowed_origins),
             scrub = coalesce($5, scrub),
             events_per_minute = case when $6 then $7 else events_per_minute end
         where id = $1",
    )
    .bind(id)
    .bind(base_url.is_some())
    .bind(base_url.filter(|url| !url.is_empty()))
    .bind(change.allowed_origins.clone().map(Json))
    .bind(change.scrub.clone().map(Json))
    .bind(quota.is_some())
    .bind(quota.filter(|quota| *quota > 0))
    .run()
    .await?;
    let detail = json!({
        "base_url": change.base_url,
        "allowed_origins": change.allowed_origins,
        "scrub": change.scrub,
        "events_per_minute": quota,
    });
    audit::write(&mut tx, organization, actor, "app.change", &subject(&name), &detail).await?;
    Ok(tx.commit().await?)
}

/// Ends an application: its keys are revoked, its events stay.
pub async fn archive(
    db: &Db,
    organization: OrganizationId,
    actor: impl Into<Actor<'_>>,
    id: i64,
) -> Result<()> {
    let now = clock::now();
    let mut tx = db.begin().await?;
    let name = live(&mut tx, organization, id).await?;
    tx.query("update app set archived_at = $2 where id = $1").bind(id).bind(now).run().await?;
    tx.query("update app_key set revoked_at = $2 where app_id = $1 and revoked_at is null")
        .bind(id)
        .bind(now)
        .run()
        .await?;
    let detail = json!({ "id": id });
    audit::write(&mut tx, organization, actor, "app.archive", &subject(&name), &detail).await?;
    Ok(tx.commit().await?)
}

/// The keys of an application, the newest first, revoked ones included.
pub async fn keys(db: &Db, app: i64) -> db::Result<Vec<Key>> {
    db.query(
        "select id, name, public_key, created_at, last_used_at, revoked_at
         from app_key where app_id = $1 order by id desc limit $2",
    )
    .bind(app)
    .bind(MAX_KEYS)
    .all()
    .await
}

/// Makes a key of a live application.
pub async fn make_key(
    db: &Db,
    organization: OrganizationId,
    actor: impl Into<Actor<'_>>,
    app: i64,
    name: &str,
) -> Result<Key> {
    let name = wish::name("name", name)?;
    let mut tx = db.begin().await?;
    let app_name = live(&mut tx, organization, app).await?;
    let count: i64 =
        tx.query("select count(*) from app_key where app_id = $1").bind(app).scalar().await?;
    if count >= MAX_KEYS {
        return Err(Error::Conflict(format!(
            "the application has {MAX_KEYS} keys, live and revoked; use one of those"
        )));
    }
    let key = insert_key(&mut tx, app, &name).await?;
    let detail = json!({ "key": key.id, "name": name });
    audit::write(&mut tx, organization, actor, "app.key.make", &subject(&app_name), &detail)
        .await?;
    tx.commit().await?;
    Ok(key)
}

async fn insert_key(tx: &mut Tx, app: i64, name: &str) -> Result<Key> {
    Ok(tx
        .query(
            "insert into app_key (app_id, public_key, name, created_at) values ($1, $2, $3, $4)
             returning id, name, public_key, created_at, last_used_at, revoked_at",
        )
        .bind(app)
        .bind(dsn::make_key()?)
        .bind(name)
        .bind(clock::now())
        .one()
        .await?)
}

/// Ends a key; servers notice within [`super::REMEMBERED`].
pub async fn revoke_key(
    db: &Db,
    organization: OrganizationId,
    actor: impl Into<Actor<'_>>,
    app: i64,
    key: i64,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let name = live(&mut tx, organization, app).await?;
    let changed = tx
        .query(
            "update app_key set revoked_at = $3
             where app_id = $1 and id = $2 and revoked_at is null",
        )
        .bind(app)
        .bind(key)
        .bind(clock::now())
        .run()
        .await?;
    if changed == 0 {
        return Err(Error::NotFound("key (or it is revoked already)"));
    }
    let detail = json!({ "key": key });
    audit::write(&mut tx, organization, actor, "app.key.revoke", &subject(&name), &detail).await?;
    Ok(tx.commit().await?)
}

/// Adds counters and notes the keys that were used.
pub(super) async fn add_usage(
    db: &Db,
    counters: &BTreeMap<Counter, u64>,
    used: &[i64],
    now: DateTime<Utc>,
) -> db::Result<()> {
    // In the order of their keys: replicas wait for each other instead of deadlocking.
    let rows = counters.iter().map(|((app, hour, category, outcome), count)| {
        json!({
            "app": app, "hour": hour.to_rfc3339_opts(SecondsFormat::AutoSi, false),
            "category": category, "outcome": outcome, "count": count,
        })
    });
    let rows = rows.collect::<Value>().to_string();
    let mut tx = db.begin().await?;
    if !counters.is_empty() {
        let sql = tx.dialect(
            "insert into app_usage (app_id, hour_at, category, outcome, count)
             select r.app, r.hour, r.category, r.outcome, r.count
             from json_to_recordset(cast($1 as json)) as r(app bigint, hour timestamptz,
                 category text, outcome text, count bigint)
             on conflict (app_id, hour_at, category, outcome)
                 do update set count = app_usage.count + excluded.count",
            "insert into app_usage (app_id, hour_at, category, outcome, count)
             select value ->> 'app', value ->> 'hour', value ->> 'category',
                 value ->> 'outcome', value ->> 'count'
             from json_each($1) where true
             on conflict (app_id, hour_at, category, outcome)
                 do update set count = app_usage.count + excluded.count",
        );
        tx.query(sql).bind(rows).run().await?;
    }
    if !used.is_empty() {
        let mut used = used.to_vec();
        used.sort_unstable();
        let sql = tx.dialect(
            "update app_key set last_used_at = $2
             where id in (select cast(value as bigint)
                 from json_array_elements_text(cast($1 as json)) order by 1)",
            "update app_key set last_used_at = $2
             where id in (select value from json_each($1))",
        );
        tx.query(sql).bind(Value::from(used).to_string()).bind(now).run().await?;
    }
    tx.commit().await
}

/// What came since then, by hour, the newest first; at most 5000 rows.
pub async fn usage(db: &Db, app: i64, since: DateTime<Utc>) -> db::Result<Vec<Hour>> {
    db.query(
        "select hour_at, category, outcome, count from app_usage
         where app_id = $1 and hour_at >= $2
         order by hour_at desc, category, outcome limit 5000",
    )
    .bind(app)
    .bind(since)
    .all()
    .await
}

/// Removes usage that is older than [`USAGE_KEPT`], in steps of 1000 rows.
pub(super) async fn forget_usage(db: &Db, now: DateTime<Utc>) -> db::Result<()> {
    loop {
        let removed = db
            .query(db.dialect(
                "delete from app_usage where ctid in
                     (select ctid from app_usage where hour_at < $1 order by hour_at limit 1000)",
                "delete from app_usage where (app_id, hour_at, category, outcome) in
                     (select app_id, hour_at, category, outcome from app_usage
                      where hour_at < $1 order by hour_at limit 1000)",
            ))
            .bind(now - USAGE_KEPT)
            .run()
            .await?;
        if removed < 1000 {
            return Ok(());
        }
    }
}
