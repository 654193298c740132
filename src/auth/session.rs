//! Sessions of browsers: 256 random bits in a cookie, of which the SHA-256 is kept. A session
//! ends when it was not used for a while, when it is old, when it is ended, and with its account;
//! an ended one has no row.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;

use super::{
    Caller, OrganizationId, Role, Who,
    account::{self, Account},
    audit,
    remembered::{Callers, Remembered},
    secret::{self, hash},
};
use crate::{
    clock,
    config::SignIn,
    db::{Db, Tx},
    error::{Error, Result},
};

/// Sessions of one account; the oldest end when there are more.
const MOST: i64 = 50;

/// The longest text that is kept of `User-Agent`, in characters.
const MAX_USER_AGENT: usize = 300;

/// How old a session may be for what should follow on a sign-in.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// A session to be.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    pub config: &'a SignIn,
    /// The provider's name; `None` for a link.
    pub provider: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub address: Option<IpAddr>,
    /// The cookie that the browser had before: that session ends.
    pub replaces: Option<&'a str>,
}

/// A session that began.
pub struct Started {
    pub session: i64,
    /// For the cookie, and to be kept nowhere else.
    pub cookie_value: SecretString,
}

/// Begins a session, under an id that nobody has seen before.
pub async fn start(db: &Db, account: &Account, new: New<'_>) -> Result<Started> {
    let mut tx = db.begin().await?;
    let started = start_in(&mut tx, account, new).await?;
    tx.commit().await?;
    Ok(started)
}

/// The same as part of what else happens.
pub(super) async fn start_in(tx: &mut Tx, account: &Account, new: New<'_>) -> Result<Started> {
    let cookie = secret::random()?;
    let user_agent = new.user_agent.map(|text| {
        text.replace('\0', "\u{fffd}").chars().take(MAX_USER_AGENT).collect::<String>()
    });
    if let Some(before) = new.replaces {
        tx.query("delete from session where hash = $1").bind(hash(before)).run().await?;
    }
    let now = tx.now().await?;
    // It may have been disabled since it was looked at.
    let started: Option<(i64,)> = tx
        .query(
            "insert into session
                 (organization_id, account_id, hash, provider, user_agent, address, created_at,
                  seen_at, idle_ends_at, ends_at)
             select organization_id, id, $3, $4, $5, $6, $7, $7, $8, $9 from account
             where organization_id = $1 and id = $2 and status = 'active'
             returning id",
        )
        .bind(account.organization_id)
        .bind(account.id)
        .bind(hash(&cookie))
        .bind(new.provider)
        .bind(user_agent)
        .bind(new.address.map(|address| address.to_string()))
        .bind(now)
        .bind(after(now, new.config.idle))
        .bind(after(now, new.config.absolute))
        .optional()
        .await?;
    let Some((session,)) = started else {
        return Err(Error::Denied(account::Refusal::Disabled.to_string()));
    };
    tx.query("update account set signed_in_at = $2 where id = $1")
        .bind(account.id)
        .bind(now)
        .run()
        .await?;
    tx.query(
        "delete from session where account_id = $1 and id not in
             (select id from session where account_id = $1 order by id desc limit $2)",
    )
    .bind(account.id)
    .bind(MOST)
    .run()
    .await?;
    let (organization, subject) = (account.organization_id, account::subject(account.id));
    let detail = json!({
        "session": session,
        "by": new.provider.unwrap_or("link"),
    });
    let who = audit::Actor { name: &account.name, address: new.address };
    audit::write(tx, organization, who, "sign_in", &subject, &detail).await?;
    Ok(Started { session, cookie_value: cookie.into() })
}

fn after(now: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(time)
        .ok()
        .and_then(|time| now.checked_add_signed(time))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[derive(sqlx::FromRow)]
struct Whose {
    organization_id: OrganizationId,
    account_id: i64,
    name: String,
}

/// Ends a session, whoever has it: `why` is "signed out", or what the provider said. It may have
/// ended before.
pub async fn end(db: &Db, session: i64, why: &str) -> Result<()> {
    end_by(db, session, None, why).await
}

async fn end_by(db: &Db, session: i64, by: Option<audit::Actor<'_>>, why: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    let whose: Option<Whose> = tx
        .query(
            "select s.organization_id, s.account_id, a.name
             from session s join account a on a.id = s.account_id where s.id = $1",
        )
        .bind(session)
        .optional()
        .await?;
    let Some(whose) = whose else { return Ok(()) };
    let gone = tx.query("delete from session where id = $1").bind(session).run().await?;
    if gone > 0 {
        let subject = account::subject(whose.account_id);
        let detail = json!({ "session": session, "why": why });
        let by = by.unwrap_or_else(|| whose.name.as_str().into());
        audit::write(&mut tx, whose.organization_id, by, "session.end", &subject, &detail).await?;
    }
    Ok(tx.commit().await?)
}

/// Ends a session of an account (of anybody in the organization, where `account` is `None`).
/// What is not theirs does not exist.
pub async fn revoke(
    db: &Db,
    organization: OrganizationId,
    account: Option<i64>,
    session: i64,
    by: impl Into<audit::Actor<'_>>,
) -> Result<()> {
    let theirs: Option<(i64,)> = db
        .query(
            "select id from session
             where organization_id = $1 and id = $2 and account_id = coalesce($3, account_id)",
        )
        .bind(organization)
        .bind(session)
        .bind(account)
        .optional()
        .await?;
    if theirs.is_none() {
        return Err(Error::NotFound("session"));
    }
    end_by(db, session, Some(by.into()), "revoked").await
}

/// Ends all sessions of an account; how many there were.
pub(super) async fn end_all(tx: &mut Tx, account: i64) -> Result<u64> {
    Ok(tx.query("delete from session where account_id = $1").bind(account).run().await?)
}

/// Keeps the provider's refresh token, sealed, and when it is to be used. The session may have
/// ended meanwhile; then nothing is kept.
pub async fn set_refresh(
    db: &Db,
    session: i64,
    sealed: &str,
    refresh_at: DateTime<Utc>,
) -> Result<()> {
    db.query(
        "update session
         set refresh_sealed = $2, refresh_at = $3, lease_owner = null, lease_until = null
         where id = $1",
    )
    .bind(session)
    .bind(sealed)
    .bind(refresh_at)
    .run()
    .await?;
    Ok(())
}

/// Whether the person signed in within the last five minutes.
pub async fn is_fresh(db: &Db, session: i64) -> Result<bool> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    let fresh: Option<(i64,)> = tx
        .query("select id from session where id = $1 and created_at > $2")
        .bind(session)
        .bind(now - FRESH)
        .optional()
        .await?;
    Ok(fresh.is_some())
}

/// A session as it is listed.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = ListedSession)]
pub struct Listed {
    pub id: i64,
    /// The name of the provider; null for a link.
    pub provider: Option<String>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// Where it began.
    pub address: Option<String>,
    pub created_at: DateTime<Utc>,
    /// To the minute.
    pub seen_at: DateTime<Utc>,
    /// When it ends if it is not used.
    pub idle_ends_at: DateTime<Utc>,
    /// When it ends in any case.
    pub ends_at: DateTime<Utc>,
}

/// The sessions of an account that have not ended, the newest first.
pub async fn list(db: &Db, organization: OrganizationId, account: i64) -> Result<Vec<Listed>> {
    Ok(db
        .query(
            "select s.id, s.provider, s.user_agent, s.address, s.created_at, s.seen_at,
                    s.idle_ends_at, s.ends_at
             from session s cross join database_time t
             where s.organization_id = $1 and s.account_id = $2
               and s.idle_ends_at > t.at and s.ends_at > t.at
             order by s.id desc limit 100",
        )
        .bind(organization)
        .bind(account)
        .all()
        .await?)
}

/// One session that has not ended.
pub async fn find(db: &Db, organization: OrganizationId, session: i64) -> Result<Option<Listed>> {
    Ok(db
        .query(
            "select s.id, s.provider, s.user_agent, s.address, s.created_at, s.seen_at,
                    s.idle_ends_at, s.ends_at
             from session s cross join database_time t
             where s.organization_id = $1 and s.id = $2
               and s.idle_ends_at > t.at and s.ends_at > t.at",
        )
        .bind(organization)
        .bind(session)
        .optional()
        .await?)
}

/// How long a server goes on believing a session without asking the database.
pub const CACHED: Duration = Duration::from_secs(1);

/// How old a session's `seen_at` may become: reads should not be writes.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

#[derive(sqlx::FromRow)]
struct Known {
    id: i64,
    organization_id: OrganizationId,
    account_id: i64,
    name: String,
    role: Role,
    seen_at: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// A session, beside the others of its account.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ShownSession)]
pub struct Shown {
    #[serde(flatten)]
    pub session: Listed,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// The sessions of an account as `caller` is shown them, the newest first.
pub async fn shown(db: &Db, caller: &Caller, account: i64) -> Result<Vec<Shown>> {
    let listed = list(db, caller.organization, account).await?;
    let shown = |session: Listed| Shown {
        current: matches!(caller.who, Who::Person { session: own, .. } if own == session.id),
        session,
    };
    Ok(listed.into_iter().map(shown).collect())
}

/// Recognises sessions, asking the database at most once in [`CACHED`] for each.
#[derive(Debug)]
pub struct Sessions(Callers);

impl Default for Sessions {
    fn default() -> Self {
        Self(Callers::believed_for(CACHED))
    }
}

impl Sessions {
    pub fn remembered(&self, cookie: &str) -> Remembered {
        self.0.find(&hash(cookie))
    }

    /// Asks the database; `None` for what is no session, or ended.
    pub async fn recognise(
        &self,
        db: &Db,
        cookie: &str,
        config: &SignIn,
    ) -> Result<Option<Caller>> {
        let (hash, asked) = (hash(cookie), clock::instant());
        let known: Option<Known> = db
            .query(
                "select s.id, s.organization_id, s.account_id, a.name, a.role, s.seen_at,
                        t.at as now
                 from session s join account a on a.id = s.account_id
                     cross join database_time t
                 where s.hash = $1 and a.status = 'active'
                   and s.idle_ends_at > t.at and s.ends_at > t.at",
            )
            .bind(hash.as_str())
            .optional()
            .await?;
        let Some(known) = known else {
            self.0.learn(hash, None, asked);
            return Ok(None);
        };
        if known.now - known.seen_at >= NOTED_EVERY {
            let noted = db
                .query("update session set seen_at = $2, idle_ends_at = $3 where id = $1")
                .bind(known.id)
                .bind(known.now)
                .bind(after(known.now, config.idle))
                .run()
                .await;
            if let Err(error) = noted {
                tracing::debug!(%error, "the time of a session's last use was not noted");
            }
        }
        let caller = Caller {
            organization: known.organization_id,
            role: known.role,
            who: Who::Person { account: known.account_id, session: known.id },
            name: known.name,
            address: None,
        };
        self.0.learn(hash, Some(&caller), asked);
        Ok(Some(caller))
    }

    /// Ends a session: one's own, or as an administrator anybody's. Others do not exist.
    pub async fn end(&self, db: &Db, caller: &Caller, session: i64) -> Result<()> {
        let of = match caller.who {
            _ if caller.role.may_administer() => None,
            Who::Person { account, .. } => Some(account),
            Who::Token(_) => return Err(Error::NotFound("session")),
        };
        revoke(db, caller.organization, of, session, caller).await?;
        self.forget(|who| matches!(who, Who::Person { session: own, .. } if own == session));
        Ok(())
    }

    /// Forgets an account whose role or status was changed.
    pub fn forget_account(&self, account: i64) {
        self.forget(|who| matches!(who, Who::Person { account: own, .. } if own == account));
    }

    /// Forgets a cookie that stands for nothing any more.
    pub fn forget_cookie(&self, cookie: &str) {
        self.0.forget(&hash(cookie));
    }

    /// Forgets what was changed by this process: here it counts at once. Others notice within
    /// [`CACHED`].
    pub fn forget(&self, gone: impl Fn(Who) -> bool) {
        self.0.forget_all(gone);
    }
}

/// What is removed some time after its end.
#[derive(Clone, Copy, Debug)]
pub enum Old {
    Session,
    Link,
    Invitation,
}

impl Old {
    pub const ALL: [Self; 3] = [Self::Session, Self::Link, Self::Invitation];

    /// Removes at most 500 that ended: sessions at once, links and invitations a week later.
    pub async fn remove(self, tx: &mut Tx) -> Result<u64> {
        let now = tx.now().await?;
        let (query, before) = match self {
            Self::Session => (
                tx.query(
                    "delete from session where id in
                         (select id from session where idle_ends_at <= $1 or ends_at <= $1
                          limit 500)",
                ),
                now,
            ),
            Self::Link => (
                tx.query(
                    "delete from one_time_link where id in
                         (select id from one_time_link where expires_at <= $1 limit 500)",
                ),
                now - TimeDelta::days(7),
            ),
            Self::Invitation => (
                tx.query(
                    "delete from invitation where id in
                         (select id from invitation where expires_at <= $1 limit 500)",
                ),
                now - TimeDelta::days(7),
            ),
        };
        Ok(query.bind(before).run().await?)
    }
}
