//! What operators decide about groups as such: merging them, undoing that, and splitting
//! one by what its events differ in. What was kept follows (see [`super::moving`]).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    moving::{self, Work},
    split::By,
};
use crate::{
    app::App,
    auth::{
        OrganizationId,
        audit::{self, Actor},
    },
    clock,
    db::{Db, Tx},
    error::{Error, Result},
    errors::store::{
        groups::Status,
        moving::{self as store, Locked},
    },
    jobs::Jobs,
};

/// How often a group's part may be split again: the writer is led on only so far.
const MOST_SPLITS: usize = 3;
/// Groups that one call may merge or take apart.
pub const MOST: usize = 100;

/// Merges groups into another one. Gives that one (where `into` is merged itself, the group
/// that it leads to) and the groups that are merged by this call.
///
/// # Errors
/// [`Error::NotFound`] if the organization lacks one of them; [`Error::Conflict`] where
/// two do not belong together (applications, a resolution that proves nothing for the
/// other); nothing is merged then.
pub async fn merge(
    db: &Db,
    organization: OrganizationId,
    into: i64,
    ids: &[i64],
    by: Actor<'_>,
) -> Result<(i64, Vec<i64>)> {
    let mut tries = 0;
    loop {
        tries += 1;
        match merge_once(db, organization, into, ids, by).await {
            Err(Error::Database(error)) if moving::again(&error, tries).await => {}
            outcome => return outcome,
        }
    }
}

/// [`merge`], and moves what was kept as far as that goes at once; true where it goes on in the
/// background.
pub async fn merge_now(
    app: &App,
    organization: OrganizationId,
    into: i64,
    ids: &[i64],
    by: Actor<'_>,
) -> Result<(i64, Vec<i64>, bool)> {
    let (group, merged) = merge(&app.db, organization, into, ids, by).await?;
    let continues = Work::follow(organization, &merged).begin(app).await?;
    Ok((group, merged, continues))
}

/// [`undo`], and moves what was kept as [`merge_now`] does.
pub async fn undo_now(
    app: &App,
    organization: OrganizationId,
    from: i64,
    ids: &[i64],
    by: Actor<'_>,
) -> Result<(Vec<i64>, bool)> {
    let groups = undo(&app.db, organization, from, ids, by).await?;
    let continues = Work::take_back(organization, &groups).begin(app).await?;
    Ok((groups, continues))
}

/// [`split`], and moves what was kept as [`merge_now`] does.
pub async fn split_now(
    app: &App,
    organization: OrganizationId,
    id: i64,
    by: &By,
    author: Actor<'_>,
) -> Result<bool> {
    split(&app.db, organization, id, Some(by), author, clock::now()).await?;
    Work::divide(organization, id).begin(app).await
}

async fn merge_once(
    db: &Db,
    organization: OrganizationId,
    into: i64,
    ids: &[i64],
    by: Actor<'_>,
) -> Result<(i64, Vec<i64>)> {
    let mut tx = db.begin().await?;
    let all: Vec<i64> = ids.iter().copied().chain([into]).collect();
    let locked = store::lock(&mut tx, organization, &all).await?;
    let find = |id: i64| locked.iter().find(|it| it.id == id).ok_or(Error::NotFound("group"));
    let mut target = find(into)?;
    let own;
    if let Some(end) = target.merged_into {
        // The target is a signpost itself: its end may not be locked yet.
        own = store::lock(&mut tx, organization, &[end]).await?;
        target = own.iter().find(|it| it.id == end).ok_or(Error::NotFound("group"))?;
    }
    let mut merged = Vec::new();
    for id in ids.iter().collect::<BTreeSet<_>>() {
        let group = find(*id)?;
        if group.merged_into == Some(target.id) {
            continue;
        }
        may_be_merged(group, target)?;
        let signposts: Vec<&Locked> =
            locked.iter().filter(|it| it.merged_into == Some(group.id)).collect();
        store::merge(&mut tx, group, &signposts, target, by.name).await?;
        merged.push(group.id);
    }
    if !merged.is_empty() {
        let detail = json!({ "into": target.id, "groups": merged });
        let subject = format!("group {}", target.id);
        Jobs::enqueue_in(&mut tx, moving::Work::follow(organization, &merged).job()).await?;
        audit::write(&mut tx, organization, by, "groups.merge", &subject, &detail).await?;
    }
    let target = target.id;
    tx.commit().await?;
    Ok((target, merged))
}

fn may_be_merged(group: &Locked, target: &Locked) -> Result<()> {
    let (id, into) = (group.id, target.id);
    let why = if id == into {
        format!("group {id} cannot be merged into itself; leave it out of groups")
    } else if let Some(other) = group.merged_into {
        format!("group {id} is merged into group {other}; split it from there first")
    } else if group.app != target.app {
        format!(
            "group {id} is of app \"{}\" and group {into} of app \"{}\"; only groups of one app \
             are merged",
            group.app, target.app
        )
    } else if group.split_by.is_some() || target.split_by.is_some() {
        let split = if group.split_by.is_some() { id } else { into };
        format!(
            "group {split} is split; merge its parts, or end that first with {{\"by\": \"none\"}}"
        )
    } else if target.status == Status::Resolved && group.status != Status::Resolved {
        format!(
            "group {into} is resolved on evidence that says nothing of group {id} ({}); reopen \
             {into} or resolve {id} first",
            group.status
        )
    } else {
        return Ok(());
    };
    Err(Error::Conflict(why))
}

/// Takes merged groups apart again. Gives those that are groups of their own by this call.
///
/// # Errors
/// [`Error::NotFound`] if the organization lacks one of them; [`Error::Conflict`] for one
/// that is not merged into `from`; nothing is changed then.
pub async fn undo(
    db: &Db,
    organization: OrganizationId,
    from: i64,
    ids: &[i64],
    by: Actor<'_>,
) -> Result<Vec<i64>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match undo_once(db, organization, from, ids, by).await {
            Err(Error::Database(error)) if moving::again(&error, tries).await => {}
            outcome => return outcome,
        }
    }
}

async fn undo_once(
    db: &Db,
    organization: OrganizationId,
    from: i64,
    ids: &[i64],
    by: Actor<'_>,
) -> Result<Vec<i64>> {
    let mut tx = db.begin().await?;
    let all: Vec<i64> = ids.iter().copied().chain([from]).collect();
    let locked = store::lock(&mut tx, organization, &all).await?;
    let find = |id: i64| locked.iter().find(|it| it.id == id).ok_or(Error::NotFound("group"));
    let target = find(from)?;
    let mut free = Vec::new();
    for id in ids.iter().collect::<BTreeSet<_>>() {
        let signpost = find(*id)?;
        if signpost.merged_into != Some(target.id) {
            let detail =
                format!("group {id} is not merged into group {from}; \"merged\" lists those");
            return Err(Error::Conflict(detail));
        }
        if signpost.merged_by.is_none() {
            let detail = format!(
                "group {id} is group {from} by a newer version of the fingerprint; that cannot be undone"
            );
            return Err(Error::Conflict(detail));
        }
        store::undo(&mut tx, signpost, target).await?;
        free.push(*id);
    }
    let detail = json!({ "from": from, "groups": free });
    let subject = format!("group {from}");
    Jobs::enqueue_in(&mut tx, moving::Work::take_back(organization, &free).job()).await?;
    audit::write(&mut tx, organization, by, "groups.split", &subject, &detail).await?;
    tx.commit().await?;
    Ok(free)
}

/// Splits a group, or (`None`) lets new events count for the whole again.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Conflict`] if it is split otherwise or holds merged
/// groups.
pub async fn split(
    db: &Db,
    organization: OrganizationId,
    id: i64,
    by: Option<&By>,
    author: Actor<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match split_once(db, organization, id, by, author, now).await {
            Err(Error::Database(error)) if moving::again(&error, tries).await => {}
            outcome => return outcome,
        }
    }
}

async fn split_once(
    db: &Db,
    organization: OrganizationId,
    id: i64,
    by: Option<&By>,
    author: Actor<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let locked = store::lock(&mut tx, organization, &[id]).await?;
    let group = locked.iter().find(|it| it.id == id).ok_or(Error::NotFound("group"))?;
    let merged = locked.iter().any(|it| it.merged_into == Some(id) && it.merged_by.is_some());
    let text = by.map(By::to_string);
    if let Some(target) = group.merged_into {
        let detail = format!("group {id} is merged into group {target}; split that one");
        return Err(Error::Conflict(detail));
    }
    if group.split_by == text {
        return Ok(());
    }
    match (&group.split_by, &text) {
        (Some(known), Some(_)) => {
            let detail = format!(
                "group {id} is split by {known} already; split its parts, or end that first with \
                 {{\"by\": \"none\"}}"
            );
            return Err(Error::Conflict(detail));
        }
        (None, _) if merged => {
            let detail = format!(
                "groups were merged into group {id}; take them apart first (\"groups\": [ids])"
            );
            return Err(Error::Conflict(detail));
        }
        (None, Some(_)) if group.fingerprint.matches('/').count() >= MOST_SPLITS => {
            let detail = format!(
                "group {id} is part of a group that was split {MOST_SPLITS} times already; \
                 say it by a rule ([[grouping]] in lux.toml) instead"
            );
            return Err(Error::Conflict(detail));
        }
        _ => {}
    }
    change(&mut tx, organization, id, text.as_deref(), author, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn change(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
    by: Option<&str>,
    author: Actor<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    store::split(tx, id, by, now).await?;
    let detail = json!({ "by": by });
    let subject = format!("group {id}");
    if by.is_some() {
        Jobs::enqueue_in(tx, moving::Work::divide(organization, id).job()).await?;
    }
    Ok(audit::write(tx, organization, author, "groups.split", &subject, &detail).await?)
}
