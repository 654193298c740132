//! "Tell the customers who met this error": whom of them we know, and a draft for them, once it
//! is proven that it is solved.

use std::collections::BTreeSet;

use chrono::Utc;
use serde::Serialize;
use serde_json::json;

use super::{
    brief::Brief,
    deeds::{self, Wish},
    store::{self, Campaign},
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit},
    clock,
    contacts::Email,
    db::Tx,
    error::{Error, Result},
    errors::{
        shown,
        store::{
            groups::{self, Status},
            series,
        },
    },
};

/// Users of a group that are looked for among the contacts.
const MOST_USERS: i64 = 10_000;
/// Newest events whose details are looked into for addresses.
const EVENTS: i64 = 200;
/// The kind of the evidence that a test left, and nobody's word.
const PROVEN: &str = "probe";
/// The last second of the year 9999: until then members of a static segment are in it.
const FOR_EVER: i64 = 253_402_300_799;

/// What came of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ErrorCampaign)]
pub struct Met {
    /// Users that the error's reports named.
    pub users: usize,
    /// Contacts among them, now the members of the segment.
    pub contacts: i64,
    pub segment_id: i64,
    pub campaign: Campaign,
    /// It was there already.
    pub known: bool,
}

/// How a user of a group can be found among contacts.
#[derive(Debug, Default)]
struct Users {
    named: usize,
    email_keys: BTreeSet<String>,
    ids: BTreeSet<String>,
}

impl Users {
    fn add(&mut self, user: &str) {
        let user = user.trim();
        if user.is_empty() {
            return;
        }
        match Email::parse(user) {
            Ok(email) => self.email_keys.insert(email.key),
            Err(_) => self.ids.insert(user.to_owned()),
        };
    }
}

/// Makes the segment and, unless there is one, the draft for them.
pub async fn tell(app: &App, caller: &Caller, group: i64) -> Result<Met> {
    let organization = caller.organization;
    let found = groups::find(&app.db, organization, group).await?;
    let found = found.ok_or(Error::NotFound("group"))?;
    if found.status != Status::Resolved {
        return Err(Error::Conflict(format!(
            "error {group} is {}, not resolved: telling customers that it is solved needs evidence \
             that it is; repair it first",
            found.status
        )));
    }
    if found.resolution_kind.as_deref() != Some(PROVEN) {
        return Err(Error::Conflict(format!(
            "error {group} was marked resolved by hand; telling customers that it is solved needs \
             evidence, which is a test that passed: reopen it and let Lux repair and re-test it"
        )));
    }
    let users = users(app, organization, group).await?;
    let (segment, contacts) = segment(app, caller, group, &users).await?;
    if contacts == 0 {
        return Err(Error::Conflict(format!(
            "none of the {} users of error {group} is among your contacts (by e-mail address, or by \
             the attribute user_id), so there is nobody to tell",
            users.named
        )));
    }
    let origin = format!("error:{group}");
    if let Some(known) = store::of_origin(&app.db, organization, &origin).await? {
        let campaign = store::find(&app.db, organization, known).await?;
        return Ok(Met {
            users: users.named,
            contacts,
            segment_id: segment,
            campaign,
            known: true,
        });
    }
    let wish = Wish {
        name: format!("Solved: error {group}"),
        brief: Brief {
            goal: "Tell customers who met a failure of ours that it is solved.".to_owned(),
            offer: "Something failed on our side while you were using our service. We found the \
                    cause, mended it and tested it again.\nPlease try once more what you wanted to \
                    do. If it still fails, answer this mail."
                .to_owned(),
            audience: "Customers whose requests failed".to_owned(),
            tone: "Calm, honest, brief, sorry without grovelling; no advertising".to_owned(),
            ..Brief::default()
        },
        segment_id: Some(segment),
        model: true,
    };
    let campaign = deeds::create(app, caller, &wish, &origin).await?;
    Ok(Met { users: users.named, contacts, segment_id: segment, campaign, known: false })
}

async fn users(app: &App, organization: OrganizationId, group: i64) -> Result<Users> {
    let mut users = Users::default();
    let named = series::users(&app.db, group, "", MOST_USERS).await?;
    users.named = named.len();
    for user in &named {
        users.add(user);
    }
    // An SDK may tell both id and address; the group's list has the first of them.
    let events: Vec<(i64,)> = app
        .db
        .query(
            "select id from error_log where group_id = $1 and user_id is not null
             order by created_at desc, id desc limit $2",
        )
        .bind(group)
        .bind(EVENTS)
        .all()
        .await?;
    for (event,) in events {
        let Some(event) = shown::event(app, organization, event).await? else { continue };
        let detail = event.detail.as_ref();
        let email = detail.and_then(|detail| detail.user.get("email")?.plain().map(str::to_owned));
        if let Some(Ok(email)) = email.as_deref().map(Email::parse) {
            users.email_keys.insert(email.key);
        }
    }
    Ok(users)
}

/// The segment of who met the error, with its members anew; its id, and how many they are.
async fn segment(app: &App, caller: &Caller, group: i64, users: &Users) -> Result<(i64, i64)> {
    let organization = caller.organization;
    let now = clock::now();
    let mut tx = app.db.begin().await?;
    let (id, rule): (i64, Option<String>) = tx
        .query(
            "insert into segment (organization_id, slug, name, made_by, created_at, updated_at)
             values ($1, $2, $3, $4, $5, $5)
             on conflict (organization_id, slug) do update set updated_at = excluded.updated_at
             returning id, coalesce(rule, next_rule) as rule",
        )
        .bind(organization)
        .bind(format!("met-error-{group}"))
        .bind(format!("Met error {group}"))
        .bind(caller.author())
        .bind(now)
        .one()
        .await?;
    if rule.is_some() {
        return Err(Error::Conflict(format!(
            "the segment met-error-{group} has a rule of its own; give it another name"
        )));
    }
    let contacts = members(&mut tx, organization, id, users, now).await?;
    let detail = json!({ "group": group, "contacts": contacts });
    let subject = format!("segment {id}");
    audit::write(&mut tx, organization, caller, "segment.met_error", &subject, &detail).await?;
    tx.commit().await?;
    Ok((id, contacts))
}

async fn members(
    tx: &mut Tx,
    organization: OrganizationId,
    segment: i64,
    users: &Users,
    now: chrono::DateTime<Utc>,
) -> Result<i64> {
    let listed = |values: &BTreeSet<String>| {
        serde_json::to_string(values).map_err(|error| Error::Internal(error.into()))
    };
    tx.query("delete from segment_member where segment_id = $1").bind(segment).run().await?;
    let sql = tx.dialect(
        "insert into segment_member (segment_id, generation, contact_id, from_second, until_second)
         select cast($1 as bigint), s.generation, c.id, cast($2 as bigint), cast($3 as bigint)
         from contact c join segment s on s.id = $1
         where c.organization_id = $4
           and (c.email_key in (select value from json_array_elements_text(cast($5 as json)))
             or cast(c.attributes as json) ->> 'user_id'
                 in (select value from json_array_elements_text(cast($6 as json))))",
        "insert into segment_member (segment_id, generation, contact_id, from_second, until_second)
         select $1, s.generation, c.id, $2, $3
         from contact c join segment s on s.id = $1
         where c.organization_id = $4
           and (c.email_key in (select value from json_each($5))
             or c.attributes ->> 'user_id' in (select value from json_each($6)))",
    );
    let count = tx
        .query(sql)
        .bind(segment)
        .bind(now.timestamp())
        .bind(FOR_EVER)
        .bind(organization)
        .bind(listed(&users.email_keys)?)
        .bind(listed(&users.ids)?)
        .run()
        .await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}
