//! The feature's HTTP: reporting errors, reading events and groups, deciding on groups.

use std::collections::BTreeSet;

use axum::Extension;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Capture, NewEvent, detail,
    event::MAX_NAME,
    find::routes::{GroupsQuery, find_groups},
    from_logs::Sighting,
    shown::{self, GroupWithBuckets, GroupWithEvents},
    store::{
        events::Detail,
        groups::{self, Decision, Group, Mends},
        report::{self, Report},
    },
};
use crate::{
    app::App,
    clock,
    error::{self, Error},
    http::{Ingest, Json, Operator, Path, Query, Reader, Result},
};

/// Events that one request may report.
const MAX_EVENTS: usize = 1000;
/// Longest reason of a resolution, in bytes.
const MAX_REASON: usize = 4000;

/// The routes; a [`Capture`] has to be added as an extension.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(report_errors))
        .routes(routes!(read_error))
        .routes(routes!(list_groups, change_groups))
        .routes(routes!(read_group, change_group))
        .merge(super::clear::router())
        .merge(super::grouping::router())
        .merge(super::find::router())
        .merge(super::storm::router())
}

/// What became of reported events.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Reported {
    accepted: usize,
    /// Ids of the accepted events, in the order they were sent.
    ids: Vec<i64>,
    rejected: Vec<Rejected>,
    /// Places (from 0) of events that Lux's own probes caused. They are accepted, and are
    /// no occurrences: nothing is stored of them, so they have no id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    probe: Vec<usize>,
}

/// An event that was not stored.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Rejected {
    /// Its place in the array that was sent, from 0.
    index: usize,
    /// What to mend.
    detail: String,
}

/// Reports one error or an array of up to 1000. Each is stored or rejected by itself;
/// the answer comes after they are committed.
#[utoipa::path(
    post, path = "/api/errors",
    request_body(content = NewEvent, description = "one event, or an array of events"),
    responses(
        (status = 201, description = "all are stored", body = Reported),
        (status = 207, description = "some are rejected; the others are stored", body = Reported),
        (status = 400, description = "nothing is stored: the body or the only event is not valid"),
        (status = 413, description = "nothing is stored: too many or too much at once"),
        (status = 503, description = "nothing is stored: send it again after Retry-After"),
    )
)]
async fn report_errors(
    who: Ingest,
    Extension(capture): Extension<Capture>,
    Json(body): Json<Box<RawValue>>,
) -> Result<(StatusCode, Json<Reported>)> {
    let many = body.get().trim_start().starts_with('[');
    let events: Vec<&RawValue> = if many {
        serde_json::from_str(body.get())
            .map_err(|error| Error::invalid(format!("the body is no array of events: {error}")))?
    } else {
        vec![&body]
    };
    if events.is_empty() {
        return Err(Error::invalid("the array is empty; send at least one event").into());
    }
    if events.len() > MAX_EVENTS {
        let count = events.len();
        let detail = format!("{count} events at once are too many; send at most {MAX_EVENTS}");
        return Err(Error::TooLarge(detail).into());
    }

    let mut refused = Vec::new();
    let mut wanted = Vec::with_capacity(events.len());
    let mut places = Vec::with_capacity(events.len());
    let mut probe = Vec::new();
    for (index, event) in events.iter().enumerate() {
        match NewEvent::from_json(event.get()) {
            // Else a check would feed what it checks.
            Ok(event) if event.is_of_probe() => probe.push(index),
            Ok(event) => {
                wanted.push(event);
                places.push(index);
            }
            Err(error) => refused.push((index, error)),
        }
    }
    let outcomes = capture.record(who.caller.organization, wanted).await;
    let mut ids = Vec::with_capacity(places.len());
    for (index, outcome) in places.into_iter().zip(outcomes) {
        match outcome {
            Ok(recorded) => ids.extend(recorded.id()),
            Err(error) => refused.push((index, error)),
        }
    }
    if ids.is_empty() && probe.is_empty() {
        // Where nothing at all could be stored, the caller has to come back.
        let away = refused.iter().position(|(_, error)| matches!(error, Error::Unavailable(_)));
        let only = if many { away } else { Some(0) };
        if let Some(only) = only {
            return Err(refused.swap_remove(only).1.into());
        }
    }
    refused.sort_unstable_by_key(|(index, _)| *index);
    let status = if refused.is_empty() { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    let rejected = refused
        .into_iter()
        .map(|(index, error)| Rejected { index, detail: error.to_string() })
        .collect();
    Ok((status, Json(Reported { accepted: ids.len() + probe.len(), ids, rejected, probe })))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ErrorWithGroup {
    success: bool,
    error: Detail,
    group: Group,
    report: Report,
    /// What an SDK told besides.
    detail: Option<detail::Detail<'static>>,
    /// The records of logs that told of it, in the order of time; at most 50.
    seen_in: Vec<Sighting>,
}

/// One event with its stack trace, its group, and what an SDK told of it.
#[utoipa::path(
    get, path = "/api/diagnostics/errors/{id}",
    params(("id" = String, Path, description =
        "the event's id, or that of the SDK: 32 hexadecimal digits")),
    responses((status = 200, body = ErrorWithGroup), (status = 404, description = "no such event"))
)]
async fn read_error(
    who: Reader,
    app: axum::extract::State<App>,
    Path(id): Path<String>,
) -> Result<Json<ErrorWithGroup>> {
    let organization = who.caller.organization;
    let id = match uuid::Uuid::parse_str(&id) {
        Ok(uuid) => {
            let event_id = uuid.simple().to_string();
            report::by_event_id(&app.db, organization, &event_id).await.map_err(Error::from)?
        }
        Err(_) => id.parse().ok(),
    };
    let id = id.ok_or(Error::NotFound("error"))?;
    let found = shown::event(&app, organization, id).await?;
    let shown::Event { error, report, detail, seen_in } = found.ok_or(Error::NotFound("error"))?;
    let group = groups::find(&app.db, organization, error.event.group_id);
    let mut group = group.await.map_err(Error::from)?.ok_or(Error::NotFound("group"))?;
    shown::strike_group(&mut group);
    Ok(Json(ErrorWithGroup { success: true, error, group, report, detail, seen_in }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct GroupPage {
    pub(super) groups: Vec<GroupWithBuckets>,
    /// Cursor of the next page; a filtered page may be short and have one.
    pub(super) next: Option<String>,
}

/// Groups of like events.
#[utoipa::path(
    get, path = "/api/diagnostics/groups", params(GroupsQuery),
    responses((status = 200, body = GroupPage))
)]
async fn list_groups(
    who: Reader,
    app: axum::extract::State<App>,
    Query(query): Query<GroupsQuery>,
) -> Result<Json<GroupPage>> {
    Ok(Json(find_groups(&app, &who, &query).await?))
}

/// One group with its course and its newest events; for the id of a merged group the one
/// that it was merged into.
#[utoipa::path(
    get, path = "/api/diagnostics/groups/{id}",
    params(("id" = i64, Path, description = "the group's id")),
    responses(
        (status = 200, body = GroupWithEvents),
        (status = 404, description = "no such group")
    )
)]
async fn read_group(
    who: Reader,
    app: axum::extract::State<App>,
    Path(id): Path<i64>,
) -> Result<Json<GroupWithEvents>> {
    Ok(Json(shown::group(&app, who.caller.organization, id).await?))
}

/// The status to set, under its own name or that of the deed.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum NewStatus {
    /// Needs a reason, which is kept as the evidence.
    #[serde(alias = "resolve")]
    Resolved,
    /// Known and accepted.
    #[serde(alias = "ignore")]
    Ignored,
    #[serde(alias = "reopen")]
    Unresolved,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = GroupChange)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(alias = "action")]
    status: NewStatus,
    /// Why it counts as resolved: what was done, and how that was checked.
    reason: Option<String>,
    /// The release that mends it: events of older ones are counted and do not reopen it.
    in_release: Option<String>,
    /// The same with the release that comes next, whatever its name.
    #[serde(default)]
    #[schema(required = false)]
    in_next_release: bool,
    /// With the status "ignored": when it is to be told of again.
    until: Option<DateTime<Utc>>,
}

/// The reason of a resolution, checked.
pub fn reason(text: Option<&str>) -> error::Result<&str> {
    let reason = text.map(str::trim).unwrap_or_default();
    if reason.len() > MAX_REASON || reason.contains('\0') {
        return Err(Error::Invalid(format!("reason is text of at most {MAX_REASON} bytes")));
    }
    if reason.is_empty() {
        return Err(Error::invalid(
            "resolving needs a reason: say what was done and how it was checked; \
             it is kept as the evidence",
        ));
    }
    Ok(reason)
}

impl Change {
    fn decision(&self) -> error::Result<Decision<'_>> {
        let mends = match (self.in_release.as_deref().map(str::trim), self.in_next_release) {
            (None, false) => None,
            (Some(_), true) => {
                return Err(Error::invalid("give either in_release or in_next_release"));
            }
            (Some(release), false) => {
                let fits = !release.is_empty()
                    && release.len() <= MAX_NAME
                    && !release.contains(char::is_control);
                if !fits {
                    let detail = format!("in_release is a release's name of 1 to {MAX_NAME} bytes");
                    return Err(Error::Invalid(detail));
                }
                Some(Mends::In(release))
            }
            (None, true) => Some(Mends::Next),
        };
        if mends.is_some() && !matches!(self.status, NewStatus::Resolved) {
            return Err(Error::invalid(
                "in_release and in_next_release belong to the status \"resolved\"",
            ));
        }
        if self.until.is_some() && !matches!(self.status, NewStatus::Ignored) {
            return Err(Error::invalid("until belongs to the status \"ignored\""));
        }
        if self.until.is_some_and(|until| until <= clock::now()) {
            return Err(Error::invalid("until is a time to come"));
        }
        match self.status {
            NewStatus::Resolved => {
                let reason = reason(self.reason.as_deref())?;
                Ok(match mends {
                    Some(mends) => Decision::ResolveFrom(reason, mends),
                    None => Decision::Resolve(reason),
                })
            }
            NewStatus::Ignored => Ok(Decision::Ignore(self.until)),
            NewStatus::Unresolved => Ok(Decision::Reopen),
        }
    }
}

/// Resolves (with a reason), ignores or reopens a group.
#[utoipa::path(
    patch, path = "/api/diagnostics/groups/{id}",
    params(("id" = i64, Path, description = "the group's id")),
    request_body = Change,
    responses(
        (status = 200, body = GroupWithBuckets),
        (status = 400, description = "not valid, or resolved without a reason"),
        (status = 404, description = "no such group")
    )
)]
async fn change_group(
    who: Operator,
    app: axum::extract::State<App>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<GroupWithBuckets>> {
    let organization = who.caller.organization;
    let decision = change.decision()?;
    groups::decide(&app.db, organization, &[id], &decision, &who.caller.name, clock::now()).await?;
    let group = groups::find(&app.db, organization, id).await.map_err(Error::from)?;
    let mut groups = shown::with_buckets(&app, group.into_iter().collect()).await?;
    Ok(Json(groups.pop().ok_or(Error::NotFound("group"))?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkChange {
    /// At most 1000.
    ids: Vec<i64>,
    #[serde(alias = "action")]
    status: NewStatus,
    /// Why they count as resolved: what was done, and how that was checked.
    reason: Option<String>,
    /// The release that mends them: events of older ones are counted and do not reopen them.
    in_release: Option<String>,
    /// The same with the release of each group's app that comes next.
    #[serde(default)]
    #[schema(required = false)]
    in_next_release: bool,
    /// With the status "ignored": when they are to be told of again.
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Changed {
    changed: usize,
}

/// Resolves, ignores or reopens many groups: all, or none if one does not exist.
#[utoipa::path(
    patch, path = "/api/diagnostics/groups",
    request_body = BulkChange,
    responses(
        (status = 200, body = Changed),
        (status = 400, description = "not valid, or resolved without a reason"),
        (status = 404, description = "one of the groups does not exist; none was changed")
    )
)]
async fn change_groups(
    who: Operator,
    app: axum::extract::State<App>,
    Json(bulk): Json<BulkChange>,
) -> Result<Json<Changed>> {
    let ids: Vec<i64> = bulk.ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    if ids.is_empty() || ids.len() > groups::MAX_CHANGED {
        let most = groups::MAX_CHANGED;
        return Err(Error::invalid(format!("ids lists 1 to {most} groups")).into());
    }
    let change = Change {
        status: bulk.status,
        reason: bulk.reason,
        in_release: bulk.in_release,
        in_next_release: bulk.in_next_release,
        until: bulk.until,
    };
    let (organization, author) = (who.caller.organization, &who.caller.name);
    groups::decide(&app.db, organization, &ids, &change.decision()?, author, clock::now()).await?;
    Ok(Json(Changed { changed: ids.len() }))
}
