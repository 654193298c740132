//! Finding contacts by words: of names, company, address and telephone. The index follows the
//! writer; whose words are not there yet is looked at one by one, so that a search is true at once.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;

use super::{
    Contact,
    store::{ContactRow, json, list},
};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    db::{Db, Result},
};

/// Contacts that are indexed in one transaction: some 10 ms, which who writes meanwhile waits for.
const STEP: i64 = 200;
/// While contacts are written, the indexer rests so many times as long as it worked: nobody who
/// waits for an answer should wait for words.
const WAY: u32 = 4;
/// How long the indexer rests when nothing is left.
const REST: Duration = Duration::from_secs(2);
/// Candidates of a search that are looked at: more would not be read by anybody.
const LOOKS: i64 = 5000;
/// Contacts not indexed yet that are looked at one by one.
const UNINDEXED: i64 = 10_000;
/// Words of a search.
const MAX_WORDS: usize = 8;

#[derive(Serialize)]
struct Row {
    organization: i64,
    word: String,
    contact: i64,
}

/// The words of a contact, in lower case.
fn words(contact: &Contact) -> BTreeSet<String> {
    let email = contact.email.as_deref().unwrap_or_default().to_lowercase();
    let texts =
        [&contact.first_name, &contact.last_name, &contact.company, &contact.email_domain, &email];
    let mut words: BTreeSet<String> = texts.iter().flat_map(|text| split(text)).collect();
    words.insert(email);
    let digits = contact.phone.as_deref().unwrap_or(&contact.phone_given);
    words.insert(digits.chars().filter(char::is_ascii_digit).collect());
    words.remove("");
    words.into_iter().map(|word| word.chars().take(100).collect()).take(40).collect()
}

fn split(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

/// The words that are looked for; an address stays whole.
fn asked(text: &str) -> Vec<String> {
    let parts = text.split_whitespace().flat_map(|part| {
        if part.contains('@') {
            return vec![part.to_lowercase()];
        }
        let digits: String = part.chars().filter(char::is_ascii_digit).collect();
        let is_number =
            digits.len() > 3 && part.chars().all(|c| c.is_ascii_digit() || "+-()./".contains(c));
        if is_number { vec![digits] } else { split(part).collect() }
    });
    parts.take(MAX_WORDS).collect()
}

/// Contacts in whose words each of the text's words begins one, newest first; and whether there
/// may be more than were looked at.
pub async fn search(
    db: &Db,
    organization: OrganizationId,
    text: &str,
    filter: &list::Filter,
    below: Option<i64>,
    limit: usize,
) -> Result<(Vec<Contact>, bool)> {
    let asked = asked(text);
    let Some(longest) = asked.iter().max_by_key(|word| word.len()) else {
        return Ok((Vec::new(), false));
    };
    let below = below.unwrap_or(i64::MAX);
    let mut end = longest.clone();
    end.push(char::MAX);
    // These first: who is indexed between the two is found by both, and else would be by neither.
    let unindexed: Vec<(i64,)> = db
        .query(
            "select u.contact_id from contact_unindexed u join contact c on c.id = u.contact_id
             where c.organization_id = $1 and u.contact_id < $2
             order by u.contact_id desc limit $3",
        )
        .bind(organization)
        .bind(below)
        .bind(UNINDEXED)
        .all()
        .await?;
    let mut ids: Vec<(i64,)> = db
        .query(
            "select contact_id from contact_word
             where organization_id = $1 and word >= $2 and word < $3 and contact_id < $4 limit $5",
        )
        .bind(organization)
        .bind(longest)
        .bind(end)
        .bind(below)
        .bind(LOOKS)
        .all()
        .await?;
    let many = |found: usize, most: i64| i64::try_from(found).is_ok_and(|found| found >= most);
    let mut more = many(ids.len(), LOOKS);
    more |= many(unindexed.len(), UNINDEXED);
    ids.extend(unindexed);
    let ids: BTreeSet<i64> = ids.into_iter().map(|(id,)| id).collect();
    let ids: Vec<i64> = ids.into_iter().rev().collect();
    let mut found = Vec::new();
    for chunk in ids.chunks(1000) {
        for contact in list::of_ids(db, organization, filter, chunk).await? {
            let words = words(&contact);
            if asked.iter().all(|asked| words.iter().any(|word| word.starts_with(asked.as_str()))) {
                found.push(contact);
            }
        }
        if found.len() >= limit {
            more |= found.len() > limit;
            found.truncate(limit);
            break;
        }
    }
    Ok((found, more))
}

/// Begins to index what is not there yet.
pub(super) fn start(app: &App, written: Arc<AtomicUsize>) {
    let (db, shutdown) = (app.db.clone(), app.shutdown.clone());
    app.tasks.spawn(async move {
        let mut seen = written.load(Ordering::Relaxed);
        loop {
            let began = clock::instant();
            match step(&db).await {
                Ok(done) if done > 0 => {
                    let now = written.load(Ordering::Relaxed);
                    let is_busy = now != seen;
                    seen = now;
                    // Writers go first.
                    let rest = if is_busy { began.elapsed() * WAY } else { Duration::ZERO };
                    let rest = tokio::time::sleep(rest.min(REST));
                    if shutdown.run_until_cancelled(rest).await.is_none() {
                        return;
                    }
                    continue;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "contacts could not be indexed; trying again"),
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(REST)).await.is_none() {
                return;
            }
        }
    });
}

/// Indexes some contacts; gives how many.
async fn step(db: &Db) -> Result<usize> {
    let waiting: Option<(i64,)> =
        db.query("select contact_id from contact_unindexed limit 1").optional().await?;
    if waiting.is_none() {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    // Who is being removed is passed by: that holds the contact, and waits for its words.
    let sql = tx.dialect(
        "select u.contact_id from contact_unindexed u join contact c on c.id = u.contact_id
         order by u.contact_id limit $1
         for key share of c skip locked for update of u skip locked",
        "select contact_id from contact_unindexed order by contact_id limit $1",
    );
    let ids: Vec<(i64,)> = tx.query(sql).bind(STEP).all().await?;
    let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
    let list = json(&ids)?;
    let sql = tx.dialect(
        "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
             source, sources, tags, attributes, consent, bounced, version, created_at,
             updated_at, active_at
         from contact where id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
             source, sources, tags, attributes, consent, bounced, version, created_at,
             updated_at, active_at
         from contact where id in (select value from json_each($1))",
    );
    let contacts: Vec<ContactRow> = tx.query(sql).bind(&list).all().await?;
    let contacts: Vec<Contact> = contacts.into_iter().map(Contact::from).collect();
    let sql = tx.dialect(
        "select id, organization_id from contact where id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "select id, organization_id from contact where id in (select value from json_each($1))",
    );
    let of: Vec<(i64, i64)> = tx.query(sql).bind(&list).all().await?;
    let of: std::collections::HashMap<i64, i64> = of.into_iter().collect();
    let mut rows: Vec<Row> = contacts
        .iter()
        .flat_map(|contact| {
            let organization = of.get(&contact.id).copied().unwrap_or_default();
            words(contact).into_iter().map(move |word| Row {
                organization,
                word,
                contact: contact.id,
            })
        })
        .collect();
    rows.sort_unstable_by(|a, b| (a.organization, &a.word).cmp(&(b.organization, &b.word)));
    let sql = tx.dialect(
        "delete from contact_word where contact_id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "delete from contact_word where contact_id in (select value from json_each($1))",
    );
    tx.query(sql).bind(&list).run().await?;
    let sql = tx.dialect(
        "insert into contact_word (organization_id, word, contact_id)
         select r.organization, r.word, r.contact
         from json_to_recordset(cast($1 as json)) as r(organization bigint, word text,
             contact bigint)
         on conflict do nothing",
        "insert into contact_word (organization_id, word, contact_id)
         select value ->> 'organization', value ->> 'word', value ->> 'contact'
         from jsonb_each($1) where true
         on conflict do nothing",
    );
    tx.query(sql).bind(json(&rows)?).run().await?;
    let sql = tx.dialect(
        "delete from contact_unindexed where contact_id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "delete from contact_unindexed where contact_id in (select value from json_each($1))",
    );
    tx.query(sql).bind(&list).run().await?;
    tx.commit().await?;
    Ok(ids.len())
}
