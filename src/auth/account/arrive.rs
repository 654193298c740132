//! Whose account it is that a provider vouches for. An account is known by issuer and subject;
//! an address links only what nobody else could have claimed before.

use std::net::IpAddr;

use serde_json::json;

use super::{
    Account, New, OrganizationId, Role, Status, email, has_admin, insert, name, store, subject,
    take_turn, with_email,
};
use crate::{
    auth::{
        audit, invitation,
        link::{self, Link, Purpose},
        session,
    },
    config::{SignIn, Signup},
    db::{Db, Tx},
    error::{Error, Result},
};

/// What a provider vouches for.
#[derive(Clone, Debug)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
    pub email: Option<String>,
    /// Only if the provider said so with a boolean.
    pub email_verified: bool,
    pub name: Option<String>,
    /// Kept if it is an https address.
    pub picture: Option<String>,
}

/// What came along from the start of the sign-in.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// The signed-in account that asked to be linked. The caller sees to it that its session is
    /// fresh ([`session::is_fresh`]).
    pub linking: Option<i64>,
    /// The token of a one-time link that was open when the sign-in began.
    pub link_token: Option<String>,
    /// Where the request comes from, for the audit log.
    pub address: Option<IpAddr>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub enum Arrived {
    SignedIn(Account),
    Refused(Refusal),
}

/// Why nobody was signed in. Each is shown to the person, with what they can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "Nobody here knows this account yet. Ask an administrator of this Lux for an invitation, \
         or open the link of the one that you have"
    )]
    NotInvited,
    #[error(
        "This Lux has no administrator yet. Open the set-up link that it printed at its first \
         start; `lux setup-link` on its host makes another"
    )]
    NotSetUp,
    #[error("This account was deactivated. An administrator of this Lux can activate it again")]
    Disabled,
    #[error(
        "There is an account with this e-mail address that signs in another way. Sign in that \
         way first, and then link this one from your account"
    )]
    LinkFirst,
    #[error(
        "This sign-in belongs to another account already. Sign out and sign in with it to use \
         that account"
    )]
    Taken,
}

/// The longest subject and issuer, in bytes.
const MAX_ID: usize = 1000;

/// Finds, links or makes the account, all in one transaction in which no other account of the
/// organization is made: of many who arrive at once with one set-up link one is let in.
pub async fn arrive(
    db: &Db,
    organization: OrganizationId,
    identity: &Identity,
    carried: &Carried,
    config: &SignIn,
) -> Result<Arrived> {
    let (issuer, sub) = (&identity.issuer, &identity.subject);
    if [issuer, sub].iter().any(|id| id.is_empty() || id.len() > MAX_ID || id.contains('\0')) {
        return Err(Error::invalid("the provider named nobody: its subject is empty or too long"));
    }
    let identity = &cleaned(identity);
    let mut tx = db.begin().await?;
    take_turn(&mut tx, organization).await?;
    let link = match &carried.link_token {
        Some(token) => {
            link::usable(&mut tx, token).await?.filter(|link| link.organization_id == organization)
        }
        None => None,
    };
    let mut desk = Desk { tx: &mut tx, organization, identity, config, address: carried.address };
    let arrived = match desk.decide(carried.linking, link).await? {
        Ok(account) if account.status == Status::Active => Arrived::SignedIn(account),
        Ok(account) => {
            session::end_all(&mut tx, account.id).await?;
            Arrived::Refused(Refusal::Disabled)
        }
        Err(refusal) => Arrived::Refused(refusal),
    };
    if let Arrived::Refused(refusal) = arrived {
        let who = format!("{} of {}", identity.subject, identity.issuer);
        let detail = json!({ "why": format!("{refusal:?}"), "email": identity.email });
        let nobody = audit::Actor { name: "nobody", address: carried.address };
        audit::write(&mut tx, organization, nobody, "sign_in.refuse", &who, &detail).await?;
    }
    tx.commit().await?;
    Ok(arrived)
}

/// Without what a database cannot hold, or is of no use.
fn cleaned(identity: &Identity) -> Identity {
    let email = identity.email.as_deref().filter(|email| email::key(email).is_some());
    let picture = identity.picture.as_deref();
    let picture = picture.filter(|url| {
        url.len() <= 2000 && url::Url::parse(url).is_ok_and(|url| url.scheme() == "https")
    });
    Identity {
        email_verified: identity.email_verified && email.is_some(),
        email: email.map(|email| email.trim().to_owned()),
        name: identity.name.as_deref().and_then(name),
        picture: picture.map(str::to_owned),
        ..identity.clone()
    }
}

struct Desk<'a> {
    tx: &'a mut Tx,
    organization: OrganizationId,
    identity: &'a Identity,
    config: &'a SignIn,
    address: Option<IpAddr>,
}

impl Desk<'_> {
    /// The account, which may turn out to be disabled.
    async fn decide(
        &mut self,
        linking: Option<i64>,
        link: Option<Link>,
    ) -> Result<Result<Account, Refusal>> {
        if let Some(known) = store::known(self.tx, self.organization, self.identity).await? {
            return match linking {
                Some(account) if account != known.account_id => Ok(Err(Refusal::Taken)),
                _ => Ok(Ok(self.known(known, link).await?)),
            };
        }
        if let Some(account) = linking {
            return Ok(Ok(self.link_to(account, "asked for while signed in").await?));
        }
        let has_admin = has_admin(self.tx, self.organization).await?;
        match link {
            Some(Link { purpose: Purpose::Login { account }, id, .. }) => {
                link::consume(self.tx, id).await?;
                return Ok(Ok(self.link_to(account, "login link").await?));
            }
            Some(Link { purpose: Purpose::Setup, id, .. }) if !has_admin => {
                link::consume(self.tx, id).await?;
                return Ok(Ok(self.make(Role::Admin, "set-up link").await?));
            }
            _ => {}
        }
        self.by_address_or_invitation(link).await
    }

    async fn known(&mut self, known: store::Known, link: Option<Link>) -> Result<Account> {
        store::seen(self.tx, known.id, self.identity).await?;
        if known.email != self.identity.email {
            let detail = json!({
                "issuer": self.identity.issuer,
                "email": [known.email, self.identity.email],
            });
            self.note("identity.email", known.account_id, &detail).await?;
        }
        let account = self.account(known.account_id).await?;
        let Some(Link { purpose: Purpose::Setup, id, .. }) = link else { return Ok(account) };
        // Who holds the set-up link of an instance without an administrator becomes it.
        if account.status == Status::Disabled || has_admin(self.tx, self.organization).await? {
            return Ok(account);
        }
        link::consume(self.tx, id).await?;
        let detail = json!({ "role": [account.role, Role::Admin], "by": "set-up link" });
        self.note("account.change", account.id, &detail).await?;
        Ok(store::set(self.tx, self.organization, account.id, Role::Admin, Status::Active).await?)
    }

    async fn by_address_or_invitation(
        &mut self,
        link: Option<Link>,
    ) -> Result<Result<Account, Refusal>> {
        // Of an address that nobody vouches for nothing follows, not even that it is known.
        let key = self.identity.email.as_deref().filter(|_| self.identity.email_verified);
        let key = key.and_then(email::key);
        if let Some(key) = &key
            && let Some(account) = with_email(self.tx, self.organization, key).await?
        {
            if store::has_identity(self.tx, account.id).await? {
                return Ok(Err(Refusal::LinkFirst));
            }
            return Ok(Ok(self.link_to(account.id, "the address of the account").await?));
        }
        let carried = match link {
            Some(Link { purpose: Purpose::Invitation { invitation }, .. }) => Some(invitation),
            _ => None,
        };
        let invited =
            invitation::fitting(self.tx, self.organization, carried, key.as_deref()).await?;
        if let Some(invited) = invited {
            let account = self.make(invited.role, &format!("invitation {}", invited.id)).await?;
            invitation::accept(self.tx, self.organization, invited.id, &account).await?;
            return Ok(Ok(account));
        }
        if store::is_empty(self.tx, self.organization).await? {
            return Ok(Err(Refusal::NotSetUp));
        }
        let of_domain = key.as_deref().is_some_and(|key| {
            self.config.domains.iter().any(|domain| domain == email::domain(key))
        });
        if of_domain || self.config.signup == Signup::Open {
            return Ok(Ok(self.make(Role::Customer, "sign-up").await?));
        }
        Ok(Err(Refusal::NotInvited))
    }

    async fn account(&mut self, id: i64) -> Result<Account> {
        let account = store::get(self.tx, self.organization, id).await?;
        account.ok_or(Error::NotFound("account"))
    }

    async fn link_to(&mut self, account: i64, why: &str) -> Result<Account> {
        let account = self.account(account).await?;
        if account.status == Status::Disabled {
            return Ok(account);
        }
        store::link(self.tx, self.organization, account.id, self.identity).await?;
        let detail = json!({
            "issuer": self.identity.issuer,
            "subject": self.identity.subject,
            "email": self.identity.email,
            "why": why,
        });
        self.note("identity.link", account.id, &detail).await?;
        Ok(account)
    }

    async fn make(&mut self, role: Role, why: &str) -> Result<Account> {
        let identity = self.identity;
        let email = identity.email.as_deref();
        let known_as = identity.name.as_deref().or(email).unwrap_or("somebody");
        // An address that another account has is not this one's to be found by.
        let taken = match email.and_then(email::key) {
            Some(key) => with_email(self.tx, self.organization, &key).await?.is_some(),
            None => false,
        };
        let new = New {
            name: known_as,
            email,
            vouched: identity.email_verified && !taken,
            picture: identity.picture.as_deref(),
            role,
        };
        let account = insert(self.tx, self.organization, &new).await?;
        let detail = json!({ "name": account.name, "role": role, "why": why });
        self.note("account.create", account.id, &detail).await?;
        self.link_to(account.id, why).await
    }

    /// An entry of the audit log; who arrives is the one who did it.
    async fn note(&mut self, action: &str, account: i64, detail: &serde_json::Value) -> Result<()> {
        let account = self.account(account).await?;
        let to = subject(account.id);
        let who = audit::Actor { name: &account.name, address: self.address };
        Ok(audit::write(&mut *self.tx, self.organization, who, action, &to, detail).await?)
    }
}
