//! Lists of customers. Nobody is left out: an account is on the list whether or not it is used, has
//! a profile, or ever asked anything.

mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Customer, Filter, Sort,
    store::{of_ids, total},
    words,
};
use crate::{auth::Caller, db::Db, error::Result, http::paging};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Words of name, company or address, each by its beginning; newest first.
    pub q: String,
    pub filter: Filter,
    pub sort: Sort,
    /// 1 to 200.
    pub limit: i64,
    /// What the page before gave as `next`.
    pub cursor: Option<String>,
}

/// A page of customers.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CustomerPage)]
pub struct Page {
    pub customers: Vec<Customer>,
    /// The cursor of the page after this one; null at the end.
    pub next: Option<String>,
    /// How many there are, of a list without words and filters; null where they are more than
    /// 10000.
    pub total: Option<i64>,
    /// A search that found more than it looks at; add a word.
    pub more: bool,
}

/// Where a customer stands in a list, and a page begins after one.
#[derive(Clone, Debug, Serialize, Deserialize, sqlx::FromRow)]
struct Position {
    id: i64,
    /// How the database orders the name.
    name: Option<String>,
    seen: Option<DateTime<Utc>>,
}

/// A page of the organization's customers; for a customer there is one, themselves.
pub async fn list(db: &Db, caller: &Caller, wanted: &Wanted) -> Result<Page> {
    let organization = caller.organization;
    let after: Option<Position> = wanted.cursor.as_deref().map(paging::position).transpose()?;
    if !caller.role.may_operate() {
        let own = super::find(db, caller, super::Whose::Me).await?;
        let customers = if after.is_none() { vec![own] } else { Vec::new() };
        return Ok(Page { customers, next: None, total: Some(1), more: false });
    }
    let (filter, limit) = (&wanted.filter, wanted.limit.clamp(1, paging::MAX_LIMIT));
    if !wanted.q.trim().is_empty() {
        let below = after.map(|it| it.id);
        let found = words::search(db, organization, &wanted.q, filter, below, limit).await?;
        let position = |id| Position { id, name: None, seen: None };
        let next = found.below.map(|id| paging::cursor(&position(id))).transpose()?;
        return Ok(Page { customers: found.customers, next, total: None, more: found.more });
    }
    let found = store::page(db, organization, filter, wanted.sort, after.as_ref(), limit).await?;
    let next = paging::after(&found, limit, Position::clone)?;
    let ids: Vec<i64> = found.iter().map(|it| it.id).collect();
    let mut customers = of_ids(db, organization, filter, &ids).await?;
    customers.sort_by_key(|customer| ids.iter().position(|id| *id == customer.id));
    let total = match *filter {
        Filter { role: None, status: None, verified: None } => total(db, organization).await?,
        _ => None,
    };
    Ok(Page { customers, next, total, more: false })
}
