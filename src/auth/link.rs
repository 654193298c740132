//! Links that work once: for the first administrator, for a sign-in without a provider, for an
//! invitation. Whoever has the link has what it gives, so each ends soon.

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::json;

use super::{
    OrganizationId, Role,
    account::{self, Account, Status},
    audit, invitation,
    secret::{self, hash},
    session::{self, Started},
};
use crate::{
    config::Config,
    db::{Db, Tx},
    error::{Error, Result},
};

/// How long a link that signs in can be used.
const LOGIN: TimeDelta = TimeDelta::minutes(15);
/// How long the link for the first administrator can be used.
const SETUP: TimeDelta = TimeDelta::hours(24);

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its user becomes the first administrator.
    Setup,
    /// Signs in as this account.
    Login {
        account: i64,
    },
    Invitation {
        invitation: i64,
    },
}

/// A link that can be used now.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub id: i64,
    pub organization_id: OrganizationId,
    pub purpose: Purpose,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    organization_id: OrganizationId,
    account_id: Option<i64>,
    invitation_id: Option<i64>,
}

/// A link as it is given away.
pub struct Made {
    pub token: SecretString,
    /// For how long.
    pub lasts: TimeDelta,
}

/// The address of a link. Without `public_url` it works on this host only.
pub fn url(config: &Config, token: &str) -> String {
    format!("{}/auth/link/{token}", address(config))
}

/// Where this Lux is reached, without a slash at its end.
pub fn address(config: &Config) -> String {
    match &config.public_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        // The port may have been chosen by the system.
        None => match std::fs::read_to_string(config.data_dir.join("address")) {
            Ok(address) => format!("http://{}", address.trim()),
            Err(_) => config.base_url(),
        },
    }
}

/// The link for the first administrator; refused where there is one.
pub async fn for_setup(db: &Db, organization: OrganizationId) -> Result<Made> {
    let mut tx = db.begin().await?;
    account::take_turn(&mut tx, organization).await?;
    if account::has_admin(&mut tx, organization).await? {
        return Err(Error::Conflict(
            "there is an administrator already: `lux login-link` signs in on this host, \
             `lux invite --role admin` invites another"
                .to_owned(),
        ));
    }
    let token = make(&mut tx, organization, Purpose::Setup, SETUP).await?;
    let detail = json!({ "purpose": "setup" });
    audit::write(&mut tx, organization, "command line", "link.create", "first admin", &detail)
        .await?;
    tx.commit().await?;
    Ok(Made { token, lasts: SETUP })
}

/// A link that signs in as an account; without one as the local administrator, who is made if
/// there is none.
pub async fn for_login(
    db: &Db,
    organization: OrganizationId,
    account: Option<&Account>,
) -> Result<(Made, Account)> {
    let mut tx = db.begin().await?;
    account::take_turn(&mut tx, organization).await?;
    let account = match account {
        Some(account) => account.clone(),
        None => account::local(&mut tx, organization).await?,
    };
    if account.status == Status::Disabled {
        return Err(Error::Conflict(format!(
            "the account {} ({}) is deactivated; activate it first, or choose another with \
             --account",
            account.id, account.name
        )));
    }
    let token = make(&mut tx, organization, Purpose::Login { account: account.id }, LOGIN).await?;
    let subject = account::subject(account.id);
    let detail = json!({ "purpose": "login", "name": account.name });
    audit::write(&mut tx, organization, "command line", "link.create", &subject, &detail).await?;
    tx.commit().await?;
    Ok((Made { token, lasts: LOGIN }, account))
}

pub(super) async fn make(
    tx: &mut Tx,
    organization: OrganizationId,
    purpose: Purpose,
    lasts: TimeDelta,
) -> Result<SecretString> {
    let token = secret::random()?;
    let now = tx.now().await?;
    let (name, account, invitation) = match purpose {
        Purpose::Setup => ("setup", None, None),
        Purpose::Login { account } => ("login", Some(account), None),
        Purpose::Invitation { invitation } => ("invitation", None, Some(invitation)),
    };
    tx.query(
        "insert into one_time_link
             (organization_id, purpose, hash, account_id, invitation_id, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(organization)
    .bind(name)
    .bind(hash(&token))
    .bind(account)
    .bind(invitation)
    .bind(now)
    .bind(now + lasts)
    .run()
    .await?;
    Ok(token.into())
}

/// The link of a token, if it can be used still.
pub(super) async fn usable(tx: &mut Tx, token: &str) -> Result<Option<Link>> {
    let row: Option<Row> = tx
        .query(
            "select id, organization_id, account_id, invitation_id from one_time_link
             where hash = $1 and used_at is null
               and expires_at > (select at from database_time)",
        )
        .bind(hash(token))
        .optional()
        .await?;
    Ok(row.map(|row| Link {
        id: row.id,
        organization_id: row.organization_id,
        purpose: match (row.account_id, row.invitation_id) {
            (Some(account), _) => Purpose::Login { account },
            (_, Some(invitation)) => Purpose::Invitation { invitation },
            _ => Purpose::Setup,
        },
    }))
}

/// Marks a link as used; an error if another was faster.
pub(super) async fn consume(tx: &mut Tx, link: i64) -> Result<()> {
    let used = tx
        .query(
            "update one_time_link set used_at = (select at from database_time)
             where id = $1 and used_at is null",
        )
        .bind(link)
        .run()
        .await?;
    if used == 1 { Ok(()) } else { Err(unusable()) }
}

/// What a link offers to whoever opens it; opening changes nothing.
pub async fn look(db: &Db, token: &str) -> Result<Link> {
    let mut tx = db.begin().await?;
    usable(&mut tx, token).await?.ok_or_else(unusable)
}

/// Uses a link without a provider: a session of the account that it signs in. `name` is how an
/// invited person wants to be called.
pub async fn take(
    db: &Db,
    token: &str,
    name: Option<&str>,
    new: session::New<'_>,
) -> Result<Started> {
    let link = look(db, token).await?;
    let organization = link.organization_id;
    let mut tx = db.begin().await?;
    account::take_turn(&mut tx, organization).await?;
    // Another may have used it meanwhile.
    let link = usable(&mut tx, token).await?.ok_or_else(unusable)?;
    consume(&mut tx, link.id).await?;
    let account = match link.purpose {
        Purpose::Setup => {
            if account::has_admin(&mut tx, organization).await? {
                return Err(unusable());
            }
            let account = account::local(&mut tx, organization).await?;
            account::make_admin(&mut tx, account).await?
        }
        Purpose::Login { account } => account::get(&mut tx, organization, account)
            .await?
            .filter(|account| account.status == Status::Active)
            .ok_or_else(unusable)?,
        Purpose::Invitation { invitation } => {
            invited(&mut tx, organization, invitation, name).await?
        }
    };
    // The audit log's last entry is what others wait for: it comes after all else.
    let started = session::start_in(&mut tx, &account, new).await?;
    let subject = account::subject(account.id);
    let detail = json!({ "purpose": format!("{:?}", link.purpose) });
    let who = audit::Actor { name: &account.name, address: new.address };
    audit::write(&mut tx, organization, who, "link.use", &subject, &detail).await?;
    tx.commit().await?;
    Ok(started)
}

/// The account of an invited person who has no provider.
async fn invited(
    tx: &mut Tx,
    organization: OrganizationId,
    invitation: i64,
    name: Option<&str>,
) -> Result<Account> {
    let invited = invitation::open(tx, organization, invitation).await?.ok_or_else(unusable)?;
    if let Some(key) = &invited.email_key
        && account::with_email(tx, organization, key).await?.is_some()
    {
        return Err(Error::Denied(
            "there is an account with the address of this invitation; sign in with that".to_owned(),
        ));
    }
    let name = name.and_then(account::name).or_else(|| invited.email.clone());
    let name = name.unwrap_or_else(|| format!("guest {invitation}"));
    let new = account::New {
        name: &name,
        email: invited.email.as_deref(),
        vouched: true,
        picture: None,
        role: invited.role,
    };
    let account = account::insert(tx, organization, &new).await?;
    invitation::accept(tx, organization, invitation, &account).await?;
    Ok(account)
}

/// One answer for all: who guesses learns nothing.
fn unusable() -> Error {
    Error::Denied(
        "this link cannot be used: it was used already, it is too old, or it is not whole; ask \
         for a new one"
            .to_owned(),
    )
}

/// Whether a role is one that a link can give.
pub(super) fn check_role(role: Role) -> Result<()> {
    if account::is_for_people(role) {
        return Ok(());
    }
    Err(Error::invalid("people are of role admin, operator or customer"))
}
