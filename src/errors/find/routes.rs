//! The searches' HTTP.

use std::collections::{BTreeMap, HashMap};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, DurationRound, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Affected, Field, Query as Terms, Tag, Tags, Term,
    export::{self, Format},
    spread,
};
use crate::{
    app::App,
    clock::{self, FOREVER},
    error::{self, Error},
    errors::{
        event::{Origin, parse_time},
        routes::GroupPage,
        shown::{self, strike_event},
        store::{
            events::Position,
            groups::{self, Sort, Status},
            search::{self, Found, GroupSearch, Search},
            series,
        },
    },
    http::{Path, Query, Reader, Result, paging},
    logs::Severity,
};

/// The farthest that a search looks back, in hours.
const MAX_HOURS: i64 = 24 * 366;
/// The farthest that endpoints are counted over, in hours.
const MAX_ENDPOINT_HOURS: i64 = 24 * 31;
/// Longest text of a filter, in bytes.
const MAX_FILTER: usize = 500;
/// Most events of an export.
const MAX_EXPORT: i64 = 10_000_000;
/// Events that a series counts one by one where there is no counter.
const MAX_COUNTED: usize = 20_000;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_errors))
        .routes(routes!(export_errors))
        .routes(routes!(errors_series))
        .routes(routes!(errors_endpoints))
        .routes(routes!(group_users))
        .routes(routes!(group_tags))
}

/// Which events. All that is given has to hold.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Words, "phrases" and field:value (type, endpoint, method, app, release, environment,
    /// user, severity, origin, request, event, tag.NAME); - before one turns it around, * at
    /// the end of one makes it a beginning.
    q: Option<String>,
    /// How far to look back; default 24. Not with since.
    hours: Option<i64>,
    /// From then on: a time (2026-11-02T10:00:00Z) or an age (90m, 7d).
    since: Option<String>,
    /// Before then: a time or an age.
    until: Option<String>,
    severity: Option<Severity>,
    /// The path that failed, whatever its query; or with masked ids (`/user/<n>`).
    endpoint: Option<String>,
    resolved: Option<bool>,
    app: Option<String>,
    /// Of this group only.
    group: Option<i64>,
    release: Option<String>,
    environment: Option<String>,
    user: Option<String>,
    /// NAME:value
    tag: Option<String>,
    /// Who told of it: json, sentry, log, row or lux.
    origin: Option<Origin>,
    request_id: Option<String>,
    event_id: Option<String>,
}

impl Wanted {
    fn search(&self, now: DateTime<Utc>) -> error::Result<Search> {
        let hours = self.hours.unwrap_or(24);
        if !(1..=MAX_HOURS).contains(&hours) {
            return Err(Error::invalid(format!("hours is a number from 1 to {MAX_HOURS}")));
        }
        if self.hours.is_some() && self.since.is_some() {
            return Err(Error::invalid("since and hours say the same; give one of them"));
        }
        // What has a name of its own is looked for at any time.
        let named = self.request_id.is_some() || self.event_id.is_some();
        let since = match time("since", self.since.as_deref(), now)? {
            Some(since) => since,
            None if self.hours.is_none() && named => DateTime::UNIX_EPOCH,
            None => now - TimeDelta::hours(hours),
        };
        let until = time("until", self.until.as_deref(), now)?.unwrap_or(FOREVER);
        let mut terms = Terms::parse(self.q.as_deref().unwrap_or_default())?.0;
        terms.extend(self.fields()?);
        Ok(Search { since, until, group: self.group, resolved: self.resolved, terms })
    }

    fn fields(&self) -> error::Result<Vec<Term>> {
        fields(
            [
                ("endpoint", Field::Endpoint, self.endpoint.as_deref()),
                ("app", Field::App, self.app.as_deref()),
                ("release", Field::Release, self.release.as_deref()),
                ("environment", Field::Environment, self.environment.as_deref()),
                ("user", Field::User, self.user.as_deref()),
                ("request_id", Field::RequestId, self.request_id.as_deref()),
                ("event_id", Field::EventId, self.event_id.as_deref()),
                ("severity", Field::Severity, self.severity.map(Severity::as_str)),
                ("origin", Field::Origin, self.origin.map(Origin::as_str)),
            ],
            self.tag.as_deref(),
        )
    }
}

fn fields<'a>(
    given: impl IntoIterator<Item = (&'static str, Field, Option<&'a str>)>,
    tag: Option<&str>,
) -> error::Result<Vec<Term>> {
    let mut terms = Vec::new();
    for (name, field, value) in given {
        let Some(value) = value else { continue };
        check(name, value)?;
        terms.push(Term::field(field, value));
    }
    if let Some(tag) = tag {
        check("tag", tag)?;
        let (name, value) = tag
            .split_once(':')
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| Error::invalid("tag is NAME:value, such as plan:pro"))?;
        terms.push(Term::field(Field::Tag(name.to_owned()), value));
    }
    Ok(terms)
}

fn check(name: &str, value: &str) -> error::Result<()> {
    if value.len() > MAX_FILTER || value.contains('\0') {
        return Err(Error::invalid(format!(
            "{name} is text of at most {MAX_FILTER} bytes without zero bytes"
        )));
    }
    Ok(())
}

/// A time, or how long ago it was.
fn time(
    name: &str,
    given: Option<&str>,
    now: DateTime<Utc>,
) -> error::Result<Option<DateTime<Utc>>> {
    let Some(given) = given else { return Ok(None) };
    check(name, given)?;
    let age = || {
        let age = TimeDelta::from_std(humantime::parse_duration(given).ok()?).ok()?;
        now.checked_sub_signed(age)
    };
    let sane = |at: &DateTime<Utc>| (DateTime::UNIX_EPOCH..=FOREVER).contains(at);
    let found = parse_time(given).or_else(age).filter(sane);
    found.map(Some).ok_or_else(|| {
        Error::invalid(format!(
            "{name} is neither a time (2026-11-02T10:00:00Z; a + in it is written %2B) nor an age (90m, 7d)"
        ))
    })
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// Default 20, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ErrorPage {
    success: bool,
    errors: Vec<Found>,
    /// Cursor of the next page. A filtered page may be short, even empty, and have one:
    /// each request looks at a bounded number of events.
    next: Option<String>,
}

/// Events, newest first.
#[utoipa::path(
    get, path = "/api/diagnostics/errors", params(Wanted, PageQuery),
    responses(
        (status = 200, body = ErrorPage),
        (status = 400, description = "not valid; of q it names the character")
    )
)]
async fn list_errors(
    who: Reader,
    app: State<App>,
    Query(wanted): Query<Wanted>,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<ErrorPage>> {
    let search = wanted.search(clock::now())?;
    let limit = paging::limit(page.limit, 20);
    let after: Option<Position> = page.cursor.as_deref().map(paging::position).transpose()?;
    let organization = who.caller.organization;
    let (mut errors, next) = search::events(&app.db, organization, &search, limit, after).await?;
    for found in &mut errors {
        strike_event(&mut found.event);
    }
    let next = next.as_ref().map(paging::cursor).transpose()?;
    Ok(axum::Json(ErrorPage { success: true, errors, next }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// jsonl (default) or csv.
    #[serde(default)]
    format: Format,
    /// Most events; default and most 10 000 000.
    limit: Option<i64>,
}

/// All events that a search finds, newest first, as JSON lines or CSV. A body that breaks off
/// is not complete.
#[utoipa::path(
    get, path = "/api/diagnostics/errors/export", params(Wanted, ExportQuery),
    responses(
        (status = 200, description = "one event in each line", content(
            (String = "application/x-ndjson"), (String = "text/csv")
        )),
        (status = 400, description = "not valid; of q it names the character")
    )
)]
async fn export_errors(
    who: Reader,
    app: State<App>,
    Query(wanted): Query<Wanted>,
    Query(export): Query<ExportQuery>,
) -> Result<Response> {
    let search = wanted.search(clock::now())?;
    let limit = export.limit.unwrap_or(MAX_EXPORT).clamp(1, MAX_EXPORT);
    let (kind, file) = match export.format {
        Format::Jsonl => ("application/x-ndjson", "attachment; filename=\"errors.jsonl\""),
        Format::Csv => {
            ("text/csv; charset=utf-8; header=present", "attachment; filename=\"errors.csv\"")
        }
    };
    let body = export::body(app.0.clone(), who.caller.organization, search, export.format, limit);
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)];
    Ok((headers, body).into_response())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct SeriesQuery {
    /// By hour, over so many; default 24, at most 2160.
    hours: Option<i64>,
    /// By day, over so many; at most 366.
    days: Option<i64>,
    /// In which days begin and end; default UTC.
    zone: Option<String>,
    app: Option<String>,
    group: Option<i64>,
    severity: Option<Severity>,
    release: Option<String>,
    environment: Option<String>,
    /// As in a search of events.
    q: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Point {
    /// When the hour or the day begins.
    at: DateTime<Utc>,
    /// "2026-11-02", of a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<NaiveDate>,
    count: i64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Series {
    points: Vec<Point>,
    total: i64,
    /// Whether all events are counted. What has no counter (a release, a text, a severity
    /// within an application) is counted in stored events, the newest 20 000 at most.
    complete: bool,
}

/// Events by hour or by day, the present one last. An hour belongs to the day in which it
/// begins.
#[utoipa::path(
    get, path = "/api/diagnostics/errors/series", params(SeriesQuery),
    responses((status = 200, body = Series), (status = 400, description = "not valid"))
)]
async fn errors_series(
    who: Reader,
    app: State<App>,
    Query(query): Query<SeriesQuery>,
) -> Result<axum::Json<Series>> {
    let now = clock::now();
    let zone: Tz = match &query.zone {
        None => Tz::UTC,
        Some(zone) => zone.parse().map_err(|_| {
            Error::invalid("zone is no time zone; give its name, such as Europe/Berlin")
        })?,
    };
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let mut points: BTreeMap<DateTime<Utc>, Point> = BTreeMap::new();
    match (query.hours, query.days) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("hours and days exclude each other; give one").into());
        }
        (_, Some(days)) => {
            if !(1..=366).contains(&days) {
                return Err(Error::invalid("days is a number from 1 to 366").into());
            }
            let today = now.with_timezone(&zone).date_naive();
            for back in 0..days {
                let day = today - TimeDelta::days(back);
                let at = begin(day, zone);
                points.insert(at, Point { at, day: Some(day), count: 0 });
            }
        }
        (hours, None) => {
            let hours = hours.unwrap_or(24);
            if !(1..=2160).contains(&hours) {
                return Err(Error::invalid("hours is a number from 1 to 2160").into());
            }
            for back in 0..hours {
                let at = hour - TimeDelta::hours(back);
                points.insert(at, Point { at, day: None, count: 0 });
            }
        }
    }
    let first = points.keys().next().copied().unwrap_or(hour);
    let organization = who.caller.organization;
    let mut terms = Terms::parse(query.q.as_deref().unwrap_or_default())?.0;
    terms.extend(fields(
        [
            ("release", Field::Release, query.release.as_deref()),
            ("environment", Field::Environment, query.environment.as_deref()),
        ],
        None,
    )?);
    if let Some(app) = &query.app {
        check("app", app)?;
    }
    let whole = query.app.is_none() && query.group.is_none();
    let (counts, complete) = if terms.is_empty() && (whole || query.severity.is_none()) {
        // The first hour may have begun in the day before.
        let end = now + TimeDelta::hours(1);
        let counts = if whole {
            series::by_hour(&app.db, organization, query.severity, first, end).await
        } else {
            let name = query.app.as_deref();
            series::by_hour_of(&app.db, organization, name, query.group, first, end).await
        };
        (counts.map_err(Error::from)?, true)
    } else {
        terms.extend(fields(
            [
                ("app", Field::App, query.app.as_deref()),
                ("severity", Field::Severity, query.severity.map(Severity::as_str)),
            ],
            None,
        )?);
        let search =
            Search { since: first, until: FOREVER, group: query.group, resolved: None, terms };
        count(&app, organization, &search).await?
    };
    let mut total = 0;
    for (at, count) in counts {
        if let Some((_, point)) = points.range_mut(..=at).next_back() {
            point.count += count;
            total += count;
        }
    }
    Ok(axum::Json(Series { points: points.into_values().collect(), total, complete }))
}

/// The first moment of a day; where midnight is left out, the one after.
fn begin(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    (0..=24)
        .find_map(|quarters| {
            let local = midnight + TimeDelta::minutes(15 * quarters);
            local.and_local_timezone(zone).earliest()
        })
        .map_or_else(|| midnight.and_utc(), |at| at.to_utc())
}

/// Counts events one by one, up to a bound.
async fn count(
    app: &App,
    organization: crate::auth::OrganizationId,
    search: &Search,
) -> error::Result<(Vec<(DateTime<Utc>, i64)>, bool)> {
    let mut counts: HashMap<DateTime<Utc>, i64> = HashMap::new();
    let (mut after, mut counted, mut pages) = (None, 0, 0);
    loop {
        let (events, next) = search::events(&app.db, organization, search, 500, after).await?;
        counted += events.len();
        pages += 1;
        for found in events {
            *counts.entry(found.event.created_at).or_default() += 1;
        }
        if next.is_none() || counted >= MAX_COUNTED || pages >= MAX_COUNTED / 500 {
            return Ok((counts.into_iter().collect(), next.is_none()));
        }
        after = next;
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct EndpointsQuery {
    /// Default 24, at most 744.
    hours: Option<i64>,
    app: Option<String>,
    /// Default 20, at most 200.
    limit: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Endpoints {
    endpoints: Vec<series::Endpoint>,
    /// Events that are not counted here yet: the counters follow by a second or so.
    behind: i64,
}

/// The endpoints with most errors in the present and the hours before.
#[utoipa::path(
    get, path = "/api/diagnostics/errors/endpoints", params(EndpointsQuery),
    responses((status = 200, body = Endpoints), (status = 400, description = "not valid"))
)]
async fn errors_endpoints(
    who: Reader,
    app: State<App>,
    Query(query): Query<EndpointsQuery>,
) -> Result<axum::Json<Endpoints>> {
    let hours = query.hours.unwrap_or(24);
    if !(1..=MAX_ENDPOINT_HOURS).contains(&hours) {
        let detail = format!("hours is a number from 1 to {MAX_ENDPOINT_HOURS}");
        return Err(Error::invalid(detail).into());
    }
    if let Some(app) = &query.app {
        check("app", app)?;
    }
    let now = clock::now();
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let since = hour - TimeDelta::hours(hours - 1);
    let limit = paging::limit(query.limit, 20);
    let (organization, name) = (who.caller.organization, query.app.as_deref());
    let endpoints = series::endpoints(&app.db, organization, name, since, limit);
    let endpoints = endpoints.await.map_err(Error::from)?;
    let behind = series::behind(&app.db).await.map_err(Error::from)?;
    Ok(axum::Json(Endpoints { endpoints, behind }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct GroupUsers {
    /// Distinct users of the group, counted up to 10 000.
    count: i64,
    users: Vec<Affected>,
    /// So many of the newest events were looked at.
    sampled: usize,
    /// Cursor of the next page.
    next: Option<String>,
}

/// Who was affected by a group, by name.
#[utoipa::path(
    get, path = "/api/diagnostics/groups/{id}/users",
    params(("id" = i64, Path, description = "the group's id"), PageQuery),
    responses((status = 200, body = GroupUsers), (status = 404, description = "no such group"))
)]
async fn group_users(
    who: Reader,
    app: State<App>,
    Path(id): Path<i64>,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<GroupUsers>> {
    let group = groups::find(&app.db, who.caller.organization, id).await.map_err(Error::from)?;
    let group = group.ok_or(Error::NotFound("group"))?;
    let limit = paging::limit(page.limit, 100);
    let after: Option<String> = page.cursor.as_deref().map(paging::position).transpose()?;
    let after = after.unwrap_or_default();
    check("cursor", &after)?;
    let (users, sampled) = spread::users(&app.db, id, &after, limit).await.map_err(Error::from)?;
    let next = paging::after(&users, limit, |user| user.user.clone())?;
    Ok(axum::Json(GroupUsers { count: group.users, users, sampled, next }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct GroupTags {
    tags: Vec<Tag>,
    /// So many of the newest events were looked at, …
    sampled: usize,
    /// … of so many that happened.
    count: i64,
}

/// What the events of a group have in common: values of release, environment, endpoint and
/// tags, from its newest thousand events.
#[utoipa::path(
    get, path = "/api/diagnostics/groups/{id}/tags",
    params(("id" = i64, Path, description = "the group's id")),
    responses((status = 200, body = GroupTags), (status = 404, description = "no such group"))
)]
async fn group_tags(
    who: Reader,
    app: State<App>,
    Path(id): Path<i64>,
) -> Result<axum::Json<GroupTags>> {
    let group = groups::find(&app.db, who.caller.organization, id).await.map_err(Error::from)?;
    let group = group.ok_or(Error::NotFound("group"))?;
    let Tags { tags, sampled, .. } = shown::tags(&app, id).await?;
    Ok(axum::Json(GroupTags { tags, sampled, count: group.count }))
}

/// Which groups. All that is given has to hold.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::errors) struct GroupsQuery {
    status: Option<Status>,
    /// Instead of a status: those that wait for somebody, unresolved and regressed.
    #[serde(default)]
    open: bool,
    app: Option<String>,
    /// As in a search of events. Words are looked for in the group and in its events, the type
    /// in the group, all else in its events.
    q: Option<String>,
    /// Seen since then: a time or an age (90m, 7d).
    since: Option<String>,
    /// First seen before then.
    until: Option<String>,
    release: Option<String>,
    environment: Option<String>,
    user: Option<String>,
    endpoint: Option<String>,
    /// NAME:value
    tag: Option<String>,
    origin: Option<Origin>,
    request_id: Option<String>,
    event_id: Option<String>,
    /// Default: last_seen.
    #[serde(default)]
    sort: Sort,
    /// Default 20, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of groups.
pub(in crate::errors) async fn find_groups(
    app: &App,
    who: &Reader,
    query: &GroupsQuery,
) -> Result<GroupPage> {
    let now = clock::now();
    let mut terms = Terms::parse(query.q.as_deref().unwrap_or_default())?.0;
    terms.extend(fields(
        [
            ("release", Field::Release, query.release.as_deref()),
            ("environment", Field::Environment, query.environment.as_deref()),
            ("user", Field::User, query.user.as_deref()),
            ("endpoint", Field::Endpoint, query.endpoint.as_deref()),
            ("request_id", Field::RequestId, query.request_id.as_deref()),
            ("event_id", Field::EventId, query.event_id.as_deref()),
            ("origin", Field::Origin, query.origin.map(Origin::as_str)),
        ],
        query.tag.as_deref(),
    )?);
    if let Some(app) = &query.app {
        check("app", app)?;
    }
    let search = GroupSearch {
        status: query.status,
        open: query.open,
        app: query.app.clone(),
        since: time("since", query.since.as_deref(), now)?,
        until: time("until", query.until.as_deref(), now)?,
        terms,
    };
    let limit = paging::limit(query.limit, 20);
    let after = query.cursor.as_deref().map(paging::position).transpose()?;
    let organization = who.caller.organization;
    let (groups, next) = shown::page(app, organization, &search, query.sort, limit, after).await?;
    let next = next.as_ref().map(paging::cursor).transpose()?;
    Ok(GroupPage { groups, next })
}
