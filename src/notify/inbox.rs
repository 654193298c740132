//! The inbox: what channels of kind `browser` tell, and who has read it.

use super::{Notify, store::inbox as store};
use crate::{
    auth::{Caller, Who},
    db::{self, Db},
    error::{Error, Result},
};

pub use store::{Entry, MOST_UNREAD, list, mark};

/// Entries that can be marked at once.
const MOST: usize = 200;

/// Whose reading it is.
pub fn reader(caller: &Caller) -> String {
    match caller.who {
        Who::Person { account, .. } => format!("account {account}"),
        Who::Token(id) => format!("token {id}"),
    }
}

/// How many the caller has not read, up to [`MOST_UNREAD`].
pub async fn unread(db: &Db, caller: &Caller) -> db::Result<i64> {
    store::unread(db, caller.organization, &reader(caller)).await
}

/// What has been read: these, or all up to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    These(Vec<i64>),
    UpTo(i64),
}

/// The caller has read something. It is about the caller alone, and nothing of the system.
pub async fn read(notify: &Notify, caller: &Caller, what: &Read) -> Result<()> {
    let (organization, reader) = (caller.organization, reader(caller));
    let mut tx = notify.app.db.begin().await?;
    match what {
        Read::These(ids) => {
            if ids.len() > MOST {
                return Err(Error::invalid(format!("ids: at most {MOST} at once")));
            }
            for id in ids {
                if !store::read(&mut tx, organization, &reader, *id).await? {
                    return Err(Error::NotFound("notification"));
                }
            }
        }
        Read::UpTo(id) => {
            store::read_up_to(&mut tx, organization, &reader, *id).await?;
        }
    }
    Ok(tx.commit().await?)
}
