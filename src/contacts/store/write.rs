//! Storing what came about people: few statements for many contacts, one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json as value;

use super::row::{ContactRow, json, text};
use crate::{
    auth::OrganizationId,
    contacts::{
        Arrival, Contact, Done, Recorded, Status,
        merge::{blank, done, merge},
        segment::{Member, Rules},
        suppress,
    },
    db::{Result, Tx},
    seal::Keyed,
};

/// A contact on its way: as it was, as it becomes, and what is to be noted.
struct Work {
    contact: Contact,
    email_key: Option<String>,
    email_like: Option<String>,
    is_new: bool,
    is_changed: bool,
    old_tags: BTreeSet<String>,
    notes: Vec<Note>,
    consents: Vec<Consent>,
}

#[derive(Serialize)]
struct Note {
    /// Filled in when the contact has an id.
    contact: i64,
    kind: &'static str,
    by: String,
    detail: String,
    at: String,
}

#[derive(Serialize)]
struct Consent {
    contact: i64,
    status: Status,
    source: String,
    wording: String,
    address: Option<String>,
    at: String,
}

#[derive(Serialize)]
struct New<'a> {
    id: i64,
    email: Option<&'a str>,
    email_key: Option<&'a str>,
    email_domain: &'a str,
    email_like: Option<&'a str>,
    first_name: &'a str,
    last_name: &'a str,
    company: &'a str,
    phone: Option<&'a str>,
    phone_given: &'a str,
    source: &'a str,
    sources: String,
    tags: String,
    attributes: String,
    consent: Status,
    at: String,
}

#[derive(Serialize)]
struct Change<'a> {
    id: i64,
    email: Option<&'a str>,
    email_key: Option<&'a str>,
    email_domain: &'a str,
    email_like: Option<&'a str>,
    first_name: &'a str,
    last_name: &'a str,
    company: &'a str,
    phone: Option<&'a str>,
    phone_given: &'a str,
    source: &'a str,
    sources: String,
    tags: String,
    attributes: String,
    consent: Status,
    version: i64,
    updated_at: String,
    active_at: String,
}

#[derive(Serialize)]
struct TagRow<'a> {
    tag: &'a str,
    contact: i64,
}

/// What the writer needs besides what came.
pub(in crate::contacts) struct Terms<'a> {
    /// None where nobody says anything about consent.
    pub(in crate::contacts) keyed: Option<&'a Keyed>,
    pub(in crate::contacts) now: DateTime<Utc>,
}

/// Merges what came into what is known, in order; gives each contact as it is then.
///
/// The segments' rules cannot change until the transaction ends ([`Rules::hold`]). Another
/// replica that stores the same new address at the same time makes the insert wait, and then
/// fail as a duplicate: the caller tries again and finds the row.
pub(in crate::contacts) async fn write(
    tx: &mut Tx,
    organization: OrganizationId,
    items: &[&Arrival],
    terms: &Terms<'_>,
) -> Result<Vec<Recorded>> {
    let rules = Rules::hold(tx, organization).await?;
    let suppressed = suppressed(tx, organization, items, terms.keyed).await?;
    let (mut works, places) = gather(tx, organization, items, terms).await?;
    let mut outcomes = Vec::with_capacity(items.len());
    for (item, &place) in items.iter().zip(&places) {
        let work = &mut works[place];
        let was_new = work.is_new && work.notes.is_empty();
        let is_suppressed =
            item.person.email.as_ref().is_some_and(|it| suppressed.contains(&it.key));
        let consent = work.contact.consent;
        let changed = merge(&mut work.contact, item, is_suppressed);
        work.contact.active_at = terms.now;
        if let Some(email) = &item.person.email
            && changed.contains(&"email")
        {
            work.email_key = Some(email.key.clone());
            work.email_like.clone_from(&email.like);
        }
        if !changed.is_empty() || was_new {
            work.is_changed = true;
            let kind = if was_new { "created" } else { "updated" };
            let detail = value!({"fields": changed, "source": item.person.source});
            work.notes.push(Note {
                contact: 0,
                kind,
                by: item.person.by.clone(),
                detail: detail.to_string(),
                at: text(terms.now),
            });
        }
        if work.contact.consent != consent
            && let Some(agreed) = &item.person.consent
        {
            work.consents.push(Consent {
                contact: 0,
                status: agreed.status,
                source: agreed.source.clone(),
                wording: agreed.wording.clone(),
                address: agreed.address.clone(),
                at: text(agreed.at.unwrap_or(terms.now)),
            });
        }
        outcomes.push(done(was_new, &changed));
    }
    for work in works.iter_mut().filter(|work| work.is_changed && !work.is_new) {
        work.contact.version += 1;
        work.contact.updated_at = terms.now;
    }
    insert(tx, organization, &mut works).await?;
    update(tx, &works).await?;
    tags(tx, organization, &works).await?;
    note(tx, organization, &mut works, terms.now).await?;
    let members: Vec<Member<'_>> =
        works.iter().map(|work| Member { contact: &work.contact, is_new: work.is_new }).collect();
    let segments = rules.place(tx, &members, terms.now).await?;
    Ok(outcomes
        .into_iter()
        .zip(places)
        .map(|(done, place)| Recorded {
            done,
            contact: works[place].contact.clone(),
            segments: segments[place].clone(),
        })
        .collect())
}

/// What [`write()`] would do with each, without doing it.
pub(in crate::contacts) async fn judge(
    tx: &mut Tx,
    organization: OrganizationId,
    items: &[&Arrival],
    terms: &Terms<'_>,
) -> Result<Vec<Done>> {
    let suppressed = suppressed(tx, organization, items, terms.keyed).await?;
    let (mut works, places) = gather(tx, organization, items, terms).await?;
    let mut judged = Vec::with_capacity(items.len());
    for (item, place) in items.iter().zip(places) {
        let work = &mut works[place];
        let is_suppressed =
            item.person.email.as_ref().is_some_and(|it| suppressed.contains(&it.key));
        let changed = merge(&mut work.contact, item, is_suppressed);
        judged.push(done(work.is_new, &changed));
        work.is_new = false;
    }
    Ok(judged)
}

/// Which of the addresses are on the list of those that are not written to.
async fn suppressed(
    tx: &mut Tx,
    organization: OrganizationId,
    items: &[&Arrival],
    keyed: Option<&Keyed>,
) -> Result<BTreeSet<String>> {
    let Some(keyed) = keyed else { return Ok(BTreeSet::new()) };
    // Asked only where it matters: where something says that mail is wanted.
    let asked: BTreeMap<String, &str> = items
        .iter()
        .map(|item| &item.person)
        .filter(|person| person.consent.as_ref().is_some_and(|it| it.status != Status::Withdrawn))
        .filter_map(|person| person.email.as_ref())
        .map(|email| (suppress::hash(keyed, &email.key), &*email.key))
        .collect();
    if asked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = tx.dialect(
        "select email_hash from suppression where organization_id = $1
             and email_hash in (select value from json_array_elements_text(cast($2 as json)))",
        "select email_hash from suppression where organization_id = $1
             and email_hash in (select value from json_each($2))",
    );
    let hashes: Vec<&String> = asked.keys().collect();
    let found: Vec<(String,)> = tx.query(sql).bind(organization).bind(json(&hashes)?).all().await?;
    Ok(found.iter().filter_map(|(hash,)| asked.get(hash)).map(|key| (*key).to_owned()).collect())
}

/// The contacts that are meant, those that are known already locked; and which of them each item
/// is about. People are the same by their address; without one, by their telephone.
async fn gather(
    tx: &mut Tx,
    organization: OrganizationId,
    items: &[&Arrival],
    terms: &Terms<'_>,
) -> Result<(Vec<Work>, Vec<usize>)> {
    let keys: BTreeSet<&str> =
        items.iter().filter_map(|it| it.person.email.as_ref()).map(|email| &*email.key).collect();
    // Only those without an address are looked for by their telephone.
    let numbers: Vec<Option<&str>> = items
        .iter()
        .map(|item| item.person.email.is_none().then_some(item.number.as_deref()).flatten())
        .collect();
    let phones: BTreeSet<&str> = numbers.iter().flatten().copied().collect();
    let mut works = Vec::with_capacity(items.len());
    let mut by_key: HashMap<String, usize> = HashMap::new();
    let mut by_phone: HashMap<String, usize> = HashMap::new();
    if !keys.is_empty() {
        let sql = tx.dialect(
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at, email_key, email_like
             from contact where organization_id = $1
                 and email_key in (select value from json_array_elements_text(cast($2 as json)))
             order by id for update",
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at, email_key, email_like
             from contact where organization_id = $1
                 and email_key in (select value from json_each($2))",
        );
        let rows: Vec<Known> = tx.query(sql).bind(organization).bind(json(&keys)?).all().await?;
        for row in rows {
            if let Some(key) = row.email_key.clone() {
                by_key.insert(key, works.len());
            }
            works.push(row.into());
        }
    }
    if !phones.is_empty() {
        let sql = tx.dialect(
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at, email_key, email_like
             from contact where organization_id = $1 and email_key is null and phone is not null
                 and phone in (select value from json_array_elements_text(cast($2 as json)))
             order by id for update",
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at, email_key, email_like
             from contact where organization_id = $1 and email_key is null and phone is not null
                 and phone in (select value from json_each($2))",
        );
        let rows: Vec<Known> = tx.query(sql).bind(organization).bind(json(&phones)?).all().await?;
        for row in rows {
            let work = Work::from(row);
            if let Some(phone) = work.contact.phone.clone() {
                by_phone.insert(phone, works.len());
            }
            works.push(work);
        }
    }
    let mut places = Vec::with_capacity(items.len());
    for (item, number) in items.iter().zip(numbers) {
        let found = match (&item.person.email, number) {
            (Some(email), _) => by_key.get(&email.key),
            (None, Some(number)) => by_phone.get(number),
            (None, None) => None,
        };
        let place = found.copied().unwrap_or_else(|| {
            let place = works.len();
            match (&item.person.email, number) {
                (Some(email), _) => {
                    by_key.insert(email.key.clone(), place);
                }
                (None, Some(number)) => {
                    by_phone.insert(number.to_owned(), place);
                }
                (None, None) => {}
            }
            works.push(Work {
                contact: blank(terms.now),
                email_key: None,
                email_like: None,
                is_new: true,
                is_changed: true,
                old_tags: BTreeSet::new(),
                notes: Vec::new(),
                consents: Vec::new(),
            });
            place
        });
        places.push(place);
    }
    Ok((works, places))
}

#[derive(sqlx::FromRow)]
struct Known {
    #[sqlx(flatten)]
    contact: ContactRow,
    email_key: Option<String>,
    email_like: Option<String>,
}

impl From<Known> for Work {
    fn from(known: Known) -> Self {
        let contact = Contact::from(known.contact);
        Self {
            old_tags: contact.tags.clone(),
            contact,
            email_key: known.email_key,
            email_like: known.email_like,
            is_new: false,
            is_changed: false,
            notes: Vec::new(),
            consents: Vec::new(),
        }
    }
}

async fn insert(tx: &mut Tx, organization: OrganizationId, works: &mut [Work]) -> Result<()> {
    let count = works.iter().filter(|work| work.is_new).count();
    if count == 0 {
        return Ok(());
    }
    let ids = ids(tx, count).await?;
    for (work, id) in works.iter_mut().filter(|work| work.is_new).zip(ids) {
        work.contact.id = id;
    }
    let mut new: Vec<&Work> = works.iter().filter(|work| work.is_new).collect();
    // Two that store the same new addresses at once wait for one another in one order.
    new.sort_unstable_by(|a, b| a.email_key.cmp(&b.email_key));
    let rows: Vec<New<'_>> = new.into_iter().map(new_row).collect::<Result<_>>()?;
    let sql = tx.dialect(
        "insert into contact (id, organization_id, email, email_key, email_domain, email_like,
             first_name, last_name, company, phone, phone_given, source, sources, tags, attributes,
             consent, created_at, updated_at, active_at)
         select r.id, $1, r.email, r.email_key, r.email_domain, r.email_like, r.first_name,
             r.last_name, r.company, r.phone, r.phone_given, r.source, r.sources, r.tags,
             r.attributes, r.consent, r.at, r.at, r.at
         from json_to_recordset(cast($2 as json)) as r(id bigint, email text, email_key text,
             email_domain text, email_like text, first_name text, last_name text, company text,
             phone text, phone_given text, source text, sources text, tags text, attributes text,
             consent text, at timestamptz)",
        "insert into contact (id, organization_id, email, email_key, email_domain, email_like,
             first_name, last_name, company, phone, phone_given, source, sources, tags, attributes,
             consent, created_at, updated_at, active_at)
         select value ->> 'id', $1, value ->> 'email', value ->> 'email_key',
             value ->> 'email_domain', value ->> 'email_like', value ->> 'first_name',
             value ->> 'last_name', value ->> 'company', value ->> 'phone',
             value ->> 'phone_given', value ->> 'source', value ->> 'sources', value ->> 'tags',
             value ->> 'attributes', value ->> 'consent', value ->> 'at', value ->> 'at',
             value ->> 'at'
         from jsonb_each($2)",
    );
    tx.query(sql).bind(organization).bind(json(&rows)?).run().await.map(drop)
}

/// Ids for new contacts. None is given twice: where one led that was merged or erased, nobody
/// else is met.
async fn ids(tx: &mut Tx, count: usize) -> Result<Vec<i64>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    // Nobody else writes into SQLite meanwhile: what follows the first is free, too.
    let sql = tx.dialect(
        "select nextval(pg_get_serial_sequence('contact', 'id')) from generate_series(1, $1)",
        "select 1 + max(coalesce((select max(id) from contact), 0),
             coalesce((select id from last_id where of_table = 'contact'), 0))
         where $1 > 0",
    );
    let taken: Vec<(i64,)> = tx.query(sql).bind(count).all().await?;
    let Some(&(first,)) = taken.first() else { return Err(crate::db::Error::RowNotFound) };
    Ok(match tx {
        Tx::Pg(_) => taken.into_iter().map(|(id,)| id).collect(),
        Tx::Lite(..) => (first..first + count).collect(),
    })
}

fn new_row(work: &Work) -> Result<New<'_>> {
    let contact = &work.contact;
    Ok(New {
        id: contact.id,
        email: contact.email.as_deref(),
        email_key: work.email_key.as_deref(),
        email_domain: &contact.email_domain,
        email_like: work.email_like.as_deref(),
        first_name: &contact.first_name,
        last_name: &contact.last_name,
        company: &contact.company,
        phone: contact.phone.as_deref(),
        phone_given: &contact.phone_given,
        source: &contact.source,
        sources: json(&contact.sources)?,
        tags: json(&contact.tags)?,
        attributes: json(&contact.attributes)?,
        consent: contact.consent,
        at: text(contact.created_at),
    })
}

async fn update(tx: &mut Tx, works: &[Work]) -> Result<()> {
    // Whoever was heard of without news has only another active_at.
    let rows = works.iter().filter(|work| !work.is_new).map(|work| {
        let contact = &work.contact;
        Ok(Change {
            id: contact.id,
            email: contact.email.as_deref(),
            email_key: work.email_key.as_deref(),
            email_domain: &contact.email_domain,
            email_like: work.email_like.as_deref(),
            first_name: &contact.first_name,
            last_name: &contact.last_name,
            company: &contact.company,
            phone: contact.phone.as_deref(),
            phone_given: &contact.phone_given,
            source: &contact.source,
            sources: json(&contact.sources)?,
            tags: json(&contact.tags)?,
            attributes: json(&contact.attributes)?,
            consent: contact.consent,
            version: contact.version,
            updated_at: text(contact.updated_at),
            active_at: text(contact.active_at),
        })
    });
    let rows: Vec<Change<'_>> = rows.collect::<Result<_>>()?;
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "update contact set email = r.email, email_key = r.email_key,
             email_domain = r.email_domain, email_like = r.email_like, first_name = r.first_name,
             last_name = r.last_name, company = r.company, phone = r.phone,
             phone_given = r.phone_given, source = r.source, sources = r.sources, tags = r.tags,
             attributes = r.attributes, consent = r.consent, version = r.version,
             updated_at = r.updated_at, active_at = r.active_at
         from json_to_recordset(cast($1 as json)) as r(id bigint, email text, email_key text,
             email_domain text, email_like text, first_name text, last_name text, company text,
             phone text, phone_given text, source text, sources text, tags text, attributes text,
             consent text, version bigint, updated_at timestamptz, active_at timestamptz)
         where contact.id = r.id",
        "update contact set email = value ->> 'email', email_key = value ->> 'email_key',
             email_domain = value ->> 'email_domain', email_like = value ->> 'email_like',
             first_name = value ->> 'first_name', last_name = value ->> 'last_name',
             company = value ->> 'company', phone = value ->> 'phone',
             phone_given = value ->> 'phone_given', source = value ->> 'source',
             sources = value ->> 'sources', tags = value ->> 'tags',
             attributes = value ->> 'attributes', consent = value ->> 'consent',
             version = value ->> 'version', updated_at = value ->> 'updated_at',
             active_at = value ->> 'active_at'
         from jsonb_each($1) where contact.id = value ->> 'id'",
    );
    tx.query(sql).bind(json(&rows)?).run().await.map(drop)
}

/// The tags that are new, beside the contact's own list, and who has to be indexed.
async fn tags(tx: &mut Tx, organization: OrganizationId, works: &[Work]) -> Result<()> {
    let rows: Vec<TagRow<'_>> = works
        .iter()
        .flat_map(|work| {
            let new = work.contact.tags.difference(&work.old_tags);
            new.map(|tag| TagRow { tag, contact: work.contact.id })
        })
        .collect();
    if !rows.is_empty() {
        let sql = tx.dialect(
            "insert into contact_tag (organization_id, tag, contact_id)
             select $1, r.tag, r.contact
             from json_to_recordset(cast($2 as json)) as r(tag text, contact bigint)
             on conflict do nothing",
            "insert into contact_tag (organization_id, tag, contact_id)
             select $1, value ->> 'tag', value ->> 'contact' from jsonb_each($2) where true
             on conflict do nothing",
        );
        tx.query(sql).bind(organization).bind(json(&rows)?).run().await?;
    }
    let changed: Vec<i64> =
        works.iter().filter(|work| work.is_changed).map(|work| work.contact.id).collect();
    unindexed(tx, &changed).await
}

/// Notes whose words have to be looked at again.
pub(in crate::contacts) async fn unindexed(tx: &mut Tx, contacts: &[i64]) -> Result<()> {
    if contacts.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "insert into contact_unindexed (contact_id)
         select cast(value as bigint) from json_array_elements_text(cast($1 as json))
         on conflict do nothing",
        "insert into contact_unindexed (contact_id) select value from json_each($1) where true
         on conflict do nothing",
    );
    tx.query(sql).bind(json(contacts)?).run().await.map(drop)
}

/// Notes who said yes and is to be asked whether that was them.
async fn ask(
    tx: &mut Tx,
    organization: OrganizationId,
    consents: &[Consent],
    now: DateTime<Utc>,
) -> Result<()> {
    let said_yes: Vec<&Consent> =
        consents.iter().filter(|it| it.status == Status::Pending).collect();
    if said_yes.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "insert into contact_unasked (contact_id, organization_id, source, wording, at, next_at)
         select r.contact, $1, r.source, r.wording, $3, $3
         from json_to_recordset(cast($2 as json)) as r(contact bigint, source text, wording text)
         on conflict (contact_id) do nothing",
        "insert into contact_unasked (contact_id, organization_id, source, wording, at, next_at)
         select value ->> 'contact', $1, value ->> 'source', value ->> 'wording', $3, $3
         from jsonb_each($2) where true
         on conflict (contact_id) do nothing",
    );
    tx.query(sql).bind(organization).bind(json(&said_yes)?).bind(now).run().await.map(drop)
}

async fn note(
    tx: &mut Tx,
    organization: OrganizationId,
    works: &mut [Work],
    now: DateTime<Utc>,
) -> Result<()> {
    let (mut notes, mut consents) = (Vec::new(), Vec::new());
    for work in works {
        let contact = work.contact.id;
        notes.extend(work.notes.drain(..).map(|note| Note { contact, ..note }));
        consents.extend(work.consents.drain(..).map(|consent| Consent { contact, ..consent }));
    }
    if !notes.is_empty() {
        let sql = tx.dialect(
            "insert into contact_activity (organization_id, contact_id, kind, at, by, detail)
             select $1, r.contact, r.kind, r.at, r.by, r.detail
             from json_to_recordset(cast($2 as json)) as r(contact bigint, kind text,
                 at timestamptz, by text, detail text)",
            "insert into contact_activity (organization_id, contact_id, kind, at, by, detail)
             select $1, value ->> 'contact', value ->> 'kind', value ->> 'at', value ->> 'by',
                 value ->> 'detail'
             from jsonb_each($2)",
        );
        tx.query(sql).bind(organization).bind(json(&notes)?).run().await?;
    }
    if !consents.is_empty() {
        let sql = tx.dialect(
            "insert into contact_consent (organization_id, contact_id, status, source, wording,
                 address, at)
             select $1, r.contact, r.status, r.source, r.wording, r.address, r.at
             from json_to_recordset(cast($2 as json)) as r(contact bigint, status text,
                 source text, wording text, address text, at timestamptz)",
            "insert into contact_consent (organization_id, contact_id, status, source, wording,
                 address, at)
             select $1, value ->> 'contact', value ->> 'status', value ->> 'source',
                 value ->> 'wording', value ->> 'address', value ->> 'at'
             from jsonb_each($2)",
        );
        tx.query(sql).bind(organization).bind(json(&consents)?).run().await?;
        ask(tx, organization, &consents, now).await?;
    }
    Ok(())
}
