//! Making and changing segments.
//!
//! A new rule is counted out over all contacts, in steps that are each one transaction, as a
//! generation of its own beside the members that hold; the last step puts it in force. Contacts
//! that are stored meanwhile are placed by both rules ([`super::members`]). So the segment is at
//! each moment wholly that of one rule.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::json as value;

use super::{
    Rule, Segment, Span,
    members::{Row, alone, insert, read, rows},
    store::{self, MAX, find},
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit},
    clock,
    contacts::{
        Contact, activity,
        merge::tidy,
        store::{ContactRow, json},
    },
    db::{self, Db, Tx},
    error::{Error, Result},
    jobs::{Done, Jobs, NewJob},
};

/// Contacts that one step counts out.
const STEP: i64 = 2000;
/// How long a change waits for its rule to be counted out before it says that it goes on.
const WAIT: Duration = Duration::from_secs(20);
const KIND: &str = "contacts.segment";

/// A segment that is wished for.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = SegmentWish)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    pub name: String,
    /// Without one, members are put in by hand.
    pub rule: Option<Rule>,
}

/// What is to change; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = SegmentChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub name: Option<String>,
    /// Null makes it one whose members are put in by hand; those who are in it stay.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Rule>)]
    pub rule: Option<Option<Rule>>,
}

/// Tells null from what is not there.
#[expect(clippy::option_option, reason = "left out, null and given are three things")]
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Rule>>, D::Error> {
    Option::<Rule>::deserialize(from).map(Some)
}

fn name_of(text: &str) -> Result<(String, String)> {
    let name = tidy(text, 100);
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-').to_owned();
    if slug.is_empty() {
        return Err(Error::invalid("name: give the segment a name with a letter or digit in it"));
    }
    Ok((name, slug))
}

fn taken(error: db::Error, name: &str) -> Error {
    if db::is_duplicate(&error) {
        Error::Conflict(format!("there is a segment {name:?} already; choose another name"))
    } else {
        error.into()
    }
}

/// Makes a segment. With a rule it is whole when this returns, unless counting takes longer than
/// 20 s: then `next_rule` shows that it goes on.
pub async fn add(app: &App, caller: &Caller, wish: Wish) -> Result<Segment> {
    let (name, slug) = name_of(&wish.name)?;
    wish.rule.as_ref().map_or(Ok(()), Rule::check)?;
    let now = clock::now();
    let rule = wish.rule.as_ref().map(json).transpose()?;
    let mut tx = app.db.begin().await?;
    alone(&mut tx, caller.organization).await?;
    let count: i64 = tx
        .query("select count(*) from segment where organization_id = $1")
        .bind(caller.organization)
        .scalar()
        .await?;
    if count >= MAX {
        return Err(Error::Conflict(format!(
            "there are {MAX} segments, and more are not looked after; remove one first"
        )));
    }
    let id: i64 = tx
        .query(
            "insert into segment (organization_id, slug, name, next_rule, next_generation, made_by,
                 created_at, updated_at)
             values ($1, $2, $3, $4, 1, $5, $6, $6) returning id",
        )
        .bind(caller.organization)
        .bind(slug)
        .bind(&name)
        .bind(rule)
        .bind(caller.author())
        .bind(now)
        .scalar()
        .await
        .map_err(|error| taken(error, &name))?;
    if wish.rule.is_some() {
        enqueue(&mut tx, id, 1).await?;
    }
    let detail = value!({"name": name, "rule": wish.rule});
    let subject = format!("segment {id}");
    audit::write(&mut tx, caller.organization, caller, "segment.added", &subject, &detail).await?;
    tx.commit().await?;
    counted(app, caller.organization, id).await
}

/// Changes a segment's name or rule; see [`add`] for when it is done.
pub async fn change(app: &App, caller: &Caller, id: i64, change: Change) -> Result<Segment> {
    if change.name.is_none() && change.rule.is_none() {
        return Err(Error::invalid("name what is to be changed: name or rule"));
    }
    if let Some(Some(rule)) = &change.rule {
        rule.check()?;
    }
    let now = clock::now();
    let mut tx = app.db.begin().await?;
    alone(&mut tx, caller.organization).await?;
    let row: Option<(String, String, i64)> = tx
        .query(
            "select name, slug, next_generation from segment
             where organization_id = $1 and id = $2",
        )
        .bind(caller.organization)
        .bind(id)
        .optional()
        .await?;
    let (old_name, old_slug, next) = row.ok_or(Error::NotFound("segment"))?;
    let (name, slug) = change.name.as_deref().map_or(Ok((old_name, old_slug)), name_of)?;
    tx.query("update segment set name = $2, slug = $3, updated_at = $4 where id = $1")
        .bind(id)
        .bind(&name)
        .bind(slug)
        .bind(now)
        .run()
        .await
        .map_err(|error| taken(error, &name))?;
    match &change.rule {
        None => {}
        Some(Some(rule)) => {
            tx.query(
                "update segment set next_rule = $2, next_generation = $3, next_done = 0
                 where id = $1",
            )
            .bind(id)
            .bind(json(rule)?)
            .bind(next + 1)
            .run()
            .await?;
            enqueue(&mut tx, id, next + 1).await?;
        }
        Some(None) => {
            // Those who are in it now stay; the others, whose time had not come or was over, go.
            tx.query("update segment set rule = null, next_rule = null where id = $1")
                .bind(id)
                .run()
                .await?;
            tx.query(
                "delete from segment_member where segment_id = $1
                     and (from_second > $2 or until_second <= $2)",
            )
            .bind(id)
            .bind(now.timestamp())
            .run()
            .await?;
            tx.query("update segment_member set until_second = $2 where segment_id = $1")
                .bind(id)
                .bind(Span::END)
                .run()
                .await?;
        }
    }
    let detail = value!({"name": name, "rule": change.rule});
    let subject = format!("segment {id}");
    audit::write(&mut tx, caller.organization, caller, "segment.changed", &subject, &detail)
        .await?;
    tx.commit().await?;
    counted(app, caller.organization, id).await
}

/// Removes a segment; its contacts stay.
pub async fn remove(db: &Db, caller: &Caller, id: i64) -> Result<()> {
    let mut tx = db.begin().await?;
    alone(&mut tx, caller.organization).await?;
    let gone: Option<(String,)> = tx
        .query("delete from segment where organization_id = $1 and id = $2 returning name")
        .bind(caller.organization)
        .bind(id)
        .optional()
        .await?;
    let (name,) = gone.ok_or(Error::NotFound("segment"))?;
    let detail = value!({"name": name});
    let subject = format!("segment {id}");
    audit::write(&mut tx, caller.organization, caller, "segment.removed", &subject, &detail)
        .await?;
    Ok(tx.commit().await?)
}

/// Puts contacts (at most a thousand at once) into a segment without a rule; gives how many were
/// not in it. Ids that are unknown are left out.
pub async fn put(db: &Db, caller: &Caller, id: i64, contacts: &[i64]) -> Result<u64> {
    let now = clock::now();
    let mut tx = by_hand(db, caller.organization, id).await?;
    let sql = tx.dialect(
        "insert into segment_member (segment_id, generation, contact_id, from_second, until_second)
         select s.id, s.generation, c.id, 0, $4 from segment s
         join contact c on c.organization_id = s.organization_id
         where s.id = $1 and s.organization_id = $2
             and c.id in (select cast(value as bigint)
                 from json_array_elements_text(cast($3 as json)))
             and not exists (select 1 from segment_member m where m.segment_id = s.id
                 and m.generation = s.generation and m.contact_id = c.id)
         returning contact_id",
        "insert into segment_member (segment_id, generation, contact_id, from_second, until_second)
         select s.id, s.generation, c.id, 0, $4 from segment s
         join contact c on +c.organization_id = s.organization_id
         where s.id = $1 and s.organization_id = $2
             and c.id in (select value from json_each($3))
             and not exists (select 1 from segment_member m where m.segment_id = s.id
                 and m.generation = s.generation and m.contact_id = c.id)
         returning contact_id",
    );
    let new: Vec<(i64,)> = tx
        .query(sql)
        .bind(id)
        .bind(caller.organization)
        .bind(json(contacts)?)
        .bind(Span::END)
        .all()
        .await?;
    note(&mut tx, caller, "segment_added", id, &new, now).await?;
    tx.commit().await?;
    Ok(new.len() as u64)
}

/// Takes contacts out of a segment without a rule; gives how many were in it.
pub async fn take(db: &Db, caller: &Caller, id: i64, contacts: &[i64]) -> Result<u64> {
    let now = clock::now();
    let mut tx = by_hand(db, caller.organization, id).await?;
    let sql = tx.dialect(
        "delete from segment_member where segment_id = $1 and contact_id in (
             select cast(value as bigint) from json_array_elements_text(cast($2 as json)))
         returning contact_id",
        "delete from segment_member where segment_id = $1
             and contact_id in (select value from json_each($2))
         returning contact_id",
    );
    let gone: Vec<(i64,)> = tx.query(sql).bind(id).bind(json(contacts)?).all().await?;
    note(&mut tx, caller, "segment_removed", id, &gone, now).await?;
    tx.commit().await?;
    Ok(gone.len() as u64)
}

async fn note(
    tx: &mut Tx,
    caller: &Caller,
    kind: &str,
    segment: i64,
    contacts: &[(i64,)],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let (by, detail) = (caller.author(), value!({"segment": segment}));
    for (contact,) in contacts {
        activity::note(tx, caller.organization, *contact, kind, &by, &detail, now).await?;
    }
    Ok(())
}

/// A transaction on a segment whose members people choose.
async fn by_hand(db: &Db, organization: OrganizationId, id: i64) -> Result<Tx> {
    let mut tx = db.begin().await?;
    alone(&mut tx, organization).await?;
    let row: Option<(Option<String>, Option<String>)> = tx
        .query("select rule, next_rule from segment where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    match row.ok_or(Error::NotFound("segment"))? {
        (None, None) => Ok(tx),
        _ => Err(Error::Conflict(
            "the members of this segment follow from its rule; change the rule, or make a segment without one".to_owned(),
        )),
    }
}

async fn enqueue(tx: &mut Tx, id: i64, generation: i64) -> Result<()> {
    let job =
        NewJob::new(KIND, value!({"segment": id})).dedupe(format!("{KIND}:{id}:{generation}"));
    Jobs::enqueue_in(tx, job).await.map(drop)
}

/// Counts out here and now; what is not done in time, the job does.
async fn counted(app: &App, organization: OrganizationId, id: i64) -> Result<Segment> {
    let db = app.db.clone();
    let count = app.tasks.spawn(async move { count_out(&db, id).await });
    match tokio::time::timeout(WAIT, count).await {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(broken)) => return Err(Error::Internal(broken.into())),
        Err(_) => tracing::info!(segment = id, "the rule of a segment is still being counted out"),
    }
    find(&app.db, organization, id).await?.ok_or(Error::NotFound("segment"))
}

/// Goes on with what was under way when Lux ended.
pub fn register(app: &App) {
    let db = app.db.clone();
    app.jobs.handle(KIND, 1, move |lease| {
        let db = db.clone();
        async move {
            if let Some(id) = lease.payload["segment"].as_i64() {
                let counting = count_out(&db, id);
                match lease.lost.run_until_cancelled(counting).await {
                    Some(outcome) => outcome?,
                    None => return Err(Error::Unavailable("stopped on the way".into())),
                }
            }
            Ok(Done::Finished)
        }
    });
}

/// Counts out the next rule of a segment, if there is one, and puts it in force.
pub async fn count_out(db: &Db, id: i64) -> Result<()> {
    while step(db, id).await? {}
    // What the rule before had; nobody reads it any more.
    loop {
        let gone = db
            .query(
                "delete from segment_member where segment_id = $1 and contact_id in (
                     select m.contact_id from segment_member m join segment s on s.id = m.segment_id
                     where m.segment_id = $1 and m.generation <> s.generation
                         and (s.next_rule is null or m.generation <> s.next_generation)
                     limit 5000)
                     and exists (select 1 from segment s where s.id = $1
                         and segment_member.generation <> s.generation
                         and (s.next_rule is null
                             or segment_member.generation <> s.next_generation))",
            )
            .bind(id)
            .run()
            .await?;
        if gone == 0 {
            return Ok(());
        }
    }
}

/// One step; whether there is another.
async fn step(db: &Db, id: i64) -> Result<bool> {
    let mut tx = db.begin().await?;
    let organization: Option<(OrganizationId,)> =
        tx.query("select organization_id from segment where id = $1").bind(id).optional().await?;
    let Some((organization,)) = organization else { return Ok(false) };
    alone(&mut tx, organization).await?;
    let row: Option<(Option<String>, i64, i64)> = tx
        .query("select next_rule, next_generation, next_done from segment where id = $1")
        .bind(id)
        .optional()
        .await?;
    let Some((Some(rule), generation, done)) = row else { return Ok(false) };
    let parsed = read(&rule).ok_or_else(|| anyhow::anyhow!("segment {id} has no valid rule"))?;
    let contacts: Vec<ContactRow> = tx
        .query(
            "select id, email, email_domain, first_name, last_name, company, phone, phone_given,
                 source, sources, tags, attributes, consent, bounced, version, created_at,
                 updated_at, active_at
             from contact where organization_id = $1 and id > $2 order by id limit $3",
        )
        .bind(organization)
        .bind(done)
        .bind(STEP)
        .all()
        .await?;
    let is_last = contacts.len() < usize::try_from(STEP).unwrap_or(0);
    let mut members: Vec<Row> = Vec::new();
    let mut last = done;
    for contact in contacts.into_iter().map(Contact::from) {
        last = contact.id;
        members.extend(rows(&parsed, id, generation, &contact));
    }
    insert(&mut tx, members).await?;
    if is_last {
        tx.query(
            "update segment set rule = next_rule, generation = next_generation, next_rule = null
             where id = $1",
        )
        .bind(id)
        .run()
        .await?;
    } else {
        tx.query("update segment set next_done = $2 where id = $1")
            .bind(id)
            .bind(last)
            .run()
            .await?;
    }
    tx.commit().await?;
    Ok(!is_last)
}

impl store::Segment {
    /// Whether its members are those of the rule that was asked for.
    pub fn is_whole(&self) -> bool {
        self.next_rule.is_none()
    }
}
