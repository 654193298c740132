//! Several contacts that are one person: finding them, and making one of two.

mod routes;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{Contact, Status, activity, consent, find, segment::Rules, settle::settle};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit},
    clock,
    db::Db,
    error::{Error, Result},
};

pub use routes::router;

use store::Row;

/// Most groups of a page of duplicates.
pub const MAX_GROUPS: i64 = 100;

/// By what contacts are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DuplicatesBy)]
pub enum By {
    /// One address but for what its provider ignores.
    #[default]
    Email,
    Phone,
    /// First name, last name and company.
    Name,
}

impl By {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Name => "name",
        }
    }
}

/// One of several that may be one person.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Alike {
    pub id: i64,
    pub email: Option<String>,
    pub name: String,
    pub company: String,
    pub phone: Option<String>,
    pub source: String,
    #[schema(inline)]
    pub consent: Status,
    pub created_at: DateTime<Utc>,
    pub active_at: DateTime<Utc>,
}

/// Contacts that are alike.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Duplicates {
    /// What they have in common.
    pub same: String,
    /// The oldest first.
    #[schema(inline)]
    pub contacts: Vec<Alike>,
}

/// Groups of contacts that are alike, in order of what they have in common, after `after`.
pub async fn duplicates(
    db: &Db,
    organization: OrganizationId,
    by: By,
    after: &str,
    limit: i64,
) -> Result<Vec<Duplicates>> {
    let same = match by {
        By::Email => store::same_email(db, organization, after, limit).await?,
        By::Phone => store::same_phone(db, organization, after, limit).await?,
        By::Name => store::same_name(db, organization, after, limit).await?,
    };
    let list = json!(same.iter().map(|(same,)| same).collect::<Vec<_>>()).to_string();
    let found = match by {
        By::Email => store::of_emails(db, organization, list).await?,
        By::Phone => store::of_phones(db, organization, list).await?,
        By::Name => store::of_names(db, organization, list).await?,
    };
    let mut groups: BTreeMap<String, Vec<Alike>> = BTreeMap::new();
    for one in found {
        groups.entry(one.same).or_default().push(Alike {
            id: one.id,
            email: one.email,
            name: format!("{} {}", one.first_name, one.last_name).trim().to_owned(),
            company: one.company,
            phone: one.phone,
            source: one.source,
            consent: one.consent,
            created_at: one.created_at,
            active_at: one.active_at,
        });
    }
    let groups = groups.into_iter().filter(|(_, contacts)| contacts.len() > 1);
    Ok(groups.map(|(same, contacts)| Duplicates { same, contacts }).collect())
}

/// Where an id leads that was merged into another contact.
pub async fn leads_to(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<i64>> {
    Ok(store::leads_to(db, organization, id).await?)
}

/// Whose value a field keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MergeSide)]
pub enum Side {
    /// Of the contact that stays.
    Into,
    /// Of the one that ends.
    From,
}

/// Two contacts to become one.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MergeContacts)]
pub struct Merge {
    /// The one that ends; its id leads to the other one from then on.
    pub from: i64,
    /// Whose value counts, by field: email, first_name, last_name, company, phone, source. Of
    /// what is left out the one that stays keeps its own, unless it has none.
    #[serde(default)]
    #[schema(inline)]
    pub fields: BTreeMap<String, Side>,
}

const FIELDS: [&str; 6] = ["email", "first_name", "last_name", "company", "phone", "source"];

/// The contact that two become.
fn joined(into: &Row, from: &Row, fields: &BTreeMap<String, Side>) -> Result<Row> {
    let side = |name: &str, has: bool| match fields.get(name) {
        Some(side) => *side,
        None if has => Side::Into,
        None => Side::From,
    };
    let pick = |name: &str, into: &String, from: &String| match side(name, !into.is_empty()) {
        Side::Into => into.clone(),
        Side::From => from.clone(),
    };
    let email = match side("email", into.email.is_some()) {
        Side::Into => into,
        Side::From => from,
    };
    let phone = match side("phone", !into.phone_given.is_empty() || into.phone.is_some()) {
        Side::Into => into,
        Side::From => from,
    };
    if email.email.is_none() && phone.phone_given.is_empty() && phone.phone.is_none() {
        return Err(Error::invalid(
            "the contact would have neither an address nor a telephone number; keep one of them",
        ));
    }
    // Who said no, said no.
    let withdrawn = [into.consent, from.consent].contains(&Status::Withdrawn);
    let mut sources: Vec<String> = list(&into.sources)?;
    for source in list::<Vec<String>>(&from.sources)? {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    let mut tags: BTreeSet<String> = list(&into.tags)?;
    tags.extend(list::<BTreeSet<String>>(&from.tags)?);
    let mut attributes: BTreeMap<String, String> = list(&from.attributes)?;
    attributes.extend(list::<BTreeMap<String, String>>(&into.attributes)?);
    Ok(Row {
        id: into.id,
        email: email.email.clone(),
        email_key: email.email_key.clone(),
        email_domain: email.email_domain.clone(),
        email_like: email.email_like.clone(),
        first_name: pick("first_name", &into.first_name, &from.first_name),
        last_name: pick("last_name", &into.last_name, &from.last_name),
        company: pick("company", &into.company, &from.company),
        phone: phone.phone.clone(),
        phone_given: phone.phone_given.clone(),
        source: pick("source", &into.source, &from.source),
        sources: json!(sources).to_string(),
        tags: json!(tags).to_string(),
        attributes: json!(attributes).to_string(),
        consent: if withdrawn { Status::Withdrawn } else { email.consent },
        bounced: email.bounced.clone(),
        version: into.version,
        created_at: into.created_at.min(from.created_at),
        active_at: into.active_at.max(from.active_at),
    })
}

fn list<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Internal(error.into()))
}

/// Makes one contact of two: all that hangs on the one hangs on the other afterwards. It cannot
/// be undone.
pub async fn join(app: &App, caller: &Caller, id: i64, merge: Merge) -> Result<Contact> {
    let organization = caller.organization;
    if let Some(unknown) = merge.fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(Error::invalid(format!(
            "fields are {}; {:?} is none of them",
            FIELDS.join(", "),
            unknown.chars().take(60).collect::<String>()
        )));
    }
    if merge.from == id {
        return Err(Error::invalid("from is the contact itself; name the other one"));
    }
    let now = clock::now();
    let mut tx = app.db.begin().await?;
    let rules = Rules::hold(&mut tx, organization).await?;
    // In the order of their ids, so that two merges never wait for each other.
    let mut rows = Vec::new();
    for wanted in [id.min(merge.from), id.max(merge.from)] {
        let row = store::take(&mut tx, organization, wanted).await?;
        rows.push(row.ok_or(Error::NotFound("contact"))?);
    }
    let row = |id: i64| rows.iter().find(|row| row.id == id).ok_or(Error::NotFound("contact"));
    let (into, from) = (row(id)?, row(merge.from)?);
    let joined = joined(into, from, &merge.fields)?;
    let by = caller.author();
    store::write(&mut tx, &joined, from.id, now).await?;
    store::move_all(&mut tx, organization, from.id, id, &by, now).await?;
    if joined.consent != into.consent {
        let source = format!("merged from contact {}", from.id);
        consent::follow(&mut tx, organization, id, joined.consent, &source, now).await?;
    }
    let detail = json!({ "from": from.id });
    activity::note(&mut tx, organization, id, "merged", &by, &detail, now).await?;
    settle(&mut tx, &rules, organization, id, now).await?;
    let detail = json!({ "from": from.id, "versions": [into.version, from.version] });
    let subject = format!("contact {id}");
    audit::write(&mut tx, organization, caller, "contact.merge", &subject, &detail).await?;
    tx.commit().await?;
    find(&app.db, organization, id).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Row, Side, Status, joined};
    use crate::clock;

    fn row(id: i64, email: Option<&str>, first_name: &str, consent: Status) -> Row {
        Row {
            id,
            email: email.map(str::to_owned),
            email_key: email.map(str::to_owned),
            email_domain: String::new(),
            email_like: None,
            first_name: first_name.to_owned(),
            last_name: String::new(),
            company: String::new(),
            phone: None,
            phone_given: String::new(),
            source: String::new(),
            sources: format!("[\"s{id}\"]"),
            tags: format!("[\"t{id}\"]"),
            attributes: format!("{{\"a\":\"{id}\",\"only{id}\":\"x\"}}"),
            consent,
            bounced: None,
            version: 1,
            created_at: clock::now(),
            active_at: clock::now(),
        }
    }

    #[test]
    fn who_stays_keeps_what_it_has() {
        let into = row(1, Some("a@example.com"), "", Status::Confirmed);
        let from = row(2, Some("b@example.com"), "Ada", Status::None);
        let both = joined(&into, &from, &BTreeMap::new()).unwrap();
        assert_eq!(both.email.as_deref(), Some("a@example.com"));
        assert_eq!((both.first_name.as_str(), both.consent), ("Ada", Status::Confirmed));
        assert_eq!(both.sources, r#"["s1","s2"]"#);
        assert_eq!(both.tags, r#"["t1","t2"]"#);
        assert_eq!(both.attributes, r#"{"a":"1","only1":"x","only2":"x"}"#);
        // Consent belongs to the address it was given for.
        let fields = [("email".to_owned(), Side::From)].into();
        let both = joined(&into, &from, &fields).unwrap();
        assert_eq!((both.email.as_deref(), both.consent), (Some("b@example.com"), Status::None));
    }

    #[test]
    fn no_stays_no() {
        let into = row(1, Some("a@example.com"), "", Status::Confirmed);
        let from = row(2, Some("b@example.com"), "", Status::Withdrawn);
        assert_eq!(joined(&into, &from, &BTreeMap::new()).unwrap().consent, Status::Withdrawn);
        assert_eq!(joined(&from, &into, &BTreeMap::new()).unwrap().consent, Status::Withdrawn);
    }

    #[test]
    fn somebody_nobody_can_reach_is_nobody() {
        let fields: BTreeMap<_, _> = [("email".to_owned(), Side::From)].into();
        let into = row(1, Some("a@example.com"), "", Status::None);
        let refused = joined(&into, &row(2, None, "", Status::None), &fields).unwrap_err();
        assert!(refused.to_string().contains("neither"), "{refused}");
    }
}
