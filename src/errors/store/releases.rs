//! Releases of applications: which are known, which is the newest, and whether an event of
//! one reopens a group that is resolved from another on.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::write::{Item, json};
use crate::{
    auth::OrganizationId,
    db::{Result, Tx},
    errors::grouping::version::compare,
};

/// Releases that are remembered to be known; beyond them all are looked up again.
const REMEMBERED: usize = 10_000;
/// Releases that are kept of one application; older ones are removed.
const KEPT: i64 = 1000;
/// Of so many releases of an application the newest is found.
const LOOKED_AT: i64 = 500;

type Named = (OrganizationId, String, String);

/// The releases that this process knows to be stored.
#[derive(Debug, Default)]
pub struct Releases(Mutex<HashSet<Named>>);

#[derive(Serialize)]
struct Row<'a> {
    organization: i64,
    app: &'a str,
    version: &'a str,
}

impl Releases {
    /// Stores the releases among the items that are not known to be stored. Gives them, to
    /// be remembered after the commit.
    pub async fn note(
        &self,
        tx: &mut Tx,
        items: &[&Item],
        now: DateTime<Utc>,
    ) -> Result<Vec<Named>> {
        let mut new: BTreeSet<(i64, &str, &str)> = BTreeSet::new();
        {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut last: Option<(OrganizationId, &str, &str)> = None;
            for item in items {
                let Some(release) = item.event.release.as_deref() else { continue };
                let named = (item.organization, item.event.app.as_str(), release);
                // Events of one release mostly come together.
                if last == Some(named) {
                    continue;
                }
                last = Some(named);
                let owned = (named.0, named.1.to_owned(), named.2.to_owned());
                if !known.contains(&owned) {
                    new.insert((named.0.0, named.1, named.2));
                }
            }
        }
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Row<'_>> = new
            .iter()
            .map(|(organization, app, version)| Row { organization: *organization, app, version })
            .collect();
        let sql = tx.dialect(
            "insert into error_release (organization_id, app, version, first_seen)
             select r.organization, r.app, r.version, $2
             from json_to_recordset(cast($1 as json)) as r(organization bigint, app text,
                 version text)
             on conflict (organization_id, app, version) do nothing",
            "insert into error_release (organization_id, app, version, first_seen)
             select value ->> 'organization', value ->> 'app', value ->> 'version', $2
             from json_each($1) where true
             on conflict (organization_id, app, version) do nothing",
        );
        tx.query(sql).bind(json(&rows)?).bind(now).run().await?;
        let apps: BTreeSet<(i64, &str)> =
            new.iter().map(|(organization, app, _)| (*organization, *app)).collect();
        for (organization, app) in apps {
            tx.query(
                "delete from error_release where organization_id = $1 and app = $2
                   and first_seen < (select first_seen from error_release
                       where organization_id = $1 and app = $2
                       order by first_seen desc limit 1 offset $3)",
            )
            .bind(organization)
            .bind(app)
            .bind(KEPT)
            .run()
            .await?;
        }
        Ok(new
            .into_iter()
            .map(|(organization, app, version)| {
                (OrganizationId(organization), app.to_owned(), version.to_owned())
            })
            .collect())
    }

    /// What [`Releases::note`] gave is stored.
    pub fn remember(&self, stored: Vec<Named>) {
        if stored.is_empty() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + stored.len() > REMEMBERED {
            known.clear();
        }
        known.extend(stored.into_iter().take(REMEMBERED));
    }
}

#[derive(sqlx::FromRow)]
struct Resolved {
    organization_id: OrganizationId,
    app: String,
    status_at: DateTime<Utc>,
    #[sqlx(rename = "resolved_in")]
    mended_in: Option<String>,
    #[sqlx(rename = "resolved_after")]
    mended_after: Option<String>,
}

/// Reopens a group that is resolved from a release on, if one of these events (release,
/// time) happened after the resolution, and not in an older release.
pub(super) async fn reopen(
    tx: &mut Tx,
    group: i64,
    seen: &[(Option<&str>, DateTime<Utc>)],
) -> Result<()> {
    let found: Option<Resolved> = tx
        .query(
            "select organization_id, app, status_at, resolved_in, resolved_after
             from error_group where id = $1 and status = 'resolved'",
        )
        .bind(group)
        .optional()
        .await?;
    let Some(resolved) = found else { return Ok(()) };
    let mut newest: Option<DateTime<Utc>> = None;
    let mut judged: Vec<(&str, bool)> = Vec::new();
    for (release, at) in seen.iter().filter(|(_, at)| *at > resolved.status_at) {
        let reopens = match release {
            // Which one it was nobody knows: better one look too many.
            None => true,
            Some(release) => {
                if let Some((_, reopens)) = judged.iter().find(|(known, _)| known == release) {
                    *reopens
                } else {
                    let reopens = resolved.is_reopened_by(tx, release).await?;
                    judged.push((release, reopens));
                    reopens
                }
            }
        };
        if reopens {
            newest = newest.max(Some(*at));
        }
    }
    let Some(at) = newest else { return Ok(()) };
    tx.query(
        "update error_group set status = 'regressed', regressions = regressions + 1,
             status_at = $2, resolved_in = null, resolved_after = null
         where id = $1 and status = 'resolved' and status_at < $2",
    )
    .bind(group)
    .bind(at)
    .run()
    .await
    .map(drop)
}

impl Resolved {
    async fn is_reopened_by(&self, tx: &mut Tx, release: &str) -> Result<bool> {
        let (mark, or_equal) = match (&self.mended_in, &self.mended_after) {
            (Some(mark), _) => (mark, true),
            (None, Some(mark)) => (mark, false),
            (None, None) => return Ok(true),
        };
        if let Some(order) = compare(release, mark) {
            return Ok(order == Ordering::Greater || or_equal && order == Ordering::Equal);
        }
        let own = first_seen(tx, self.organization_id, &self.app, release).await?;
        // A release that nobody has seen yet comes after all that were seen until then.
        let mark = first_seen(tx, self.organization_id, &self.app, mark).await?;
        let mark = mark.unwrap_or(self.status_at);
        Ok(own.is_none_or(|own| own > mark))
    }
}

/// When a release was first seen or went live, whichever came first.
async fn first_seen(
    tx: &mut Tx,
    organization: OrganizationId,
    app: &str,
    release: &str,
) -> Result<Option<DateTime<Utc>>> {
    let seen: Option<(DateTime<Utc>,)> = tx
        .query(
            "select first_seen as at from error_release
             where organization_id = $1 and app = $2 and version = $3
             union all
             select at from deploy where organization_id = $1 and app = $2 and release = $3
             order by at limit 1",
        )
        .bind(organization)
        .bind(app)
        .bind(release)
        .optional()
        .await?;
    Ok(seen.map(|(at,)| at))
}

/// The newest release of an application that events or deploys named.
pub async fn newest(
    tx: &mut Tx,
    organization: OrganizationId,
    app: &str,
) -> Result<Option<String>> {
    let known: Vec<(String, DateTime<Utc>)> = tx
        .query(
            "select version, first_seen as at from error_release
             where organization_id = $1 and app = $2
             union all
             select release, at from deploy where organization_id = $1 and app = $2
             order by at desc limit $3",
        )
        .bind(organization)
        .bind(app)
        .bind(LOOKED_AT)
        .all()
        .await?;
    // The one that was seen last, unless its own name says that another is newer.
    let mut known = known.into_iter().map(|(version, _)| version);
    let first = known.next();
    Ok(known.fold(first, |best, other| match &best {
        Some(it) if compare(&other, it) == Some(Ordering::Greater) => Some(other),
        _ => best,
    }))
}
