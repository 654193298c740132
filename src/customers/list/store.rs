//! Which customers a page holds, in which order.
//!
//! Each role and status, with a verified address or without, has a range of its own in the index of
//! each order. A page takes its customers from the beginnings of the ranges that the filter lets
//! through, so that few among many are found as fast as many among few.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Position;
use crate::{
    auth::{OrganizationId, Role, account::Status},
    customers::{Filter, Sort, store::json},
    db::{Db, Result},
};

/// A range of the indexes.
#[derive(Serialize)]
struct Standing {
    role: &'static str,
    status: &'static str,
    verified: bool,
}

fn standings(filter: Filter) -> Vec<Standing> {
    let mut standings = Vec::new();
    for role in [Role::Admin, Role::Operator, Role::Customer] {
        for status in [Status::Active, Status::Disabled] {
            for verified in [true, false] {
                if filter.role.is_none_or(|it| it == role)
                    && filter.status.is_none_or(|it| it == status)
                    && filter.verified.is_none_or(|it| it == verified)
                {
                    let (role, status) = (role.as_str(), status.as_str());
                    standings.push(Standing { role, status, verified });
                }
            }
        }
    }
    standings
}

/// The customers of a page, in its order.
pub(super) async fn page(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    sort: Sort,
    after: Option<&Position>,
    limit: i64,
) -> Result<Vec<Position>> {
    // SQLite has no "lateral", and PostgreSQL would read everybody for the "in" of SQLite.
    let sql = match sort {
        Sort::Newest => db.dialect(
            "select a.id, a.name, a.seen
             from json_to_recordset(cast($2 as json)) as s(role text, status text, verified boolean)
             cross join lateral
                 (select id, lower(name) as name, signed_in_at as seen from account
                 where organization_id = $1 and role = s.role and status = s.status
                     and (email_key is not null) = s.verified
                     and -id > -cast($4 as bigint)
                 order by -id limit $3) as a
             order by a.id desc limit $3",
            "select a.id, lower(a.name) as name, a.signed_in_at as seen
             from json_each($2) as s join account a on a.id in
                 (select id from account
                 where organization_id = $1 and role = s.value ->> 'role'
                     and status = s.value ->> 'status'
                     and (email_key is not null) = (s.value ->> 'verified')
                     and -id > -cast($4 as bigint)
                 order by -id limit $3)
             order by a.id desc limit $3",
        ),
        Sort::Name => db.dialect(
            "select a.id, a.name, a.seen
             from json_to_recordset(cast($2 as json)) as s(role text, status text, verified boolean)
             cross join lateral
                 (select id, lower(name) as name, signed_in_at as seen from account
                 where organization_id = $1 and role = s.role and status = s.status
                     and (email_key is not null) = s.verified
                     and (lower(name), id) > ($5, $4)
                 order by lower(name), id limit $3) as a
             order by a.name, a.id limit $3",
            "select a.id, lower(a.name) as name, a.signed_in_at as seen
             from json_each($2) as s join account a on a.id in
                 (select id from account
                 where organization_id = $1 and role = s.value ->> 'role'
                     and status = s.value ->> 'status'
                     and (email_key is not null) = (s.value ->> 'verified')
                     and lower(name) >= $5 and (lower(name), id) > ($5, $4)
                 order by lower(name), id limit $3)
             order by lower(a.name), a.id limit $3",
        ),
        Sort::Seen => db.dialect(
            "select a.id, a.name, a.seen
             from json_to_recordset(cast($2 as json)) as s(role text, status text, verified boolean)
             cross join lateral
                 (select id, lower(name) as name, signed_in_at as seen,
                      coalesce(signed_in_at, '1970-01-01T00:00:00+00:00') as key
                 from account
                 where organization_id = $1 and role = s.role and status = s.status
                     and (email_key is not null) = s.verified
                     and (coalesce(signed_in_at, '1970-01-01T00:00:00+00:00'), id) < ($5, $4)
                 order by coalesce(signed_in_at, '1970-01-01T00:00:00+00:00') desc, id desc
                 limit $3) as a
             order by a.key desc, a.id desc limit $3",
            "select a.id, lower(a.name) as name, a.signed_in_at as seen
             from json_each($2) as s join account a on a.id in
                 (select id from account
                 where organization_id = $1 and role = s.value ->> 'role'
                     and status = s.value ->> 'status'
                     and (email_key is not null) = (s.value ->> 'verified')
                     and coalesce(signed_in_at, '1970-01-01T00:00:00+00:00') <= $5
                     and (coalesce(signed_in_at, '1970-01-01T00:00:00+00:00'), id) < ($5, $4)
                 order by coalesce(signed_in_at, '1970-01-01T00:00:00+00:00') desc, id desc
                 limit $3)
             order by coalesce(a.signed_in_at, '1970-01-01T00:00:00+00:00') desc, a.id desc
             limit $3",
        ),
    };
    let query = db.query(sql).bind(organization).bind(json(&standings(*filter))?);
    let query = query.bind(limit);
    let (id, last) = (after.map(|it| it.id), i64::MAX);
    match sort {
        Sort::Newest => query.bind(id.unwrap_or(last)).all().await,
        Sort::Name => {
            let name = after.and_then(|it| it.name.clone()).unwrap_or_default();
            query.bind(id.unwrap_or(0)).bind(name).all().await
        }
        Sort::Seen => {
            let seen = match after {
                Some(after) => after.seen.unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
                None => FAR,
            };
            query.bind(id.unwrap_or(last)).bind(seen).all().await
        }
    }
}

/// Later than all that is kept: the year 9999.
const FAR: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_000, 0) {
    Some(far) => far,
    None => DateTime::<Utc>::UNIX_EPOCH,
};
