//! The statements about what is connected, by whom, and what it serves.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Duty, Status};
use crate::{
    auth::OrganizationId,
    clock,
    db::{Db, Result, Tx},
};

/// How long a person may take at a provider.
pub(super) const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Rows that are removed at once.
const STEP: i64 = 500;

/// People whose connections are listed at once.
pub(super) const MAX_PEOPLE: i64 = 500;

/// A way to a provider that somebody is on.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Attempt {
    pub(super) state_hash: String,
    pub(super) organization_id: OrganizationId,
    pub(super) account_id: i64,
    pub(super) session_id: i64,
    pub(super) kind: String,
    pub(super) verifier_sealed: Option<String>,
    pub(super) scopes: String,
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn insert_attempt(db: &Db, attempt: &Attempt) -> Result<()> {
    db.query(
        "insert into integration_attempt (state_hash, organization_id, account_id, session_id,
             kind, verifier_sealed, scopes, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(attempt.state_hash.as_str())
    .bind(attempt.organization_id)
    .bind(attempt.account_id)
    .bind(attempt.session_id)
    .bind(attempt.kind.as_str())
    .bind(attempt.verifier_sealed.as_deref())
    .bind(attempt.scopes.as_str())
    .bind(attempt.created_at)
    .run()
    .await
    .map(drop)
}

/// Takes an attempt away; of two that come back with one state, one gets it.
pub(super) async fn take_attempt(db: &Db, state_hash: &str) -> Result<Option<Attempt>> {
    db.query(
        "delete from integration_attempt where state_hash = $1
         returning state_hash, organization_id, account_id, session_id, kind, verifier_sealed,
             scopes, created_at",
    )
    .bind(state_hash)
    .optional()
    .await
}

/// Removes attempts that nobody came back from.
pub(super) async fn purge_attempts(db: &Db) -> Result<u64> {
    db.query(
        "delete from integration_attempt where state_hash in
             (select state_hash from integration_attempt where created_at < $1
              order by created_at limit $2)",
    )
    .bind(clock::now() - LIFETIME)
    .bind(STEP)
    .run()
    .await
}

/// Notes that a person connected something; its id, and the consent that it rested on before.
pub(super) async fn connect(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    kind: &str,
    grant: i64,
) -> Result<(i64, Option<i64>)> {
    let before: Option<(Option<i64>,)> = tx
        .query("select grant_id from integration where account_id = $1 and kind = $2")
        .bind(account)
        .bind(kind)
        .optional()
        .await?;
    let id = tx
        .query(
            "insert into integration (organization_id, account_id, kind, grant_id, is_connected,
                 connected_at)
             values ($1, $2, $3, $4, true, $5)
             on conflict (account_id, kind) do update
             set grant_id = excluded.grant_id, is_connected = true,
                 connected_at = excluded.connected_at, disconnected_at = null
             returning id",
        )
        .bind(organization)
        .bind(account)
        .bind(kind)
        .bind(grant)
        .bind(clock::now())
        .scalar()
        .await?;
    Ok((id, before.and_then(|(grant,)| grant).filter(|before| *before != grant)))
}

/// Notes that it is disconnected; its id and the consent that it rested on.
pub(super) async fn disconnect(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    kind: &str,
) -> Result<Option<(i64, Option<i64>)>> {
    tx.query(
        "update integration set is_connected = false, disconnected_at = $4
         where organization_id = $1 and account_id = $2 and kind = $3 and is_connected
         returning id, grant_id",
    )
    .bind(organization)
    .bind(account)
    .bind(kind)
    .bind(clock::now())
    .optional()
    .await
}

/// What a call needs to know of a connection.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) account_id: i64,
    pub(super) kind: String,
    pub(super) is_connected: bool,
    pub(super) grant_id: i64,
    pub(super) granted_scopes: String,
    pub(super) place_id: Option<String>,
    pub(super) place_url: Option<String>,
    pub(super) details: String,
}

pub(super) async fn connected(
    db: &Db,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Row>> {
    db.query(
        "select i.id, i.account_id, i.kind, i.is_connected, g.id as grant_id, g.granted_scopes,
             g.place_id, g.place_url, g.details
         from integration i join oauth_grant g on g.id = i.grant_id
         where i.organization_id = $1 and i.id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// The id of what a person connected.
pub(super) async fn id_of(
    db: &Db,
    organization: OrganizationId,
    account: i64,
    kind: &str,
) -> Result<Option<i64>> {
    let found: Option<(i64,)> = db
        .query(
            "select id from integration
             where organization_id = $1 and account_id = $2 and kind = $3",
        )
        .bind(organization)
        .bind(account)
        .bind(kind)
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// A connection with all that is shown of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Shown {
    pub(super) id: i64,
    pub(super) account_id: i64,
    pub(super) kind: String,
    pub(super) is_connected: bool,
    pub(super) connected_at: DateTime<Utc>,
    pub(super) disconnected_at: Option<DateTime<Utc>>,
    pub(super) can_refresh: bool,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) granted_scopes: String,
    pub(super) username: Option<String>,
    pub(super) email: Option<String>,
    pub(super) avatar_url: Option<String>,
    pub(super) name: Option<String>,
    pub(super) place_id: Option<String>,
    pub(super) place_name: Option<String>,
    pub(super) place_url: Option<String>,
    pub(super) places: String,
    pub(super) status: Status,
    pub(super) last_error: Option<String>,
    pub(super) last_error_at: Option<DateTime<Utc>>,
    pub(super) error_count: i64,
    pub(super) refreshed_at: Option<DateTime<Utc>>,
    pub(super) used_at: Option<DateTime<Utc>>,
    pub(super) consented_at: DateTime<Utc>,
}

/// All connections of an organization, or of one person in it.
pub(super) async fn shown(
    db: &Db,
    organization: OrganizationId,
    account: Option<i64>,
) -> Result<Vec<Shown>> {
    db.query(
        "select i.id, i.account_id, i.kind, i.is_connected, i.connected_at, i.disconnected_at,
             case when g.refresh_sealed is null then false else true end as can_refresh,
             g.expires_at, g.granted_scopes, g.username, g.email, g.avatar_url, g.name,
             g.place_id, g.place_name, g.place_url, g.places, g.status, g.last_error,
             g.last_error_at, g.error_count, g.refreshed_at, g.used_at, g.consented_at
         from integration i join oauth_grant g on g.id = i.grant_id
         where i.organization_id = $1 and (cast($2 as bigint) is null or i.account_id = $2)
         order by i.account_id, i.id limit $3",
    )
    .bind(organization)
    .bind(account)
    .bind(MAX_PEOPLE * 10)
    .all()
    .await
}

/// What tells how a connection is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Standing {
    pub(super) id: i64,
    pub(super) account_id: i64,
    pub(super) kind: String,
    pub(super) can_refresh: bool,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) granted_scopes: String,
    pub(super) place_id: Option<String>,
    pub(super) places: String,
    pub(super) status: Status,
    pub(super) last_error: Option<String>,
    pub(super) error_count: i64,
}

/// What is connected, of one organization or of all.
pub(super) async fn standing(
    db: &Db,
    organization: Option<OrganizationId>,
) -> Result<Vec<Standing>> {
    db.query(
        "select i.id, i.account_id, i.kind,
             case when g.refresh_sealed is null then false else true end as can_refresh,
             g.expires_at, g.granted_scopes, g.place_id, g.places, g.status, g.last_error,
             g.error_count
         from integration i join oauth_grant g on g.id = i.grant_id
         where i.is_connected and (cast($1 as bigint) is null or i.organization_id = $1)
         order by i.id limit $2",
    )
    .bind(organization)
    .bind(MAX_PEOPLE)
    .all()
    .await
}

/// A person, as the list of connections names them.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Person {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) email: Option<String>,
}

/// Who could have connected something, by name.
pub(super) async fn people(db: &Db, organization: OrganizationId) -> Result<Vec<Person>> {
    db.query(
        "select id, name, email from account
         where organization_id = $1 and role in ('admin', 'operator')
         order by lower(name), id limit $2",
    )
    .bind(organization)
    .bind(MAX_PEOPLE)
    .all()
    .await
}

/// Whether there is such an account in the organization.
pub(super) async fn has_account(
    db: &Db,
    organization: OrganizationId,
    account: i64,
) -> Result<bool> {
    let found: Option<(i64,)> = db
        .query("select id from account where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(account)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// The places that a connection may serve at, and its consent.
pub(super) async fn places(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    kind: &str,
) -> Result<Option<(i64, String)>> {
    tx.query(
        "select g.id, g.places from integration i join oauth_grant g on g.id = i.grant_id
         where i.organization_id = $1 and i.account_id = $2 and i.kind = $3 and i.is_connected",
    )
    .bind(organization)
    .bind(account)
    .bind(kind)
    .optional()
    .await
}

/// What serves a duty.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Duties {
    pub(super) duty: Duty,
    pub(super) integration_id: i64,
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) is_automatic: bool,
    pub(super) set_by: String,
    pub(super) set_at: DateTime<Utc>,
}

pub(super) async fn duties(db: &Db, organization: OrganizationId) -> Result<Vec<Duties>> {
    db.query(
        "select d.duty, d.integration_id, i.kind, d.target, d.is_automatic, d.set_by, d.set_at
         from integration_duty d join integration i on i.id = d.integration_id
         where d.organization_id = $1 order by d.duty",
    )
    .bind(organization)
    .all()
    .await
}

pub(super) async fn set_duty(
    tx: &mut Tx,
    organization: OrganizationId,
    duty: Duty,
    integration: i64,
    target: &str,
    is_automatic: bool,
    by: &str,
) -> Result<()> {
    tx.query(
        "insert into integration_duty (organization_id, duty, integration_id, target,
             is_automatic, set_by, set_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (organization_id, duty) do update
         set integration_id = excluded.integration_id, target = excluded.target,
             is_automatic = excluded.is_automatic, set_by = excluded.set_by,
             set_at = excluded.set_at",
    )
    .bind(organization)
    .bind(duty)
    .bind(integration)
    .bind(target)
    .bind(is_automatic)
    .bind(by)
    .bind(clock::now())
    .run()
    .await
    .map(drop)
}

pub(super) async fn end_duty(
    tx: &mut Tx,
    organization: OrganizationId,
    duty: Duty,
) -> Result<bool> {
    let gone = tx
        .query("delete from integration_duty where organization_id = $1 and duty = $2")
        .bind(organization)
        .bind(duty)
        .run()
        .await?;
    Ok(gone > 0)
}

/// Whether the organization has such a connection, and its kind.
pub(super) async fn kind_of(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<(String, bool)>> {
    tx.query("select kind, is_connected from integration where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await
}
