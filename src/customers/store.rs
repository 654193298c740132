//! All SQL of customers, but of their sign-ups and files.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Customer, Filter, Note, Sort, list::Position, words};
use crate::{
    auth::{OrganizationId, Role, account::Status},
    db::{Db, Error, Query, Result, Tx},
};

/// Customers are counted up to here.
const COUNTED: i64 = 10_000;

/// Later than any name begins.
const LAST: i64 = i64::MAX;

pub(super) async fn find(
    db: &Db,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Customer>> {
    db.query(
        "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
         from customer where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

/// The same in a transaction, in which it stays as it is.
pub(super) async fn get(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Customer>> {
    tx.query(
        "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
         from customer where organization_id = $1 and id = $2",
    )
    .bind(organization)
    .bind(id)
    .optional()
    .await
}

pub(super) async fn find_by_email(
    db: &Db,
    organization: OrganizationId,
    email_key: &str,
) -> Result<Option<Customer>> {
    db.query(
        "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
         from customer where organization_id = $1 and email_key = $2",
    )
    .bind(organization)
    .bind(email_key)
    .optional()
    .await
}

/// The filter's values, $1 to $4, and the limit, $5.
fn bound(query: Query<'_>, organization: OrganizationId, filter: Filter, limit: i64) -> Query<'_> {
    query
        .bind(organization)
        .bind(filter.role.map(Role::as_str))
        .bind(filter.status.map(Status::as_str))
        .bind(filter.verified)
        .bind(limit)
}

/// A page of customers. Operators and admins, and who is deactivated, are few: newest first, they
/// have indexes of their own, which a statement has to name as the index does.
pub(super) async fn page(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    sort: Sort,
    after: Option<&Position>,
    limit: i64,
) -> Result<Vec<Customer>> {
    let id = after.map(|it| it.id);
    match (sort, filter) {
        (Sort::Newest, Filter { role: Some(Role::Admin | Role::Operator), .. }) => {
            let query = db.query(
                "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
                 from customer where organization_id = $1 and role <> 'customer'
                     and role = $2 and (cast($3 as text) is null or status = $3)
                     and (cast($4 as boolean) is null or verified = $4) and id < $6
                 order by id desc limit $5",
            );
            bound(query, organization, *filter, limit).bind(id.unwrap_or(LAST)).all().await
        }
        (Sort::Newest, Filter { status: Some(Status::Disabled), .. }) => {
            let query = db.query(
                "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
                 from customer where organization_id = $1 and status = 'disabled'
                     and status = $3 and (cast($2 as text) is null or role = $2)
                     and (cast($4 as boolean) is null or verified = $4) and id < $6
                 order by id desc limit $5",
            );
            bound(query, organization, *filter, limit).bind(id.unwrap_or(LAST)).all().await
        }
        (Sort::Newest, _) => {
            let query = db.query(
                "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
                 from customer where organization_id = $1
                     and (cast($2 as text) is null or role = $2)
                     and (cast($3 as text) is null or status = $3)
                     and (cast($4 as boolean) is null or verified = $4) and id < $6
                 order by id desc limit $5",
            );
            bound(query, organization, *filter, limit).bind(id.unwrap_or(LAST)).all().await
        }
        (Sort::Name, _) => {
            let query = db.query(
                "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
                 from customer where organization_id = $1
                     and (cast($2 as text) is null or role = $2)
                     and (cast($3 as text) is null or status = $3)
                     and (cast($4 as boolean) is null or verified = $4)
                     and name_key >= $7 and (name_key, id) > ($7, $6)
                 order by name_key, id limit $5",
            );
            let name = after.and_then(|it| it.name.clone()).unwrap_or_default();
            let query = bound(query, organization, *filter, limit);
            query.bind(id.unwrap_or(0)).bind(name).all().await
        }
        (Sort::Seen, _) => {
            let query = db.query(
                "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
                 from customer where organization_id = $1
                     and (cast($2 as text) is null or role = $2)
                     and (cast($3 as text) is null or status = $3)
                     and (cast($4 as boolean) is null or verified = $4)
                     and seen_key <= $7 and (seen_key, id) < ($7, $6)
                 order by seen_key desc, id desc limit $5",
            );
            let seen = match after {
                Some(after) => after.seen.unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
                None => FAR,
            };
            let query = bound(query, organization, *filter, limit);
            query.bind(id.unwrap_or(LAST)).bind(seen).all().await
        }
    }
}

/// Later than all that is kept: the year 9999.
const FAR: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_000, 0) {
    Some(far) => far,
    None => DateTime::<Utc>::UNIX_EPOCH,
};

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

/// Those of the ids that fit, newest first.
pub(super) async fn of_ids(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    ids: &[i64],
) -> Result<Vec<Customer>> {
    let sql = db.dialect(
        "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
         from customer where organization_id = $1
             and (cast($2 as text) is null or role = $2)
             and (cast($3 as text) is null or status = $3)
             and (cast($4 as boolean) is null or verified = $4)
             and id in (select cast(value as bigint)
                 from json_array_elements_text(cast($6 as json)))
         order by id desc limit $5",
        "select id, name, email, email_key, role, status, verified, verified_at, phone, company,
                website, industry, company_size, country, timezone, language, audience, goals,
                created_at, signed_in_at, updated_at, version, name_key
         from customer where organization_id = $1
             and (cast($2 as text) is null or role = $2)
             and (cast($3 as text) is null or status = $3)
             and ($4 is null or verified = $4)
             and id in (select value from json_each($6))
         order by id desc limit $5",
    );
    let limit = i64::try_from(ids.len()).unwrap_or(LAST);
    bound(db.query(sql), organization, *filter, limit).bind(json(ids)?).all().await
}

fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| Error::Encode(error.into()))
}

/// Who has a word, newest first, below an id.
pub(super) async fn with_word(
    db: &Db,
    organization: OrganizationId,
    word: &str,
    below: i64,
    limit: i64,
) -> Result<Vec<i64>> {
    let query = db.query(
        "select account_id from customer_word
         where organization_id = $1 and word = $2 and account_id < $3
         order by account_id desc limit $4",
    );
    let ids: Vec<(i64,)> =
        query.bind(organization).bind(word).bind(below).bind(limit).all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Some who have a longer word that begins so, below an id.
pub(super) async fn with_beginning(
    db: &Db,
    organization: OrganizationId,
    beginning: &str,
    below: i64,
    limit: i64,
) -> Result<Vec<i64>> {
    let end = format!("{beginning}{}", char::MAX);
    let query = db.query(
        "select account_id from customer_word
         where organization_id = $1 and word > $2 and word < $3 and account_id < $4 limit $5",
    );
    let query = query.bind(organization).bind(beginning).bind(end);
    let ids: Vec<(i64,)> = query.bind(below).bind(limit).all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Whose words are not in the index as they are now, of all organizations.
pub(super) async fn unindexed(db: &Db, below: i64, limit: i64) -> Result<Vec<i64>> {
    let query = db.query(
        "select account_id from customer_unindexed where account_id < $1
         order by account_id desc limit $2",
    );
    let ids: Vec<(i64,)> = query.bind(below).bind(limit).all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

#[derive(Serialize)]
struct Entry {
    organization: i64,
    word: String,
    account: i64,
}

#[derive(sqlx::FromRow)]
struct Named {
    id: i64,
    organization_id: OrganizationId,
    name: String,
    email: String,
    company: String,
}

/// Indexes some who are not yet; gives how many.
pub(super) async fn index(db: &Db, step: i64) -> Result<usize> {
    let waiting: Option<(i64,)> =
        db.query("select account_id from customer_unindexed limit 1").optional().await?;
    if waiting.is_none() {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "select account_id from customer_unindexed order by account_id limit $1
         for update skip locked",
        "select account_id from customer_unindexed order by account_id limit $1",
    );
    let ids: Vec<(i64,)> = tx.query(sql).bind(step).all().await?;
    let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
    let list = json(&ids)?;
    let sql = tx.dialect(
        "select id, organization_id, name, coalesce(email, '') as email, company from customer
         where id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "select id, organization_id, name, coalesce(email, '') as email, company from customer
         where id in (select value from json_each($1))",
    );
    let named: Vec<Named> = tx.query(sql).bind(&list).all().await?;
    let mut rows: Vec<Entry> = named
        .iter()
        .flat_map(|one| {
            let (organization, account) = (one.organization_id.0, one.id);
            let words = words::words(&one.name, &one.email, &one.company).into_iter();
            words.map(move |word| Entry { organization, word, account })
        })
        .collect();
    rows.sort_unstable_by(|a, b| (a.organization, &a.word).cmp(&(b.organization, &b.word)));
    let sql = tx.dialect(
        "delete from customer_word where account_id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "delete from customer_word where account_id in (select value from json_each($1))",
    );
    tx.query(sql).bind(&list).run().await?;
    let sql = tx.dialect(
        "insert into customer_word (organization_id, word, account_id)
         select r.organization, r.word, r.account
         from json_to_recordset(cast($1 as json)) as r(organization bigint, word text,
             account bigint)
         on conflict do nothing",
        "insert into customer_word (organization_id, word, account_id)
         select value ->> 'organization', value ->> 'word', value ->> 'account'
         from jsonb_each($1) where true
         on conflict do nothing",
    );
    tx.query(sql).bind(json(&rows)?).run().await?;
    let sql = tx.dialect(
        "delete from customer_unindexed where account_id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "delete from customer_unindexed where account_id in (select value from json_each($1))",
    );
    tx.query(sql).bind(&list).run().await?;
    tx.commit().await?;
    Ok(ids.len())
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
