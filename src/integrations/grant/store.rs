//! The statements about consents. Leases are compared with the database's clock.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Status, TROUBLED};
use crate::{
    auth::OrganizationId,
    clock,
    db::{Db, Result, Tx},
};

/// A failure of the same cause counts once in this time.
const SAME: TimeDelta = TimeDelta::minutes(10);

/// How often it is written down that a consent is used.
const USED: TimeDelta = TimeDelta::minutes(1);

/// Consents that are looked at in one round.
const STEP: i64 = 50;

/// What a call needs to know.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::integrations) struct Held {
    pub row_name: String,
    pub provider: String,
    pub access_sealed: Option<String>,
    pub can_refresh: bool,
    pub expires_at: Option<DateTime<Utc>>,
    pub status: Status,
    pub last_error: Option<String>,
    pub version: i64,
    pub try_again_at: Option<DateTime<Utc>>,
    pub refresh_began_at: Option<DateTime<Utc>>,
}

pub(super) async fn held(db: &Db, id: i64) -> Result<Option<Held>> {
    db.query(
        "select row_name, provider, access_sealed,
             case when refresh_sealed is null then false else true end as can_refresh, expires_at,
             status, last_error, version, try_again_at, refresh_began_at
         from oauth_grant where id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// Takes the right to refresh what has this version, and reads the refresh token only then.
pub(super) async fn lease(
    db: &Db,
    id: i64,
    version: i64,
    owner: &str,
    lasts: TimeDelta,
) -> Result<Option<String>> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    let sealed: Option<(String,)> = tx
        .query(
            "update oauth_grant
             set lease_owner = $3, lease_until = $4, refresh_began_at = $5
             where id = $1 and version = $2 and (lease_until is null or lease_until < $5)
                 and refresh_sealed is not null and status in ('active', 'error')
             returning refresh_sealed",
        )
        .bind(id)
        .bind(version)
        .bind(owner)
        .bind(now + lasts)
        .bind(now)
        .optional()
        .await?;
    tx.commit().await?;
    Ok(sealed.map(|(sealed,)| sealed))
}

/// New tokens, sealed.
pub(super) struct Renewed<'a> {
    pub access: &'a str,
    /// `None` where the one before stays.
    pub refresh: Option<&'a str>,
    pub expires_at: Option<DateTime<Utc>>,
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// `None` where nothing was said of them.
    pub scopes: Option<&'a str>,
}

/// Keeps them, if the lease was not lost and nobody connected anew meanwhile.
pub(super) async fn renewed(
    db: &Db,
    id: i64,
    version: i64,
    owner: &str,
    new: &Renewed<'_>,
) -> Result<bool> {
    let kept = db
        .query(
            "update oauth_grant
             set access_sealed = $4, refresh_sealed = coalesce($5, refresh_sealed),
                 expires_at = $6, refresh_expires_at = coalesce($7, refresh_expires_at),
                 granted_scopes = coalesce($8, granted_scopes), version = version + 1,
                 lease_owner = null, lease_until = null, refresh_began_at = null,
                 refreshed_at = $9, try_again_at = null, status = 'active', error_count = 0,
                 last_error = null
             where id = $1 and version = $2 and lease_owner = $3",
        )
        .bind(id)
        .bind(version)
        .bind(owner)
        .bind(new.access)
        .bind(new.refresh)
        .bind(new.expires_at)
        .bind(new.refresh_expires_at)
        .bind(new.scopes)
        .bind(clock::now())
        .run()
        .await?;
    Ok(kept > 0)
}

/// Gives the lease back with the tokens as they were.
pub(super) async fn not_renewed(
    db: &Db,
    id: i64,
    version: i64,
    owner: &str,
    why: &str,
    again_at: DateTime<Utc>,
    is_error: bool,
) -> Result<()> {
    let now = clock::now();
    db.query(
        "update oauth_grant
         set lease_owner = null, lease_until = null, refresh_began_at = null, try_again_at = $4,
             error_count = case when last_error = $5 and last_error_at > $6 then error_count
                                else error_count + 1 end,
             status = case when $7 or error_count + 1 >= $8 then 'error' else status end,
             last_error = $5, last_error_at = $9
         where id = $1 and version = $2 and lease_owner = $3",
    )
    .bind(id)
    .bind(version)
    .bind(owner)
    .bind(again_at)
    .bind(why)
    .bind(now - SAME)
    .bind(is_error)
    .bind(TROUBLED)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// The provider does not stand by it any more, or nothing can renew it. Only what has the version
/// that failed: who connected anew meanwhile is not touched.
pub(in crate::integrations) async fn ended(
    db: &Db,
    id: i64,
    version: i64,
    status: Status,
    why: &str,
) -> Result<()> {
    db.query(
        "update oauth_grant
         set status = $3, access_sealed = null, refresh_sealed = null, lease_owner = null,
             lease_until = null, refresh_began_at = null, last_error = $4, last_error_at = $5,
             error_count = error_count + 1, version = version + 1
         where id = $1 and version = $2",
    )
    .bind(id)
    .bind(version)
    .bind(status)
    .bind(why)
    .bind(clock::now())
    .run()
    .await
    .map(drop)
}

/// A call went well.
pub(in crate::integrations) async fn used(db: &Db, id: i64) -> Result<()> {
    let now = clock::now();
    db.query(
        "update oauth_grant
         set used_at = $2, error_count = 0, last_error = null,
             status = case when status = 'error' then 'active' else status end
         where id = $1 and (used_at is null or used_at < $3 or error_count > 0)",
    )
    .bind(id)
    .bind(now)
    .bind(now - USED)
    .run()
    .await
    .map(drop)
}

/// A call failed for a reason that is the connection's.
pub(in crate::integrations) async fn failed(db: &Db, id: i64, why: &str) -> Result<()> {
    let now = clock::now();
    db.query(
        "update oauth_grant
         set error_count = case when last_error = $2 and last_error_at > $3 then error_count
                                else error_count + 1 end,
             status = case when status = 'active' and error_count + 1 >= $4
                                and not (last_error = $2 and last_error_at > $3) then 'error'
                           else status end,
             last_error_at = case when last_error = $2 and last_error_at > $3 then last_error_at
                                  else $5 end,
             last_error = $2
         where id = $1",
    )
    .bind(id)
    .bind(why)
    .bind(now - SAME)
    .bind(TROUBLED)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Consents whose token ends before `until`, and that nobody sees to.
pub(super) async fn due(db: &Db, until: DateTime<Utc>) -> Result<Vec<i64>> {
    let now = clock::now();
    let due: Vec<(i64,)> = db
        .query(
            "select g.id from oauth_grant g
             where g.refresh_sealed is not null and g.status in ('active', 'error')
                 and g.expires_at < $1 and (g.try_again_at is null or g.try_again_at < $2)
                 and (g.lease_until is null or g.lease_until < $2)
             order by g.expires_at limit $3",
        )
        .bind(until)
        .bind(now)
        .bind(STEP)
        .all()
        .await?;
    Ok(due.into_iter().map(|(id,)| id).collect())
}

/// A consent that was just given, tokens sealed.
pub(in crate::integrations) struct New<'a> {
    pub organization: OrganizationId,
    pub account: i64,
    pub row_name: &'a str,
    pub provider: &'a str,
    pub access: &'a str,
    pub refresh: Option<&'a str>,
    pub expires_at: Option<DateTime<Utc>>,
    pub refresh_expires_at: Option<DateTime<Utc>>,
    pub scopes: &'a str,
    pub identity: &'a super::super::provider::Identity,
    /// Where it serves, if there is one place only, or the one from before is still there.
    pub place: Option<&'a super::super::provider::Place>,
    pub places: String,
    pub details: String,
}

/// The name by which an identity's tokens are sealed, if it has consented before, and where it
/// served.
pub(in crate::integrations) async fn known(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    provider: &str,
    external_id: &str,
) -> Result<Option<(String, Option<String>)>> {
    tx.query(
        "select row_name, place_id from oauth_grant
         where organization_id = $1 and account_id = $2 and provider = $3 and external_id = $4",
    )
    .bind(organization)
    .bind(account)
    .bind(provider)
    .bind(external_id)
    .optional()
    .await
}

/// Stores it, in the place of what the identity had consented to before; its id.
pub(in crate::integrations) async fn put(tx: &mut Tx, new: &New<'_>) -> Result<i64> {
    tx.query(
        "insert into oauth_grant (organization_id, account_id, row_name, provider, access_sealed,
             refresh_sealed, expires_at, refresh_expires_at, granted_scopes, external_id, username,
             email, avatar_url, name, place_id, place_name, place_url, places, details,
             refreshed_at, consented_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $20)
         on conflict (organization_id, account_id, provider, external_id) do update
         set access_sealed = excluded.access_sealed,
             refresh_sealed = coalesce(excluded.refresh_sealed, oauth_grant.refresh_sealed),
             expires_at = excluded.expires_at,
             refresh_expires_at = excluded.refresh_expires_at,
             granted_scopes = excluded.granted_scopes, username = excluded.username,
             email = excluded.email, avatar_url = excluded.avatar_url, name = excluded.name,
             place_id = excluded.place_id, place_name = excluded.place_name,
             place_url = excluded.place_url, places = excluded.places,
             details = excluded.details, status = 'active', last_error = null,
             last_error_at = null, error_count = 0, version = oauth_grant.version + 1,
             lease_owner = null, lease_until = null, refresh_began_at = null,
             refreshed_at = excluded.refreshed_at, try_again_at = null,
             consented_at = excluded.consented_at
         where oauth_grant.row_name = excluded.row_name
         returning id",
    )
    .bind(new.organization)
    .bind(new.account)
    .bind(new.row_name)
    .bind(new.provider)
    .bind(new.access)
    .bind(new.refresh)
    .bind(new.expires_at)
    .bind(new.refresh_expires_at)
    .bind(new.scopes)
    .bind(new.identity.id.as_str())
    .bind(new.identity.username.as_deref())
    .bind(new.identity.email.as_deref())
    .bind(new.identity.avatar_url.as_deref())
    .bind(new.identity.name.as_deref())
    .bind(new.place.map(|place| place.id.as_str()))
    .bind(new.place.map(|place| place.name.as_str()))
    .bind(new.place.and_then(|place| place.url.as_deref()))
    .bind(new.places.as_str())
    .bind(new.details.as_str())
    .bind(clock::now())
    .scalar()
    .await
}

/// The tokens of a consent that nobody needs any more, which are taken away.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::integrations) struct Given {
    pub row_name: String,
    pub provider: String,
    pub access_sealed: Option<String>,
    pub refresh_sealed: Option<String>,
}

/// Takes a consent's tokens out of the database, unless something connected still rests on it.
pub(in crate::integrations) async fn give_back(
    tx: &mut Tx,
    id: i64,
    why: &str,
) -> Result<Option<Given>> {
    let given: Option<Given> = tx
        .query(
            "select row_name, provider, access_sealed, refresh_sealed from oauth_grant g
             where id = $1 and not exists (select 1 from integration i
                                           where i.grant_id = g.id and i.is_connected)",
        )
        .bind(id)
        .optional()
        .await?;
    if given.is_some() {
        tx.query(
            "update oauth_grant
             set access_sealed = null, refresh_sealed = null, status = 'revoked',
                 last_error = $2, version = version + 1, lease_owner = null, lease_until = null,
                 refresh_began_at = null
             where id = $1",
        )
        .bind(id)
        .bind(why)
        .run()
        .await?;
    }
    Ok(given)
}

/// Where a consent serves from now on.
pub(in crate::integrations) async fn set_place(
    tx: &mut Tx,
    id: i64,
    place: &super::super::provider::Place,
) -> Result<()> {
    tx.query("update oauth_grant set place_id = $2, place_name = $3, place_url = $4 where id = $1")
        .bind(id)
        .bind(place.id.as_str())
        .bind(place.name.as_str())
        .bind(place.url.as_deref())
        .run()
        .await
        .map(drop)
}
