//! The second pass of the writer, for the few groups that need one: signposts (merged
//! groups, and those that a newer version of the fingerprint leads to an older group),
//! groups that were split, and groups that are resolved from a release on.
//!
//! All of it belongs to the writer's transaction. The first pass has locked the rows that
//! it met, so a merge or split waits for the batch, or the batch sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    counting::{Group, Met, Place, count_for, latest, upsert},
    intake::json_ids,
    known::Key,
    releases,
    write::json,
};
use crate::{
    db::{Error, Result, Tx},
    errors::{fingerprint, grouping::split::By},
};

/// How often a batch is led on: from a signpost to a group that was split, to a part of it
/// that was merged. More than that is no sane history.
const ROUNDS: usize = 6;

/// Where each place counts in the end; `met` is what the first pass met.
pub(super) async fn settle(
    tx: &mut Tx,
    places: &[Place<'_>],
    met: Vec<Option<Met>>,
) -> Result<Vec<Group>> {
    let plain = |met: &Option<Met>| {
        met.as_ref().is_some_and(|it| !it.is_new && it.merged_into.is_none() && !it.awaits)
    };
    if met.iter().all(plain) {
        return Ok(met.into_iter().flatten().map(|it| group(&it, None)).collect());
    }
    let mut groups: Vec<Option<Group>> = vec![None; places.len()];
    let mut awaiting: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    // Items that are looked at in this round, with the fingerprint that they count by.
    let mut open: Vec<Open> = (0..places.len()).map(Open::first).collect();
    let mut came_as: Vec<Option<i64>> = vec![None; places.len()];
    let mut met = met;
    for _ in 0..ROUNDS {
        let here: Vec<Place<'_>> = open.iter().map(|it| it.place(places)).collect();
        lead_to_older(tx, &here, &mut met).await?;
        let mut onto: Vec<(usize, i64)> = Vec::new();
        let mut split: Vec<usize> = Vec::new();
        for (n, met) in met.iter().enumerate() {
            let Some(met) = met else {
                split.push(n);
                continue;
            };
            let Some(target) = met.merged_into else {
                let item = open[n].item;
                groups[item] = Some(group(met, came_as[item]));
                if met.awaits {
                    awaiting.entry(met.id).or_default().push(item);
                }
                continue;
            };
            if met.by_hand {
                came_as[open[n].item].get_or_insert(met.id);
            }
            onto.push((n, target));
        }
        let counted: Vec<(i64, Place<'_>)> =
            onto.iter().map(|(n, target)| (*target, here[*n])).collect();
        let counted = if counted.is_empty() { Vec::new() } else { count_for(tx, &counted).await? };
        let counted: HashMap<i64, (i64, bool)> =
            counted.into_iter().map(|(id, users, awaits)| (id, (users, awaits))).collect();
        let mut missed: Vec<(usize, i64)> = Vec::new();
        for (n, target) in onto {
            let Some((users, awaits)) = counted.get(&target) else {
                missed.push((n, target));
                continue;
            };
            let item = open[n].item;
            groups[item] = Some(Group { id: target, users: *users, came_as: came_as[item] });
            if *awaits {
                awaiting.entry(target).or_default().push(item);
            }
        }
        let mut next = parts_of_split(tx, &here, &split, &open).await?;
        next.extend(parts_of_targets(tx, &here, &missed, &open).await?);
        if next.is_empty() {
            break;
        }
        open = next;
        let here: Vec<Place<'_>> = open.iter().map(|it| it.place(places)).collect();
        met = upsert(tx, &here).await?;
    }
    for (group, items) in awaiting {
        let events = items.iter().map(|n| &places[*n].item.event);
        let seen: Vec<(Option<&str>, DateTime<Utc>)> =
            events.map(|event| (event.release.as_deref(), latest(event.created_at))).collect();
        releases::reopen(tx, group, &seen).await?;
    }
    groups.into_iter().map(|group| group.ok_or(Error::RowNotFound)).collect()
}

/// Marks events (id, signpost) by the signpost that they came by, so that a merge can be undone.
pub(super) async fn remember(tx: &mut Tx, came: &[(i64, i64)]) -> Result<()> {
    #[derive(Serialize)]
    struct Row {
        id: i64,
        came_as: i64,
    }
    let rows: Vec<Row> =
        came.iter().map(|(id, came_as)| Row { id: *id, came_as: *came_as }).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "update error_log set came_as = r.came_as
         from json_to_recordset(cast($1 as json)) as r(id bigint, came_as bigint)
         where error_log.id = r.id",
        "update error_log set came_as = r.value ->> 'came_as'
         from jsonb_each($1) as r where error_log.id = r.value ->> 'id'",
    );
    tx.query(sql).bind(json(&rows)?).run().await.map(drop)
}

fn group(met: &Met, came_as: Option<i64>) -> Group {
    Group { id: met.id, users: met.users, came_as }
}

/// An item whose group is not known yet.
struct Open {
    item: usize,
    /// Another fingerprint and title than the item's own.
    other: Option<(String, String)>,
}

impl Open {
    fn first(item: usize) -> Self {
        Self { item, other: None }
    }

    fn place<'a>(&'a self, places: &[Place<'a>]) -> Place<'a> {
        let place = places[self.item];
        match &self.other {
            Some((fingerprint, title)) => Place { fingerprint, title, ..place },
            None => place,
        }
    }
}

#[derive(Serialize)]
struct KeyRow<'a> {
    organization: i64,
    app: &'a str,
    fingerprint: &'a str,
}

impl<'a> KeyRow<'a> {
    fn of(key: Key<'a>) -> Self {
        Self { organization: key.0, app: key.1, fingerprint: key.2 }
    }
}

#[derive(sqlx::FromRow)]
struct Known {
    id: i64,
    organization_id: i64,
    app: String,
    fingerprint: String,
    merged_into: Option<i64>,
    split_by: Option<String>,
}

async fn by_keys(tx: &mut Tx, keys: &BTreeSet<Key<'_>>) -> Result<Vec<Known>> {
    let rows: Vec<KeyRow<'_>> = keys.iter().map(|key| KeyRow::of(*key)).collect();
    let sql = tx.dialect(
        "select g.id, g.organization_id, g.app, g.fingerprint, g.merged_into, g.split_by
         from json_to_recordset(cast($1 as json)) as r(organization bigint, app text,
             fingerprint text)
         join error_group as g on g.organization_id = r.organization and g.app = r.app
             and g.fingerprint = r.fingerprint",
        "select g.id, g.organization_id, g.app, g.fingerprint, g.merged_into, g.split_by
         from json_each($1) as r
         join error_group as g on g.organization_id = r.value ->> 'organization'
             and g.app = r.value ->> 'app' and g.fingerprint = r.value ->> 'fingerprint'",
    );
    tx.query(sql).bind(json(&rows)?).all().await
}

/// New groups whose events an older version of the fingerprint put into a group that is
/// there become signposts to it, so that its history goes on. Gives those new groups.
async fn lead_to_older(tx: &mut Tx, places: &[Place<'_>], met: &mut [Option<Met>]) -> Result<()> {
    // The first event of a new group speaks for it.
    let mut older: BTreeMap<i64, (Vec<String>, &Place<'_>)> = BTreeMap::new();
    for (place, met) in places.iter().zip(met.iter()) {
        if let Some(met) = met
            && met.is_new
            && met.merged_into.is_none()
            && !older.contains_key(&met.id)
        {
            let values = fingerprint::older(&place.item.event, place.fingerprint);
            if !values.is_empty() {
                older.insert(met.id, (values, place));
            }
        }
    }
    if older.is_empty() {
        return Ok(());
    }
    let keys: BTreeSet<Key<'_>> = older
        .values()
        .flat_map(|(values, place)| {
            let (organization, app, _) = place.key();
            values.iter().map(move |value| (organization, app, value.as_str()))
        })
        .collect();
    let known = by_keys(tx, &keys).await?;
    let mut led: BTreeMap<i64, i64> = BTreeMap::new();
    for (new, (values, place)) in &older {
        let (organization, app, _) = place.key();
        // The newest of the older versions comes first.
        let found = values.iter().find_map(|value| {
            known.iter().find(|known| {
                known.organization_id == organization
                    && known.app == app
                    && known.fingerprint == *value
            })
        });
        if let Some(found) = found {
            led.insert(*new, found.merged_into.unwrap_or(found.id));
        }
    }
    for (new, target) in &led {
        tx.query("update error_group set merged_into = $2, status = 'ignored' where id = $1")
            .bind(*new)
            .bind(*target)
            .run()
            .await?;
    }
    for met in met.iter_mut().flatten() {
        if let Some(target) = led.get(&met.id) {
            met.merged_into = Some(*target);
        }
    }
    Ok(())
}

/// Items of groups that were split, each with the fingerprint of its part.
async fn parts_of_split(
    tx: &mut Tx,
    places: &[Place<'_>],
    split: &[usize],
    open: &[Open],
) -> Result<Vec<Open>> {
    if split.is_empty() {
        return Ok(Vec::new());
    }
    let keys = split.iter().map(|n| places[*n].key()).collect();
    let known = by_keys(tx, &keys).await?;
    let known: HashMap<Key<'_>, &Known> = known
        .iter()
        .map(|it| ((it.organization_id, it.app.as_str(), it.fingerprint.as_str()), it))
        .collect();
    split
        .iter()
        .map(|n| {
            let known = known.get(&places[*n].key()).ok_or(Error::RowNotFound)?;
            part(known, &places[*n], &open[*n])
        })
        .collect()
}

/// Items that a signpost led to a group that was split, or merged a moment ago.
async fn parts_of_targets(
    tx: &mut Tx,
    places: &[Place<'_>],
    missed: &[(usize, i64)],
    open: &[Open],
) -> Result<Vec<Open>> {
    if missed.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = missed.iter().map(|(_, target)| *target).collect();
    let sql = tx.dialect(
        "select id, organization_id, app, fingerprint, merged_into, split_by from error_group
         where id in (select cast(value as bigint) from json_array_elements_text(cast($1 as json)))",
        "select id, organization_id, app, fingerprint, merged_into, split_by from error_group
         where id in (select value from json_each($1))",
    );
    let known: Vec<Known> = tx.query(sql).bind(json_ids(&ids)).all().await?;
    missed
        .iter()
        .map(|(n, target)| {
            let known = known.iter().find(|known| known.id == *target).ok_or(Error::RowNotFound)?;
            part(known, &places[*n], &open[*n])
        })
        .collect()
}

fn part(known: &Known, place: &Place<'_>, open: &Open) -> Result<Open> {
    let other = match (known.merged_into, known.split_by.as_deref().and_then(By::parse)) {
        (None, Some(by)) => by.part_of(&known.fingerprint, place.title, &place.item.event),
        // Merged meanwhile: its own row leads on.
        (Some(_), _) => (known.fingerprint.clone(), place.title.to_owned()),
        (None, None) => return Err(Error::RowNotFound),
    };
    Ok(Open { item: open.item, other: Some(other) })
}
