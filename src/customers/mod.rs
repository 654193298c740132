//! Customers: the people who have accounts here, with what is known of them as a business.
//!
//! There is one table of people (`auth::account`), and a [`Customer`] is one of them: their profile
//! stands beside the account and may be missing, which takes nobody off a list. Operators and
//! admins see everybody of the organization; a customer sees who they are themselves, and nobody
//! else exists for them: [`account_of`] is the one place that decides it.

pub mod attachment;
mod change;
pub mod conversation;
mod customer;
mod list;
mod note;
pub mod person;
mod routes;
pub mod signup;
mod store;
mod words;

use std::time::Duration;

use crate::{
    app::App,
    auth::{Caller, account::email_key},
    db::Db,
    error::{Error, Result},
    errors::store::met::{self, Met},
};

pub use change::{Change, change};
pub use customer::{Customer, Filter, Sort};
pub use list::{Page, Wanted, list};
pub use note::{Note, note, notes};
pub use routes::{router, upload_router};

/// How often is looked for what is old.
const SWEEP: Duration = Duration::from_mins(30);

/// Whom a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Whoever asks.
    Me,
    /// The account of this id.
    Of(i64),
}

impl Whose {
    /// Reads the part of an address: "me" or a number. What is neither is an id that does not
    /// exist.
    pub fn read(text: &str) -> Result<Self> {
        match text {
            "me" => Ok(Self::Me),
            text => text.parse().map(Self::Of).map_err(|_| unknown()),
        }
    }
}

/// The same for an id that there is not and one that is not the caller's business.
fn unknown() -> Error {
    Error::NotFound("customer")
}

/// The account that is asked for, if the caller may see it: operators and admins all, a customer
/// their own. Whether there is such an account is not looked at yet.
pub fn account_of(caller: &Caller, whose: Whose) -> Result<i64> {
    match (whose, caller.account()) {
        (Whose::Me, own) => own.ok_or_else(unknown),
        (Whose::Of(id), Some(own)) if id == own => Ok(id),
        (Whose::Of(id), _) if caller.role.may_operate() => Ok(id),
        (Whose::Of(_), _) => Err(unknown()),
    }
}

/// One customer.
pub async fn find(db: &Db, caller: &Caller, whose: Whose) -> Result<Customer> {
    let id = account_of(caller, whose)?;
    store::find(db, caller.organization, id).await?.ok_or_else(unknown)
}

/// The customer with an address that somebody vouched for. For a customer there is one such
/// address: their own.
pub async fn find_by_email(db: &Db, caller: &Caller, email: &str) -> Result<Customer> {
    let key = email_key(email).ok_or_else(unknown)?;
    let found = store::find_by_email(db, caller.organization, &key).await?.ok_or_else(unknown)?;
    account_of(caller, Whose::Of(found.id))?;
    Ok(found)
}

/// The groups of errors that a customer met, the last first; at most `limit`.
///
/// Events name users as the application does. For operators those count that carry the account's
/// id or address; for customers those with their proven address alone, because another
/// application's user may have the same number, and of each only that it is there: what the
/// system said when it failed is not for people from outside.
pub async fn errors_met(db: &Db, caller: &Caller, whose: Whose, limit: i64) -> Result<Vec<Met>> {
    let customer = find(db, caller, whose).await?;
    let id = customer.id.to_string();
    let key = customer.email_key.as_deref();
    if caller.role.may_operate() {
        let email = customer.email.as_deref();
        let names = [Some(id.as_str()), key, email].map(Option::unwrap_or_default);
        return Ok(met::by(db, caller.organization, names, limit).await?);
    }
    let Some(key) = key else { return Ok(Vec::new()) };
    let email = customer.email.as_deref().unwrap_or_default();
    let mut met = met::by(db, caller.organization, [key, email, ""], limit).await?;
    for group in &mut met {
        group.title = None;
        group.error_type = None;
    }
    Ok(met)
}

/// Begins what goes on by itself: the index of words, letters of sign-ups, and removing what is
/// old.
pub fn start(app: &App) {
    words::start(app);
    conversation::start_answering(app);
    signup::start(app);
    let (db, shutdown) = (app.db.clone(), app.shutdown.clone());
    app.tasks.spawn(async move {
        let mut timer = tokio::time::interval(SWEEP);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
            if let Err(error) = signup::sweep(&db).await {
                tracing::warn!(%error, "old sign-ups were not removed; trying again");
            }
        }
    });
}
