//! One deed for many contacts.

use std::collections::BTreeSet;

use serde_json::json as value;

use super::{
    Contact, activity,
    merge::tidy,
    segment::{Member, Rules},
    store::{ContactRow, json},
};
use crate::{
    app::App,
    auth::{Caller, audit},
    clock,
    error::{Error, Result},
};

/// The most contacts that one deed takes.
pub const MOST: usize = 10_000;
/// Contacts of one transaction.
const STEP: usize = 500;

/// Gives contacts a tag, or takes it from them; gives the ids of those for whom that was news.
pub async fn tag(app: &App, caller: &Caller, ids: &[i64], tag: &str, on: bool) -> Result<Vec<i64>> {
    let tag = tidy(tag, 100);
    if tag.is_empty() {
        return Err(Error::invalid("write a tag"));
    }
    let organization = caller.organization;
    let mut changed = Vec::new();
    for ids in ids.chunks(STEP) {
        let now = clock::now();
        let mut tx = app.db.begin().await?;
        let rules = Rules::hold(&mut tx, organization).await?;
        let sql = tx.dialect(
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at
             from contact where organization_id = $1 and id in (
                 select cast(value as bigint) from json_array_elements_text(cast($2 as json)))
             order by id for update",
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at
             from contact where +organization_id = $1 and id in (select value from json_each($2))
             order by id",
        );
        let rows: Vec<ContactRow> = tx.query(sql).bind(organization).bind(json(ids)?).all().await?;
        let mut contacts: Vec<Contact> = rows.into_iter().map(Contact::from).collect();
        contacts.retain_mut(|contact| {
            let news =
                if on { contact.tags.insert(tag.clone()) } else { contact.tags.remove(&tag) };
            contact.version += i64::from(news);
            news && contact.tags.len() <= 100
        });
        for contact in &contacts {
            tx.query("update contact set tags = $2, version = $3, updated_at = $4 where id = $1")
                .bind(contact.id)
                .bind(json(&contact.tags)?)
                .bind(contact.version)
                .bind(now)
                .run()
                .await?;
            let detail = value!({ "fields": ["tags"], "tag": tag, "on": on });
            let by = caller.author();
            activity::note(&mut tx, organization, contact.id, "updated", &by, &detail, now).await?;
        }
        let ids: BTreeSet<i64> = contacts.iter().map(|contact| contact.id).collect();
        let sql = if on {
            tx.dialect(
                "insert into contact_tag (organization_id, tag, contact_id)
                 select $1, $2, cast(value as bigint)
                 from json_array_elements_text(cast($3 as json)) on conflict do nothing",
                "insert into contact_tag (organization_id, tag, contact_id)
                 select $1, $2, value from json_each($3) where true on conflict do nothing",
            )
        } else {
            tx.dialect(
                "delete from contact_tag where organization_id = $1 and tag = $2
                   and contact_id in (
                     select cast(value as bigint) from json_array_elements_text(cast($3 as json)))",
                "delete from contact_tag where organization_id = $1 and tag = $2
                   and contact_id in (select value from json_each($3))",
            )
        };
        tx.query(sql).bind(organization).bind(&*tag).bind(json(&ids)?).run().await?;
        let members: Vec<Member<'_>> =
            contacts.iter().map(|contact| Member { contact, is_new: false }).collect();
        rules.place(&mut tx, &members, now).await?;
        tx.commit().await?;
        changed.extend(ids);
    }
    let (action, count) = (if on { "contacts.tag" } else { "contacts.untag" }, changed.len());
    let detail = value!({ "tag": tag, "contacts": count });
    audit::write(&app.db, organization, caller, action, "contacts", &detail).await?;
    Ok(changed)
}

/// Removes contacts with their history; their addresses may come again. Gives how many there were.
pub async fn remove(app: &App, caller: &Caller, ids: &[i64]) -> Result<u64> {
    let organization = caller.organization;
    let mut removed = 0;
    for ids in ids.chunks(STEP) {
        let mut tx = app.db.begin().await?;
        let sql = tx.dialect(
            "delete from contact where organization_id = $1 and id in (
                 select cast(value as bigint) from json_array_elements_text(cast($2 as json)))",
            "delete from contact where +organization_id = $1
               and id in (select value from json_each($2))",
        );
        removed += tx.query(sql).bind(organization).bind(json(ids)?).run().await?;
        tx.commit().await?;
    }
    let detail = value!({ "contacts": removed });
    audit::write(&app.db, organization, caller, "contacts.remove", "contacts", &detail).await?;
    Ok(removed)
}
