//! Groups and events as they are shown, by the API and on pages: with what belongs to them, and
//! without the secrets that texts quote.

use serde::Serialize;

use super::{
    detail, find,
    from_logs::{self, Sighting},
    store::{
        events::{self, Detail, Listed},
        groups::{self, Group, Position, Sort},
        moving::{self, Merged},
        release,
        report::{self, Report},
        search::{self, GroupSearch},
        storms::{self, Storm},
    },
};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    error::{Error, Result},
    redact,
};

/// Newest events that are told with a group.
const EVENTS: i64 = 20;

/// A group with its recent course.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct GroupWithBuckets {
    #[serde(flatten)]
    pub group: Group,
    /// Events in each of the last 24 hours, the present one last.
    pub buckets: Vec<i64>,
    /// The release in which it appeared: as its events name it, else the newest deploy of
    /// its app when it was first seen.
    pub release: Option<String>,
}

/// A page of groups as a search finds them, and where the next one begins.
pub async fn page(
    app: &App,
    organization: OrganizationId,
    search: &GroupSearch,
    sort: Sort,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<GroupWithBuckets>, Option<Position>)> {
    let (mut found, next) =
        search::groups(&app.db, organization, search, sort, limit, after).await?;
    groups::arrange(&mut found, sort);
    Ok((with_buckets(app, found).await?, next))
}

/// One group with its newest events.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct GroupWithEvents {
    #[serde(flatten)]
    pub group: GroupWithBuckets,
    /// The newest 20.
    pub events: Vec<Listed>,
    /// The group that was asked for is merged into this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<i64>,
    /// Groups that were merged into this one, and may be taken apart again.
    pub merged: Vec<Merged>,
    /// Its last storm: far more events than usual.
    pub storm: Option<Storm>,
}

/// One group; for the id of a merged one the group that it was merged into.
pub async fn group(app: &App, organization: OrganizationId, id: i64) -> Result<GroupWithEvents> {
    let group = groups::find(&app.db, organization, id).await?.ok_or(Error::NotFound("group"))?;
    let mut events = events::of_group(&app.db, organization, group.id, EVENTS).await?;
    events.iter_mut().for_each(strike_event);
    let mut groups = with_buckets(app, vec![group]).await?;
    let group = groups.pop().ok_or(Error::NotFound("group"))?;
    let merged_into = Some(group.group.id).filter(|found| *found != id);
    let mut merged = moving::merged(&app.db, group.group.id).await?;
    for group in &mut merged {
        group.title = struck(&group.title);
    }
    let mut storm = storms::of_group(&app.db, group.group.id).await?;
    if let Some(storm) = &mut storm {
        storm.title = storm.title.as_deref().map(struck);
    }
    Ok(GroupWithEvents { group, events, merged_into, merged, storm })
}

/// One event with all that is kept of it.
#[derive(Debug)]
pub struct Event {
    pub error: Detail,
    pub report: Report,
    /// What an SDK told besides.
    pub detail: Option<detail::Detail<'static>>,
    /// The records of logs that told of it, in the order of time; at most 50.
    pub seen_in: Vec<Sighting>,
}

/// One event; `None` if the organization has none of that id.
pub async fn event(app: &App, organization: OrganizationId, id: i64) -> Result<Option<Event>> {
    let Some(mut error) = events::find(&app.db, organization, id).await? else { return Ok(None) };
    strike_event(&mut error.event);
    error.error_stack = error.error_stack.as_deref().map(struck);
    let told = report::find(&app.db, organization, id).await?;
    let Some((report, packed)) = told else { return Ok(None) };
    let detail = packed.map(|packed| detail::Detail::unpack(&packed)).transpose()?;
    let mut seen_in = from_logs::sightings(&app.db, id).await?;
    for sighting in &mut seen_in {
        let found = app.live.around(&sighting.record_id, 0).unwrap_or_default();
        sighting.text = found.first().map(|entry| struck(&entry.text));
    }
    Ok(Some(Event { error, report, detail, seen_in }))
}

/// What the events of a group have in common, with the texts struck; see [`find::tags`].
pub async fn tags(app: &App, group: i64) -> Result<find::Tags> {
    let mut tags = find::tags(&app.db, group).await?;
    for value in tags.tags.iter_mut().flat_map(|tag| &mut tag.values) {
        value.value = struck(&value.value);
    }
    Ok(tags)
}

/// Adds to groups their courses and releases.
pub(super) async fn with_buckets(app: &App, groups: Vec<Group>) -> Result<Vec<GroupWithBuckets>> {
    let ids: Vec<i64> = groups.iter().map(|group| group.id).collect();
    let mut buckets = groups::buckets(&app.db, &ids, clock::now()).await?;
    let mut releases = release::of_groups(&app.db, &ids).await?;
    Ok(groups
        .into_iter()
        .map(|mut group| {
            strike_group(&mut group);
            let buckets = buckets.remove(&group.id).unwrap_or_default();
            let deployed = releases.remove(&group.id);
            let release = group.first_release.clone().or(deployed);
            GroupWithBuckets { group, buckets, release }
        })
        .collect())
}

/// Messages quote what failed, and what failed may hold a password.
fn struck(text: &str) -> String {
    redact::secrets(text).into_owned()
}

pub(super) fn strike_event(event: &mut Listed) {
    event.error_message = struck(&event.error_message);
    event.endpoint = event.endpoint.as_deref().map(struck);
}

pub(super) fn strike_group(group: &mut Group) {
    group.title = struck(&group.title);
    group.culprit = group.culprit.as_deref().map(struck);
    group.endpoint = group.endpoint.as_deref().map(struck);
}
