//! A person changes or removes a contact.

use std::collections::{BTreeMap, BTreeSet};

use rlibphonenumber::Region;
use serde::{Deserialize, Deserializer};
use serde_json::json as value;

use super::{
    Contact, Email, activity, e164,
    merge::{MAX_TEXT, tidy},
    segment::{Member, Rules},
    store::{ContactRow, json, list, write::unindexed},
};
use crate::{
    auth::{Caller, audit},
    clock,
    db::{self, Db},
    error::{Error, Result},
};

/// What is to change; what is left out stays. Consent has a way of its own, with its proof.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = ContactChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The version that the change was made from; if the contact has changed since, it is refused.
    pub version: Option<i64>,
    /// Null takes the address away, if there is a telephone number.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub email: Option<Option<String>>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub company: Option<String>,
    /// As it is dialled; an empty text takes it away.
    pub phone: Option<String>,
    /// All tags.
    pub tags: Option<BTreeSet<String>>,
    /// Laid over those that are there; an empty value removes.
    pub attributes: Option<BTreeMap<String, String>>,
}

impl Change {
    fn is_empty(&self) -> bool {
        self.email.is_none()
            && self.first_name.is_none()
            && self.last_name.is_none()
            && self.company.is_none()
            && self.phone.is_none()
            && self.tags.is_none()
            && self.attributes.is_none()
    }
}

/// Tells null from what is not there.
#[expect(clippy::option_option, reason = "left out, null and given are three things")]
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

/// Changes a contact and places it anew.
pub async fn change(
    db: &Db,
    caller: &Caller,
    region: Option<Region>,
    id: i64,
    change: Change,
) -> Result<Contact> {
    if change.is_empty() {
        return Err(Error::invalid("name a field to be changed, such as first_name or tags"));
    }
    let now = clock::now();
    let mut tx = db.begin().await?;
    let rules = Rules::hold(&mut tx, caller.organization).await?;
    let sql = tx.dialect(
        "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
             source, sources, tags, attributes, consent, bounced, version, created_at,
             updated_at, active_at
         from contact where organization_id = $1 and id = $2 for update",
        "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
             source, sources, tags, attributes, consent, bounced, version, created_at,
             updated_at, active_at
         from contact where organization_id = $1 and id = $2",
    );
    let row: Option<ContactRow> =
        tx.query(sql).bind(caller.organization).bind(id).optional().await?;
    let before = Contact::from(row.ok_or(Error::NotFound("contact"))?);
    if change.version.is_some_and(|version| version != before.version) {
        return Err(Error::Conflict(format!(
            "somebody changed this contact meanwhile (it has version {}); load it anew and change that",
            before.version
        )));
    }
    let mut after = before.clone();
    apply(&mut after, &change, region)?;
    if after == before {
        return Ok(before);
    }
    after.version += 1;
    after.updated_at = now;
    let email = after.email.as_deref().and_then(|text| Email::parse(text).ok());
    tx.query(
        "update contact set email = $2, email_key = $3, email_domain = $4, email_like = $5,
             first_name = $6, last_name = $7, company = $8, phone = $9, phone_given = $10,
             tags = $11, attributes = $12, version = $13, updated_at = $14,
             bounced = $15
         where id = $1",
    )
    .bind(id)
    .bind(after.email.clone())
    .bind(email.as_ref().map(|it| it.key.clone()))
    .bind(&after.email_domain)
    .bind(email.as_ref().and_then(|it| it.like.clone()))
    .bind(&after.first_name)
    .bind(&after.last_name)
    .bind(&after.company)
    .bind(after.phone.clone())
    .bind(&after.phone_given)
    .bind(json(&after.tags)?)
    .bind(json(&after.attributes)?)
    .bind(after.version)
    .bind(now)
    .bind(after.bounced.clone())
    .run()
    .await
    .map_err(|error| {
        if db::is_duplicate(&error) {
            Error::Conflict(
                "email: another contact has this address; merge the two instead".to_owned(),
            )
        } else {
            error.into()
        }
    })?;
    if after.tags != before.tags {
        tx.query("delete from contact_tag where contact_id = $1").bind(id).run().await?;
        for tag in &after.tags {
            tx.query(
                "insert into contact_tag (organization_id, tag, contact_id) values ($1, $2, $3)",
            )
            .bind(caller.organization)
            .bind(tag)
            .bind(id)
            .run()
            .await?;
        }
    }
    unindexed(&mut tx, &[id]).await?;
    let detail = value!({"fields": changed(&before, &after)});
    let by = caller.author();
    activity::note(&mut tx, caller.organization, id, "updated", &by, &detail, now).await?;
    rules.place(&mut tx, &[Member { contact: &after, is_new: false }], now).await?;
    let subject = format!("contact {id}");
    audit::write(&mut tx, caller.organization, caller, "contact.changed", &subject, &detail)
        .await?;
    tx.commit().await?;
    Ok(after)
}

fn apply(contact: &mut Contact, change: &Change, region: Option<Region>) -> Result<()> {
    let texts = [
        (&change.first_name, &mut contact.first_name),
        (&change.last_name, &mut contact.last_name),
        (&change.company, &mut contact.company),
    ];
    for (new, old) in texts {
        if let Some(new) = new {
            *old = tidy(new, MAX_TEXT);
        }
    }
    if let Some(phone) = &change.phone {
        contact.phone_given = tidy(phone, 100);
        contact.phone = e164(phone, region);
        if contact.phone.is_none() && !contact.phone_given.is_empty() {
            return Err(Error::invalid(
                "phone: this is no telephone number; write it with its country's prefix, such as +44 20 7946 0018",
            ));
        }
    }
    match &change.email {
        None => {}
        Some(None) if contact.phone.is_none() => {
            return Err(Error::invalid(
                "email: without a telephone number a contact needs its address",
            ));
        }
        Some(None) => {
            contact.email = None;
            contact.email_domain.clear();
        }
        Some(Some(text)) => {
            let email =
                Email::parse(text).map_err(|why| Error::invalid(format!("email: it {why}")))?;
            // What came back belonged to the address that is gone.
            if contact.email.as_deref() != Some(&email.given) {
                contact.bounced = None;
            }
            email.domain().clone_into(&mut contact.email_domain);
            contact.email = Some(email.given);
        }
    }
    if let Some(tags) = &change.tags {
        if tags.len() > 100 {
            return Err(Error::invalid("tags: at most 100 stay on one contact"));
        }
        contact.tags = tags.iter().map(|tag| tidy(tag, 100)).filter(|it| !it.is_empty()).collect();
    }
    for (name, text) in change.attributes.iter().flatten() {
        let (name, text) = (tidy(name, 100), tidy(text, 2000));
        if name.is_empty() {
            return Err(Error::invalid("attributes: each needs a name"));
        }
        if text.is_empty() {
            contact.attributes.remove(&name);
        } else {
            contact.attributes.insert(name, text);
        }
    }
    if contact.attributes.len() > 200 {
        return Err(Error::invalid("attributes: at most 200 stay on one contact"));
    }
    Ok(())
}

/// The names of what is not as it was.
fn changed(before: &Contact, after: &Contact) -> Vec<&'static str> {
    let fields = [
        ("email", before.email != after.email),
        ("first_name", before.first_name != after.first_name),
        ("last_name", before.last_name != after.last_name),
        ("company", before.company != after.company),
        ("phone", before.phone_given != after.phone_given),
        ("tags", before.tags != after.tags),
        ("attributes", before.attributes != after.attributes),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Removes a contact with its history; its address may come again.
pub async fn remove(db: &Db, caller: &Caller, id: i64) -> Result<()> {
    list::find(db, caller.organization, id).await?.ok_or(Error::NotFound("contact"))?;
    let mut tx = db.begin().await?;
    tx.query("delete from contact where organization_id = $1 and id = $2")
        .bind(caller.organization)
        .bind(id)
        .run()
        .await?;
    let subject = format!("contact {id}");
    let nothing = value!({});
    audit::write(&mut tx, caller.organization, caller, "contact.removed", &subject, &nothing)
        .await?;
    Ok(tx.commit().await?)
}
