//! Accounts: people, by what vouches for them, with their role.

mod arrive;
mod email;
mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{OrganizationId, Role, audit, session};
use crate::{
    db::{Db, Tx},
    error::{Error, Result},
};

pub use arrive::{Arrived, Carried, Identity, Refusal, arrive};
pub use email::key as email_key;
pub(super) use store::{New, has_admin, insert, local};
pub(crate) use store::{get, take_turn, with_email};

/// Whether an account may be used.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[schema(as = AccountStatus)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    Active,
    /// Nobody signs in with it; it is kept for what it did.
    Disabled,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// A person.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Account {
    pub id: i64,
    #[serde(skip)]
    pub organization_id: OrganizationId,
    pub name: String,
    /// As it was written.
    pub email: Option<String>,
    /// An https address of a picture; shown to nobody's browser by Lux itself.
    pub picture: Option<String>,
    pub role: Role,
    pub status: Status,
    /// Goes up with each change of role or status.
    pub version: i64,
    pub created_at: DateTime<Utc>,
    /// When a session of theirs last began.
    pub signed_in_at: Option<DateTime<Utc>>,
}

/// What a provider knows an account by, as it is shown.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Linked {
    #[serde(skip)]
    pub account_id: i64,
    pub issuer: String,
    /// As the provider said last.
    pub email: Option<String>,
    pub email_verified: bool,
    pub signed_in_at: DateTime<Utc>,
}

/// A person with what vouches for them.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ShownAccount)]
pub struct Shown {
    #[serde(flatten)]
    pub account: Account,
    pub providers: Vec<Linked>,
}

/// The longest name, in characters.
const MAX_NAME: usize = 100;

/// A name as it is kept: one line, not too long; `None` if nothing is left.
pub(crate) fn name(text: &str) -> Option<String> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect();
    let name: String = words.join(" ").chars().take(MAX_NAME).collect();
    (!name.is_empty()).then_some(name)
}

/// How the audit log names an account.
pub(crate) fn subject(account: i64) -> String {
    format!("account {account}")
}

/// The first 500 accounts.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Account>> {
    Ok(store::list(db, organization).await?)
}

/// One account; of another organization there is none.
pub async fn find(db: &Db, organization: OrganizationId, account: i64) -> Result<Account> {
    store::find(db, organization, account).await?.ok_or(Error::NotFound("account"))
}

/// The account with an address that somebody vouched for.
pub async fn find_by_email(db: &Db, organization: OrganizationId, text: &str) -> Result<Account> {
    let key = email_key(text)
        .ok_or_else(|| Error::Invalid(format!("\"{text}\" is no e-mail address")))?;
    let mut tx = db.begin().await?;
    with_email(&mut tx, organization, &key).await?.ok_or(Error::NotFound("account"))
}

/// What the accounts are linked with: those of one, or of all.
pub async fn linked(
    db: &Db,
    organization: OrganizationId,
    account: Option<i64>,
) -> Result<Vec<Linked>> {
    Ok(store::linked(db, organization, account).await?)
}

/// The first 500 accounts, each with what it is linked with.
pub async fn shown(db: &Db, organization: OrganizationId) -> Result<Vec<Shown>> {
    let mut linked = linked(db, organization, None).await?;
    let shown = |account: Account| {
        let of_account = |linked: &mut Linked| linked.account_id == account.id;
        Shown { providers: linked.extract_if(.., of_account).collect(), account }
    };
    Ok(list(db, organization).await?.into_iter().map(shown).collect())
}

/// What is to be changed. `version` is the one that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub role: Option<Role>,
    pub status: Option<Status>,
    pub version: i64,
}

/// Changes role or status. A disabled account's sessions end in the same moment. There is always
/// an active administrator left.
pub async fn change(
    db: &Db,
    organization: OrganizationId,
    by: impl Into<audit::Actor<'_>>,
    account: i64,
    change: Change,
) -> Result<Account> {
    let mut tx = db.begin().await?;
    let is = change_in(&mut tx, organization, by, account, change).await?;
    tx.commit().await?;
    Ok(is)
}

/// The same as the last part of what else happens; what is in `tx` stands only if this does.
pub(crate) async fn change_in(
    tx: &mut Tx,
    organization: OrganizationId,
    by: impl Into<audit::Actor<'_>>,
    account: i64,
    change: Change,
) -> Result<Account> {
    if change.role.is_some_and(|role| !is_for_people(role)) {
        return Err(Error::invalid("an account is of role admin, operator or customer"));
    }
    take_turn(tx, organization).await?;
    let was = store::get(tx, organization, account).await?;
    let was = was.ok_or(Error::NotFound("account"))?;
    if was.version != change.version {
        return Err(Error::Conflict(format!(
            "the account was changed meanwhile (it is at version {}); look at it again",
            was.version
        )));
    }
    let role = change.role.unwrap_or(was.role);
    let status = change.status.unwrap_or(was.status);
    let is_admin = |role, status| role == Role::Admin && status == Status::Active;
    if is_admin(was.role, was.status)
        && !is_admin(role, status)
        && !store::has_other_admin(tx, organization, account).await?
    {
        return Err(Error::Conflict(
            "this is the last active administrator; make another account one first".to_owned(),
        ));
    }
    if (role, status) == (was.role, was.status) {
        return Ok(was);
    }
    let is = store::set(tx, organization, account, role, status).await?;
    let ended = if status == Status::Disabled { session::end_all(tx, account).await? } else { 0 };
    let detail = json!({
        "name": was.name,
        "role": [was.role, role],
        "status": [was.status, status],
        "sessions_ended": ended,
    });
    audit::write(&mut *tx, organization, by, "account.change", &subject(account), &detail).await?;
    Ok(is)
}

/// Calls a person by another name. The caller notes it in the audit log.
pub(crate) async fn rename(tx: &mut Tx, account: &Account, to: &str) -> Result<()> {
    let to = name(to).ok_or_else(|| Error::invalid("name: is empty; write one"))?;
    Ok(store::rename(tx, account.organization_id, account.id, &to).await?)
}

/// Makes sure that the local account may administer, whatever was changed about it.
pub(super) async fn make_admin(tx: &mut Tx, account: Account) -> Result<Account> {
    if (account.role, account.status) == (Role::Admin, Status::Active) {
        return Ok(account);
    }
    let (organization, id) = (account.organization_id, account.id);
    Ok(store::set(tx, organization, id, Role::Admin, Status::Active).await?)
}

/// Tokens have roles that people do not.
pub(super) const fn is_for_people(role: Role) -> bool {
    matches!(role, Role::Admin | Role::Operator | Role::Customer)
}

/// Whether somebody may administer this instance in a browser.
pub async fn lacks_admin(db: &Db, organization: OrganizationId) -> Result<bool> {
    let mut tx: Tx = db.begin().await?;
    Ok(!has_admin(&mut tx, organization).await?)
}
