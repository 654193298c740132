//! The index of words, in rows.

use serde::Serialize;

use super::words;
use crate::{
    auth::OrganizationId,
    customers::store::json,
    db::{Db, Result},
};

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
    // Who is being removed is passed by: that holds the account, and waits for its words.
    let sql = tx.dialect(
        "select u.account_id from customer_unindexed u join account a on a.id = u.account_id
         order by u.account_id limit $1
         for key share of a skip locked for update of u skip locked",
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
            let words = words(&one.name, &one.email, &one.company).into_iter();
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
