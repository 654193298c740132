//! What is kept of a customer, in rows.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Customer, Filter, Note};
use crate::{
    auth::{OrganizationId, Role, account::Status},
    db::{Db, Error, Query, Result, Tx},
};

/// Customers are counted up to here.
const COUNTED: i64 = 10_000;

/// The one statement that reads customers: those of the ids in $5 that a filter lets through,
/// newest first. "+": SQLite would walk the organization's accounts to find those of the ids.
fn reading(dialect: impl Fn(&'static str, &'static str) -> &'static str) -> &'static str {
    dialect(
        "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
             website, industry, company_size, country, timezone, language, audience, goals,
             created_at, signed_in_at, updated_at, version
         from customer where organization_id = $1
             and (cast($2 as text) is null or role = $2)
             and (cast($3 as text) is null or status = $3)
             and (cast($4 as boolean) is null or verified = $4)
             and id in (select cast(value as bigint)
                 from json_array_elements_text(cast($5 as json)))
         order by id desc",
        "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
             website, industry, company_size, country, timezone, language, audience, goals,
             created_at, signed_in_at, updated_at, version
         from customer where +organization_id = $1
             and ($2 is null or role = $2)
             and ($3 is null or status = $3)
             and ($4 is null or verified = $4)
             and id in (select value from json_each($5))
         order by id desc",
    )
}

async fn read(
    query: Query<'_>,
    organization: OrganizationId,
    filter: &Filter,
    ids: &[i64],
) -> Result<Vec<Customer>> {
    query
        .bind(organization)
        .bind(filter.role.map(Role::as_str))
        .bind(filter.status.map(Status::as_str))
        .bind(filter.verified)
        .bind(json(ids)?)
        .all()
        .await
}

/// Those of the ids that fit, newest first.
pub(super) async fn of_ids(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    ids: &[i64],
) -> Result<Vec<Customer>> {
    read(db.query(reading(|one, other| db.dialect(one, other))), organization, filter, ids).await
}

pub(super) async fn find(
    db: &Db,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Customer>> {
    Ok(of_ids(db, organization, &Filter::default(), &[id]).await?.pop())
}

/// The same in a transaction, in which it stays as it is.
pub(super) async fn get(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Customer>> {
    let sql = reading(|one, other| tx.dialect(one, other));
    Ok(read(tx.query(sql), organization, &Filter::default(), &[id]).await?.pop())
}

pub(super) async fn find_by_email(
    db: &Db,
    organization: OrganizationId,
    email_key: &str,
) -> Result<Option<Customer>> {
    let query = db.query("select id from account where organization_id = $1 and email_key = $2");
    let found: Option<(i64,)> = query.bind(organization).bind(email_key).optional().await?;
    match found {
        Some((id,)) => find(db, organization, id).await,
        None => Ok(None),
    }
}

pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| Error::Encode(error.into()))
}

/// How many there are; `None` where they are too many to be counted for a page.
pub(super) async fn total(db: &Db, organization: OrganizationId) -> Result<Option<i64>> {
    let total: i64 = db
        .query(
            "select count(*) from
                 (select 1 from account where organization_id = $1 limit $2) as counted",
        )
        .bind(organization)
        .bind(COUNTED + 1)
        .scalar()
        .await?;
    Ok((total <= COUNTED).then_some(total))
}

/// What of a profile is written; all of it.
pub(super) async fn put_profile(
    tx: &mut Tx,
    organization: OrganizationId,
    is: &Customer,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into customer_profile (account_id, organization_id, phone, company, website,
             industry, company_size, country, timezone, language, audience, goals, version,
             updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13)
         on conflict (account_id) do update set phone = excluded.phone,
             company = excluded.company, website = excluded.website,
             industry = excluded.industry, company_size = excluded.company_size,
             country = excluded.country, timezone = excluded.timezone,
             language = excluded.language, audience = excluded.audience,
             goals = excluded.goals, version = customer_profile.version + 1,
             updated_at = excluded.updated_at",
    )
    .bind(is.id)
    .bind(organization)
    .bind(is.phone.as_str())
    .bind(is.company.as_str())
    .bind(is.website.as_str())
    .bind(is.industry.as_str())
    .bind(is.company_size.as_str())
    .bind(is.country.as_str())
    .bind(is.timezone.as_str())
    .bind(is.language.as_str())
    .bind(is.audience.as_str())
    .bind(is.goals.as_str())
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Notes that a letter's link proved the address; of a new customer with their company.
pub(super) async fn verified(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    company: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into customer_profile (account_id, organization_id, company, verified_at, version,
             updated_at)
         values ($1, $2, $3, $4, 1, $4)
         on conflict (account_id) do update
             set verified_at = coalesce(customer_profile.verified_at, excluded.verified_at)",
    )
    .bind(account)
    .bind(organization)
    .bind(company)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// A page of what was noted about a customer, newest first.
pub(super) async fn notes(
    db: &Db,
    organization: OrganizationId,
    account: i64,
    below: i64,
    limit: i64,
) -> Result<Vec<Note>> {
    db.query(
        "select id, text, made_by, created_at from customer_note
         where organization_id = $1 and account_id = $2 and id < $3 order by id desc limit $4",
    )
    .bind(organization)
    .bind(account)
    .bind(below)
    .bind(limit)
    .all()
    .await
}

/// Adds a note, unless there are `most` already.
pub(super) async fn add_note(
    tx: &mut Tx,
    organization: OrganizationId,
    account: i64,
    note: (&str, &str),
    most: i64,
    now: DateTime<Utc>,
) -> Result<Option<Note>> {
    tx.query(
        "insert into customer_note (organization_id, account_id, text, made_by, created_at)
         select $1, $2, $3, $4, $5
         where (select count(*) from
             (select 1 from customer_note where account_id = $2 limit $6) as counted) < $6
         returning id, text, made_by, created_at",
    )
    .bind(organization)
    .bind(account)
    .bind(note.0)
    .bind(note.1)
    .bind(now)
    .bind(most)
    .optional()
    .await
}
