//! The tables `account` and `identity`.

use super::{Account, Identity, Linked, Status, email};
use crate::{
    auth::{OrganizationId, Role},
    db::{Db, Result, Tx},
};

/// Whoever makes or changes accounts of an organization waits here for the one before, so that
/// what was looked up still holds. SQLite has one writer anyway.
pub(crate) async fn take_turn(tx: &mut Tx, organization: OrganizationId) -> Result<()> {
    let sql = tx
        .dialect("select pg_advisory_xact_lock(hashtextextended('lux accounts', $1))", "select $1");
    tx.query(sql).bind(organization).run().await.map(drop)
}

pub(super) async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Account>> {
    db.query(
        "select id, organization_id, name, email, picture, role, status, version, created_at,
                signed_in_at
         from account where organization_id = $1 order by id limit 500",
    )
    .bind(organization)
    .all()
    .await
}

pub(super) async fn find(
    db: &Db,
    organization: OrganizationId,
    account: i64,
) -> Result<Option<Account>> {
    db.query(
        "select id, organization_id, name, email, picture, role, status, version, created_at,
                signed_in_at
         from account where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(account)
    .optional()
    .await
}

/// The same in a transaction, in which it stays as it is.
pub(crate) async fn get(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
) -> Result<Option<Account>> {
    tx.query(
        "select id, organization_id, name, email, picture, role, status, version, created_at,
                signed_in_at
         from account where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(account)
    .optional()
    .await
}

/// By an address in the form of [`email::key`].
pub(crate) async fn with_email(
    tx: &mut Tx,
    organization: OrganizationId,
    key: &str,
) -> Result<Option<Account>> {
    tx.query(
        "select id, organization_id, name, email, picture, role, status, version, created_at,
                signed_in_at
         from account where organization_id = $1 and email_key = $2",
    )
    .bind(organization)
    .bind(key)
    .optional()
    .await
}

/// The account for those who have the command line; made if there is none.
pub(in crate::auth) async fn local(tx: &mut Tx, organization: OrganizationId) -> Result<Account> {
    let now = tx.now().await?;
    let sql = tx.dialect(
        "insert into account (organization_id, name, role, is_local, created_at)
         values ($1, 'local admin', 'admin', true, $2)
         on conflict (organization_id) where is_local do nothing",
        "insert into account (id, organization_id, name, role, is_local, created_at)
         values (1 + max(coalesce((select max(id) from account), 0),
                 coalesce((select id from last_id where of_table = 'account'), 0)),
             $1, 'local admin', 'admin', true, $2)
         on conflict (organization_id) where is_local do nothing",
    );
    tx.query(sql).bind(organization).bind(now).run().await?;
    tx.query(
        "select id, organization_id, name, email, picture, role, status, version, created_at,
                signed_in_at
         from account where organization_id = $1 and is_local",
    )
    .bind(organization)
    .one()
    .await
}

/// An account to be.
pub(in crate::auth) struct New<'a> {
    pub name: &'a str,
    pub email: Option<&'a str>,
    /// Whether somebody vouches for the address: then no other account may have it.
    pub vouched: bool,
    pub picture: Option<&'a str>,
    pub role: Role,
}

pub(in crate::auth) async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    new: &New<'_>,
) -> Result<Account> {
    let now = tx.now().await?;
    // No id is given twice: what an erased account did is signed with its own for good.
    let sql = tx.dialect(
        "insert into account (organization_id, name, email, email_key, picture, role, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         returning id, organization_id, name, email, picture, role, status, version, created_at,
                   signed_in_at",
        "insert into account (id, organization_id, name, email, email_key, picture, role,
             created_at)
         values (1 + max(coalesce((select max(id) from account), 0),
                 coalesce((select id from last_id where of_table = 'account'), 0)),
             $1, $2, $3, $4, $5, $6, $7)
         returning id, organization_id, name, email, picture, role, status, version, created_at,
                   signed_in_at",
    );
    tx.query(sql)
        .bind(organization)
        .bind(new.name)
        .bind(new.email)
        .bind(new.email.filter(|_| new.vouched).and_then(email::key))
        .bind(new.picture)
        .bind(new.role)
        .bind(now)
        .one()
        .await
}

pub(super) async fn set(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    role: Role,
    status: Status,
) -> Result<Account> {
    tx.query(
        "update account set role = $3, status = $4, version = version + 1
         where organization_id = $1 and id = $2
         returning id, organization_id, name, email, picture, role, status, version, created_at,
                   signed_in_at",
    )
    .bind(organization)
    .bind(account)
    .bind(role)
    .bind(status)
    .one()
    .await
}

pub(super) async fn rename(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    name: &str,
) -> Result<()> {
    tx.query("update account set name = $3 where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(account)
        .bind(name)
        .run()
        .await
        .map(drop)
}

/// Whether there is an active administrator.
pub(in crate::auth) async fn has_admin(tx: &mut Tx, organization: OrganizationId) -> Result<bool> {
    has_other_admin(tx, organization, 0).await
}

pub(super) async fn has_other_admin(
    tx: &mut Tx,
    organization: OrganizationId,
    than: i64,
) -> Result<bool> {
    let admins: i64 = tx
        .query(
            "select count(*) from account
             where organization_id = $1 and role = 'admin' and status = 'active' and id <> $2",
        )
        .bind(organization)
        .bind(than)
        .scalar()
        .await?;
    Ok(admins > 0)
}

/// Whether there is nobody yet.
pub(super) async fn is_empty(tx: &mut Tx, organization: OrganizationId) -> Result<bool> {
    let some: Option<(i64,)> = tx
        .query("select id from account where organization_id = $1 limit 1")
        .bind(organization)
        .optional()
        .await?;
    Ok(some.is_none())
}

pub(super) async fn linked(
    db: &Db,
    organization: OrganizationId,
    account: Option<i64>,
) -> Result<Vec<Linked>> {
    db.query(
        "select account_id, issuer, email, email_verified, signed_in_at from identity
         where organization_id = $1 and account_id = coalesce($2, account_id)
         order by id limit 2000",
    )
    .bind(organization)
    .bind(account)
    .all()
    .await
}

pub(super) async fn has_identity(tx: &mut Tx, account: i64) -> Result<bool> {
    let some: Option<(i64,)> = tx
        .query("select id from identity where account_id = $1 limit 1")
        .bind(account)
        .optional()
        .await?;
    Ok(some.is_some())
}

/// A known identity: its id, its account and the address it had.
#[derive(sqlx::FromRow)]
pub(super) struct Known {
    pub id: i64,
    pub account_id: i64,
    pub email: Option<String>,
}

pub(super) async fn known(
    tx: &mut Tx,
    organization: OrganizationId,
    identity: &Identity,
) -> Result<Option<Known>> {
    tx.query(
        "select id, account_id, email from identity
         where organization_id = $1 and issuer = $2 and subject = $3",
    )
    .bind(organization)
    .bind(identity.issuer.as_str())
    .bind(identity.subject.as_str())
    .optional()
    .await
}

/// Notes what the provider says now.
pub(super) async fn seen(tx: &mut Tx, id: i64, identity: &Identity) -> Result<()> {
    let now = tx.now().await?;
    tx.query("update identity set email = $2, email_verified = $3, signed_in_at = $4 where id = $1")
        .bind(id)
        .bind(identity.email.as_deref())
        .bind(identity.email_verified)
        .bind(now)
        .run()
        .await
        .map(drop)
}

pub(super) async fn link(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    identity: &Identity,
) -> Result<()> {
    let now = tx.now().await?;
    tx.query(
        "insert into identity
             (organization_id, account_id, issuer, subject, email, email_verified, created_at,
              signed_in_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(organization)
    .bind(account)
    .bind(identity.issuer.as_str())
    .bind(identity.subject.as_str())
    .bind(identity.email.as_deref())
    .bind(identity.email_verified)
    .bind(now)
    .run()
    .await
    .map(drop)
}
