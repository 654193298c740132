//! Filters that people keep under a name, for themselves: of one page's list, by the query of
//! its address.

use chrono::{DateTime, Utc};

use crate::{
    auth::{Caller, Who},
    db::{self, Db},
    error::{Error, Result},
};

/// Views that one person keeps of one page.
const MOST: i64 = 20;
/// Longest name, in characters.
pub const MAX_NAME: usize = 40;
/// Longest query, in bytes.
const MAX_QUERY: usize = 1500;

/// A filter with its name.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct View {
    pub id: i64,
    pub name: String,
    /// Without the question mark; may be empty.
    pub query: String,
}

fn account(caller: &Caller) -> Option<i64> {
    match caller.who {
        Who::Person { account, .. } => Some(account),
        Who::Token(_) => None,
    }
}

/// The caller's views of a page, by name. Tokens have none.
pub async fn list(db: &Db, caller: &Caller, page: &str) -> db::Result<Vec<View>> {
    let Some(account) = account(caller) else { return Ok(Vec::new()) };
    db.query(
        "select id, name, query from saved_view where account_id = $1 and page = $2
         order by name, id limit $3",
    )
    .bind(account)
    .bind(page)
    .bind(MOST)
    .all()
    .await
}

/// Keeps a view; one of the same name is replaced. Gives its name as it is kept.
pub async fn keep(
    db: &Db,
    caller: &Caller,
    page: &str,
    name: &str,
    query: &str,
    now: DateTime<Utc>,
) -> Result<String> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(char::is_control) {
        return Err(Error::Invalid(format!("a view's name has 1 to {MAX_NAME} characters")));
    }
    if query.len() > MAX_QUERY || !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Invalid(format!(
            "a view is the query of an address of at most {MAX_QUERY} bytes"
        )));
    }
    let account = account(caller)
        .ok_or_else(|| Error::Denied("views belong to people; sign in to keep one".to_owned()))?;
    let mut tx = db.begin().await?;
    // Who saves at the same time elsewhere waits.
    tx.query("update account set name = name where id = $1").bind(account).run().await?;
    tx.query(
        "insert into saved_view (account_id, page, name, query, created_at)
         values ($1, $2, $3, $4, $5)
         on conflict (account_id, page, name) do update set query = excluded.query",
    )
    .bind(account)
    .bind(page)
    .bind(name.as_str())
    .bind(query)
    .bind(now)
    .run()
    .await?;
    let (count,): (i64,) = tx
        .query("select count(*) from saved_view where account_id = $1 and page = $2")
        .bind(account)
        .bind(page)
        .one()
        .await?;
    if count > MOST {
        return Err(Error::Conflict(format!("you keep {MOST} views already; remove one first")));
    }
    tx.commit().await?;
    Ok(name)
}

/// Removes a view of the caller; gives it as it was.
pub async fn remove(db: &Db, caller: &Caller, id: i64) -> Result<View> {
    let removed: Option<View> = db
        .query("delete from saved_view where account_id = $1 and id = $2 returning id, name, query")
        .bind(account(caller).unwrap_or_default())
        .bind(id)
        .optional()
        .await?;
    removed.ok_or(Error::NotFound("view"))
}
