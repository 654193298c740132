//! Invitations: an account to be, given away as a link.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;

use super::{
    OrganizationId, Role,
    account::{self, Account, email_key},
    audit,
    link::{self, Made, Purpose},
};
use crate::{
    db::{Db, Tx},
    error::{Error, Result},
};

/// How long an invitation can be accepted.
const LASTS: TimeDelta = TimeDelta::days(7);

/// Invitations of an organization that are open at once.
const MOST: i64 = 500;

/// An invitation as it is listed: never its link.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Invitation {
    pub id: i64,
    pub role: Role,
    /// Whom it is for, if it is for somebody in particular.
    pub email: Option<String>,
    #[serde(skip)]
    pub email_key: Option<String>,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub accepted_at: Option<DateTime<Utc>>,
    /// The account that came of it.
    pub account_id: Option<i64>,
}

/// Invites. With an address the invitation is for nobody else; whom a provider vouches for with
/// that address needs no link.
pub async fn create(
    db: &Db,
    organization: OrganizationId,
    by: impl Into<audit::Actor<'_>>,
    role: Role,
    email: Option<&str>,
) -> Result<(Invitation, Made)> {
    let by: audit::Actor<'_> = by.into();
    link::check_role(role)?;
    let key = match email {
        Some(email) => Some(email_key(email).ok_or_else(|| {
            Error::invalid("email is no e-mail address; write one like ada@example.com")
        })?),
        None => None,
    };
    let mut tx = db.begin().await?;
    account::take_turn(&mut tx, organization).await?;
    if let Some(key) = &key
        && let Some(account) = account::with_email(&mut tx, organization, key).await?
    {
        return Err(Error::Conflict(format!(
            "there is an account with that address: {} ({})",
            account.id, account.name
        )));
    }
    let open: i64 = tx
        .query(
            "select count(*) from invitation
             where organization_id = $1 and accepted_at is null
               and expires_at > (select at from database_time)",
        )
        .bind(organization)
        .scalar()
        .await?;
    if open >= MOST {
        return Err(Error::Conflict(format!(
            "{MOST} invitations are open; withdraw some before you make another"
        )));
    }
    let now = tx.now().await?;
    let made: Invitation = tx
        .query(
            "insert into invitation
                 (organization_id, role, email, email_key, made_by, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             returning id, role, email, email_key, made_by, created_at, expires_at, accepted_at,
                       account_id",
        )
        .bind(organization)
        .bind(role)
        .bind(email.map(str::trim))
        .bind(key)
        .bind(by.name)
        .bind(now)
        .bind(now + LASTS)
        .one()
        .await?;
    let purpose = Purpose::Invitation { invitation: made.id };
    let token = link::make(&mut tx, organization, purpose, LASTS).await?;
    let detail = json!({ "role": role, "email": made.email });
    audit::write(&mut tx, organization, by, "invitation.create", &subject(made.id), &detail)
        .await?;
    tx.commit().await?;
    Ok((made, Made { token, lasts: LASTS }))
}

/// The newest 500, accepted ones included.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Invitation>> {
    Ok(db
        .query(
            "select id, role, email, email_key, made_by, created_at, expires_at, accepted_at,
                    account_id
             from invitation where organization_id = $1 order by id desc limit 500",
        )
        .bind(organization)
        .all()
        .await?)
}

/// Takes an invitation back; its link is of no use any more.
pub async fn withdraw(
    db: &Db,
    organization: OrganizationId,
    by: impl Into<audit::Actor<'_>>,
    invitation: i64,
) -> Result<()> {
    let mut tx = db.begin().await?;
    account::take_turn(&mut tx, organization).await?;
    let gone = tx
        .query(
            "delete from invitation
             where organization_id = $1 and id = $2 and accepted_at is null",
        )
        .bind(organization)
        .bind(invitation)
        .run()
        .await?;
    if gone == 0 {
        return Err(Error::NotFound("invitation (or it was accepted)"));
    }
    let to = subject(invitation);
    audit::write(&mut tx, organization, by, "invitation.withdraw", &to, &json!({})).await?;
    Ok(tx.commit().await?)
}

fn subject(invitation: i64) -> String {
    format!("invitation {invitation}")
}

/// An invitation that can be accepted.
pub(super) async fn open(
    tx: &mut Tx,
    organization: OrganizationId,
    invitation: i64,
) -> Result<Option<Invitation>> {
    Ok(tx
        .query(
            "select id, role, email, email_key, made_by, created_at, expires_at, accepted_at,
                    account_id
             from invitation
             where organization_id = $1 and id = $2 and accepted_at is null
               and expires_at > (select at from database_time)",
        )
        .bind(organization)
        .bind(invitation)
        .optional()
        .await?)
}

/// The invitation of somebody who comes with the link of `carried`, or with a verified address:
/// one that is for an address is for that one only.
pub(super) async fn fitting(
    tx: &mut Tx,
    organization: OrganizationId,
    carried: Option<i64>,
    key: Option<&str>,
) -> Result<Option<Invitation>> {
    if let Some(carried) = carried
        && let Some(invitation) = open(tx, organization, carried).await?
        && invitation.email_key.as_deref().is_none_or(|wanted| Some(wanted) == key)
    {
        return Ok(Some(invitation));
    }
    let Some(key) = key else { return Ok(None) };
    Ok(tx
        .query(
            "select id, role, email, email_key, made_by, created_at, expires_at, accepted_at,
                    account_id
             from invitation
             where organization_id = $1 and email_key = $2 and accepted_at is null
               and expires_at > (select at from database_time)
             order by id desc limit 1",
        )
        .bind(organization)
        .bind(key)
        .optional()
        .await?)
}

/// Notes who came of an invitation; its link is used up.
pub(super) async fn accept(
    tx: &mut Tx,
    organization: OrganizationId,
    invitation: i64,
    account: &Account,
) -> Result<()> {
    let accepted = tx
        .query(
            "update invitation set accepted_at = (select at from database_time), account_id = $2
             where id = $1 and accepted_at is null",
        )
        .bind(invitation)
        .bind(account.id)
        .run()
        .await?;
    if accepted == 0 {
        return Err(Error::Conflict("the invitation was accepted meanwhile".to_owned()));
    }
    tx.query(
        "update one_time_link set used_at = (select at from database_time)
         where invitation_id = $1 and used_at is null",
    )
    .bind(invitation)
    .run()
    .await?;
    let detail = json!({ "account": account.id, "role": account.role });
    let to = subject(invitation);
    Ok(audit::write(tx, organization, &account.name, "invitation.accept", &to, &detail).await?)
}
