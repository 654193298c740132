//! Rows of `notify_channel`.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// A channel as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Row {
    pub id: i64,
    pub organization_id: OrganizationId,
    pub row_name: String,
    pub name: String,
    pub kind: super::super::channel::Kind,
    pub enabled: bool,
    pub events: String,
    pub least: crate::logs::Severity,
    pub app: String,
    pub recipients: String,
    pub slack_channel: String,
    pub target_sealed: Option<String>,
    pub target_shown: Option<String>,
    pub secret_sealed: Option<String>,
    pub quiet: Option<String>,
    pub quiet_lets_critical: bool,
    pub digest: super::super::quiet::Digest,
    pub digest_at: String,
    pub zone: String,
    pub escalate_after_minutes: Option<i64>,
    pub escalate_to: Option<i64>,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    pub failures: i64,
    pub last_error: Option<String>,
}

/// A channel to be stored.
pub(in crate::notify) struct New<'a> {
    pub name: &'a str,
    pub kind: super::super::channel::Kind,
    pub enabled: bool,
    pub events: &'a str,
    pub least: crate::logs::Severity,
    pub app: &'a str,
    pub recipients: &'a str,
    pub slack_channel: &'a str,
    pub target_sealed: Option<&'a str>,
    pub target_shown: Option<&'a str>,
    pub secret_sealed: Option<&'a str>,
    pub quiet: Option<&'a str>,
    pub quiet_lets_critical: bool,
    pub digest: super::super::quiet::Digest,
    pub digest_at: &'a str,
    pub zone: &'a str,
    pub escalate_after_minutes: Option<i64>,
    pub escalate_to: Option<i64>,
}

/// All channels of an organization, by their numbers; there are at most fifty.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Row>> {
    db.query(
        "select id, organization_id, row_name, name, kind, enabled, events, least, app, recipients,
             slack_channel, target_sealed, target_shown, secret_sealed, quiet, quiet_lets_critical,
             digest, digest_at, zone, escalate_after_minutes, escalate_to, made_by, created_at,
             sent_at, failures, last_error
         from notify_channel where organization_id = $1 order by id limit 200",
    )
    .bind(organization)
    .all()
    .await
}

pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Row>> {
    db.query(
        "select id, organization_id, row_name, name, kind, enabled, events, least, app, recipients,
             slack_channel, target_sealed, target_shown, secret_sealed, quiet, quiet_lets_critical,
             digest, digest_at, zone, escalate_after_minutes, escalate_to, made_by, created_at,
             sent_at, failures, last_error
         from notify_channel where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// Those that are told things, in a transaction that decides about it.
pub(in crate::notify) async fn enabled(
    tx: &mut Tx,
    organization: OrganizationId,
) -> Result<Vec<Row>> {
    tx.query(
        "select id, organization_id, row_name, name, kind, enabled, events, least, app, recipients,
             slack_channel, target_sealed, target_shown, secret_sealed, quiet, quiet_lets_critical,
             digest, digest_at, zone, escalate_after_minutes, escalate_to, made_by, created_at,
             sent_at, failures, last_error
         from notify_channel where organization_id = $1 and enabled order by id limit 200",
    )
    .bind(organization)
    .all()
    .await
}

/// The channel of a name.
pub(in crate::notify) async fn named(
    tx: &mut Tx,
    organization: OrganizationId,
    name: &str,
) -> Result<Option<Row>> {
    tx.query(
        "select id, organization_id, row_name, name, kind, enabled, events, least, app, recipients,
             slack_channel, target_sealed, target_shown, secret_sealed, quiet, quiet_lets_critical,
             digest, digest_at, zone, escalate_after_minutes, escalate_to, made_by, created_at,
             sent_at, failures, last_error
         from notify_channel where organization_id = $1 and name = $2",
    )
    .bind(organization)
    .bind(name)
    .optional()
    .await
}

pub(in crate::notify) async fn count(tx: &mut Tx, organization: OrganizationId) -> Result<i64> {
    tx.query("select count(*) from notify_channel where organization_id = $1")
        .bind(organization)
        .scalar()
        .await
}

pub(in crate::notify) async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    row_name: &str,
    new: &New<'_>,
    made_by: &str,
    now: DateTime<Utc>,
) -> Result<i64> {
    tx.query(
        "insert into notify_channel (organization_id, row_name, name, kind, enabled, events, least,
             app, recipients, slack_channel, target_sealed, target_shown, secret_sealed, quiet,
             quiet_lets_critical, digest, digest_at, zone, escalate_after_minutes, escalate_to,
             made_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22) returning id",
    )
    .bind(organization)
    .bind(row_name)
    .bind(new.name)
    .bind(new.kind)
    .bind(new.enabled)
    .bind(new.events)
    .bind(new.least)
    .bind(new.app)
    .bind(new.recipients)
    .bind(new.slack_channel)
    .bind(new.target_sealed)
    .bind(new.target_shown)
    .bind(new.secret_sealed)
    .bind(new.quiet)
    .bind(new.quiet_lets_critical)
    .bind(new.digest)
    .bind(new.digest_at)
    .bind(new.zone)
    .bind(new.escalate_after_minutes)
    .bind(new.escalate_to)
    .bind(made_by)
    .bind(now)
    .scalar()
    .await
}

/// Replaces what can be changed. What failed so far says nothing of it as it is now.
pub(in crate::notify) async fn replace(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    new: &New<'_>,
) -> Result<bool> {
    let changed = tx
        .query(
            "update notify_channel set name = $3, enabled = $4, events = $5, least = $6, app = $7,
                 recipients = $8, slack_channel = $9, target_sealed = $10, target_shown = $11,
                 secret_sealed = $12, quiet = $13, quiet_lets_critical = $14, digest = $15,
                 digest_at = $16, zone = $17, escalate_after_minutes = $18, escalate_to = $19,
                 failures = 0, last_error = null
             where organization_id = $1 and id = $2",
        )
        .bind(organization)
        .bind(id)
        .bind(new.name)
        .bind(new.enabled)
        .bind(new.events)
        .bind(new.least)
        .bind(new.app)
        .bind(new.recipients)
        .bind(new.slack_channel)
        .bind(new.target_sealed)
        .bind(new.target_shown)
        .bind(new.secret_sealed)
        .bind(new.quiet)
        .bind(new.quiet_lets_critical)
        .bind(new.digest)
        .bind(new.digest_at)
        .bind(new.zone)
        .bind(new.escalate_after_minutes)
        .bind(new.escalate_to)
        .run()
        .await?;
    Ok(changed > 0)
}

/// Other recipients, and nothing else.
pub(in crate::notify) async fn set_recipients(
    tx: &mut Tx,
    id: i64,
    recipients: &str,
) -> Result<()> {
    tx.query("update notify_channel set recipients = $2, enabled = $3 where id = $1")
        .bind(id)
        .bind(recipients)
        .bind(true)
        .run()
        .await
        .map(drop)
}

pub(in crate::notify) async fn remove(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<bool> {
    let gone = tx
        .query("delete from notify_channel where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .run()
        .await?;
    Ok(gone > 0)
}

/// Something arrived there.
pub(in crate::notify) async fn went_well(db: &Db, id: i64, now: DateTime<Utc>) -> Result<()> {
    db.query(
        "update notify_channel set sent_at = $2, failures = 0, last_error = null where id = $1",
    )
    .bind(id)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// The same within a transaction.
pub(in crate::notify) async fn reached(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<()> {
    tx.query("update notify_channel set sent_at = $2 where id = $1")
        .bind(id)
        .bind(now)
        .run()
        .await
        .map(drop)
}

/// One by its number, whatever its organization: of rows that name it.
pub(in crate::notify) async fn find_in(tx: &mut Tx, id: i64) -> Result<Option<Row>> {
    tx.query(
        "select id, organization_id, row_name, name, kind, enabled, events, least, app, recipients,
             slack_channel, target_sealed, target_shown, secret_sealed, quiet, quiet_lets_critical,
             digest, digest_at, zone, escalate_after_minutes, escalate_to, made_by, created_at,
             sent_at, failures, last_error
         from notify_channel where id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// Something did not.
pub(in crate::notify) async fn went_wrong(db: &Db, id: i64, why: &str) -> Result<()> {
    db.query("update notify_channel set failures = failures + 1, last_error = $2 where id = $1")
        .bind(id)
        .bind(why)
        .run()
        .await
        .map(drop)
}

/// How the enabled channels of all organizations do: how many there are, and the names and
/// troubles of at most five that fail.
pub async fn standing(db: &Db) -> Result<(i64, Vec<(String, String)>)> {
    let all: i64 = db.query("select count(*) from notify_channel where enabled").scalar().await?;
    let failing: Vec<(String, String)> = db
        .query(
            "select name, coalesce(last_error, '') from notify_channel
             where enabled and failures > 0 order by id limit 5",
        )
        .all()
        .await?;
    Ok((all, failing))
}
