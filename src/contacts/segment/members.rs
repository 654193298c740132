//! Who belongs where: the rules are looked at in the transaction that changes a contact, so that
//! segments are true at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Rule, Span};
use crate::{
    auth::OrganizationId,
    contacts::{Contact, store::json},
    db::{Result, Tx},
};

/// The segments of an organization; none of their rules changes while the transaction lasts.
pub(in crate::contacts) struct Rules(Vec<Kept>);

struct Kept {
    id: i64,
    slug: String,
    rule: Option<Rule>,
    generation: i64,
    /// The rule that is being counted out, its generation, and the last contact that is done.
    next: Option<(Rule, i64, i64)>,
}

type KeptRow = (i64, String, Option<String>, i64, Option<String>, i64, i64);

/// A contact that was stored, and whether it was there before.
pub(in crate::contacts) struct Member<'a> {
    pub(in crate::contacts) contact: &'a Contact,
    pub(in crate::contacts) is_new: bool,
}

/// A row of `segment_member`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, sqlx::FromRow)]
pub(super) struct Row {
    #[serde(rename = "segment")]
    #[sqlx(rename = "segment_id")]
    pub(super) segment: i64,
    pub(super) generation: i64,
    #[serde(rename = "contact")]
    #[sqlx(rename = "contact_id")]
    pub(super) contact: i64,
    #[serde(rename = "from")]
    #[sqlx(rename = "from_second")]
    pub(super) from: i64,
    #[serde(rename = "until")]
    #[sqlx(rename = "until_second")]
    pub(super) until: i64,
}

impl Rules {
    /// Reads the segments, and keeps those who change rules waiting until the transaction ends
    /// ([`alone`]).
    pub(in crate::contacts) async fn hold(
        tx: &mut Tx,
        organization: OrganizationId,
    ) -> Result<Self> {
        // Whoever writes into SQLite is alone as it is.
        let sql = tx.dialect("select id from organization where id = $1 for share", "");
        if !sql.is_empty() {
            let _: Option<(i64,)> = tx.query(sql).bind(organization).optional().await?;
        }
        let rows: Vec<KeptRow> = tx
            .query(
                "select id, slug, rule, generation, next_rule, next_generation, next_done
                 from segment where organization_id = $1 order by id",
            )
            .bind(organization)
            .all()
            .await?;
        let kept = rows.into_iter().map(
            |(id, slug, rule, generation, next, next_generation, next_done)| Kept {
                id,
                slug,
                rule: rule.as_deref().and_then(read),
                generation,
                next: next.as_deref().and_then(read).map(|rule| (rule, next_generation, next_done)),
            },
        );
        Ok(Self(kept.collect()))
    }

    /// Puts the contacts where they belong; gives the slugs of each one's segments at `now`.
    pub(in crate::contacts) async fn place(
        &self,
        tx: &mut Tx,
        members: &[Member<'_>],
        now: DateTime<Utc>,
    ) -> Result<Vec<Vec<String>>> {
        let known: Vec<i64> =
            members.iter().filter(|it| !it.is_new).map(|it| it.contact.id).collect();
        let there = there(tx, &known).await?;
        let ruled: HashSet<(i64, i64)> = self.0.iter().flat_map(Kept::generations).collect();
        let wanted: HashSet<Row> = members
            .iter()
            .flat_map(|it| self.0.iter().flat_map(|kept| kept.rows(it.contact)))
            .collect();
        let gone: Vec<Row> = there
            .iter()
            .filter(|row| ruled.contains(&(row.segment, row.generation)) && !wanted.contains(row))
            .copied()
            .collect();
        let new: Vec<Row> = wanted.difference(&there).copied().collect();
        delete(tx, &gone).await?;
        insert(tx, new).await?;
        let second = now.timestamp();
        let slugs: HashMap<(i64, i64), &str> =
            self.0.iter().map(|kept| ((kept.id, kept.generation), kept.slug.as_str())).collect();
        let mut of: HashMap<i64, BTreeMap<i64, &str>> = HashMap::new();
        let stay = there.iter().filter(|row| !ruled.contains(&(row.segment, row.generation)));
        for row in stay.chain(&wanted) {
            if (Span { from: row.from, until: row.until }).holds(second)
                && let Some(slug) = slugs.get(&(row.segment, row.generation))
            {
                of.entry(row.contact).or_default().insert(row.segment, slug);
            }
        }
        let slugs = members.iter().map(|it| {
            let segments = of.get(&it.contact.id).into_iter().flat_map(BTreeMap::values);
            segments.map(|slug| (*slug).to_owned()).collect()
        });
        Ok(slugs.collect())
    }
}

impl Kept {
    /// The generations that rules decide about.
    fn generations(&self) -> Vec<(i64, i64)> {
        let own = self.rule.is_some().then_some((self.id, self.generation));
        own.into_iter().chain(self.next.as_ref().map(|(_, it, _)| (self.id, *it))).collect()
    }

    /// The rows that a contact has by the rules.
    fn rows(&self, contact: &Contact) -> Vec<Row> {
        let own = self.rule.as_ref().map(|rule| (rule, self.generation));
        // Contacts that are not done yet come to their turn.
        let next = self.next.as_ref().filter(|(_, _, done)| contact.id <= *done);
        let both = own.into_iter().chain(next.map(|(rule, generation, _)| (rule, *generation)));
        both.flat_map(|(rule, generation)| rows(rule, self.id, generation, contact)).collect()
    }
}

/// The rows of a contact in one segment.
pub(super) fn rows(rule: &Rule, segment: i64, generation: i64, contact: &Contact) -> Vec<Row> {
    let spans = rule.spans(contact);
    let row = |span: Span| Row {
        segment,
        generation,
        contact: contact.id,
        from: span.from,
        until: span.until,
    };
    spans.iter().map(row).collect()
}

/// Waits until nobody places contacts, and keeps others from it until the transaction ends.
pub(super) async fn alone(tx: &mut Tx, organization: OrganizationId) -> Result<()> {
    let sql = tx.dialect(
        "select id from organization where id = $1 for no key update",
        "select id from organization where id = $1",
    );
    let _: Option<(i64,)> = tx.query(sql).bind(organization).optional().await?;
    Ok(())
}

pub(super) fn read(rule: &str) -> Option<Rule> {
    serde_json::from_str(rule).ok()
}

async fn there(tx: &mut Tx, contacts: &[i64]) -> Result<HashSet<Row>> {
    if contacts.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = tx.dialect(
        "select segment_id, generation, contact_id, from_second, until_second from segment_member
         where contact_id in (select cast(value as bigint)
             from json_array_elements_text(cast($1 as json)))",
        "select segment_id, generation, contact_id, from_second, until_second from segment_member
         where contact_id in (select value from json_each($1))",
    );
    let rows: Vec<Row> = tx.query(sql).bind(json(contacts)?).all().await?;
    Ok(rows.into_iter().collect())
}

async fn delete(tx: &mut Tx, rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "delete from segment_member m
         using json_to_recordset(cast($1 as json)) as r(segment bigint, generation bigint,
             contact bigint, \"from\" bigint, until bigint)
         where m.segment_id = r.segment and m.generation = r.generation
             and m.contact_id = r.contact and m.from_second = r.from and m.until_second = r.until",
        "delete from segment_member
         where (segment_id, generation, contact_id, from_second, until_second) in (
             select value ->> 'segment', value ->> 'generation', value ->> 'contact',
                 value ->> 'from', value ->> 'until'
             from jsonb_each($1))",
    );
    tx.query(sql).bind(json(rows)?).run().await.map(drop)
}

/// Inserts members; those that are there already stay.
pub(super) async fn insert(tx: &mut Tx, mut rows: Vec<Row>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    // In the order of the key: neighbours go into the same page.
    rows.sort_unstable_by_key(|row| (row.segment, row.generation, row.contact, row.from));
    let sql = tx.dialect(
        "insert into segment_member (segment_id, generation, contact_id, from_second, until_second)
         select r.segment, r.generation, r.contact, r.from, r.until
         from json_to_recordset(cast($1 as json)) as r(segment bigint, generation bigint,
             contact bigint, \"from\" bigint, until bigint)
         on conflict do nothing",
        "insert into segment_member (segment_id, generation, contact_id, from_second, until_second)
         select value ->> 'segment', value ->> 'generation', value ->> 'contact',
             value ->> 'from', value ->> 'until'
         from jsonb_each($1) where true
         on conflict do nothing",
    );
    tx.query(sql).bind(json(&rows)?).run().await.map(drop)
}
