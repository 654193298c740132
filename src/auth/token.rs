//! API tokens: 256 random bits, shown once, kept as their SHA-256.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;

use super::{
    Caller, OrganizationId, Role, Who, audit,
    remembered::{Callers, Remembered},
    secret::{self, hash},
};
use crate::{
    clock,
    db::{Db, Tx},
    error::{Error, Result},
};

/// The longest that a token made by the server is good for, in days; `lux token create` makes
/// others.
pub const MAX_DAYS: u16 = 365;

/// Without another wish.
pub const DEFAULT_DAYS: u16 = 90;

/// How long a token lives that somebody asks the server for.
pub fn lifetime(days: Option<u16>) -> Result<TimeDelta> {
    let days = days.unwrap_or(DEFAULT_DAYS);
    if !(1..=MAX_DAYS).contains(&days) {
        let detail = "expires_in_days is 1 to 365; `lux token create` on the host makes others";
        return Err(Error::invalid(detail));
    }
    Ok(TimeDelta::days(days.into()))
}

/// A token as it is listed: never the token itself.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = ListedToken)]
pub struct Listed {
    pub id: i64,
    pub name: String,
    pub role: Role,
    /// Its first characters.
    pub prefix: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A token that was just made; it cannot be shown again.
#[derive(Debug)]
pub struct Made {
    pub token: SecretString,
    pub listed: Listed,
}

/// Makes a token at somebody's wish, which the audit log keeps.
pub async fn make(
    db: &Db,
    organization: OrganizationId,
    actor: impl Into<audit::Actor<'_>>,
    role: Role,
    name: &str,
    lifetime: Option<TimeDelta>,
) -> Result<Made> {
    let mut tx = db.begin().await?;
    let made = insert(&mut tx, organization, role, name, lifetime).await?;
    let detail =
        json!({ "name": made.listed.name, "role": role, "expires_at": made.listed.expires_at });
    let subject = subject(made.listed.id);
    audit::write(&mut tx, organization, actor, "token.create", &subject, &detail).await?;
    tx.commit().await?;
    Ok(made)
}

fn subject(id: i64) -> String {
    format!("token {id}")
}

/// Makes a token for Lux's own commands.
pub async fn create(
    db: &Db,
    organization: OrganizationId,
    role: Role,
    name: &str,
    lifetime: Option<TimeDelta>,
) -> Result<String> {
    let mut tx = db.begin().await?;
    let made = insert(&mut tx, organization, role, name, lifetime).await?;
    tx.commit().await?;
    Ok(made.token.expose_secret().to_owned())
}

async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    role: Role,
    name: &str,
    lifetime: Option<TimeDelta>,
) -> Result<Made> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return Err(Error::invalid("a token needs a name of 1 to 100 characters in one line"));
    }
    if role == Role::Customer {
        return Err(Error::invalid("a token is of role admin, operator, ingest or read"));
    }
    let token = format!("lux_{}", secret::random()?);
    let now = clock::now();
    let expires_at = lifetime.map(|lifetime| now.checked_add_signed(lifetime));
    let Some(expires_at) = expires_at.map_or(Some(None), |at| at.map(Some)) else {
        return Err(Error::invalid("the token would outlive the calendar; let it end earlier"));
    };
    let listed = tx
        .query(
            "insert into api_token
                 (organization_id, name, role, prefix, hash, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             returning id, name, role, prefix, created_at, expires_at, last_used_at, revoked_at",
        )
        .bind(organization)
        .bind(name)
        .bind(role)
        .bind(&token[..10])
        .bind(hash(&token))
        .bind(now)
        .bind(expires_at)
        .one()
        .await?;
    Ok(Made { token: token.into(), listed })
}

/// The newest 500 tokens, revoked ones included.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Listed>> {
    Ok(db
        .query(
            "select id, name, role, prefix, created_at, expires_at, last_used_at, revoked_at
             from api_token where organization_id = $1 order by id desc limit 500",
        )
        .bind(organization)
        .all()
        .await?)
}

/// Ends a token; servers notice within [`CACHED`].
pub async fn revoke(
    db: &Db,
    organization: OrganizationId,
    actor: impl Into<audit::Actor<'_>>,
    id: i64,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let changed = tx
        .query(
            "update api_token set revoked_at = $3
             where organization_id = $1 and id = $2 and revoked_at is null",
        )
        .bind(organization)
        .bind(id)
        .bind(clock::now())
        .run()
        .await?;
    if changed == 0 {
        return Err(Error::NotFound("token (or it is revoked already)"));
    }
    audit::write(&mut tx, organization, actor, "token.revoke", &subject(id), &json!({})).await?;
    Ok(tx.commit().await?)
}

/// Removes tokens that ended before `before`, at most 500 at once; for the short-lived
/// ones that the command line makes for itself.
pub async fn forget_expired(db: &Db, before: DateTime<Utc>) -> Result<()> {
    db.query(
        "delete from api_token where id in
             (select id from api_token where expires_at < $1 order by expires_at limit 500)",
    )
    .bind(before)
    .run()
    .await?;
    Ok(())
}

/// Whether nobody could administer this instance by token.
pub async fn lacks_admin(db: &Db, organization: OrganizationId) -> Result<bool> {
    let admins: i64 = db
        .query(
            "select count(*) from api_token
             where organization_id = $1 and role = 'admin' and revoked_at is null
               and (expires_at > $2 or expires_at is null)",
        )
        .bind(organization)
        .bind(clock::now())
        .scalar()
        .await?;
    Ok(admins == 0)
}

/// How long a server goes on believing a token without asking the database.
pub const CACHED: Duration = Duration::from_secs(2);

#[derive(sqlx::FromRow)]
struct Known {
    id: i64,
    organization_id: OrganizationId,
    name: String,
    role: Role,
    last_used_at: Option<DateTime<Utc>>,
}

/// Recognises tokens, asking the database at most once in [`CACHED`] for each.
#[derive(Debug)]
pub struct Tokens(Callers);

impl Default for Tokens {
    fn default() -> Self {
        Self(Callers::believed_for(CACHED))
    }
}

impl Tokens {
    pub fn remembered(&self, token: &str) -> Remembered {
        self.0.find(&hash(token))
    }

    /// Ends a token: here at once, on other servers within [`CACHED`].
    pub async fn revoke(
        &self,
        db: &Db,
        organization: OrganizationId,
        actor: impl Into<audit::Actor<'_>>,
        id: i64,
    ) -> Result<()> {
        revoke(db, organization, actor, id).await?;
        self.0.forget_all(|who| who == Who::Token(id));
        Ok(())
    }

    /// Asks the database; `None` for an unknown, expired or revoked token.
    pub async fn recognise(&self, db: &Db, token: &str) -> Result<Option<Caller>> {
        let (hash, asked, now) = (hash(token), clock::instant(), clock::now());
        let known: Option<Known> = db
            .query(
                "select id, organization_id, name, role, last_used_at from api_token
                 where hash = $1 and revoked_at is null and (expires_at > $2 or expires_at is null)",
            )
            .bind(hash.as_str())
            .bind(now)
            .optional()
            .await?;
        let Some(known) = known else {
            self.0.learn(hash, None, asked);
            return Ok(None);
        };
        // A minute's precision is enough, and keeps reads from becoming writes.
        if known.last_used_at.is_none_or(|at| now - at > TimeDelta::minutes(1)) {
            let noted = db
                .query("update api_token set last_used_at = $2 where id = $1")
                .bind(known.id)
                .bind(now)
                .run()
                .await;
            if let Err(error) = noted {
                tracing::debug!(%error, "the time of a token's last use was not noted");
            }
        }
        let caller = Caller {
            organization: known.organization_id,
            role: known.role,
            who: Who::Token(known.id),
            name: known.name,
            address: None,
        };
        self.0.learn(hash, Some(&caller), asked);
        Ok(Some(caller))
    }
}
